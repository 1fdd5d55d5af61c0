#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check: programs compiled in every way that debug data comes in, and what is said of their functions.
# Its JSON is read by perl or python where a shell cannot.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/check.sh"

# verdict NAME STATUS VERDICT REGEX…: of the last run.
verdict()
{
    verdict_name=$1
    shift
    result "$verdict_name" is_verdict "$@"
}

# Whether callers rely on registers is another test's matter; these programs are not about it.
is_clean()
{
    if [ "$status" -gt 1 ] || grep -E '^  (warning|blocker): ' out | grep -qv 'ipa-ra: '; then
        tell "hazards"
    fi
}

clean()
{
    result "$1" is_clean
}

# ---- The same program, with its debug data in every place it can be ----

cat >inlined.c <<'C'
#include <stdio.h>
static inline __attribute__((always_inline)) int parse(int x)
{
    __asm__("" : "+r"(x)); return x * 3 + 1; /* clang says nothing of copies that fold away */
}
static __attribute__((always_inline)) inline int deep(int x)
{
    __asm__("" : "+r"(x)); x++;
    return parse(x) + 1;
}
__attribute__((noinline)) int outer(int x)
{
    return deep(x) * 5;
}
__attribute__((noinline)) int called(int x)
{
    __asm__("");
    return x + 2;
}
int (*pointer)(int) = parse;
int main(int argc, char **argv)
{
    (void)argv;
    return printf("%d\n", outer(argc) + pointer(argc) + called(argc)) < 0;
}
C

# place KIND PROGRAM: what it must say of `parse`, wherever the data is.
place()
{
    check "./$2" parse
    verdict "$1: the place of a copy" 1 partial \
        'warning: inlined: .*inlined.c:9: inlined into outer, .*__attribute__\(\(noinline\)\), or redefine outer'
    check "./$2" called
    clean "$1: a function that is only called"
    check "./$2" deep
    verdict "$1: a function without a body" 1 unsafe 'inlined.c:13: inlined into outer' 'no code of its own'
}

