#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run: what it refuses, with which exit status and sentence; the program has not run then.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent
clock_patches

# redefine_run OPTION…: of a program that leaves a mark.
redefine_run()
{
    run "$redefine" run "$@" -- touch marker
}

redefine_run --patch five_pm.so
result "the mark is made when nothing is wrong" [ -e marker ]

# ---- Usage ----

run "$redefine"
result "no verb: the usage on stderr, 125" \
    sh -c '[ "$1" = 125 ] && [ ! -s out ] && grep -q ^usage: err' - "$status"
run "$redefine" --help
cp out usage
for how in -h help "run --help" "check --help" "list -h" "show --help"; do
    # Not quoted: these are words.
    # shellcheck disable=SC2086
    run "$redefine" $how
    expect "redefine $how" 0 "$(cat usage)"
done
run "$redefine" walk --help
refused "an unknown verb, and its help" 125 walk
run "$redefine" walk
refused "an unknown verb" 125 walk
run "$redefine" run
refused "no program" 125 "needs a program"
run "$redefine" run --patch five_pm.so
refused "a patch and no program" 125 "needs a program"
run "$redefine" run --patch five_pm.so --
refused "-- and no program" 125 "needs a program"
run "$redefine" run touch marker
refused "no patch" 125 "nothing would be redefined"
redefine_run --verbose --follow
refused "options and no patch" 125 "nothing would be redefined"
redefine_run --petch five_pm.so
refused "an unknown option" 125 "--petch"
redefine_run -xy
refused "an unknown short option" 125 "-x"
redefine_run --follow=1 --patch five_pm.so
refused "a value where none belongs" 125 "--follow=1"
run "$redefine" run --patch
refused "--patch without a value" 125 "--patch needs a value"
for text in '' time time=five_pm.so five_pm.so:five_pm =five_pm.so:f time=:f time=five_pm.so:; do
    redefine_run --replace "$text"
    refused "--replace '$text'" 125 "NAME=P.so:SYMBOL"
done

# ---- Programs ----

for program in ./nothing /nowhere/at/all nothing-of-that-name ''; do
    run "$redefine" run --patch five_pm.so -- "$program"
    refused "127: '$program' is not there" 127 "no such program"
done
echo 'touch marker' >plain
printf '#!/nowhere/sh\ntouch marker\n' >lost
printf '#!./lost\ntouch marker\n' >lost2
printf '#!./circle\n' >circle
printf '\177ELF and then nothing' >half
mkfifo fifo
ln -s loop loop
chmod +x lost lost2 circle half
run "$redefine" run --patch five_pm.so -- "$TMP"
refused "126: a folder" 126 "directory"
run "$redefine" run --patch five_pm.so -- ./plain
refused "126: not executable" 126 "permission"
run env PATH="$TMP:$PATH" "$redefine" run --patch five_pm.so -- plain
refused "126: in PATH and not executable" 126 "may not be executed"
run "$redefine" run --patch five_pm.so -- ./plain/more
refused "126: a file where a folder should be" 126 "Not a directory"
run "$redefine" run --patch five_pm.so -- ./loop
refused "126: a link to itself" 126 "symbolic links"
run "$redefine" run --patch five_pm.so -- ./fifo
refused "126: a pipe with a name" 126 "no regular file"
run "$redefine" run --patch five_pm.so -- /dev/null
refused "126: a device" 126 "no regular file"
run "$redefine" run --patch five_pm.so -- ./lost
refused "127: a script whose interpreter is not there" 127 "/nowhere/sh"
run "$redefine" run --patch five_pm.so -- ./lost2
refused "127: a script whose interpreter's interpreter is not there" 127 "/nowhere/sh"
run "$redefine" run --patch five_pm.so -- ./circle
refused "126: a script that is its own interpreter" 126 "too many times"
chmod +x plain
run "$redefine" run --patch five_pm.so -- ./plain
result "a script without #! is run by the shell, as env does" [ -e marker ]

