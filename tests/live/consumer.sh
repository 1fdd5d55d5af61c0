#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The library as a stranger gets it: installed by `make install` below a DESTDIR, used from outside the tree
# through pkg-config and find_package; the headers under strict warnings; what must not compile.
set -u
number=0
failures=0

# try NAME COMMAND…: a test that is ok when the command succeeds; its output is shown when it does not.
try()
{
    name=$1
    shift
    number=$((number + 1))
    if "$@" >output.txt 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' output.txt
        failures=1
    fi
}

# rejects COMPILER FILE: the file does not compile, and the reason is its own, not a missing header.
rejects()
{
    if "$@" -I"$prefix/include" -fsyntax-only; then
        echo "it compiles"
        return 1
    fi 2>errors.txt
    cat errors.txt
    ! grep -q 'No such file' errors.txt
}

prefix=$TMP/stage/opt/redefine
consumer=$SRC/tests/consumer

if [ "$(basename "$BUILD")" != build ]; then
    echo "1..0 # SKIP make install takes what is in build/, not in $(basename "$BUILD")/"
    exit 0
fi

try "make install into a DESTDIR" make -C "$SRC" install DESTDIR="$TMP/stage" PREFIX=/opt/redefine
for file in bin/redefine lib/libredefine.so lib/libredefine.so.0 lib/libredefine.a \
    lib/redefine/libredefine-agent.so include/redefine/redefine.h include/redefine/patch.h \
    include/redefine/status.h lib/pkgconfig/redefine.pc lib/cmake/redefine/redefineConfig.cmake; do
    try "installed: $file" test -e "$prefix/$file"
done
for page in "$SRC"/man/*.[13]; do
    [ -f "$page" ] || continue
    try "installed: $(basename "$page")" test -f "$prefix/share/man/man${page##*.}/$(basename "$page")"
done
# Nothing that is installed may know where it was built or staged.
try "no path of the build in what is installed" sh -c '
    ! grep -rlF -e "$SRC" -e "$TMP" "$1/lib/pkgconfig" "$1/lib/cmake" "$1/include" &&
    ! readelf -d "$1"/lib/libredefine.so "$1"/lib/redefine/*.so "$1"/bin/redefine | grep -i "R.*PATH.*\[/"
' - "$prefix"
# Outside the build tree, and with no help: the agent must find the library by itself.
try "the installed agent finds the installed library" sh -c '
    env -u LD_LIBRARY_PATH ldd "$1/lib/redefine/libredefine-agent.so" | grep "libredefine.so.0 => $1/lib"
' - "$prefix"
try "the installed command starts" "$prefix/bin/redefine" --version

# ---- pkg-config ----

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
flags=$(pkg-config --cflags redefine)
shared=$(pkg-config --libs redefine)
static=$(pkg-config --static --libs redefine | sed 's/-lredefine/-l:libredefine.a/')
CXX=${CXX:-c++}
# Not quoted below: flags are words.
try "C, shared, pkg-config: builds" $CC $flags -o c-shared "$consumer/user.c" $shared
try "C, shared, pkg-config: runs" env LD_LIBRARY_PATH="$prefix/lib" ./c-shared
try "C, static, pkg-config: builds" $CC $flags -o c-static "$consumer/user.c" $static
try "C, static, pkg-config: runs" ./c-static
try "C++, shared, pkg-config: builds" $CXX $flags -o cpp-shared "$consumer/user.cpp" $shared
try "C++, shared, pkg-config: runs" env LD_LIBRARY_PATH="$prefix/lib" ./cpp-shared
try "C++, static, pkg-config: builds" $CXX $flags -o cpp-static "$consumer/user.cpp" $static
try "C++, static, pkg-config: runs" ./cpp-static
try "a patch file needs only the headers" $CC -shared -fPIC $flags -Wl,-z,defs -o patch.so "$consumer/patch.c"
# (Not `date`: that one asks clock_gettime.)
try "a program that knows nothing of it: builds" $CC -o clock "$consumer/clock.c"
try "the patch file runs under the installed command" sh -c '
    "$1/bin/redefine" run --patch ./patch.so -- ./clock | tee /dev/stderr | grep -qx 17:00' - "$prefix"

# Without `make install`: straight from the build directory.
try "C, shared, -Lbuild -lredefine: builds" \
    $CC -I"$SRC/include" -o c-build "$consumer/user.c" -L"$BUILD" -lredefine
try "C, shared, -Lbuild -lredefine: runs" env LD_LIBRARY_PATH="$BUILD" ./c-build

# ---- find_package ----

try "find_package: configures" cmake -S "$consumer" -B cmake -DCMAKE_PREFIX_PATH="$prefix"
try "find_package: builds" cmake --build cmake
for program in c-redefine c-redefine-static cpp-redefine cpp-redefine-static; do
    try "find_package: $program runs" "cmake/$program"
done

# ---- the headers, under strict warnings, with every compiler there is ----

for compiler in gcc g++ clang clang++; do
    if ! command -v $compiler >/dev/null; then
        number=$((number + 1))
        echo "ok $number - headers with $compiler # SKIP $compiler is not installed"
        continue
    fi
    case $compiler in
    *++) standards="c++11 c++14 c++17 c++20 c++2b" user=user.cpp language=c++
        strict="-Wold-style-cast -Wzero-as-null-pointer-constant" ;;
    *) standards="c11 gnu11 c17 c2x" user=user.c language=c strict="-Wstrict-prototypes -Wmissing-prototypes" ;;
    esac
    for standard in $standards; do
        for source in $user patch.c headers.c; do
            try "$source with $compiler -std=$standard: no warning" \
                $compiler -x $language -std=$standard -Wall -Wextra -pedantic -Wconversion -Wsign-conversion \
                -Wshadow -Wcast-qual -Wundef -Wredundant-decls $strict -Werror -O2 \
                -I"$prefix/include" -c -o /dev/null "$consumer/$source"
        done
    done
    # shellcheck disable=SC2043
    for source in "$consumer"/reject/*.$([ $language = c ] && echo c || echo cpp); do
        # The typed calls, not the untyped ones, are what makes a mistake fail: no -Werror here.
        try "reject/$(basename "$source") with $compiler: does not compile" rejects $compiler "$source"
    done
done

echo "1..$number"
exit $failures
