#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The contract of redefine check: over programs of many kinds its JSON has exactly the promised keys, types, kinds,
# severities and verdicts; verdict and exit status follow from the hazards; and it agrees with what people read.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"

cat >contract.pl <<'P'
use strict;
use warnings;
use JSON::PP;

my ($status) = @ARGV;
local $/;
open my $file, "<", "out" or die "out: $!";
my $whole = JSON::PP->new->utf8->decode(<$file>);
my %kinds = map { $_ => 1 } qw(inlined clone folded alias ipa-ra signature layout no-caller no-debug-info short);
my %severities = map { $_ => 1 } qw(note warning blocker);
my %verdicts = map { $_ => 1 } qw(ok partial unsafe unknown);

# is_exactly HASH KEY…: those keys and no others.
sub is_exactly {
    my ($hash, @keys) = @_;
    join(" ", sort keys %$hash) eq join(" ", sort @keys) or die "keys: " . join(" ", sort keys %$hash) . "\n";
}
sub is_number { defined $_[0] && !ref $_[0] && JSON::PP->new->allow_nonref->encode($_[0]) =~ /^\d+$/ }
sub is_text { defined $_[0] && !ref $_[0] && length $_[0] }

# What docs say that a verdict follows from.
sub verdict_of {
    my %has;
    $has{ $_->{severity} . ($_->{severity} eq "warning" && $_->{kind} eq "no-debug-info" ? " blind" : "") } = 1 for @_;
    return $has{blocker} ? "unsafe" : $has{warning} ? "partial" : $has{"warning blind"} ? "unknown" : "ok";
}

is_exactly($whole, qw(schema functions));
JSON::PP->new->allow_nonref->encode($whole->{schema}) eq "1" or die "schema\n";
my %seen;
for my $function (@{ $whole->{functions} }) {
    is_exactly($function, qw(name address size verdict hazards));
    is_text($function->{name}) or die "a name\n";
    is_number($function->{address}) && is_number($function->{size}) or die "$function->{name}: numbers\n";
    $verdicts{ $function->{verdict} } or die "$function->{name}: $function->{verdict}\n";
    for my $hazard (@{ $function->{hazards} }) {
        is_exactly($hazard, qw(kind severity file line caller detail));
        $kinds{ $hazard->{kind} } or die "$function->{name}: kind $hazard->{kind}\n";
        $severities{ $hazard->{severity} } or die "$function->{name}: severity $hazard->{severity}\n";
        is_text($hazard->{detail}) or die "$function->{name}: no detail\n";
        is_number($hazard->{line}) or die "$function->{name}: line\n";
        for (qw(file caller)) { !defined $hazard->{$_} || is_text($hazard->{$_}) or die "$function->{name}: $_\n" }
        $hazard->{kind} ne "no-caller" || $hazard->{severity} ne "note" or die "$function->{name}: no-caller is a note\n";
    }
    verdict_of(@{ $function->{hazards} }) eq $function->{verdict} or die "$function->{name}: its verdict does not follow\n";
    $function->{address} || $function->{verdict} eq "unsafe" or die "$function->{name}: no code, and not unsafe\n";
    $seen{ $function->{verdict} }++;
}
my $expected = $seen{partial} || $seen{unsafe} ? 1 : $seen{unknown} || !%seen ? 2 : 0;
$status == $expected or die "exit status $status, and $expected follows\n";
open my $text, "<", "text" or die "text: $!";
my ($line) = <$text> =~ /^([\d,]+ functions: .*)$/m;
if (@{ $whole->{functions} } > 1) {
    my $sum = join ", ", map { ($seen{$_} || 0) . " $_" } qw(ok partial unsafe unknown);
    defined $line && $line eq scalar(@{ $whole->{functions} }) . " functions: $sum" or die "$sum, but it says: $line\n";
}
P
if ! perl -MJSON::PP -e1 2>/dev/null; then
    skip_all "perl has no JSON::PP"
fi

