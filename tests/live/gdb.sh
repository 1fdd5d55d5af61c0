#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a debugger sees of helper_gdb: whole stacks from the replacement and from below the original; inside
# the trampoline, which is in no file; and its own breakpoints on what is to be redefined.
set -u
number=0
failures=0
program=$BUILD/tests/live/helper_gdb

if ! command -v gdb >/dev/null; then
    echo "1..0 # SKIP gdb is not installed"
    exit 0
fi
if nm -D "$BUILD/libredefine.so" | grep -q __asan_init; then
    echo "1..0 # SKIP the sanitizers' own frames and signals are no matter of this test"
    exit 0
fi

# debug COMMAND…: the commands to gdb; the output into output.txt.
debug()
{
    printf '%s\n' 'set pagination off' 'set confirm off' 'set debuginfod enabled off' "$@" >commands.gdb
    timeout 60 gdb -nx -batch -x commands.gdb "$program" >output.txt 2>&1
}

# result NAME: the status of the last command; shows the output when it is not 0.
result()
{
    status=$?
    number=$((number + 1))
    if [ $status -eq 0 ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        sed 's/^/# /' output.txt
        failures=1
    fi
}

# frames NAME…: the last backtrace in the output has these functions, innermost first, and no others.
frames()
{
    grep '^#[0-9]' output.txt | sed -n 's/^#[0-9]* *\(0x[0-9a-f]* in \)\{0,1\}\([^ ]*\) .*/\2/p' |
        awk -v wanted="$*" '{ all = all (NR > 1 ? " " : "") $0 } END { exit all != wanted }'
}

debug 'break replacement' 'run' 'bt'
frames replacement outer main
result "in the replacement: the whole stack"

debug 'break ready' 'run' 'break inner' 'continue' 'bt'
frames inner target replacement outer main
result "below the original: the whole stack, without the trampoline"

debug 'break ready' 'run' 'break *trampoline' 'continue' 'bt'
frames '??' replacement outer main
result "at the trampoline: ?? and then the stack"

# Step by step until the trampoline has jumped back into the body.
debug 'break ready' 'run' 'break *trampoline' 'continue' \
    'set $steps = 0' 'while $steps < 20 && (unsigned long)$pc - (unsigned long)trampoline < 64' \
    'stepi' 'set $steps = $steps + 1' 'end' 'bt' 'continue'
frames target replacement outer main && grep -q 'exited normally' output.txt
result "stepped through the trampoline: back in the target"

# What it says in between is a guess of gdb's, since no table covers the trampoline: shown, not judged.
debug 'break ready' 'run' 'break *trampoline' 'continue' 'stepi' 'bt'
sed -n 's/^#/# inside the trampoline: #/p' output.txt

debug 'break target' 'run' 'continue' 'continue' 'continue' 'continue'
grep -q 'refused: a breakpoint' output.txt && grep -q 'result 3' output.txt
result "a breakpoint on the target: redefining it is refused"

debug 'break ready' 'run' 'break target' 'continue' 'bt' 'continue' 'continue'
grep -q 'result 103' output.txt && grep -q 'hit Breakpoint 2\|Breakpoint 2,' output.txt
result "a breakpoint on the target after it was redefined: is met, and the result is right"

debug 'break ready' 'run' 'delete' 'continue'
grep -q 'exited normally' output.txt
result "a debugger that only watches: redefined and restored"

# The frame is made code, but whoever is called from it is called from the library, which has tables.
program=$BUILD/tests/live/helper_frame
debug 'break inner' 'run' 'bt' 'finish' 'finish' 'continue'
frames inner replacement rdf_frame_call keeps outer main
result "below a frame that keeps what callers rely on: the whole stack"

debug 'break inner' 'run' 'delete' 'finish' 'finish' 'finish' 'bt' 'continue'
frames keeps outer main && grep -q 'exited normally' output.txt
result "finished out of the replacement and the frame: back in the caller"

echo "1..$number"
exit $failures
