#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check and list of Go programs, stripped or not, and of running ones: the verdict is that of the Go
# package. What C cannot do in them is refused, and counting them does no harm.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/check.sh"
needs_plain_agent
[ "$(uname -m)" = x86_64 ] || skip_all "Go functions are redefined on x86-64 only"

# build FOLDER FILE OPTION…
build()
{
    folder=$1
    file=$PWD/$2
    shift 2
    (cd "$SRC/tests/fixtures/$folder" &&
        GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$PWD}" \
            "$go" build "$@" -o "$file" main.go)
}

# verdict NAME VERDICT STRATEGY: the line of `list` that ends in NAME.
verdict()
{
    WANTED="$1" AS="$2 $3" perl -ne '
        my @f = split; my $by = $f[3]; my $name = $f[-1];
        if ($name eq $ENV{WANTED}) { $seen = "$f[0] $by"; }
        END { exit 0 if ($seen // "") eq $ENV{AS}; print "$ENV{WANTED}: $seen, not $ENV{AS}\n"; exit 1 }' out
}

# The contract's JSON: every key, and no kind or severity that it does not name.
obeys_schema()
{
    AT_LEAST=$1 perl -MJSON::PP -0777 -ne '
        my %kind = map { $_ => 1 } qw(inlined clone folded alias ipa-ra signature layout no-caller no-debug-info short);
        my %severity = map { $_ => 1 } qw(note warning blocker);
        my $whole = decode_json $_;
        die "schema" unless $whole->{schema} == 1 && @{ $whole->{functions} } >= $ENV{AT_LEAST};
        for my $f (@{ $whole->{functions} }) {
            die "function" if join(" ", sort keys %$f) ne "address hazards name size verdict";
            die "verdict $f->{verdict}" unless $f->{verdict} =~ /^(ok|partial|unsafe|unknown)$/;
            for my $h (@{ $f->{hazards} }) {
                die "hazard" if join(" ", sort keys %$h) ne "caller detail file kind line severity";
                die "$h->{kind} $h->{severity}" unless $kind{ $h->{kind} } && $severity{ $h->{severity} };
            }
        }' out
}

verdicts_are_the_packages()
{
    verdict main.main ok check && verdict 'main.(*counter).Inc' ok jump &&
        verdict main.variadic ok jump && verdict 'main.(*table).Len' unsafe none &&
        verdict 'main.(*counter).Inc-fm' unsafe none
}

inlined_into_a_wrapper()
{
    grep -qE '^partial .* inlined +main\.table\.Len$' out || tell "main.table.Len is inlined into its wrapper"
}

lists_of_time()
{
    [ "$status" = 0 ] && grep -q ' time\.Now$' out && ! grep -v '^verdict\|functions\?:' out | grep -qv ' time\.' ||
        tell "functions of package time were expected, and no others"
}

# Each damage is a sentence or an answer, and soon. The tables begin with read-only data and end with .gopclntab.
survives()
{
    start=$(readelf -SW whole | perl -ne '
        $from = hex $1 if / \.rodata +\S+ +\S+ +(\S+)/;
        print $from, " ", hex($1) + hex($2) - $from if / \.gopclntab +\S+ +\S+ +(\S+) +(\S+)/')
    for seed in $(seq 1 24); do
        SEED=$seed RANGE="$start" perl -0777 -pe '
            srand $ENV{SEED}; my ($at, $len) = split / /, $ENV{RANGE};
            $_ = substr $_, 0, $at + int rand $len if $ENV{SEED} % 6 == 0;
            for my $i (1 .. ($ENV{SEED} % 6 ? 2 ** (4 + $ENV{SEED} % 8) : 0)) {
                substr($_, $at + int(rand $len), 1) = chr int rand 256;
            }' \
            whole >damaged
        for verb in "check damaged time.Now" "list damaged" "show damaged main.main" "check damaged"; do
            # shellcheck disable=SC2086
            timeout 20 "$redefine" $verb >out 2>err
            status=$?
            [ $status -lt 3 ] || [ $status = 125 ] || { tell "seed $seed: $verb"; return; }
        done
    done
}

counted()
{
    [ "$status" = 0 ] && [ "$(cat out)" = "$1" ] && grep -q ' main\.deep$' err &&
        grep -qE 'not counted .*stack check' err || tell "$1 was expected, and the calls of main.deep"
}

for go in go /usr/lib/go-1.19/bin/go; do
    release=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null)
    if [ -z "$release" ]; then
        skip "$go" "it is not installed"
        continue
    fi
    if ! build go whole 2>why || ! build go stripped -ldflags='-s -w' ||
        ! build go pie -buildmode=pie -ldflags='-s -w'; then
        skip "$release" "it cannot build the program: $(head -1 why)"
        continue
    fi
    strip -o stripped_again whole
    for program in whole stripped stripped_again pie; do
        of="$release, $program"
        run "$redefine" list "$program" 'main.*'
        result "$of: verdicts of list" verdicts_are_the_packages
        result "$of: what was inlined into a wrapper" inlined_into_a_wrapper
        run "$redefine" list "$program" 'time.*'
        result "$of: a glob" lists_of_time
        run "$redefine" check "$program" time.Now
        result "$of: time.Now" is_said 0 '^time\.Now at 0x[0-9a-f]+, [0-9]+ bytes: ok$'
        run "$redefine" check "$program" main.gone
        result "$of: inlined everywhere" is_said 1 '^main\.gone: unsafe$' \
            'blocker: inlined: .*/main\.go:85: inlined into main\.caller, .* build with -gcflags=-l, or put //go:noinl' \
            'blocker: inlined: .*/main\.go:80: inlined into main\.outer' 'blocker: no-caller: main\.gone has no code'
        run "$redefine" check "$program" 'main.(*value).Get'
        result "$of: a wrapper" is_said 1 'blocker: alias: .*only calls main\.value\.Get, which is what others call'
        run "$redefine" check "$program" internal/cpu.cpuid
        result "$of: assembly" is_said 1 'blocker: short: .*cpuid is written in assembly'
        run "$redefine" check "$program" time.Nov
        refused "$of: a name that is not there" 2 'did you mean time\.Now'
    done
    run "$redefine" check stripped --json
    result "$release: all functions in JSON" obeys_schema 1000
    run "$redefine" check stripped main.gone main.main --json
    result "$release: two functions in JSON" obeys_schema 2

    mkfifo input
    ./whole wait <input >/dev/null 2>&1 &
    pid=$!
    exec 3>input
    run "$redefine" check "$pid" time.Now main.gone
    result "$release: a running program" is_said 1 '^time\.Now at .*: ok$' '/main\.go:85: inlined into main\.caller'
    run "$redefine" list "$pid" 'main.*'
    result "$release: list of a running program" verdicts_are_the_packages
    exec 3>&-
    wait "$pid"
    rm input

    result "$release: damaged tables" survives

    cat >instances.go <<'GO'
package main

import "fmt"

//go:noinline
func generic[T any](n int, v T) string { return fmt.Sprint(n, v) }

var f, g = generic[*int], generic[*string]

func main() { fmt.Println(f(1, nil), g(2, nil)) }
GO
    GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$PWD}" "$go" build -o instances instances.go
    instance='main.generic[*int]' # which has no name of its own in Go 1.19
    [ "$release" = "${release#go1.19}" ] || instance='main.glob..func1'
    run "$redefine" check instances "$instance"
    result "$release: an instantiation" is_said 0 \
        'passes its dictionary to main\.generic\[.*, whose entry is changed with its own'
    run "$redefine" show instances "$instance"
    result "$release: an instantiation is shown" is_said 0 '^  changes     main\.generic\[' '^selection \(of other dictionaries'
    cat >derived.go <<'GO'
package main

import "fmt"

type B struct{ x int }

//go:noinline
func inner[T any](v T, n int) string { return fmt.Sprint(n, v) }

//go:noinline
func outer[T any](v T) string { return inner([]T{v}, 3) }

var f = inner[[]*B]

func main() { fmt.Println(outer(&B{1}), f([]*B{{2}}, 4)) }
GO
    GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$PWD}" "$go" build -o derived derived.go
    instance='main.inner[[]*main.B]'
    [ "$release" = "${release#go1.19}" ] || instance='main.glob..func1'
    run "$redefine" check derived "$instance"
    result "$release: a second body, for a type made of a parameter" is_said 0 \
        'note: clone: main\.inner\[.* is another body of it.*redefined with it'
    cat >untold.go <<'GO'
