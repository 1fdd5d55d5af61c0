#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Our own reader of debug data beside elfutils' libdw, on real objects in every form that debug data comes in: each
# function's entry, name, declaration and type, and each inlined copy's function, caller, file and line, must be the
# same, line by line (tests/debug/dump.h).
set -u
. "$SRC/tests/support/tap.sh"
dump=$BUILD/tests/debug/dump
CXX=${CXX:-c++}
unset DEBUGINFOD_URLS

# agree OBJECT LINES: the same words, and at least so many.
agree()
{
    "$dump" own "$1" >own.txt || return
    "$dump" libdw "$1" >libdw.txt || return
    if ! cmp -s own.txt libdw.txt; then
        echo "- by our reader, + by libdw, of $(wc -l <libdw.txt) lines:"
        diff -U0 own.txt libdw.txt | grep '^[-+][a-z]' | cut -c1-400 | head -n 20
        return 1
    fi
    [ "$(wc -l <own.txt)" -ge "$2" ] || { echo "only $(wc -l <own.txt) lines"; return 1; }
    for what in begins type inlined; do
        grep -q "^$what " own.txt || { echo "no line of the kind: $what"; return 1; }
    done
}

# same NAME OBJECT [LINES]: and how many they are, in the name.
same()
{
    agree "$2" "${3:-30}" >told 2>&1
    agreed=$?
    result "$1: $(wc -l <own.txt) lines" sh -c "cat told; exit $agreed"
}

# packaged NAME PROGRAM TOOL: its split units say the same from a package that the tool makes of them; they are gone then.
packaged()
{
    if command -v "$3" >/dev/null && timeout 60 "$3" -e "$2" -o "$2.dwp" 2>/dev/null; then
        mv "$2.dwp" aside.dwp
        "$dump" own "$2" >units.txt
        mv aside.dwp "$2.dwp"
        rm -f -- *.dwo
        "$dump" own "$2" >package.txt
        result "$1: a package says what its units do" cmp units.txt package.txt
    else
        skip "$1: a package says what its units do" "no $3 that can make one"
    fi
    rm -f -- *.dwo "$2.dwp"
}

llvm_dwp=$(command -v llvm-dwp || command -v llvm-dwp-14)

# ---- What compilers make of these two ----

cat >one.c <<'C'
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum colour { red, green = 70000 };
typedef struct { unsigned a : 3, b : 9, : 5, c : 12; signed long d : 40; _Bool e : 1; } bits;
union either { int i; double d; struct { char tag[3]; short s; }; };
struct node { struct node *next, **back; union either value; const char *const name; int flexible[]; };
typedef int (*visit)(struct node *, void *restrict, ...);
struct table { struct node *slot[16]; int matrix[3][4][5]; visit each; volatile long *seen; enum colour colour; };
#define ALWAYS static inline __attribute__((always_inline))
#define KEPT __attribute__((noinline))
ALWAYS int twice(int x) { __asm__("" : "+r"(x)); return 2 * x; }
ALWAYS int thrice(int x) { x++; return twice(x) + x; }
static inline int weigh(const struct node *n) { return n ? thrice(n->value.i) + weigh(n->next) : 0; }
KEPT int width(bits b) { return b.a + b.b + b.c; }
KEPT _Noreturn void leave(int status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    exit(status);
}
KEPT long grid(int n, int m, double (*cells)[n][m], char text[static n]) { return (long)(*cells)[n - 1][0] + text[0]; }
KEPT struct table *fill(struct table *t, long double f, _Complex double z, __int128 wide)
{
    t->matrix[1][2][3] = (int)f + (int)__real__ z + (int)wide;
    return t;
}
static KEPT int part(struct table *t, int x)
{
    if (__builtin_expect(!t, 1))
        return 0;
    for (int i = 0; i < 16; i++)
        x += weigh(t->slot[i]) + (t->each ? t->each(t->slot[i], t, i) : 0);
    if (x > 1000)
        leave(x, "%d\n", x);
    return twice(x) + thrice(x);
}
static KEPT int constant(int how, struct table *t) { return how == 3 ? part(t, how) : twice(how) + (int)strlen("x"); }
int one(int c) { struct table t = {0}; return constant(3, fill(&t, c, c, c)) + width((bits){.a = c & 7}) + (int)grid(1, 1, calloc(8, 1), "x"); }
C
cat >two.cc <<'C'
#include <vector>
extern "C" int one(int);
namespace shop {
enum class state : unsigned char { open, shut };
struct base { virtual ~base() {} virtual int cost(int) const = 0; static int made; };
struct left : virtual base { int l = 1; };
struct right : virtual base { int r = 2; };
struct item final : left, right {
    char name[8]; int price; state is = state::open; int (item::*how)(int) const = &item::cost; int item::*what = &item::price;
    item(int p) : name("x"), price(p) {}
    int cost(int n) const override { return price * n + l + r; }
    struct inner { int deep[2]; int sum() const { return deep[0] + deep[1]; } };
};
int base::made = 0;
namespace { int hidden(const item &i, item &&j) { return i.cost(2) + j.cost(3); } namespace in { int own(decltype(nullptr), const char *) { return 3; } } }
static __attribute__((noinline)) int stays(item::inner i) { asm(""); return i.sum(); }
template <class T, int N> __attribute__((noinline)) T times(T x) { asm(""); return x * N; }
template <class T> static inline T twice(T x) { return x + x; }
template <class I, class F> static I best(I from, I to, F less)
{
    I found = from;
    for (; from != to; ++from)
        if (less(*from, *found)) found = from;
    return found;
}
__attribute__((noinline)) int nested(int a)
{
    struct own { int at; __attribute__((noinline)) int get() const { asm(""); return twice(at); } } o{a};
    auto l = [&](int z) __attribute__((noinline)) { asm(""); return o.get() + twice(z); };
    return l(a);
}
auto everywhere = [](int x) __attribute__((noinline)) { asm(""); return twice(x); };
int run(std::vector<item> &v, const volatile int *const &m)
{
    struct local { int at; int get() const { return at; } } here{*m};
    auto b = best(v.begin(), v.end(), [&](const item &a, const item &b) { return a.cost(*m) < b.cost(here.get()); });
    v.emplace_back(b->price);
    return nested(*m) + everywhere(*m) + hidden(v[0], item(2)) + in::own(nullptr, "") + stays({{1, 2}}) + times<int, 3>(4) + (int)times<double, 2>(twice(1.5));
}
}
int main(int c, char **)
{
    std::vector<shop::item> v;
    const volatile int *m = &c;
    v.emplace_back(c);
    return c > 100 ? shop::run(v, m) : one(c) * 0;
}
C

