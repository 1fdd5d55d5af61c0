// SPDX-License-Identifier: MIT

//go:build cgo

package redefine

import (
	"reflect"
	"runtime"
	"testing"
	"unsafe"
)

// Func lets every caller of fn run newFn instead, from any goroutine, at once:
//
//	err := redefine.Func(time.Now, func() time.Time { return fivePM })
//
// newFn may be any function value: a plain function, a closure, a bound method, a result of
// [reflect.MakeFunc]. It runs where fn would run; to call what fn was before, see [Original]. Redefining fn again
// replaces the replacement.
//
// fn may be a function, a method by its type, (*T).M or T.M, or an instantiation of a generic function or
// method, of which only the callers of that instantiation notice, those in other generic functions too. A value of a function literal stands for the
// literal: for all its closures.
//
// When callers would not notice, because the compiler gave them copies or computed their calls away, Func
// says so and does nothing: the error is [ErrInlined], with the Sites, or [ErrFolded].
func Func[T any](fn, newFn T) error {
	target, replacement, err := check(reflect.ValueOf(fn), reflect.ValueOf(newFn))
	if err != nil {
		return err
	}
	return target.redefine(0, replacement)
}

// Method is [Func] for methods, or functions, whose types differ in name only: a method of one type can
// replace that of another if the receivers are laid out alike, field by field. Otherwise the error is
// [ErrSignature] and shows the two layouts.
func Method[T1, T2 any](fn T1, newFn T2) error {
	target, replacement, err := checkLayout(reflect.ValueOf(fn), reflect.ValueOf(newFn))
	if err != nil {
		return err
	}
	return target.redefine(0, replacement)
}

// Original returns a function that does what fn did before it was redefined: fn itself when it never was. It
// may be called at any time, from any goroutine, also after [Restore], and costs little more than a call of
// a function value. That of a func() is called by a function of this package's: it may begin a goroutine, but does not
// recover when it is deferred itself.
func Original[T any](fn T) T {
	target, err := targetOf(reflect.ValueOf(fn))
	if err != nil {
		return fn
	}
	answer, err := target.original()
	if err != nil {
		return fn
	}
	original := &originalFunc{answer.call, target.value, answer.where}
	// T may be an interface or have a name of its own: the value is made of the function's type.
	dynamic := reflect.TypeOf(any(fn))
	result := reflect.NewAt(dynamic, unsafe.Pointer(&original)).Elem()
	// A go statement makes a goroutine that begins at the code itself, which the runtime would not know.
	if dynamic.NumIn() == 0 && dynamic.NumOut() == 0 {
		f := *(*func())(unsafe.Pointer(&original))
		result = reflect.ValueOf(func() { f() }).Convert(dynamic)
	}
	return result.Interface().(T)
}

// Restore takes back what the calling goroutine sees: its own redefinition of fn by [ForGoroutine] if there
// is one, else the one for everybody. When nothing is left the function's bytes are what they were. To
// restore what is not redefined is no error.
func Restore[T any](fn T) error {
	target, err := targetOf(reflect.ValueOf(fn))
	if err != nil {
		return err
	}
	if id, ok := knownGoid(); ok && target.replacement(id) != nil {
		return target.restore(id)
	}
	return target.restore(0)
}

// ForGoroutine is [Func] for the calling goroutine alone: tests that run in parallel can each have their
// own. It hides what Func did from this goroutine, and ends with [Restore], called by this goroutine, or with
// the goroutine itself.
//
// Goroutines that this one starts do not inherit it: they see what everybody sees.
func ForGoroutine[T any](fn, newFn T) error {
	target, replacement, err := check(reflect.ValueOf(fn), reflect.ValueOf(newFn))
	if err != nil {
		return err
	}
	id, err := goid()
	if err != nil {
		return err
	}
	return target.redefine(id, replacement)
}

// Test is [Func] until the end of the test: then fn is what it was when Test was called. An error fails the
// test.
func Test[T any](t testing.TB, fn, newFn T) {
	t.Helper()
	testWith(t, 0, reflect.ValueOf(fn), reflect.ValueOf(newFn))
}

