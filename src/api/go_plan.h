/* SPDX-License-Identifier: MIT
 *
 * How a Go function is entered and every byte that it takes: worked out by reading, so that the command can
 * show of a file what the package would do in a process.
 */
#ifndef RDF_API_GO_PLAN_H
#define RDF_API_GO_PLAN_H

#include "core/plan.h"
#include "go/target.h"

enum rdf_go_way {
    RDF_GO_WAY_CHECK,  /* the entry jump lies over the stack check */
    RDF_GO_WAY_WINDOW, /* over the first instructions: stacks of goroutines are searched before */
};

const char *rdf_go_way_name(enum rdf_go_way way); /* in a few words */
const char *rdf_go_way_word(enum rdf_go_way way); /* in one */

/* It points into itself: it stays where it is. */
struct rdf_go_plan {
    const struct rdf_go_abi *abi;
    struct rdf_images *images;
    struct rdf_go_target target;
    enum rdf_go_way way;
    struct rdf_window window;  /* RDF_GO_WAY_WINDOW: what the core would take … */
    struct rdf_span moved;     /* … its instructions, which run elsewhere … */
    struct rdf_go_probe probe; /* … behind this */
    uint8_t registers;         /* as in struct rdf_go_emit; 0 until the caller says more */
    /* set by rdf_go_plan_emit */
    struct rdf_relocated relocated;
    struct rdf_go_code code;
    /* set by rdf_go_plan_edit */
    struct rdf_edit edit;
    struct rdf_pc_pair pcs[RDF_GO_POINTS_MAX]; /* instructions that begin inside `edit` */
    size_t pc_count;
    bool can_be_parked; /* a goroutine, at an instruction that begins inside `edit` */
};

/* The way into a target whose beginning is known (rdf_go_target_begin).
 * REDEFINE_EUNSUPPORTED, ESHORT  there is none, and why */
redefine_status rdf_go_plan_way(struct rdf_images *images, const struct rdf_go_abi *abi,
                                const struct rdf_go_target *target, struct rdf_go_plan *ret,
                                struct rdf_error *err);

/* The code for its place, at most RDF_GO_CODE_BYTES_MAX. */
redefine_status rdf_go_plan_emit(struct rdf_go_plan *plan, const struct rdf_near_place *place,
                                 uint8_t *ret_code, uint32_t *ret_len_bytes, struct rdf_error *err);

/* What is written over the function. */
redefine_status rdf_go_plan_edit(struct rdf_go_plan *plan, struct rdf_error *err);

#endif
