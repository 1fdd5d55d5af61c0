#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine show: programs and libraries of many kinds, its bytes against those that objdump reads, its
# output on terminals and elsewhere, what it refuses.
set -u
. "$SRC/tests/support/tap.sh"
machine=$(uname -m)

# show FILE NAME
show()
{
    run "$redefine" show "$@"
}

# The bytes of the section "before", in hexadecimal. (A mark, the address in 12 columns, seven bytes.)
before_bytes()
{
    perl -ne '$in = 0 if /^after$/; print unpack("x16 A21", $_), " " if $in && /^[| ] [ 0-9a-f]{12}  /;
              $in = 1 if /^before$/' out | tr -d ' \n'
}

# objdump_bytes OBJDUMP FILE START END: what it disassembles there. It prints words of arm64 as numbers, and of riscv64
# halves of words, too.
objdump_bytes()
{
    "$1" -d -w --start-address=0x"$3" --stop-address=0x"$4" "$2" | perl -ne '
        next unless /^\s*[0-9a-f]+:\s+((?:[0-9a-f]{2} )+|[0-9a-f]{8}(?=\s)|[0-9a-f]{4}(?=\s))/;
        my $bytes = $1;
        $bytes = join "", reverse $bytes =~ /../g if $bytes !~ / /;
        print $bytes' | tr -d ' \n'
}

# What the last run says: "in FILE", and START..END in the file.
shown_file()
{
    sed -n '1s/.* in //p' out
}
shown_range()
{
    sed -n -e 's/^  runs at *\([0-9a-f]*\)\.\.\([0-9a-f]*\),.*/\1 \2/p' \
        -e 's/^  in the file *\([0-9a-f]*\)\.\.\([0-9a-f]*\)$/\1 \2/p' out | tail -n 1
}

# shown_well OBJDUMP: the last run printed a complete plan, and the bytes are those of the file.
shown_well()
{
    if [ "$status" != 0 ] || [ -s err ]; then
        tell "it failed"
        return
    fi
    # Behind a sled, which the C library of arm64 has in places, the original is the function itself.
    for line in '  runs at ' '  strategy ' 'before' 'after' 'relay ' '(no trampoline: .* behind the sled|trampoline )'; do
        grep -qE "^$line" out || { tell "no line begins with '$line'"; return; }
    done
    if grep -q "$(printf '\033')" out; then
        tell "escape codes, and this is no terminal"
        return
    fi
    width=$(LC_ALL=C.UTF-8 wc -L <out)
    if [ "$width" -gt 100 ]; then
        tell "$width columns"
        return
    fi
    [ "$(shown_file)" = '[vdso]' ] && return
    command -v "$1" >/dev/null || return 0
    shown=$(before_bytes)
    # Not quoted: two numbers.
    # shellcheck disable=SC2046
    known=$(objdump_bytes "$1" "$(shown_file)" $(shown_range))
    # It shows 64 instructions at most.
    case $known in
    "$shown") [ -n "$shown" ] || tell "no bytes" ;;
    "$shown"*) grep -q '^  … .* more bytes' out || tell "bytes are missing" ;;
    *) tell "$shown is not $known" ;;
    esac
}

is_in()
{
    [ "$(shown_file)" != "$1" ] || return 0
    tell "it was expected in $1"
}

# ---- What it shows ----

cat >program.c <<'C'
#include <stdio.h>
#include <time.h>
__attribute__((noinline)) static int parse(int x)
{
    return (int)time(0) % 7 + x * 3;
}
int main(int argc, char **argv)
{
    (void)argv;
    return printf("%d\n", parse(argc)) < 0;
}
C
"$CC" -O1 -o program program.c
show ./program parse
result "a static function of a program" shown_well objdump
result "… it is in that program" is_in "$PWD/program"
result "… a jump replaces its first bytes" \
    sh -c 'sed -n "/^after/,/^relay/p" out | grep -E "^\|.* (e9 .* jmp 0x|b 0x|jalr zero, )[-0-9a-f]+.*; to the relay" ||
           { cat out; false; }'
