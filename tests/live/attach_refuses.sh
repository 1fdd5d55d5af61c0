#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine attach: what it refuses, with which sentence; the process goes on and nothing of it has changed.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/attach.sh"
clock_patches
guest_and_answer attached

# refuses NAME REGEX ARGUMENT…: of attach; what runs in the background says 2 afterwards, as before.
refuses()
{
    refuses_name=$1
    regex=$2
    shift 2
    run "$redefine" attach "$@"
    refused "$refuses_name" 125 "$regex"
}

# ---- Usage ----

refuses "no process" "attach needs the number of a process"
refuses "no patch" "nothing would be redefined" 1
refuses "no number" "not 'guest'" guest --patch answer.so
refuses "no number, but for some of it" "not '12x'" 12x --patch answer.so
refuses "a number of none" "not '0'" 0 --patch answer.so
refuses "a negative number" "no option -1" -1 --patch answer.so
refuses "two processes" "takes no '2'" 1 2 --patch answer.so
refuses "an unknown option" "attach has no option --petch" 1 --petch answer.so
refuses "an unknown short option, behind the process" "attach has no option -x" 1 -xy --patch answer.so
refuses "--patch without a value" "needs a value" 1 --patch
for verb in status restore; do
    run "$redefine" $verb
    refused "$verb: no process" 125 "$verb needs the number of a process"
    run "$redefine" $verb 99999999
    refused "$verb: no such process" 125 "there is no process 99999999"
done
run "$redefine" status 1 2
refused "status: two processes" 125 "takes no '2'"

# ---- Processes ----

sh -c :  &
gone=$!
wait "$gone"
refuses "a process that is gone" "there is no process $gone" "$gone" --patch five_pm.so
sh -c 'sleep 0.1 & exec sleep 20' &
parent=$!
sleep 1
zombie=$(ps -o pid= --ppid "$parent" 2>/dev/null || pgrep -P "$parent")
zombie=$(echo $zombie)
refuses "a process that has ended" "process $zombie \(sleep\) has ended" "$zombie" --patch five_pm.so
kill "$parent"
wait "$parent" 2>/dev/null
if [ -e /proc/2/comm ] && [ "$(cat /proc/2/comm)" = kthreadd ]; then
    refuses "a thread of the kernel" "thread of the kernel" 2 --patch five_pm.so
else
    skip "a thread of the kernel" "none is visible here"
fi
begin ./guest threads
says 2
for task in "/proc/$pid/task"/*; do thread=${task##*/}; done
refuses "a thread" "$thread is a thread of process $pid \(guest\)" "$thread" --patch five_pm.so
run "$redefine" status "$thread"
refused "status: a thread" 125 "$thread is a thread of process $pid"
end
# shellcheck disable=SC2016
run sh -c 'exec "$1" attach $$ --patch five_pm.so' - "$redefine"
refused "itself" 125 "this command itself"

# ---- Programs ----

if command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; then
    begin busybox sleep 20
    await_state S
    refuses "busybox, static" "static program.*nothing was changed" "$pid" --patch five_pm.so
    end
else
    skip "busybox, static" "there is none"
fi
if command -v musl-gcc >/dev/null && musl-gcc -O1 -pthread -o guest-musl "$SRC/tests/fixtures/attached.c" 2>why; then
    begin ./guest-musl sleeping
    says 2
    refuses "a musl program" "musl program.*nothing was changed" "$pid" --patch answer.so
    result "... goes on" says 2
    end
else
    skip "a musl program" "musl-gcc is not installed"
fi
if command -v go >/dev/null; then
    mkdir -p pure
    printf 'package main\nimport ("fmt"; "time")\nfunc main() { for { fmt.Println(2); time.Sleep(100 * time.Millisecond) } }\n' >pure/main.go
    if HOME=$PWD GOFLAGS=-mod=mod GO111MODULE=off CGO_ENABLED=0 GOCACHE=$PWD/gocache go build -o pure-go ./pure/main.go 2>why; then
        begin ./pure-go
        says 2
        refuses "a Go program without cgo" "static program.*nothing was changed" "$pid" --patch five_pm.so
        result "... goes on" says 2
        end
    else
        skip "a Go program without cgo" "it cannot be built here"
    fi
else
    skip "a Go program without cgo" "Go is not installed"
