#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine show and list: damaged files. Cut off anywhere, or with bytes changed in their tables: they either show
# what is there or say why not, with 125. Never a crash, never a hang, never half an output.
set -u
. "$SRC/tests/support/tap.sh"

cat >program.c <<'C'
#include <time.h>
__attribute__((noinline)) static int parse(int x)
{
    return (int)time(0) % 7 + x * 3;
}
int main(int argc, char **argv)
{
    (void)argv;
    return parse(argc);
}
C
"$CC" -O1 -o program program.c
libc=$(ldd /bin/date | awk '/libc\.so/ { print $3 }')

# survives FILE NAME: shown, or refused with one sentence; and the same of what begins as it does, in a list.
survives()
{
    run timeout -k 1 20 "$redefine" list "$1" "${2%???}*"
    [ "$status" = 0 ] && [ ! -s err ] && grep -q '^[0-9,]* function' out || is_a_refusal 125 '.' || return
    run timeout -k 1 20 "$redefine" show "$1" "$2"
    [ "$status" = 0 ] && [ ! -s err ] && grep -q '^trampoline' out || is_a_refusal 125 '.'
}

# cut_everywhere FILE FUNCTION STEP: the file with its first 0, STEP, 2 * STEP… bytes.
cut_everywhere()
{
    size=$(wc -c <"$1")
    at=0
    count=0
    while [ $at -le "$size" ]; do
        head -c $at "$1" >damaged
        if ! survives ./damaged "$2"; then
            echo "with the first $at of $size bytes"
            return 1
        fi
        at=$((at + $3))
        count=$((count + 1))
    done
    [ $count -gt 50 ] || echo "too few"
    survives "$1" "$2" && [ "$status" = 0 ]
}

result "a program, cut off at every 61st byte" cut_everywhere ./program parse 61
result "a library, cut off at sixty places" cut_everywhere "$libc" qsort $(($(wc -c <"$libc") / 60 - 1))
head -c 64 program >damaged
result "only the ELF header" survives ./damaged parse
: >damaged
run "$redefine" show ./damaged parse
refused "an empty file" 125 "not an ELF"
head -c 100000 /dev/zero >damaged
run "$redefine" show ./damaged parse
refused "zeros" 125 "not an ELF"

# One to eight words of the tables changed, by seed. The headers say where the tables are.
cat >damage.pl <<'P'
my ($seed, $from, $to) = @ARGV;
srand $seed;
open my $in, "<:raw", $from or die;
my $bytes = do { local $/; <$in> };
my ($segments, $sections) = unpack "x32 Q< Q<", $bytes;
my ($segment_count, $section_count) = (unpack "x56 v x2 v", $bytes)[0, 1];
my @tables = ([ 16, 48 ], [ $segments, 56 * $segment_count ], [ $sections, 64 * $section_count ]);
for my $i (1 .. $section_count - 1) {
    my ($type, $flags, $off, $size) = unpack "x4 V Q< x8 Q< Q<", substr $bytes, $sections + 64 * $i, 64;
    # All tables but code: symbols, strings, relocations, dynamic section, hashes, unwind tables.
    push @tables, [ $off, $size ] if $size && $type != 8 && !($flags & 4) && $off + $size <= length $bytes;
}
my @values = (0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, ~0, ~0 >> 1, 1 << 63, 1 << 40, 4096, -4096,
              length $bytes, -1 + length $bytes);
for (0 .. (0, 0, 1, 3, 7)[rand 5]) {
    my ($off, $size) = @{ $tables[rand @tables] };
    my $width = (1, 2, 4, 8, 8)[rand 5];
    my $at = $off + $width * int(rand($size / $width));
    my $value = rand() < 0.8 ? $values[rand @values] : int rand length $bytes;
    substr $bytes, $at, $width, substr pack("Q<", $value), 0, $width if $at + $width <= length $bytes;
}
open my $out, ">:raw", $to or die;
print $out $bytes;
P
damaged_tables()
{
    seed=1
    while [ $seed -le "$3" ]; do
        perl damage.pl $seed "$1" damaged || return 1
        if ! survives ./damaged "$2"; then
            echo "seed $seed"
            return 1
        fi
        seed=$((seed + 1))
    done
}
result "a program with damaged tables, 200 times" damaged_tables ./program parse 200
"$CC" -shared -fPIC -I"$SRC/include" -o five_pm.so "$SRC/examples/five_pm.c"
result "a library with damaged tables, 100 times" damaged_tables ./five_pm.so five_pm 100
result "a library with damaged tables, a name of another one, 50 times" damaged_tables ./five_pm.so time 50
if "$CC" -O1 -static -o static program.c 2>why; then
    result "a static program with damaged tables, 50 times" damaged_tables ./static parse 50
fi
finish
