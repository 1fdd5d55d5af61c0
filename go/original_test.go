// SPDX-License-Identifier: MIT

package redefine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"redefine"
)

//go:noinline
func large(seed int) int {
	var table [700]int // a frame that needs the longest check
	for i := range table {
		table[i] = seed * i
	}
	sum := 0
	for i := range table {
		sum += table[(i*7+seed)%len(table)]
	}
	return sum
}

//go:noinline
func huge(seed int) int {
	var table [20000]int
	for i := range table {
		table[i] = seed + i
	}
	return table[seed%len(table)] + len(fmt.Sprint(table[:3]))
}

func TestOriginalOfLargeFrames(t *testing.T) {
	wantLarge, wantHuge := large(3), huge(3)
	mustRedefine(t, large, func(seed int) int { return redefine.Original(large)(seed) + 1 })
	mustRedefine(t, huge, func(seed int) int { return redefine.Original(huge)(seed) + 1 })
	for i := 0; i < 50; i++ {
		done := make(chan bool)
		go func() {
			check(t, "large", large(3), wantLarge+1)
			check(t, "huge", huge(3), wantHuge+1)
			done <- true
		}()
		<-done
	}
}

//go:noinline
func collecting(all []*int) int {
	runtime.GC()
	sum := 0
	for _, n := range all {
		sum += *n
	}
	return sum
}

func TestOriginalThatCollects(t *testing.T) {
	original := redefine.Original(collecting)
	mustRedefine(t, collecting, func(all []*int) int {
		original = redefine.Original(collecting)
		fresh := make([]*int, len(all))
		for i := range all {
			n := *all[i]
			fresh[i] = &n
		}
		return -original(fresh)
	})
	one, two := 1, 2
	for i := 0; i < 20; i++ {
		check(t, "sum", collecting([]*int{&one, &two}), -3)
	}
}

//go:noinline
func joining(words []string, depth int) string {
	var frame [96]byte // the stack grows here at different depths than in deepest
	for i := range frame {
		frame[i] = byte(depth)
	}
	return strings.Join(words, string(rune('a'+frame[depth%len(frame)]%26)))
}

//go:noinline
func deepest(depth int, then func() string) string {
	var frame [3]int
	frame[depth%3] = depth
	if depth == frame[0]+frame[1]+frame[2]-depth {
		return then()
	}
	return deepest(depth-1, then)
}

// The stack grows at the entry of the original, and below it, at every depth.
func TestOriginalWhileStackGrows(t *testing.T) {
	words := []string{"x", "y", "z"}
	plain := joining
	wants := make([]string, 600)
	for depth := range wants {
		wants[depth] = plain(words, depth)
	}
	calls := int64(0)
	mustRedefine(t, joining, func(words []string, depth int) string {
		atomic.AddInt64(&calls, 1)
		return redefine.Original(joining)(words, depth)
	})
	for depth := range wants {
		done := make(chan string)
		go func() { done <- deepest(depth, func() string { return joining(words, depth) }) }()
		if got := <-done; got != wants[depth] {
			t.Fatalf("at depth %d: %q, want %q", depth, got, wants[depth])
		}
	}
	check(t, "calls of the replacement", calls, int64(len(wants)))
}

//go:noinline
func fibonacci(n int) int {
	if n < 2 {
		return n
	}
	return fibonacci(n-1) + fibonacci(n-2)
}

//go:noinline
func sumTo(n int) int {
	if n == 0 {
		return 0
	}
	return n + sumTo(n-1)
}

func TestOriginalOfRecursion(t *testing.T) {
	calls := 0
	mustRedefine(t, fibonacci, func(n int) int { calls++; return redefine.Original(fibonacci)(n) })
	check(t, "fibonacci", fibonacci(15), 610)
	check(t, "calls", calls, 1973)
	var original func(int) int // asked for once: that takes a while in an emulated machine
	mustRedefine(t, sumTo, func(n int) int { return original(n) })
	original = redefine.Original(sumTo)
	check(t, "deep", sumTo(20000), 20000*20001/2)
}

//go:noinline
func panicking(text string) string {
	if text == "panic" {
		panic(fmt.Sprint("because of ", text))
	}
	return text
}

