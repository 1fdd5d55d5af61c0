/* SPDX-License-Identifier: MIT
 *
 * The functions of a commit that are new: window, trampoline and edits, one function after the other. Of each
 * only its record and its code is kept.
 */
#include "core/commit.h"

#include "base/bytes.h"
#include "base/progress.h"

#include <errno.h>
#include <inttypes.h>

/* ---- What is taken already ---- */

/* The function that is being planned; what an older record says of itself does not count. */
struct planned {
    const struct commit *commit;
    uint64_t entry;
};

static bool lies_in(uint64_t start, uint64_t end, uint64_t taken_start, uint64_t taken_end)
{
    return taken_start < end && start < taken_end;
}

static bool is_taken_by_redef(const struct planned *planned, const struct rdf_redef *redef, uint64_t start,
                              uint64_t end)
{
    uint64_t at = rdf_redef_edit(redef);
    bool is_taken = lies_in(start, end, at, at + redef->edit_bytes);
    for (size_t i = 0; !is_taken && i < rdf_redef_extras(redef); i++) {
        struct rdf_edit edit = rdf_redef_extra(redef, i);
        is_taken = lies_in(start, end, edit.addr, edit.addr + edit.len_bytes);
    }
    return redef->entry != planned->entry && is_taken;
}

static bool is_taken_by_touched(const struct planned *planned, const struct touched *touched, uint64_t start,
                                uint64_t end)
{
    return touched->entry != planned->entry && touched->is_new &&
           (lies_in(start, end, touched->patched_start, touched->patched_end) ||
            (touched->redef && is_taken_by_redef(planned, touched->redef, start, end)));
}

/* What is overwritten lies at an entry, behind its landing pad, or in padding that is known by its address:
 * so whatever reaches [start, end) is known by an address not far before it. Also what is not in force now: a
 * record keeps its places, and its next redefinition writes there again. */
static bool is_taken(void *ctx, uint64_t start, uint64_t end)
{
    enum { REACH_BYTES = 2 * RDF_EDIT_BYTES_MAX };
    const struct planned *planned = ctx;
    const struct rdf_redef *redef;
    const struct touched *touched;
    uint64_t at = start - REACH_BYTES;
    while ((redef = rdf_table_find_within(planned->commit->engine->registry.table, &at, end)))
        if (is_taken_by_redef(planned, redef, start, end))
            return true;
    at = start - REACH_BYTES;
    while ((touched = rdf_table_find_within(planned->commit->index, &at, end)))
        if (is_taken_by_touched(planned, touched, start, end))
            return true;
    return false;
}

/* ---- One function ---- */

/* A thread may come late, when the function has been restored; but where a trap of the program's own stands
 * again, it is that one. */
uint64_t rdf_commit_where_from_trap(void *ctx, uint64_t addr)
{
    const struct rdf_engine *engine = ctx;
    const struct rdf_arch *arch = engine->arch;
    uint64_t detour = rdf_detours_find(&engine->detours, addr);
    bool is_as_it_was = detour == addr; /* which may be, or have become since, a trap that lasts */
    const struct rdf_redef *redef = detour && !is_as_it_was ? NULL
                                                            : rdf_registry_find(&engine->registry, addr);
    if (!redef || redef->strategy != RDF_STRATEGY_TRAP || rdf_redef_edit(redef) != addr ||
        (is_as_it_was && !redef->is_active))
        return detour;
    bool is_restored = !redef->is_active && rdf_bytes_equal(rdf_redef_bytes(redef) + redef->edit_off,
                                                            arch->trap, arch->trap_bytes);
    return is_restored ? 0 : rdf_redef_relay(redef);
}

/* A trap needs its handler, and the address of the trap, which may be behind a landing pad, to be known. */
static redefine_status prepare_trap(struct commit *commit, struct touched *touched)
{
    struct rdf_space *space = commit->engine->space;
    int status = space->ops->catch_traps
                     ? space->ops->catch_traps(space, rdf_commit_where_from_trap, commit->engine)
                     : -ENOSYS;
    if (status < 0)
        return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                        "the function at 0x%" PRIx64
                        " is so short that only a trap fits, and this process cannot "
                        "catch one (%s)",
                        touched->entry, rdf_errno_name(status));
    commit->engine->catches_traps = true;
    /* A second record of the same key would stay behind when the first is found and taken back. */
    if (rdf_redef_edit(touched->redef) == touched->entry)
        return REDEFINE_OK;
    return rdf_commit_note_alias(commit, rdf_redef_edit(touched->redef), touched);
}

/* Padding is known by its address, so that nothing else takes it: what holds the entry jump of a short one,
 * and hops outside the function. */
static redefine_status take_padding(struct commit *commit, struct touched *touched)
{
    const struct rdf_function *function = &touched->function;
    for (size_t i = 0; i < rdf_redef_extras(touched->redef); i++) {
        uint64_t addr = rdf_redef_extra(touched->redef, i).addr;
        if (addr >= function->start && addr < function->end)
            continue;
        struct rdf_alias *alias = rdf_arena_alloc(&commit->arena, sizeof *alias);
        struct rdf_table *index = rdf_table_grow(&commit->arena, commit->index, 1);
        if (!alias || !index)
            return rdf_commit_no_memory(commit);
        commit->index = index;
        *alias = (struct rdf_alias){addr, touched};
        (void)rdf_table_insert_alias(commit->index, alias);
        redefine_status status = rdf_commit_note_alias(commit, addr, touched);
        if (status != REDEFINE_OK)
            return status;
    }
    return REDEFINE_OK;
}

