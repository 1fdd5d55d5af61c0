#!/bin/sh
# SPDX-License-Identifier: MIT
#
# soak.sh BUILD FUZZBUILD: the tests that are worth more the longer they run.
set -eu
cd "$(dirname "$0")/.."
for source in tests/unit/differential_*.c; do
    [ -f "$source" ] || continue
    name=$(basename "$source" .c)
    echo "== $name --count 200000"
    "$1/tests/unit/$name" --count 200000
done
echo "== a million toggles, a million short threads"
SOAK_TOGGLES=1000000 "$1/tests/live/scale"
SOAK_THREADS=1000000 "$1/tests/live/for_thread"
echo "== every function of real programs, counted"
tests/soak/count.sh "$1"
echo "== fuzzers, 60 s each"
tools/fuzz.sh "$2" 60
