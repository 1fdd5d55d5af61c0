# SPDX-License-Identifier: MIT
#
# For the shell tests of the command: sourced, not run. A test is a run of something and what is said of it
# afterwards:
#
#     run date +%H:%M                          stdout in ./out, stderr in ./err, the exit status in $status
#     expect "date says so" 0 17:00            this status, exactly this on stdout, nothing on stderr
#     refused "no such patch" 125 "No such"    this status, one sentence on stderr with this in it, nothing
#                                              on stdout, and the program has not run (no ./marker)
#
# and `finish` at the end. Needs a POSIX shell.
# shellcheck shell=sh
number=0
failures=0
status=0
redefine=$BUILD/redefine
newline='
'

# result NAME COMMAND…: one TAP line; ok when the command succeeds. Its output is shown when it does not.
result()
{
    result_name=$1
    shift
    number=$((number + 1))
    if "$@" >why 2>&1; then
        echo "ok $number - $result_name"
    else
        echo "not ok $number - $result_name"
        failures=1
        sed 's/^/#   /' why
        return 1
    fi
}

skip()
{
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

# skip_all REASON: instead of everything.
skip_all()
{
    echo "1..0 # SKIP $1"
    exit 0
}

finish()
{
    echo "1..$number"
    exit $failures
}

run()
{
    rm -f marker
    "$@" >out 2>err
    status=$?
    # The emulator says so on behalf of the program.
    [ -z "${TEST_EMULATED:-}" ] || sed -i '/^qemu: uncaught target signal/d' err
}

# What the last run left, for the reader of a failure.
tell()
{
    echo "$*"
    echo "exit status: $status"
    echo "stdout:"
    head -c 2000 out
    echo "stderr:"
    head -c 2000 err
    return 1
}

is_as_expected()
{
    if [ "$status" != "$1" ]; then
        tell "exit status $1 was expected"
    elif [ "$(cat out; echo .)" != "$2${2:+$newline}." ]; then
        tell "this was expected on stdout: $2"
    elif [ -s err ]; then
        tell "nothing was expected on stderr"
    fi
}

# expect NAME STATUS STDOUT
expect()
{
    result "$1" is_as_expected "$2" "$3"
}

is_a_refusal()
{
    if [ "$status" != "$1" ]; then
        tell "exit status $1 was expected"
    elif [ -s out ]; then
        tell "nothing was expected on stdout"
    elif [ "$(wc -l <err)" -ne 1 ] || ! grep -q '^redefine: .' err; then
        tell "one sentence that begins with 'redefine: ' was expected on stderr"
    elif ! grep -qE -e "$2" err; then
        tell "this was expected on stderr: $2"
    elif [ -e marker ]; then
        tell "the program ran"
    fi
}

# refused NAME STATUS REGEX
refused()
{
    result "$1" is_a_refusal "$2" "$3"
}

# The agent of a sanitized build needs its run time in the program before everything else: what comes now is not tried.
needs_plain_agent()
{
    ! nm -D "$BUILD/libredefine-agent.so" | grep -q '__asan' && return
    reason="a sanitized agent cannot be preloaded into a program that is not"
    [ "$number" -gt 0 ] || skip_all "$reason"
    skip "the rest" "$reason"
    finish
}

# patch FILE.so SOURCE FLAG…: builds a patch file as the README says.
patch()
{
    patch_file=$1
    patch_source=$2
    shift 2
    "$CC" -shared -fPIC "$@" -I"$SRC/include" -o "$patch_file" "$patch_source" ||
        { echo "Bail out! $patch_source cannot be built"; exit 1; }
}

# Two clocks, so that no test passes because it happens to be five: 17:00 and 03:00.
clock_patches()
{
    patch five_pm.so "$SRC/examples/five_pm.c"
    sed 's/tm_hour = 17/tm_hour = 3/' "$SRC/examples/five_pm.c" >three_am.c
    patch three_am.so three_am.c
    export TZ=UTC
}

# await_program PID NAME: a process in the background is a shell at first, and has no library yet.
await_program()
{
    for _ in $(seq 100); do
        grep -q 'libc\.so' "/proc/$1/maps" && [ "$(cat "/proc/$1/comm")" = "$2" ] && break
        sleep 0.1
    done
}
