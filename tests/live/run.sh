#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run: programs that know nothing of it say that it is five; in wrappers, children and pipes.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent
clock_patches

# The time of day, with nothing else, as each program tells it.
clock()
{
    case $1 in
    date) set -- date +%H:%M ;;
    /bin/date) set -- /bin/date +%H:%M ;;
    python3 | /usr/bin/python3) set -- "$1" -c 'import time; print(time.strftime("%H:%M"))' ;;
    datetime) set -- /usr/bin/python3 -c 'import datetime as d; print(d.datetime.now().strftime("%H:%M"))' ;;
    perl) set -- perl -e 'printf "%02d:%02d\n", (localtime)[2, 1]' ;;
    bash) set -- bash -c "printf '%(%H:%M)T\n'" ;;
    sqlite3) set -- sqlite3 :memory: "select substr(time('now'), 1, 5)" ;;
    esac
    command -v "$1" >/dev/null || return 111
    ${patches:+"$redefine" run $patches --} "$@"
}

# clock_is NAME: unpatched it tells the time; patched, what the patches say.
clock_is()
{
    patches=
    before=$(date +%H:%M)
    real=$(clock "$1") || { echo "it does not run by itself"; return 1; }
    after=$(date +%H:%M)
    [ "$real" = "$before" ] || [ "$real" = "$after" ] ||
        { echo "by itself it says $real, not $before"; return 1; }
    for told in five_pm:17:00 three_am:03:00; do
        patches="--patch ${told%%:*}.so"
        run clock "$1"
        is_as_expected 0 "${told#*:}" || return 1
    done
}

for program in date /bin/date python3 /usr/bin/python3 datetime perl bash sqlite3; do
    patches=
    clock "$program" >/dev/null 2>&1
    if [ $? = 111 ]; then
        skip "$program says that it is five" "it is not installed"
    else
        result "$program says that it is five" clock_is "$program"
    fi
done

run "$redefine" run --patch five_pm.so date +%H:%M:%S
expect "no -- is needed" 0 17:00:00
run "$redefine" run --patch five_pm.so -- date +%s
result "only the time of day changes, not the day" \
    [ "$(date -d @"$(cat out)" +%F)" = "$(date +%F)" ]

# ---- Wrappers and children ----

run "$redefine" run --patch five_pm.so -- sh -c 'exec date +%H:%M'
expect "a program that becomes another one stays patched" 0 17:00

printf '#!/bin/sh\nexec date "$@"\n' >wrapper
printf '#!/bin/sh\nexec date "$1"\n' >shell
printf '#! ./shell +%%H:%%M\n' >chain
chmod +x wrapper shell chain
run "$redefine" run --patch five_pm.so -- ./wrapper +%H:%M
expect "a script that execs: the program in the end is patched" 0 17:00

run "$redefine" run --patch five_pm.so -- ./chain
expect "a script whose interpreter is a script" 0 17:00