show program main
result "a program in this folder needs no slash" shown_well objdump
"$CC" -O1 -no-pie -o fixed program.c
show ./fixed parse
result "a program at a fixed address" shown_well objdump
strip -o stripped program
show ./stripped printf
result "a stripped program: a function of a library" shown_well objdump
show ./stripped parse
refused "a stripped program: its static function" 125 "parse.*stripped"
ln -s program link
show ./link parse
result "a link to a program" shown_well objdump
printf '#!%s -x\n' "$PWD/program" >script
chmod +x script
show ./script parse
result "a script: its interpreter is what runs" shown_well objdump
mkdir cat
show cat malloc
result "a folder of the program's name is in the way of nobody" shown_well objdump

show date clock_gettime
result "date: clock_gettime, in the C library" shown_well objdump
show date time
result "date: time" shown_well objdump
if [ "$machine" = x86_64 ]; then
    result "… of x86-64 runs in the vDSO" is_in '[vdso]'
    show date '[vdso]!clock_gettime'
    result "[vdso]!clock_gettime" shown_well objdump
fi
for name in memcpy strlen memset strchr; do
    show date $name
    result "date: $name, which the CPU chooses (IFUNC)" shown_well objdump
done
show /usr/bin/python3 PyEval_EvalCode
result "python3: PyEval_EvalCode" shown_well objdump
show sqlite3 sqlite3_open
result "sqlite3: a function of its library" shown_well objdump

libc=$(ldd /bin/date | awk '/libc\.so/ { print $3 }')
show "$libc" qsort
result "a library by its path" shown_well objdump
cp "$libc" ./library
chmod -x library
show library qsort
result "a library that is not executable, in this folder" shown_well objdump
if "$CC" -O1 -static -o static program.c 2>why; then
    show ./static parse
    result "a static program" shown_well objdump
    "$CC" -O1 -static-pie -fPIE -o static-pie program.c
    show ./static-pie time
    result "a static program, position independent: time" test "$status" != 139
else
    skip "a static program" "$CC -static does not link"
fi

# Every fortieth function of the C library (fewer in an emulator): all shapes of code there are.
count=0
wrong=
every=$((40 * ${TEST_SLOWDOWN:-1}))
for name in $(nm -D --defined-only "$libc" |
    awk -v every=$every '$2 ~ /[TW]/ { sub(/@.*/, "", $3); if (n++ % every == 0) print $3 }'); do
    show "$libc" "$name"
    count=$((count + 1))
    if [ "$status" = 0 ]; then
        shown_well objdump >why 2>&1 || wrong="$wrong $name ($(head -n 1 why))"
    elif ! is_a_refusal 125 '.' >why 2>&1; then
        wrong="$wrong $name ($(head -n 1 why))"
    fi
done
result "every ${every}th function of the C library, $count of them" \
    sh -c 'echo "wrong: $1"; [ -z "$1" ] && [ "$2" -gt "$3" ]' - "$wrong" "$count" $((1600 / every))

foreign=/usr/aarch64-linux-gnu/lib/libc.so.6
if [ "$machine" = aarch64 ] || [ ! -f $foreign ]; then
    skip "a library for another CPU" "the C library of the cross compiler is not installed"
else
    for name in malloc time qsort; do
        show $foreign $name
        result "a library for another CPU: $name" shown_well aarch64-linux-gnu-objdump
    done
    show $foreign mallok
    refused "a library for another CPU: a name that is not there" 125 "malloc"
fi

if command -v go >/dev/null; then
    mkdir hello
    printf 'module hello\n\ngo 1.19\n' >hello/go.mod
    cat >hello/hello.go <<'G'
package main

//go:noinline
func greet(n int) int {
	return n*3 + 1
}

