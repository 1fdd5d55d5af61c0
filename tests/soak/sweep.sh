#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sweep.sh BUILD [FILE…]: `list`, `list --json` and `check` of every ELF file below /usr, or of those named: each is an
# answer or a sentence, within 120 s of processor time and 4 GB; no crash. Those that are not are named.
#
# Prints TAP.
set -u
build=$(cd "$1" && pwd)
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C XDG_CACHE_HOME="$scratch/cache"
unset DEBUGINFOD_URLS
files=0
answers=0
failures=0

# asked STATUSES FILE VERB…: ends with one of them; what it refuses, it says in a sentence.
asked()
{
    statuses=$1
    file=$2
    shift 2
    (ulimit -t 120; ulimit -v 4194304; exec nice -n 10 "$build/redefine" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null)
    status=$?
    case " $statuses " in
    *" $status "*) ;;
    *) echo "# $file: $*: exit status $status: $(head -c 300 "$scratch/err")"; return 1 ;;
    esac
    [ -s "$scratch/out" ] || grep -q '^redefine: .' "$scratch/err" || { echo "# $file: $*: not a word"; return 1; }
    case "$*" in
    *--json*) [ ! -s "$scratch/out" ] || perl -MJSON::PP -0777 -e 'decode_json(<STDIN>)' <"$scratch/out" 2>>"$scratch/err" ||
        { echo "# $file: $*: that is no JSON"; return 1; } ;;
    esac
    [ "$status" != 0 ] || answers=$((answers + 1))
}

# By its header alone: names tell nothing.
is_elf()
{
    [ -f "$1" ] && [ ! -L "$1" ] && [ "$(head -c 4 "$1" 2>/dev/null | tr -d '\177')" = ELF ]
}

[ $# -gt 0 ] || find /usr -xdev -type f \( -perm -100 -o -name '*.so*' -o -name '*.o' -o -name '*.ko' -o -name '*.debug' \) \
    -size +0 >"$scratch/files"
[ $# -eq 0 ] || printf '%s\n' "$@" >"$scratch/files"
while read -r file; do
    is_elf "$file" || continue
    files=$((files + 1))
    asked "0 125" "$file" list "$file" && asked "0 125" "$file" list --json "$file" && asked "0 1 2" "$file" check "$file" main ||
        failures=$((failures + 1))
done <"$scratch/files"
[ "$failures" = 0 ] || printf 'not '
echo "ok 1 - $files files, $answers answers that are not refusals"
echo 1..1
[ "$failures" = 0 ]
