#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check --patch: pairs of a target and a replacement, each compiled in the languages and versions of debug
# data there are, and what their types mean for a call. Names of types never count.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"

# pair NAME EXPECTED TARGET REPLACEMENT: `f` of the target is redefined by `mine`. EXPECTED: fits, or what a blocker is
# of and is said to be.
pair()
{
    pair_by "gcc -gdwarf-4" "$@"
    pair_by "gcc -gdwarf-5" "$@"
    pair_by "clang -gdwarf-5" "$@"
}

pair_gcc()
{
    pair_by "gcc -gdwarf-4" "$@"
    pair_by "gcc -gdwarf-5" "$@"
}

pair_by()
{
    compile=$1
    shift
    [ "$language" = c ] || compile=$(echo "$compile" | sed 's/gcc/g++/; s/clang/clang++/')
    if ! command -v "${compile%% *}" >/dev/null; then
        skip "$1 ($compile)" "no ${compile%% *}"
        return
    fi
        printf '%s\n__attribute__((noinline, used)) %s\nint main() { return 0; }\n' "$prelude" "$3" >target.$language
    printf '#include <redefine/patch.h>\n%s\nstatic %s\nREDEFINE_PATCH("f", mine);\n' "$prelude" "$4" >mine.$language
    # shellcheck disable=SC2086
    $compile -O1 -w -o target target.$language &&
        $compile -O1 -w -shared -fPIC -I"$SRC/include" -o mine.so mine.$language
    run "$redefine" check --patch mine.so ./target
    result "$1 ($compile)" is_judged "$2"
}

is_judged()
{
    if [ "$1" = fits ]; then
        if grep -E '^  (warning|blocker): (signature|layout|no-debug-info)' out; then
            tell "these fit"
        fi
    else
        grep -qE "^  blocker: $1" out && [ "$status" = 1 ] || tell "a blocker was expected: $1"
    fi
}

language=c
prelude='#include <stdio.h>
struct two { int a, b; }; struct one { long a; };'
pair "pointers of another depth" 'signature: parameter 1, p is int \*\*' 'int f(int **p) { return **p; }' 'int mine(int *p) { return *p; }'
pair "pointers to pointers to a structure" layout: 'int f(struct two **p) { return (*p)->b; }' \
    'int mine(struct one **p) { return (*p)->a; }'
pair "a pointer to another number" 'signature: parameter 1, v is double \*' 'void f(double *v) { *v = 1; }' 'void mine(float *v) { *v = 1; }'
pair "… of the same size and another class" 'signature: ' 'void f(int *v) { *v = 1; }' 'void mine(float *v) { *v = 1; }'
pair "bytes may be anything" fits 'int f(char *v) { return *v; }' 'int mine(void *v) { return v != 0; }'
pair "pointers to nothing in particular" fits 'int f(void **p) { return p != 0; }' 'int mine(char **p) { return p != 0; }'
pair "a structure by its first field, which is smaller" 'signature: ' 'int f(struct two *p) { return p->a; }' \
    'int mine(int *p) { return *p; }'
pair "a function that takes something else" 'signature: parameter 1, c is int \(\*\)\(int\)' \
    'int f(int (*c)(int)) { return c(1); }' 'int mine(int (*c)(long)) { return c(1); }'
pair "a function that returns something else" 'signature: ' 'int f(long (*c)(int)) { return c(1); }' \
    'int mine(int (*c)(int)) { return c(1); }'
pair "a function of which nothing is said" fits 'int f(int (*c)()) { return c(1); }' 'int mine(int (*c)(int)) { return c(1); }'
pair "a comparison, and one of structures" fits 'int f(int (*c)(const void *, const void *)) { return c(0, 0); }' \
    'int mine(int (*c)(struct two *, struct two *)) { return c(0, 0); }'
pair "a function behind a field" 'layout: .*struct ops' \
    'struct ops { int (*go)(int); }; __attribute__((noinline, used)) int f(struct ops *p) { return p->go(1); }' \
    'int mine2; struct ops { int (*go)(int, int); }; static int mine(struct ops *p) { return p->go(1, 2); }'
