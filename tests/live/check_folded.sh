#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check of copies that fold away: gcc marks their function as inlined, and that is all it writes down. It
# marks as much what it cloned, merged or split, of which nothing of the kind is said.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/check.sh"

if ! gcc --version >/dev/null 2>&1 || ! g++ --version >/dev/null 2>&1; then
    skip "copies that fold away" "only gcc leaves a trace of them, and it is not there"
    finish
fi

# is NAME STATUS VERDICT REGEX of FUNCTION in PROGRAM; without REGEX, nothing is said of copies.
is()
{
    is_name=$1
    is_status=$2
    is_verdict=$3
    is_regex=$4
    shift 4
    check "$@"
    result "$is_name" is_verdict "$is_status" "$is_verdict" "${is_regex:-!folded away}"
}

folded='warning: inlined: inlined, where a replacement is not called.* folded away.*mark [^ ]* __attribute__\(\(noipa\)\)'

cat >fold.c <<'C'
#include <stdio.h>
struct view { int flags; long n; };
int answer(void) { return 42; }
int read_it(const int *p) { return *p; }
int declared(void);
inline int declared(void) { puts("declared"); return 3; }
static int everywhere(void) { return 7; }
__attribute__((noinline)) static int factored(int x, int factor) { puts("factored"); return x * factor; }
__attribute__((noinline)) static long make(long x) { printf("%ld\n", x); return x; }
static long get(struct view *v) { if (v->flags & 1) { puts("released"); return 0; } return make(v->n); }
static long got(struct view *v) { if (v->flags & 1) { puts("released"); return 0; } return make(v->flags); }
int sited(int x) { putchar(x); return x; }
int (*table[])(void) = {answer, declared};
int (*sites[])(int) = {sited};
int (*readers[])(const int *) = {read_it};
long (*views[])(struct view *) = {get, got};
int main(int argc, char **argv)
{
    int four = 4;
    struct view view = {argc, argc};
    (void)argv;
    return answer() + read_it(&four) + table[argc & 1]() + readers[0](&argc) + everywhere() + sited(argc) + sites[0](argc) +
           factored(argc, 10) + (int)views[argc & 1](&view) > 1000000;
}
C
for dwarf in 4 5; do
    gcc -g -gdwarf-$dwarf -O2 -o fold$dwarf fold.c || exit 1
    is "version $dwarf: a constant of which no copy is described" 1 partial "$folded" ./fold$dwarf answer
    is "… a word that is read" 1 partial "$folded" ./fold$dwarf read_it
    is "… without a body" 1 unsafe 'blocker: inlined: .*folded away.*noipa' ./fold$dwarf everywhere
    is "… copies that are described are listed instead" 1 partial '' ./fold$dwarf sited
    is "… one that is declared as inline, and was not" 0 ok '' ./fold$dwarf declared
    is "… one that was split and put together again" 0 ok '' ./fold$dwarf get
done
gcc -g -O2 -c fold.c && gcc -o stripped fold.o && objcopy --only-keep-debug stripped stripped.debug &&
    strip stripped && objcopy --add-gnu-debuglink=stripped.debug stripped || exit 1
is "in a separate file" 1 partial "$folded" ./stripped answer
for clone in $(nm fold5 | sed -n 's/.* \(factored\.[a-z]*\.[0-9]*\)$/\1/p'); do
    is "$clone is a clone, which is marked as well" 0 ok '' ./fold5 "$clone"
done

# ---- Functions that gcc found to be equal ----

cat >merged.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#define LOUD { puts("first"); puts("second"); return x * 3; }
#define SHORT { return p[2]; }
#define LONG { for (int i = 0; i < x; i++) { printf("%d\n", i * 7); if (getenv("A")) puts("x"); for (int j = 0; j < i; j++) { puts("u"); \
    if (getenv("B")) printf("%d %d\n", i, j); if (getenv("C")) printf("%d %d\n", i, j * 7); if (getenv("D")) printf("%d %d\n", i, j * 7); } } return x; }