func main() {
	println(greet(5))
}
G
    export GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local HOME="${HOME:-$TMP}"
    if (cd hello && go build .) >why 2>&1; then
        show hello/hello main.greet
        result "a Go program: main.greet" shown_well objdump
        show hello/hello runtime.mallocgc
        result "a Go program: runtime.mallocgc" shown_well objdump
        show hello/hello main.gret
        refused "a Go program: a near name" 125 "main.greet"
    else
        skip "a Go program" "go build does not work here: $(tail -n 1 why)"
    fi
else
    skip "a Go program" "go is not installed"
fi
if command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; then
    show busybox main
    refused "busybox, stripped and static: nothing has a name" 125 "main.*stripped"
fi
if command -v musl-gcc >/dev/null; then
    musl-gcc -O1 -o musl program.c
    show ./musl parse
    result "a musl program" shown_well objdump
fi

# ---- How it prints ----

cat >loop.c <<'C'
int main(int argc, char **argv)
{
    int sum = 0;
    for (int i = 0; i < argc; i++)
        sum += argv[i][0] == 'x' ? i * 3 : sum % 7;
    return sum;
}
C
"$CC" -O1 -o loop loop.c
show ./loop main
result "arrows: every head has a tail" sh -c '
    heads=$(grep -c "▸" out); tails=$(grep -cE "[╭╰├]" out)
    [ "$heads" -gt 0 ] && [ "$tails" -gt "$heads" ] || { cat out; false; }'
