// SPDX-License-Identifier: MIT

package redefine_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"redefine"
)

// How many times the stress tests redefine and restore; REDEFINE_ROUNDS asks for more, or less.
func rounds(normally int) int {
	if n, err := strconv.Atoi(os.Getenv("REDEFINE_ROUNDS")); err == nil {
		return n
	}
	if testing.Short() {
		return normally / 20
	}
	return normally
}

// How long a stress test may take; where many rounds were asked for, as long as they need.
func longest() time.Duration {
	if rounds(0) >= 10000 {
		return time.Hour
	}
	return time.Minute
}

//go:noinline
func work(n int, text string) string {
	var frame [40]int
	for i := range frame {
		frame[i] = n * i
	}
	return text + strconv.Itoa(frame[n%len(frame)])
}

//go:noinline
func leafWork(n int) int { return n*3 + 1 }

//go:noinline
func framedLeaf(n int) (sum int) {
	var frame [12]int
	for i := range frame {
		frame[i] = n * i
	}
	for i := 0; i < n; i++ {
		sum += frame[(i*n)%len(frame)]
	}
	return sum
}

//go:noinline
func (c counter) times(n int) int { return c.n * n }

// callers runs f in `count` goroutines until stopped; each must see only what f may return.
func callers(t *testing.T, count int, f func(round int) bool) (stop func()) {
	var done int32
	var all sync.WaitGroup
	for i := 0; i < count; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for round := 0; atomic.LoadInt32(&done) == 0; round++ {
				if !f(round) {
					t.Errorf("round %d: neither the original's answer nor the replacement's", round)
					return
				}
			}
		}()
	}
	return func() { atomic.StoreInt32(&done, 1); all.Wait() }
}

func isOneOf[T comparable](got T, wants ...T) bool {
	for _, want := range wants {
		if got == want {
			return true
		}
	}
	return false
}

// Eight goroutines call while functions of every sort are redefined and restored.
func TestUnderLoad(t *testing.T) {
	w5, l5, f5 := work(5, "x"), leafWork(5), framedLeaf(5)
	plus := func(n int, text string) string { return redefine.Original(work)(n, text) + "+" }
	stop := callers(t, 8, func(round int) bool {
		if round%64 == 0 {
			done := make(chan bool)
			go func() { done <- isOneOf(work(5, "x"), w5, w5+"+") }() // a small stack, that must grow
			if !<-done {
				return false
			}
		}
		if round%1024 == 0 {
			runtime.GC()
		}
		return isOneOf(work(5, "x"), w5, w5+"+") && isOneOf(leafWork(5), l5, -l5) &&
			isOneOf(framedLeaf(5), f5, -f5) && isOneOf(counter{n: 3}.times(4), 12, -12) &&
			isOneOf(describe(&dogs{1}, 2), "*redefine_test.dogs 2", "dogs")
	})
	defer stop()
	changes := 0
	defer func() { t.Logf("%d patches and restores while 8 goroutines call", changes) }()
	end := time.Now().Add(longest())
	for n := rounds(10000); changes < n && !t.Failed() && time.Now().Before(end); {
		for number, step := range []func() error{
			func() error { return redefine.Func(work, plus) },
			func() error {
				return redefine.Func(leafWork, func(n int) int { return -redefine.Original(leafWork)(n) })
			},
			func() error {
				return redefine.Func(framedLeaf, func(n int) int { return -redefine.Original(framedLeaf)(n) })
			},
			func() error { return redefine.Restore(work) },
			func() error { return redefine.Func(counter.times, func(c counter, n int) int { return -c.n * n }) },
			func() error { return redefine.Func(describe[*dogs], func(*dogs, int) string { return "dogs" }) },
			func() error { return redefine.Restore(leafWork) },
			func() error { return redefine.Restore(counter.times) },
			func() error { return redefine.Restore(describe[*dogs]) },
			func() error { return redefine.Restore(framedLeaf) },
		} {
			if err := step(); err != nil {
				t.Fatalf("step %d: %v", number, err)
			}
			changes++
		}
	}
}

// The replacement calls the original exactly once, however often the runtime asks for the processor or for
// more stack on the way into it.
func TestOriginalIsNeverMistaken(t *testing.T) {
	want := work(7, "y")
	stop := callers(t, 8, func(round int) bool {
		got := work(7, "y")
		if !isOneOf(got, want, "("+want+")") {
			t.Errorf("%q, want %q", got, want)
			return false
		}
		return true
	})
	defer stop()
	replacement := func(n int, text string) string { return "(" + redefine.Original(work)(n, text) + ")" }
	for i, n := 0, rounds(2000)/2; i < n && !t.Failed(); i++ {
		if err := redefine.Func(work, replacement); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			runtime.GC()
		}
		if err := redefine.Restore(work); err != nil {
			t.Fatal(err)
		}
	}
}

//go:noinline
func parks(enter chan<- int, leave <-chan bool) string {
	enter <- 1
	<-leave
	return "parked"
}

// Goroutines that wait inside the target go on in it.
func TestParkedInside(t *testing.T) {
	enter, leave, done := make(chan int), make(chan bool), make(chan string)
	const goroutines = 20
	for i := 0; i < goroutines; i++ {
		go func() { done <- parks(enter, leave) }()
		<-enter
	}
	mustRedefine(t, parks, func(chan<- int, <-chan bool) string { return "redefined" })
	runtime.GC()
	for i := 0; i < goroutines; i++ {
		leave <- true
		check(t, "parked", <-done, "parked")
	}
	check(t, "new call", parks(nil, nil), "redefined")
}

// Replacements are dropped, and collected, while callers are on their way to them.
func TestReplacementsAreCollectedInTime(t *testing.T) {
	stop := callers(t, 4, func(round int) bool { return len(greet("x", 1)) > 0 })
	defer stop()
	for i, n := 0, rounds(1000); i < n && !t.Failed(); i++ {
		text := fmt.Sprint("replacement ", i)
		if err := redefine.Func(greet, func(string, int) string { return text + "!" }); err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 {
			runtime.GC()
		}
		if i%2 == 0 {
			if err := redefine.Restore(greet); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := redefine.Restore(greet); err != nil {
		t.Fatal(err)
	}
}
