#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Clones that gcc really makes (.constprop .isra .part .cold .lto_priv): what check says of each, which ones
# --clones takes along, and that their callers then meet the replacement.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"
command -v gcc >/dev/null && [ "$(uname -m)" = x86_64 ] || skip_all "these clones are made by gcc for x86-64"
gcc --version | grep -qi clang && skip_all "gcc is another compiler here"

cat >program.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#define KEPT __attribute__((noinline))
#define LOOP long s = 0; for (long i = 0; i < n; i++) s += v[i] * (factor > 9 ? v[i] % factor : factor) + (factor & 3 ? n : i); return s
/* The last parameter becomes a constant, or one in the middle; an attribute of the type that counts parameters keeps them. */
KEPT static long last(const long *v, long n, int factor) { LOOP; }
KEPT static long middle(const long *v, int factor, long n) { LOOP; }
KEPT __attribute__((nonnull(1))) static long whole(const long *v, long n, int factor) { LOOP; }
#define THRICE(f) f(v, n, -10) + f(v + 1, n - 1, -10) + f(v + 2, n - 2, -10)
#define swapped(v, n, factor) middle(v, factor, n)
__attribute__((hot)) long often(const long *v, long n) { return THRICE(last); }
__attribute__((hot)) long often_middle(const long *v, long n) { return THRICE(swapped); }
__attribute__((hot)) long often_whole(const long *v, long n) { return THRICE(whole); }
/* What a pointer leads to is passed instead of it. */
struct big { long a, b, c; };
KEPT static long split(const struct big *b, long n, long factor) { long s = b->a; for (long i = 0; i < n; i++) s += s * (factor > 9 ? i % factor : factor); return s; }
__attribute__((hot)) long often_split(const struct big *b, long n) { return split(b, n, 10) + split(b, n + 1, 10) + split(b, n + 2, 10); }
long (*volatile any)(const struct big *, long, long) = split;
/* Nothing but clones is left. */
KEPT static long quiet(long *p, long x) { *p = x * 7 + 3 % (x | 1); return *p * 3; }
void loud(long *p, long x) { quiet(p, x); quiet(p, x + 1); }
/* An early return is inlined, the rest is a piece. */
#define ROUND(k) for (long i = 0; i < n; i++) { p[i] = p[i] * k + labs(p[i]); if (p[i] == 1234567) printf("."); }
long pieces(long *p, long n) { if (!p) return 0; ROUND(3) ROUND(5) ROUND(7) ROUND(11) ROUND(13) ROUND(17) ROUND(19) ROUND(21) ROUND(23) return p[0]; }
KEPT long one(long *p) { return pieces(p, 2); } KEPT long two(long *p) { return pieces(p + 1, 3); } KEPT long three(long *p) { return pieces(p + 2, 3); }
/* … and no other body of it is left: it is static. */
static long rest(long *p, long n) { if (!p) return 0; ROUND(3) ROUND(5) ROUND(7) ROUND(11) ROUND(13) ROUND(17) ROUND(19) ROUND(21) ROUND(25) return p[0]; }
KEPT long four(long *p) { return rest(p, 2); } KEPT long five(long *p) { return rest(p + 1, 3); }
/* Unlikely blocks lie elsewhere. */
KEPT long chilly(long *p, long n) { for (long i = 0; i < n; i++) { p[i] = p[i] * 3 + printf("%s", ""); if (p[i] == 77) abort(); } return p[0]; }
int main(int c, char **arguments)
{
    long v[8] = {1, 2, 3, 4, 5, 6, 7, 8}, q[2];
    struct big b = {c, 2, 3};
    (void)arguments;
    loud(q, c);
    printf("often %ld %ld %ld %ld\n", often(v, 5), often_middle(v, 5), often_whole(v, 5), often_split(&b, 5));
    printf("any %ld %ld %ld %ld\n", last(v, 5, c), middle(v, c, 5), whole(v, 5, c), any(&b, 5, c));
    return one(v) + two(v) + three(v) + four(v) + five(v) + chilly(v, 2) == q[0];
}
C

# made NAME: whether this gcc made the clone.
made()
{
    nm program | grep -q " $1\$"
}

# says NAME REGEX: of the last check.
says()
{
    result "$1" sh -c 'grep -qE -e "$1" out || { cat out err; false; }' - "$2"
}

# says_of CLONE REGEX: what check says of it, where this gcc makes it.
says_of()
{
    if made "$1"; then
        run "$redefine" check ./program "${1%%.*}"
        says "$1${place:+, $place}" "$2"
    else
        skip "$1" "this gcc does not make it"
    fi
}

cat >patch.c <<'C'
#include <redefine/patch.h>
static long mine(const long *v, long n, int factor)
{
    return REDEFINE_ORIGINAL(mine)(v, n, factor) * 0 + 7000 + factor;
}
REDEFINE_PATCH("whole", mine);
C
patch whole.so patch.c -g