// TestForGoroutine is [ForGoroutine] until the end of the test. It must be called by the goroutine that runs
// the test.
func TestForGoroutine[T any](t testing.TB, fn, newFn T) {
	t.Helper()
	id, err := goid()
	if err != nil {
		t.Fatal(err)
	}
	testWith(t, id, reflect.ValueOf(fn), reflect.ValueOf(newFn))
}

func testWith(t testing.TB, id uint64, fn, newFn reflect.Value) {
	t.Helper()
	target, replacement, err := check(fn, newFn)
	if err != nil {
		t.Fatal(err)
	}
	before := target.replacement(id)
	if err := target.redefine(id, replacement); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := error(nil)
		if before != nil {
			err = target.redefine(id, *before)
		} else {
			err = target.restore(id)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// Find returns the function of that name, exported or not, as a function value of type T:
//
//	hostname, err := redefine.Find[func() (string, error)]("os.hostname")
//
// A name is what stack traces show: "pkg.F", "pkg.T.M", "pkg.(*T).M", with the package's whole import path. One that
// was inlined wherever it is called has no function: the error is [ErrInlined], with the Sites. Nor has one that
// nothing in the program leads to: the linker leaves it out.
// Programs keep the names of functions but not their types: T must be right, and nothing can check it.
func Find[T any](name string) (T, error) {
	var none T
	if reflect.TypeOf(&none).Elem().Kind() != reflect.Func {
		return none, refuse(ErrNotFunc, "%s would be found as a %T, which is no function", name, none)
	}
	code, err := findInC(name)
	if err != nil {
		return none, err
	}
	value := &code
	return *(*T)(unsafe.Pointer(&value)), nil
}

// An originalFunc is what a func value that calls an original points to.
type originalFunc struct {
	code  uintptr
	fn    unsafe.Pointer // the target's own func value: closures find their variables there
	where uintptr
}

// A targetFunc is a func value taken apart.
type targetFunc struct {
	code  uintptr        // what all values of the function have in common
	value unsafe.Pointer // what the func value points to; its first word is code

	registers int // see argumentRegisters
}

func targetOf(fn reflect.Value) (targetFunc, error) {
	if !fn.IsValid() {
		return targetFunc{}, refuse(ErrNil, "the function is nil")
	}
	if fn.Kind() != reflect.Func {
		return targetFunc{}, refuse(ErrNotFunc, "a %s is not a function", fn.Type())
	}
	if fn.IsNil() {
		return targetFunc{}, refuse(ErrNil, "the %s is nil", fn.Type())
	}
	// A func value in an interface is the pointer itself.
	value := fn.Interface()
	pointer := (*[2]unsafe.Pointer)(unsafe.Pointer(&value))[1]
	return targetFunc{*(*uintptr)(pointer), pointer, argumentRegisters(fn.Type())}, nil
}

func checkEach(fn, newFn reflect.Value) (target targetFunc, replacement targetFunc, err error) {
	if target, err = targetOf(fn); err != nil {
		return
	}
	if replacement, err = targetOf(newFn); err != nil {
		return
	}
	if target.code == replacement.code {
		err = refuse(ErrSelf, "%s would be redefined as itself", runtime.FuncForPC(target.code).Name())
	}
	return
}

func check(fn, newFn reflect.Value) (target targetFunc, replacement targetFunc, err error) {
	if target, replacement, err = checkEach(fn, newFn); err == nil && fn.Type() != newFn.Type() {
		err = refuse(ErrSignature, "a %s cannot be redefined as a %s", fn.Type(), newFn.Type())
	}
	return
}

func checkLayout(fn, newFn reflect.Value) (target targetFunc, replacement targetFunc, err error) {
	if target, replacement, err = checkEach(fn, newFn); err == nil && fn.Type() != newFn.Type() {
		err = sameLayoutInC(descriptor(fn.Type()), descriptor(newFn.Type()))
	}
	return
}

func descriptor(t reflect.Type) unsafe.Pointer {
	return (*[2]unsafe.Pointer)(unsafe.Pointer(&t))[1]
}
