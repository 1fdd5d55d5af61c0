#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine attach, status, restore: programs that run already say that it is five, and what time it is afterwards.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/attach.sh"
clock_patches

# ---- Programs that ask for the time over and over ----

# tells NAME COMMAND…: prints the hour and minute often; attached it is five, restored it is not.
tells()
{
    tells_name=$1
    shift
    begin "$@"
    says_not 17:00 || { tell "$tells_name did not begin"; return 1; }
    attaches five_pm.so 17:00 || return 1
    run "$redefine" restore "$pid"
    is_as_expected 0 '' || return 1
    says_not 17:00 || { tell "it still says that it is five"; return 1; }
    goes_on || { tell "it has ended"; return 1; }
}

cat >ticks.py <<'PY'
import time
while True:
    print(time.strftime("%H:%M"), flush=True)
    time.sleep(0.05)
PY
cat >busy.py <<'PY'
import time
last = 0
while True:
    now = time.monotonic()
    if now - last > 0.05:
        last = now
        print(time.strftime("%H:%M"), flush=True)
PY
cat >threads.py <<'PY'
import threading, time
def work():
    while True:
        sum(i * i for i in range(1000))
for _ in range(6):
    threading.Thread(target=work, daemon=True).start()
while True:
    print(time.strftime("%H:%M"), flush=True)
    time.sleep(0.05)
PY
# shellcheck disable=SC2016
for_each()
{
    case $1 in
    "python3 that sleeps") tells "$1" python3 ticks.py ;;
    "python3 that is busy") tells "$1" python3 busy.py ;;
    "python3 with seven threads") tells "$1" python3 threads.py ;;
    "perl that sleeps") tells "$1" perl -e '$| = 1; while (1) { printf "%02d:%02d\n", (localtime)[2, 1]; select undef, undef, undef, 0.05 }' ;;
    "bash in a loop") tells "$1" bash -c 'while :; do printf "%(%H:%M)T\n"; read -rt 0.05 <> <(:); done' ;;
    esac
}
for name in "python3 that sleeps" "python3 that is busy" "python3 with seven threads" "perl that sleeps" "bash in a loop"; do
    if command -v "${name%% *}" >/dev/null; then
        result "$name" for_each "$name"
    else
        skip "$name" "it is not installed"
    fi
    end
done

# ---- What waits for something ----

if command -v sqlite3 >/dev/null; then
    mkfifo questions
    begin sh -c 'exec sqlite3 :memory: <questions'
    exec 9>questions
    await_program "$pid" sqlite3
    run "$redefine" attach "$pid" --patch five_pm.so
    expect "sqlite3 that waits for its input" 0 ''
    echo "select strftime('%H:%M', 'now');" >&9
    result "... says that it is five" says 17:00
    run "$redefine" restore "$pid" five_pm.so
    expect "... restored by the name of the patch" 0 ''
    echo "select 'x' || strftime('%H:%M', 'now');" >&9
    result "... does not any more" says_not x17:00
    exec 9>&-
    end
else
    skip "sqlite3 that waits for its input" "it is not installed"
fi

# Its call must start again where it was: neither sooner nor later than it was asked for.
slept()
{
    begun_s=$(date +%s)
    sleep 4 &
    pid=$!
    await_program "$pid" sleep
    for _ in 1 2 3 4 5; do
        "$redefine" attach "$pid" --patch five_pm.so && "$redefine" restore "$pid" || return 1
    done
    wait "$pid" || { echo "sleep ended with $?"; return 1; }
    took_s=$(($(date +%s) - begun_s))
    [ "$took_s" -ge 4 ] && [ "$took_s" -le 8 ] || { echo "it took $took_s s"; return 1; }
}
result "sleep ends in time" slept

# ---- Threads of all kinds ----

guest_and_answer attached

# Each kind prints what answer(1) is, over and over.
for name in sleeping busy blocked sigwait suspended futex poll threads handler vector; do
    result "a program: $name" on_and_off ./guest "$name"
    end
done

# Its threads are in the kernel for Go's scheduler or run goroutines, whose stacks are no place for a frame.
if command -v go >/dev/null; then
    mkdir cgo
    cat >cgo/main.go <<'GO'
package main

// #include <time.h>
// static int hour(void) { time_t now = time(0); struct tm tm; gmtime_r(&now, &tm); return tm.tm_hour; }
import "C"
import ("fmt"; "time")

func grow(n int) int {
	var room [64]int
	room[n%64] = n
	if n == 0 { return 0 }
	return grow(n-1) + room[n%64]
}