# The debug data says where parameters are in as many ways as there are forms of it.
for form in "-gdwarf-5" "-gdwarf-4" "-gdwarf-5 -gsplit-dwarf" "-gdwarf-4 -gsplit-dwarf" "-gdwarf-5 -gz=zlib"; do
    place=$form
    # shellcheck disable=SC2086 # several words
    gcc -O3 -fno-ipa-icf $form -o program program.c || { echo "Bail out! program.c"; exit 1; }
    says_of last.constprop.0 \
        'warning: clone: 3 direct calls go to last.constprop.0, which takes one parameter less: factor is always -10; compile with -fno-ipa-cp, or mark last __attribute__\(\(noclone\)\)'
    line=$(grep -n 'THRICE(last)' program.c | cut -d: -f1)
    says_of last.constprop.0 \
        "warning: clone: program.c:$line: often calls last.constprop.0, where a replacement is not called: .*redefine often instead"
    result "… each line once" sh -c '[ "$(grep -c ": often calls last.constprop.0" out)" = 1 ] || { cat out; false; }'
    says_of middle.constprop.0 'middle.constprop.0, which takes one parameter less: factor is always -10'
    says_of whole.constprop.0 \
        'warning: clone: 3 direct calls go to whole.constprop.0, which takes the same parameters: redefine it too, with the same replacement'
    says_of split.constprop.0.isra.0 'split.constprop.0.isra.0, which takes 2 parameters less: b is not passed, factor .*-fno-ipa-sra'
done
if command -v dwp >/dev/null; then
    gcc -O3 -fno-ipa-icf -gdwarf-4 -gsplit-dwarf -o program program.c
    if dwp -e program -o program.dwp 2>/dev/null && [ -s program.dwp ]; then
        rm -f -- *.dwo
        place="a package"
        says_of whole.constprop.0 'which takes the same parameters'
        rm -f program.dwp
    else
        skip "clones in a package" "dwp cannot make one"
    fi
else
    skip "clones in a package" "no dwp"
fi
place=
gcc -O3 -fno-ipa-icf -g0 -o program program.c
says_of last.constprop.0 'warning: clone: often calls last.constprop.0, where'
gcc -O3 -fno-ipa-icf -g -o program program.c
if made last.constprop.0; then
    run "$redefine" check --json ./program last
    says "JSON has the caller, its file and line" '"kind":"clone","severity":"warning","file":"program.c","line":[0-9]+,"caller":"often"'
fi
run "$redefine" check ./program chilly
says "chilly.cold" 'note: clone: chilly.cold is a piece of the body, its unlikely blocks'
run "$redefine" check ./program quiet
if made quiet.isra.0; then
    says "a function of which only clones are left" 'blocker: no-caller: quiet has no code of its own, only clones of it'
    says "… which are named" 'warning: clone: quiet.isra.0 is a clone of it'
    result "… is unsafe" test "$status" = 1
else
    skip "a function of which only clones are left" "this gcc leaves it"
fi
gcc -O2 -g -o program program.c
run "$redefine" check ./program rest
if made rest.part.0; then
    says "a function that is inlined but for a piece" 'blocker: inlined: program.c:[0-9]+: inlined into (four|five)'
    says "… has no code of its own" 'blocker: no-caller: rest has no code of its own, only clones of it'
    says "… and its piece is named" 'warning: clone: rest.part.0 is the piece of the body that was not inlined'
else
    skip "a function that is inlined but for a piece" "this gcc leaves it whole"
fi
says_of pieces.part.0 'pieces.part.0 is a piece of the body, and [0-9]+ direct calls? .* -fno-partial-inlining, or mark pieces __attribute__\(\(noipa\)\)'
result "… its own calls of pieces are not told of" sh -c '! grep "pieces calls" out'

# ---- list: a clone is a function, too ----

gcc -O3 -fno-ipa-icf -g -o program program.c
if made last.constprop.0; then
    run "$redefine" list ./program '*.constprop.*'
    result "list: what is called is not told to have no caller" sh -c '! grep no-caller out && grep -q last.constprop.0 out || { cat out; false; }'
else
    skip "list of clones" "this gcc makes no last.constprop.0"
fi

# ---- --clones ----

