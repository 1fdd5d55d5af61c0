/* SPDX-License-Identifier: MIT
 *
 * A redefinition whose code someone else has worked out: the core finds it a place near the function, and
 * switches the function to it and back. What the code does, and whether it may be entered, is not its
 * business.
 */
#ifndef RDF_CORE_SHAPE_H
#define RDF_CORE_SHAPE_H

#include "core/engine.h"

/* Work out the code for its place; *ret_len_bytes is at most place->code_bytes. */
typedef redefine_status rdf_shape_emit(void *ctx, const struct rdf_near_place *place, uint8_t *ret_code,
                                       uint32_t *ret_len_bytes, struct rdf_error *err);

/* Put code near `addr`, with a slot that holds `slot_value`. Nothing leads there yet. The engine's snapshot
 * is current for `addr`. Errors: as rdf_near_reserve, rdf_near_fill, rdf_near_seal and `emit`. */
redefine_status rdf_shape_place(struct rdf_engine *engine, uint64_t addr, uint32_t code_bytes_max,
                                rdf_shape_emit *emit, void *ctx, uint64_t slot_value,
                                struct rdf_near_place *ret, struct rdf_error *err);

struct rdf_shape_edit {
    struct rdf_edit edit;     /* old_bytes: the program's; new_bytes: the jump, or a call of its own … */
    uint64_t trampoline_addr; /* threads inside the edit continue there; 0: none can be inside … */
    const struct rdf_pc_pair *pcs; /* … as these say, from edit.addr on */
    size_t pc_count;
};

/* What is switched at once. */
struct rdf_shape {
    const struct rdf_shape_edit *edit;
    size_t count;
    uint64_t stack_bytes_max; /* as in struct rdf_write */
    bool (*is_ready)(void *ctx, const struct rdf_world *world);
    void (*publish)(void *ctx);
    void *ctx;
};

/* Make the edits (`on`) or take them back, all or nothing. Errors: as rdf_write_apply;
 * REDEFINE_ENOMEM */
redefine_status rdf_shape_switch(struct rdf_engine *engine, const struct rdf_shape *shape, bool on,
                                 uint64_t caller_sp, struct rdf_error *err);

#endif
