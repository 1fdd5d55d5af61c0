/* SPDX-License-Identifier: MIT
 *
 * The only place that changes live code.
 */
#ifndef RDF_CORE_WRITE_H
#define RDF_CORE_WRITE_H

#include "core/plan.h"

enum { RDF_WRITE_OURS_MAX = 3 };

/* A jump of the engine's that is to be taken away: who is about to execute it goes on where it leads. */
struct rdf_write_ours {
    uint64_t addr; /* 0: none */
    uint64_t target;
};

/* What a thread that stands inside an edit's bytes needs: see rdf_plan_move_pc. */
struct rdf_write_item {
    struct rdf_edit edit;
    uint8_t prot[2]; /* recorded protections of the pages it begins and ends in, put back by PROTECT */
    bool has_engine; /* the engine itself runs from the object that holds these bytes */
    bool
        moves; /* threads inside [edit.addr, window_end) move as pcs say; else none is inside but at `ours` */
    bool branches_back; /* see struct rdf_window */
    bool is_loop_head;
    struct rdf_write_ours ours[RDF_WRITE_OURS_MAX];
    uint64_t window_start;
    uint64_t window_end;
    uint64_t trampoline_addr;
    const struct rdf_pc_pair *pcs;
    size_t pc_count;
    enum rdf_write_method method; /* set: how it was written */
    bool is_open;                 /* set: a page did not get its recorded protection back */
};

struct rdf_write {
    struct rdf_space *space;
    const struct rdf_maps *maps;
    struct rdf_write_item *item; /* ascending by edit.addr, not overlapping */
    size_t count;
    uint64_t caller_sp; /* of the thread that asked, where it entered the engine; 0: not ours */
    unsigned methods;   /* bit per rdf_write_method that may be tried; all by default */
    /* Called once every edit is made and before any other thread goes on: what the new code relies on
     * becomes visible together with it. Only stores; runs where threads may hold any lock. */
    void (*publish)(void *ctx);
    void *publish_ctx;

    /* Set by rdf_write_apply: */
    struct rdf_stop_report stop;
    bool has_waited; /* body said -EAGAIN the last time, because of … */
    int waiting_tid; /* … this thread; 0: the one that asked */
    size_t failed_item;
    int err;
    bool undone; /* after a failure: every byte and protection is what it was */
};

/* Make every edit, or none: compares the old bytes first, moves threads out of the way, keeps an undo
 * list. Errors: REDEFINE_EBUSY EDENIED EROLLBACK. */
redefine_status rdf_write_apply(struct rdf_write *write, struct rdf_error *err);

#endif
