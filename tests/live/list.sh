#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine list: programs of many kinds, against what nm tells; globs, JSON, processes, the summary; damaged files.
set -u
. "$SRC/tests/support/tap.sh"

list()
{
    run "$redefine" list "$@"
}

# Rows and summary agree, and nothing was said on standard error.
is_a_list()
{
    [ "$status" = 0 ] && [ ! -s err ] || { tell "it failed"; return 1; }
    perl -ne '
        if (/^([\d,]+) functions?: (.*)$/) { ($total, $rest) = ($1, $2); $total =~ tr/,//d; next }
        next if $. == 1;
        /^(ok|partial|unsafe|unknown) +[0-9a-f]+ +\d+ (sled|jump|padded|short|trap|none) / or die "row: $_";
        $rows++; $verdicts{$1}++; /^\S+ +([0-9a-f]+)/; die "not ascending: $_" if defined $at && hex $1 <= $at; $at = hex $1;
        END {
            defined $total or die "no summary";
            $total == $rows or die "$rows rows, $total in the summary";
            for (split /, /, $rest) { /^([\d,]+) (\w+)$/ or die $rest; (my $n = $1) =~ tr/,//d;
                                      $verdicts{$2} == $n or die "$2: $n" }
        }' out
}

cat >program.c <<'C'
#include <stdio.h>
int total;
static void count(void) { total++; }
static long twice(long x) { return x + x; }
long keeps(long n, long k) { long s = 0; for (long i = 0; i < n; i++) s += twice(i) ^ k; count(); return s + n; }
static long nobody(long x) { return x * 7; }
long (*volatile used)(long);
int main(int argc, char **argv) { (void)argv; return printf("%ld\n", keeps(argc, 3)) < 0; }
C
"$CC" -O2 -g -fno-inline -Wl,--export-dynamic-symbol=nothing -o program program.c
list ./program
result "a program" is_a_list
result "… with all functions that nm tells" sh -c '
    nm program | awk "\$2 ~ /^[Tt]\$/ { print \$3 }" | grep -vE "^(_init|_fini|_start|.*_clones|frame_dummy|__do_global.*)\$" |
        while read -r name; do grep -q " $name\$" out || { echo "$name is missing"; exit 1; }; done'
if "$CC" --version | grep -qi gcc && [ "$(uname -m)" = x86_64 ]; then
    result "… twice, whose caller relies on its registers" grep -qE '^(partial|ok) .* twice$' out
fi
list ./program 'k*s'
result "a glob" sh -c 'grep -q " keeps$" out && ! grep -q " main$" out'
list ./program 'no_such_*'
refused "a glob that nothing matches" 125 "no function that has a name matches no_such_"
list --names ./program 'k*'
expect "names" 0 keeps
list --names ./program 'no_such_*'
expect "no names is no failure" 0 ""
list --json ./program
result "JSON" perl -MJSON::PP -e '
    local $/; open my $f, "<", "out"; my $list = decode_json(<$f>); my $sum = 0;
    $sum += $_ for values %{ $list->{summary} };
    my ($main) = grep { $_->{name} eq "main" } @{ $list->{functions} };
    $list->{schema} == 1 && $sum == @{ $list->{functions} } && $main->{size} > 0 && $main->{strategy} eq "jump"
        or die "not as expected"'
result "… the addresses are those of the file" sh -c '
    at=$(nm program | awk "\$3 == \"main\" { print \$1 }")
    perl -MJSON::PP -e "local \$/; open my \$f, q(<), q(out); my \$l = decode_json(<\$f>);
        my (\$m) = grep { \$_->{name} eq q(main) } @{ \$l->{functions} }; \$m->{address} == hex q($at) or die \$m->{address}"'
list ./program 'libc.so.6!mem*'
result "functions of a library" sh -c 'grep -q " memcpy$" out && ! grep -q " main$" out'
result "… is a list" is_a_list
list --all --names ./program 'mallo*'
result "--all: of all libraries" grep -qx malloc out

cat >names.cc <<'C'
namespace shapes { __attribute__((noinline)) int area(int x) { return x * 3; } }
int main(int argc, char **) { return shapes::area(argc); }
C
if "${CXX:-c++}" -O1 -o names names.cc 2>why; then
    list ./names 'shapes::*'
    result "C++: as people write it" grep -q 'shapes::area(int)$' out
    list ./names 'shapes::area'
    result "C++: without the parameters" grep -q 'shapes::area(int)$' out
    list ./names '_ZN6shapes*'
    result "C++: mangled" grep -q 'shapes::area(int)$' out
else
    skip "C++" "no C++ compiler"
fi

sleep 60 &
sleeper=$!
await_program "$sleeper" sleep
list $sleeper 'libc.so.6!nanosleep'
result "a process" is_a_list
result "… at its addresses" sh -c '
    from=$(awk "\$6 ~ /libc.so.6/ { sub(/-.*/, \"\", \$1); print \$1; exit }" /proc/'$sleeper'/maps)
    perl -e "exit !(hex(\$ARGV[0]) > hex(\$ARGV[1]) && hex(\$ARGV[0]) < hex(\$ARGV[1]) + (1 << 24))" \
        "$(awk "/ nanosleep\$/ { print \$2 }" out)" "$from"'
kill $sleeper
list 4194303
refused "a process that is not there" 125 "no process 4194303"

for program in /usr/bin/gdb /usr/bin/cmake /bin/busybox "$(ldd /bin/date | awk '/libc\.so/ { print $3 }')"; do
    [ -f "$program" ] || { skip "$program" "it is not installed"; continue; }
    list "$program"
    if [ "$status" = 125 ]; then
        refused "$program: nothing has a name" 125 "stripped"
    else
        result "$program" is_a_list
    fi
done
foreign=/usr/aarch64-linux-gnu/lib/libc.so.6
if [ -f $foreign ]; then
    list $foreign 'mem*'
    result "a library for another CPU" is_a_list
else
    skip "a library for another CPU" "the C library of the cross compiler is not installed"
fi

# A kernel: code at the top of the addresses, data at address 0, no segment that holds the headers, no dynamic section.
if [ "$(uname -m)" = x86_64 ] && command -v ld >/dev/null; then
    awk -v count=60000 'BEGIN {
        print ".text"
        for (i = 0; i < count; i++) {
            printf ".p2align 4, 0x90\n%s\n.type f_%d, @function\nf_%d:\n", i % 3 ? ".globl f_" i : "", i, i
            if (i % 2) print ".byte 0x0f, 0x1f, 0x44, 0, 0"
            printf "push %%rbp\nmov %%rsp, %%rbp\nmov %%edi, %%eax\ncall f_%d\npop %%rbp\nret\n", int(i / 2)
            printf ".size f_%d, . - f_%d\n", i, i
        }
        print ".data\n.quad f_59999\n.section .percpu, \"aw\"\n.quad 1, 2, 3"
    }' >kernel.s
    cat >kernel.ld <<'LD'
PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); percpu PT_LOAD FLAGS(6); note PT_NOTE FLAGS(4); }
SECTIONS {
    . = 0xffffffff81000000; .text : { *(.text) } :text .note.gnu.build-id : { *(.note.gnu.build-id) } :text :note
    . = 0xffffffff82800000; .data : { *(.data) } :data . = 0; .percpu : { *(.percpu) } :percpu
    /DISCARD/ : { *(.comment) }
}
LD
    if as -o kernel.o kernel.s && ld -static -nostdlib --build-id -T kernel.ld -o kernel kernel.o; then
        result "a kernel" sh -c '! readelf -lW kernel | grep -qE "LOAD +0x000000|DYNAMIC"'
        begun=$(date +%s)
        list ./kernel
        ended=$(date +%s)
        result "… is a list" is_a_list
        result "… of 60,000 functions, in $((ended - begun)) s" grep -q '^60,000 functions: ' out
        result "… at the addresses of the file" grep -qE '^ok +ffffffff81000000 +[0-9]+ jump +f_0$' out
        run "$redefine" check ./kernel f_14
        result "… can be checked" sh -c '[ "$1" = 0 ] && grep -q "f_14 at 0xffffffff81" out' - "$status"
        run "$redefine" show ./kernel f_14
        result "… and shown" sh -c '[ "$1" = 0 ] && grep -q "jmp 0xffffffff8" out' - "$status"
        result "… in 80 columns" sh -c 'grep -q "; to the relay" out && [ "$(LC_ALL=C.UTF-8 wc -L <out)" -le 80 ]'
        run "$redefine" show --json ./kernel f_14
        result "… in JSON, where no address is below zero" \
            sh -c 'grep -q "\"address\": 184467440715" out && ! grep -q ": -" out'
        run "$redefine" list --json ./kernel f_0
        result "… and listed so" grep -q '"address":18446744071578845184,"size":13,' out
        DEBUGINFOD_URLS=http://localhost:1/ run "$redefine" list ./kernel 'f_59*'
        result "… with the command that fetches debug data, once" \
            sh -c '[ "$(grep -c "debuginfod-find debuginfo [0-9a-f]" err)" = 1 ]'
        if nm "$redefine" | grep -q __asan; then
            skip "… in bounded memory" "a sanitized command needs more"
        else
            (ulimit -v 400000; "$redefine" list ./kernel 'f_1*' >out 2>err)
            result "… in bounded memory" grep -q '^11,111 functions: ' out
        fi
    else
        skip "a kernel" "its file cannot be made"
    fi
else
    skip "a kernel" "it is made for x86-64"
fi

if command -v script >/dev/null; then
    terminal() { TERM=xterm COLUMNS=80 script -qec "stty cols 80; $1" /dev/null </dev/null >out; }
    terminal "'$redefine' list ./names"
    result "on a terminal: colours" grep -q "$(printf '\033')\[" out
    terminal "export NO_COLOR=1; '$redefine' list '$foreign' 'p*' 2>&1 || '$redefine' list ./program"
    result "on a terminal: 80 columns" sh -c 'sed "s/.*\r.*K//" out | tr -d "\r" | LC_ALL=C.UTF-8 wc -L | { read -r n; [ "$n" -le 80 ] || { echo $n; false; }; }'
    result "NO_COLOR" sh -c '! grep -q "$(printf "\033")\[3" out'
else
    skip "terminals" "script is not installed"
fi

run "$redefine" list
refused "no arguments" 125 "list takes PROGRAM"
list ./program a b
refused "too many" 125 "list takes PROGRAM"
list --jsn ./program
refused "an unknown option" 125 "--jsn"
list ./nothing
refused "no such program" 125 "no such program"
run sh -c '"$1" list ./program >/dev/full' - "$redefine"
refused "the output cannot be written" 125 "could not be written"
finish
