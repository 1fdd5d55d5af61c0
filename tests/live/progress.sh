#!/bin/sh
# SPDX-License-Identifier: MIT
#
# One line on a terminal that says how far something has come, once it has taken a second; wiped when it is over, and
# nowhere else but on a terminal. The program is made as big as it takes here for that.
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

# seconds_of COMMAND…: leaves what it printed in ./out and ./err
seconds_of()
{
    began=$(date +%s%N)
    "$@" >out 2>err
    ended=$(date +%s%N)
    milliseconds=$(((ended - began) / 1000000))
}

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
count=100000
big $count
seconds_of "$redefine" run --output calls --count 'f*' ./big
while [ "$milliseconds" -lt 3000 ] && [ $count -lt 1600000 ]; do
    count=$((2 * count))
    big $count
    seconds_of "$redefine" run --output calls --count 'f*' ./big
done
echo "# $count functions are counted in $milliseconds ms"
result "where there is no terminal nothing is told" sh -c '[ "$(cat out)" = done ] && [ ! -s err ]'
if [ "$milliseconds" -lt 3000 ]; then
    skip "a line on a terminal" "this machine is too fast"
else
    on_a_terminal "$redefine run --output calls --count 'f*' ./big"
    result "a line on a terminal" shows_progress 'functions [a-z ]*'
    result "which is wiped away before the program prints" sh -c '[ "$(cat seen)" = done ]'
fi

seconds_of "$redefine" list ./big 'f*'
result "list: where there is no terminal nothing is told" [ ! -s err ]
if [ "$milliseconds" -lt 3000 ]; then
    skip "list: a line on a terminal" "this machine is too fast: $milliseconds ms"
else
    on_a_terminal "$redefine list ./big 'f*' >listed"
    result "list: a line on a terminal" shows_progress 'functions looked at'
    result "list: which is wiped away" [ ! -s seen ]
fi

echo 'int main(void) { return 0; }' >small.c
"$CC" -o small small.c
on_a_terminal "$redefine run --output calls --count '*' ./small"
result "what takes no second shows nothing" [ ! -s screen ]
finish