gcc -O3 -fno-ipa-icf -g -o program program.c
if made whole.constprop.0; then
    run "$redefine" check ./program whole
    result "check: some calls would not reach the replacement" test "$status" = 1
    run "$redefine" check --clones ./program whole
    expected_of_clones()
    {
        [ "$status" = 0 ] && grep -q '^whole.constprop.0 at .*: ok$' out &&
            grep -q 'note: clone: 3 direct calls go to whole.constprop.0, which takes the same parameters: nothing is to be done, --clones takes it along' out ||
            tell "whole.constprop.0 was to be taken along"
    }
    result "check --clones: all would" expected_of_clones
    run "$redefine" check --clones --patch whole.so ./program
    result "check --clones --patch" expected_of_clones
    run "$redefine" check --clones ./program last
    result "check --clones: what does not fit is still a hazard" test "$status" = 1

    needs_plain_agent
    before=$(./program | head -1)
    run "$redefine" run --patch whole.so -- ./program
    result "run without --clones: callers of the clone do not meet the replacement" \
        sh -c 'sed 1q out | grep -qx "$1" && grep -q "^any.* 7001 " out' - "$before"
    says_err()
    {
        result "$1" sh -c 'grep -qE -e "$1" err || { cat err; false; }' - "$2"
    }
    says_err "… and it offers the option" 'warning: calls of whole .* whole.constprop.0 do not call .*; --clones redefines that too: it takes the same'
    run "$redefine" run --clones --patch whole.so -- ./program
    result "run --clones: they do" sh -c 'grep -qE "^often .* 20970 " out && grep -q "^any.* 7001 " out && [ ! -s err ] || { cat out err; false; }'
    run "$redefine" run --clones --force --patch whole.so -- ./program
    result "… with --force too" grep -qE '^often .* 20970 ' out
    run "$redefine" run --clones --verbose --patch whole.so -- ./program
    says_err "… and --verbose says how" 'whole.constprop.0@program.c: '
    sed -e '/REDEFINE_PATCH/d' -e 's/REDEFINE_ORIGINAL(mine)(v, n, factor) \* 0/0/' -e 's/static long mine/long mine/' patch.c >plain.c
    patch plain.so plain.c
    run "$redefine" run --clones --replace whole=plain.so:mine -- ./program
    result "run --clones --replace" grep -qE '^often .* 20970 ' out
    sed 's/"whole"/"last"/' patch.c >last.c
    patch last.so last.c -g
    run "$redefine" run --clones --patch last.so -- ./program
    says_err "run: what does not fit is left, and it says why" \
        'warning: calls of last .*last.constprop.0 do not call the replacement: it takes one parameter less: factor is always -10'
    result "… and its callers are as before" sh -c 'sed 1q out | grep -qx "$1"' - "$before"
    cp program bare && strip -g bare
    run "$redefine" run --clones --patch whole.so -- ./bare
    says_err "run: without debug data no clone is taken along" 'may take other parameters: only debug data'
    cat >twice.c <<'C'
static long first(const long *v, long n, int factor) { return REDEFINE_ORIGINAL(first)(v, n, factor) + 1; }
REDEFINE_PATCH("whole", first);
C
    { echo '#include <redefine/patch.h>'; cat twice.c; } >stacked.c
    patch stacked.so stacked.c -g
    run "$redefine" run --clones --patch whole.so --patch stacked.so -- ./program
    result "run --clones: patches stack on the clone as well" grep -qE '^any.* 7002 ' out

    # The library: by name, in one batch.
    cat >inside.c <<'C'
#include <redefine/redefine.h>
#include <stdio.h>
#include <stdlib.h>
static long mine(const long *v, long n, int factor) { (void)v; (void)n; return 7000 + factor; }
__attribute__((constructor)) static void start(void)
{
    void *function, *clone;
    redefine_batch *batch = redefine_batch_new();
    if (redefine_find("whole", &function) || redefine_find("whole.constprop.0", &clone) || function == clone ||
        redefine_batch_add(batch, function, (void *)mine) || redefine_batch_add(batch, clone, (void *)mine) ||
        redefine_batch_commit(batch)) {
        puts(redefine_explain());
        exit(2);
    }
    redefine_batch_free(batch);
}
C
    if gcc -O3 -fno-ipa-icf -g -I"$SRC/include" -o inside program.c inside.c -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD" 2>why; then
        run ./inside
        result "the library finds a clone by its name, and one batch takes both" \
            sh -c 'grep -qE "^often .* 20970 " out && grep -q "^any.* 7001 " out || { cat out err; false; }'
    else
        skip "the library and a clone" "$(head -1 why)"
    fi
else
    skip "--clones" "this gcc makes no whole.constprop.0"
fi

# ---- Linked as a whole ----

echo 'long other(long); __attribute__((noinline)) long parse(long x) { return x * 3 + other(x); }
    int main(int c, char **v) { (void)v; return parse(c) == other(c + 1); }' >lto_a.c
echo '__attribute__((noinline)) static long parse(long x) { __asm__(""); return x * 5; }
    long other(long x) { return parse(x) + 1; }' >lto_b.c
if gcc -O2 -g -flto -flto-partition=max -o program lto_a.c lto_b.c 2>why && made parse.lto_priv.0; then
    run "$redefine" check ./program parse
    says "parse.lto_priv.0 of another file is another function" \
        'note: clone: parse.lto_priv.0 is another function of that name, of .*lto_b.c:1'
    result "… and no hazard" test "$status" = 0
    strip -g program
    run "$redefine" check ./program parse
    says "… which is not known without debug data" 'warning: clone: .*parse.lto_priv.0, which may take other parameters'
else
    skip ".lto_priv" "this gcc makes none"
fi
finish
