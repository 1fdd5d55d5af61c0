/* SPDX-License-Identifier: MIT
 *
 * How a Go function is entered and every byte that it takes: worked out by reading, so that the command can
 * show of a file what the package would do in a process.
 */
#ifndef RDF_API_GO_PLAN_H
#define RDF_API_GO_PLAN_H

#include "core/plan.h"
#include "go/target.h"

/* In the order in which they are tried. */
enum rdf_go_way {
    RDF_GO_WAY_CHECK,  /* the entry jump lies over the stack check */
    RDF_GO_WAY_FIRST,  /* over the first instruction, which is long enough */
    RDF_GO_WAY_PADDED, /* a short jump over the first instruction, to the entry jump in padding nearby */
    RDF_GO_WAY_WINDOW, /* over several instructions: stacks of goroutines are searched before */
};

const char *rdf_go_way_name(enum rdf_go_way way); /* in a few words */
const char *rdf_go_way_word(enum rdf_go_way way); /* in one */

/* It points into itself: it stays where it is. */
struct rdf_go_plan {
    const struct rdf_go_abi *abi;
    struct rdf_images *images;
    struct rdf_go_target target;
    enum rdf_go_way way;
    struct rdf_window window; /* RDF_GO_WAY_WINDOW: what the core would take */
    struct rdf_span moved;    /* of a function without a check: the instructions that run elsewhere … */
    uint64_t jump_bytes;      /* … and the first of them are overwritten … */
    uint64_t padding_addr;    /* … by a short jump to this, where the entry jump is; 0: by that one */
    /* set by rdf_go_plan_emit */
    struct rdf_relocated relocated;
    struct rdf_go_code code;
    /* set by rdf_go_plan_edits */
    struct rdf_edit edit;
    struct rdf_edit padding;                   /* no bytes: none */
    struct rdf_pc_pair pcs[RDF_GO_POINTS_MAX]; /* instructions that begin inside `edit` */
    size_t pc_count;
};

/* The way into a target whose beginning is known (rdf_go_target_begin).
 * REDEFINE_EUNSUPPORTED, ESHORT  there is none, and why */
redefine_status rdf_go_plan_way(struct rdf_images *images, const struct rdf_go_abi *abi,
                                const struct rdf_go_target *target, struct rdf_go_plan *ret,
                                struct rdf_error *err);

/* The code for its place, at most RDF_GO_CODE_BYTES_MAX. */
redefine_status rdf_go_plan_emit(struct rdf_go_plan *plan, const struct rdf_near_place *place,
                                 uint8_t *ret_code, uint32_t *ret_len_bytes, struct rdf_error *err);

/* What is written over the function, and beside it. */
redefine_status rdf_go_plan_edits(struct rdf_go_plan *plan, struct rdf_error *err);

#endif
