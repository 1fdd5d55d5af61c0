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

/* 0: it has ended; who has a handle of it can still see it. */
static int tid_of(HANDLE thread)
{
    static const NTSTATUS running = 0x103; /* STATUS_PENDING stands for the exit status meanwhile */
    struct basic_information about;
    ULONG used;
    NTSTATUS status = NtQueryInformationThread(thread, 0, &about, sizeof about, &used);
    return NT_SUCCESS(status) && about.exit_status == running ? (int)(uintptr_t)about.id.UniqueThread : 0;
}

static bool is_known(const struct rdf_suspended *suspended, int tid)
{
    for (size_t i = 0; i < suspended->count; i++)
        if (suspended->thread[i].tid == tid)
            return true;
    return false;
}

/* Takes the handle: keeps or closes it. 1: a thread was suspended that was not known. */
static int take(struct rdf_suspended *suspended, HANDLE thread, struct rdf_stop_report *report)
{
    int tid = tid_of(thread);
    ULONG count;
    NTSTATUS status = 0;
    bool is_other = tid && (uint32_t)tid != rdf_os_thread_id() && !is_known(suspended, tid);
    if (is_other && suspended->count == RDF_SUSPENDED_MAX) {
        (void)NtClose(thread);
        return rdf_suspend_fail(report, tid, "the list of threads", -ENOSPC);
    }
    if (is_other)
        status = NtSuspendThread(thread, &count);
    if (is_other && NT_SUCCESS(status)) {
        suspended->handle[suspended->count] = (uintptr_t)thread;
        suspended->thread[suspended->count++] = (struct rdf_thread){.tid = tid};
        return 1;
    }
    bool has_ended = tid_of(thread) ==
                     0; /* meanwhile, or is about to: it runs no code of this process any more */
    (void)NtClose(thread);
    int err = rdf_errno_of(status);
    return err == 0 || err == -ESRCH || has_ended ? 0 : rdf_suspend_fail(report, tid, "suspend", err);
}

/* The handle that the walk stands at must stay open until the next one is there. */
static int one_round(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    HANDLE at = NULL, next;
    int news = 0, took = 0;
    while (took >= 0 && NT_SUCCESS(NtGetNextThread(RDF_THIS_PROCESS, at, wanted_access, 0, 0, &next))) {
        HANDLE kept;
        if (at)
            (void)NtClose(at);
        at = next;
        if (!NT_SUCCESS(NtDuplicateObject(RDF_THIS_PROCESS, at, RDF_THIS_PROCESS, &kept, 0, 0,
                                          DUPLICATE_SAME_ACCESS))) {
            took = rdf_suspend_fail(report, tid_of(at), "duplicate handle", -EMFILE);
            break;
        }
        took = take(suspended, kept, report);
        news |= took > 0;
    }
    if (at)
        (void)NtClose(at);
    return took < 0 ? took : news;
}

static int read_places(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    for (size_t i = 0; i < suspended->count; i++) {
        CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
        NTSTATUS status = NtGetContextThread((HANDLE)(uintptr_t)suspended->handle[i], &context);
        if (!NT_SUCCESS(status))
            return rdf_suspend_fail(report, suspended->thread[i].tid, "get context", rdf_errno_of(status));
        suspended->thread[i].pc = context.Rip;
        suspended->thread[i].sp = context.Rsp;
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
