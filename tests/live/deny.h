/* SPDX-License-Identifier: MIT
 *
 * System calls refused to this process, and files of /proc hidden from it.
 */
#ifndef TESTS_LIVE_DENY_H
#define TESTS_LIVE_DENY_H

#include "live.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

/* For `err`: who makes the call is ended. */
enum { LIVE_KILLS = -1 };

/* Where (argument & mask) == value, the call fails with `err` instead. A mask of 0: always. */
struct live_rule {
    int nr;
    int err;
    unsigned arg;
    uint32_t mask;
    uint32_t value;
};

#define DENY(name, err)          \
    {                            \
        SYS_##name, err, 0, 0, 0 \
    }
#define DENY_WRITABLE(err)                           \
    {                                                \
        SYS_mprotect, err, 2, PROT_WRITE, PROT_WRITE \
    }
#define DENY_POKE(err)                                  \
    {                                                   \
        SYS_ptrace, err, 0, UINT32_MAX, PTRACE_POKETEXT \
    }

/* For this thread and what it makes from now on: threads that are there already go on undisturbed, so that
 * what is tested is the engine, which runs here and in the helper that it makes. */
__attribute__((unused)) static void live_deny(const struct live_rule *rule, size_t count)
{
    static struct sock_filter code[256];
    unsigned short at = 0;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < count; i++) {
        uint32_t arg_off = (uint32_t)(offsetof(struct seccomp_data, args) + rule[i].arg * sizeof(uint64_t));
        uint32_t action = rule[i].err == LIVE_KILLS ? SECCOMP_RET_KILL_PROCESS
                                                    : SECCOMP_RET_ERRNO | (uint32_t)rule[i].err;
        const struct sock_filter one[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rule[i].nr, 0, 4),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_off), /* the low half: little endian */
            BPF_STMT(BPF_ALU | BPF_AND | BPF_K, rule[i].mask),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule[i].value, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, action),
        };
        CHECK((size_t)at + LIVE_COUNT(one) < LIVE_COUNT(code));
        memcpy(code + at, one, sizeof one);
        at = (unsigned short)(at + LIVE_COUNT(one));
    }
    code[at++] = allow;
    struct sock_fprog program = {at, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
        live_skip("seccomp: %s", strerror(errno));
}

/* Another file in the place of one below /proc, for this process only. Before threads are made. */
__attribute__((unused)) static void live_mask(const char *what, const char *with)
{
    static bool own_mounts;
    if (!own_mounts && (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)))
        live_skip("no mount namespace of our own: %s", strerror(errno));
    own_mounts = true;
    if (mount(with, what, NULL, MS_BIND, NULL))
        live_skip("mount over %s: %s", what, strerror(errno));
}

/* What the engine opens: /proc/self/mem, and as a tracer /proc/PID/task/TID/mem. */
__attribute__((unused)) static void live_mask_self_mem(const char *with)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getpid());
    live_mask(path, with);
}

__attribute__((unused)) static void live_mask_tracer_mem(const char *with)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/mem", (int)getpid(), (int)gettid());
    live_mask(path, with);
}

/* Opens for writing (as root), and then fails with EIO: as where the kernel wants a tracer for it. */
#define LIVE_REFUSES_WRITES "/proc/version"
/* Says yes and does nothing. */
#define LIVE_LIES "/dev/null"

/* ---- other threads ---- */

/* A spinning one that makes no system call, one that sleeps, one that is woken all the time. */
__attribute__((unused)) static void *live_thread(void *kind)
{
    static volatile unsigned spins;
    for (;;) {
        if (kind == (void *)0)
            spins++;
        else if (kind == (void *)1)
            pause();
        else
            usleep(1000);
    }
    return NULL;
}

__attribute__((unused)) static void live_threads(size_t count)
{
    if (count)
        live_needs_stopped_threads();
    for (uintptr_t i = 0; i < count; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, live_thread, (void *)(i % 3)));
    }
    if (count)
        usleep(1000);
}

#endif