llvm_dwp=$(command -v llvm-dwp || command -v llvm-dwp-14)
for version in 4 5; do
    "$CC" -O2 -g -gdwarf-$version -o "plain$version" inlined.c && place "version $version" "plain$version"
    "$CC" -O2 -g -gdwarf-$version -gsplit-dwarf -o "split$version" inlined.c &&
        place "version $version, split" "split$version"
    if command -v dwp >/dev/null && dwp -e "split$version" -o "split$version.dwp" 2>/dev/null &&
        [ -s "split$version.dwp" ]; then
        mkdir -p aside && mv -- *.dwo aside/
        place "version $version, a package" "split$version"
        mv aside/*.dwo .
    else
        skip "version $version, a package" "no dwp that can make one"
    fi
    rm -f -- *.dwo "split$version.dwp"
    check "./split$version" called
    result "version $version: a split unit that is missing" says 'split off into .*, which is not there'
    if command -v clang >/dev/null; then
        clang -O2 -g -gdwarf-$version -o "clang$version" inlined.c && place "version $version, clang" "clang$version"
        # LLVM's reads what clang makes: of version 5 from gcc, its release 14 takes for ever.
        clang -O2 -g -gdwarf-$version -gsplit-dwarf -fdebug-types-section -o "llvm$version" inlined.c
        if timeout 60 "${llvm_dwp:-false}" -e "llvm$version" -o "llvm$version.dwp" 2>/dev/null; then
            rm -f -- *.dwo
            place "version $version, a package by LLVM" "llvm$version"
            rm "llvm$version.dwp"
            check "./llvm$version" called
            result "… that is missing" says "split off into .*, which is not there .*; nor is there a .*llvm$version.dwp"
        else
            skip "version $version, a package by LLVM" "no llvm-dwp that can make one (Debian: llvm)"
        fi
    else
        skip "version $version, clang" "no clang"
    fi
    "$CC" -O2 -g -gdwarf-$version -gz=zlib -o "packed$version" inlined.c &&
        place "version $version, compressed" "packed$version"
    if command -v dwz >/dev/null; then
        # It makes a shared file only of what several files share.
        cp "plain$version" "dwz_a$version" && cp "plain$version" "dwz_b$version"
        if dwz -m "shared$version.debug" -L none -l none "dwz_a$version" "dwz_b$version" 2>dwz.err &&
            [ -s "shared$version.debug" ]; then
            place "version $version, shared by dwz" "dwz_a$version"
            rm "shared$version.debug"
            check "./dwz_a$version" called
            result "version $version: a shared file that is missing" says 'lies in .*, which is not there'
        else
            skip "version $version, shared by dwz" "dwz found nothing to share"
            cp "plain$version" "alone$version" && dwz "alone$version" && place "version $version, dwz" "alone$version"
        fi
    else
        skip "version $version, dwz" "no dwz"
    fi
done

cp plain5 linked
objcopy --only-keep-debug linked linked.debug
strip -g linked
objcopy --add-gnu-debuglink=linked.debug linked
place "a separate file by debuglink" linked
mkdir -p .debug && mv linked.debug .debug/
place "… in .debug" linked
printf x >>.debug/linked.debug
check ./linked called
result "… with another checksum is none" says 'no .debug_info, and no separate file'

if [ -n "${REDEFINE_TEST_ROOT:-}" ] || [ -w /usr/lib/debug ]; then
    id=$(readelf -n plain4 | sed -n 's/.*Build ID: //p')
    rest=${id#??}
    dir=/usr/lib/debug/.build-id/${id%"$rest"}
    cp plain4 by_id
    mkdir -p "$dir" && objcopy --only-keep-debug by_id "$dir/$rest.debug" && strip -g by_id
    place "a separate file by build-id" by_id
    rm -f "$dir/$rest.debug"
    rmdir "$dir" 2>/dev/null
else
    skip "a separate file by build-id" "/usr/lib/debug cannot be written here"
fi

# ---- Without debug data ----

"$CC" -O2 -o bare inlined.c
check ./bare called
clean "no debug data: direct calls prove that it is used"
result "… and how many" says 'note: no-debug-info: 1 direct call'
check ./bare parse
verdict "no debug data: unknown" 2 unknown 'warning: no-debug-info: .*compile it with -g'
check --json ./bare parse
result "… in JSON" says '"verdict":"unknown".*"kind":"no-debug-info"'

if command -v xz >/dev/null; then
    cp bare mini
    nm bare | awk '$2 ~ /[tT]/ { print $3 }' >names
    objcopy --strip-all --keep-symbols=names bare mini.symbols && xz -c mini.symbols >mini.xz
    strip mini && objcopy --add-section .gnu_debugdata=mini.xz mini
    check ./mini parse
    verdict "a static function named in .gnu_debugdata alone" 2 unknown 'no-debug-info'
else
    skip "a static function named in .gnu_debugdata alone" "no xz"
fi

# ---- C++ ----

cat >classes.cc <<'C'
#include <cstdio>
#include <vector>
namespace shop {
struct item { int price; item(int p) : price(p) {} virtual int cost(int n) const; int pad[3]; };
__attribute__((noinline)) int item::cost(int n) const { asm(""); return price * n; }
template <class T> static inline __attribute__((always_inline)) T twice(T x) { return x + x; }
__attribute__((noinline)) int total(int a) { asm(""); return twice(a); }
__attribute__((noinline)) double total(double a) { asm(""); return twice(a); }
}
int main(int argc, char **)
{
    shop::item one{argc};
    return std::printf("%d %f\n", one.cost(2) + shop::total(argc), shop::total(2.0)) < 0;
}
C
"${CXX:-c++}" -O2 -g -o classes classes.cc
check ./classes 'shop::total(int)'
clean "C++: one of two of a name"
check ./classes 'shop::twice<int>(int)'
result "C++: a template without a body, and its caller by its C++ name" says 'inlined into shop::total\(int\)'

# ---- Types ----

cat >types.c <<'C'
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
struct counter { long A; };
struct point { int x, y; struct counter *of; };
struct spread { char a, b; int c; };
#define KEPT __attribute__((noinline, noipa))
KEPT long bump(struct counter *c) { return ++c->A; }
KEPT int place(struct point p, int n) { return p.x + n; }
KEPT int add(int a, long b) { return a + (int)b; }
KEPT int sum(int n, ...) { va_list l; va_start(l, n); int s = va_arg(l, int); va_end(l); return s; }
KEPT _Noreturn void leave(int s) { exit(s); }
KEPT double half(double d) { return d / 2; }
KEPT int spread(struct spread *s) { return s->a + s->b + s->c; }
int main(void)
{
    struct counter c = {1};
    struct point p = {1, 2, &c};
    struct spread s = {1, 2, 3};
    printf("%ld %d %d %d %f %d\n", bump(&c), place(p, 2), add(1, 2), sum(1, 2), half(3), spread(&s));
    leave(0);
}
C
"$CC" -O2 -g -o types types.c

# typed NAME DECLARATIONS FUNCTION TARGET: a patch of TARGET by FUNCTION, checked.
typed()
{
    printf '#include <stdint.h>\n#include <redefine/patch.h>\n%s\nREDEFINE_PATCH("%s", %s);\n' "$2" "$4" "$3" >typed.c
    patch typed.so typed.c -g -O2
    check --patch typed.so ./types
}
typed "collide" 'struct counter { int32_t some_other_field; int32_t A; };
static long mine(struct counter *c) { return c->A; }' mine bump
verdict "types: fields that collide" 1 unsafe 'blocker: layout: .*differ from offset 0 on' \
    '[!] +0 +long int A +int(32_t)? some_other_field' '[!] +4 .* A'
typed "renamed" 'struct tally { long n; };
static long mine(struct tally *t) { return t->n; }' mine bump
clean "types: the same layout under another name"
typed "inner" 'struct counter { int A; }; struct p { int x, y; struct counter *c; };
static int mine(struct p p, int n) { return p.c->A + n; }' mine place
result "types: behind a pointer in a structure" says 'layout: .*struct counter'
typed "gap" 'struct spread { char a; _Alignas(2) char b; int c; };
static int mine(struct spread *s) { return s->b; }' mine spread
verdict "types: the same fields with a gap" 1 unsafe 'layout: .*struct spread .8 bytes.*differ from offset 2 on'
typed "count" 'static int mine(int a, long b, int c) { return a + b + c; }' mine add
verdict "types: a parameter too many" 1 unsafe 'blocker: signature: the target takes 2 parameters, the replacement 3'
typed "width" 'static int mine(int a, int b) { return a + b; }' mine add
verdict "types: a narrower parameter" 1 unsafe 'blocker: signature: parameter 2, b is long int \(8 bytes\).* int \(4'
typed "sign" 'static int mine(unsigned a, long b) { return a + b; }' mine add
verdict "types: another sign" 1 partial 'warning: signature: parameter 1'
typed "float" 'static float mine(double d) { return d; }' mine half
verdict "types: another result" 1 unsafe 'blocker: signature: the target returns double'
typed "fixed" 'static int mine(int n) { return n; }' mine sum
verdict "types: no variable arguments" 1 unsafe 'blocker: signature: .*variable number of arguments'
typed "returns" 'static void mine(int s) { (void)s; }' mine leave
verdict "types: the target never returns" 1 unsafe 'blocker: signature: the target never returns'
typed "fits" 'static int mine(int a, long b) { return a - b; }' mine add
clean "types: all the same"
patch typed.so typed.c -O2
check --patch typed.so ./types
result "types: a patch without debug data" says 'warning: no-debug-info: the types cannot be compared'

# A method's `this` is its first parameter.
cat >method.cc <<'C'
#include <redefine/patch.h>
struct fake { void *table; int price; int pad[3]; };
struct wrong { void *table; int pad[3]; long price; };
static int cost(const fake *self, int n) { return self->price + n; }
static int cost_wrong(const wrong *self, int n) { return (int)self->price + n; }
REDEFINE_PATCH("shop::item::cost(int) const", PICK);
C
for pick in cost cost_wrong; do
    "${CXX:-c++}" -shared -fPIC -g -O2 -DPICK=$pick -I"$SRC/include" -o $pick.so method.cc
done
check --patch cost.so ./classes
clean "types: a method and a function that takes 'this'"
check --patch cost_wrong.so ./classes
verdict "types: a class that is another" 1 unsafe 'blocker: layout: .*item'

# ---- run asks the same questions ----

typed "run" 'struct counter { int32_t some_other_field; int32_t A; };
static long mine(struct counter *c) { return c->A + 1000; }' mine bump
run_typed()
{
    run "$redefine" run "$@" --patch typed.so -- ./types
}
is_refused_run()
{
    [ "$status" = 125 ] && [ ! -s out ] && grep -q 'typed.so redefines bump with another layout: .*not started' err &&
        grep -q 'some_other_field' err || tell "it was to be refused"
}
run_typed
result "run refuses fields that collide, and shows them" is_refused_run
needs_plain_agent
run_typed --force
result "run --force starts it" sh -c 'grep -q "^100" out || { cat out err; false; }'
run "$redefine" run --replace "bump=$PWD/typed.so:mine" -- ./types
result "run: a static function is no symbol, and nothing is compared" test "$status" = 125
typed "run" 'static long mine(void *c) { (void)c; return 77; }' mine bump
run_typed
result "run starts what fits" sh -c 'grep -q "^77 " out && [ ! -s err ] || { cat out err; false; }'
printf '#include <redefine/patch.h>\nstatic int mine(int x) { return x; }\nREDEFINE_PATCH("parse", mine);\n' >copy.c
patch copy.so copy.c -g
run "$redefine" run --patch copy.so -- ./plain5
result "run warns of copies" grep -q 'warning: parse is inlined into outer (inlined.c:9)' err

# ---- A process, a library ----

sleep 60 &
sleeper=$!
await_program "$sleeper" sleep
check "$sleeper" 'libc.so.6!qsort'
result "a process: a function of its library" says 'qsort'
kill "$sleeper"
"$CC" -O2 -g -shared -fPIC -o libown.so inlined.c
check ./libown.so called
clean "a library"

# ---- The cache ----

seq 1 400 | sed 's/.*/static inline __attribute__((always_inline)) int i&(int x) { return x + &; } int f&(int x) { return i&(x) + i&(x * 2); }/' >many.c
echo 'int main(int c, char **v) { (void)v; return f1(c); }' >>many.c
"$CC" -O1 -g -o many many.c
check ./many f1
cp out first
kept=$(find cache -name '*.index' | sed 1q)
result "an index is kept" test -s "$kept"
check ./many f1
result "… and gives the same answer" cmp out first
for damage in "truncate -s 100" "truncate -s 0" "dd conv=notrunc bs=1 seek=200 count=8 if=/dev/urandom status=none of="; do
    case $damage in
    *of=) eval "$damage$kept" ;;
    *) eval "$damage $kept" ;;
    esac
    check ./many f1
    result "… a damaged one is not believed ($damage)" cmp out first