pair "a callback that is given its own structure" fits \
    'int f2; struct n; typedef int (*cb)(struct n *); struct n { cb c; }; __attribute__((noinline, used)) int f(struct n *p) { return p->c(p); }' \
    'int mine2; struct n; typedef int (*cb)(struct n *); struct n { cb c; }; static int mine(struct n *p) { return p->c(p); }'
pair "a smaller structure, by value" 'signature: parameter 1, p is struct five \(20 bytes\)' \
    'int f2; struct five { int a, b, c, d, e; }; __attribute__((noinline, used)) int f(struct five p) { return p.b; }' \
    'int mine(struct two p) { return p.b; }'
pair "a larger structure, returned" 'signature: the target returns struct two' 'struct two f(int x) { struct two r = {x, x}; return r; }' \
    'struct l { long a, b, c; } mine2; static struct l mine(int x) { struct l r = {x, x, x}; return r; }'
rows='signature: parameter 1, m is int \(\*\)\[3\] .* int \(\*\)\[2\]'
pair "rows of another length" "$rows" 'int f(int m[2][3]) { return m[1][2]; }' 'int mine(int m[3][2]) { return m[2][1]; }'
pair "… of bytes" 'signature: ' 'int f(char m[2][30]) { return m[1][2]; }' 'int mine(char m[2][20]) { return m[1][2]; }'
pair "… of arrays of rows" 'signature: .*\[3\]\[4\].*\[2\]\[6\]' 'int f(int m[2][3][4]) { return m[1][2][3]; }' \
    'int mine(int m[2][2][6]) { return m[1][1][5]; }'
pair "… as a typedef" "$rows" 'int f2; typedef int row[3]; __attribute__((noinline, used)) int f(row *m) { return m[1][2]; }' \
    'int mine2; typedef int row[2]; static int mine(row *m) { return m[1][1]; }'
pair "… in a field" 'layout: .*differ from offset 8 on' \
    'struct grid { long n; int m[2][3]; }; __attribute__((noinline, used)) int f(struct grid *g) { return g->m[1][2]; }' \
    'struct grid { long n; int m[3][2]; }; static int mine(struct grid *g) { return g->m[2][1]; }'
pair "the same rows" fits 'int f(int m[2][3]) { return m[1][2]; }' 'int mine(int (*m)[3]) { return m[0][2]; }'
pair "… without a look at rows" fits 'int f(int m[2][3]) { return m[1][2]; }' 'int mine(int *m) { return m[5]; }'
pair "… two of them as one" fits 'int f(int m[9][2][3]) { return m[1][1][2]; }' 'int mine(int m[9][6]) { return m[1][5]; }'
pair "… in a field, at a stretch" fits \
    'struct grid { long n; int m[2][3]; }; __attribute__((noinline, used)) int f(struct grid *g) { return g->m[1][2]; }' \
    'struct grid { long n; int m[6]; }; static int mine(struct grid *g) { return g->m[5]; }'
pair "… whose length is known at run time only" fits 'int f(int n, int m[n][n]) { return m[1][n - 1]; }' \
    'int mine(int n, int m[2][3]) { return m[1][2]; }'
pair "vectors of another element" 'signature: ' 'int f2; typedef int v __attribute__((vector_size(16))); __attribute__((noinline, used)) int f(v a) { return a[0]; }' \
    'int mine2; typedef float v __attribute__((vector_size(16))); static int mine(v a) { return a[0] > 0; }'
pair "a stream of the library, whose fields are the same" fits 'int f(FILE *p) { return p != 0; }' 'int mine(FILE *p) { return p == 0; }'

language=cc
prelude='#include <string>
struct own { int a; own(const own &o) : a(o.a) {} }; struct plain { int a; }; struct holds { own o; };'
pair "C++: a string by value" fits 'int f(std::string s) { return s.size(); }' 'int mine(std::string s) { return s.size() + 1; }'
# Of a class that is passed by its address gcc says so by its constructors; clang describes it only where those are.
class='signature: parameter 1, p is struct .*passed by its address'
pair_gcc "C++: a class that copies itself, and one that does not" "$class" 'int f(own p) { return p.a; }' 'int mine(plain p) { return p.a; }'
pair_gcc "… as a member" "$class" 'int f(holds p) { return p.o.a; }' 'int mine(plain p) { return p.a; }'
pair_gcc "… and twice the same" fits 'int f(own p) { return p.a; }' 'int mine(own p) { return p.a; }'
pair "C++: a member's address is named" 'signature: parameter 1, m is int \(of a class\) \*' 'int f(int plain::*m) { return m != nullptr; }' \
    'int mine(long m) { return m != 0; }'

