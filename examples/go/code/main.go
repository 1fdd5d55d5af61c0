// SPDX-License-Identifier: MIT

// The first bytes of time.Now before, during and after. `redefine show PROGRAM time.Now` disassembles them.
package main

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"redefine"
)

func code(fn any) []byte {
	addr := reflect.ValueOf(fn).Pointer()
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), 8)
}

func main() {
	fmt.Printf("before  % x\n", code(time.Now))
	if err := redefine.Func(time.Now, func() time.Time { return time.Time{} }); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("during  % x\n", code(time.Now))
	if err := redefine.Restore(time.Now); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("after   % x\n", code(time.Now))
}