done
result "… no temporary file is left" test -z "$(find cache -type f ! -name '*.index')"

# ---- Usage ----

check
refused "no program" 2 "check needs a program"
check --nonsense ./plain5
refused "an unknown option" 2 "check has no option"
check ./plain5 -xy
refused "an unknown short option, behind the program" 2 "check has no option -x"
run env POSIXLY_CORRECT=1 "$redefine" check ./plain5 parse --json
result "an option behind the names, whatever POSIXLY_CORRECT asks for" says '"schema":1.*"name":"parse"'
check ./plain5 no_such_function
refused "no such function" 2 "no_such_function"
check ./nowhere x
refused "no such program" 2 "nowhere"
check --patch ./nowhere.so ./plain5
refused "no such patch" 2 "nowhere.so"
check ./plain5
result "all functions: a summary" says '[0-9]+ functions: [0-9]+ ok, [0-9]+ partial, [0-9]+ unsafe, [0-9]+ unknown'
check --json ./plain5 parse
json_is_right()
{
    python3 - <<'PY'
import json
whole = json.load(open("out"))
assert whole["schema"] == 1
[function] = whole["functions"]
assert set(function) == {"name", "address", "size", "verdict", "hazards"}, function
assert function["name"] == "parse" and function["verdict"] == "partial"
for hazard in function["hazards"]:
    assert set(hazard) == {"kind", "severity", "file", "line", "caller", "detail"}, hazard
assert any(h["kind"] == "inlined" and h["line"] == 9 and h["caller"] == "outer" for h in function["hazards"])
PY
}
result "JSON has the promised form" json_is_right

