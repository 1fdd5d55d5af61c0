/* SPDX-License-Identifier: MIT
 *
 * From a function to the exact bytes that will change. A plan is plain data: it can be printed, thrown
 * away, or carried out by write.c. Making it reads the target and changes nothing.
 */
#ifndef RDF_CORE_PLAN_H
#define RDF_CORE_PLAN_H

#include "arch/arch.h"
#include "core/near.h"
#include "image/image.h"

enum {
    RDF_EDIT_BYTES_MAX = 16,
    RDF_WINDOW_COPIED_MAX = 16, /* most windows have two or three instructions */
};

/* In the order in which they are tried: the least intrusive that fits. */
enum rdf_strategy {
    RDF_STRATEGY_SLED,        /* the entry jump lies over no-operations that were left for it */
    RDF_STRATEGY_ENTRY_JUMP,  /* a jump over the first instructions, behind a landing pad */
    RDF_STRATEGY_PADDED_JUMP, /* the same, and its tail lies in padding behind the function */
    RDF_STRATEGY_SHORT_JUMP,  /* a short jump into padding nearby, which holds the entry jump */
    RDF_STRATEGY_TRAP,        /* a one-byte trap and a handler that redirects: slow */
};

const char *rdf_strategy_name(enum rdf_strategy strategy);
const char *rdf_strategy_word(enum rdf_strategy strategy); /* in one */

/* One change of live code. */
struct rdf_edit {
    uint64_t addr;
    uint8_t len_bytes;
    uint8_t old_bytes[RDF_EDIT_BYTES_MAX];
    uint8_t new_bytes[RDF_EDIT_BYTES_MAX];
};

/* A branch farther down that leads into the overwritten bytes and is made to lead into the trampoline. */
struct rdf_branch {
    uint64_t addr;
    uint64_t target;
    uint64_t hop_addr; /* a short one leads here, to a jump into the trampoline; 0: it reaches by itself */
};

/* What of a function leads back to its first RDF_WINDOW_BYTES_MAX bytes. */
struct rdf_leads {
    struct rdf_branch *branch; /* in the arena of the body; ascending by address */
    size_t branch_count;
    struct rdf_byte_set tables; /* where jump tables lead */
    uint8_t table_bits[RDF_WINDOW_BYTES_MAX / 8];
};

/* What was seen of a function: its window, worked out before anything is reserved. */
struct rdf_window {
    struct rdf_function function;
    struct rdf_arena *arena; /* of its branches, and of the extra edits of its plan */
    enum rdf_strategy strategy;
    uint64_t patched_start; /* the entry jump (or short jump, or trap) goes here … */
    uint64_t patched_end;   /* … to here, with the hops behind it */
    uint8_t landing_bytes;  /* of the landing pad that is put before it, in the place of one that signs */
    uint64_t end;           /* behind the last instruction that is relocated; from function.start */
    size_t insn_count;
    uint64_t padding_addr; /* RDF_STRATEGY_SHORT_JUMP: where the entry jump goes */
    size_t branch_count;
    struct rdf_branch *branch;
    bool is_extended;   /* over a branch back: what is left behind the overwritten bytes must not run */
    bool branches_back; /* a branch of the window leads into the overwritten bytes: all of it is left at once
                         */
    bool is_loop_head;  /* a branch leads to the entry: who stands there need not be making a call */
    uint8_t bytes[RDF_WINDOW_BYTES_MAX];
    /* The lengths of its instructions when each of them is one that is moved as it is; 0: for relocate to
     * see. */
    uint8_t copied[RDF_WINDOW_COPIED_MAX];
    uint8_t copied_count;
    /* What callers rely on, for the relay to see to: src/core/preserve.c. */
    bool needs_frame; /* the relay calls the replacement, with the stack aligned … */
    struct rdf_keep keep;
};

