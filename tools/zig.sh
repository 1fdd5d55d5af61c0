#!/bin/sh
# SPDX-License-Identifier: MIT
#
# zig.sh TARGET DIR: a compiler for TARGET (aarch64-macos, x86_64-macos, x86_64-freebsd, …) as DIR/cc, c++, ar,
# ranlib and ld. It is zig's clang, which brings the headers and the names in the libraries of those systems; it
# comes from PyPI, some 400 MiB, into build-zig (or $REDEFINE_ZIG_HOME), once for all targets.
#
# zig.sh --have: fails, and says why, when it is not there yet; fetches nothing.
set -eu
home=${REDEFINE_ZIG_HOME:-$(cd "$(dirname "$0")/.." && pwd)/build-zig}
version=0.17.1
zig=$home/venv/bin/python

have()
{
    [ -x "$zig" ] && [ "$("$zig" -m ziglang version 2>/dev/null)" = "$version" ]
}

if [ "$1" = --have ]; then
    have || { echo "zig $version is not in $home; make macos or make freebsd fetches it"; exit 1; }
    exit 0
fi
target=$1
dir=$2

if ! have; then
    echo "setup: fetching zig $version from PyPI into $home" >&2
    mkdir -p "$home"
    { python3 -m venv "$home/venv" && "$home/venv/bin/pip" install --quiet "ziglang==$version"; } \
        >"$home/log" 2>&1 && have || {
        cat "$home/log" >&2
        echo "zig: python3's pip could not install ziglang $version" >&2
        exit 1
    }
fi

mkdir -p "$dir"
# tool NAME WORDS…: DIR/NAME runs zig with these words first. Its caches stay with it.
tool()
{
    name=$1
    shift
    cat >"$dir/$name" <<EOF
#!/bin/sh
export ZIG_GLOBAL_CACHE_DIR='$home/cache' ZIG_LOCAL_CACHE_DIR='$home/cache'
exec '$zig' -m ziglang $* "\$@"
EOF
    chmod +x "$dir/$name"
}
# Without a level of optimisation zig adds a sanitizer of its own.
tool cc cc -target "$target" -fno-sanitize=undefined
tool c++ c++ -target "$target" -fno-sanitize=undefined
tool ar ar
tool ranlib ranlib
tool ld ld.lld