fi
if echo 'int main(void) { for (;;) __asm__("pause"); }' | "$CC" -m32 -nostdlib -static -e main -o thirtytwo -xc - 2>why; then
    begin ./thirtytwo
    await_state R
    refuses "a 32-bit program" "another CPU or word size" "$pid" --patch five_pm.so
    end
else
    skip "a 32-bit program" "$CC -m32 does not link"
fi

# ---- Others who hold it ----

if command -v strace >/dev/null; then
    begin ./guest sleeping
    says 2
    strace -o /dev/null -p "$pid" 2>/dev/null &
    tracer=$!
    await is_traced
    refuses "under strace" "traced by process $tracer \(strace\)" "$pid" --patch answer.so
    run "$redefine" status "$pid"
    expect "... its status can be read" 0 "nothing is redefined by redefine in process $pid (guest)"
    kill "$tracer"
    wait "$tracer" 2>/dev/null
    run "$redefine" attach "$pid" --patch answer.so
    expect "... and without it it is redefined" 0 ''
    end
else
    skip "under strace" "it is not installed"
fi
if command -v gdb >/dev/null; then
    begin ./guest sleeping
    says 2
    (sleep 20) | gdb -q -nx -p "$pid" >/dev/null 2>&1 &
    await is_traced
    tracer=$(sed -n 's/^TracerPid:.//p' "/proc/$pid/status")
    refuses "under gdb" "traced by process $tracer \(gdb\)" "$pid" --patch answer.so
    kill "$tracer"
    end
else
    skip "under gdb" "it is not installed"
fi

# as_nobody COMMAND…: as a user that owns nothing here.
as_nobody()
{
    python3 -c 'import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
}
if [ "$(id -u)" = 0 ] && command -v python3 >/dev/null && as_nobody test -x "$redefine" 2>why; then
    begin ./guest sleeping
    says 2
    cp answer.so /tmp/redefine-attach-$$.so
    chmod 755 /tmp/redefine-attach-$$.so
    run as_nobody "$redefine" attach "$pid" --patch /tmp/redefine-attach-$$.so
    refused "another user's process" 125 "belongs to another user \(root\)"
    run as_nobody "$redefine" status "$pid"
    refused "status of another user's process" 125 "belongs to another user \(root\)"
    end
    rm -f /tmp/redefine-attach-$$.so
else
    skip "another user's process" "this is not run by root, or nobody may not run the command"
    skip "status of another user's process" "this is not run by root, or nobody may not run the command"
fi

# ---- A filter of system calls ----

cat >filtered.c <<'C'
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 38),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog all = {sizeof code / sizeof code[0], code};
    (void)argc;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) != 0)
        return 111;
    execv(argv[1], argv + 1);
    return 1;
}
C
"$CC" -o filtered filtered.c
begin ./filtered ./guest sleeping
if says 2; then
    refuses "a filter of system calls" "seccomp filter of its own.*not attached \(--force" "$pid" --patch answer.so
    refuses "--force: what the filter refuses is said" "brought to make a thread: Operation not permitted" \
        "$pid" --force --patch answer.so
    result "... the program goes on" says 2
    result "... as it was" as_it_was
    "$redefine" attach "$pid" --force --patch answer.so 2>/dev/null
    result "... and again" says 2
else
    for name in "a filter of system calls" "--force: what the filter refuses is said" "... the program goes on" \
        "... as it was" "... and again"; do
        skip "$name" "no filter can be made here"
    done
fi
end

# ---- Another root ----

