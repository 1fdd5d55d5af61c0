#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The rooms of systems that nothing here can run: they compile without a warning, for each CPU, and a program that
# uses the whole interface links with them, so that they call nothing that the system does not have.
echo 1..9
number=0
result()
{
    number=$((number + 1))
    echo "$1 $number - $2"
}

if ! why=$("$SRC/tools/zig.sh" --have); then
    while [ $number -lt 9 ]; do
        result ok "macOS and FreeBSD # SKIP $why"
    done
    exit 0
fi

cat >program.c <<'END'
#include <redefine/redefine.h>

int main(int argc, char **argv)
{
    void *addr = 0;
    if (redefine_find(argv[0], &addr) != REDEFINE_OK)
        return redefine_explain()[0];
    return redefine_func(addr, (void *)argv) || redefine_func_restore(addr) || argc;
}
END

# magic TARGET: how a linked program of it begins.
magic()
{
    case $1 in
    *-macos) echo cffaedfe ;;
    *-freebsd) echo 7f454c46 ;;
    esac
}

for target in aarch64-macos x86_64-macos x86_64-freebsd; do
    if "$SRC/tools/zig-build.sh" "$target" "$target" >log 2>&1; then
        result ok "$target: compiled"
    else
        result "not ok" "$target: compiled"
        sed 's/^/# /' log | tail -20
    fi
    if grep -q 'warning:' log || [ ! -f "$target/libredefine.a" ]; then
        result "not ok" "$target: without a warning"
        grep 'warning:' log | sed 's/^/# /'
    else
        result ok "$target: without a warning"
    fi
    zydis=$(find "$PWD/$target" -maxdepth 1 -name libZydis.a)
    if "$target/tools/cc" -I"$SRC/include" -o "$target/program" program.c "$target/libredefine.a" ${zydis:+"$zydis"} >log 2>&1 &&
        [ "$(od -An -tx1 -N4 "$target/program" | tr -d ' ')" = "$(magic "$target")" ]; then
        result ok "$target: links, no symbol is missing"
    else
        result "not ok" "$target: links, no symbol is missing"
        sed 's/^/# /' log | tail -20
    fi
done
