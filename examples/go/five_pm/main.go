// SPDX-License-Identifier: MIT

// It's always 5 PM.
package main

import (
	"fmt"
	"time"

	"redefine"
)

func myTimeNow() time.Time {
	return time.Date(2026, 1, 30, 17, 0, 0, 0, time.FixedZone("Somewhere", -5))
}

func main() {
	if err := redefine.Func(time.Now, myTimeNow); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(time.Now().Format(time.Kitchen))

	// The original is still there.
	since := redefine.Original(time.Now)().Sub(time.Now())
	fmt.Println("really later than that:", since > 0)

	if err := redefine.Restore(time.Now); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("restored:", time.Until(myTimeNow()) < 0)
}
