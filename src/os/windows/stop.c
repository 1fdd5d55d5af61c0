/* SPDX-License-Identifier: MIT
 *
 * Every other thread of this process, suspended in the steps of os/suspend.h. Reading where a thread stands
 * is what makes sure that it does: NtSuspendThread merely asks.
 */
#include "os/windows/room.h"

#include "os/suspend.h"

static const ACCESS_MASK wanted_access = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_SET_CONTEXT |
                                         THREAD_QUERY_INFORMATION;

/* Thread information class 0. */
struct basic_information {
    NTSTATUS exit_status;
    void *teb;
    CLIENT_ID id;
    ULONG_PTR affinity;
    LONG priority, base_priority;
};

/* False: it has ended; who has a handle of it can still see it. */
static bool ask(HANDLE thread, struct basic_information *ret)
{
    static const NTSTATUS running = 0x103; /* STATUS_PENDING stands for the exit status meanwhile */
    ULONG used;
    NTSTATUS status = NtQueryInformationThread(thread, 0, ret, sizeof *ret, &used);
    return NT_SUCCESS(status) && ret->exit_status == running;
}

/* 0: it has ended. */
static int tid_of(HANDLE thread)
{
    struct basic_information about;
    return ask(thread, &about) ? (int)(uintptr_t)about.id.UniqueThread : 0;
}

static bool is_known(const struct rdf_suspended *suspended, int tid)
{
    for (size_t i = 0; i < suspended->count; i++)
        if (suspended->thread[i].tid == tid)
            return true;
    return false;
}

/* 1: a thread was suspended that was not known, and its handle is kept. */
static int take(struct rdf_suspended *suspended, HANDLE thread, struct rdf_stop_report *report)
{
    int tid = tid_of(thread);
    ULONG count;
    if (!tid || (uint32_t)tid == rdf_os_thread_id() || is_known(suspended, tid))
        return 0;
    if (suspended->count == RDF_SUSPENDED_MAX)
        return rdf_suspend_fail(report, tid, "the list of threads", -ENOSPC);
    NTSTATUS status = NtSuspendThread(thread, &count);
    if (NT_SUCCESS(status)) {
        suspended->handle[suspended->count] = (uintptr_t)thread;
        suspended->thread[suspended->count++] = (struct rdf_thread){.tid = tid};
        return 1;
    }
    /* Ended meanwhile, or about to: it runs no code of this process any more. */
    int err = rdf_errno_of(status);
    return err == -ESRCH || !tid_of(thread) ? 0 : rdf_suspend_fail(report, tid, "suspend", err);
}

/* The handle that the walk stands at must stay open until the next one is there. */
static int one_round(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    HANDLE at = NULL, next;
    bool is_kept = true;
    int news = 0, took = 0;
    while (took >= 0 && NT_SUCCESS(NtGetNextThread(RDF_THIS_PROCESS, at, wanted_access, 0, 0, &next))) {
        if (!is_kept)
            (void)NtClose(at);
        at = next;
        took = take(suspended, at, report);
        is_kept = took > 0;
        news |= is_kept;
    }
    if (!is_kept)
        (void)NtClose(at);
    return took < 0 ? took : news;
}

/* It runs nothing, now that everyone is suspended: it has ended, or is still being made. In wine a thread is
 * known to the process before it exists; whoever makes it may be suspended in between, and asking for its
 * registers would wait for it. What it has not got yet is its environment block. */
static bool stands_nowhere(HANDLE thread)
{
    struct basic_information about;
    return !ask(thread, &about) || !about.teb;
}

static int read_places(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    for (size_t i = 0; i < suspended->count; i++) {
        HANDLE thread = (HANDLE)(uintptr_t)suspended->handle[i];
        CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
        if (stands_nowhere(thread))
            continue;
        NTSTATUS status = NtGetContextThread(thread, &context);
        /* One that had been about to end when it was suspended may do so now. */
        if (!NT_SUCCESS(status) && !stands_nowhere(thread))
            return rdf_suspend_fail(report, suspended->thread[i].tid, "get context", rdf_errno_of(status));
        if (NT_SUCCESS(status)) {
            suspended->thread[i].pc = context.Rip;
            suspended->thread[i].sp = context.Rsp;
        }
    }
    return 0;
}

static int set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    const struct rdf_suspended *suspended = world->os;
    CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
    NTSTATUS status = NtGetContextThread((HANDLE)(uintptr_t)suspended->handle[index], &context);
    context.Rip = pc;
    if (NT_SUCCESS(status))
        status = NtSetContextThread((HANDLE)(uintptr_t)suspended->handle[index], &context);
    return rdf_errno_of(status);
}

static void resume(uint64_t handle)
{
    ULONG count;
    (void)NtResumeThread((HANDLE)(uintptr_t)handle, &count);
    (void)NtClose((HANDLE)(uintptr_t)handle);
}

static uint64_t now_ns(void)
{
    LARGE_INTEGER ticks, per_second;
    (void)NtQueryPerformanceCounter(&ticks, &per_second);
    uint64_t whole = (uint64_t)(ticks.QuadPart / per_second.QuadPart);
    uint64_t part = (uint64_t)(ticks.QuadPart % per_second.QuadPart);
    return whole * 1000000000 + part * 1000000000 / (uint64_t)per_second.QuadPart;
}

bool rdf_local_has_other_threads(struct rdf_space *space)
{
    (void)space;
    HANDLE at = NULL, next;
    bool found = false;
    while (!found &&
           NT_SUCCESS(NtGetNextThread(RDF_THIS_PROCESS, at, THREAD_QUERY_INFORMATION, 0, 0, &next))) {
        if (at)
            (void)NtClose(at);
        at = next;
        found = (uint32_t)tid_of(at) != rdf_os_thread_id();
    }
    if (at)
        (void)NtClose(at);
    return found;
}

static void nap(void)
{
    enum { TIME_100NS = 10 * 1000 };
    rdf_nap(TIME_100NS);
}

int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report)
{
    static const struct rdf_suspend_ops ops = {one_round, read_places, set_pc, resume, now_ns, nap};
    (void)space;
    return rdf_suspend_world(&ops, deadline_ms, body, ctx, ret_body, ret_report);
}

const char *rdf_stop_name(void)
{
    return "SuspendThread";
}
