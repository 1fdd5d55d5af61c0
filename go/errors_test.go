// SPDX-License-Identifier: MIT

package redefine_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"reflect"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"redefine"
)

func codeOf(fn any, bytes int) string {
	addr := reflect.ValueOf(fn).Pointer()
	return string(unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), bytes))
}

var kinds = []redefine.Kind{
	redefine.ErrNil, redefine.ErrNotFunc, redefine.ErrSelf, redefine.ErrInvalid, redefine.ErrNotFound,
	redefine.ErrAmbiguous, redefine.ErrInlined, redefine.ErrFolded, redefine.ErrSignature, redefine.ErrBound,
	redefine.ErrWrapper, redefine.ErrVersion, redefine.ErrUnsupported, redefine.ErrShort, redefine.ErrBusy,
	redefine.ErrDenied, redefine.ErrMemory, redefine.ErrSystem, redefine.ErrRollback,
}

// checkKind checks that an error is of that kind and of no other, and that it says more.
func checkKind(t testing.TB, err error, want redefine.Kind) {
	t.Helper()
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("got %v, want: %v", err, want)
			return
		}
	}
	var why *redefine.Error
	if !errors.As(err, &why) || why.Kind != want || why.Text == "" || !strings.HasPrefix(err.Error(), "redefine: ") {
		t.Errorf("%#v says nothing", err)
	}
}

func TestKindsAreTold(t *testing.T) {
	texts := map[string]bool{}
	for _, kind := range kinds {
		texts[kind.Error()] = true
	}
	check(t, "different texts", len(texts), len(kinds))
}

func small(x int) string { return fmt.Sprint(x, "small") }

func callSmall() string { return small(3) }

func folded(x int) int { return x + 1 }

func TestInlined(t *testing.T) {
	_ = callSmall()
	err := redefine.Func(small, func(int) string { return "redefined" })
	if err == nil { // built without inlining: then the caller notices
		check(t, "redefined", callSmall(), "redefined")
		redefine.Restore(small)
		return
	}
	checkKind(t, err, redefine.ErrInlined)
	var why *redefine.Error
	if !errors.As(err, &why) || len(why.Sites) == 0 {
		t.Fatalf("no sites: %v", err)
	}
	found := false
	for _, site := range why.Sites {
		found = found || (strings.HasSuffix(site.File, "errors_test.go") && site.Line > 0 &&
			strings.HasSuffix(site.Caller, ".callSmall"))
	}
	if !found {
		t.Errorf("callSmall is not among %v", why.Sites)
	}
	if !strings.Contains(err.Error(), "-gcflags=") {
		t.Errorf("no flag: %v", err)
	}
	check(t, "unchanged", callSmall(), "3small")
}

func TestFolded(t *testing.T) {
	if folded(3) != 4 {
		t.Fatal()
	}
	err := redefine.Func(folded, func(int) int { return 0 })
	if err == nil {
		check(t, "redefined", folded(3), 0)
		redefine.Restore(folded)
		return
	}
	if !errors.Is(err, redefine.ErrFolded) {
		checkKind(t, err, redefine.ErrInlined)
	}
}

//go:noinline
func onlyByValue(x int) int { return x + 2 }

var onlyWay = onlyByValue

// Nothing calls it directly, as nothing calls what was computed away: only the flag tells the two apart.
func TestOnlyCalledThroughVariable(t *testing.T) {
	err := redefine.Func(onlyWay, func(int) int { return 0 })
	if err == nil { // without optimization it is too large to have been computed away
		check(t, "redefined", onlyWay(1), 0)
		redefine.Restore(onlyWay)
		return
	}
	checkKind(t, err, redefine.ErrFolded)
	check(t, "unchanged", onlyWay(1), 3)
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-gcflags" && strings.Contains(setting.Value, "all=-l") {
			t.Error("the flag that the error names was given:", err)
		}
	}
}

// Each has a body, and some have calls, but these are for CPUs without the instruction.
func TestIntrinsics(t *testing.T) {
	checkKind(t, redefine.Func(math.Floor, func(float64) float64 { return 0 }), redefine.ErrInlined)
	checkKind(t, redefine.Func(math.Sqrt, func(float64) float64 { return 0 }), redefine.ErrInlined)
	checkKind(t, redefine.Func(bits.OnesCount64, func(uint64) int { return 0 }), redefine.ErrInlined)
	checkKind(t, redefine.Func(atomic.AddInt64, func(*int64, int64) int64 { return 0 }), redefine.ErrInlined)
	check(t, "unchanged", math.Floor(half)+float64(bits.OnesCount64(uint64(7*half*2))), 3)
}

var half = 0.5

