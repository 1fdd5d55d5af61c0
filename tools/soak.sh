#!/bin/sh
# SPDX-License-Identifier: MIT
#
# soak.sh BUILD FUZZBUILD: the tests that are worth more the longer they run.
set -eu
cd "$(dirname "$0")/.."
build=$1
fuzz_build=$2

# part TEXT COMMAND…: and how long it took
part()
{
    echo "== $1"
    shift
    began=$(date +%s)
    "$@"
    echo "== $(($(date +%s) - began)) s"
}

# The files of those that are there.
existing()
{
    for file; do
        [ ! -f "$file" ] || readlink -f "$file"
    done | sort -u
}

lib=/usr/lib/$(uname -m)-linux-gnu
# shellcheck disable=SC2046
part "x86-64: original against relocated, in an emulator" \
    "$build/tests/unit/differential_x86_64" --count 1000000 --generated 60000 $(existing \
        "$(gcc -print-prog-name=cc1)" "$lib"/libcrypto.so.3 "$lib"/libsqlite3.so.0 "$lib"/libstdc++.so.6 "$lib"/libc.so.6 \
        "$lib"/libm.so.6 "$lib"/libunicorn.so.2 /usr/bin/gdb /usr/bin/git /usr/bin/perl /usr/bin/python3)

# The cross compiler's libraries have 20,000 functions; this one has 95,000.
foreign=$build/foreign-arm64
if ! tests/soak/foreign_library.sh arm64 libllvm14 "$foreign"; then
    echo "soak: no code of aarch64 could be fetched: fewer than 100,000 entries of it are tried" >&2
fi
# shellcheck disable=SC2046
part "aarch64: original against relocated, in an emulator" \
    "$build/tests/unit/differential_aarch64" --count 125000 $(existing /usr/aarch64-linux-gnu/lib/*.so.* \
        "$foreign"/usr/lib/aarch64-linux-gnu/*.so.*)
# guest CPU: 77 says that there is no kernel to be had, and why.
guest()
{
    tools/guest.sh "$1" || [ $? = 77 ]
}
part "aarch64: the tests in a whole emulated machine" guest aarch64
part "riscv64: the tests in a whole emulated machine" guest riscv64