cat >mark.c <<'C'
#include <fcntl.h>
#include <time.h>
int main(void)
{
    return open("marker", O_CREAT | O_WRONLY, 0600) < 0 || time(0) == 0;
}
C
if "$CC" -static -o static mark.c 2>why; then
    run "$redefine" run --patch five_pm.so -- ./static
    refused "a static program" 125 "static program"
    "$CC" -static-pie -fPIE -o static-pie mark.c
    run "$redefine" run --patch five_pm.so -- ./static-pie
    refused "a static program, position independent" 125 "static program"
    printf '#!./static\n' >script
    chmod +x script
    run "$redefine" run --patch five_pm.so -- ./script
    refused "a script whose interpreter is static" 125 "static program"
else
    skip "a static program" "$CC -static does not link"
fi
if command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; then
    run "$redefine" run --patch five_pm.so -- busybox touch marker
    refused "busybox, static" 125 "static program"
else
    skip "busybox, static" "there is none"
fi
if command -v musl-gcc >/dev/null; then
    musl-gcc -o musl mark.c
    run "$redefine" run --patch five_pm.so -- ./musl
    refused "a musl program" 125 "musl program"
else
    skip "a musl program" "musl-gcc is not installed"
fi
if [ "$(uname -m)" != x86_64 ]; then
    skip "a 32-bit program" "gcc -m32 is for x86-64"
elif echo 'void _start(void) { __asm__("movl $1, %eax; int $0x80"); }' |
    "$CC" -m32 -nostdlib -static -o thirtytwo -xc - 2>why; then
    run "$redefine" run --patch five_pm.so -- ./thirtytwo
    refused "a 32-bit program" 125 "another CPU or word size"
else
    skip "a 32-bit program" "$CC -m32 does not link"
fi
foreign=aarch64-linux-gnu-gcc
if [ "$(uname -m)" != aarch64 ] && command -v $foreign >/dev/null; then
    $foreign -o foreign mark.c
    run "$redefine" run --patch five_pm.so -- ./foreign
    refused "a program for another CPU" 125 "another CPU or word size"
else
    skip "a program for another CPU" "$foreign is not installed"
fi
run "$redefine" run --patch five_pm.so -- ./half
result "a damaged ELF file does not start, and it is said" \
    sh -c '[ "$1" -ne 0 ] && [ -s err ] && [ ! -e marker ]' - "$status"

# ---- Patches ----

redefine_run --patch nothing.so
refused "a patch that is not there" 125 "nothing.so: No such file"
redefine_run --patch ''
refused "a patch without a name" 125 "No such file"
redefine_run --patch "$TMP"
refused "a patch that is a folder" 125 "not a shared object"
redefine_run --patch fifo
refused "a patch that is a pipe with a name" 125 "not a shared object"
redefine_run --patch "$SRC/LICENSE"
refused "a patch that is a text" 125 "not a shared object.*cc -shared"
printf '#!/bin/sh\n' >script.so
redefine_run --patch script.so
refused "a patch that is a script" 125 "not a shared object"
"$CC" -c -fPIC -I"$SRC/include" -o object.so "$SRC/examples/five_pm.c"
redefine_run --patch object.so
refused "a patch that is not linked" 125 "not a shared object"
redefine_run --patch "$redefine"
refused "a patch that is a program" 125 "does not load.*touch is not started"
: >empty.so
redefine_run --patch empty.so
refused "a patch that is an empty file" 125 "not a shared object"
# What follows the segments nobody misses; on riscv64 that is most of the file.
size=$(($(readelf -lW five_pm.so | awk '$1 == "LOAD" { last = $2 " + " $5 } END { print last }')))
for part in 1 3 10 50; do
    head -c $((size * part / 100)) five_pm.so >short.so
    redefine_run --patch short.so
    refused "a patch with $part % of what is loaded" 125 "not a shared object|cut off"
