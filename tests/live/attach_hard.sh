#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine attach, status, restore: programs and patches that make it hard.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/attach.sh"
guest_and_answer attached
patch_adding 10 ten.so

# ---- Stacks ----

result "a main thread that uses all of its stack that is mapped" on_and_off ./guest deep
end
printf '#include <string.h>\n__attribute__((constructor)) static void begin(void) { char room[300000]; memset(room, 1, sizeof room); __asm__ volatile("" : : "r"(room) : "memory"); }\n' |
    cat answer.c - >large.c
patch large.so large.c -g
small_stack()
{
    begins sh -c 'ulimit -s 64; exec ./guest sleeping' && attaches large.so 42
}
result "a program whose limit of the stack is less than a constructor takes" small_stack
end

"$CC" -O1 -g -w -Wl,-z,now -o coroutine "$SRC/tests/fixtures/attached_coroutine.c" || { echo "Bail out! coroutine"; exit 1; }
begin ./coroutine
says 2
run "$redefine" attach "$pid" --patch answer.so
refused "a coroutine, whose stack may end anywhere" 125 "thread $pid is on a stack that is not its own"
result "... goes on, with what lies below its stack as it was" says 2
end

# ---- Memory allocation ----

"$CC" -O2 -g -fno-builtin -w -o own-malloc "$SRC/tests/fixtures/attached_own_malloc.c" || { echo "Bail out! own-malloc"; exit 1; }
own_malloc()
{
    for own_round in 1 2 3 4 5; do
        on_and_off ./own-malloc || { echo "round $own_round"; return 1; }
        end
    done
}
result "a program that allocates memory by itself is not borrowed in the middle of that" own_malloc
end

# ---- Threads ----

begin ./guest filtered
if says 2; then
    run "$redefine" attach "$pid" --patch answer.so
    refused "a thread with a filter of its own is not borrowed" 125 "thread [0-9]* is under a seccomp filter of its own"
    result "... goes on" says 2
else
    skip "a thread with a filter of its own is not borrowed" "no filter can be made here"
    skip "... goes on" "no filter can be made here"
fi
child=$(pgrep -P "$pid")
[ -z "$child" ] || kill -KILL "$child"
end
begin ./guest leaderless
says 2
for verb in attach status restore; do
    run "$redefine" $verb "$pid" $([ $verb != attach ] || echo --patch answer.so)
    refused "$verb: a process whose main thread has ended" 125 "the main thread of process $pid \(guest\) has ended while others run on"
done
result "... goes on" says 2
end

if echo 'int main(void) { return 0; }' | "$CC" -fsanitize=thread -o tried -xc - 2>why && ./tried 2>why &&
    "$CC" -O1 -g -pthread -fsanitize=thread -w -o guest-tsan "$SRC/tests/fixtures/attached.c" 2>why; then
    begin ./guest-tsan sleeping
    says 2
    run "$redefine" attach "$pid" --patch answer.so
    refused "a program with ThreadSanitizer" 125 "built with ThreadSanitizer.*nothing was changed"
    result "... goes on" says 2
    end
else
    skip "a program with ThreadSanitizer" "$CC -fsanitize=thread does not work here"
    skip "... goes on" "$CC -fsanitize=thread does not work here"
fi
if "$CC" -O1 -g -pthread -fsanitize=address -w -o guest-asan "$SRC/tests/fixtures/attached.c" 2>why; then
    result "a program with AddressSanitizer" on_and_off ./guest-asan threads
    end
else
    skip "a program with AddressSanitizer" "$CC -fsanitize=address does not work here"
fi

# ---- Files that are gone ----

# gone HOW…: it begins in this way, and then its file lies there no more, or another one does.
gone()
{
    begins "$@" || return 1
    rm -f gone-guest libraries/libc.so.6
    [ -z "${other:-}" ] || cp "$other" gone-guest
    attaches answer.so 42 && restores
}
cp guest gone-guest
result "a program whose file was deleted" gone ./gone-guest sleeping
end
cp guest gone-guest
other=$(command -v ls)
result "a program whose file is another one now" gone ./gone-guest threads
other=
end
if [ "$(id -u)" = 0 ]; then
    mkdir -p libraries
    cp -L "$(ldd guest | sed -n 's/.*libc.so.6 => \([^ ]*\) .*/\1/p')" libraries/libc.so.6
    result "a C library that was deleted, as by an upgrade" gone env LD_LIBRARY_PATH="$PWD/libraries" ./guest handler
    end
else
    skip "a C library that was deleted, as by an upgrade" "only root can read it then"
fi

# ---- What the errand itself calls is redefined ----

cat >sleeps.c <<'C'
#include <redefine/patch.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
static int no_sleep(useconds_t us) { (void)us; return 0; }
static int no_unmapping(void *at, size_t len) { (void)at; (void)len; return 0; }
REDEFINE_PATCH("usleep", no_sleep);
REDEFINE_PATCH("munmap", no_unmapping);
C
patch sleeps.so sleeps.c
no_sleep()
{
    begins ./guest sleeping || return 1
    run "$redefine" attach "$pid" --patch sleeps.so
    is_as_expected 0 '' || return 1
    for _ in 1 2 3 4 5; do
        attaches answer.so 42 || return 1
        before=$(grep -c . "/proc/$pid/maps")
        run "$redefine" restore "$pid" answer.so
        is_as_expected 0 '' || return 1
    done
    sleep 0.2
    [ "$(grep -c . "/proc/$pid/maps")" -le "$before" ] || { cat "/proc/$pid/maps"; return 1; }
    run "$redefine" restore "$pid"
    is_as_expected 0 ''
}
result "usleep does not sleep and munmap does not unmap, and yet" no_sleep
end

