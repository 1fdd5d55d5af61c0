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

folded='warning: inlined: inlined, where a replacement is not called.* folded away.*mark [^ ]* __attribute__\(\(noinline\)\)'

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
    is "… without a body" 1 unsafe 'blocker: inlined: .*folded away.*noinline' ./fold$dwarf everywhere
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
cat >merged.c <<'C'
#include <stdio.h>
int one(int x) { puts("first"); puts("second"); return x * 3; }
int two(int x) { puts("first"); puts("second"); return x * 3; }
int (*table[])(int) = {one, two};
int main(int argc, char **argv) { (void)argv; return table[argc & 1](argc) > 1000000; }
C
gcc -g -O2 -o merged merged.c || exit 1
is "one that was copied over another that equals it" 0 ok '' ./merged one
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
finish
