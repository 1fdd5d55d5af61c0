#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run: what the program gets and gives passes through as if nobody stood between: arguments, streams,
# environment, descriptors, signals, exit status.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent
clock_patches

# patched PROGRAM ARG…
patched()
{
    "$redefine" run --patch "$TMP/five_pm.so" -- "$@"
}

# same NAME PROGRAM ARG…: patched or not, the output is the same, and not empty.
same()
{
    same_name=$1
    shift
    "$@" >expected 2>/dev/null
    run patched "$@"
    result "$same_name" sh -c '[ -s out ] && diff expected out && cat err && [ ! -s err ]'
}

# ---- How it ends ----

wrong=
code=0
while [ $code -lt 256 ]; do
    patched sh -c "exit $code"
    got=$?
    [ $got = $code ] || wrong="$wrong $code became $got"
    code=$((code + ${TEST_SLOWDOWN:-1}))
done
result "exit statuses, 0 to 255" [ -z "$wrong" ]
for signal in HUP:1 INT:2 QUIT:3 ABRT:6 KILL:9 SEGV:11 PIPE:13 TERM:15; do
    run perl -e 'system { $ARGV[0] } @ARGV; printf "%d\n", $? & 127' \
        "$redefine" run --patch five_pm.so -- perl -e "kill '${signal%:*}', \$\$"
    expect "death by SIG${signal%:*}" 0 "${signal#*:}"
done
run sh -c 'echo $$; exec "$1" run --patch five_pm.so -- sh -c "echo \$\$"' - "$redefine"
result "the program has the process id of redefine" [ "$(uniq out | wc -l)" = 1 ]

# ---- Arguments ----

cat >arguments.c <<'C'
#include <stdio.h>
int main(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        printf("<%s>\n", argv[i]);
    return 0;
}
C
"$CC" -o arguments arguments.c
same "arguments: none" ./arguments
same "arguments: empty, spaces, line breaks, quotes, bytes that are no UTF-8" \
    ./arguments '' ' ' 'two words' "$(printf 'a\nb')" '"' "'" '*' '\' "$(printf '\377\001')" ''
same "arguments: options, and --, behind the program are its own" \
    ./arguments --patch nothing.so -- --follow -- --help -x
run "$redefine" run --patch=five_pm.so ./arguments --verbose
expect "--patch=P.so, no --, options behind the program" 0 "<./arguments>$newline<--verbose>"
cp arguments ./-x
run env PATH="$PWD" "$redefine" run --patch five_pm.so -- -x -- y
expect "a program whose name begins with a dash" 0 "<-x>$newline<-->$newline<y>"
run env PATH="/nowhere::$PWD" "$redefine" run --patch five_pm.so -- arguments x
expect "an empty folder in PATH is this one; argv[0] is what was given" 0 "<arguments>$newline<x>"
many=$(awk 'BEGIN { for (i = 0; i < 20000; i++) print i }')
# Not quoted: these are twenty thousand words.
# shellcheck disable=SC2086
same "arguments: twenty thousand" ./arguments $many

# ---- Streams and descriptors ----

run sh -c 'head -c 3000000 /dev/zero | "$1" run --patch five_pm.so -- cat | wc -c | tr -d " "' - "$redefine"
expect "stdin and stdout are the pipes they were" 0 3000000
run sh -c 'echo in | "$1" run --patch five_pm.so -- sh -c "cat; echo error >&2" 2>&1' - "$redefine"
expect "all three streams" 0 "in${newline}error"
same "open descriptors" ls /proc/self/fd
patched date +%H:%M >out 2>&-
status=$?
: >err
expect "stderr closed" 0 17:00
patched date +%H:%M >out 2>err <&-
status=$?
expect "stdin closed" 0 17:00
ls /proc/self/fd <&- 2>&- >expected
patched ls /proc/self/fd <&- 2>&- >out
status=$?
: >err
expect "closed descriptors stay closed" 0 "$(cat expected)"
run sh -c '"$1" run --patch five_pm.so -- echo x >/dev/full' - "$redefine"
result "stdout full: the program's own error" [ "$status" = 1 ]
exec 7<"$SRC/LICENSE"
run patched sh -c 'head -c 11 <&7; echo'
exec 7<&-
expect "a descriptor that was handed down" 0 "MIT License"

# ---- Memory, signals, limits ----

run patched grep -E '^[^ ]+ (rwx|-wx)' /proc/self/maps
expect "no page is writable and executable" 1 ""
same "signal mask, ignored signals, rights" \
    grep -E '^Sig(Blk|Ign|Cgt)|^CapEff|^NoNewPrivs|^Seccomp|^TracerPid|^Threads' /proc/self/status
