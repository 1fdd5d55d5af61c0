#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine attach and restore, over and over, of a program whose eight threads allocate, start threads and load objects all
# the time: none of them stops, or sees a wrong answer, and nothing piles up.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/attach.sh"
guest_and_answer attached_storm
ROUNDS=${ROUNDS:-30} # more on demand: ROUNDS=200

# All eight have come round once more.
moves()
{
    moves_before=$(wc -l <told)
    for _ in $(seq 200); do
        [ "$(wc -l <told)" -gt "$((moves_before + 1))" ] && return 0
        goes_on || break
        sleep 0.05
    done
    tell "a thread does not come round any more: $(tail -n 2 told)"
}

over_and_over()
{
    begin ./guest
    moves || return 1
    mappings=
    for round in $(seq "$ROUNDS"); do
        run "$redefine" attach "$pid" --patch answer.so
        is_as_expected 0 '' || { echo "round $round"; return 1; }
        case $round in *0) moves && tail -n 1 told | grep -q ' 42$' || { tell "round $round: it is not redefined: $(tail -n 2 told)"; return 1; } ;; esac
        run "$redefine" restore "$pid"
        is_as_expected 0 '' || { echo "round $round"; return 1; }
        goes_on || { tell "round $round: it has ended: $(tail -n 1 told)"; return 1; }
        [ "$round" != 2 ] || mappings=$(grep -c . "/proc/$pid/maps")
    done
    moves && tail -n 1 told | grep -q ' 2$' || { tell "it is not restored: $(tail -n 2 told)"; return 1; }
    # Arenas of malloc come and go.
    now=$(grep -c . "/proc/$pid/maps")
    [ "$now" -lt "$((mappings + 40))" ] || { tell "mappings pile up: $mappings, then $now"; return 1; }
}
result "attached and restored $ROUNDS times" over_and_over
end

# Two at once: one waits for the other.
together()
{
    begin ./guest
    moves || return 1
    for _ in $(seq 10); do
        "$redefine" attach "$pid" --patch answer.so 2>err1 &
        first=$!
        "$redefine" attach "$pid" --patch answer.so 2>err2
        second=$?
        wait "$first"
        first=$?
        [ "$first" = 0 ] && [ "$second" = 0 ] || { cat err1 err2; return 1; }
        cat err1 err2 | grep -q 'in force already' || { echo "neither came second"; return 1; }
        run "$redefine" restore "$pid"
        is_as_expected 0 '' || return 1
    done
    moves
}
result "two commands at once" together
end
finish
