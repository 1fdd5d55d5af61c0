#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The Go package in what is more than a program: plugins, libraries of Go for C, folders that are vendored, reached
# by a link, or have a space in their name.
set -u
go=$(command -v go || echo /usr/local/go/bin/go)
. "$SRC/tests/support/go.sh"

builds_and_runs()
{
    result "$1" sh -c 'cd "$1" && "$2" run -ldflags "$3" . | grep -q "^5:00PM"' - "$2" "$go" "$stamp"
}

ln -s "$tree/go" linked
module symlinked "$PWD/linked"
builds_and_runs "a folder reached by a link" symlinked
mkdir "a space"
ln -s "$tree" "a space/tree"
module spaced "$PWD/a space/tree/go"
builds_and_runs "a folder with a space" spaced

module vendored
(cd vendored && "$go" mod vendor)
run sh -c 'cd vendored && "$1" build -ldflags "$2" .' - "$go" "$stamp"
result "vendored: says what is missing" sh -c '[ "$1" != 0 ] && grep -q "set CGO_CFLAGS=-I.*CGO_LDFLAGS=-L" err' - "$status"
result "vendored: built with the two flags that it names" \
    env CGO_CFLAGS="-I$tree/include" CGO_LDFLAGS="-L$tree/build" \
    sh -c 'cd vendored && "$1" run -mod=vendor -ldflags "$2" . | grep -q "^5:00PM"' - "$go" "$stamp"

mkdir -p unbuilt
cp -R "$SRC/go" "$SRC/include" unbuilt
module without "$PWD/unbuilt/go"
run sh -c 'cd without && "$1" build .' - "$go"
result "a library that was not built: says so" sh -c '[ "$1" != 0 ] && grep -q "is not built: run make" err' - "$status"

# ---- libraries for C ----

module library
cat >library/main.go <<'END'
package main

import "C"

import (
	"fmt"
	"time"

	"redefine"
)

//export Five
func Five() C.int {
	err := redefine.Func(time.Now, func() time.Time { return time.Date(2026, 1, 30, 17, 0, 0, 0, time.UTC) })
	fmt.Println(err, time.Now().Hour(), redefine.Original(time.Now)().Sub(time.Now()) != 0, redefine.Restore(time.Now))
	return C.int(time.Now().Year())
}

func main() {}
END
printf 'int Five(void);\nint main(void) { return Five() > 2000 && Five() > 2000 ? 0 : 1; }\n' >host.c
if (cd library && "$go" build -buildmode=c-shared -ldflags "$stamp" -o ../libfive.so .) && gcc host.c ./libfive.so -o host_shared; then
    run ./host_shared
    result "a shared library for C" sh -c '[ "$1" = 0 ] && [ "$(grep -c "^<nil> 17 true <nil>$" out)" = 2 ]' - "$status"
else
    skip "a shared library for C" "this toolchain cannot build so"
fi

# ---- plugins ----

module plug
cat >plug/main.go <<'END'
package main

import (
	"fmt"
	"time"

	"redefine"
)

//go:noinline
func Inside(x int) string { return fmt.Sprint("inside ", x) }

func Try() {
	fmt.Println("own:", redefine.Func(Inside, func(int) string { return "redefined" }), Inside(1))
	fmt.Println("shared:", redefine.Func(time.Now, func() time.Time { return time.Time{} }), time.Now().Year() > 2000)
}
END
module opener
cat >opener/main.go <<'END'
package main

import (
	"errors"
	"fmt"
	"os"
	"plugin"
	"time"

	"redefine"
)

func main() {
	before := redefine.Func(time.Sleep, func(time.Duration) {})
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	err = redefine.Func(time.Now, func() time.Time { return time.Time{} })
	fmt.Println("before:", before)
	fmt.Println("ambiguous:", errors.Is(err, redefine.ErrAmbiguous), time.Now().Year() > 2000)
	inside, _ := opened.Lookup("Inside")
	f := inside.(func(int) string)
	fmt.Println("from outside:", redefine.Func(f, func(int) string { return "by the opener" }), f(1), redefine.Restore(f), f(1))
	try, _ := opened.Lookup("Try")
	try.(func())()
}
END
if (cd plug && "$go" build -buildmode=plugin -ldflags "$stamp" -o ../plug.so .) && (cd opener && "$go" build -ldflags "$stamp" -o ../opener.out .); then
    run ./opener.out ./plug.so
    result "a program before it opens a plugin" grep -q '^before: <nil>$' out
    result "what both have: refused, and unchanged" grep -q '^ambiguous: true true$' out
    result "a plugin's function, by the program" grep -q '^from outside: <nil> by the opener <nil> inside 1$' out
    result "a plugin's function, by the plugin" grep -q '^own: <nil> redefined$' out
    result "what both have, by the plugin: a sentence that names the two" \
        grep -q '^shared: redefine: time.Now is in .*opener.out, and a copy of it in .*plug.so: .* true$' out
    result "the program ends well" test "$status" = 0
else
    skip "plugins" "this toolchain cannot build them"
fi
finish
