/* SPDX-License-Identifier: MIT
 *
 * Every other thread of this process, suspended.
 *
 *   1. List the threads and suspend each that was not met before; again, until a whole round meets no new
 * one: a thread that runs can make others, one that stands cannot. thread_suspend returns when the thread
 * stands.
 *   2. Read where each stands.
 *   3. body. It may change where a thread stands.
 *   4. Everyone goes on, in the reverse order.
 *
 * From 1 to 4 nothing is called but the kernel, through functions of libSystem that take no lock: a thread
 * may have been suspended with any, the heap's and the loader's too.
 *
 * A thread inside a system call stands behind the instruction that made it; when the call is to be made
 * again, the kernel steps back over that instruction (bsd/dev/i386/systemcalls.c and
 * bsd/dev/arm/systemcalls.c: ERESTART). Nothing tells a thread that may do so from one that has merely come
 * by: wherever a system call's instruction lies before the PC, that is where the thread stands for the body,
 * and it may go on behind it.
 */
#include "os/darwin/room.h"

#include <errno.h>
#include <mach/mach_time.h>

#include "base/bytes.h"

enum { THREADS_MAX = 4096 };

struct stopped {
    thread_t port[THREADS_MAX];
    struct rdf_thread thread[THREADS_MAX];
    size_t count;
};

static bool is_known(const struct stopped *stopped, thread_t port)
{
    for (size_t i = 0; i < stopped->count; i++)
        if (stopped->port[i] == port)
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

/* 1: the thread was suspended, and a right to its port is ours. One that ends meanwhile is left out. */
static int take(struct stopped *stopped, thread_t port, struct rdf_stop_report *report)
{
    int tid = (int)rdf_thread_number(port);
    if (stopped->count == THREADS_MAX)
        return fail(report, tid, "the list of threads", -ENOSPC);
    kern_return_t result = thread_suspend(port);
    if (result == KERN_TERMINATED || result == KERN_INVALID_ARGUMENT || result == MACH_SEND_INVALID_DEST)
        return 0;
    if (result != KERN_SUCCESS)
        return fail(report, tid, "thread_suspend", rdf_errno_of(result));
    (void)mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_SEND, 1);
    stopped->port[stopped->count] = port;
    stopped->thread[stopped->count++] = (struct rdf_thread){.tid = tid};
    return 1;
}

/* More than 0: a thread was met that had not been met. */
static int one_round(struct stopped *stopped, struct rdf_stop_report *report)
{
    struct rdf_threads all;
    uint64_t self = rdf_own_thread_number();
    kern_return_t result = rdf_threads_list(&all);
    if (result != KERN_SUCCESS)
        return fail(report, 0, "task_threads", rdf_errno_of(result));
    int news = 0, took = 0;
    for (mach_msg_type_number_t i = 0; i < all.count && took >= 0; i++) {
        bool is_other = rdf_thread_number(all.thread[i]) != self && !is_known(stopped, all.thread[i]);
        took = is_other ? take(stopped, all.thread[i], report) : 0;
        news |= took > 0;
    }
    rdf_threads_free(&all);
    return took < 0 ? took : news;
}

static int get_state(thread_t port, rdf_state *ret)
{
    mach_msg_type_number_t words = RDF_STATE_WORDS;
    return rdf_errno_of(thread_get_state(port, RDF_STATE, (thread_state_t)ret, &words));
}

static uint32_t bytes_of_system_call(uint64_t pc)
{
    uint8_t before[RDF_SYSCALL_BYTES];
    return rdf_local_read(NULL, pc - sizeof before, before, sizeof before) == 0 &&
                   rdf_bytes_equal(before, &rdf_syscall_bytes, sizeof before)
               ? sizeof before
               : 0;
}

static int read_places(struct stopped *stopped, struct rdf_stop_report *report)
{
    for (size_t i = 0; i < stopped->count; i++) {
        struct rdf_thread *thread = &stopped->thread[i];
        rdf_state state;
        int err = get_state(stopped->port[i], &state);
        if (err)
            return fail(report, thread->tid, "thread_get_state", err);
        thread->restart_bytes = bytes_of_system_call(state.RDF_STATE_PC);
        thread->pc = state.RDF_STATE_PC - thread->restart_bytes;
        thread->sp = state.RDF_STATE_SP;
    }
    return 0;
}

static int set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    const struct stopped *stopped = world->os;
    rdf_state state;
    int err = get_state(stopped->port[index], &state);
    if (err)
        return err;
    state.RDF_STATE_PC = pc + stopped->thread[index].restart_bytes;
    return rdf_errno_of(
        thread_set_state(stopped->port[index], RDF_STATE, (thread_state_t)&state, RDF_STATE_WORDS));
}

static void resume(struct stopped *stopped)
{
    while (stopped->count > 0) {
        thread_t port = stopped->port[--stopped->count];
        (void)thread_resume(port);
        (void)mach_port_deallocate(mach_task_self(), port);
    }
}

static uint64_t now_ns(void)
{
    mach_timebase_info_data_t base;
    (void)mach_timebase_info(&base);
    return base.denom ? mach_absolute_time() / base.denom * base.numer : 0;
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
    struct rdf_threads all;
    if (rdf_threads_list(&all) != KERN_SUCCESS)
        return true;
    bool found = all.count > 1;
    rdf_threads_free(&all);
    return found;
}

int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report)
{
    (void)space;
    enum { NAP_MS = 1 };
    static const uint64_t ns_per_ms = 1000000;
    struct stopped *stopped = rdf_os_pages.get(rdf_os_pages.ctx, sizeof *stopped);
    struct rdf_stop_report report = {.step = ""};
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
        (void)thread_switch(MACH_PORT_NULL, SWITCH_OPTION_WAIT, NAP_MS);
    }
    rdf_os_pages.put(rdf_os_pages.ctx, stopped, sizeof *stopped);
    *ret_report = report;
    if (status == 0)
        *ret_body = answer;
    return status;
}
