#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bench.sh BUILD: run every program of bench/, which `make bench` has just built. With gnuplot each gets a plot,
# BUILD/bench/NAME.svg.
set -eu
cd "$(dirname "$0")/.."
found=
gnuplot=$(command -v gnuplot || true)
[ -n "$gnuplot" ] || echo "bench: no plots: gnuplot is not installed" >&2
for source in bench/*.c; do
    [ -f "$source" ] || continue
    found=yes
    name=$(basename "$source" .c)
    echo "== $name"
    data=$1/bench/$name.dat
    BENCH_DATA=$data "$1/bench/$name"
    [ -n "$gnuplot" ] || continue
    gnuplot -e "data='$data'; svg='$1/bench/$name.svg'; what='$name'" bench/plot.gp
    echo "plotted: $1/bench/$name.svg"
done
[ -n "$found" ] || { echo "bench: no bench/*.c" >&2; exit 1; }