# built PROGRAM FLAG…: by the compilers in $cc and $cxx; what they say is shown when they fail.
built()
{
    program=$1
    shift
    rm -f one.o two.o
    $cc "$@" -c one.c && $cxx "$@" -c two.cc && $cxx "$@" -o "$program" one.o two.o
}

cc=$CC
cxx=$CXX
for version in 4 5; do
    for level in 0 2; do
        result "gcc, version $version, -O$level: it is built" built "gcc$version$level" -g -gdwarf-$version -O$level &&
            same "… and both say the same" "gcc$version$level"
    done
    built "sections$version" -g -gdwarf-$version -O2 -fdebug-types-section && same "version $version, type units" "sections$version"
    built "packed$version" -g -gdwarf-$version -O2 -gz=zlib && same "version $version, compressed" "packed$version"
    built "wide$version" -g -gdwarf-$version -gdwarf64 -O2 && same "version $version, offsets of 64 bits" "wide$version"
    built "lto$version" -g -gdwarf-$version -O2 -flto && same "version $version, optimised by the linker" "lto$version"
    built "split$version" -g -gdwarf-$version -O2 -gsplit-dwarf && same "version $version, split units" "split$version"
    packaged "version $version" "split$version" dwp
    if command -v dwz >/dev/null; then
        cp "gcc${version}2" alone && dwz alone 2>/dev/null && same "version $version, rewritten by dwz" alone
        cp "gcc${version}2" shared_a && cp "gcc${version}2" shared_b
        dwz -m "shared$version.debug" -L none -l none shared_a shared_b 2>/dev/null && [ -s "shared$version.debug" ] &&
            same "version $version, part of it in a file that dwz shares" shared_a
    else
        skip "version $version, dwz" "no dwz"
    fi
    if command -v clang++ >/dev/null; then
        cc=clang
        cxx=clang++
        built "clang$version" -g -gdwarf-$version -O2 && same "clang, version $version" "clang$version"
        built "clang_split$version" -g -gdwarf-$version -O2 -gsplit-dwarf && same "clang, version $version, split" "clang_split$version"
        packaged "clang, version $version" "clang_split$version" "${llvm_dwp:-llvm-dwp}"
        cc=$CC
        cxx=$CXX
    else
        skip "clang, version $version" "no clang"
    fi
done

if command -v gfortran >/dev/null; then
    cat >three.f90 <<'F'
module shapes
    type grid
        integer :: n(3)
        real(8) :: cells(0:1, 4), cube(2, -1:1, 5)
        character(len=7) :: name
    end type
contains
    subroutine whole(g, m, name, some)
        type(grid), intent(inout) :: g
        integer, intent(inout) :: m(2, 3)
        character(len=*), intent(in) :: name
        real, intent(in) :: some(:, :)
        g%name = name
        m(1, 1) = int(some(1, 1)) + sum(g%n)
    end subroutine
    integer function last(list, n)
        integer, intent(in) :: n, list(n)
        last = list(n)
    end function
end module
program caller
    use shapes
    type(grid) :: g
    integer :: m(2, 3)
    real :: some(1, 1)
    call whole(g, m, "x", some)
    print *, last([1, 2, 3], m(1, 1))
end program
F
    gfortran -g -O1 -w -o fortran three.f90 && "$dump" own fortran >own.txt && "$dump" libdw fortran >libdw.txt
    result "Fortran: arrays by columns, that begin anywhere" sh -c \
        'diff own.txt libdw.txt && grep -q "cells@128:0=\[4\]\[2\]real.* cube@640:0=\[5\]\[3\]\[2\]" own.txt'
else
    skip "Fortran" "no gfortran"
fi

objcopy --only-keep-debug gcc52 gcc52.debug
cp gcc52 linked && strip -g linked && objcopy --add-gnu-debuglink=gcc52.debug linked
same "a separate file by debuglink" linked

# ---- What others made ----

if readelf -SW "$BUILD/libredefine.so" | grep -q '\.debug_info'; then
    same "libredefine.so" "$BUILD/libredefine.so" 1000
else
    skip "libredefine.so" "this build has no debug data"
fi
# Distributions put theirs aside, by build-id, and let dwz share what several have.
installed()
{
    if [ -e "$2" ] && "$dump" own "$2" >/dev/null 2>&1; then
        same "$1" "$(realpath "$2")" 1000
    else
        skip "$1" "its debug data is not installed: apt-get install $3"
    fi
}
installed "the C library of the distribution" "$(ldd /bin/true | awk '/libc\.so/ { print $3 }')" libc6-dbg
installed "its loader" "$(ldd /bin/true | awk '/ld-linux/ { print $1 }')" libc6-dbg
installed "its python3" /usr/bin/python3 python3-dbg
finish
