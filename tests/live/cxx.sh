#!/bin/sh
# SPDX-License-Identifier: MIT
#
# C++ programs: virtual methods, overloads, templates, constructors, static functions of namespaces and lambdas,
# by the names that people write; what check compares of them, and what run then redirects.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"
CXX=${CXX:-c++}
command -v "$CXX" >/dev/null || skip_all "no C++ compiler"

cat >program.cc <<'C'
#include <cstdarg>
#include <cstdio>
#include <string>
#include <utility>
#define KEPT __attribute__((noinline, noclone))
namespace zoo {
struct animal {
    int legs;
    explicit KEPT animal(int n) : legs(n) { asm(""); }
    virtual ~animal() = default;
    virtual KEPT int feet(int each) const { asm(""); return legs * each; }
    virtual KEPT int noise() { asm(""); return 1; }
};
struct bird : animal {
    KEPT bird() : animal(2) { asm(""); }
    KEPT int feet(int each) const override { asm(""); return legs + each; }
};
/* Overloads: by type, by reference, by number. */
KEPT int weigh(int x) { asm(""); return x; }
KEPT int weigh(double x) { asm(""); return static_cast<int>(x * 2); }
KEPT int weigh(const animal &a, int more) { asm(""); return a.legs + more; }
KEPT int quiet(int x) noexcept { asm(""); return x + 3; }
template <class T> KEPT T twice(T x) { asm(""); return x + x; }
template int twice<int>(int);
template long twice<long>(long);
static KEPT int hidden(int x) { asm(""); return x - 1; }
KEPT int total(int count, ...)
{
    va_list list; va_start(list, count); int sum = 0;
    while (count-- > 0) sum += va_arg(list, int);
    va_end(list); return sum;
}
KEPT int move_in(std::pair<int, int> &&p) { asm(""); return p.first + p.second; }
}
int main(int argc, char **)
{
    zoo::animal *volatile dog = new zoo::animal(4), *volatile owl = new zoo::bird;
    std::printf("feet %d %d noise %d\n", dog->feet(argc), owl->feet(argc), dog->noise());
    std::printf("weigh %d %d %d\n", zoo::weigh(argc), zoo::weigh(1.5 * argc), zoo::weigh(*dog, 1));
    std::printf("rest %d %d %ld %d %d %d\n", zoo::quiet(argc), zoo::twice(argc), zoo::twice<long>(argc), zoo::hidden(argc),
                zoo::total(2, argc, 5), zoo::move_in({argc, 2}));
    delete dog;
    delete owl;
}
C
"$CXX" -O2 -g -o program program.cc || { echo "Bail out! program.cc"; exit 1; }

# patched NAME FUNCTION DECLARATION: patch.so redefines NAME by it.
patched()
{
    printf '#include <redefine/patch.h>\n%s\n%s\nREDEFINE_PATCH("%s", %s);\n' "$(cat types.h)" "$3" "$1" "$2" >patch.cc
    "$CXX" -shared -fPIC -g -O1 -Wno-unused-function -I"$SRC/include" -o patch.so patch.cc ||
        { echo "Bail out! patch.cc"; exit 1; }
}
cat >types.h <<'C'
namespace mine { struct animal { void **table; int legs; }; struct fish { int fins; void **table; }; struct two { int a, b; }; }
C
line()
{
    result "$1" sh -c 'grep -qx -- "$1" out && [ ! -s err ] || { cat out err; false; }' - "$2"
}
# fits / is_refused NAME: what check says of patch.so, before it runs.
fits()
{
    run "$redefine" check --patch patch.so ./program
    result "$1: it fits" sh -c '[ "$1" = 0 ] || { cat out err; false; }' - "$status"
}
is_refused()
{
    run "$redefine" check --patch patch.so ./program
    result "$1: check" sh -c '[ "$1" = 1 ] && grep -qE -e "blocker: $2" out || { cat out err; false; }' - "$status" "$2"
    run "$redefine" run --patch patch.so -- ./program
    result "$1: run refuses" sh -c '[ "$1" = 125 ] && [ ! -s out ] && grep -q "not started" err || { cat out err; false; }' - "$status"
}

# ---- Virtual methods ----

