// SPDX-License-Identifier: MIT

package redefine_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"redefine"
)

func mustRedefine[T any](t testing.TB, fn, newFn T) {
	t.Helper()
	if err := redefine.Func(fn, newFn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := redefine.Restore(fn); err != nil {
			t.Error(err)
		}
	})
}

func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func fivePM() time.Time {
	return time.Date(2026, 1, 30, 17, 0, 0, 0, time.FixedZone("Somewhere", -5))
}

func TestTimeNow(t *testing.T) {
	before := time.Now()
	mustRedefine(t, time.Now, fivePM)
	check(t, "redefined", time.Now().Format(time.Kitchen), "5:00PM")
	original := redefine.Original(time.Now)
	if now := original(); now.Before(before) || now.Sub(before) > time.Hour {
		t.Errorf("the original says %v, it was %v before", now, before)
	}
	if err := redefine.Restore(time.Now); err != nil {
		t.Fatal(err)
	}
	if now := time.Now(); now.Before(before) || now.Sub(before) > time.Hour {
		t.Errorf("restored: %v", now)
	}
	if now := original(); now.Before(before) || now.Sub(before) > time.Hour {
		t.Errorf("the original after the restore: %v", now)
	}
}

//go:noinline
func add(a, b int) int { return a + b }

//go:noinline
func greet(name string, times int) string {
	var all []string
	for i := 0; i < times; i++ {
		all = append(all, fmt.Sprintf("hello %s", name))
	}
	return strings.Join(all, ", ")
}

func TestPlainFunction(t *testing.T) {
	mustRedefine(t, greet, func(name string, times int) string { return name + "!" })
	check(t, "redefined", greet("x", 2), "x!")
	check(t, "original", redefine.Original(greet)("x", 2), "hello x, hello x")
}

func TestBytesComeBack(t *testing.T) {
	code := codeOf(greet, 64)
	mustRedefine(t, greet, func(string, int) string { return "" })
	if codeOf(greet, 64) == code {
		t.Error("nothing was written")
	}
	if err := redefine.Restore(greet); err != nil {
		t.Fatal(err)
	}
	check(t, "restored bytes", codeOf(greet, 64), code)
	check(t, "restored", greet("x", 1), "hello x")
}

func TestRedefineAgain(t *testing.T) {
	mustRedefine(t, greet, func(string, int) string { return "first" })
	mustRedefine(t, greet, func(string, int) string { return "second" })
	check(t, "redefined", greet("x", 2), "second")
	check(t, "original", redefine.Original(greet)("x", 1), "hello x")
}

// What a replacement captures must survive collections though only machine code knows of it.
func TestClosureIsKept(t *testing.T) {
	func() {
		words := make([]string, 100)
		for i := range words {
			words[i] = fmt.Sprintf("word %d", i)
		}
		mustRedefine(t, greet, func(name string, times int) string { return words[times] })
	}()
	for i := 0; i < 5; i++ {
		runtime.GC()
		garbage := make([][]byte, 0, 1000)
		for len(garbage) < cap(garbage) {
			garbage = append(garbage, []byte(fmt.Sprintf("garbage %d", len(garbage))))
		}
		check(t, "redefined", greet("x", 42), "word 42")
	}
}

type prefixer struct{ prefix string }

func (p *prefixer) greet(name string, times int) string { return p.prefix + name }

func TestMethodValueAsReplacement(t *testing.T) {
	mustRedefine(t, greet, (&prefixer{"dear "}).greet)
	check(t, "redefined", greet("x", 42), "dear x")
}

func TestMakeFuncAsReplacement(t *testing.T) {
	fn := reflect.MakeFunc(reflect.TypeOf(greet), func(args []reflect.Value) []reflect.Value {
		return []reflect.Value{reflect.ValueOf(fmt.Sprint(args[0], args[1]))}
	})
	mustRedefine(t, greet, fn.Interface().(func(string, int) string))
	check(t, "redefined", greet("x", 42), "x 42")
}

type counter struct{ n, calls int }

//go:noinline
func (c *counter) Add(n int) { c.n += n; c.calls++ }

