#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The Go package under the distribution's own Go, the oldest that is supported.
set -u
go=/usr/lib/go-1.19/bin/go
. "$SRC/tests/support/go.sh"

fresh_module
unknown_release
all_examples
package_test "as it is" 1000
package_test "without inlining" 100 -gcflags=all=-l
package_test "without optimization" 100 "-gcflags=all=-N -l"
package_test "position independent" 100 -buildmode=pie
package_test "with the race detector" 100 -race
finish
