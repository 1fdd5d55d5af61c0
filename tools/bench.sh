#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bench.sh BUILD: run every program of bench/, which `make bench` has just built.
set -eu
cd "$(dirname "$0")/.."
found=
for source in bench/*.c; do
    [ -f "$source" ] || continue
    found=yes
    name=$(basename "$source" .c)
    echo "== $name"
    "$1/bench/$name"
done
[ -n "$found" ] || { echo "bench: no bench/*.c" >&2; exit 1; }