//go:noinline
func (c counter) Sum(more ...int) int {
	for _, n := range more {
		c.n += n
	}
	return c.n
}

type summer interface{ Sum(...int) int }
type adder interface{ Add(int) }

func TestPointerReceiver(t *testing.T) {
	mustRedefine(t, (*counter).Add, func(c *counter, n int) { c.n -= n })
	c := &counter{}
	c.Add(3)
	check(t, "redefined", c.n, -3)
	adder(c).Add(4)
	check(t, "through an interface", c.n, -7)
	redefine.Original((*counter).Add)(c, 10)
	check(t, "original", *c, counter{3, 1})
}

func TestValueReceiver(t *testing.T) {
	mustRedefine(t, counter.Sum, func(c counter, more ...int) int { return 1000*c.n + len(more) })
	c := counter{n: 2}
	check(t, "redefined", c.Sum(1, 2), 2002)
	check(t, "through an interface", summer(c).Sum(1, 2, 3), 2003)
	check(t, "through an interface that holds a pointer", summer(&c).Sum(), 2000)
	check(t, "original", redefine.Original(counter.Sum)(c, 1, 2), 5)
}

//go:noinline
func many(a, b, c, d, e, f, g, h, i, j, k int, s string, x, y float64, z [3]int) (string, int, float64) {
	return fmt.Sprint(a, b, c, d, e, f, g, h, i, j, k, s, x, y, z), a + k, x + y
}

func TestMoreArgumentsThanRegisters(t *testing.T) {
	mustRedefine(t, many, func(a, b, c, d, e, f, g, h, i, j, k int, s string, x, y float64, z [3]int) (string, int, float64) {
		text, n, r := redefine.Original(many)(k, j, i, h, g, f, e, d, c, b, a, s, y, x, z)
		return "~" + text, n, r
	})
	text, n, r := many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "s", 1.5, 2.5, [3]int{7, 8, 9})
	check(t, "text", text, "~11 10 9 8 7 6 5 4 3 2 1s2.5 1.5 [7 8 9]")
	check(t, "sum", n, 12)
	check(t, "floats", r, 4)
}

func TestUnexportedByName(t *testing.T) {
	fn, err := redefine.Find[func(string, int) string]("redefine_test.greet")
	if err != nil {
		t.Fatal(err)
	}
	mustRedefine(t, fn, func(string, int) string { return "by name" })
	check(t, "redefined", greet("x", 1), "by name")
	_, err = redefine.Find[func()]("redefine_test.nothing")
	checkKind(t, err, redefine.ErrNotFound)
	hostname, err := redefine.Find[func() (string, error)]("os.hostname")
	if err != nil {
		t.Fatal(err)
	}
	mustRedefine(t, hostname, func() (string, error) { return "another", nil })
	name, _ := os.Hostname()
	check(t, "another package's", name, "another")
}

//go:noinline
func callVanished(x int) int { return vanished(x) }

func vanished(x int) int { return x*half2 + x }

var half2 = 2

func TestInlinedByName(t *testing.T) {
	fn, err := redefine.Find[func(int) int]("redefine_test.vanished")
	if err == nil { // built without inlining
		mustRedefine(t, fn, func(int) int { return -1 })
		check(t, "redefined", callVanished(1), -1)
		return
	}
	checkKind(t, err, redefine.ErrInlined)
	var why *redefine.Error
	if !errors.As(err, &why) || len(why.Sites) != 1 || !strings.HasSuffix(why.Sites[0].Caller, ".callVanished") {
		t.Error(err)
	}
	check(t, "unchanged", callVanished(1), 3)
}

// It has two functions of its name: one for assembly, which calls the other.
func TestCalledFromAssembly(t *testing.T) {
	if _, err := redefine.Find[func(func())]("runtime.newproc"); err != nil {
		t.Error(err)
	}
}

type (
	named func(string, int) string
	proc  func()
)