func main() {
	for i := 0; i < 6; i++ {
		go func() { for { s := make([]int, 1000); s[1] = grow(500) } }()
	}
	for {
		if grow(1000) != 500500 { panic("a wrong sum") }
		fmt.Println(C.hour())
		time.Sleep(30 * time.Millisecond)
	}
}
GO
    if HOME=$PWD GO111MODULE=off CGO_ENABLED=1 GOCACHE=$PWD/gocache go build -o with-cgo ./cgo/main.go 2>why; then
        go_told()
        {
            begin ./with-cgo
            says_not 17 || { tell "it did not begin"; return 1; }
            for _ in 1 2 3; do
                attaches five_pm.so 17 || return 1
                run "$redefine" restore "$pid"
                is_as_expected 0 '' || return 1
                says_not 17 || { tell "it still says that it is five"; return 1; }
            done
        }
        result "a Go program with cgo: its C is redefined, and no goroutine is harmed" go_told
        end
    else
        skip "a Go program with cgo" "it cannot be built here"
    fi
else
    skip "a Go program with cgo" "Go is not installed"
fi

# One that has given up making memory executable, for ever.
gives_up()
{
    begin python3 -c 'import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit(111)
os.execv("./guest", ["guest", "sleeping"])'
    says 2 || { wait "$pid"; return $?; }
    attaches answer.so 42 || return 1
    ! grep -q rwx "/proc/$pid/maps" || { tell "a page is writable and executable"; return 1; }
}
gives_up >gives-up 2>&1
gave_up=$?
if [ "$gave_up" = 111 ]; then
    skip "a process under PR_SET_MDWE" "this kernel has none"
else
    result "a process under PR_SET_MDWE" sh -c 'cat gives-up; exit "$1"' - "$gave_up"
fi
end

# Nobody may see that it ran: it stays stopped.
stopped()
{
    begins ./guest sleeping || return 1
    kill -STOP "$pid"
    await_state T || { tell "it did not stop"; return 1; }
    run "$redefine" attach "$pid" --patch answer.so
    is_as_expected 0 '' || return 1
    await_state T || { tell "it did not stay stopped: $(grep State "/proc/$pid/status")"; return 1; }
    run "$redefine" status "$pid"
    grep -q "answer at" out || { tell "it is not redefined"; return 1; }
    kill -CONT "$pid"
    says 42 || { tell "it is not redefined"; return 1; }
    kill -STOP "$pid"
    await_state T || return 1
    run "$redefine" restore "$pid"
    is_as_expected 0 '' || return 1
    await_state T || { tell "it did not stay stopped"; return 1; }
    [ "$(ls "/proc/$pid/task" | wc -l)" = 1 ] || { tell "a thread was left"; return 1; }
    kill -CONT "$pid"
    says 2 || { tell "it is not restored"; return 1; }
}
result "a process that is stopped stays so, and is redefined when it goes on" stopped
end
stopped_threads()
{
    begins ./guest threads || return 1
    kill -STOP "$pid"
    await_state T || return 1
    run "$redefine" attach "$pid" --patch answer.so
    is_as_expected 0 '' || return 1
    await_state T || { tell "it did not stay stopped"; return 1; }
    kill -CONT "$pid"
    says 42 || { tell "it is not redefined"; return 1; }
    goes_on
}
result "a stopped process of many threads" stopped_threads
end

# The thread's own state is what it was: the guest compares it, and ends when it is not.
result "registers, vectors, errno, mask, alternate stack: as they were" on_and_off ./guest state
end

# ---- What it says ----

begin ./guest sleeping
says 2
run "$redefine" status "$pid"
expect "status: nothing" 0 "nothing is redefined by redefine in process $pid (guest)"
run "$redefine" status --json "$pid"
result "status --json: nothing" sh -c 'grep -q "\"schema\": 1" out && grep -q "\"patches\": \[\]" out'
run "$redefine" restore "$pid"
expect "restore of nothing" 0 ''
run "$redefine" restore "$pid" answer.so
refused "restore of a patch that is not in force" 125 "answer.so redefines nothing in process"
code_before=$(dump_code answer)
run "$redefine" attach "$pid" --patch answer.so --verbose
result "attach --verbose: a line for each function and one for all" \
    sh -c '[ "$1" = 0 ] && [ ! -s out ] && [ "$(wc -l <err)" = 2 ] &&
           grep -q "answer.so: answer: .*displaced, relay" err && grep -q "answer.so: L[02]: .* edits, written by" err ||
           { cat err; false; }' - "$status"
