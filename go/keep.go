// SPDX-License-Identifier: MIT

//go:build cgo

package redefine

import (
	"runtime"
	"sync/atomic"
)

// The C library's memory is nothing to the collector: whatever is in force is kept here.
var kept = map[keptKey]targetFunc{}

type keptKey struct {
	function uintptr
	goid     uint64 // 0: for everybody
}

// A user may redefine the locks of package sync: this one is made of instructions.
var keptLock int32

func lock() {
	for !atomic.CompareAndSwapInt32(&keptLock, 0, 1) {
		runtime.Gosched()
	}
}

func unlock() {
	atomic.StoreInt32(&keptLock, 0)
}

// original says how the original is called; an error: the function was never redefined.
func (target targetFunc) original() (answer, error) {
	return originalInC(wish{target: target.code, value: target.value})
}

func (target targetFunc) replacement(id uint64) *targetFunc {
	answer, err := target.original()
	if err != nil {
		return nil
	}
	lock()
	defer unlock()
	if replacement, ok := kept[keptKey{answer.function, id}]; ok {
		return &replacement
	}
	return nil
}

// leadsTo says whether calls of one function, by that goroutine, can end at the entry of the other: by what it sees
// now, and by what it would see if it restored something.
func leadsTo(from, to uintptr, id uint64) bool {
	if from == to {
		return true
	}
	mine, hasMine := kept[keptKey{from, id}]
	everybodys, hasEverybodys := kept[keptKey{from, 0}]
	return (hasMine && leadsTo(mine.code, to, id)) || (hasEverybodys && leadsTo(everybodys.code, to, id))
}

// refuseCircle refuses functions that would be each other: jumps from one entry to the next, without an end.
func refuseCircle(id uint64, target, replacement targetFunc) error {
	isCircle := leadsTo(replacement.code, target.code, id)
	for key := range kept {
		isCircle = isCircle || (id == 0 && leadsTo(replacement.code, target.code, key.goid))
	}
	if !isCircle {
		return nil
	}
	name, other := runtime.FuncForPC(target.code).Name(), runtime.FuncForPC(replacement.code).Name()
	return refuse(ErrSelf, "%s would be redefined as itself, by way of %s, which is redefined: a call would never end; "+
		"let Original(%s) be the replacement, or restore %s first", name, other, other, other)
}

func (target targetFunc) redefine(id uint64, replacement targetFunc) error {
	lock()
	defer unlock()
	if err := refuseCircle(id, target, replacement); err != nil {
		return err
	}
	answer, err := redefineInC(wish{target.code, replacement.value, id, target.value, target.registers})
	if err == nil {
		kept[keptKey{answer.function, id}] = replacement
	}
	return err
}

// A goroutine that is on its way to the replacement has not passed a safe point yet, so no collection that
// began later can end before it holds the replacement itself.
func (target targetFunc) restore(id uint64) error {
	lock()
	defer unlock()
	err := restoreInC(wish{target: target.code, goid: id})
	if answer, never := target.original(); err == nil && never == nil {
		delete(kept, keptKey{answer.function, id})
	}
	return err
}
