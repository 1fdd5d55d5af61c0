#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run refuses what redefine check --patch calls a blocker, whatever it is and wherever the debug data lies, and
# says the same; --force starts it all the same.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"
needs_plain_agent

cat >shop.c <<'C'
#include <stdio.h>
#define COPIED __attribute__((always_inline)) inline
struct counter { long A; };
extern int copied(int x);
COPIED int copied(int x) { __asm__ volatile("" : "+r"(x)); return x ^ 0x55; }
static COPIED int bodiless(int x) { __asm__ volatile("" : "+r"(x)); return x + 4; }
__attribute__((noinline)) int caller(int x) { return copied(x) + bodiless(x); }
__attribute__((noinline)) long bump(struct counter *c) { __asm__ volatile("" ::: "memory"); return ++c->A; }
int main(int argc, char **argv)
{
    struct counter counter = {argc};
    (void)argv;
    printf("%d %ld\n", caller(argc), bump(&counter));
    return 0;
}
C
"$CC" -O2 -g -o shop shop.c
cp shop aside && objcopy --only-keep-debug aside aside.debug && strip -g aside &&
    objcopy --add-gnu-debuglink=aside.debug aside
printf '#include <redefine/patch.h>\nstatic int mine(int x) { return x + 1000; }\nREDEFINE_PATCH("copied", mine);\n' >copied.c
printf '#include <redefine/patch.h>\nstatic int mine(int x) { return x + 1000; }\nREDEFINE_PATCH("bodiless", mine);\n' >bodiless.c
printf '#include <redefine/patch.h>\nstruct counter { int some, A; };\nstatic long mine(struct counter *c) { return c->A + 1000; }\nREDEFINE_PATCH("bump", mine);\n' >bump.c
for name in copied bodiless bump; do
    patch $name.so $name.c -g
done

is_refused()
{
    [ "$status" = 125 ] && [ ! -s out ] || { tell "it was to be refused"; return; }
    for regex; do
        grep -qE -e "$regex" err || { tell "no line on stderr says $regex"; return; }
    done
}

# refuses NAME PROGRAM PATCH REGEX…
refuses()
{
    refuses_name=$1
    program=$2
    which=$3
    shift 3
    run "$redefine" check --patch $which.so "./$program"
    result "$refuses_name: check finds a blocker" sh -c '[ "$1" = 1 ] && grep -q "^  blocker: " out' - "$status"
    run "$redefine" run --patch $which.so -- "./$program"
    result "$refuses_name: run refuses" is_refused "$@"
}
for program in shop aside; do
    refuses "$program, only copies run" $program copied 'copied.so redefines copied: nothing calls the code of copied.*; not started \(--force' \
        'is inlined into caller \(shop.c:7\)'
    refuses "$program, no code of its own" $program bodiless 'bodiless is inlined into caller \(shop.c:7\)' \
        'redefines bodiless: bodiless has no code of its own: .*not started'
    refuses "$program, another layout" $program bump 'bump.so redefines bump with another layout: ' '! +4 .*A$'
done
run "$redefine" run --force --patch copied.so -- ./shop
result "--force: nobody calls it, and that is so" sh -c '[ "$1" = 0 ] && grep -q "^89 2$" out || { cat out err; false; }' - "$status"
run "$redefine" run --force --patch bump.so -- ./shop
result "--force: another layout" sh -c '[ "$1" = 0 ] && grep -q "^89 1000$" out || { cat out err; false; }' - "$status"
run "$redefine" run --patch bump.so -- ./shop
result "the fields stand right below the sentence" sh -c '! grep -q "^$" err'

finish