# What clang from 17 on notes of a function whose parameters it changed; an older one does when it is told.
cat >nocall.c <<'C'
__attribute__((noinline)) int moved(int x) { __asm__ volatile(""); return x + 1; }
int main(int c, char **v) { (void)v; return moved(c) > 100; }
C
printf '#include <redefine/patch.h>\nstatic int mine(int x) { return x; }\nREDEFINE_PATCH("moved", mine);\n' >nocall_patch.c
if clang -O1 -g -S -emit-llvm -o nocall.ll nocall.c 2>why &&
    sed 's/!DISubroutineType(types/!DISubroutineType(cc: DW_CC_nocall, types/' nocall.ll >told.ll &&
    clang -o nocall told.ll 2>why && clang -o called nocall.ll 2>why &&
    cc -g -shared -fPIC -I"$SRC/include" -o nocall.so nocall_patch.c; then
    check --patch nocall.so ./nocall
    verdict "a function that is called in a way of the compiler's" 1 unsafe 'signature: the compiler changed how the target is called \(DW_CC_nocall\)'
    result "… told of once" test "$(grep -c DW_CC_nocall out)" = 1
    check ./nocall moved
    verdict "… without a patch too" 1 unsafe 'signature: the compiler changed how the target is called \(DW_CC_nocall\)'
    check --patch nocall.so ./called
    clean "… and one that is not"
else
    skip "a function that is called in a way of the compiler's" "no clang that can be told"
fi

finish
