/* SPDX-License-Identifier: MIT
 *
 * What stop.c, the thread that asks, and helper.c, the task that does it, share. stop.c tells the story.
 */
#ifndef RDF_OS_LINUX_STOP_H
#define RDF_OS_LINUX_STOP_H

#include "os/linux/patience.h"
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <time.h>

enum {
    STACK_BYTES = 256 * 1024,
    LISTING_BYTES = 32 * 1024,
    TID_LIMIT = 4 * 1024 * 1024, /* PID_MAX_LIMIT of the kernel */
    SEEN_BYTES = TID_LIMIT / 8,
    SIGNAL_SET_BYTES = 8,
};

struct rdf_tracee {
    int tid;
    int signal; /* in whose delivery it was stopped, to be given back */
    bool stopped;
    bool gone;
};

enum phase { BEFORE_BODY, IN_BODY, AFTER_BODY };

/* What the caller and the helper share. Lies on the caller's stack, which outlives the helper. */
struct rdf_stop {
    rdf_stopped_body *body;
    void *ctx;
    struct rdf_patience *patience;
    int pid;
    int caller_tid;
    int task_fd; /* /proc/self/task */

    uint32_t go;    /* futex: the caller has done its part */
    uint32_t alive; /* futex: the kernel clears it when the helper ends */

    enum phase phase;
    int ret_body;
    int mem_fd;           /* -1: not opened yet */
    int open_fd;          /* what the helper was just reading when it was killed; or -1 */
    uint64_t hold_ns;     /* how long the others may stand still at a time */
    uint64_t began_ns;    /* since when they do; 0: they run */
    uint64_t deadline_ns; /* by the clock: of this time */
    struct rdf_stop_report report;
    struct rdf_world world;

    uint8_t *region; /* guard page, stack, listing, seen */
    size_t region_bytes;
    uint8_t *stack_top;
    uint8_t *listing;
    uint8_t *seen; /* one bit for each thread id that is in `tracee` */

    void *table; /* tracee[room] and thread[room] */
    size_t room;
    size_t count;
    struct rdf_tracee *tracee;
    struct rdf_thread *thread;
};

/* The kernel's clock through a system call: the vDSO's copy may be what is being changed. */
static inline RDF_RAW uint64_t rdf_stop_now_ns(void)
{
    struct timespec now = {0, 0};
    (void)rdf_sys(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static inline RDF_RAW struct timespec rdf_stop_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / UINT64_C(1000000000)), (long)(ns % UINT64_C(1000000000))};
}

static inline RDF_RAW int rdf_stop_fail(struct rdf_stop *stop, const char *step, int err, int tid)
{
    stop->report.step = step;
    stop->report.err = err;
    stop->report.blocking_tid = tid;
    return err;
}

/* Room for `room` threads in both tables; what is in `tracee` is kept. 0 or -errno. */
int rdf_stop_table_grow(struct rdf_stop *stop, size_t room);

/* The helper's whole life; `stop` is a struct rdf_stop. */
int rdf_stop_help(void *stop);

#endif
