// SPDX-License-Identifier: MIT

// Only the instantiation that is named changes, though *dog and *cat share their code.
package main

import (
	"fmt"

	"redefine"
)

type dog struct{ name string }
type cat struct{ name string }

//go:noinline
func describe[T any](x T) string {
	return fmt.Sprintf("%T", x)
}

func main() {
	err := redefine.Func(describe[*dog], func(d *dog) string {
		return "good " + d.name + ", " + redefine.Original(describe[*dog])(d)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(describe(&dog{"Rex"}))
	fmt.Println(describe(&cat{"Tom"}))
}
