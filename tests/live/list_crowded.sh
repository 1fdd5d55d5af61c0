#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine list: files whose symbols crowd where a step for each of the others is soon too many. What it may take is
# processor time, of which a busy machine takes no more; a step too many for each symbol takes several times that.
set -u
. "$SRC/tests/support/tap.sh"
[ "$(uname -m)" = x86_64 ] && command -v as >/dev/null && command -v ld >/dev/null ||
    skip_all "the programs are made for x86-64, by an assembler and a linker"

# program NAME AWK…: assembles what awk prints.
program()
{
    name=$1
    shift
    awk "$@" >"$name.s" && as -o "$name.o" "$name.s" && ld -e 0 -o "$name" "$name.o" 2>ld.err ||
        { cat ld.err; echo "Bail out! $name cannot be built"; exit 1; }
    rm "$name.s" "$name.o"
}

# is_quick FUNCTIONS ARGUMENT…: in ten seconds of processor time; with a sanitizer, in more.
is_quick()
{
    seconds=10
    ! nm "$redefine" | grep -q __asan || seconds=60
    wanted=$1
    shift
    (ulimit -t "$seconds"; exec "$redefine" "$@" >out 2>err)
    status=$?
    grep -q "^$wanted functions\?: " out || tell "$wanted functions were expected, in $seconds s"
}

# A kernel's text: what every function calls (__x86_return_thunk) lies last, and a symbol for each exported one follows.
program behind 'BEGIN {
    print ".text"
    for (i = 0; i < 60000; i++)
        printf ".type f_%d, @function\nf_%d: push %%rbp\ncall last\npop %%rbp\nret\n.size f_%d, . - f_%d\n", i, i, i, i
    print ".globl last\n.type last, @function\nlast: mov %edi, %eax\nret\n.size last, . - last"
    for (i = 0; i < 60000; i++)
        printf ".type d_%d, @object\nd_%d: .quad 0\n.size d_%d, 8\n", i, i, i
}'
result "60,000 symbols of data behind the last function" is_quick 60,001 list ./behind

program names 'BEGIN {
    print ".text"
    for (i = 0; i < 100000; i++)
        printf ".globl f_%d\n.type f_%d, @function\nf_%d:\n", i, i, i
    print "push %rbp\nmov %edi, %eax\npop %rbp\nret"
    for (i = 0; i < 100000; i++)
        printf ".size f_%d, 5\n", i
}'
result "100,000 names of one function" is_quick 1 list ./names

program clones 'BEGIN {
    body = "push %rbp\nmov %edi, %eax\npop %rbp\nret"
    printf ".text\n.globl f\n.type f, @function\nf: %s\n.size f, . - f\n", body
    for (i = 0; i < 100000; i++)
        printf ".type f.constprop.%d, @function\nf.constprop.%d: %s\n.size f.constprop.%d, . - f.constprop.%d\n", i, i, body, i, i
}'
result "100,000 clones of one function" is_quick 100,001 list ./clones
finish
