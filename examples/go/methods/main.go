// SPDX-License-Identifier: MIT

// A method can replace that of another type if the types are laid out alike.
package main

import (
	"fmt"

	"redefine"
)

type counter struct {
	A int64
}

//go:noinline
func (c *counter) Inc() {
	c.A++
}

type doubleCounter struct {
	someOtherField int32
	A              int32
}

func (dc *doubleCounter) Inc() {
	dc.A += 2
}

type tens struct {
	Total int64
}

func (t *tens) Inc() {
	t.Total += 10
}

func main() {
	c := &counter{}
	c.Inc()
	c.Inc()

	// It would add to the upper half of A.
	fmt.Println(redefine.Method((*counter).Inc, (*doubleCounter).Inc))
	c.Inc()
	fmt.Println("counted", c.A)

	if err := redefine.Method((*counter).Inc, (*tens).Inc); err != nil {
		fmt.Println(err)
		return
	}
	c.Inc()
	fmt.Println("counted", c.A)
}