# ---- Fortran: columns before rows, indices from 1, and addresses of arguments ----

cat >target.f90 <<'F'
module shapes
    type grid
        integer :: n(3)
        real(8) :: cells(0:1, 4)
    end type
end module
subroutine f(m, n, g)
    use shapes
    integer, intent(inout) :: m(2, 3)
    integer, intent(in) :: n
    type(grid), intent(inout) :: g
    m(1, 1) = n
    g%cells(1, 2) = g%n(3)
end subroutine
program caller
    use shapes
    integer :: m(2, 3)
    type(grid) :: g
    m = 1
    g%n = 1
    call f(m, 3, g)
    print *, m(1, 1)
end program
F
fortran()
{
    printf '#include <redefine/patch.h>\nstruct grid { %s };\nstatic void mine(%s, struct grid *g) { g->n[0] = 1; }\nREDEFINE_PATCH("f_", mine);\n' \
        "$4" "$3" >mine.c
    patch mine.so mine.c -g
    run "$redefine" check --patch mine.so ./fortran
    result "Fortran: $1" is_judged "$2"
}
if command -v gfortran >/dev/null && gfortran -g -O0 -w -o fortran target.f90; then
    grid='int n[3]; double cells[4][2];'
    fortran "C that says the same" fits 'int m[3][2], int *n' "$grid"
    fortran "rows for columns" 'signature: parameter 1, m is the address of integer.* \[3\]\[2\].* int \(\*\)\[3\]' 'int m[2][3], int *n' "$grid"
    fortran "a value for an address" 'signature: parameter 2, n' 'int m[3][2], long n' "$grid"
    fortran "rows for columns in a field" 'layout: ' 'int m[3][2], int *n' 'int n[3]; double cells[2][4];'
    printf '#include <redefine/patch.h>\nstatic void mine(int *m, int n, void *g) { m[0] = n; }\nREDEFINE_PATCH("f_", mine);\n' >mine.c
    patch mine.so mine.c -g
    run "$redefine" check --patch mine.so ./fortran
    result "Fortran: what could be a value is no blocker" sh -c \
        'grep -q "warning: signature: parameter 2, n is the address of .*VALUE" out && ! grep -q blocker: out || { cat out; false; }'
else
    skip "Fortran" "no gfortran"
fi

# ---- What another unit defines ----

cat >user.c <<'C'
struct hidden;
long get(struct hidden *);
__attribute__((noinline)) long f(struct hidden *p) { return get(p) + 1; }
int main(int c, char **v) { (void)c; return f((struct hidden *)v) == 5; }
C
echo 'struct hidden { int a, b; }; long get(struct hidden *p) { return p->b; }' >owner.c
hidden()
{
    printf '#include <redefine/patch.h>\nstruct hidden { %s };\nstatic long mine(struct hidden *p) { return p->a; }\nREDEFINE_PATCH("f", mine);\n' "$1" >mine.c
    patch mine.so mine.c -g
    run "$redefine" check --patch mine.so ./split_in_two
}
for flags in "-gdwarf-4" "-gdwarf-5" "-g -gsplit-dwarf" "-g -fdebug-types-section"; do
    # shellcheck disable=SC2086
    "$CC" -O1 $flags -o split_in_two user.c owner.c
    hidden 'long a;'
    result "a structure that only another unit defines ($flags)" is_judged 'layout: .*differ from offset 0'
    hidden 'int a, b;'
    result "… and that is the same" is_judged fits
done
echo 'struct hidden { long other[4]; }; long more(struct hidden *p) { return p->other[0]; }' >third.c
"$CC" -O1 -g -o split_in_two user.c owner.c third.c
hidden 'long a;'
result "… of which there are two: none is guessed" is_judged fits

finish
