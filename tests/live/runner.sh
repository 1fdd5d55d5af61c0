#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tools/run-tests itself, on a tree with one test: whatever starts it (nohup, cron, a service, a shell's &), a
# test begins as from a terminal, and its end is told.
set -u
. "$SRC/tests/support/tap.sh"

mkdir -p tree/tools tree/tests/live tree/build
cp "$SRC/tools/run-tests" tree/tools/

# one_test LINE…: the tree's only test.
one_test()
{
    printf '%s\n' '#!/bin/sh' "$@" >tree/tests/live/one.sh
}

# (Signals 32 and 33 are the C library's own, and left ignored by its posix_spawn.)
one_test 'grep -E "^Sig(Blk|Ign)" /proc/self/status | grep -vE "0000000[01][08]0000000$" && exit 1' \
    '[ "$(umask)" = 0022 ] || { umask; exit 1; }' '[ -d "$HOME" ] || { echo "no HOME"; exit 1; }' \
    'echo ok 1 - plain' 'echo 1..1'
for how in "trap '' HUP INT QUIT PIPE TERM CHLD USR1 USR2; exec" 'umask 077; exec' 'exec <&-; exec' 'exec 2>&-; exec' \
    'exec env -i PATH="$PATH"' 'exec setsid' 'exec nohup'; do
    run sh -c "$how perl tree/tools/run-tests tree/build" </dev/null
    result "started by: $how" sh -c '[ "$(tail -n 1 out)" = "1 passed, 0 failed, 0 skipped" ] || { cat out err; false; }'
done
run perl -e 'use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR2, SIGTERM, SIGCHLD)); exec @ARGV' \
    perl tree/tools/run-tests tree/build
result "started with signals blocked" grep -q '^1 passed, 0 failed, 0 skipped' out
run env -u HOME -u TMPDIR -u TERM -u LANG perl tree/tools/run-tests tree/build
result "started without HOME, TMPDIR and TERM" grep -q '^1 passed, 0 failed, 0 skipped' out

one_test 'echo ok 1 - first' 'kill -9 $$'
run perl tree/tools/run-tests tree/build
result "a test that is killed is a failure, and shown" sh -c '
    [ '"$status"' = 1 ] && grep -q "ended by signal 9" out && [ "$(tail -n 1 out)" = "1 passed, 1 failed, 0 skipped" ]'
finish