if [ "$(id -u)" = 0 ] && command -v chroot >/dev/null; then
    mkdir -p root/lib64 root/lib
    cp guest root/
    ldd guest | sed -n 's/.* \(\/[^ ]*\) (.*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r file; do
        mkdir -p "root${file%/*}"
        cp -L "$file" "root$file"
    done
    begin chroot root /guest sleeping
    if says 2; then
        refuses "another root, without the agent" "another root or other mounts, and at .*libredefine-agent.so" \
            "$pid" --patch answer.so
        # bind FILE…: the same file, under the same name.
        bound=
        bind()
        {
            for bind_file; do
                mkdir -p "root${bind_file%/*}"
                if [ -d "$bind_file" ]; then mkdir -p "root$bind_file"; else touch "root$bind_file"; fi
                mount --bind "$bind_file" "root$bind_file" || return 1
                bound="root$bind_file $bound"
            done
        }
        libraries=$(ldd "$BUILD/libredefine-agent.so" | sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p' | grep -v libc.so)
        # shellcheck disable=SC2086
        if bind "$BUILD/libredefine-agent.so" /proc $libraries 2>why; then
            refuses "another root, with the agent and without the patch" "at $PWD/answer.so there" "$pid" \
                --patch answer.so
            bind "$PWD/answer.so"
            run "$redefine" attach "$pid" --patch answer.so
            expect "another root, with everything in it" 0 ''
            result "... is redefined" says 42
        else
            for name in "another root, with the agent and without the patch" \
                "another root, with everything in it" "... is redefined"; do
                skip "$name" "nothing can be mounted here"
            done
        fi
        end
        for mount in $bound; do umount "$mount"; done
    else
        skip "another root" "the program does not run in it"
    fi
    end
else
    skip "another root" "only root can have one"
fi

# ---- Threads that cannot be borrowed ----

begin ./guest vfork
sleep 1
refuses "a program that waits in vfork" \
    "no thread that can be borrowed.*thread $pid is in a sleep that nothing interrupts.*vfork" "$pid" --patch answer.so
child=$(pgrep -P "$pid")
kill -KILL "$child"
result "... goes on when its child has ended" says 2
run "$redefine" attach "$pid" --patch answer.so
expect "... and then can be attached to" 0 ''
end

# ---- Patches ----

begin ./guest sleeping
says 2
refuses "a patch that is not there" "nothing.so: No such file" "$pid" --patch nothing.so
echo hello >text.so
refuses "a text file" "not a shared object for" "$pid" --patch text.so
head -c 9000 answer.so >cut.so
refuses "a patch that is cut off" "cut.so (is cut off|is not a shared object)" "$pid" --patch cut.so
printf 'int nothing(void) { return 0; }\n' >empty.c
patch empty.so empty.c
refuses "a shared object that asks for nothing" "no REDEFINE_PATCH.*nothing was changed" "$pid" --patch empty.so
printf '#include <redefine/patch.h>\nextern int is_nowhere(int);\nstatic int mine(int x) { return is_nowhere(x); }\nREDEFINE_PATCH("answer", mine);\n' >unbound.c
patch unbound.so unbound.c
refuses "a patch that needs what is not there" "does not load.*is_nowhere.*nothing was changed" "$pid" --patch unbound.so
printf '#include <redefine/patch.h>\nstatic long mine(double x) { return (long)x; }\nREDEFINE_PATCH("answer", mine);\n' >types.c
patch types.so types.c -g
run "$redefine" attach "$pid" --patch types.so
result "another signature is refused, as by run" \
    sh -c '[ "$1" = 125 ] && grep -q "types.so redefines answer with another signature.*; not attached (--force attaches it all the same)" err ||
           { cat err; false; }' - "$status"
run "$redefine" run --patch types.so -- ./guest sleeping
sed 's/not started (--force starts/not attached (--force attaches/' err >run-says
run "$redefine" attach "$pid" --patch types.so
result "... in the same words" cmp err run-says
result "... nothing is loaded" sh -c '! grep -q types.so "/proc/$1/maps"' - "$pid"
run "$redefine" attach "$pid" --force --patch types.so
expect "--force attaches it all the same" 0 ''
run "$redefine" restore "$pid"
result "all that was refused left the program as it was" says 2

# ---- A constructor that does not come back ----

patch_that_hangs hangs.so
run "$redefine" attach "$pid" --patch hangs.so
refused "a constructor that hangs" 125 "loading $PWD/hangs.so for 10 s.*runs on; nothing was changed, nor will be"
result "... the program goes on" says 2
run "$redefine" status "$pid"
expect "... nothing is redefined" 0 "nothing is redefined by redefine in process $pid (guest)"
touch come-back
sleep 1
result "... nor when the constructor comes back" says 2
rm come-back
run "$redefine" attach "$pid" --patch answer.so
expect "... and then others can attach" 0 ''
result "... and are in force" says 42
end

# ---- A patch that ends the program ----

printf '#include <redefine/patch.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { _Exit(3); }\nstatic int mine(int x) { return x; }\nREDEFINE_PATCH("answer", mine);\n' >ends.c
patch ends.so ends.c -g
begin ./guest sleeping
says 2
refuses "a constructor that ends the program" "has ended, or become another program, before it was done" "$pid" --patch ends.so
end
finish