//go:noinline
func recovering(f func()) (what any) {
	defer func() { what = recover() }()
	f()
	return nil
}

func TestOriginalThatPanics(t *testing.T) {
	mustRedefine(t, panicking, func(text string) string { return redefine.Original(panicking)(text) + "!" })
	check(t, "no panic", panicking("x"), "x!")
	for i := 0; i < 100; i++ {
		check(t, "across", fmt.Sprint(recovering(func() { panicking("panic") })), "because of panic")
	}
	mustRedefine(t, recovering, func(f func()) any { return fmt.Sprint("got ", redefine.Original(recovering)(f)) })
	check(t, "inside", fmt.Sprint(recovering(func() { panicking("panic") })), "got because of panic")
}

type node struct {
	pad  [4]int
	next *node
}

//go:noinline
func (n *node) length() int { // no check of the stack: its first instructions are moved
	count := n.pad[0] + 3*n.pad[1] + n.pad[2]
	for ; n.next != nil; n = n.next {
		count++
	}
	return count
}

// A loop that would run elsewhere as a whole could not be preempted.
//
//go:noinline
func (n *node) end() *node {
	for n.next != nil {
		n = n.next
	}
	return n
}

func TestLoopAtTheEntry(t *testing.T) {
	err := redefine.Func((*node).end, func(n *node) *node { return n })
	if err == nil { // built in a way that puts something before the loop
		check(t, "redefined", (&node{next: &node{}}).end().next != nil, true)
		redefine.Restore((*node).end)
		return
	}
	checkKind(t, err, redefine.ErrUnsupported)
	check(t, "unchanged", (&node{next: &node{}}).end().next == nil, true)
}

//go:noinline
func (n *node) show() string { return fmt.Sprint(n.pad[2]) }

// Methods without a check of the stack, whose first instructions read or write what may be nil; those of listed
// have a frame by then, for the panic of a bad index.
type counted struct{ pad, n int }

//go:noinline
func (s *counted) inc() { s.n++ }

//go:noinline
func (s *counted) first() { s.pad++ }

//go:noinline
func (s *counted) set(n int) { s.n = n }

type listed struct {
	pad  int
	list []int
}

//go:noinline
func (l *listed) head() int { return l.list[0] }

//go:noinline
func (l *listed) at(i int) int { return l.list[i] }

//go:noinline
func (l *listed) put(i, n int) { l.list[i] = n }

func TestNilInsideOriginal(t *testing.T) {
	mustRedefine(t, (*node).show, func(n *node) string { return redefine.Original((*node).show)(n) })
	mustRedefine(t, (*node).length, func(n *node) int { return redefine.Original((*node).length)(n) })
	mustRedefine(t, tinyLoad, func(p *int) int { return redefine.Original(tinyLoad)(p) })
	mustRedefine(t, (*counted).inc, func(s *counted) { redefine.Original((*counted).inc)(s) })
	mustRedefine(t, (*counted).first, func(s *counted) { redefine.Original((*counted).first)(s) })
	mustRedefine(t, (*counted).set, func(s *counted, n int) { redefine.Original((*counted).set)(s, n) })
	mustRedefine(t, (*listed).head, func(l *listed) int { return redefine.Original((*listed).head)(l) })
	mustRedefine(t, (*listed).at, func(l *listed, i int) int { return redefine.Original((*listed).at)(l, i) })
	mustRedefine(t, (*listed).put, func(l *listed, i, n int) { redefine.Original((*listed).put)(l, i, n) })
	check(t, "length", (&node{next: &node{}}).length(), 1)
	s, l := &counted{}, &listed{list: []int{7, 8}}
	s.inc()
	s.first()
	check(t, "counted", *s, counted{1, 1})
	s.set(5)
	check(t, "set", *s, counted{1, 5})
	l.put(1, 9)
	check(t, "list", fmt.Sprint(l.head(), l.at(0), l.at(1)), "7 7 9")
	check(t, "out of range", fmt.Sprint(recovering(func() { l.at(2) })),
		"runtime error: index out of range [2] with length 2")
	for i := 0; i < 20; i++ {
		for _, f := range []func(){
			func() { (*node)(nil).show() }, func() { (*node)(nil).length() }, func() { tinyLoad(nil) },
			func() { (*counted)(nil).inc() }, func() { (*counted)(nil).first() }, func() { (*counted)(nil).set(1) },
			func() { (*listed)(nil).head() }, func() { (*listed)(nil).at(1) }, func() { (*listed)(nil).put(0, 1) },
		} {
			err, ok := recovering(f).(runtime.Error)
			if !ok || !strings.Contains(err.Error(), "nil pointer") {
				t.Fatalf("recovered %v", err)
			}
		}
	}
}