int loud(int x) LOUD
int loud_twin(int x) LOUD
int read_it(const int *p) SHORT
int read_twin(const int *p) SHORT
int much(int x) LONG
int much_twin(int x) LONG
int (*table[])(int) = {loud, loud_twin, much, much_twin};
int (*readers[])(const int *) = {read_it, read_twin};
int main(int argc, char **argv)
{
    int v[4] = {argc, 2, 3, 4};
    (void)argv;
    return table[argc & 3](argc) + readers[argc & 1](v) + much_twin(argc) + read_twin(v) > 1000000;
}
C
gcc -g -O2 -o merged merged.c || exit 1
if objdump -d merged | grep -q 'jmp .*<much>'; then
    for pair in "loud loud_twin" "read_it read_twin" "much much_twin"; do
        kept=${pair% *}
        twin=${pair#* }
        is "$kept, whose calls are those of an equal one, too" 1 partial \
            "warning: folded: $twin has the same code, and .* go to $kept.*mark $twin __attribute__\\(\\(noipa\\)\\)" ./merged "$kept"
        result "… which is not what copies fold away to" sh -c '! grep "folded away" out'
        is "$twin, whose calls go to another one" 1 partial \
            "warning: folded: $kept has the same code, and .* calls of $twin .*redefine $kept too.*mark $twin __attribute__\\(\\(noipa\\)\\)" ./merged "$twin"
        result "… which is not for want of -g" sh -c '! grep "compile its source with -g" out'
    done
    run "$redefine" list --json ./merged 'l*'
    result "list says so" sh -c '[ "$(grep -o "\"because\":\"folded\"" out | wc -l)" = 2 ] || { cat out; false; }'
    gcc -g -O2 -fno-ipa-icf -o unmerged merged.c
    is "without -fipa-icf" 0 ok '' ./unmerged loud_twin
    # Static ones are merged with static ones, the others with others, though all are equal.
    cat >groups.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#define BODY { for (int i = 0; i < x; i++) { printf("%d\n", i * 7); if (getenv("A")) puts("x"); } return x; }
static __attribute__((noinline)) int own(int x) BODY
static __attribute__((noinline)) int own_twin(int x) BODY
int shared(int x) BODY
int shared_twin(int x) BODY
int main(int argc, char **argv)
{
    (void)argv;
    return own(argc) + own_twin(argc + 1) + shared(2) + shared_twin(argc + 3) > 100000;
}
C
    gcc -g -O2 -o groups groups.c || exit 1
    is "of several equal ones, the one that calls go to" 1 partial \
        "warning: folded: shared_twin has the same code, and .* go to shared: " ./groups shared
    is "… and from there" 1 partial "warning: folded: shared has the same code, and .* calls of shared_twin .*redefine shared too" \
        ./groups shared_twin
    is "… not another one" 1 partial "warning: folded: own_twin has the same code, and the linker or compiler" ./groups own
    result "… of which nothing else is said" sh -c '! grep shared out'
else
    skip "functions that gcc found to be equal" "this gcc does not merge them"
fi
gcc -g -O0 -o unoptimized fold.c || exit 1
is "without optimization" 0 ok '' ./unoptimized answer

# ---- Functions that several files know ----

cat >shape.h <<'C'
struct base { base(int); virtual ~base(); virtual int kind() const { return 1; } int v; };
inline int answer() { return 42; }
inline int plain() { return 43; }
template <class T> T same(T x) { return x; }
C
cat >one.cc <<'C'
#include "shape.h"
base::base(int x) : v(x + 3) { __asm__(""); }
base::~base() { __asm__(""); }
int (*pointers[])() = {answer, plain};
int (*identity)(int) = same<int>;
int other(int);
int main(int argc, char **) { base b(argc); return other(argc) + pointers[argc & 1]() + identity(argc) + b.v > 1000000; }
C
cat >two.cc <<'C'
#include "shape.h"
int other(int x) { (void)x; return answer(); }
C
g++ -g -O2 -o several one.cc two.cc || exit 1
is "inlined in one file, its body in another" 1 partial "$folded" ./several answer
is "… one that is inlined nowhere" 0 ok '' ./several plain
is "… an instance of a template" 0 ok '' ./several 'same<int>'

cat >merged.cc <<'C'
#include <cstdio>
#include <cstdlib>
#define BODY { for (int i = 0; i < x; i++) { printf("%d\n", i * 7); if (getenv("A")) puts("x"); } return x; }
template <class T> __attribute__((noinline)) int instance(int x) BODY
static __attribute__((noinline)) int plain(int x) BODY
int main(int argc, char **) { return instance<int>(argc) + instance<long>(argc + 1) + plain(argc + 3) > 100000; }
C
if g++ -g -O2 -flto -o merged_cc merged.cc && [ "$(nm merged_cc | grep -cE 'plain|instance' )" = 3 ] &&
    [ "$(nm merged_cc | grep -E 'plain|instance' | cut -d' ' -f1 | uniq | wc -l)" = 1 ]; then
    check ./merged_cc 'instance<long>'
    result "a template's instance, by the name in the source, is no other name of itself" \
        sh -c 'grep -q "folded: .*instanceIi" out && grep -q "folded: .*plain" out && ! grep -q "folded: .*instanceIl" out || { cat out; false; }'
else
    skip "a template's instance that was merged" "this g++ does not merge them"
fi
finish
