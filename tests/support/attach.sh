# SPDX-License-Identifier: MIT
#
# For the tests of redefine attach: a program in the background, $pid, whose lines go to ./told. Sourced behind
# tap.sh; skips all where no process can be changed.
# shellcheck shell=sh disable=SC2154
pid=

export XDG_CACHE_HOME="$PWD/cache"
needs_plain_agent
[ "$(uname -m)" = x86_64 ] || skip_all "a process that runs is changed on x86-64 alone"

# patch_adding N FILE.so: answer, and N on top. Its source stays in FILE.c.
patch_adding()
{
    cat >"${2%.so}.c" <<C
#include <redefine/patch.h>
static int more(int x) { return REDEFINE_ORIGINAL(more)(x) + $1; }
REDEFINE_PATCH("answer", more);
C
    patch "$2" "${2%.so}.c" -g
}

# guest_and_answer FIXTURE: ./guest, which says what answer(1) is, and a patch of that.
guest_and_answer()
{
    "$CC" -O1 -g -pthread -o guest "$SRC/tests/fixtures/$1.c" || { echo "Bail out! the guest"; exit 1; }
    patch_adding 40 answer.so
}

# patch_that_hangs FILE.so: of answer, whose constructor comes back when there is ./come-back.
patch_that_hangs()
{
    cat >"${1%.so}.c" <<'C'
#include <redefine/patch.h>
#include <unistd.h>
__attribute__((constructor)) static void hang(void)
{
    while (access("come-back", F_OK) != 0)
        usleep(10000);
}
static int mine(int x) { return x + 1000; }
REDEFINE_PATCH("answer", mine);
C
    patch "$1" "${1%.so}.c" -g
}

begin()
{
    : >told
    "$@" >told 2>&1 &
    pid=$!
}

end()
{
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
}

goes_on()
{
    kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"
}

# await COMMAND…: until it succeeds; ten seconds at the most, and while the program is there.
await()
{
    for _ in $(seq 100); do
        sleep 0.1
        "$@" && return 0
        goes_on || break
    done
    return 1
}

# Two lines, for one may be under way.
is_said()
{
    [ "$(tail -n 2 told | sort -u)" = "$1" ]
}

is_not_said()
{
    said=$(tail -n 1 told)
    [ -n "$said" ] && [ "$said" != "$1" ]
}

# says TEXT: two lines to come are that text.
says()
{
    await is_said "$1" || { echo "it says: $(tail -n 3 told)"; return 1; }
}

says_not()
{
    await is_not_said "$1" || { echo "it says: $(tail -n 3 told)"; return 1; }
}

await_state()
{
    for _ in $(seq 50); do
        grep -q "^State:.$1" "/proc/$pid/status" && return 0
        sleep 0.05
    done
    return 1
}

is_traced()
{
    grep -q '^TracerPid:.[1-9]' "/proc/$pid/status"
}

# ---- A program that says 2, and 42 when answer.so redefines it ----

# begins COMMAND…: it says 2.
begins()
{
    begin "$@"
    says 2 || { tell "it did not begin"; return 1; }
}

# attaches PATCH TEXT: with that patch the program says that.
attaches()
{
    run "$redefine" attach "$pid" --patch "$1"
    is_as_expected 0 '' || return 1
    says "$2" || { tell "it is not redefined"; return 1; }
}

# restores: it says 2 again.
restores()
{
    run "$redefine" restore "$pid"
    is_as_expected 0 '' || return 1
    says 2 || { tell "it is not restored"; return 1; }
}

# on_and_off COMMAND…: it is redefined, and is not any more, and goes on.
on_and_off()
{
    begins "$@" && attaches answer.so 42 && restores || return 1
    goes_on || { tell "it has ended"; return 1; }
}

# dump_code NAME: the first bytes of a function of ./guest, as they are in the process.
dump_code()
{
    base=$(sed -n '/guest$/{s/-.*//p;q;}' "/proc/$pid/maps")
    at=$(nm guest | sed -n "s/ T $1\$//p")
    dd if="/proc/$pid/mem" bs=1 skip=$((0x$base + 0x$at)) count=16 2>/dev/null | od -An -tx1
}

# Nothing of an errand stays: threads and memory are as before, but for what was loaded.
as_it_was()
{
    [ "$(ls "/proc/$pid/task" | wc -l)" = 1 ] || { echo "threads: $(ls "/proc/$pid/task")"; return 1; }
    ! is_traced || { echo "it is traced"; return 1; }
    ! grep -q 'rwx' "/proc/$pid/maps" || { grep rwx "/proc/$pid/maps"; return 1; }
}
