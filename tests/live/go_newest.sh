#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The Go package under the newest Go that is installed, built in every way that changes code.
set -u
go=$(command -v go || echo /usr/local/go/bin/go)
. "$SRC/tests/support/go.sh"

result "gofmt" sh -c 'files=$("$1"/gofmt -l "$2/go" "$2/examples/go"); echo "$files"; [ -z "$files" ]' - \
    "$(dirname "$("$go" env GOROOT)/bin/go")" "$SRC"
result "vet" sh -c 'cd "$1" && "$2" vet .' - "$tree/go" "$go"
result "go doc shows the package" sh -c 'cd "$1" && "$2" doc . | grep -q "^Package redefine redefines any function"' - "$tree/go" "$go"
fresh_module
unknown_release
all_examples
package_test "as it is" 1000
package_test "without inlining" 100 -gcflags=all=-l
package_test "without optimization" 100 "-gcflags=all=-N -l"
package_test "position independent" 100 -buildmode=pie
package_test "with the race detector" 100 -race
# As linkers for arm64 lay programs out.
package_test "constants in the segment of the code" 100 \
    -ldflags="$stamp -linkmode=external -extldflags=-Wl,-z,noseparate-code"
finish