patched 'zoo::animal::feet(int) const' feet 'static int feet(const mine::animal *self, int each) { return REDEFINE_ORIGINAL(feet)(self, each) + 100 * self->legs; }'
fits "a virtual method"
needs_plain_agent
run "$redefine" run --patch patch.so -- ./program
line "a virtual method is redefined where it is called through the table, and the one that overrides it is not" 'feet 404 3 noise 1'
patched 'zoo::bird::feet' feet 'static int feet(const mine::animal *self, int each) { return self->legs * 1000 + each; }'
run "$redefine" run --patch patch.so -- ./program
line "the one that overrides it" 'feet 4 2001 noise 1'
patched 'zoo::animal::feet(int) const' feet 'static int feet(int each) { return each; }'
is_refused "a method without 'this'" 'signature: parameter 1, this is'
patched 'zoo::animal::feet(int) const' feet 'static int feet(const mine::fish *self, int each) { return self->fins + each; }'
is_refused "a class with other fields" 'layout: .*zoo::animal|layout: .*animal'
patched 'zoo::animal::animal(int)' made 'static void made(mine::animal *self, int n) { REDEFINE_ORIGINAL(made)(self, n + 10); }'
run "$redefine" run --patch patch.so -- ./program
line "a constructor, of the class itself and as a base" 'feet 14 13 noise 1'

# ---- Overloads ----

run "$redefine" check ./program zoo::weigh
result "overloads without parameters: a sentence that lists them" sh -c '
    [ "$1" = 2 ] && [ "$(wc -l <err)" = 1 ] && grep -q "weigh(int)" err && grep -q "weigh(double)" err &&
        grep -q "weigh(zoo::animal const&, int)" err || { cat out err; false; }' - "$status"
patched 'zoo::weigh' weigh 'static int weigh(int x) { return x; }'
run "$redefine" run --patch patch.so -- ./program
result "… and run does not start" sh -c '[ "$1" = 125 ] && [ ! -s out ] && grep -q "weigh(double)" err || { cat out err; false; }' - "$status"
patched 'zoo::weigh(double)' weigh 'static int weigh(double x) { return REDEFINE_ORIGINAL(weigh)(x) + 50; }'
fits "one of them, by its parameters"
run "$redefine" run --patch patch.so -- ./program
line "… alone is redefined" 'weigh 1 53 5'
patched 'zoo::weigh(double)' weigh 'static int weigh(int x) { return x; }'
is_refused "the signature of another one" 'signature: parameter 1'
patched 'zoo::weigh(zoo::animal const&, int)' weigh 'static int weigh(const mine::animal &a, int more) { return a.legs * 9 + more; }'
fits "a reference"
run "$redefine" run --patch patch.so -- ./program
line "… is a parameter like others" 'weigh 1 3 37'
patched 'zoo::move_in(std::pair<int, int>&&)' moved 'static int moved(mine::two &&p) { return p.a * 7 + p.b; }'
run "$redefine" run --patch patch.so -- ./program
result "an rvalue reference" sh -c 'grep -qE "^rest .* 9$" out || { cat out err; false; }'

# ---- Templates, noexcept, namespaces ----

patched 'zoo::twice<long>(long)' twice 'static long twice(long x) { return x * 70; }'
fits "an instance of a template"
run "$redefine" run --patch patch.so -- ./program
line "… alone is redefined" 'rest 4 2 70 0 6 3'
patched 'zoo::twice<long>(long)' twice 'static int twice(int x) { return x; }'
is_refused "another instance's signature" 'signature: '
run "$redefine" check ./program 'zoo::twice'
result "a template without its arguments: a sentence that lists the instances" sh -c '
    [ "$1" = 2 ] && grep -q "twice<int>" err && grep -q "twice<long>" err || { cat out err; false; }' - "$status"
patched 'zoo::quiet(int)' quiet 'static int quiet(int x) { return x + 60; }'
fits "noexcept is no part of what is compared"
run "$redefine" run --patch patch.so -- ./program
line "… and such a function is redefined" 'rest 61 2 2 0 6 3'
patched 'zoo::hidden' hidden 'static int hidden(int x) { return x + 80; }'
run "$redefine" run --patch patch.so -- ./program
line "a static function of a namespace" 'rest 4 2 2 81 6 3'

# ---- A variable number of arguments ----

patched 'zoo::total' total 'static int total(int count) { return count; }'
is_refused "a fixed number of arguments for a variable one" 'signature: .*variable number'
patched 'zoo::quiet(int)' quiet 'static int quiet(int x, ...) { return x; }'
is_refused "a variable number for a fixed one" 'signature: .*variable number'
patched 'zoo::total' total 'static int total(int count, ...) { return count * 1000; }'
fits "a variable number for a variable one"
run "$redefine" run --patch patch.so -- ./program
line "… is redefined" 'rest 4 2 2 0 2000 3'

# ---- list and show ----

run "$redefine" list ./program 'zoo::*'
result "list: names as people write them, each once" sh -c '
    grep -q " zoo::animal::feet(int) const$" out && grep -q " long zoo::twice<long>(long)$" out &&
        [ "$(grep -c "zoo::weigh" out)" = 3 ] || { cat out; false; }'
run "$redefine" show ./program 'zoo::bird::feet(int) const'
result "show" sh -c 'grep -q "zoo::bird::feet(int) const" out && grep -q "^before" out || { cat out err; false; }'
finish