struct rdf_plan {
    struct rdf_window window;
    struct rdf_edit edit;   /* at the entry */
    struct rdf_edit *extra; /* padding, branches; in the arena of the window */
    size_t extra_count;
    struct rdf_near_place place; /* relay first, then the trampoline */
    uint64_t relay_addr;
    uint64_t count_addr; /* counts a call and runs into the trampoline; 0: nothing is counted */
    uint64_t trampoline_addr;
    uint64_t frame_addr; /* where the relay leads to when callers rely on something; else 0 */
    uint32_t code_bytes; /* of the place: relay, counting, trampoline and frame together */
    uint8_t code[RDF_JUMP_BYTES_MAX + RDF_COUNT_BYTES_MAX + RDF_TRAMPOLINE_BYTES_MAX +
                 RDF_PRESERVE_BYTES_MAX + 16];
    struct rdf_relocated relocated;
};

/* `code` is the function's, [start, end). *ret points into itself: it stays where it is. */
redefine_status rdf_plan_leads(struct rdf_images *images, struct rdf_arena *arena,
                               const struct rdf_function *function, struct rdf_span code,
                               struct rdf_leads *ret, struct rdf_error *err);

/* Inspect the function: where the entry jump goes, which whole instructions must be displaced for it.
 * Errors: REDEFINE_ESHORT, REDEFINE_EUNSUPPORTED: why the last strategy failed, and which were tried */
redefine_status rdf_plan_window(struct rdf_images *images, const struct rdf_function *function,
                                struct rdf_window *ret, struct rdf_error *err);

/* What was tried and why it failed; a status of REDEFINE_OK: it was not tried. */
struct rdf_tried {
    const char *strategy;
    const struct rdf_error *why;
};

/* The failure that says all of it: the status and reason of the first, then the others. */
redefine_status rdf_plan_refuse(const struct rdf_tried *tried, size_t count, struct rdf_error *err);

/* `code`, at `addr` of the function `name`, begins with no instruction, or with a part of one only. */
redefine_status rdf_plan_refuse_bytes(const char *name, uint64_t start, uint64_t addr, struct rdf_span code,
                                      struct rdf_error *err);

/* A Go function must not be given a replacement in C. REDEFINE_EUNSUPPORTED; of any other function: OK */
redefine_status rdf_plan_refuse_go(const struct rdf_function *function, struct rdf_error *err);

/* Whether the function's code, which begins at `code`, holds a breakpoint that its file does not have. */
redefine_status rdf_plan_refuse_breakpoints(struct rdf_images *images, const struct rdf_function *function,
                                            const uint8_t *code, struct rdf_error *err);

/* Padding that another redefinition has been given, though nothing may be written there yet, or any more. */
struct rdf_taken {
    bool (*is_taken)(void *ctx, uint64_t start, uint64_t end);
    void *ctx;
    uint64_t branched_to;    /* the first place behind the entry that another function branches to; 0: none */
    struct rdf_arena *arena; /* for what lasts until the plan is made */
};

/* The same; `taken` says which padding is not free. Without it the images' arena is used. */
redefine_status rdf_plan_window_beside(struct rdf_images *images, const struct rdf_function *function,
                                       const struct rdf_taken *taken, struct rdf_window *ret,
                                       struct rdf_error *err);

/* Note in the window what its relay has to keep; false: nothing, or it cannot. */
struct rdf_reliance;
bool rdf_plan_keep(const struct rdf_arch *arch, const struct rdf_reliance *reliance,
                   struct rdf_window *window);

/* Reserve memory near the window and work out every byte; with `counter_addr`, code that counts there as
 * well. On failure the reservation stays with `near` until its mark is rolled back. */
redefine_status rdf_plan_make(struct rdf_near *near, struct rdf_images *images,
                              const struct rdf_window *window, uint64_t counter_addr, struct rdf_plan *ret,
                              struct rdf_error *err);

/* Copy code that the snapshot of mappings shows as readable: in place where the space has views, which saves
 * a system call for each function of a batch. 0 or -errno. */
int rdf_plan_read(struct rdf_images *images, uint64_t addr, void *ret_bytes, size_t len_bytes);

/* Where a thread at `pc` must continue once the edit is made: `pc` itself where it may stay, 0 when it
 * stands inside the overwritten bytes but at no instruction's start. */
uint64_t rdf_plan_move_pc(uint64_t patched_start, uint64_t patched_end, uint64_t window_start,
                          uint64_t trampoline_addr, const struct rdf_pc_pair *pcs, size_t pc_count,
                          uint64_t pc);

#endif
