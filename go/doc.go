// SPDX-License-Identifier: MIT

//go:build cgo

// Package redefine redefines any function of the running program, for every caller, at once:
//
//	err := redefine.Func(time.Now, func() time.Time { return fivePM })
//
// [Func] redefines a function, [Original] calls what it was, [Restore] puts it back, byte for byte. [Method]
// lets a method of one type stand in for that of another whose fields are laid out alike. [Test] and
// [TestForGoroutine] restore at the end of a test; [ForGoroutine] is for one goroutine alone.
//
// # Never silent
//
// The compiler copies small functions into their callers, which then notice nothing. Func finds the copies
// in the tables that every Go program carries, stripped or not, and reports them as [ErrInlined], with file and
// line, and with the flag that helps: -gcflags=PKG=-l. Everything else that would not work is an error of its
// own [Kind] too.
//
// # What may be redefined
//
// Functions and methods of any package, the standard library's and the runtime's included, exported or not (see
// [Find]); instantiations of generic functions and methods, each for itself; functions that are running in any
// number of goroutines at that moment. Not assembly, not what an open plugin has a copy of, not methods bound to a
// receiver (x.M).
//
// # Originals
//
// The original runs in its own place, so the runtime knows every address: stacks grow, collections, profiles,
// panics and traces work as always. It may be called at any time, and costs little more than a call of a
// function value.
//
// # What a replacement must not do
//
// The compiler decides for the function as it was written whether its arguments may live on the caller's stack.
// A replacement that keeps a pointer which the function did not keep (in a global, a channel, a goroutine)
// keeps a pointer into a stack. Copy what you want to keep.
//
// # Building
//
// Build the library first (make, in the folder above), then use this folder as a module:
//
//	go mod edit -require=redefine@v0.0.0 -replace=redefine=…/go
//
// It needs cgo, and Linux on x86-64 or arm64 ("make aarch64" builds the library for arm64 on another machine). The
// go command does not notice when the library was rebuilt: clean its cache then (go clean -cache). Supported are Go
// 1.19 to 1.27; other releases are refused by [ErrVersion].
package redefine
