#!/bin/sh
# SPDX-License-Identifier: MIT
#
# demo.sh [BUILD]: a short tour of what redefine does; called by `make demo`. Fails when anything is not as
# it should be.
set -eu
src=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$src/build}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
PATH=$build:$PATH
export PATH TZ=UTC

heading()
{
    printf '\n== %s\n' "$1"
}

# Prints a command as one would type it, and runs it.
do_this()
{
    printf '$'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=,+%-]*) printf " '%s'" "$word" ;; # (no word here has an apostrophe)
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
    "$@"
}

wrong()
{
    echo "demo: $1" >&2
    exit 1
}

heading "A patch: a shared object that says what it redefines"
sed -n '/^static time_t five_pm(/,/^REDEFINE_PATCH/p' "$src/examples/five_pm.c"
do_this "${CC:-cc}" -shared -fPIC "-I$src/include" -o five_pm.so "$src/examples/five_pm.c"

heading "date, and the same date under the patch"
do_this date
do_this redefine run --patch five_pm.so -- date | tee told
grep -q ' 17:00:00 ' told || wrong "date does not say five"

heading "A program in another language, started by a shell"
do_this redefine run --follow --patch five_pm.so -- \
    sh -c 'perl -e "print scalar localtime"; date "+ and %H:%M"' | tee told
grep -q ' 17:00:00 .* and 17:00$' told || wrong "the shell's children do not say five"

heading "In one's own process: redefine, call the original, restore"
do_this "${CC:-cc}" "-I$src/include" -o in_process "$src/examples/in_process.c" "-L$build" -lredefine \
    "-Wl,-rpath,$build"
do_this ./in_process

heading "What changes in clock_gettime, which date calls"
do_this redefine show date clock_gettime | tee told
grep -q '; to the relay$' told || wrong "there is no jump to the relay"

# Where time runs is the system's choice: on x86-64 the kernel's own code, which no file holds.
heading "What time is"
do_this redefine show date time | tee told
grep -q '^time in .' told || wrong "time is nowhere"

heading "And date is untouched"
do_this date