# ---- Names ----

odd=$(printf 'odd \377 name\033[31m\nof two lines.so')
cp answer.so "$odd"
begin ./guest sleeping
says 2
run "$redefine" attach "$pid" --patch "./$odd"
expect "a patch of an odd name" 0 ''
run "$redefine" status --json "$pid"
result "... is in the JSON, which is one" python3 -c '
import json
(patch,) = json.load(open("out"))["patches"]
assert "two lines" in patch["file"] and patch["functions"][0]["name"] == "answer"'
run "$redefine" status "$pid"
result "... and says nothing to a terminal" sh -c '! grep -q "$(printf "\033")" out && [ "$(wc -l <out)" = 2 ]'
run "$redefine" restore "$pid" "./$odd"
expect "... comes off" 0 ''
result "... is off" says 2

cp answer.so gone.so
run "$redefine" attach "$pid" --patch gone.so
rm gone.so
mkdir -p below
run "$redefine" restore "$pid" ./below/.././gone.so
expect "a patch whose file is gone comes off by a name that is not the shortest" 0 ''
result "... it is off" says 2

# Two names of one file are one object of the loader.
cp answer.so first.so
ln first.so second.so
run "$redefine" attach "$pid" --patch first.so
run "$redefine" attach "$pid" --patch second.so
result "another name of the same file: it is in force already" \
    sh -c '[ "$1" = 0 ] && grep -q "first.so is in force already" err || { cat err; false; }' - "$status"
run "$redefine" restore "$pid" first.so
run "$redefine" status "$pid"
expect "... and status tells the truth when it is off" 0 "nothing is redefined by redefine in process $pid (guest)"
result "... it is off" says 2
end

# ---- All or nothing ----

patch_that_hangs hangs.so
begin ./guest sleeping
says 2
run "$redefine" attach "$pid" --patch ten.so --patch hangs.so
refused "the second patch's constructor hangs" 125 "loading $PWD/hangs.so for 10 s.*runs on; nothing was changed, nor will be"
result "... the first is not in force either" says 2
run "$redefine" attach "$pid" --patch answer.so
refused "... and others are told of the lock that it holds" 125 \
    "loading the agent for 10 s: another thread holds the loader's lock.*nothing was changed, nor will be"
touch come-back
sleep 1
result "... nor when the constructor comes back" says 2
end

# ---- What does not come to an end, at other stages ----

# Two functions that the errand itself calls, each in its way, come back when there is ./go-on.
cat >late.c <<'C'
#include <redefine/patch.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
static void wait(void)
{
    while (access("go-on", F_OK) != 0)
        usleep(10000);
}
#ifdef DETACH
static int late(pthread_t thread) { wait(); return REDEFINE_ORIGINAL(late)(thread); }
REDEFINE_PATCH("pthread_detach", late);
#else
static int late(const char *path, struct stat *ret) { wait(); return REDEFINE_ORIGINAL(late)(path, ret); }
REDEFINE_PATCH("stat", late);
#endif
C
patch late-detach.so late.c -DDETACH
patch late-stat.so late.c
begin ./guest sleeping
says 2
run "$redefine" attach "$pid" --patch late-detach.so
run "$redefine" attach "$pid" --patch answer.so
refused "a thread that was made and does not come to its work" 125 \
    "beginning for 10 s: the thread that was made for it .*nothing was changed, nor will be"
result "... no constructor and no lock is blamed for it" sh -c '! grep -E "constructor|lock" err'
touch go-on
sleep 1
result "... and when it comes to it, nothing is redefined" says 2
rm go-on
end
begin ./guest sleeping
says 2
run "$redefine" attach "$pid" --patch late-stat.so
timeout 2 "$redefine" attach "$pid" --patch answer.so
run "$redefine" attach "$pid" --patch ten.so
refused "an errand behind one that does not come to an end" 125 \
    "waiting for another redefine for 10 s.*nothing was changed, nor will be"
result "... no constructor and no lock is blamed for it" sh -c '! grep -E "constructor|lock" err'
end

# ---- The network ----

cat >listen.py <<'PY'
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
listener.accept()
open("asked", "w").close()
PY
: >port
python3 listen.py >port &
listener=$!
for _ in $(seq 50); do [ -s port ] && break; sleep 0.1; done
"$CC" -O1 -pthread -fno-asynchronous-unwind-tables -fno-unwind-tables -Wl,--build-id -o guest-bare "$SRC/tests/fixtures/attached.c"
begin ./guest-bare sleeping
says 2
run env DEBUGINFOD_URLS="http://127.0.0.1:$(cat port)/" DEBUGINFOD_TIMEOUT=2 "$redefine" attach "$pid" --force --patch answer.so
expect "a server of debug data" 0 ''
result "... is not asked while a thread stands still" test ! -e asked
kill "$listener" 2>/dev/null
wait "$listener" 2>/dev/null
end

# ---- Frames that nobody can follow ----

# What the handler has interrupted may be anything, however much of the stack lies between.
begin ./guest-bare "stays in handler"
says 2
run "$redefine" attach "$pid" --force --patch answer.so
refused "a thread deep in a signal handler, without unwind tables" 125 "thread $pid may be in a signal handler"
result "... goes on" says 2
end
finish
