/* SPDX-License-Identifier: MIT
 *
 * The only place that changes live code.
 *
 *   write.c      chooses how the other threads are kept from harm, and says what was in the way
 *   unstopped.c  … while they run
 *   places.c     where threads stand, and what their stacks will lead them to
 *   store.c      bytes: stored by the first method that works, read back, put back
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

enum rdf_write_kind {
    RDF_WRITE_ENTRY,
    RDF_WRITE_PADDING, /* holds the entry jump that a short jump leads to */
    RDF_WRITE_BRANCH,  /* a branch into the overwritten bytes, one instruction before and afterwards */
};

/* What a thread that stands inside an edit's bytes needs: see rdf_plan_move_pc. There may be many, in the
 * order in which they are gone through: as small as can be. */
struct rdf_write_item {
    struct rdf_edit edit;
    uint8_t now[RDF_EDIT_BYTES_MAX]; /* what is to be there at this step, or is … */
    bool is_due;                     /* … when this is not set */
    uint8_t kind;                    /* enum rdf_write_kind */
    uint8_t method;                  /* set: how it was written, enum rdf_write_method */
    bool is_open;                    /* set: a page did not get its recorded protection back */
    uint8_t prot[2]; /* recorded protections of the pages it begins and ends in, put back by PROTECT */
    bool has_engine; /* the engine, or what it calls, runs from the object that holds these bytes */
    bool
        moves; /* threads inside [edit.addr, window_end) move as pcs say; else none is inside but at `ours` */
    bool branches_back; /* see struct rdf_window */
    bool is_loop_head;
    bool has_hops;      /* the branches of its function go through jumps of ours, there or elsewhere */
    bool is_taken_back; /* the bytes that were there before the redefinition come back */
    uint8_t pc_count;
    const struct rdf_pc_pair *pcs;
    const struct rdf_write_ours *ours; /* RDF_WRITE_OURS_MAX of them; null: none */
    uint64_t window_start;
    uint64_t window_end;
    uint64_t trampoline_addr;
    uint64_t detour; /* what does the work of the old bytes for who comes to their start; 0: nothing does */
};

/* Edits of pages that follow each other, with what lies between them: as it is, and as it will be. */
struct rdf_write_piece {
    uint64_t addr;
    size_t len_bytes;
    size_t item_count;
    bool is_writable; /* by the program itself, in part: not even to be written as it is while that runs */
    uint8_t *before;
    uint8_t *after;
};

/* How the other threads were kept from harm. */
enum rdf_safety {
    RDF_SAFE_ALONE,    /* L0: there were none */
    RDF_SAFE_BY_STORE, /* L1: each edit is one instruction, changed by one store */
    RDF_SAFE_BY_STOP,  /* L2: they stood still */
    RDF_SAFE_BY_TRAPS, /* L3: traps kept them away from what was changed */
};

struct rdf_detours;

struct rdf_write {
    struct rdf_space *space;
    const struct rdf_arch *arch;
    const struct rdf_maps *maps;
    struct rdf_write_item *item; /* ascending by edit.addr, not overlapping */
    size_t count;
    bool may_go;        /* an item lies in what another thread may unload meanwhile */
    bool only_stopped;  /* threads that cannot be stopped are never kept away by traps: it is a refusal */
    unsigned methods;   /* bit per rdf_write_method that may be tried; all by default */
    uint64_t caller_sp; /* of the thread that asked, where it entered the engine; 0: not ours */
    /* Called once every edit is made and before any other thread goes on: what the new code relies on
     * becomes visible together with it. Only stores; runs where threads may hold any lock. Called once more
     * from its beginning where it was broken off. */
    void (*publish)(void *ctx);
    void *publish_ctx;
    /* How much of a stack is searched, from its stack pointer up; 0: all of it. */
    uint64_t stack_bytes_max;
    /* Asked in the stopped world before the first byte changes: false to wait a little; null: nothing to ask.
     * As publish, it may only read and store. */
    bool (*is_ready)(void *ctx, const struct rdf_world *world);

    /* For who cannot stop the others: the list of detours that the handler of traps looks through, where it
     * lies, what the handler asks, and whether it is installed. */
    struct rdf_detours **detours;
    const struct rdf_page_source *pages; /* null: no piece is made */
    uint64_t (*where)(void *ctx, uint64_t addr);
    void *where_ctx;
    bool *catches_traps;

    /* Set by rdf_write_apply: */
    struct rdf_arena arena;             /* … of the pieces */
    struct rdf_write_piece *piece;      /* of all items, in their order */
    size_t piece_count;                 /* 0: each page is put together while the world stands still */
    size_t stored_in_pieces;            /* items, from the first on … */
    enum rdf_write_method piece_method; /* … and how */
    enum rdf_safety safety;
    struct rdf_stop_report stop;
    bool keeps_exec; /* threads run from the pages that are made writable */
    bool puts_back;  /* the change was broken off, and what it put there is to be taken away */
    bool has_waited; /* body said -EAGAIN the last time, because of … */
    int waiting_tid; /* … this thread; 0: the one that asked */
    bool was_not_ready;
    bool has_tried_force; /* it is known whether … */
    bool can_force;       /* … /proc/self/mem writes what cannot be written */
    size_t failed_item;
    int err;
    bool has_begun_publishing;
    struct rdf_detours *own_detours; /* null: none, and no trap of this change is there */
    bool undone;                     /* after a failure: every byte and protection is what it was */
    bool keeps_code;                 /* after a failure: a thread may still be in the trampolines */
};

/* Make every edit, or none: compares the old bytes first, moves threads out of the way, keeps an undo
 * list. Errors: REDEFINE_EBUSY EDENIED EROLLBACK. */
redefine_status rdf_write_apply(struct rdf_write *write, struct rdf_error *err);

/* What was left of a change that a fork copied while it was made: made, as if it had never begun, or neither
 * as bytes could not be written. */
enum rdf_recovery { RDF_RECOVERED_MADE, RDF_RECOVERED_UNDONE, RDF_RECOVERED_IN_PART };
enum rdf_recovery rdf_write_recover(struct rdf_write *write);

/* Where a thread goes on that was trapped at `addr` while it was being changed; 0: it was not. Takes no lock.
 */
uint64_t rdf_detours_find(struct rdf_detours *const *list, uint64_t addr);

#endif