if [ "${TEST_EMULATED:-}" ]; then
    skip "ignored signals stay ignored" "what the system tells of signals is of the emulator's"
else
    run perl -e '$SIG{PIPE} = $SIG{USR1} = "IGNORE"; exec @ARGV' \
        "$redefine" run --patch five_pm.so -- grep SigIgn /proc/self/status
    result "ignored signals stay ignored" grep -qi '1200$' out
fi
for limit in '-n 8' '-v 60000' '-s 256' '-f 0' '-c 0'; do
    if [ "${TEST_EMULATED:-}" ] && [ "$limit" = '-f 0' ]; then
        skip "ulimit $limit" "the emulator itself writes a file for whoever reads /proc/self/maps"
        continue
    fi
    # The output goes through a pipe: to a file nothing may be written.
    sh -c "ulimit $limit && exec \"\$@\"" - "$redefine" run --patch five_pm.so -- date +%H:%M 2>&1 | cat >out
    status=0
    : >err
    expect "ulimit $limit" 0 17:00
done

# ---- The environment ----

# What a child sees, but for what differs by nature.
environment()
{
    "$@" sh -c 'env; :' | grep -v '^_='
}

environment env >expected
environment patched >out
result "children see the environment that they would have had" diff expected out
library=$(ldd "$BUILD/redefine" | awk '$1 ~ /libz|libc\.so/ { print $3; exit }')
(export LD_PRELOAD="$library" REDEFINE_ME=1 && environment env >expected)
(export LD_PRELOAD="$library" REDEFINE_ME=1 && environment patched >out)
result "an LD_PRELOAD of the user is what children see" diff expected out
(export POSIXLY_CORRECT=1 && environment env >expected)
(export POSIXLY_CORRECT=1 && environment patched >out)
result "so is what this command itself asks getopt not to obey" diff expected out
(export LD_PRELOAD='' && environment env >expected)
(export LD_PRELOAD='' && environment patched >out)
result "an empty LD_PRELOAD stays an empty one" diff expected out
env >expected
"$redefine" run --follow --patch five_pm.so -- env >out
result "even with --follow, only LD_PRELOAD and REDEFINE_… are added" sh -c '
    grep -v "^_=" expected | sort >expected.sorted
    grep -a -v -E "^(_|LD_PRELOAD|REDEFINE_[A-Z]*)=" out | sort | diff expected.sorted -'

cat >preloaded.c <<'C'
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void start(void)
{
    (void)!write(1, "preloaded\n", 10);
}
int getpagesize(void)
{
    return 1234567;
}
C
"$CC" -shared -fPIC -o preloaded.so preloaded.c
run env LD_PRELOAD="$PWD/preloaded.so" "$redefine" run --patch five_pm.so -- date +%H:%M
# It is loaded into the command as well.
expect "an LD_PRELOAD of the user is effective, and so is the patch" \
    0 "preloaded${newline}preloaded${newline}17:00"
run env LD_PRELOAD="$PWD/preloaded.so" "$redefine" run --patch five_pm.so -- sh -c 'sh -c :; :'
result "an LD_PRELOAD of the user is effective in children" [ "$(grep -c preloaded out)" = 3 ]
run "$redefine" run --patch five_pm.so -- sh -c 'LD_PRELOAD=$LD_PRELOAD:$PWD/preloaded.so sh -c "env; :"; :'
result "what a script adds to LD_PRELOAD stays" sh -c '
    grep -q "^LD_PRELOAD=$PWD/preloaded.so:*$" out && ! grep -a REDEFINE_ out || { cat out; false; }'
run "$redefine" run --patch five_pm.so -- \
    sh -c 'LD_PRELOAD=${LD_PRELOAD%% *} A=b sh -c "echo \"[\$A]\"; :"; :'
expect "a script that meddles with LD_PRELOAD harms nothing" 0 "[b]"

run env -i "$redefine" run --patch five_pm.so -- /bin/date +%H:%M
expect "an empty environment" 0 17:00
big=$(head -c 100000 /dev/zero | tr '\0' x)
run env A="$big" B="$big" C="$big" D="$big" E="$big" F="$big" G="$big" H="$big" I="$big" \
    "$redefine" run --patch five_pm.so -- sh -c 'date +%H:%M; sh -c "echo ${#A} ${#I}"'
result "an environment of 900,000 bytes" sh -c 'grep -q "^100000 100000$" out || { cat err; false; }'
run env REDEFINE_REQUEST=nonsense REDEFINE_FLAGS=f REDEFINE_PID=1 \
    "$redefine" run --patch five_pm.so -- date +%H:%M
expect "leftovers of another run in the environment" 0 17:00
finish
