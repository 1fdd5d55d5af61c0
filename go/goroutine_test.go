// SPDX-License-Identifier: MIT

package redefine_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"redefine"
)

//go:noinline
func whoami() string { return fmt.Sprint("nobody", len(ran)) }

func TestForGoroutine(t *testing.T) {
	if err := redefine.ForGoroutine(whoami, func() string { return "me" }); err != nil {
		t.Fatal(err)
	}
	check(t, "here", whoami(), "me")
	done := make(chan string)
	go func() { done <- whoami() }()
	check(t, "a child", <-done, "nobody0")
	check(t, "original", redefine.Original(whoami)(), "nobody0")

	mustRedefine(t, whoami, func() string { return "everybody" })
	check(t, "here", whoami(), "me")
	go func() { done <- whoami() }()
	check(t, "a child", <-done, "everybody")

	if err := redefine.Restore(whoami); err != nil { // this goroutine's
		t.Fatal(err)
	}
	check(t, "here", whoami(), "everybody")
	if err := redefine.Restore(whoami); err != nil { // everybody's
		t.Fatal(err)
	}
	check(t, "here", whoami(), "nobody0")
}

func TestForGoroutineInParallel(t *testing.T) {
	code := codeOf(whoami, 32)
	t.Run("all", func(t *testing.T) {
		for i := 0; i < 40; i++ {
			name := fmt.Sprint("test ", i)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				redefine.TestForGoroutine(t, whoami, func() string { return name })
				for j := 0; j < 50; j++ {
					check(t, "name", whoami(), name)
					runtime.Gosched()
				}
				done := make(chan string)
				go func() { done <- whoami() }()
				check(t, "a child", <-done, "nobody0")
			})
		}
	})
	check(t, "afterwards", whoami(), "nobody0")
	check(t, "bytes", codeOf(whoami, 32), code)
}

// The record of a goroutine that has ended is used again: its redefinitions must not be.
func TestForGoroutineEndsWithIt(t *testing.T) {
	defer redefine.Restore(whoami)
	for i := 0; i < 100; i++ {
		var all sync.WaitGroup
		all.Add(1)
		go func() {
			defer all.Done()
			check(t, "fresh", whoami(), "nobody0")
			if err := redefine.ForGoroutine(whoami, func() string { return "me" }); err != nil {
				t.Error(err)
			}
			check(t, "redefined", whoami(), "me")
			if i%2 == 0 {
				redefine.Restore(whoami)
			}
		}()
		all.Wait()
	}
}

func TestForGoroutineOfTime(t *testing.T) {
	for i := 0; i < 4; i++ {
		hour := i
		t.Run("", func(t *testing.T) {
			t.Parallel()
			redefine.TestForGoroutine(t, time.Now, func() time.Time { return time.Unix(int64(3600*hour), 0) })
			check(t, "hour", time.Now().Unix(), int64(3600*hour))
		})
	}
}

func TestForGoroutineGeneric(t *testing.T) {
	code := codeOf(describe[*dogs], 32)
	if err := redefine.ForGoroutine(describe[*dogs], func(*dogs, int) string { return "mine" }); err != nil {
		t.Fatal(err)
	}
	value, done := describe[*dogs], make(chan string)
	check(t, "here", describe(&dogs{1}, 2), "mine")
	check(t, "here, by a func value", value(&dogs{1}, 2), "mine")
	check(t, "another of the shape", describe(&cats{1}, 2), "*redefine_test.cats 2")
	check(t, "original", redefine.Original(describe[*dogs])(&dogs{1}, 2), "*redefine_test.dogs 2")
	go func() { done <- describe(&dogs{1}, 2) + value(&dogs{3}, 4) }()
	check(t, "a child", <-done, "*redefine_test.dogs 2*redefine_test.dogs 4")

	if err := redefine.ForGoroutine(describe[*cats], func(*cats, int) string { return "my cats" }); err != nil {
		t.Fatal(err)
	}
	mustRedefine(t, describe[*dogs], func(*dogs, int) string { return "everybody's" })
	check(t, "both", describe(&dogs{1}, 2)+describe(&cats{1}, 2), "minemy cats")
	go func() { done <- describe(&dogs{1}, 2) + value(&dogs{1}, 2) + describe(&cats{1}, 2) }()
	check(t, "a child", <-done, "everybody'severybody's*redefine_test.cats 2")
	for _, want := range []string{"everybody's", "*redefine_test.dogs 2"} {
		if err := redefine.Restore(describe[*dogs]); err != nil {
			t.Fatal(err)
		}
		check(t, "restored", describe(&dogs{1}, 2)+value(&dogs{1}, 2), want+want)
		check(t, "still", describe(&cats{1}, 2), "my cats")
	}
	if err := redefine.Restore(describe[*cats]); err != nil {
		t.Fatal(err)
	}
	check(t, "bytes", codeOf(describe[*dogs], 32), code)
}

func TestForGoroutineGenericInParallel(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		for i := 0; i < 40; i++ {
			i := i
			t.Run("", func(t *testing.T) {
				t.Parallel()
				redefine.TestForGoroutine(t, (*stack[int]).Push, func(s *stack[int], x int) { s.all = append(s.all, i, x) })
				for j := 0; j < 50; j++ {
					s := &stack[int]{}
					s.Push(j)
					redefine.Original((*stack[int]).Push)(s, 7)
					check(t, "pushed", fmt.Sprint(s.all), fmt.Sprintf("[%d %d 7]", i, j))
					runtime.Gosched()
				}
			})
		}
	})
	s := &stack[int]{}
	s.Push(1)
	check(t, "afterwards", fmt.Sprint(s.all), "[1]")
}

//go:noinline
func onlyMine[T any](x T) string { return fmt.Sprint(x) }

// Nobody but this goroutine ever redefined a function of that shape: for everyone there is no list at all.
func TestForGoroutineGenericAlone(t *testing.T) {
	redefine.TestForGoroutine(t, onlyMine[*int], func(*int) string { return "mine" })
	check(t, "this one", onlyMine[*int](nil), "mine")
	check(t, "another of the shape", onlyMine[*string](nil), "<nil>")
}