mkdir shims
printf '#!/usr/bin/env bash\nset -e\nexec "%s" exec "${0##*/}" "$@"\n' "$PWD/shims/manager" >shims/python3
printf '#!/bin/bash\nshift 2\nPATH=/usr/bin:/bin exec python3 "$@"\n' >shims/manager
chmod +x shims/*
run env PATH="$PWD/shims:$PATH" "$redefine" run --patch five_pm.so -- \
    python3 -c 'import time; print(time.strftime("%H"))'
expect "a shim in PATH, of scripts that exec (as pyenv has)" 0 17

# shellcheck disable=SC2016
printf '#!/bin/sh\n[ "$(date +%%H:%%M)" = "$1" ] && echo same || echo "$(date +%%H:%%M), not $1"\n' >child
chmod +x child
run "$redefine" run --follow --patch three_am.so -- ./child 03:00
expect "--follow: children" 0 same
run "$redefine" run --follow --patch five_pm.so -- sh -c 'sh -c "sh -c \"date +%H:%M\"; :"; :'
expect "--follow: grandchildren" 0 17:00
run "$redefine" run --follow --patch five_pm.so -- \
    /usr/bin/python3 -c 'import subprocess as s; print(s.check_output(["date", "+%H:%M"]).decode(), end="")'
expect "--follow: what python starts" 0 17:00
run "$redefine" run --follow --patch five_pm.so -- sh -c 'date +%H:%M | cat | sed s/17/yes/'
expect "--follow: a pipeline" 0 yes:00

before=$(date +%H:%M)
run "$redefine" run --patch three_am.so -- sh -c 'date +%H:%M; :'
after=$(date +%H:%M)
# (At three in the night this shows nothing. It did at every other minute of the day.)
result "without --follow children are not patched" \
    sh -c '[ "$1" = "$2" ] || [ "$1" = "$3" ]' - "$(cat out)" "$before" "$after"

# ---- Several patches ----

# An hour more than what is below it says.
cat >later.c <<'C'
#include <redefine/patch.h>
#include <time.h>
static int later(clockid_t clock, struct timespec *out)
{
    int status = REDEFINE_ORIGINAL(later)(clock, out);
    if (status == 0 && clock == CLOCK_REALTIME)
        out->tv_sec += 3600;
    return status;
}
REDEFINE_PATCH("clock_gettime", later);
C
patch later.so later.c
run "$redefine" run --patch five_pm.so --patch later.so -- date +%H:%M
expect "two patches stack: the later one's original is the earlier one" 0 18:00
run "$redefine" run --patch later.so --patch five_pm.so -- date +%H:%M
expect "two patches, the other way round" 0 17:00
run "$redefine" run --patch five_pm.so --patch later.so --patch three_am.so -- date +%H:%M
expect "three patches" 0 03:00
run "$redefine" run --patch five_pm.so --patch five_pm.so -- date +%H:%M
expect "a patch named twice counts once" 0 17:00
run "$redefine" run --patch five_pm.so -- "$redefine" run --patch later.so -- date +%H:%M
expect "redefine run under redefine run: the inner patches stack upon the outer ones" 0 18:00
run "$redefine" run --patch later.so -- "$redefine" run --patch five_pm.so -- date +%H:%M
expect "the same, the other way round" 0 17:00
run "$redefine" run --follow --patch five_pm.so -- \
    sh -c "'$redefine' run --patch later.so -- date +%H:%M; date +%H:%M"
expect "redefine run in a child of one that follows" 0 "18:00${newline}17:00"

# ---- Names that we have, too ----

# Our own static functions are nobody else's matter: a name is looked for in all objects.
ours="apply load report parse find compare begin commit publish resolve open_file start"
{
    for name in $ours; do echo "__attribute__((noinline)) static int $name(int x) { __asm__(\"\"); return x + 1; }"; done
    echo '#include <stdio.h>'
    echo 'int main(void) { int sum = 0;'
    for name in $ours; do echo "sum = $name(sum);"; done
    echo 'printf("%d%c", sum, 10); return 0; }'
} >ours.c
"$CC" -O1 -o ours ours.c
{
    echo '#include <redefine/patch.h>'
    for name in $ours; do echo "static int new_$name(int x) { return x + 10; } REDEFINE_PATCH(\"$name\", new_$name);"; done
} >ours_patch.c
patch ours.so ours_patch.c
run "$redefine" run --patch ours.so -- ./ours
expect "a program's functions that are called as ours are" 0 120
sed 's/new_//g' ours_patch.c >alike.c
patch alike.so alike.c
run "$redefine" run --patch alike.so -- ./ours
expect "… and as those of the patch are" 0 120

# ---- Where the patch lies ----

mkdir -p "a folder/deeper" 'equals=and:colons'
cp five_pm.so "a folder/five pm.so"
cp five_pm.so "a folder/deeper/$(printf 'new\nline.so')"
ln -s "$PWD/five_pm.so" "a folder/link.so"
run "$redefine" run --patch "a folder/five pm.so" -- date +%H
expect "a relative path with spaces" 0 17
run "$redefine" run --patch "$PWD/a folder/five pm.so" -- date +%H
expect "an absolute path with spaces" 0 17
run "$redefine" run --patch "a folder/deeper/$(printf 'new\nline.so')" -- date +%H
expect "a line break in the patch's name" 0 17
run "$redefine" run --patch "a folder/link.so" -- date +%H
expect "a symbolic link" 0 17
run sh -c 'cd "a folder/deeper" && exec "$1" run --follow --patch ../link.so -- sh -c "cd /; date +%H; :"' \
    - "$redefine"
expect "a relative path is that of where redefine was started" 0 17

# ---- What it says ----

cat >asks.c <<'C'
#include <stdio.h>
#include <time.h>
int main(void)
{
    printf("%ld\n", (long)time(NULL) % 86400);
    return 0;
}
C
"$CC" -o asks asks.c
run "$redefine" run --verbose --patch five_pm.so -- ./asks
# The emulator would run stale code after a write through that file, which is noticed.
[ "${TEST_EMULATED:-}" ] && writer=mprotect || writer=/proc/self/mem
result "--verbose: a line on stderr for each function and one for all, none on stdout" \
    sh -c '[ "$(cat out)" = 61200 ] && [ "$(wc -l <err)" -eq 4 ] &&
           grep -q "^redefine: $PWD/five_pm.so: L0: no other thread; [0-9]* edits, written by $1" err &&
           [ "$(grep -c "^redefine: $PWD/five_pm.so: [a-z_]*: .*displaced, relay .*original" err)" -eq 3 ] ||
           { cat out err; false; }' - "$writer"
run "$redefine" run --verbose --patch five_pm.so --patch later.so -- ./asks
result "--verbose: a line for the second patch as well" \
    sh -c 'grep "later.so: clock_gettime:" err || { cat err; false; }'
finish