done
head -c $((size - 1)) five_pm.so >short.so
redefine_run --patch short.so
refused "a patch whose last byte that is loaded is gone" 125 "cut off"
head -c $size five_pm.so >short.so
run "$redefine" run --patch short.so -- date +%H:%M
expect "a patch that ends where its segments do" 0 17:00
if command -v $foreign >/dev/null && [ "$(uname -m)" != aarch64 ]; then
    $foreign -shared -fPIC -I"$SRC/include" -o foreign.so "$SRC/examples/five_pm.c"
    redefine_run --patch foreign.so
    refused "a patch for another CPU" 125 "not a shared object for"
else
    skip "a patch for another CPU" "$foreign is not installed"
fi
# source FILE.so FLAG…: a patch from what is on stdin.
source_of()
{
    cat >"${1%.so}.c"
    patch_name=$1
    shift
    patch "$patch_name" "${patch_name%.so}.c" "$@"
}
source_of undefined.so <<'C'
#include <redefine/patch.h>
extern int nowhere_at_all(void);
static int new_time(void)
{
    return nowhere_at_all();
}
REDEFINE_PATCH("time", new_time);
C
redefine_run --patch undefined.so
refused "a patch that lacks a symbol" 125 "undefined symbol: nowhere_at_all; touch is not started"
source_of nothing_asked.so <<'C'
int some_function(void)
{
    return 1;
}
int some_data = 1;
C
redefine_run --patch nothing_asked.so
refused "a shared object without REDEFINE_PATCH" 125 "asks for nothing.*--replace"
redefine_run --patch five_pm.so --patch nothing_asked.so --verbose
sed -i '/five_pm.so: .*\( displaced\|: no other thread\)/d' err
refused "the second patch is refused: neither is in force" 125 "asks for nothing"
mkdir -p future/redefine
sed 's/REDEFINE_PATCH_ABI = 1 /REDEFINE_PATCH_ABI = 99 /' \
    "$SRC/include/redefine/patch.h" >future/redefine/patch.h
patch future.so "$SRC/examples/five_pm.c" -Ifuture
redefine_run --patch future.so
refused "a patch of another version of patch.h" 125 "version 99"

# ---- Names ----

# name_patch NAME: asks.so redefines that.
name_patch()
{
    printf '#include <redefine/patch.h>\nstatic int x(void) { return 1; }\nREDEFINE_PATCH("%s", x);\n' "$1" |
        source_of asks.so
}
name_patch gettimofday
redefine_run --patch asks.so
refused "a name that is not there: near ones are told" 125 "gettimofday.*gettimeofday.*touch is not started"
name_patch ''
redefine_run --patch asks.so
refused "an empty name" 125 "touch is not started"
name_patch environ
redefine_run --patch asks.so
refused "the name of data" 125 "environ.*touch is not started"
name_patch 'libnothing.so!time'
redefine_run --patch asks.so
refused "a library that is not there" 125 "libnothing.so.*touch is not started"
redefine_run --replace time=nothing_asked.so:no_function
refused "--replace: a symbol that is not there" 125 "no symbol no_function"
redefine_run --replace time=nothing_asked.so:some_data
refused "--replace: a symbol that is data" 125 "touch is not started"
redefine_run --replace time=nothing.so:f
refused "--replace: a file that is not there" 125 "nothing.so: No such file"

