#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check, list and show: names. Aliases beside functions that were merged, symbols that were put aside, what
# clones are called and where things are, so that other tools' words and addresses can be given and compared.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/check.sh"

# told NAME STATUS REGEX… of the last run; "!REGEX": no line says that.
told()
{
    told_name=$1
    shift
    result "$told_name" is_said "$@"
}

# ---- Aliases, and functions that were merged ----

cat >merged.c <<'C'
#define KEPT __attribute__((noinline))
KEPT int celsius(int x) { __asm__ volatile(""); return x * 13 + 5; }
KEPT int kelvin(int x) { __asm__ volatile(""); return x * 13 + 5; }
static KEPT int summer(int x) { __asm__ volatile(""); return x * 17 + 5; }
static KEPT int winter(int x) { __asm__ volatile(""); return x * 17 + 5; }
KEPT int original(int x) { __asm__ volatile(""); return x * 19 + 5; }
int moniker(int x) __attribute__((alias("original")));
int main(int c, char **v)
{
    (void)v;
    return celsius(c) + kelvin(c) + summer(c) + winter(c) + original(c) + moniker(c) > 1000000;
}
C

# merged LABEL PAIR WAY…: the compiler or linker merges the two functions of PAIR.
merged()
{
    merged_label=$1
    first=${2%-*}
    second=${2#*-}
    shift 2
    # shellcheck disable=SC2068
    if ! $@ -O2 -g -ffunction-sections -o merged merged.c 2>why; then
        skip "$merged_label" "it cannot be built: $(sed 1q why)"
        return
    fi
    check ./merged "$first"
    told "$merged_label: one of two that were merged" 1 "warning: folded: $second has the same code" "!folded: $first"
    check ./merged "$second"
    told "… and the other" 1 "warning: folded: $first has the same code" "!folded: $second"
    check ./merged original
    told "… an alias is none" 0 'note: alias: moniker is another name' '!folded'
    check ./merged moniker
    told "… nor when it is asked for" 0 'note: alias: original is another name' '!folded' '!alias: moniker'
}
merged "merged by gcc" summer-winter gcc
merged "merged by gold" celsius-kelvin gcc -fuse-ld=gold -Wl,--icf=all
merged "merged by lld" celsius-kelvin gcc -fuse-ld=lld -Wl,--icf=all
merged "merged by gold, clang" celsius-kelvin clang -fuse-ld=gold -Wl,--icf=all
merged "merged by lld, clang" summer-winter clang -fuse-ld=lld -Wl,--icf=all

# ---- Pieces and copies ----

cat >pieces.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#define KEPT __attribute__((noinline))
static int early(int *p)
{
    if (!p)
        return 0;
    for (int i = 0; i < 5; i++) {
        printf("%d", p[i]);
        if (++p[i] > 100)
            abort();
    }
    return p[0];
}
KEPT int part_b(int *p) { return early(p) + 2; }
KEPT int part_a(int *p) { return early(p) + 1; }
__attribute__((used)) static KEPT int nobody(int x) { __asm__ volatile(""); return x + 77; }
int main(int c, char **v) { int a[5] = {c}; (void)v; return part_a(a) + part_b(c > 3 ? NULL : a) > 1000; }
C
"$CC" -Os -g -o pieces pieces.c
if nm pieces | grep -q ' early\.part\.0$'; then
    check ./pieces early.part.0
    told "a piece: attributes are for what the source has" 1 'mark early __attribute__' '!(mark|of) early\.part' \
        'note: clone: it is a piece of early'
else
    skip "a piece: attributes are for what the source has" "this compiler splits nothing off here"
fi
"$CC" -O2 -g -o pieces pieces.c
check ./pieces early
# Where the split-off piece was inlined again, that is the same copy.
told "a copy in pieces is told of once" 1 'pieces.c:15: inlined into part_b' 'pieces.c:16: inlined into part_a' '!early.*inlined into early'
result "… in the order of the source" sh -c '[ "$(grep -c "inlined: " out)" = 2 ] && sed -n 2p out | grep -q part_b || { cat out; false; }'
check ./pieces nobody
told "nobody calls it: what helps is named" 1 'no-caller: .*mark nobody __attribute__\(\(noipa\)\)'

echo 'static int __attribute__((noinline)) parse(int x) { __asm__ volatile(""); return x + 1; } int a(int x) { return parse(x); }' >one.c
echo 'static int __attribute__((noinline)) parse(int x) { __asm__ volatile(""); return x + 2; }
int a(int); int main(int c, char **v) { (void)v; return a(c) + parse(c); }' >two.c
if "$CC" -O2 -g -flto -o promoted one.c two.c 2>why && nm promoted | grep -q ' parse\.lto_priv\.0$'; then
    check ./promoted parse
    told "renamed by link-time optimization" 1 'parse.lto_priv.0 is what link-time optimization made .*redefine it by that name' '!noclone'
    check ./promoted parse.lto_priv.0
    told "… and by that name it is no clone" 0 '!clone:'
else
    skip "renamed by link-time optimization" "this compiler renames nothing here"
fi

# ---- Addresses ----

"$CC" -O2 -g -pie -fPIE -o position pieces.c
addr=$(nm position | sed -n 's/^0*\([0-9a-f]*\) T part_a$/\1/p')
check ./position part_a
told "the address is the file's, as other tools have it" 0 "part_a at 0x$addr,"
check --json ./position part_a
told "… in JSON" 0 "\"name\":\"part_a\",\"address\":$((0x$addr)),"

# ---- Symbols that were put aside ----

# named PLACE PROGRAM: names of a stripped program.
named()
{
    check "./$2" nobody
    told "$1: check" 1 'nobody at 0x'
    run "$redefine" list "./$2" 'part_*'
    told "$1: list" 0 ' part_a$' ' part_b$' '2 functions: '
    run "$redefine" show "./$2" nobody
    told "$1: show" 0 '^nobody in '
    run "$redefine" list --names "./$2" 'nob*'
    told "$1: completion's list" 0 '^nobody$'
}
"$CC" -O2 -g -o linked pieces.c
objcopy --only-keep-debug linked linked.debug
strip -s linked
objcopy --add-gnu-debuglink=linked.debug linked
named "a separate file by debuglink" linked
if command -v xz >/dev/null; then
    "$CC" -O2 -o mini pieces.c
    nm mini | awk '$2 ~ /[tT]/ { print $3 }' >names
    objcopy --strip-all --keep-symbols=names mini mini.symbols && xz -c mini.symbols >mini.xz
    strip mini && objcopy --add-section .gnu_debugdata=mini.xz mini
    named ".gnu_debugdata" mini
else
    skip ".gnu_debugdata" "no xz"
fi
"$CC" -O2 -o bare pieces.c && strip -s bare
check ./bare nobody
result "… and without any: no such name" test "$status" = 2

# ---- In process ----

cat >inside.c <<'C'
#include <redefine/check.h>
#include <redefine/redefine.h>
#include <stdio.h>
static inline __attribute__((always_inline)) int leaf(int x) { __asm__ volatile("" : "+r"(x)); return x * 7; }
__attribute__((noinline)) int host(int x) { return leaf(x) + 1; }
static int mine(int x) { return x; }
int (*volatile keep)(int) = leaf;
int main(void)
{
    redefine_check_report report;
    redefine_status status = redefine(leaf, mine);
    printf("%d %s\n", status == REDEFINE_EINLINED, redefine_explain());
    if (redefine_check(leaf, mine, &report) == REDEFINE_OK && report.hazard_count)
        printf("%s %s:%u %s\n", report.hazard[0].kind, report.hazard[0].file, report.hazard[0].line, report.hazard[0].detail);
    redefine_check_report_free(&report);
    return host(1) + keep(1) > 10000;
}
C
inside()
{
    run ./inside
    told "$1" 0 '^1 leaf is inlined into host \(inside.c:5\)' '^inlined inside.c:5 .*mark leaf __attribute__'
}
if nm -D "$BUILD/libredefine.so" | grep -q '__asan'; then
    skip "redefine() refuses a copy" "a sanitized library cannot be loaded into a program that is not"
    finish
fi
for flags in "-gdwarf-4" "-gdwarf-5" "-gdwarf-4 -gsplit-dwarf" "-gdwarf-5 -gsplit-dwarf"; do
    # shellcheck disable=SC2086
    "$CC" -O2 $flags -I"$SRC/include" -o inside inside.c -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD"
    inside "redefine() refuses a copy, and redefine_check() says the same ($flags)"
done
rm -f -- *.dwo
"$CC" -O2 -g -I"$SRC/include" -o inside inside.c -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD"
objcopy --only-keep-debug inside inside.debug
strip -s inside
objcopy --add-gnu-debuglink=inside.debug inside
inside "… by a separate file beside it, without a symbol"
mkdir .debug && mv inside.debug .debug/
inside "… in .debug"

finish
