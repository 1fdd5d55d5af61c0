#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The indexes that redefine check keeps: they make no difference to what it says, whoever wrote into their folder, and
# there are never too many of them.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"
folder=$XDG_CACHE_HOME/redefine

seq 1 400 | sed 's/.*/static inline __attribute__((always_inline)) int i&(int x) { return x + &; } int f&(int x) { return i&(x) + i&(x * 2); }/' >many.c
echo 'int main(int c, char **v) { (void)v; return f1(c); }' >>many.c
"$CC" -O1 -g -o many many.c
run "$redefine" check ./many f1
cp out first
status_first=$status
kept=$(find "$folder" -name '*.index' | sed 1q)
result "an index is kept" test -s "$kept"
cp "$kept" good

answers()
{
    run timeout 60 "$redefine" check ./many f1
    [ "$status" = "$status_first" ] && cmp out first && [ ! -s err ] || tell "another answer"
}
rm -f "$kept" && ln -s "$PWD/good" "$kept"
result "a link is not read" answers
rm -f "$kept" && ln -s "$PWD/elsewhere" "$kept"
result "a link that leads nowhere is not written through" answers
result "… nor what it leads to made" test ! -e elsewhere
rm -f "$kept" && mkfifo "$kept"
result "a pipe does not make it wait" answers
rm -rf "$kept" && mkdir "$kept"
result "a folder of that name" answers
rmdir "$kept" 2>/dev/null

# A byte changed at many places; cut off at many lengths.
damaged_everywhere()
{
    size=$(wc -c <good)
    for part in $(seq 0 39); do
        at=$((size * part / 40))
        rm -rf "$kept" && head -c $at good >"$kept"
        answers || { echo "cut off at $at"; return 1; }
        cp good "$kept" && printf '\377\177' | dd of="$kept" bs=1 seek=$at conv=notrunc status=none
        answers || { echo "changed at $at"; return 1; }
    done
}
result "cut off, and with bytes changed, at forty places" damaged_everywhere

if [ "$(id -u)" = 0 ]; then
    cp good "$kept" && chown 65534 "$kept"
    result "another user's file is not read" answers
    result "… but replaced" test "$(stat -c %u "$kept")" = 0
    rm -rf "$folder" && mkdir "$folder" && chown 65534 "$folder"
    result "another user's folder is not used" answers
    result "… nothing is written there" test -z "$(ls -A "$folder")"
    rm -rf "$folder"
else
    skip "another user's file is not read" "only root can make one"
    skip "another user's folder is not used" "only root can make one"
fi
rm -rf "$folder" && mkdir "$folder" && chmod 777 "$folder"
result "a folder that anybody can write to is not used" answers
result "… nothing is written there" test -z "$(ls -A "$folder")"

# Files without content take no room on the disk, but count.
rm -rf "$folder" && mkdir -m 700 "$folder"
for age in 1 2 3 4 5; do
    truncate -s 80M "$folder/0$age.index"
    touch -d "$age days ago" "$folder/0$age.index"
done
truncate -s 400M "$folder/notes.txt"
touch "$folder/0123.abcdef" "$folder/0124.abcdef" && touch -d "2 days ago" "$folder/0123.abcdef"
result "too many of them" answers
is_pruned()
{
    left=$(cd "$folder" && echo *)
    [ "$left" = "01.index 0124.abcdef 02.index 03.index $(basename "$kept") notes.txt" ] || tell "left: $left"
}
result "… the oldest go, and what was never finished; nothing else" is_pruned
touch -d "9 days ago" "$kept"
result "one that is old is used" answers
result "… and new by that" test "$(find "$kept" -mtime -1)"
finish
