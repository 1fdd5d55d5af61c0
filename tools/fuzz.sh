#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz.sh BUILD SECONDS: run every fuzzer for so long, beginning with its seeds in tests/fuzz/corpus/NAME
# and with what earlier runs found, which is kept in BUILD/corpus/NAME. Stops at the first failure; the
# input that did it is then in BUILD/failures (add it to the seeds when the fault is mended).
set -eu
cd "$(dirname "$0")/.."
build=$1
seconds=$2
mkdir -p "$build/failures"
export LSAN_OPTIONS="suppressions=$PWD/tests/support/lsan.supp:print_suppressions=0"
found=
for source in tests/fuzz/fuzz_*.c; do
    [ -f "$source" ] || continue
    found=yes
    name=$(basename "$source" .c)
    seeds=tests/fuzz/corpus/${name#fuzz_}
    kept=$build/corpus/${name#fuzz_}
    mkdir -p "$kept"
    [ -d "$seeds" ] || seeds=
    log=$build/failures/$name.log
    # ${seeds:+…}: the first folder is where libFuzzer writes, the others it only reads.
    if "$build/tests/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$build/failures/$name-" "$kept" ${seeds:+"$seeds"} >"$log" 2>&1; then
        printf '%s: %s\n' "$name" "$(grep '^Done' "$log" || tail -n 1 "$log")"
    else
        tail -n 60 "$log"
        echo "$name: FAILED; the input is in $build/failures" >&2
        exit 1
    fi
done
[ -n "$found" ] || { echo "fuzz: no tests/fuzz/fuzz_*.c" >&2; exit 1; }
