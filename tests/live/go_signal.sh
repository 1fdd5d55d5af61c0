#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A thread that a signal found inside the first instructions of a target, and that is still in the handler of that
# signal: where it will go on is in the handler's frame, on the runtime's stack for signals. Its bytes must not
# change until it has gone on; afterwards they do.
set -u
go=$(command -v go || echo /usr/local/go/bin/go)
. "$SRC/tests/support/go.sh"
[ "$(uname -m)" = x86_64 ] || skip_all "no instruction begins inside an entry jump of one instruction"

module held
cat >held/handler.c <<'END'
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

volatile uintptr_t start, end; /* hold whoever is behind the one and before the other */
volatile int hold, held;
static struct sigaction before;

static void handle(int number, siginfo_t *info, void *context)
{
    uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (hold && pc > start && pc < end) {
        held = (int)(pc - start);
        while (hold)
            (void)syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL);
    }
    before.sa_sigaction(number, info, context);
}

void install(void)
{
    (void)sigaction(SIGURG, NULL, &before);
    struct sigaction mine = before;
    mine.sa_sigaction = handle;
    (void)sigaction(SIGURG, &mine, NULL);
}

int thread(void)
{
    return (int)syscall(SYS_gettid);
}

void notify(int thread)
{
    (void)syscall(SYS_tgkill, getpid(), thread, SIGURG);
}
END
cat >held/main.go <<'END'
package main

// #include <stdint.h>
// extern volatile uintptr_t start, end;
// extern volatile int hold, held;
// void install(void);
// int thread(void);
// void notify(int thread);
import "C"

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"redefine"
)

// The second instruction, at the fourth byte, takes long: most signals find the thread waiting for it.
//
//go:noinline
func unchecked(x float64) float64 { return math.Sqrt(x * x) }

// Here the second instruction is the branch of the stack check.
//
//go:noinline
func checked(x float64) float64 {
	if x < 0 {
		fmt.Fprint(os.Stderr, x)
	}
	return math.Sqrt(x * x)
}

func try(name string, target func(float64) float64) {
	entry := reflect.ValueOf(target).Pointer()
	C.start, C.end, C.held, C.hold = C.uintptr_t(entry), C.uintptr_t(entry+5), 0, 1
	var done int32
	thread, ended := make(chan C.int), make(chan string)
	go func() {
		runtime.LockOSThread()
		thread <- C.thread()
		for atomic.LoadInt32(&done) == 0 {
			if got := target(3); got != 3 && got != 100 {
				ended <- fmt.Sprint("got ", got)
				return
			}
		}
		ended <- fmt.Sprint("ended with ", target(3))
	}()
	id := <-thread
	for end := time.Now().Add(20 * time.Second); C.held == 0; {
		if time.Now().After(end) {
			fmt.Println(name, "no signal found the thread there")
			C.hold = 0
			atomic.StoreInt32(&done, 1)
			<-ended
			return
		}
		C.notify(id)
		for i := 0; i < 20000 && C.held == 0; i++ {
			atomic.LoadInt32(&done)
		}
	}
	fmt.Println(name, "held inside:", C.held > 0 && C.held < 5)
	redefined := make(chan error, 1)
	go func() { redefined <- redefine.Func(target, func(float64) float64 { return 100 }) }()
	var err error
	select {
	case err = <-redefined:
		fmt.Println(name, "while held, busy:", errors.Is(err, redefine.ErrBusy), err)
		C.hold = 0
	case <-time.After(300 * time.Millisecond):
		fmt.Println(name, "while held, busy: true (waits)")
		C.hold = 0
		err = <-redefined
	}
	// The runtime's own handler, which goes on now, may take its time on a busy machine.
	for i := 0; i < 50 && errors.Is(err, redefine.ErrBusy); i++ {
		time.Sleep(100 * time.Millisecond)
		err = redefine.Func(target, func(float64) float64 { return 100 })
	}
	fmt.Println(name, "afterwards:", err)
	atomic.StoreInt32(&done, 1)
	fmt.Println(name, <-ended)
	fmt.Println(name, "restored:", redefine.Restore(target), target(3))
}

func main() {
	C.install()
	try("unchecked", unchecked)
	try("checked", checked)
	fmt.Println("called:", unchecked(1)+checked(1))
}
END
if ! (cd held && "$go" build -ldflags "$stamp" -o ../held.out .) 2>why; then
    result "the program builds" cat why
    finish
fi
run timeout 100 ./held.out
result "the program goes on" sh -c '[ "$1" = 0 ] || { tail -n 30 out; head -n 12 err; false; }' - "$status"
for form in unchecked checked; do
    if grep -q "^$form no signal" out; then
        skip "$form" "no signal found the thread inside its first instructions within 20 s"
        continue
    fi
    result "$form: a signal finds the thread inside its first instructions" grep -q "^$form held inside: true" out
    result "$form: its bytes are not changed while the handler runs" grep -q "^$form while held, busy: true" out
    result "$form: they are, afterwards" grep -q "^$form afterwards: <nil>" out
    result "$form: the thread goes on as if nothing had been" grep -q "^$form ended with 100" out
    result "$form: restored" grep -q "^$form restored: <nil> 3" out
done
finish
