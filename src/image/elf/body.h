/* SPDX-License-Identifier: MIT
 *
 * What is found by decoding one function's body: which registers it sets, what it holds across a call of it,
 * how many arguments it may find on the stack. For reliance.c, which asks it of functions and of their
 * callers.
 */
#ifndef RDF_IMAGE_ELF_BODY_H
#define RDF_IMAGE_ELF_BODY_H

#include "image/calls.h"
#include "image/elf/internal.h"

enum {
    CALLEE_DEPTH_MAX = 2,
    WALKS_MAX = CALLEE_DEPTH_MAX +
                2, /* under way at once: one before a call, one behind it, in its callees */
};

/* What is known of a function's code. */
struct rdf_body {
    uint64_t start; /* 0: a free slot */
    uint64_t end;
    uint64_t own_uses; /* what the body itself names */
    uint64_t writes;
    uint16_t vector_bytes;
    bool calls_unknown;
    uint32_t node; /* its number among the nodes of reliance.c, plus one; 0: none */
    /* Asked for again by each of its calls, and by each call of it: */
    const struct rdf_body_holds *holds; /* null: not asked for yet */
    uint64_t given[CALLEE_DEPTH_MAX];   /* which arguments it reads, followed so deep … */
    bool has_given[CALLEE_DEPTH_MAX];   /* … where that is known */
};

/* A call, or a jump out of the body, and what is held there. */
struct rdf_body_call {
    uint32_t off; /* from the body's start */
    int32_t sp;
    uint64_t held;
};

/* All of one body, as far as they are reached. */
struct rdf_body_holds {
    uint64_t kept_by_callers; /* what it was asked for with */
    size_t count;
    struct rdf_body_call call[];
};

/* To go on at `addr` with a set of registers and the stack pointer, from what it was at the entry. */
struct rdf_body_step {
    uint64_t addr;
    uint64_t set;
    int32_t sp;
};

/* Room for a walk, used again and again: what it touched is cleared. */
struct rdf_body_room {
    uint64_t *seen; /* for each place where an instruction can begin: the registers it was reached with */
    bool *was_reached;
    uint32_t *touched;
    size_t touched_count;
    struct rdf_body_step *step;
};

struct rdf_bodies {
    struct rdf_images *images;
    struct rdf_image *image;
    const struct rdf_arch *arch;
    struct rdf_arena arena;
    struct rdf_body *known;
    size_t known_slots, known_count;
    struct rdf_body_room room[WALKS_MAX];
    size_t rooms_used;
    struct rdf_body_closure *closure; /* made when it is needed first, as … */
    struct rdf_body_calls *calls;     /* … this is */
    size_t insns_left;                /* to be decoded at most; then nothing more is found */
    bool out_of_memory;
};

/* The place of the function at `start`, which is free (start 0) when nothing is known of it. */
struct rdf_body *rdf_bodies_slot(struct rdf_bodies *bodies, uint64_t start);

/* What is known of the function, found out when it is asked for first. */
struct rdf_body rdf_bodies_know(struct rdf_bodies *bodies, const struct rdf_function *function);

enum { RDF_BODY_SP_UNKNOWN = INT32_MIN };

/* What `caller` holds across its call (or jump) at `site`, of `left_alone`. *ret_sp: the stack pointer there,
 * from what it was at the caller's entry, or RDF_BODY_SP_UNKNOWN. */
uint64_t rdf_body_kept_across(struct rdf_bodies *bodies, const struct rdf_function *caller, uint64_t site,
                              enum rdf_reference kind, uint64_t left_alone, uint64_t kept_by_callers,
                              int32_t *ret_sp);

/* How many words of arguments the body may take from the stack; what it jumps to at its end may take any. */
uint16_t rdf_body_stack_words(struct rdf_bodies *bodies, const struct rdf_function *function);

#endif
