/* SPDX-License-Identifier: MIT */
#include "api/go_plan.h"

const char *rdf_go_way_name(enum rdf_go_way way)
{
    switch (way) {
    case RDF_GO_WAY_CHECK: return "a jump over the stack check";
    case RDF_GO_WAY_WINDOW: return "a jump over the first instructions";
    }
    return "";
}

const char *rdf_go_way_word(enum rdf_go_way way)
{
    switch (way) {
    case RDF_GO_WAY_CHECK: return "check";
    case RDF_GO_WAY_WINDOW: return "jump";
    }
    return "";
}

/* ---- the way in ---- */

/* The window that the core would take, if it suits Go. Nothing may lie in padding: the runtime looks up where
 * a signal found a thread, and ends the program when that is in no function's table. */
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
    plan->moved = (struct rdf_span){window->bytes, (size_t)(window->end - func->entry)};
    bool is_jump = window->strategy <= RDF_STRATEGY_PADDED_JUMP && window->patched_start == func->entry;
    if (!is_jump || window->branch_count || window->branches_back)
        return rdf_fail(
            err, REDEFINE_EUNSUPPORTED,
            "a loop of %s begins in its first instructions, which would run elsewhere: the runtime "
            "could not preempt it there",
            func->name);
    if (!plan->abi->may_move(plan->moved, func->entry, &plan->probe))
        return rdf_fail(
            err, REDEFINE_EUNSUPPORTED,
            "the first instructions of %s cannot run elsewhere: the runtime could not tell where a "
            "fault came from",
            func->name);
    return REDEFINE_OK;
}

redefine_status rdf_go_plan_way(struct rdf_images *images, const struct rdf_go_abi *abi,
                                const struct rdf_go_target *target, struct rdf_go_plan *ret,
                                struct rdf_error *err)
{
    *ret = (struct rdf_go_plan){.abi = abi,
                                .images = images,
                                .target = *target,
                                .way = target->entry.has_check ? RDF_GO_WAY_CHECK : RDF_GO_WAY_WINDOW};
    return target->entry.has_check ? REDEFINE_OK : take_window(ret, err);
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
                                  .wrapper = target->is_generic ? &target->wrapper : NULL,
                                  .registers = plan->registers,
                                  .probe = plan->probe};
    if (plan->moved.len_bytes) {
        struct rdf_relocate_request move = {.window = plan->moved,
                                            .window_addr = request.addr,
                                            .patched_start = request.addr,
                                            .patched_end = request.addr + plan->images->arch->jump_bytes,
                                            .trampoline_addr = place->code_addr + plan->probe.len_bytes};
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

/* Where threads inside the entry jump's bytes go on: the same instruction of the original. One that may fault
 * there has its place behind the probe, which such a thread has not run: it is waited for. */
static void note_points(struct rdf_go_plan *plan)
{
    const struct rdf_go_entry *entry = &plan->target.entry;
    const struct rdf_relocated *relocated = &plan->relocated;
    plan->pc_count = 0;
    for (size_t i = 0; entry->has_check && i < entry->point_count; i++)
        plan->pcs[plan->pc_count++] = (struct rdf_pc_pair){entry->point[i], entry->point[i]};
    for (size_t i = 0; !entry->has_check && i < relocated->pc_count; i++) {
        if (relocated->pcs[i].old_off == 0 || relocated->pcs[i].old_off >= plan->edit.len_bytes)
            continue;
        plan->can_be_parked = true;
        if (plan->probe.len_bytes == 0 && plan->pc_count < RDF_GO_POINTS_MAX)
            plan->pcs[plan->pc_count++] = relocated->pcs[i];
    }
}

redefine_status rdf_go_plan_edit(struct rdf_go_plan *plan, struct rdf_error *err)
{
    const struct rdf_arch *arch = plan->images->arch;
    struct rdf_edit *edit = &plan->edit;
    *edit = (struct rdf_edit){.addr = plan->target.func.entry};
    edit->len_bytes = (uint8_t)arch->emit_jump(edit->new_bytes, edit->addr, plan->code.relay);
    if (edit->len_bytes == 0 || rdf_plan_read(plan->images, edit->addr, edit->old_bytes, edit->len_bytes) < 0)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code of %s could not be read", plan->target.func.name);
    note_points(plan);
    return REDEFINE_OK;
}
