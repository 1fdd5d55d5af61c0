// SPDX-License-Identifier: MIT

//go:build cgo

package redefine

import (
	"bytes"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"
)

// Where in its record a goroutine has its number; 0: not looked for yet.
var goidOffset uintptr

// current returns the address of the calling goroutine's record.
func current() uintptr {
	code := &struct{ code uintptr }{currentInC()}
	return (*(*func() uintptr)(unsafe.Pointer(&code)))()
}

// knownGoid is the calling goroutine's number, if any goroutine ever asked for it.
func knownGoid() (uint64, bool) {
	offset := atomic.LoadUintptr(&goidOffset)
	if offset == 0 {
		return 0, false
	}
	return goidAt(current(), offset), true
}

// A goroutine's record never moves and is never freed.
func goidAt(record, offset uintptr) uint64 {
	addr := record + offset
	return **(**uint64)(unsafe.Pointer(&addr))
}

// goid returns the calling goroutine's number. Where it is differs by release, so it is looked for: at the
// only place that holds the right number in each of several goroutines.
func goid() (uint64, error) {
	if id, ok := knownGoid(); ok {
		return id, nil
	}
	const goroutines, firstOffset, lastOffset = 8, 104, 320
	var candidate [lastOffset + 1]int
	done := make(chan bool)
	for i := 0; i < goroutines; i++ {
		go func() {
			record, id := current(), goidFromTrace()
			for offset := uintptr(firstOffset); offset <= lastOffset; offset += 8 {
				if goidAt(record, offset) == id {
					candidate[offset]++
				}
			}
			done <- true
		}()
		<-done
	}
	found := uintptr(0)
	for offset, count := range candidate {
		if count == goroutines && found != 0 {
			found = 0
			break
		}
		if count == goroutines {
			found = uintptr(offset)
		}
	}
	if found == 0 || goidAt(current(), found) != goidFromTrace() {
		return 0, refuse(ErrVersion, "where goroutines have their number is not known in %s", runtime.Version())
	}
	useGoidInC(found)
	atomic.StoreUintptr(&goidOffset, found)
	return goidAt(current(), found), nil
}

// goidFromTrace reads "goroutine 18 [running]:".
func goidFromTrace() uint64 {
	var trace [64]byte
	text := bytes.TrimPrefix(trace[:runtime.Stack(trace[:], false)], []byte("goroutine "))
	if end := bytes.IndexByte(text, ' '); end > 0 {
		id, _ := strconv.ParseUint(string(text[:end]), 10, 64)
		return id
	}
	return 0
}
