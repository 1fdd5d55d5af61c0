#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine attach, killed at each of its steps that touch the process: before and behind every call of ptrace and every
# write to its memory. The program goes on as if nothing had been, and the next one can attach.
set -u
. "$SRC/tests/support/tap.sh"
. "$SRC/tests/support/attach.sh"
guest_and_answer attached

# Kills its process at the KILL_AT'th of these calls: an odd number before it, an even one behind it.
cat >kills.c <<'C'
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
static void step(void)
{
    static int count;
    const char *at = getenv("KILL_AT");
    if (at && ++count == atoi(at))
        kill(getpid(), SIGKILL);
}
long ptrace(int request, int pid, void *addr, void *data)
{
    long (*next)(int, int, void *, void *) = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
    step();
    long got = next(request, pid, addr, data);
    step();
    return got;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    ssize_t (*next)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    step();
    ssize_t got = next(fd, bytes, len, at);
    step();
    return got;
}
ssize_t process_vm_writev(pid_t pid, const struct iovec *from, unsigned long n, const struct iovec *to, unsigned long m,
                          unsigned long flags)
{
    ssize_t (*next)(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long, unsigned long) =
        (ssize_t(*)(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long, unsigned long))
            dlsym(RTLD_NEXT, "process_vm_writev");
    step();
    ssize_t got = next(pid, from, n, to, m, flags);
    step();
    return got;
}
C
"$CC" -shared -fPIC -w -o kills.so kills.c

# at_each KIND…: of a program of that kind, that says 2 or 42 and nothing else ever.
at_each()
{
    begins ./guest "$@" || return 1
    at=1
    while :; do
        env KILL_AT=$at LD_PRELOAD="$PWD/kills.so" "$redefine" attach "$pid" --patch answer.so >out 2>err
        status=$?
        goes_on || { tell "killed at $at: the program has ended: $(tail -n 2 told)"; return 1; }
        [ "$status" = 137 ] || break
        ! is_traced || { tell "killed at $at: it is still traced"; return 1; }
        # It prints thirty times a second.
        before=$(wc -l <told)
        for _ in $(seq 200); do [ "$(wc -l <told)" -gt "$((before + 1))" ] && break; sleep 0.02; done
        [ "$(wc -l <told)" -gt "$((before + 1))" ] ||
            { tell "killed at $at: it says nothing any more: $(cat "/proc/$pid/wchan") $(cat "/proc/$pid/syscall")"; return 1; }
        at=$((at + ${STEP:-1}))
    done
    [ "$at" -gt 40 ] && [ "$status" = 0 ] || { tell "there were $at steps"; return 1; }
    says 42 || { tell "it is not redefined in the end"; return 1; }
    restores || return 1
    ! grep -vxE "2|42" told || { tell "it has said something else"; return 1; }
    ! grep -q rwx "/proc/$pid/maps" || { tell "a page is writable and executable"; return 1; }
}
# A sleep that the kernel keeps the rest of ends with EINTR where nobody continues it, as after a signal handler: these
# two are told to go on then.
for kind in futex "sleeping patient" busy state suspended "threads patient"; do
    # The steps are the same for all of them: of the later ones not each is taken.
    case $kind in futex | sleeping*) STEP=1 ;; *) STEP=5 ;; esac
    # Not quoted: these are words.
    # shellcheck disable=SC2086
    result "killed at each step: $kind" at_each $kind
    end
done
finish