printf 'static int parse(int x) { return x + 1; }\nint a(int x) { return parse(x); }\n' >a.c
printf 'static int parse(int x) { return x + 2; }\nint b(int x) { return parse(x); }\n' >b.c
cat >main.c <<'C'
#include <fcntl.h>
#include <stdio.h>
int a(int), b(int);
int main(void)
{
    (void)!open("marker", O_CREAT | O_WRONLY, 0600);
    printf("%d %d\n", a(0), b(0));
    return 0;
}
C
"$CC" -O0 -o two main.c a.c b.c
echo 'int seventeen(int x) { return 17 + x; }' | source_of seventeen.so
run "$redefine" run --replace parse=seventeen.so:seventeen -- ./two
refused "an ambiguous name: the candidates are told" 125 "parse@a.c.*parse@b.c"
run "$redefine" run --replace parse@b.c=seventeen.so:seventeen -- ./two
expect "parse@b.c is one of them" 0 "1 17"
run "$redefine" run --replace parse@a.c=seventeen.so:seventeen -- ./two
expect "parse@a.c is the other one" 0 "17 2"
run "$redefine" run --replace a=seventeen.so:seventeen --replace b=seventeen.so:seventeen -- ./two
expect "--replace twice" 0 "17 17"
run "$redefine" run --replace a=seventeen.so:seventeen --replace tyme=seventeen.so:seventeen -- ./two
refused "--replace twice, and one is not there" 125 "tyme.*two is not started"
mkdir -p equals=and:colons
cp seventeen.so equals=and:colons/
run "$redefine" run --replace a=equals=and:colons/seventeen.so:seventeen -- ./two
expect "--replace: '=' and ':' in the path" 0 "17 2"
run "$redefine" run --replace "main.c=equals=and:colons/seventeen.so:seventeen" -- ./two
refused "the same, and the name is not there" 125 "main.c"
cp two stripped
strip stripped
run "$redefine" run --replace parse@b.c=seventeen.so:seventeen -- ./stripped
refused "a static function of a stripped program" 125 "parse.*stripped"

if command -v c++ >/dev/null; then
    cat >shapes.cc <<'C'
#include <cstdio>
namespace ns {
struct Box {
    int side;
    bool operator==(const Box &other) const;
    static int area(int side);
};
__attribute__((noinline)) bool Box::operator==(const Box &other) const { return side == other.side; }
__attribute__((noinline)) int Box::area(int side) { return side * side; }
}
int main()
{
    ns::Box a = {1}, b = {2};
    std::printf("%d %d\n", a == b, ns::Box::area(2));
}
C
    c++ -O1 -o shapes shapes.cc
    echo 'int yes(void) { return 1; }' | source_of yes.so
    run "$redefine" run --replace 'ns::Box::operator==(ns::Box const&) const=yes.so:yes' -- ./shapes
    expect "--replace: a C++ name with '::' and '=='" 0 "1 4"
    run "$redefine" run --replace 'ns::Box::operator===yes.so:yes' -- ./shapes
    expect "--replace: the same without its parameters" 0 "1 4"
    run "$redefine" run --replace 'ns::Box::area(int)=seventeen.so:seventeen' -- ./shapes
    expect "--replace: another C++ name" 0 "0 19"
fi

# ---- With --follow, programs that lack the name are left alone, and it is said ----

run "$redefine" run --follow --replace parse@b.c=seventeen.so:seventeen -- sh -c './two; :'
result "--follow: what has the function is patched, and the shell says that it has not" \
    sh -c 'grep -qx "1 17" out && grep -q "sh runs without this patch" err || { cat out err; false; }'

# ---- The agent ----

mkdir apart "apart together"
cp "$redefine" apart/
run apart/redefine run --patch five_pm.so -- touch marker
refused "no agent beside the command" 125 "libredefine-agent.so is neither"
cp "$BUILD/libredefine-agent.so" apart/
run apart/redefine run --patch five_pm.so -- touch marker
refused "an agent that does not find its library" 125 "agent cannot be loaded"
cp "$redefine" "$BUILD/libredefine-agent.so" "$BUILD/libredefine.so.0" "apart together/"
run "apart together/redefine" run --patch five_pm.so -- touch marker
refused "an agent in a folder with a space in its name" 125 "cannot be preloaded"

# ---- Places where something is missing ----

if unshare -Urm mount -t tmpfs none /proc 2>/dev/null; then
    run unshare -Urm sh -c 'mount -t tmpfs none /proc && exec "$@"' - \
        "$redefine" run --patch five_pm.so -- touch marker
    refused "no /proc" 125 "mount /proc"
else
    skip "no /proc" "there are no mount namespaces of one's own"
fi
for kib in 1000 1500 2000 2500 3000 4000; do
    sh -c 'ulimit -d $1 && exec "$2" run --patch five_pm.so -- date' - $kib "$redefine" >out 2>err
    result "ulimit -d $kib: a lack of memory is not taken for a damaged file" sh -c '! grep damaged err'
done
finish