package main

import "fmt"

type B struct{ x int }
type shelf[T any] struct {
	label string
	all   []T
}

//go:noinline
func (s shelf[T]) size() int { return len(s.label) }

//go:noinline
func sizeOf[T any](v T) int { return shelf[[]T]{label: "four"}.size() }

var f = shelf[[]*B].size

func main() { fmt.Println(sizeOf(&B{1}), f(shelf[[]*B]{})) }
GO
    GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$PWD}" "$go" build -o untold untold.go
    if [ "$release" = "${release#go1.19}" ]; then
        run "$redefine" check untold 'main.shelf[[]*main.B].size'
        result "$release: a second body that the package refuses" is_said 1 \
            'blocker: clone: main\.shelf\[.* is another body of it.*does not check its stack'
    else
        # It passes the dictionary first, so that where it is can be told.
        run "$redefine" check untold 'main.glob..func1'
        result "$release: a second body of a method" is_said 0 'note: clone: main\.shelf\[.* is another body of it.*redefined with it'
    fi
done

if ! command -v "$CC" >/dev/null || ! build go_cgo cgo 2>why; then
    skip "cgo" "it cannot build the program: $(head -1 why)"
    finish
fi
run ./cgo
sum=$(cat out)
run "$redefine" list cgo
result "cgo: both languages are listed" is_said 0 '^ok .* jump +x_cgo_thread_start$' '^ok .* check +main\.deep$'
for i in 1 2 3; do
    run "$redefine" run --count '*' -- ./cgo
    result "cgo: counting every function, run $i" counted "$sum"
done
echo 'long five(void) { return 5; }' >five.c
patch five.so five.c
cat >deep.c <<'C'
#include <redefine/patch.h>
static long five(long n) { (void)n; return 5; }
REDEFINE_PATCH("main.deep", five);
C
patch deep.so deep.c
run "$redefine" check --patch deep.so cgo
result "cgo: check of a C patch for a Go function" is_said 1 '^main\.deep at .*: unsafe$' \
    'blocker: signature: main\.deep is a Go function: a C replacement cannot run on a goroutine'
run "$redefine" run --patch deep.so -- ./cgo
refused "cgo: a C patch for a Go function" 125 "main\.deep is a Go function"
run "$redefine" run --replace main.deep=five.so:five -- ./cgo
refused "cgo: a C replacement for a Go function" 125 "main\.deep is a Go function: a C replacement cannot run on a gor"
# 50 calls in each of 32 goroutines return 5 each instead of 2450 together.
run "$redefine" run --replace twice=five.so:five -- ./cgo
result "cgo: one for a C function" is_said 0 "^sum $((${sum#sum } - 32 * (2450 - 250)))\$"
finish