run "$redefine" status "$pid"
result "status names patch, function, address and how" \
    sh -c '[ "$(head -1 out)" = "$PWD/answer.so" ] && grep -q "^  answer at 0x[0-9a-f]*: .*displaced" out ||
           { cat out; false; }'
run "$redefine" status --json "$pid"
result "status --json is read by others" python3 -c '
import json, sys
told = json.load(open("out"))
assert told["schema"] == 1 and told["pid"] == int(sys.argv[1])
(patch,) = told["patches"]
(function,) = patch["functions"]
assert patch["file"].endswith("/answer.so") and function["name"] == "answer" and function["address"] > 0
assert "displaced" in function["how"]' "$pid"
code_between=$(dump_code answer)
run "$redefine" attach "$pid" --patch answer.so
result "the same patch again: it is in force already" \
    sh -c '[ "$1" = 0 ] && grep -q "answer.so is in force already" err' - "$status"
result "... and counts once" says 42
run "$redefine" restore "$pid"
code_after=$(dump_code answer)
result "the bytes changed, and are the original's again" \
    sh -c '[ -n "$1" ] && [ "$1" != "$2" ] && [ "$1" = "$3" ]' - "$code_before" "$code_between" "$code_after"
run "$redefine" attach "$pid" --patch answer.so
expect "attached again after a restore" 0 ''
result "... it is redefined" says 42

# A patch that was built again: its newer version takes the place of the older one.
rm answer.so
patch_adding 50 answer.so
run "$redefine" attach "$pid" --patch answer.so
expect "a patch that was built again" 0 ''
result "... takes the place of the former version" says 52
run "$redefine" status "$pid"
result "... which is not in force any more" sh -c '[ "$(grep -c "^/" out)" = 1 ]'

# Another one on top; they come off in any order.
patch_adding 10 ten.so
run "$redefine" attach "$pid" --patch ten.so
expect "another patch on top" 0 ''
result "... stacks" says 62
run "$redefine" restore "$pid" answer.so
expect "the lower one comes off" 0 ''
result "... and the upper one stays" says 12
run "$redefine" restore "$pid" ten.so
expect "the upper one comes off" 0 ''
result "... nothing stays" says 2
run "$redefine" attach "$pid" --replace answer=answer.so:nothing
refused "--replace by what is not there" 125 "exports no symbol nothing; nothing was changed"
printf 'int plus(int x) { return x + 7; }\n' >plus.c
patch plus.so plus.c -g
run "$redefine" attach "$pid" --replace answer=plus.so:plus
expect "--replace" 0 ''
result "... is in force" says 8
# All or nothing: the first of them is taken back.
printf '#include <redefine/patch.h>\nstatic int mine(int x) { return x; }\nREDEFINE_PATCH("nowhere_at_all", mine);\n' >missing.c
patch missing.so missing.c
run "$redefine" attach "$pid" --patch ten.so --patch missing.so
refused "a patch for what is not there" 125 "nowhere_at_all.*nothing was changed"
run "$redefine" status "$pid"
result "... and the patch before it is not in force either" sh -c '! grep -q ten.so out && grep -q plus.so out'
run "$redefine" restore "$pid"
result "the process is as it was: no thread, no mapping of the errand's" as_it_was

# Where POSIXLY_CORRECT is set, getopt takes what stands behind the first word for words.
export POSIXLY_CORRECT=1
run "$redefine" attach "$pid" --patch ten.so
expect "POSIXLY_CORRECT: attach, and its options behind the process" 0 ''
run "$redefine" status "$pid" --json
result "... status" grep -q '"name": *"answer"' out
run "$redefine" restore "$pid" ten.so --verbose
result "... restore" sh -c '[ "$1" = 0 ] && grep -q "ten.so: 1 function restored" err || { cat err; false; }' - "$status"
unset POSIXLY_CORRECT
result "... it is off" says 2
end

# ---- A process of redefine run ----

begin "$redefine" run --patch answer.so -- ./guest sleeping
says 52
run "$redefine" status "$pid"
result "status of a program that redefine run started" grep -q "answer at" out
run "$redefine" attach "$pid" --patch ten.so
expect "attach to it" 0 ''
result "... stacks" says 62
run "$redefine" restore "$pid" answer.so
expect "restore of what run brought" 0 ''
result "... is in force no more" says 12
run "$redefine" restore "$pid"
result "... and nothing is left" says 2
end

# ---- Several at once ----

begin python3 ticks.py
says_not 17:00
run "$redefine" attach "$pid" --patch five_pm.so --patch three_am.so
result "two patches at once: the later one on top" says 03:00
run "$redefine" restore "$pid"
end
finish
