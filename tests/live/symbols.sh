#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the libraries show to the programs that link them.
set -u
echo 1..5
failures=0

# check NUMBER NAME OUTPUT: ok when there is no output.
check()
{
    if [ -z "$3" ]; then
        echo "ok $1 - $2"
    else
        failures=1
        echo "not ok $1 - $2"
        echo "$3" | sed 's/^/# /'
    fi
}

public=$(cat "$SRC"/include/redefine/*.h | grep -o 'redefine_[a-z_]*(' | tr -d '(' | sort -u)

shown=$(nm -D --defined-only "$BUILD/libredefine.so" | awk '{ print $3 }' | sed 's/@.*//' | sort -u)
check 1 "the shared library shows only public names" \
    "$(for name in $shown; do echo "$public" | grep -qx "$name" || echo "$name is in no public header"; done)"

# Declared at the start of a line of the header: `type redefine_…(`, not a macro, not inline.
declared=$(grep -E '^[a-z].*[ *]redefine_[a-z_]+\(.*\);' "$SRC/include/redefine/redefine.h" |
    grep -o 'redefine_[a-z_]*(' | tr -d '(' | sort -u)
check 2 "every declared function is in the shared library" \
    "$(for name in $declared; do echo "$shown" | grep -qx "$name" || echo "$name is missing"; done
       [ -n "$declared" ] || echo "no declaration found")"

check 3 "the static library defines the same names" \
    "$(nm -g --defined-only "$BUILD/libredefine.a" 2>&1 | awk 'NF == 3 { print $3 }' | sort -u >static.txt
       echo "$shown" | diff - static.txt)"

check 4 "the soname is libredefine.so.0" \
    "$(readelf -d "$BUILD/libredefine.so" | grep -q 'SONAME.*\[libredefine\.so\.0\]' || echo "it is not")"

check 5 "no library has a segment both writable and executable, or an executable stack" \
    "$(for file in libredefine.so libredefine-agent.so redefine; do
           readelf -lW "$BUILD/$file" | grep -E ' RWE ' | sed "s/^/$file:/"
       done)"
exit $failures
