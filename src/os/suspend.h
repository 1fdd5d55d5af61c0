/* SPDX-License-Identifier: MIT
 *
 * Stopping the world where the system has a call that suspends one thread: the part that is the same on each.
 *
 *   1. Go through the threads and suspend each that was not met before; again, until a whole round meets no
 *      new one: a thread that runs can make others, one that stands cannot.
 *   2. Read where each stands.
 *   3. body. It may change where a thread stands.
 *   4. Everyone goes on, in the reverse order.
 *
 * From 1 to 4 nothing is called but the system itself: a thread may have been suspended with any lock, the
 * heap's and the loader's too.
 */
#ifndef RDF_OS_SUSPEND_H
#define RDF_OS_SUSPEND_H

#include <errno.h>

#include "os/os.h"

enum { RDF_SUSPENDED_MAX = 4096 };

struct rdf_suspended {
    uint64_t handle[RDF_SUSPENDED_MAX]; /* what the system knows the thread by */
    struct rdf_thread thread[RDF_SUSPENDED_MAX];
    size_t count;
};

/* The room's own calls. Those that answer an int answer a negative errno value when they fail, and have then
 * said in the report which step of which thread it was. */
struct rdf_suspend_ops {
    int (*one_round)(struct rdf_suspended *suspended, struct rdf_stop_report *report); /* 1: met a new one */
    int (*read_places)(struct rdf_suspended *suspended, struct rdf_stop_report *report);
    int (*set_pc)(struct rdf_world *world, size_t index, uint64_t pc); /* world->os: the rdf_suspended */
    void (*resume)(uint64_t handle);
    uint64_t (*now_ns)(void);
    void (*nap)(void); /* about a millisecond */
};

static inline int rdf_suspend_fail(struct rdf_stop_report *report, int tid, const char *step, int err)
{
    report->blocking_tid = tid;
    report->step = step;
    report->err = err;
    return err;
}

/* 0, or why the threads could not be stopped. */
static inline int rdf_suspend_once(const struct rdf_suspend_ops *ops, struct rdf_suspended *suspended,
                                   rdf_stopped_body *body, void *ctx, int *ret_body,
                                   struct rdf_stop_report *report)
{
    uint64_t began_ns = ops->now_ns();
    int status = 1;
    while (status > 0)
        status = ops->one_round(suspended, report);
    if (status == 0)
        status = ops->read_places(suspended, report);
    if (status == 0) {
        struct rdf_world world = {.thread = suspended->thread,
                                  .thread_count = suspended->count,
                                  .set_pc = ops->set_pc,
                                  .os = suspended};
        *ret_body = body(&world, ctx);
        report->blocking_tid = *ret_body == -EAGAIN ? world.blocking_tid : 0;
    }
    report->thread_count = suspended->count;
    while (suspended->count > 0)
        ops->resume(suspended->handle[--suspended->count]);
    report->stopped_ns = ops->now_ns() - began_ns;
    return status;
}

/* As with_world_stopped of os.h. */
static inline int rdf_suspend_world(const struct rdf_suspend_ops *ops, uint64_t deadline_ms,
                                    rdf_stopped_body *body, void *ctx, int *ret_body,
                                    struct rdf_stop_report *ret_report)
{
    static const uint64_t ns_per_ms = 1000000;
    struct rdf_suspended *suspended = rdf_os_pages.get(rdf_os_pages.ctx, sizeof *suspended);
    struct rdf_stop_report report = {.step = ""};
    if (!suspended)
        return -ENOMEM;
    uint64_t until_ns = ops->now_ns() + deadline_ms * ns_per_ms;
    int answer = 0, status;
    for (;;) {
        status = rdf_suspend_once(ops, suspended, body, ctx, &answer, &report);
        if (status < 0 || answer != -EAGAIN)
            break;
        if (ops->now_ns() >= until_ns) {
            status = rdf_suspend_fail(&report, report.blocking_tid, "deadline", -ETIMEDOUT);
            break;
        }
        ops->nap();
    }
    rdf_os_pages.put(rdf_os_pages.ctx, suspended, sizeof *suspended);
    *ret_report = report;
    if (status == 0)
        *ret_body = answer;
    return status;
}

#endif