//go:noinline
func tracing() (names []string, trace string) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for {
		frame, more := frames.Next()
		names = append(names, frame.Function)
		if !more {
			return names, string(debug.Stack())
		}
	}
}

func replacedTracing() ([]string, string) { return redefine.Original(tracing)() }

func TestTracesInsideOriginal(t *testing.T) {
	mustRedefine(t, tracing, replacedTracing)
	names, trace := tracing()
	got := strings.Join(names, " ")
	const here = "redefine_test."
	want := here + "tracing " + here + "replacedTracing " + here + "TestTracesInsideOriginal testing.tRunner"
	if !strings.HasPrefix(got, want) {
		t.Errorf("runtime.Callers: %s", got)
	}
	at := 0
	for _, name := range []string{"tracing(", "replacedTracing(", "TestTracesInsideOriginal(", "tRunner("} {
		next := strings.Index(trace[at:], name)
		if next < 0 {
			t.Fatalf("no %s in its place in %s", name, trace)
		}
		at += next
	}
}

func TestOriginalUnderProfiler(t *testing.T) {
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Skip(err)
	}
	var original, originalSame func(int) int
	mustRedefine(t, fibonacci, func(n int) int { return original(n) })
	mustRedefine(t, tinySame, func(n int) int { return originalSame(n) })
	original, originalSame = redefine.Original(fibonacci), redefine.Original(tinySame)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		check(t, "fibonacci", fibonacci(20), 6765)
		for i := 0; i < 10000; i++ {
			tinySame(i)
		}
	}
	pprof.StopCPUProfile()
	if profile.Len() == 0 {
		t.Error("no profile")
	}
}

//go:noinline
func tripled(x int) int { return x*3 + 1 } // its first instruction is shorter than a jump

// Signals find threads at every instruction on the way to the replacement and to the original. The runtime looks
// the address up, and ends the program when it lies in a function but in none of its tables.
func TestSignalsOnTheWay(t *testing.T) {
	var original func(int) int
	mustRedefine(t, tripled, func(x int) int { return original(x) })
	original = redefine.Original(tripled)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Skip(err)
	}
	defer pprof.StopCPUProfile()
	const count = 2
	threads := make(chan int, count)
	stop := callers(t, count, func(round int) bool {
		if round == 0 {
			runtime.LockOSThread()
			threads <- syscall.Gettid()
		}
		return tripled(round) == 3*round+1
	})
	defer stop()
	first, second := <-threads, <-threads
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		for i := 0; i < 100; i++ {
			for _, thread := range []int{first, second} {
				if _, _, err := syscall.Syscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(thread), uintptr(syscall.SIGPROF)); err != 0 {
					t.Fatal(err)
				}
			}
		}
	}
}

//go:noinline
func spin(until *int32) (rounds int) {
	for atomic.LoadInt32(until) == 0 {
		rounds++
	}
	return rounds
}

//go:noinline
func spinWithFrame(until *int32, w io.Writer) (rounds int) {
	fmt.Fprint(w, "spinning")
	for atomic.LoadInt32(until) == 0 {
		rounds++
	}
	return rounds
}

// A collection cannot begin before every goroutine has been stopped.
func TestOriginalIsPreempted(t *testing.T) {
	err := redefine.Func(spin, func(until *int32) int { return redefine.Original(spin)(until) })
	if err != nil {
		checkKind(t, err, redefine.ErrUnsupported)
	} else {
		defer redefine.Restore(spin)
	}
	mustRedefine(t, spinWithFrame, func(until *int32, w io.Writer) int {
		return redefine.Original(spinWithFrame)(until, w)
	})
	var until int32
	var spinning sync.WaitGroup
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		spinning.Add(2)
		go func() { spin(&until); spinning.Done() }()
		go func() { spinWithFrame(&until, io.Discard); spinning.Done() }()
	}
	runtime.GC()
	runtime.GC()
	atomic.StoreInt32(&until, 1)
	spinning.Wait()
}