# holds NAME ARGUMENT…: the contract, for this check.
holds()
{
    holds_name=$1
    shift
    run "$redefine" check "$@"
    mv out text
    text_status=$status
    run "$redefine" check --json "$@"
    result "$holds_name" perl contract.pl "$status"
    result "… exits alike with and without --json" test "$status" = "$text_status"
}

cat >program.c <<'C'
#include <stdio.h>
#include <stdlib.h>
struct pair { int a, b; };
static inline __attribute__((always_inline)) int copied(int x) { __asm__("" : "+r"(x)); return x * 3; }
static __attribute__((noinline)) int tiny(void) { return 7; }
__attribute__((noinline)) int first(int x) { return x * 9 / 5 + 32; }
__attribute__((noinline)) static int same_a(int x) { return x * 11 + x / 7; }
__attribute__((noinline)) static int same_b(int x) { return x * 11 + x / 7; }
int second(int x) __attribute__((weak, alias("first")));
__attribute__((noinline)) int field(struct pair *p, int n) { return p->a + n; }
static __attribute__((noinline, used)) int nobody(int x) { return x + 1; }
static __attribute__((noinline)) long scaled(const long *v, long n, long k)
{
    long s = 0;
    for (long i = 0; i < n; i++) s += v[i] * (k > 9 ? v[i] % k : k) + (k & 3 ? n : i);
    return s;
}
__attribute__((hot)) long ten(const long *v, long n) { return scaled(v, n, 10) + scaled(v + 1, n - 1, 10) + scaled(v + 2, n - 2, 10); }
long (*volatile other)(const long *, long, long) = scaled;
int main(int argc, char **argv)
{
    struct pair p = {argc, 2};
    long v[4] = {1, 2, 3, 4};
    (void)argv;
    return copied(argc) + tiny() + first(argc) + same_a(argc) + same_b(argc + 1) + field(&p, 2) + (int)ten(v, 4) + (int)other(v, 4, argc);
}
C
cat >patch.c <<'C'
#include <redefine/patch.h>
struct pair { long b; char a; };
static int mine(struct pair *p, int n, int more) { return (int)p->b + n + more; }
REDEFINE_PATCH("field", mine);
C
patch patch.so patch.c -g
for flags in "-O0 -g" "-O2 -g" "-O3 -g" "-O2" "-Os -g -static" "-O2 -g -gsplit-dwarf" "-O2 -g -shared -fPIC"; do
    # shellcheck disable=SC2086 # several words
    if "$CC" $flags -o program program.c 2>why; then
        holds "all functions, $flags" ./program
        holds "one function, $flags" ./program first
        holds "a patch that does not fit, $flags" --patch patch.so ./program
    else
        skip "a program with $flags" "it cannot be built"
    fi
done
"$CC" -O3 -g -o program program.c
holds "clones" --clones ./program scaled first
strip -o stripped program
holds "a stripped program" ./stripped
holds "no such function" ./program nothing_of_that_name
cat >program.cc <<'C'
#include <string>
#include <vector>
namespace a { template <class T> T twice(T x) { return x + x; } struct b { virtual ~b(); virtual int f(int x) const; }; b::~b() = default; int b::f(int x) const { return x + 1; } }
int main(int c, char **) { std::vector<std::string> v(c); a::b x; return a::twice(c) + x.f((int)v.size()) + std::to_string(c).size(); }
C
if "${CXX:-c++}" -O2 -g -o cxx program.cc 2>why; then
    holds "C++" ./cxx
else
    skip "C++" "no C++ compiler"
fi
for program in /bin/sh /bin/date "$(ldd /bin/date | awk '/libc\.so/ { print $3 }')" /usr/aarch64-linux-gnu/lib/libc.so.6 "$redefine"; do
    if [ -f "$program" ]; then
        holds "$program" "$program"
    else
        skip "$program" "it is not installed"
    fi
done
sleep 60 &
sleeper=$!
await_program "$sleeper" sleep
holds "a process" "$sleeper" 'libc.so.6!nanosleep'
kill "$sleeper"
finish
