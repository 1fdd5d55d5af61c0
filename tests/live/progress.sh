#!/bin/sh
# SPDX-License-Identifier: MIT
#
# One line on a terminal that says how far something has come, once it has taken a second; wiped when it is over, and
# nowhere else but on a terminal. Seconds pass as fast as it takes here for that.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent

# big COUNT: a program of so many functions
big()
{
    awk -v count="$1" 'BEGIN {
        print ".text"
        for (i = 0; i < count; i++)
            printf ".globl f%d\n.type f%d, @function\nf%d:\n.cfi_startproc\npush %%rbx\nmov %%edi, %%ebx\n" \
                "lea 1(%%rbx), %%eax\npop %%rbx\nret\n.cfi_endproc\n.size f%d, .-f%d\n.balign 16\n", i, i, i, i, i
        print ".section .note.GNU-stack,\"\",@progbits"
    }' >many.s
    echo '#include <stdio.h>
int main(void) { puts("done"); return 0; }' >big.c
    "$CC" -o big big.c many.s
}

# A clock on which SPEED times as much time passes.
cat >clock.c <<'END'
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ret)
{
    static long long began;
    const char *speed = getenv("SPEED");
    long status = syscall(SYS_clock_gettime, id, ret);
    if (status || id != CLOCK_MONOTONIC || !speed)
        return (int)status;
    long long now = ret->tv_sec * 1000000000LL + ret->tv_nsec;
    began = began ? began : now;
    now = began + (now - began) * atoi(speed);
    *ret = (struct timespec){now / 1000000000, now % 1000000000};
    return 0;
}
END
"$CC" -shared -fPIC -o clock.so clock.c
fast="env LD_PRELOAD=$PWD/clock.so SPEED=1000"
still="env LD_PRELOAD=$PWD/clock.so SPEED=0"

# on_a_terminal COMMAND: leaves what the terminal got in ./screen, and its last line, as it is seen, in ./seen
on_a_terminal()
{
    script -qec "$1" /dev/null </dev/null >screen
    tr -d '\n' <screen | sed "s/.*$(printf '\r\033')\\[K//" | tr -d '\r' >seen
}

shows_progress()
{
    grep -q "$(printf '\r\033')\\[K$1: [0-9]* of [0-9]*" screen || { cat -v screen | tail -n 3; false; }
}

case $(uname -m) in
x86_64) ;;
*) skip_all "the functions are written for x86-64" ;;
esac
big 10000
$fast "$redefine" run --output calls --count 'f*' ./big >out 2>err
result "where there is no terminal nothing is told" sh -c '[ "$(cat out)" = done ] && [ ! -s err ]'
on_a_terminal "$fast $redefine run --output calls --count 'f*' ./big"
result "a line on a terminal" shows_progress 'functions [a-z ]*'
result "which is wiped away before the program prints" sh -c '[ "$(cat seen)" = done ]'

$fast "$redefine" list ./big 'f*' >out 2>err
result "list: where there is no terminal nothing is told" [ ! -s err ]
on_a_terminal "$fast $redefine list ./big 'f*' >listed"
result "list: a line on a terminal" shows_progress 'functions looked at'
result "list: which is wiped away" [ ! -s seen ]

on_a_terminal "$still $redefine list ./big 'f*' >listed"
result "what takes no second shows nothing" [ ! -s screen ]
on_a_terminal "$still $redefine run --output calls --count 'f*' ./big"
result "nor in the program" sh -c '[ "$(tr -d "\r\n" <screen)" = done ]'
finish
