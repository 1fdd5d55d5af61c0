#!/bin/sh
# SPDX-License-Identifier: MIT
#
# soak.sh BUILD FUZZBUILD: the tests that are worth more the longer they run.
set -eu
cd "$(dirname "$0")/.."
build=$1
fuzz_build=$2

failed=
# part TEXT COMMAND…: and how long it took; what fails is told again at the end, for hours may be left to go.
part()
{
    text=$1
    echo "== $text"
    shift
    began=$(date +%s)
    if "$@"; then outcome=; else
        outcome=", FAILED"
        failed="$failed
  $text"
    fi
    echo "== $(($(date +%s) - began)) s$outcome"
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
part "the helper killed at each of its calls, and between the instructions that publish" \
    env LIVE_ALL=1 "$build/tests/live/killed"
for threads in "" _threads; do
    part "each system call of a change fails, with each error${threads:+, with threads}" \
        env LIVE_ALL=1 "$build/tests/live/syscalls$threads"
done
# guest CPU [PATTERN]: 77 says that there is no kernel to be had, and why.
guest()
{
    tools/guest.sh "$@" || [ $? = 77 ]
}
# strict_guest WHO: a kernel that lets nobody, or tracers alone, write through /proc/PID/mem what a page does not allow.
strict_guest()
{
    GUEST_APPEND=proc_mem.force_override=$1 guest riscv64 'live/(denied|library|methods|threads)$'
}
part "aarch64: the tests in a whole emulated machine" guest aarch64
part "riscv64: the tests in a whole emulated machine" guest riscv64
for who in never ptrace; do
    part "riscv64: a kernel with proc_mem.force_override=$who" strict_guest $who
done
part "models of how threads are kept from harm" tools/model.sh
# Each case of these does so many there and backs, under load; together a million changes.
part "a million toggles under load" env REDEFINE_SOAK=6100 "$build/tests/live/threads"
part "toggles under load without ptrace" env REDEFINE_SOAK=60 "$build/tests/live/threads_unstopped"
part "a million toggles" env SOAK_TOGGLES=1000000 "$build/tests/live/scale"
part "a million short threads" env SOAK_THREADS=1000000 "$build/tests/live/for_thread"
part "every function of real programs, counted" tests/soak/count.sh "$build"
part "every program and library that is installed, listed and checked" tests/soak/sweep.sh "$build"
if command -v go >/dev/null && [ "$(readlink -f "$build")" = "$(readlink -f build)" ]; then
    part "the Go package, 10,000 rounds" env REDEFINE_ROUNDS=10000 \
        go -C go test -a -count=1 -timeout 60m -run 'Load|Mistaken|Collected' -v .
else
    echo "soak: no go, or another build folder than build/: the Go package is not tried" >&2
fi
part "the command over damaged programs, cut off everywhere" \
    env DAMAGED_ROUNDS=2000 TEST_TIMEOUT=7200 tools/run-tests "$build" live/check_damaged
part "fuzzers, 60 s each" tools/fuzz.sh "$fuzz_build" 60
[ -z "$failed" ] || { echo "soak: FAILED:$failed" >&2; exit 1; }
