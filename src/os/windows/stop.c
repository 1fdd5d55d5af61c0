/* SPDX-License-Identifier: MIT
 *
 * Every other thread of this process, suspended.
 *
 *   1. Go through the threads and suspend each that was not met before; again, until a whole round meets no
 *      new one: a thread that runs can make others, one that stands cannot.
 *   2. Read where each stands. Only that makes sure that it does: NtSuspendThread merely asks.
 *   3. body. It may change where a thread stands.
 *   4. Everyone goes on, in the reverse order.
 *
 * From 1 to 4 nothing is called but the system itself: a thread may have been suspended with any lock, the
 * heap's and the loader's too.
 */
#include "os/windows/room.h"

#include <errno.h>

enum { THREADS_MAX = 4096, NAP_100NS = 10 * 1000 };

static const ACCESS_MASK wanted_access = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_SET_CONTEXT |
                                         THREAD_QUERY_INFORMATION;

struct stopped {
    HANDLE handle[THREADS_MAX];
    struct rdf_thread thread[THREADS_MAX];
    size_t count;
};

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

static bool is_known(const struct stopped *stopped, int tid)
{
    for (size_t i = 0; i < stopped->count; i++)
        if (stopped->thread[i].tid == tid)
            return true;
    return false;
}

static int fail(struct rdf_stop_report *report, int tid, const char *step, int err)
{
    report->blocking_tid = tid;
    report->step = step;
    report->err = err;
    return err;
}

/* Takes the handle: keeps or closes it. 1: a thread was suspended that was not known. */
static int take(struct stopped *stopped, HANDLE thread, struct rdf_stop_report *report)
{
    int tid = tid_of(thread);
    ULONG count;
    NTSTATUS status = 0;
    bool is_other = tid && (uint32_t)tid != rdf_os_thread_id() && !is_known(stopped, tid);
    if (is_other && stopped->count == THREADS_MAX) {
        (void)NtClose(thread);
        return fail(report, tid, "the list of threads", -ENOSPC);
    }
    if (is_other)
        status = NtSuspendThread(thread, &count);
    if (is_other && NT_SUCCESS(status)) {
        stopped->handle[stopped->count] = thread;
        stopped->thread[stopped->count++] = (struct rdf_thread){.tid = tid};
        return 1;
    }
    bool has_ended = tid_of(thread) ==
                     0; /* meanwhile, or is about to: it runs no code of this process any more */
    (void)NtClose(thread);
    int err = rdf_errno_of(status);
    return err == 0 || err == -ESRCH || has_ended ? 0 : fail(report, tid, "suspend", err);
}

/* The handle that the walk stands at must stay open until the next one is there. */
static int one_round(struct stopped *stopped, struct rdf_stop_report *report)
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
            took = fail(report, tid_of(at), "duplicate handle", -EMFILE);
            break;
        }
        took = take(stopped, kept, report);
        news |= took > 0;
    }
    if (at)
        (void)NtClose(at);
    return took < 0 ? took : news;
}

static int read_places(struct stopped *stopped, struct rdf_stop_report *report)
{
    for (size_t i = 0; i < stopped->count; i++) {
        CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
        NTSTATUS status = NtGetContextThread(stopped->handle[i], &context);
        if (!NT_SUCCESS(status))
            return fail(report, stopped->thread[i].tid, "get context", rdf_errno_of(status));
        stopped->thread[i].pc = context.Rip;
        stopped->thread[i].sp = context.Rsp;
    }
    return 0;
}

static int set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    const struct stopped *stopped = world->os;
    CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
    NTSTATUS status = NtGetContextThread(stopped->handle[index], &context);
    context.Rip = pc;
    if (NT_SUCCESS(status))
        status = NtSetContextThread(stopped->handle[index], &context);
    return rdf_errno_of(status);
}

static void resume(struct stopped *stopped)
{
    while (stopped->count > 0) {
        ULONG count;
        HANDLE thread = stopped->handle[--stopped->count];
        (void)NtResumeThread(thread, &count);
        (void)NtClose(thread);
    }
}

static uint64_t now_ns(void)
{
    LARGE_INTEGER ticks, per_second;
    (void)NtQueryPerformanceCounter(&ticks, &per_second);
    uint64_t whole = (uint64_t)(ticks.QuadPart / per_second.QuadPart);
    uint64_t part = (uint64_t)(ticks.QuadPart % per_second.QuadPart);
    return whole * 1000000000 + part * 1000000000 / (uint64_t)per_second.QuadPart;
}

/* 0, or why the threads could not be stopped. */
static int attempt(struct stopped *stopped, rdf_stopped_body *body, void *ctx, int *ret_body,
                   struct rdf_stop_report *report)
{
    uint64_t began_ns = now_ns();
    int status = 1;
    while (status > 0)
        status = one_round(stopped, report);
    if (status == 0)
        status = read_places(stopped, report);
    if (status == 0) {
        struct rdf_world world = {.thread = stopped->thread,
                                  .thread_count = stopped->count,
                                  .set_pc = set_pc,
                                  .os = stopped};
        *ret_body = body(&world, ctx);
        report->blocking_tid = *ret_body == -EAGAIN ? world.blocking_tid : 0;
    }
    report->thread_count = stopped->count;
    resume(stopped);
    report->stopped_ns = now_ns() - began_ns;
    return status;
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

int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report)
{
    (void)space;
    static const uint64_t ns_per_ms = 1000000;
    struct stopped *stopped = rdf_os_pages.get(rdf_os_pages.ctx, sizeof *stopped);
    struct rdf_stop_report report = {0};
    if (!stopped)
        return -ENOMEM;
    uint64_t until_ns = now_ns() + deadline_ms * ns_per_ms;
    int answer = 0, status;
    for (;;) {
        status = attempt(stopped, body, ctx, &answer, &report);
        if (status < 0 || answer != -EAGAIN)
            break;
        if (now_ns() >= until_ns) {
            status = fail(&report, report.blocking_tid, "deadline", -ETIMEDOUT);
            break;
        }
        rdf_nap(NAP_100NS);
    }
    rdf_os_pages.put(rdf_os_pages.ctx, stopped, sizeof *stopped);
    *ret_report = report;
    if (status == 0)
        *ret_body = answer;
    return status;
}
