/* SPDX-License-Identifier: MIT
 *
 * How long a thread is waited for. A deadline by the clock blames threads for a machine that is busy with
 * others; so what counts is time in which this one could have done what is awaited. Not when it has wanted a
 * CPU (state R) and had none for RDF_GAP_MS, until it is seen to run; and no longer gap of the one who waits
 * itself, who looks much more often than that. All of it together has an end too, RDF_PATIENCE_TIMES as far
 * away. For how long others are made to stand still counts in any case.
 */
#ifndef RDF_OS_LINUX_PATIENCE_H
#define RDF_OS_LINUX_PATIENCE_H

#include "os/linux/room.h"
#include "os/linux/syscall.h"

#define NS_PER_MS UINT64_C(1000000)

enum { RDF_GAP_MS = 500, RDF_PATIENCE_TIMES = 5 };

struct rdf_patience {
    uint64_t counted_left_ns;
    uint64_t left_ns;        /* of all time in which the one who waits ran */
    uint64_t looked_ns;      /* when it was looked last, */
    struct rdf_task awaited; /* and at whom; no tid: nobody in particular */
    uint64_t unrun_ns;       /* since it was seen to run */
};

static inline RDF_RAW void rdf_patience_begin(struct rdf_patience *patience, uint64_t deadline_ms,
                                              uint64_t now_ns)
{
    const uint64_t most_ms = UINT64_MAX / NS_PER_MS / RDF_PATIENCE_TIMES;
    uint64_t ns = (deadline_ms < most_ms ? deadline_ms : most_ms) * NS_PER_MS;
    patience->counted_left_ns = ns;
    patience->left_ns = ns * RDF_PATIENCE_TIMES;
    patience->looked_ns = now_ns;
    patience->awaited = (struct rdf_task){.tid = 0};
    patience->unrun_ns = 0;
}

static inline RDF_RAW uint64_t rdf_less(uint64_t from, uint64_t by)
{
    return by < from ? from - by : 0;
}

static inline RDF_RAW bool rdf_patience_spend(struct rdf_patience *patience, uint64_t now_ns,
                                              uint64_t counted_ns, uint64_t ns)
{
    patience->looked_ns = now_ns;
    patience->counted_left_ns = rdf_less(patience->counted_left_ns, counted_ns);
    patience->left_ns = rdf_less(patience->left_ns, ns);
    return patience->counted_left_ns && patience->left_ns;
}

/* A look at `awaited`, while nobody stands still. False: it has been waited for long enough. */
static inline RDF_RAW bool rdf_patience_look(struct rdf_patience *patience, uint64_t now_ns,
                                             const struct rdf_task *awaited)
{
    const uint64_t gap_ns = RDF_GAP_MS * NS_PER_MS;
    uint64_t passed_ns = now_ns - patience->looked_ns;
    if (passed_ns > gap_ns)
        passed_ns = gap_ns;
    if (awaited->tid != patience->awaited.tid)
        patience->unrun_ns = gap_ns;
    else if (awaited->state != 'R' || awaited->ran_ticks != patience->awaited.ran_ticks)
        patience->unrun_ns = 0;
    else
        patience->unrun_ns += passed_ns;
    patience->awaited = *awaited;
    bool is_starved = awaited->state == 'R' && patience->unrun_ns >= gap_ns;
    return rdf_patience_spend(patience, now_ns, is_starved ? 0 : passed_ns, passed_ns);
}

/* Others have stood still for `held_ns` since the last look. */
static inline RDF_RAW void rdf_patience_held(struct rdf_patience *patience, uint64_t now_ns, uint64_t held_ns)
{
    (void)rdf_patience_spend(patience, now_ns, held_ns, held_ns);
}

/* Of two whose time could count, the one that does not just want a CPU. */
static inline RDF_RAW bool rdf_task_counts_rather(const struct rdf_task *task, const struct rdf_task *than)
{
    return !than->tid || (than->state == 'R' && task->state != 'R');
}

#endif
