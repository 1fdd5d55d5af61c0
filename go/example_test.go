// SPDX-License-Identifier: MIT

package redefine_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"redefine"
)

func ExampleFunc() {
	err := redefine.Func(time.Now, func() time.Time {
		return time.Date(2026, 1, 30, 17, 0, 0, 0, time.UTC)
	})
	if err != nil {
		fmt.Println(err)
	}
	defer redefine.Restore(time.Now)
	fmt.Println(time.Now().Format(time.Kitchen))
	// Output: 5:00PM
}

func ExampleFunc_errors() {
	var none func() time.Time
	err := redefine.Func(time.Now, none)
	fmt.Println(errors.Is(err, redefine.ErrNil))

	var why *redefine.Error
	if errors.As(err, &why) {
		fmt.Println(why.Text)
	}
	// Output:
	// true
	// the func() time.Time is nil
}

func ExampleOriginal() {
	err := redefine.Func(strings.Repeat, func(s string, count int) string {
		return "<" + redefine.Original(strings.Repeat)(s, count) + ">"
	})
	if err != nil {
		fmt.Println(err)
	}
	defer redefine.Restore(strings.Repeat)
	fmt.Println(strings.Repeat("ab", 3))
	// Output: <ababab>
}

type celsius struct{ degrees float64 }

//go:noinline
func (c *celsius) Warm() { c.degrees++ }

type fahrenheit struct{ value float64 }

func (f *fahrenheit) Warm() { f.value += 1.8 }

func ExampleMethod() {
	if err := redefine.Method((*celsius).Warm, (*fahrenheit).Warm); err != nil {
		fmt.Println(err)
	}
	defer redefine.Restore((*celsius).Warm)
	c := &celsius{20}
	c.Warm()
	fmt.Println(c.degrees)
	// Output: 21.8
}

func ExampleForGoroutine() {
	err := redefine.ForGoroutine(whoami, func() string { return "me" })
	if err != nil {
		fmt.Println(err)
	}
	defer redefine.Restore(whoami)
	other := make(chan string)
	go func() { other <- whoami() }()
	fmt.Println(whoami(), <-other)
	// Output: me nobody0
}
