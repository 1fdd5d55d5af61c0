// SPDX-License-Identifier: MIT

// What a call costs: directly, by a func value, redefined, and of the original; and what a change costs. Side by
// side with the public packages that the module proxy has. A module of its own, so that nobody who uses the package
// needs them. A machine that does other things says little in one run: take the smallest of several.
//
//	cd bench/go && go test -bench . -gcflags=all=-l -count 9
package bench

import (
	"runtime"
	"testing"

	"github.com/agiledragon/gomonkey/v2"
	"github.com/bytedance/mockey"

	"redefine"
)

//go:noinline
func target(a, b int) int {
	if a == 12345 {
		runtime.Gosched() // it has a frame and may grow the stack, as most functions
	}
	return a + b
}

//go:noinline
func replacement(a, b int) int {
	if a == 12345 {
		runtime.Gosched()
	}
	return a - b
}

//go:noinline
func generic[T int | uint](a, b T) T {
	if a == 12345 {
		runtime.Gosched()
	}
	return a + b
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// Changes are not calls: the clock starts behind the first and stops before the last.
func calls(b *testing.B, want int) {
	got := 0
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		got = target(7, 5)
	}
	b.StopTimer()
	if got != want {
		b.Errorf("%d instead of %d", got, want)
	}
}

func callsOf(b *testing.B, f func(a, b int) int, want int) {
	got := 0
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		got = f(7, 5)
	}
	b.StopTimer()
	if got != want {
		b.Errorf("%d instead of %d", got, want)
	}
}

func callsGeneric(b *testing.B, want int) {
	got := 0
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		got = generic(7, 5)
	}
	b.StopTimer()
	if got != want {
		b.Errorf("%d instead of %d", got, want)
	}
}

// Func values that the compiler knows nothing of. That of a generic function leads to it by a function of its own.
var (
	targetValue  = target
	genericValue = generic[int]
)

func BenchmarkCallDirect(b *testing.B)        { calls(b, 12) }
func BenchmarkCallDirectGeneric(b *testing.B) { callsGeneric(b, 12) }
func BenchmarkCallValue(b *testing.B)         { callsOf(b, targetValue, 12) }
func BenchmarkCallValueGeneric(b *testing.B)  { callsOf(b, genericValue, 12) }

func BenchmarkCallRedefine(b *testing.B) {
	check(b, redefine.Func(target, replacement))
	calls(b, 2)
	check(b, redefine.Restore(target))
}

func BenchmarkCallRedefineOthersGoroutine(b *testing.B) {
	done := make(chan bool)
	go func() { redefine.ForGoroutine(target, replacement); done <- true; <-done; redefine.Restore(target) }()
	<-done
	check(b, redefine.ForGoroutine(target, func(a, b int) int { return 0 }))
	check(b, redefine.Restore(target))
	calls(b, 12)
	done <- true
}

func BenchmarkCallRedefineGeneric(b *testing.B) {
	check(b, redefine.Func(generic[int], replacement))
	callsGeneric(b, 2)
	check(b, redefine.Restore(generic[int]))
}

func BenchmarkCallGomonkey(b *testing.B) {
	patches := gomonkey.ApplyFunc(target, replacement)
	calls(b, 2)
	patches.Reset()
}

func BenchmarkCallMockey(b *testing.B) {
	mock := mockey.Mock(target).To(replacement).Build()
	calls(b, 2)
	mock.UnPatch()
}

func BenchmarkOriginalRedefine(b *testing.B) {
	check(b, redefine.Func(target, replacement))
	callsOf(b, redefine.Original(target), 12)
	check(b, redefine.Restore(target))
}

func BenchmarkOriginalRedefineGeneric(b *testing.B) {
	check(b, redefine.Func(generic[int], replacement))
	callsOf(b, redefine.Original(generic[int]), 12)
	check(b, redefine.Restore(generic[int]))
}

func BenchmarkChangeRedefine(b *testing.B) {
	for i := 0; i < b.N; i++ {
		check(b, redefine.Func(target, replacement))
		check(b, redefine.Restore(target))
	}
}

func BenchmarkChangeGomonkey(b *testing.B) {
	for i := 0; i < b.N; i++ {
		gomonkey.ApplyFunc(target, replacement).Reset()
	}
}

func BenchmarkChangeMockey(b *testing.B) {
	for i := 0; i < b.N; i++ {
		mockey.Mock(target).To(replacement).Build().UnPatch()
	}
}