func TestAmbiguous(t *testing.T) {
	check(t, "one", describe(1, 2), "int 2")
	_, err := redefine.Find[func(any, int) string]("redefine_test.describe[...]")
	checkKind(t, err, redefine.ErrAmbiguous)
}

func TestBoundMethod(t *testing.T) {
	c := &counter{}
	checkKind(t, redefine.Func(c.Add, func(int) {}), redefine.ErrBound)
	var i adder = c
	checkKind(t, redefine.Func(i.Add, func(int) {}), redefine.ErrBound)
}

func TestInterfaceMethod(t *testing.T) {
	checkKind(t, redefine.Func(adder.Add, func(adder, int) {}), redefine.ErrBound)
	checkKind(t, redefine.Func(io.Writer.Write, func(io.Writer, []byte) (int, error) { return 0, nil }),
		redefine.ErrBound)
}

func TestWrapper(t *testing.T) {
	err := redefine.Func((*counter).Sum, func(*counter, ...int) int { return 0 })
	checkKind(t, err, redefine.ErrWrapper)
}

func TestNil(t *testing.T) {
	var none func(int, int) int
	checkKind(t, redefine.Func(none, add), redefine.ErrNil)
	checkKind(t, redefine.Func(add, none), redefine.ErrNil)
	checkKind(t, redefine.Func[any](nil, nil), redefine.ErrNil)
	checkKind(t, redefine.Restore(none), redefine.ErrNil)
}

func TestNotAFunction(t *testing.T) {
	checkKind(t, redefine.Func(1, 2), redefine.ErrNotFunc)
	checkKind(t, redefine.Func[any](add, 2), redefine.ErrNotFunc)
	_, err := redefine.Find[int]("redefine_test.add")
	checkKind(t, err, redefine.ErrNotFunc)
}

func TestItself(t *testing.T) {
	checkKind(t, redefine.Func(add, add), redefine.ErrSelf)
}

// Jumps from entry to entry, without an end, and without a place where the runtime could stop them.
func TestCircle(t *testing.T) {
	mustRedefine(t, greetAgain, greet)
	checkKind(t, redefine.Func(greet, greetAgain), redefine.ErrSelf)
	checkKind(t, redefine.ForGoroutine(greet, greetAgain), redefine.ErrSelf)
	check(t, "unchanged", greetAgain("x", 1), "hello x")
	mustRedefine(t, greet, redefine.Original(greetAgain))
	check(t, "one", greet("x", 1), "again x")
	check(t, "and the other", greetAgain("x", 1), "again x")
	redefine.Restore(greet)
	redefine.Restore(greetAgain)
	// One of a goroutine's, one of everybody's.
	if err := redefine.ForGoroutine(greet, greetAgain); err != nil {
		t.Fatal(err)
	}
	checkKind(t, redefine.Func(greetAgain, greet), redefine.ErrSelf)
	redefine.Restore(greet)
	mustRedefine(t, greetAgain, greet)
	check(t, "without the circle", greetAgain("x", 1), "hello x")
}

//go:noinline
func greetAgain(name string, times int) string { return fmt.Sprint("again ", name) }

func TestOtherSignature(t *testing.T) {
	checkKind(t, redefine.Func[any](add, greet), redefine.ErrSignature)
	checkKind(t, redefine.Method(add, greet), redefine.ErrSignature)
}

func TestNotGoCode(t *testing.T) {
	word := uintptr(unsafe.Pointer(&word0))
	value := &word
	checkKind(t, redefine.Func(*(*func())(unsafe.Pointer(&value)), tiny), redefine.ErrInvalid)
}

var word0 uint64

type counter1 struct{ A int64 }

//go:noinline
func (c *counter1) Inc() { c.A++ }

type doubleCounter struct {
	someOtherField int32
	A              int32
}

//go:noinline
func (dc *doubleCounter) Inc() { dc.A += 2 }

type equalCounter struct{ Total int64 }

//go:noinline
func (c *equalCounter) Inc() { c.Total += 10 }

func TestLayouts(t *testing.T) {
	c := &counter1{}
	err := redefine.Method((*counter1).Inc, (*doubleCounter).Inc)
	checkKind(t, err, redefine.ErrSignature)
	for _, part := range []string{"counter1", "doubleCounter", "someOtherField", "int32", "int64"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not show %q: %v", part, err)
		}
	}
	c.Inc()
	check(t, "unchanged", c.A, 1)
	if err := redefine.Method((*counter1).Inc, (*equalCounter).Inc); err != nil {
		t.Fatal(err)
	}
	c.Inc()
	check(t, "redefined", c.A, 11)
	if err := redefine.Restore((*counter1).Inc); err != nil {
		t.Fatal(err)
	}
	c.Inc()
	check(t, "restored", c.A, 12)
}
