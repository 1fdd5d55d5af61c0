// SPDX-License-Identifier: MIT

//go:build cgo

package redefine

import (
	"fmt"
	"strings"
)

// Kind says why a function cannot be redefined. A Kind is an error itself, so that
//
//	errors.Is(err, redefine.ErrInlined)
//
// tells what happened; errors.As with an *[Error] tells where.
type Kind int

// What only Go code can see. The kinds that the C library reports are constants in cgo.go.
const (
	// ErrNil is a nil function: there is nothing to redefine, or nothing to run instead.
	ErrNil Kind = 100 + iota
	// ErrNotFunc is a value that is not a function.
	ErrNotFunc
	// ErrSelf is a function that would be redefined as itself: a call would never end.
	ErrSelf
)

func (kind Kind) Error() string {
	switch kind {
	case ErrNil:
		return "the function is nil"
	case ErrNotFunc:
		return "the value is not a function"
	case ErrSelf:
		return "a function cannot be redefined as itself"
	}
	return textOf(kind)
}

// A Site is a call that does not go to the function, because the compiler put a copy there.
type Site struct {
	File   string
	Line   int
	Caller string // "main.main"
}

func (site Site) String() string {
	return fmt.Sprintf("%s:%d: in %s", site.File, site.Line, site.Caller)
}

// An Error is why a function was not redefined. Nothing was changed.
type Error struct {
	Kind  Kind
	Text  string // what, where, why, and what to do about it
	Sites []Site // with ErrInlined: where the copies are
}

func (err *Error) Error() string {
	const most = 8
	var text strings.Builder
	text.WriteString("redefine: ")
	text.WriteString(err.Text)
	for i, site := range err.Sites {
		if i == most {
			fmt.Fprintf(&text, "\n\tand %d more", len(err.Sites)-most)
			break
		}
		text.WriteString("\n\t")
		text.WriteString(site.String())
	}
	return text.String()
}

// Unwrap returns the error's Kind.
func (err *Error) Unwrap() error { return err.Kind }

func refuse(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
