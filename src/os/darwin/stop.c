/* SPDX-License-Identifier: MIT
 *
 * Every other thread of this process, suspended in the steps of os/suspend.h. thread_suspend returns when the
 * thread stands. The kernel is called through functions of libSystem that take no lock.
 *
 * A thread inside a system call stands behind the instruction that made it; when the call is to be made
 * again, the kernel steps back over that instruction (bsd/dev/i386/systemcalls.c and
 * bsd/dev/arm/systemcalls.c: ERESTART). Nothing tells a thread that may do so from one that has merely come
 * by: wherever a system call's instruction lies before the PC, that is where the thread stands for the body,
 * and it may go on behind it.
 */
#include "os/darwin/room.h"

#include <mach/mach_time.h>

#include "base/bytes.h"
#include "os/suspend.h"

static bool is_known(const struct rdf_suspended *suspended, thread_t port)
{
    for (size_t i = 0; i < suspended->count; i++)
        if (suspended->handle[i] == port)
            return true;
    return false;
}

/* 1: the thread was suspended, and a right to its port is ours. One that ends meanwhile is left out. */
static int take(struct rdf_suspended *suspended, thread_t port, struct rdf_stop_report *report)
{
    int tid = (int)rdf_thread_number(port);
    if (suspended->count == RDF_SUSPENDED_MAX)
        return rdf_suspend_fail(report, tid, "the list of threads", -ENOSPC);
    kern_return_t result = thread_suspend(port);
    if (result == KERN_TERMINATED || result == KERN_INVALID_ARGUMENT || result == MACH_SEND_INVALID_DEST)
        return 0;
    if (result != KERN_SUCCESS)
        return rdf_suspend_fail(report, tid, "thread_suspend", rdf_errno_of(result));
    (void)mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_SEND, 1);
    suspended->handle[suspended->count] = port;
    suspended->thread[suspended->count++] = (struct rdf_thread){.tid = tid};
    return 1;
}

/* More than 0: a thread was met that had not been met. */
static int one_round(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    struct rdf_threads all;
    uint64_t self = rdf_own_thread_number();
    kern_return_t result = rdf_threads_list(&all);
    if (result != KERN_SUCCESS)
        return rdf_suspend_fail(report, 0, "task_threads", rdf_errno_of(result));
    int news = 0, took = 0;
    for (mach_msg_type_number_t i = 0; i < all.count && took >= 0; i++) {
        bool is_other = rdf_thread_number(all.thread[i]) != self && !is_known(suspended, all.thread[i]);
        took = is_other ? take(suspended, all.thread[i], report) : 0;
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

static int read_places(struct rdf_suspended *suspended, struct rdf_stop_report *report)
{
    for (size_t i = 0; i < suspended->count; i++) {
        struct rdf_thread *thread = &suspended->thread[i];
        rdf_state state;
        int err = get_state((thread_t)suspended->handle[i], &state);
        if (err)
            return rdf_suspend_fail(report, thread->tid, "thread_get_state", err);
        thread->restart_bytes = bytes_of_system_call(state.RDF_STATE_PC);
        thread->pc = state.RDF_STATE_PC - thread->restart_bytes;
        thread->sp = state.RDF_STATE_SP;
    }
    return 0;
}

static int set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    const struct rdf_suspended *suspended = world->os;
    rdf_state state;
    int err = get_state((thread_t)suspended->handle[index], &state);
    if (err)
        return err;
    state.RDF_STATE_PC = pc + suspended->thread[index].restart_bytes;
    return rdf_errno_of(thread_set_state((thread_t)suspended->handle[index], RDF_STATE,
                                         (thread_state_t)&state, RDF_STATE_WORDS));
}

static void resume(uint64_t handle)
{
    thread_t port = (thread_t)handle;
    (void)thread_resume(port);
    (void)mach_port_deallocate(mach_task_self(), port);
}

static uint64_t now_ns(void)
{
    mach_timebase_info_data_t base;
    (void)mach_timebase_info(&base);
    return base.denom ? mach_absolute_time() / base.denom * base.numer : 0;
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

static void nap(void)
{
    enum { TIME_MS = 1 };
    (void)thread_switch(MACH_PORT_NULL, SWITCH_OPTION_WAIT, TIME_MS);
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
    return "thread_suspend";
}
