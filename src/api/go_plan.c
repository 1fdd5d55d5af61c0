/* SPDX-License-Identifier: MIT */
#include "api/go_plan.h"

const char *rdf_go_way_name(enum rdf_go_way way)
{
    switch (way) {
    case RDF_GO_WAY_CHECK: return "a jump over the stack check";
    case RDF_GO_WAY_FIRST: return "a jump over the first instruction";
    case RDF_GO_WAY_PADDED: return "a short jump over the first instruction, to a jump in padding";
    case RDF_GO_WAY_WINDOW: return "a jump over the first instructions";
    }
    return "";
}

const char *rdf_go_way_word(enum rdf_go_way way)
{
    switch (way) {
    case RDF_GO_WAY_CHECK: return "check";
    case RDF_GO_WAY_FIRST: return "first";
    case RDF_GO_WAY_PADDED: return "padded";
    case RDF_GO_WAY_WINDOW: return "jump";
    }
    return "";
}

/* ---- the way in ---- */

/* The window that the core would take, if it suits Go. */
static redefine_status take_window(struct rdf_go_plan *plan, struct rdf_error *err)
{
    const struct rdf_go_func *func = &plan->target.func;
    const struct rdf_window *window = &plan->window;
    struct rdf_function function = {.image = rdf_go_image(func->go),
                                    .start = func->entry,
                                    .end = func->end,
                                    .source = RDF_BOUNDS_GO,
                                    .name = func->name};
    redefine_status status = rdf_plan_window(plan->images, &function, &plan->window, err);
    if (status != REDEFINE_OK)
        return status;
    plan->way = RDF_GO_WAY_WINDOW;
    plan->moved = (struct rdf_span){window->bytes, (size_t)(window->end - func->entry)};
    plan->jump_bytes = plan->images->arch->jump_bytes;
    bool is_jump = window->strategy <= RDF_STRATEGY_PADDED_JUMP && window->patched_start == func->entry;
    if (!is_jump || window->branch_count || window->branches_back ||
        !plan->abi->may_move(plan->moved, func->entry))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the first instructions of %s cannot be moved: outside of its own code the runtime "
                        "could not preempt them, or not tell where a fault came from",
                        func->name);
    return REDEFINE_OK;
}

redefine_status rdf_go_plan_way(struct rdf_images *images, const struct rdf_go_abi *abi,
                                const struct rdf_go_target *target, struct rdf_go_plan *ret,
                                struct rdf_error *err)
{
    const struct rdf_arch *arch = images->arch;
    struct rdf_go_place place;
    *ret = (struct rdf_go_plan){.abi = abi, .images = images, .target = *target, .way = RDF_GO_WAY_CHECK};
    if (target->entry.has_check)
        return REDEFINE_OK;
    if (!rdf_go_target_place(images, target, &place))
        return take_window(ret, err);
    ret->way = place.padding_addr ? RDF_GO_WAY_PADDED : RDF_GO_WAY_FIRST;
    ret->moved = rdf_span_slice(target->code, 0, place.window_bytes);
    ret->jump_bytes = place.padding_addr ? arch->short_jump_bytes : arch->jump_bytes;
    ret->padding_addr = place.padding_addr;
    return REDEFINE_OK;
}

/* ---- the bytes ---- */

redefine_status rdf_go_plan_emit(struct rdf_go_plan *plan, const struct rdf_near_place *place,
                                 uint8_t *ret_code, uint32_t *ret_len_bytes, struct rdf_error *err)
{
    const struct rdf_go_target *target = &plan->target;
    struct rdf_go_emit request = {.entry = &target->entry,
                                  .addr = target->func.entry,
                                  .code_addr = place->code_addr,
                                  .slot_addr = place->slot_addr,
                                  .wrapper = target->is_generic ? &target->wrapper : NULL};
    if (plan->moved.len_bytes) {
        struct rdf_relocate_request move = {.window = plan->moved,
                                            .window_addr = request.addr,
                                            .patched_start = request.addr,
                                            .patched_end = request.addr + plan->jump_bytes,
                                            .trampoline_addr = place->code_addr + plan->abi->original_off};
        redefine_status status = plan->images->arch->relocate(&move, &plan->relocated, err);
        if (status != REDEFINE_OK)
            return status;
        request.relocated = &plan->relocated;
    }
    if (!plan->abi->emit(&request, ret_code, &plan->code))
        return rdf_fail(err, REDEFINE_ENOMEM, "the code for %s is out of reach of it", target->func.name);
    *ret_len_bytes = plan->code.len_bytes;
    return REDEFINE_OK;
}

/* Where threads inside the entry jump's bytes go on: the same instruction of the original. */
static void note_points(struct rdf_go_plan *plan)
{
    const struct rdf_go_entry *entry = &plan->target.entry;
    const struct rdf_relocated *relocated = &plan->relocated;
    plan->pc_count = 0;
    for (size_t i = 0; entry->has_check && i < entry->point_count; i++)
        plan->pcs[plan->pc_count++] = (struct rdf_pc_pair){entry->point[i], entry->point[i]};
    for (size_t i = 0; !entry->has_check && i < relocated->pc_count; i++)
        if (relocated->pcs[i].old_off > 0 && relocated->pcs[i].old_off < plan->edit.len_bytes &&
            plan->pc_count < RDF_GO_POINTS_MAX)
            plan->pcs[plan->pc_count++] = relocated->pcs[i];
}

redefine_status rdf_go_plan_edits(struct rdf_go_plan *plan, struct rdf_error *err)
{
    const struct rdf_arch *arch = plan->images->arch;
    uint64_t entry = plan->target.func.entry, padding = plan->padding_addr;
    struct rdf_edit *edits[] = {&plan->edit, &plan->padding};
    struct rdf_edit *long_jump = edits[padding != 0];
    plan->edit = (struct rdf_edit){.addr = entry};
    plan->padding = (struct rdf_edit){.addr = padding};
    if (padding)
        plan->edit.len_bytes = (uint8_t)arch->emit_short_jump(plan->edit.new_bytes, entry, padding);
    long_jump->len_bytes = (uint8_t)arch->emit_jump(long_jump->new_bytes, long_jump->addr, plan->code.relay);
    for (size_t i = 0; i < (padding ? 2 : 1); i++)
        if (edits[i]->len_bytes == 0 ||
            rdf_plan_read(plan->images, edits[i]->addr, edits[i]->old_bytes, edits[i]->len_bytes) < 0)
            return rdf_fail(err, REDEFINE_ESYSTEM, "the code of %s could not be read",
                            plan->target.func.name);
    note_points(plan);
    return REDEFINE_OK;
}
