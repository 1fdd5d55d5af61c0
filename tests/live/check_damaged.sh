#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The command over damaged programs: cut off at every length, with bytes changed, with headers and debug data that lie.
# list, show and check answer, or end with one sentence and the status for that; never by a signal, never late, never
# with more memory or processor time than a limit allows. DAMAGED_ROUNDS=N tries more (make soak).
set -u
. "$SRC/tests/support/tap.sh"
rounds=${DAMAGED_ROUNDS:-50}
export XDG_CACHE_HOME="$PWD/cache"

cat >program.c <<'C'
struct node { struct node *next; int value; };
static inline __attribute__((always_inline)) int parse(struct node *n) { __asm__("" : "+r"(n)); return n ? n->value * 3 : 1; }
__attribute__((noinline)) int outer(struct node *n) { return parse(n) * 5; }
int (*pointer)(struct node *) = parse;
void _start(void) { struct node n = {0, 1}; outer(&n); pointer(&n); for (;;) ; }
C
for version in 4 5; do
    "$CC" -O2 -g -gdwarf-$version -nostdlib -static -o program$version program.c ||
        skip_all "this compiler makes no program without a C library"
done
objcopy --compress-debug-sections=zlib program5 packed

# damage.pl HOW ROUNDS PROGRAM: every damage, each looked at by all three.
cat >damage.pl <<'P'
use strict;
use warnings;
my ($how, $rounds, $from) = @ARGV;
open my $in, "<:raw", $from or die;
my $whole = do { local $/; <$in> };
my $size = length $whole;
my @values = (0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff, ~0, ~0 >> 1, 1 << 63, 1 << 40, 4096, $size, $size - 1);

# What a run may end with, and whether that is a refusal, which has one sentence.
my %statuses = (check => { 0 => 0, 1 => 0, 2 => 1 }, list => { 0 => 0, 125 => 1 }, show => { 0 => 0, 125 => 1 });

sub look
{
    my ($what, $verb, @names) = @_;
    my $pid = fork // die;
    if ($pid == 0) {
        open STDOUT, ">", "out";
        open STDERR, ">", "err";
        alarm 20; # kept by exec
        exec "$ENV{BUILD}/redefine", $verb, "./damaged", @names;
    }
    waitpid $pid, 0;
    my $status = $? & 127 ? "signal " . ($? & 127) : $? >> 8;
    open my $file, "<", "err" or die;
    my @said = <$file>;
    my $is_refusal = $statuses{$verb}{$status};
    return if defined $is_refusal && @said <= 2 && ($is_refusal ? @said > 0 || -s "out" : 1) &&
        !grep { !/^redefine: ./ } @said;
    rename "damaged", "culprit";
    print "$what: $verb @names: status $status, said:\n@said";
    exit 1;
}

sub try
{
    my ($what, $bytes) = @_;
    open my $file, ">:raw", "damaged" or die;
    print $file $bytes;
    close $file;
    look($what, "check", "outer", "parse");
    look($what, "list", "*");
    look($what, "show", "outer");
}

if ($how eq "cut") {
    for (my $length = 0; $length < $size; $length += $rounds) { try("its first $length bytes", substr $whole, 0, $length) }
    exit 0;
}
my ($sections) = unpack "x40 Q<", $whole;
my $section_count = unpack "x60 v", $whole;
my @debug;
for my $i (1 .. $section_count - 1) {
    my ($flags, $off, $bytes) = unpack "x8 Q< x8 Q< Q<", substr $whole, $sections + 64 * $i, 64;
    push @debug, [ $off, $bytes ] if !($flags & 2) && $off + $bytes <= $size && $bytes > 8;
}
for my $seed (1 .. $rounds) {
    srand $seed;
    my $bytes = $whole;
    for (0 .. (0, 0, 1, 3, 7)[rand 5]) {
        my ($off, $length) = $how eq "bytes" ? (0, $size)
            : $how eq "headers" ? ((0, 64, $sections)[rand 3], 64 * $section_count) : @{ $debug[rand @debug] };
        my $width = $how eq "bytes" ? 1 : (1, 1, 2, 4, 8)[rand 5];
        my $at = $off + (rand() < 0.7 ? $width * int(rand $length / $width) : int rand $length);
        my $value = rand() < 0.6 ? $values[rand @values] : int rand 256;
        substr $bytes, $at, $width, substr pack("Q<", $value), 0, $width if $at + $width <= $size;
    }
    try("$how, seed $seed", $bytes);
}
P

# Each in 20 s of processor time and 1 GB of addresses; a sanitizer's run time takes more than that for itself.
survives()
{
    (
        nm "$redefine" | grep -q __asan || ulimit -v 1048576
        ulimit -t 20
        perl damage.pl "$@"
    )
}
step=127
[ "$rounds" -gt 1000 ] && step=1
for program in program4 program5 packed; do
    cp $program damaged
    run "$redefine" check ./damaged outer parse
    result "$program: both functions are found when it is whole" test "$status" = 1 -a "$(grep -c '^[a-z]* at ' out)" = 2
    result "$program: cut off" survives cut $step $program
    result "$program: with bytes changed" survives bytes "$rounds" $program
    result "$program: with headers that lie" survives headers "$rounds" $program
    result "$program: with debug data that lies" survives debug "$rounds" $program
done
finish
