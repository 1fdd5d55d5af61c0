// SPDX-License-Identifier: MIT

//go:build cgo

package redefine

import "reflect"

// Go passes each argument wholly in registers, integerRegisters and floatingRegisters of them, or not at all
// (src/cmd/compile/abi-internal.md). A generic function has one argument more, its dictionary: a replacement,
// which has not, finds the others where it expects them only if the same ones are in registers.
// argumentRegisters is how many integer registers the arguments take; all of them also when one less would make
// a difference for any argument.
func argumentRegisters(fn reflect.Type) int {
	with, without := registers{integerRegisters - 1, floatingRegisters}, registers{integerRegisters, floatingRegisters}
	for i := 0; i < fn.NumIn(); i++ {
		if with.take(fn.In(i)) != without.take(fn.In(i)) {
			return integerRegisters
		}
	}
	return integerRegisters - without.integer
}

// registers are those that are left.
type registers struct{ integer, floating int }

// take gives an argument registers; false: it goes to the stack, and takes none.
func (left *registers) take(t reflect.Type) bool {
	after := *left
	if !after.assign(t) || after.integer < 0 || after.floating < 0 {
		return false
	}
	*left = after
	return true
}

func (left *registers) assign(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		left.floating--
	case reflect.Complex64, reflect.Complex128:
		left.floating -= 2
	case reflect.String, reflect.Interface:
		left.integer -= 2
	case reflect.Slice:
		left.integer -= 3
	case reflect.Array:
		return t.Len() == 0 || (t.Len() == 1 && left.assign(t.Elem()))
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			if !left.assign(t.Field(i).Type) {
				return false
			}
		}
	default:
		left.integer--
	}
	return true
}
