#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine show of Go programs: names and bounds from Go's own table, also where nothing else is left; what
# was inlined everywhere, or has several instances, is refused with the places.
set -u
. "$SRC/tests/support/tap.sh"

# nm_range GO FILE NAME: "start..end" as Go's own tool has it.
nm_range()
{
    GOTOOLCHAIN=local "$1" tool nm -size "$2" |
        WANTED="$3" perl -ane 'printf "%x..%x\n", hex $F[0], hex($F[0]) + $F[1] if $F[-1] eq $ENV{WANTED}'
}

# shown_as RANGE
shown_as()
{
    [ "$status" = 0 ] && grep -q "^  runs at     $1, .* as the table of Go functions says\$" out ||
        tell "$1 was expected, by the table of Go functions"
}

# shown_with REGEX…
shown_with()
{
    [ "$status" = 0 ] || { tell "the plan was expected"; return; }
    for regex; do
        grep -qE -e "$regex" out || { tell "this was expected: $regex"; return; }
    done
}

# The edit is a jump to the relay, over the old bytes of the check: cmp rsp, [r14+16], or lea r12, [rsp-n].
is_plan()
{
    perl -MJSON::PP -0777 -ne '
        my $plan = decode_json $_;
        my $edit = $plan->{edits}[0];
        my $to = $edit->{address} + 5 + unpack "l<", pack "H*", substr $edit->{new}, 2;
        exit !($plan->{schema} == 1 && $edit->{address} == $plan->{address} && $edit->{new} =~ /^e9/ &&
            $edit->{old} =~ /^(493b66|4c8d)/ && $to == $plan->{relay}[0]{address} && $plan->{displaced} >= 6)' out
}

# build GO FILE OPTION…
build()
{
    build_go=$1
    build_file=$PWD/$2
    shift 2
    (cd "$SRC/tests/fixtures/go" && GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$PWD}" \
        "$build_go" build "$@" -o "$build_file" main.go)
}

for go in go /usr/lib/go-1.19/bin/go; do
    release=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null)
    if [ -z "$release" ]; then
        skip "$go" "it is not installed"
        continue
    fi
    if ! build "$go" plain 2>why || ! build "$go" stripped -ldflags='-s -w'; then
        skip "$release" "it cannot build the program: $(head -1 why)"
        continue
    fi
    for name in time.Now 'main.(*counter).Inc' main.main runtime.mallocgc; do
        range=$(nm_range "$go" plain "$name")
        run "$redefine" show plain "$name"
        result "$release: $name" shown_as "$range"
    done
    run "$redefine" show stripped main.main
    result "$release: over the stack check" shown_with 'a jump over the stack check' '^\|.* cmp r(sp|12), \[r14' \
        'what is left of the check stays' '^trampoline \(the original: the check again, then the body' 'jmp 0x'
    run "$redefine" show stripped 'main.(*value).Get'
    refused "$release: a wrapper" 125 'only calls main.value.Get, which is what others call'
    run "$redefine" show stripped runtime.memmove
    refused "$release: assembly" 125 'is written in assembly'
    run "$redefine" show --json stripped main.main
    result "$release: in JSON" is_plan
    run "$redefine" show stripped 'main.(*counter).Inc'
    result "$release: over the first instructions" shown_with 'a jump over the first instructions' \
        '^trampoline \(the original: the displaced instructions, then the body'
    result "$release: stripped" shown_as '[0-9a-f]*..[0-9a-f]*'
    run "$redefine" show stripped main.gone
    refused "$release: inlined everywhere" 125 \
        'main.gone has no code of its own .* into main.caller \(main.go:.*build with -gcflags=-l'
    run "$redefine" show stripped 'main.generic[...]'
    refused "$release: two instances" 125 'names 2 functions; give one of '
    run "$redefine" show stripped time.Nov
    refused "$release: a name that is not there" 125 'did you mean time.Now'
    # The release is in the build information, as text.
    perl -0777 -pe 's/(\xff Go buildinf:.{19})go1\.\d\d/$1go1.98/s' stripped >unknown
    run "$redefine" show unknown time.Now
    refused "$release: a release that is not known" 125 'go1\.98.*, whose tables are not known here: Go 1.19 to 1.27 are'
done
finish
