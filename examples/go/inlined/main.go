// SPDX-License-Identifier: MIT

// fmt.Printf is small, so callers have copies of it: they would not notice. The error tells where, and how to
// build so that they do.
package main

import (
	"errors"
	"fmt"

	"redefine"
)

func main() {
	err := redefine.Func(fmt.Printf, func(format string, args ...any) (int, error) {
		return fmt.Println("printing is redefined")
	})
	fmt.Printf("%s\n", "Hello")

	var why *redefine.Error
	if errors.Is(err, redefine.ErrInlined) && errors.As(err, &why) {
		fmt.Println(why.Text)
		for _, site := range why.Sites {
			fmt.Println("  ", site)
		}
	}
}