func TestOriginalFromManyGoroutines(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	words := []string{"x", "y", "z"}
	wants := [20]string{}
	for i := range wants {
		wants[i] = joining(words, i)
	}
	var original func([]string, int) string
	mustRedefine(t, joining, func(words []string, depth int) string {
		return original(append([]string(nil), words...), depth)
	})
	original = redefine.Original(joining)
	var all sync.WaitGroup
	for i := 0; i < 32; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for round := 0; round < 200; round++ {
				i := round % len(wants)
				if got := joining(words, i); got != wants[i] {
					t.Errorf("%q, want %q", got, wants[i])
					return
				}
				if round%50 == 0 {
					check(t, "asked for again", redefine.Original(joining)(words, i), wants[i])
					check(t, "deep", deepest(round, func() string { return joining(words, 1) }), wants[1])
				}
			}
		}()
	}
	all.Wait()
}

func TestOriginalIsKept(t *testing.T) {
	mustRedefine(t, greet, func(string, int) string { return "" })
	original := redefine.Original(greet)
	redefine.Restore(greet)
	for i := 0; i < 3; i++ {
		runtime.GC()
		check(t, "after the restore", original("x", 1), "hello x")
	}
	mustRedefine(t, greet, func(string, int) string { return "again" })
	check(t, "after another redefinition", original("x", 1), "hello x")
	check(t, "redefined", greet("x", 1), "again")
}

// Two calls from one frame: the second must not be taken for the first one, which asked for more stack while
// nothing was redefined, and so was never seen again.
//
//go:noinline
func callKeptThenRedefined(t *testing.T, original func([]string, int) string, words []string) (first, second string) {
	first = original(words, 1)
	err := redefine.Func(joining, func([]string, int) string { return "redefined" })
	for i := 0; i < 10 && errors.Is(err, redefine.ErrBusy); i++ { // a slow machine cannot stop all threads in a second
		err = redefine.Func(joining, func([]string, int) string { return "redefined" })
	}
	if err != nil {
		t.Error(err)
	}
	second = joining(words, 1)
	for err = redefine.Restore(joining); errors.Is(err, redefine.ErrBusy); {
		err = redefine.Restore(joining)
	}
	if err != nil {
		t.Error(err)
	}
	return
}

func TestNoteIsOnlyForItsCall(t *testing.T) {
	words := []string{"x", "y"}
	want := joining(words, 1)
	mustRedefine(t, joining, func([]string, int) string { return "" })
	original := redefine.Original(joining)
	redefine.Restore(joining)
	for depth := 0; depth < 200; depth++ {
		done := make(chan string)
		go func() {
			done <- deepest(depth, func() string {
				first, second := callKeptThenRedefined(t, original, words)
				return first + " " + second
			})
		}()
		if got := <-done; got != want+" redefined" {
			t.Fatalf("at depth %d: %s", depth, got)
		}
	}
}

var ran = make(chan bool, 10)

//go:noinline
func runs() { fmt.Fprint(io.Discard, "runs"); ran <- true }

// A goroutine that was made and did not run yet is known by its first instruction alone.
func TestOriginalAsGoroutine(t *testing.T) {
	mustRedefine(t, runs, func() { t.Error("the replacement ran") })
	original, named := redefine.Original(runs), redefine.Original[proc](runs)
	for i := 0; i < 50; i++ {
		go original()
		go named()
		runtime.GC()
		<-ran
		<-ran
	}
	defer func() { <-ran }()
	defer original()
	time.AfterFunc(time.Microsecond, original)
	<-ran
}

func TestErrorsAreComparable(t *testing.T) {
	err := redefine.Func(add, nil)
	if !errors.Is(err, redefine.ErrNil) || errors.Is(err, redefine.ErrSelf) {
		t.Error(err)
	}
}