if [ "$machine" = x86_64 ]; then
    # At most four arrows lie side by side: others are not drawn. What is drawn leads to the line of a target.
    result "arrows: heads are where branches lead" perl -ne '
        $in = 0 if /^after$/; $in = 1 if /^before$/;
        next unless $in && /^[| ] +([0-9a-f]+)  /;
        my $at = $1; $head{$at} = 1 if /▸/; $target{$1} = 1 if / j\w+ 0x([0-9a-f]+)/;
        END { for (keys %head) { $target{$_} or print "nothing leads to $_\n" and $bad = 1 }
              $bad = 1 if keys %head < keys(%target) - 1; exit $bad // 0 }' out
fi
result "80 columns" sh -c '[ "$(LC_ALL=C.UTF-8 wc -L <out)" -le 80 ]'
show --json ./loop main
result "JSON: the plan as data" perl -MJSON::PP -e '
    local $/; open my $f, "<", "out"; my $plan = decode_json(<$f>);
    $plan->{schema} == 1 && $plan->{name} eq "main" && @{ $plan->{before} } > 5 && $plan->{before}[0]{marked}
        && @{ $plan->{edits} } && length $plan->{edits}[0]{old} == length $plan->{edits}[0]{new}
        && @{ $plan->{trampoline} } && grep { $_->{target} } @{ $plan->{before} } or die "not as expected"'
show ./loop main --json
result "JSON: the option behind the names" test "$status" = 0
show --json ./loop nothing
refused "JSON: a name that is not there" 125 "nothing"
sleep 60 &
sleeper=$!
await_program "$sleeper" sleep
show $sleeper nanosleep
result "a process: a function of a library, where the process has it" sh -c '
    base=$(awk -v lib=libc.so.6 "\$6 ~ lib { sub(/-.*/, \"\", \$1); print \$1; exit }" /proc/'$sleeper'/maps)
    at=$(sed -n "s/^  runs at *\([0-9a-f]*\)\.\..*/\1/p" out)
    off=$(sed -n "s/^  in the file *\([0-9a-f]*\)\.\..*/\1/p" out)
    [ "$((0x$base + 0x$off))" = "$((0x$at))" ] || { echo "$base"; cat out err; false; }'
kill $sleeper
show 4194304999 main
refused "no such process" 125 "no such program"
show 4194303 main
refused "no process of that number" 125 "no process 4194303"

# terminal COMMAND: what it prints on one.
terminal()
{
    TERM=xterm script -qec "$1" /dev/null </dev/null >out
}

escape=$(printf '\033')
if command -v script >/dev/null; then
    terminal "'$redefine' show ./program parse"
    result "colours on a terminal" grep -q "$escape\[" out
    terminal "NO_COLOR=1 '$redefine' show ./program parse"
    result "no colours with NO_COLOR" sh -c 'grep -q ^before out && ! grep "$1\[" out' - "$escape"
    terminal "NO_COLOR= '$redefine' show ./program parse"
    result "an empty NO_COLOR counts for nothing (no-color.org)" grep -q "$escape\[" out
    terminal "'$redefine' show ./program parse | cat"
    result "no colours in a pipe" sh -c 'grep -q ^before out && ! grep "$1\[" out' - "$escape"
else
    skip "colours" "script is not installed"
fi
run sh -c '"$1" show ./program parse >/dev/full' - "$redefine"
refused "the output cannot be written" 125 "could not be written"
run sh -c '"$1" show ./program parse >&-' - "$redefine"
refused "the output is closed" 125 "could not be written"
show ./program "$(printf 'a\033[31m\nb')"
refused "control characters in a name do not reach the terminal" 125 "a\?\[31m\?b"

# ---- A hop ----

sqlite=$(ldconfig -p 2>/dev/null | sed -n 's/.*libsqlite3\.so\.0 .*=> //p' | head -n 1)
show "$sqlite" sqlite3WhereSplit
if [ "$machine" = x86_64 ] && grep -q '^before' out; then
    result "a hop behind the entry jump is shown" grep -q '^|.*; a hop into the trampoline' out
    result "and the branch that leads to it" grep -q '^|.*; back to the hop' out
else
    skip "a hop is shown" "there is no sqlite3WhereSplit here"
fi

# ---- What it refuses ----

run "$redefine" show
refused "no arguments" 125 "show takes PROGRAM and NAME"
show ./program
refused "no name" 125 "show takes PROGRAM and NAME"
show ./program parse main
refused "one argument too many" 125 "show takes PROGRAM and NAME"
show --jsn ./program
refused "an unknown option" 125 "--jsn"
show -- ./program parse
result "-- before the program" shown_well objdump
for program in ./nothing nothing-of-that-name ''; do
    show "$program" f
    refused "no such program: '$program'" 125 "no such program"
done
show "$TMP" f
refused "a folder" 125 "directory"
show "$SRC/LICENSE" f
refused "a text" 125 "not an ELF"
mkfifo fifo
show ./fifo f
refused "a pipe with a name" 125 "no regular file"
"$CC" -O1 -c program.c
show ./program.o parse
refused "an object file, not linked" 125 "not an ELF program or library"
objcopy --only-keep-debug program program.debug
show ./program.debug parse
refused "what was put aside of a program, without its code" 125 "only the debug data of a program"
"$CC" -O1 -Wl,-z,noseparate-code -o joined program.c
objcopy --only-keep-debug joined joined.debug
show ./joined.debug parse
refused "… whose code shares a segment with its notes" 125 "only the debug data of a program"
ar rc archive.a program.o
show ./archive.a parse
refused "an archive" 125 "not an ELF"
if [ "$machine" = x86_64 ] && echo 'void _start(void) { __asm__("movl $1, %eax; int $0x80"); }' |
    "$CC" -m32 -nostdlib -static -o thirtytwo -xc - 2>why; then
    show ./thirtytwo _start
    refused "a 32-bit program" 125 "64-bit"
else
    skip "a 32-bit program" "$CC -m32 does not link"
fi
show ./program parze
refused "a name that is not there: a near one is told" 125 "parse"
show ./program stdout
refused "the name of data" 125 "stdout"
show ./program ''
refused "an empty name" 125 "empty"
show date 'nothing.so!time'
refused "an object that is not there" 125 "nothing.so"
finish