func TestTypesOfOtherNames(t *testing.T) {
	mustRedefine[any](t, greet, func(name string, times int) string { return "any" })
	check(t, "redefined", greet("x", 1), "any")
	check(t, "original", redefine.Original[any](greet).(func(string, int) string)("x", 1), "hello x")
	mustRedefine[named](t, greet, func(name string, times int) string { return "named" })
	check(t, "redefined", greet("x", 1), "named")
	check(t, "original", redefine.Original[named](greet)("x", 1), "hello x")
}

func TestRuntimeFunction(t *testing.T) {
	calls := 0
	mustRedefine(t, runtime.GC, func() { calls++ })
	runtime.GC()
	check(t, "calls", calls, 1)
	redefine.Original(runtime.GC)()
	check(t, "calls after the original", calls, 1)
}

func TestSyscallFunction(t *testing.T) {
	calls := 0
	mustRedefine(t, syscall.Uname, func(name *syscall.Utsname) error {
		calls++
		err := redefine.Original(syscall.Uname)(name)
		name.Sysname[0] = 'l'
		return err
	})
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil || name.Sysname[0] != 'l' || name.Sysname[1] != 'i' {
		t.Errorf("%v %v", err, name.Sysname[:5])
	}
	check(t, "calls", calls, 1)
}

func TestMutexLock(t *testing.T) {
	err := redefine.Func((*sync.Mutex).Lock, func(m *sync.Mutex) {})
	if err == nil { // with -gcflags=all=-l
		defer redefine.Restore((*sync.Mutex).Lock)
		var m sync.Mutex
		m.Lock()
		m.Lock()
		redefine.Restore((*sync.Mutex).Lock)
		m.Lock()
		m.Unlock()
		return
	}
	checkKind(t, err, redefine.ErrInlined)
	if !strings.Contains(err.Error(), "-gcflags=sync=-l") {
		t.Error(err)
	}
}

//go:noinline
func tiny() {}

//go:noinline
func tinyOne() int { return 1 }

//go:noinline
func tinyLoad(p *int) int { return *p }

//go:noinline
func tinySame(x int) int { return x }

func TestTinyBodies(t *testing.T) {
	called := false
	mustRedefine(t, tiny, func() { called = true })
	tiny()
	check(t, "tiny", called, true)
	redefine.Original(tiny)()
	mustRedefine(t, tinyOne, func() int { return 2 })
	check(t, "tinyOne", tinyOne(), 2)
	check(t, "original of tinyOne", redefine.Original(tinyOne)(), 1)
	mustRedefine(t, tinyLoad, func(p *int) int { return -*p })
	n := 5
	check(t, "tinyLoad", tinyLoad(&n), -5)
	check(t, "original of tinyLoad", redefine.Original(tinyLoad)(&n), 5)
	mustRedefine(t, tinySame, func(x int) int { return x + 1 })
	check(t, "tinySame", tinySame(1), 2)
	check(t, "original of tinySame", redefine.Original(tinySame)(1), 1)
}

//go:noinline
func returning(n int) func() int {
	return func() int { _, _ = io.Discard.Write(nil); return n }
}

func TestFunctionLiteral(t *testing.T) {
	two, three := returning(2), returning(3)
	if err := redefine.Func(two, three); !errors.Is(err, redefine.ErrSelf) {
		t.Error(err)
	}
	mustRedefine(t, two, func() int { return 100 })
	check(t, "redefined", two()+three(), 200)
	check(t, "original", redefine.Original(three)(), 3)
	check(t, "original of the other", redefine.Original(two)(), 2)
}

func TestOriginalOfWhatWasNeverRedefined(t *testing.T) {
	check(t, "original", redefine.Original(strings.ToUpper)("x"), "X")
	if err := redefine.Restore(strings.ToUpper); err != nil {
		t.Error(err)
	}
}

func TestTestRestores(t *testing.T) {
	t.Run("inner", func(t *testing.T) {
		redefine.Test(t, greet, func(string, int) string { return "outer" })
		t.Run("innermost", func(t *testing.T) {
			redefine.Test(t, greet, func(string, int) string { return "inner" })
			check(t, "innermost", greet("x", 1), "inner")
		})
		check(t, "inner", greet("x", 1), "outer")
	})
	check(t, "outside", greet("x", 1), "hello x")
}
