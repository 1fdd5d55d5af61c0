// SPDX-License-Identifier: MIT

//go:build !cgo

package redefine

// Package redefine stands on a C library. Build with CGO_ENABLED=1 and a C compiler.
var _ = package_redefine_needs_cgo__build_with_CGO_ENABLED_1
