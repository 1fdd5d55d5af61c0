# SPDX-License-Identifier: MIT
#
# The Go package under one toolchain: sourced by tests/live/go_*.sh, which set $go. The package is used as any
# module uses it, in a folder that looks like this one with its build.
# shellcheck shell=sh
. "$SRC/tests/support/tap.sh"
needs_plain_agent
[ -x "$go" ] || command -v "$go" >/dev/null || skip_all "no $go here"

export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOPROXY=off
unset CC # the test's own compiler may be one with options; cgo finds gcc
tree="$TMP/tree"
mkdir -p "$tree/examples"
cp -R "$SRC/go" "$SRC/include" "$tree"
cp -R "$SRC/examples/go" "$tree/examples/go"
ln -s "$BUILD" "$tree/build"
# What go does not notice: that the library is another one.
stamp="-X main.stamp=$(cksum <"$BUILD/libredefine.a" | tr ' ' .)"

# Whether the race detector, or a way of linking, is there at all.
can_build()
{
    mkdir -p can && printf 'package main\nfunc main() {}\n' >can/main.go
    (cd can && "$go" build -o ../can.out "$@" main.go) 2>/dev/null
}

# package_test NAME ROUNDS FLAG…: the package's own tests, built in one way.
package_test()
{
    test_name=$1
    test_rounds=$2
    shift 2
    if ! can_build "$@"; then
        skip "$test_name" "this toolchain cannot build so"
        return
    fi
    (cd "$tree/go" && REDEFINE_ROUNDS=$test_rounds "$go" test -v -count=1 -timeout 240s -ldflags "$stamp" "$@" .) >out 2>&1
    status=$?
    result "$test_name" sh -c '[ "$1" = 0 ] || { grep -E "^ *(--- FAIL|[a-z_]*\.go:|fatal|panic|FAIL)" out | tail -n 40; false; }' - "$status"
    sed -n 's/^ *[a-z_]*\.go:[0-9]*: \([0-9]* patches and restores .*\)/# \1/p' out
    # Its skips are skips here; the reason is in the line before.
    grep -B 1 '^ *--- SKIP: ' out | sed -n 's/^ *[a-z_]*\.go:[0-9]*: //p' >skipped
    while read -r reason; do skip "$test_name" "$reason"; done <skipped
}

# module NAME [FOLDER]: a module of somebody else's in ./NAME, that takes the package from FOLDER. Its program tells
# that it is five, unless another one is written over it.
module()
{
    mkdir -p "$1"
    printf 'module %s\n\ngo 1.19\n\nrequire redefine v0.0.0\n\nreplace redefine => "%s"\n' "$1" "${2:-$tree/go}" \
        >"$1/go.mod"
    cp "$tree/examples/go/five_pm/main.go" "$1/main.go"
}

# Nothing in the environment, one line in go.mod.
fresh_module()
{
    module fresh
    cat >fresh/main_test.go <<'END'
package main

import (
	"testing"
	"time"

	"redefine"
)

func TestFivePM(t *testing.T) {
	redefine.Test(t, time.Now, myTimeNow)
	if time.Now().Hour() != 17 {
		t.Error(time.Now())
	}
}
END
    result "a fresh module: go test" sh -c 'cd fresh && "$1" test -ldflags "$2" .' - "$go" "$stamp"
    result "a fresh module: stripped" sh -c 'cd fresh && "$1" build -ldflags "-s -w $2" -o stripped . && ./stripped | grep -q 5:00PM' \
        - "$go" "$stamp"
    run sh -c 'cd fresh && CGO_ENABLED=0 "$1" build .' - "$go"
    result "without cgo: an error that tells" sh -c '[ "$1" != 0 ] && grep -q package_redefine_needs_cgo__build_with_CGO_ENABLED_1 err && [ "$(wc -l <err)" -le 2 ]' - "$status"
}

# A release whose tables nobody knows: its own kind of error, and the program goes on as it was.
unknown_release()
{
    module unknown
    cat >unknown/main.go <<'END'
package main

import (
	"errors"
	"fmt"
	"time"

	"redefine"
)

func main() {
	year := time.Now().Year()
	err := redefine.Func(time.Now, func() time.Time { return time.Unix(0, 0) })
	fmt.Println(err)
	fmt.Println("version:", errors.Is(err, redefine.ErrVersion), "unchanged:", time.Now().Year() >= year)
}
END
    result "a release that is not known: builds" sh -c 'cd unknown && "$1" build -ldflags "$2" -o known .' - "$go" "$stamp"
    run ./unknown/known
    result "a release that is known is redefined" grep -q "version: false unchanged: false" out
    release=$("$go" env GOVERSION)
    for other in go1.99 go1.17 go9.26; do
        # As long as the release's name, which is where it is.
        other=$(printf '%s.0000000' "$other" | cut -c "1-${#release}")
        perl -pe 'BEGIN { binmode STDIN; binmode STDOUT; ($old, $new) = splice @ARGV, 0, 2 } s/\Q$old\E/$new/g' \
            "$release" "$other" <unknown/known >unknown/altered
        chmod +x unknown/altered
        run ./unknown/altered
        result "a release that is not known: $other" sh -c '[ "$1" = 0 ] && grep -q "version: true unchanged: true" out && grep -q "$2" out' - "$status" "$other"
    done
}

example()
{
    name=$1
    shift
    if (cd "$tree/examples/go" && "$go" run -ldflags "$stamp" "./$name") >out 2>&1; then status=0; else status=1; fi
    result "example $name: runs" test "$status" = 0
    for text; do
        result "example $name: $text" grep -q -e "$text" out
    done
}

all_examples()
{
    example five_pm '^5:00PM' '^restored: true'
    example code '^before  49 3b 66 10' '^during  e9' '^after   49 3b 66 10'
    example inlined '^Hello' 'fmt.Printf was inlined into main.main .*main.go:[0-9]*' '-gcflags=fmt=-l'
    example methods 'laid out differently' 'A int64  *someOtherField int32' '^counted 3' '^counted 13'
    example generic '^good Rex, \*main.dog' '^\*main.cat'
    (cd "$tree/examples/go" && "$go" run -gcflags=fmt=-l -ldflags "$stamp" ./inlined) >out 2>&1
    result "example inlined: built with the flag that it names" grep -q 'printing is redefined' out
}
