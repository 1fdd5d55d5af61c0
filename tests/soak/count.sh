#!/bin/sh
# SPDX-License-Identifier: MIT
#
# count.sh BUILD [WORKLOAD…]: every function of real programs sent through its own original, and nothing may change:
# each of workloads/ runs plainly and under `redefine run --count '*' --follow`, in the same empty folder, and what it
# prints and how it ends must be the same, byte for byte. With SMALL set, what takes a second or two
# (tests/live/count_programs.sh).
#
# Prints TAP.
set -u
here=$(cd "$(dirname "$0")" && pwd)
SRC=$(cd "$here/../.." && pwd)
export SRC
build=$(cd "$1" && pwd)
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C TZ=UTC
number=0
failures=0

# What differs between two runs of the same: times, and paths with process ids in them.
normalise()
{
    sed -E -e '/load avg|^Ran [0-9]+ tests? in|^Total duration|^== (cwd|CPU|Python build|encodings|resources)|slowest/d' \
        -e 's/ in [0-9.]+ ?(s|ms|sec)\b//g' -e 's/\b0x[0-9a-f]{6,}/0x-/g' -e 's/test_python_(worker_)?[0-9]+.?/test_python/g' \
        -e 's/process [0-9]+|line [0-9]+: +[0-9]+ /process /g' -e 's/^[0-9A-F]{16}:error/error/' "$1"
}

# run_in NAME COMMAND…: leaves NAME.out, NAME.err, NAME.status and the seconds it took.
run_in()
{
    run_name=$1
    shift
    rm -rf work
    mkdir work
    began=$(date +%s.%N)
    (cd work && exec "$@" >"../$run_name.out" 2>"../$run_name.err" </dev/null)
    echo $? >"$run_name.status"
    seconds=$(echo "$began $(date +%s.%N)" | awk '{ printf "%.1f", $2 - $1 }')
    for stream in out err; do
        normalise "$run_name.$stream" >"$run_name.$stream.normal"
    done
}

compare()
{
    for part in out.normal err.normal status; do
        diff "plain.$part" "counted.$part" >why || { sed 's/^/# /' why | head -n 20; return 1; }
    done
}

cd "$scratch" || exit 1
[ $# -gt 0 ] || set -- "$here"/workloads/*
for workload; do
    workload=$here/workloads/${workload##*/}
    name=$(basename "$workload")
    number=$((number + 1))
    tool=${name%%.*}
    case $tool in
    python) tool=python3 ;;
    digests | tls) tool=openssl ;;
    sqlite) tool=sqlite3 ;;
    session) tool=${name#*.}; [ "$tool" != pl ] || tool=perl ;;
    esac
    if ! command -v "$tool" >/dev/null; then
        echo "ok $number - $name # SKIP there is no $tool"
        continue
    fi
    run_in plain "$workload"
    plain_seconds=$seconds
    # Where two plain runs differ, nothing can be said.
    run_in counted "$build/redefine" run --count '*' --follow --output "$scratch/calls" -- "$workload"
    if compare; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        failures=1
    fi
    echo "# $name: status $(cat plain.status), $plain_seconds s, counted $seconds s;" \
        "$(sed -n 's/^redefine: //p' calls | head -n 1)"
done
echo "1..$number"
exit $failures