uint8_t *rdf_commit_stage(struct commit *commit, const struct rdf_near_place *place)
{
    if (!commit->staged)
        commit->staged = rdf_arena_alloc(&commit->arena, RDF_NEAR_CHUNKS_MAX * sizeof *commit->staged);
    if (!commit->staged)
        return NULL;
    const struct rdf_near_chunk *chunk = &commit->engine->near.chunk[place->chunk];
    bool is_old = place->chunk < commit->mark->chunk_count;
    uint32_t from = is_old ? commit->mark->code_used[place->chunk] : 0;
    uint8_t **code = &commit->staged[place->chunk];
    if (!*code)
        *code = rdf_arena_alloc(&commit->arena, chunk->code_bytes - from);
    return *code ? *code + (place->code_addr - chunk->code_addr - from) : NULL;
}

/* What stays of a plan: the record in the registry, the code until it is filled in. */
static redefine_status keep_plan(struct commit *commit, struct touched *touched, const struct rdf_plan *plan)
{
    uint8_t *code = rdf_commit_stage(commit, &plan->place);
    touched->redef = code ? rdf_redef_new(&commit->engine->registry.arena, plan) : NULL;
    if (!touched->redef)
        return rdf_commit_no_memory(commit);
    touched->redef->file = rdf_redef_file(rdf_maps_find(&commit->images->maps, touched->entry));
    rdf_bytes_copy(code, plan->code, plan->code_bytes);
    for (struct rdf_layer *layer = touched->top; layer; layer = layer->below)
        if (touched->counter_addr && !layer->replacement)
            layer->replacement = plan->count_addr;
    if (plan->window.strategy == RDF_STRATEGY_TRAP) {
        redefine_status status = prepare_trap(commit, touched);
        if (status != REDEFINE_OK)
            return status;
    }
    return take_padding(commit, touched);
}

struct scratch {
    struct rdf_window window;
    struct rdf_plan plan;
};

static redefine_status find_window(struct commit *commit, struct touched *touched, struct scratch *scratch)
{
    struct rdf_error why;
    rdf_error_clear(&why);
    struct planned planned = {commit, touched->entry};
    const struct rdf_taken taken = {is_taken, &planned, touched->branched_to, &commit->one};
    struct rdf_window *window = &scratch->window;
    rdf_arena_empty(&commit->one);
    redefine_status status = rdf_plan_window_beside(commit->images, &touched->function, &taken, window, &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);
    if (touched->reliance)
        (void)rdf_plan_keep(commit->engine->arch, touched->reliance, window);
    touched->patched_start = window->patched_start;
    touched->patched_end = window->is_extended ? window->end : window->patched_end;
    return REDEFINE_OK;
}

static redefine_status make_plan(struct commit *commit, struct touched *touched, struct scratch *scratch)
{
    struct rdf_error why;
    rdf_error_clear(&why);
    redefine_status status = rdf_plan_make(&commit->engine->near, commit->images, &scratch->window,
                                           touched->counter_addr, &scratch->plan, &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);
    return keep_plan(commit, touched, &scratch->plan);
}

/* ---- All of them ---- */

/* A function that was to be left out if it could not be planned: as if it had never been touched. */
static void forget(struct touched *touched)
{
    touched->top = NULL;
    touched->is_left_out = true;
    touched->redef = NULL;
    touched->patched_end = touched->patched_start;
}

/* Do `step` for each function that is new; one that need not succeed may fail. */
static redefine_status for_each_new(struct commit *commit, const char *what,
                                    redefine_status (*step)(struct commit *, struct touched *,
                                                            struct scratch *),
                                    struct scratch *scratch)
{
    enum { STEP = 256 };
    size_t done = 0;
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        if (touched->is_left_out || !touched->is_new)
            continue;
        if (done++ % STEP == STEP - 1)
            rdf_progress(what, done, commit->new_count + 1);
        redefine_status status = step(commit, touched, scratch);
        if (status != REDEFINE_OK && !rdf_commit_leave_out(commit, touched->change))
            return status;
        if (status != REDEFINE_OK)
            forget(touched);
    }
    return REDEFINE_OK;
}

/* A window that cannot be planned is none yet: where something branches into it there will be another. */
static redefine_status first_plan(struct commit *commit, struct touched *touched, struct scratch *scratch)
{
    redefine_status status = find_window(commit, touched, scratch);
    if (status == REDEFINE_OK && make_plan(commit, touched, scratch) != REDEFINE_OK) {
        touched->redef = NULL;
        *commit->err = (struct rdf_error){0};
    }
    return status;
}

/* What another function branches to stays as it is: the strategies that leave it so are tried again. What
 * callers rely on takes another relay. */
static redefine_status final_plan(struct commit *commit, struct touched *touched, struct scratch *scratch)
{
    if (touched->redef && !touched->branched_to && !touched->reliance)
        return REDEFINE_OK;
    redefine_status status = find_window(commit, touched, scratch);
    return status == REDEFINE_OK ? make_plan(commit, touched, scratch) : status;
}

redefine_status rdf_commit_inspect(struct commit *commit)
{
    if (!commit->new_count)
        return REDEFINE_OK;
    struct scratch *scratch = rdf_arena_alloc(&commit->arena, sizeof *scratch);
    if (!scratch)
        return rdf_commit_no_memory(commit);
    rdf_arena_init(&commit->one, commit->engine->pages);
    redefine_status status = for_each_new(commit, "functions planned", first_plan, scratch);
    if (status == REDEFINE_OK)
        status = rdf_commit_find_branches(commit);
    if (status == REDEFINE_OK)
        status = rdf_commit_find_reliance(commit);
    if (status == REDEFINE_OK)
        status = for_each_new(commit, "functions planned again", final_plan, scratch);
    rdf_arena_free(&commit->one);
    return status;
}
