/* SPDX-License-Identifier: MIT
 *
 * A commit: every stage takes the former's records and makes new ones; nothing is visible before the
 * write, and everything taken before it can be given back.
 *
 *   resolve   which function each change means (a stub or IFUNC is followed); its record, old or new
 *   layer     what each function's stack of owners will be
 *   plan      windows, trampolines, edits of the functions that are new
 *   fill      trampolines into memory near the code
 *   write     one stop of the world, every edit or none; and in it:
 *   publish   slots, originals, registry
 */
#include "core/commit.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

redefine_status rdf_commit_no_memory(struct commit *commit)
{
    return rdf_fail(commit->err, REDEFINE_ENOMEM, "no memory for the records of this change");
}

/* ---- resolve ---- */

static bool is_code(const struct commit *commit, uint64_t addr)
{
    return rdf_maps_allow(&commit->images->maps, addr, 1, RDF_PROT_EXEC);
}

static redefine_status follow(struct commit *commit, uint64_t addr, uint64_t *ret)
{
    struct rdf_error why = {0};
    redefine_status status = rdf_images_follow(commit->images, addr, ret, &why);
    return status == REDEFINE_OK ? status : rdf_fail(commit->err, status, "%s", why.sentence);
}

static redefine_status check_replacement(struct commit *commit, uint64_t replacement, uint64_t entry)
{
    if (!is_code(commit, replacement))
        return rdf_fail(commit->err, REDEFINE_EINVAL, "the replacement 0x%" PRIx64 " is not executable code",
                        replacement);
    uint64_t runs;
    redefine_status status = follow(commit, replacement, &runs);
    if (status != REDEFINE_OK)
        return status;
    if (runs != entry)
        return REDEFINE_OK;
    char where[256];
    rdf_images_describe(commit->images, entry, where, sizeof where);
    return rdf_fail(commit->err, REDEFINE_EINVAL,
                    "the replacement is the target itself (%s): a call would never end; make the replacement "
                    "static if it has the name of the function that it replaces",
                    where);
}

/* What is mapped now at the entry of a record made earlier. */
enum code_state {
    CODE_AS_RECORDED,
    CODE_ORIGINAL, /* though it is redefined: loaded anew, or put back by someone else */
    CODE_OTHER,
    CODE_GONE, /* its object was unloaded */
    CODE_UNREADABLE,
};

/* What an edit at the entry writes: a jump straight to `direct_to`, or with 0 what the plan says. */
static void jump_bytes(const struct commit *commit, const struct rdf_redef *redef, uint64_t direct_to,
                       uint8_t ret_bytes[RDF_JUMP_BYTES_MAX])
{
    if (!direct_to ||
        commit->engine->arch->emit_jump(ret_bytes, redef->edit.addr, direct_to) != redef->edit.len_bytes)
        rdf_bytes_copy(ret_bytes, redef->edit.new_bytes, RDF_JUMP_BYTES_MAX);
}

static enum code_state state_of(const struct commit *commit, const struct rdf_redef *redef)
{
    uint8_t now[RDF_WINDOW_BYTES_MAX];
    const struct rdf_window *window = &redef->window;
    size_t len = (size_t)(window->end - window->function.start);
    if (!is_code(commit, window->function.start))
        return CODE_GONE;
    if (rdf_plan_read(commit->images, window->function.start, now, len) < 0)
        return CODE_UNREADABLE;
    bool is_original = rdf_bytes_equal(now, window->bytes, len);
    if (!redef->top)
        return is_original ? CODE_AS_RECORDED : CODE_OTHER;
    if (is_original)
        return CODE_ORIGINAL;
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    size_t off = (size_t)(redef->edit.addr - window->function.start);
    size_t inside = len - off < redef->edit.len_bytes ? len - off : redef->edit.len_bytes;
    jump_bytes(commit, redef, redef->direct_to, jump);
    if (!rdf_bytes_equal(now + off, jump, inside))
        return CODE_OTHER;
    rdf_bytes_copy(now + off, redef->edit.old_bytes, inside);
    return rdf_bytes_equal(now, window->bytes, len) ? CODE_AS_RECORDED : CODE_OTHER;
}

/* "inside an instruction" is what decoding from the entry tells; the image knows only where it begins. */
static redefine_status find_function(struct commit *commit, uint64_t entry, struct rdf_function *ret)
{
    struct rdf_error why = {0};
    redefine_status status = rdf_images_function(commit->images, entry, ret, &why);
    return status == REDEFINE_OK ? status : rdf_fail(commit->err, status, "%s", why.sentence);
}

static redefine_status new_redef(struct commit *commit, uint64_t entry, struct rdf_redef **ret)
{
    struct rdf_function function;
    redefine_status status = find_function(commit, entry, &function);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_redef *redef = rdf_arena_alloc(&commit->engine->registry.arena, sizeof *redef);
    if (!redef)
        return rdf_commit_no_memory(commit);
    redef->window.function = function;
    rdf_table_insert(commit->fresh, entry, redef);
    commit->new_count++;
    *ret = redef;
    return REDEFINE_OK;
}

static redefine_status note_alias(struct commit *commit, uint64_t addr, struct rdf_redef *redef)
{
    struct alias *alias = rdf_arena_alloc(&commit->arena, sizeof *alias);
    if (!alias)
        return rdf_commit_no_memory(commit);
    *alias = (struct alias){commit->alias, addr, redef};
    commit->alias = alias;
    commit->alias_count++;
    return REDEFINE_OK;
}

/* The record that a target means; *ret null for a restore of what was never redefined. *ret_lost: it says
 * that the function is redefined, and the code that was has gone. */
static redefine_status resolve(struct commit *commit, const struct rdf_change *change, struct rdf_redef **ret,
                               bool *ret_lost)
{
    struct rdf_engine *engine = commit->engine;
    uint64_t entry = change->target;
    *ret = rdf_registry_find(&engine->registry, entry);
    bool restore = change->kind == RDF_CHANGE_RESTORE;
    /* An alias is followed anew: another object may be loaded there now, with a function at that address.
     * With nothing there, a restore means what it stood for. */
    bool is_code_now = is_code(commit, entry);
    bool is_known = *ret && ((*ret)->window.function.start == entry || (restore && !is_code_now));
    if (!is_known) {
        if (!is_code_now) {
            const struct rdf_map *map = rdf_maps_find(&commit->images->maps, entry);
            if (restore)
                return REDEFINE_OK;
            return rdf_fail(commit->err, REDEFINE_EINVAL,
                            "0x%" PRIx64 " is %s%s%s, not the entry of a function", entry,
                            map ? "data" : "not mapped", map && map->path[0] ? " in " : "",
                            map ? map->path : "");
        }
        redefine_status status = follow(commit, entry, &entry);
        if (status != REDEFINE_OK)
            return status;
        *ret = rdf_registry_find(&engine->registry, entry);
        if (!*ret || (*ret)->window.function.start != entry)
            *ret = rdf_table_find(commit->fresh, entry);
    }
    /* Touched: an earlier change of this batch may have redefined it. */
    if (restore &&
        (!*ret || (!(*ret)->top && !rdf_table_find(commit->index, (*ret)->window.function.start)))) {
        *ret = NULL;
        return REDEFINE_OK;
    }
    if (*ret && rdf_table_find(commit->fresh, entry) != *ret) {
        enum code_state state = state_of(commit, *ret);
        if (state == CODE_UNREADABLE)
            return rdf_fail(commit->err, REDEFINE_ESYSTEM,
                            "the code at 0x%" PRIx64 " could not be read; nothing "
                            "was changed",
                            (*ret)->window.function.start);
        if ((*ret)->top && state == CODE_OTHER)
            return rdf_fail(commit->err, REDEFINE_EBUSY,
                            "the bytes at 0x%" PRIx64
                            " were changed by someone else since they were redefined; "
                            "nothing was changed",
                            (*ret)->edit.addr);
        *ret_lost = (*ret)->top && state != CODE_AS_RECORDED;
        if (!restore && (state == CODE_OTHER || state == CODE_GONE)) {
            entry = (*ret)->window.function.start;
            *ret = rdf_table_find(commit->fresh, entry);
        }
    }
    if (!*ret) {
        redefine_status status = new_redef(commit, entry, ret);
        if (status != REDEFINE_OK)
            return status;
    }
    if (change->target != (*ret)->window.function.start &&
        rdf_registry_find(&engine->registry, change->target) != *ret)
        return note_alias(commit, change->target, *ret);
    return REDEFINE_OK;
}

bool rdf_commit_is_new(const struct commit *commit, const struct rdf_redef *redef)
{
    return rdf_table_find(commit->fresh, redef->window.function.start) == redef;
}

/* ---- layer ---- */

/* `lost`: what the record says of layers is no longer so. */
static struct touched *touch(struct commit *commit, struct rdf_redef *redef, bool lost)
{
    /* The index maps entries to records of this commit; a touched is stored under its redef's entry. */
    struct touched *touched = (struct touched *)(void *)rdf_table_find(commit->index,
                                                                       redef->window.function.start);
    if (touched)
        return touched;
    touched = rdf_arena_alloc(&commit->arena, sizeof *touched);
    if (!touched)
        return NULL;
    touched->redef = redef;
    touched->was_active = redef->top != NULL && !lost;
    struct rdf_layer **to = &touched->top;
    for (const struct rdf_layer *layer = lost ? NULL : redef->top; layer; layer = layer->below) {
        *to = rdf_arena_alloc(&commit->arena, sizeof **to);
        if (!*to)
            return NULL;
        **to = *layer;
        (*to)->below = NULL;
        to = &(*to)->below;
    }
    *commit->last = touched;
    commit->last = &touched->next;
    rdf_table_insert(commit->index, redef->window.function.start, (struct rdf_redef *)(void *)touched);
    return touched;
}

static redefine_status change_layers(struct commit *commit, struct touched *touched,
                                     const struct rdf_change *change)
{
    struct rdf_layer **at = &touched->top;
    while (*at && (*at)->owner != change->owner)
        at = &(*at)->below;
    if (change->kind == RDF_CHANGE_RESTORE) {
        if (*at)
            *at = (*at)->below;
        return REDEFINE_OK;
    }
    if (change->kind == RDF_CHANGE_COUNT && !rdf_commit_is_new(commit, touched->redef))
        return rdf_fail(commit->err, REDEFINE_EBUSY,
                        "the function at 0x%" PRIx64 " is redefined already, or was: its "
                        "trampoline does not count",
                        touched->redef->window.function.start);
    redefine_status status = REDEFINE_OK;
    if (change->kind == RDF_CHANGE_REDEFINE)
        status = check_replacement(commit, change->replacement, touched->redef->window.function.start);
    if (status != REDEFINE_OK)
        return status;
    touched->counter_addr = change->counter_addr;
    touched->change = change;
    if (!*at) {
        struct rdf_layer *layer = rdf_arena_alloc(&commit->arena, sizeof *layer);
        if (!layer)
            return rdf_commit_no_memory(commit);
        layer->below = touched->top;
        touched->top = layer;
        at = &touched->top;
    }
    struct rdf_function function;
    bool known = rdf_images_function(commit->images, change->replacement, &function, NULL) == REDEFINE_OK;
    (*at)->owner = change->owner;
    (*at)->replacement = change->replacement;
    (*at)->replacement_end = known ? function.end : 0;
    (*at)->original = change->original;
    return REDEFINE_OK;
}

/* A change that need not succeed: its reason is noted and the commit goes on without it. */
static bool leave_out(struct commit *commit, const struct rdf_change *change)
{
    if (!change || !change->refused)
        return false;
    change->refused(change, commit->err);
    *commit->err = (struct rdf_error){0};
    return true;
}

static redefine_status resolve_all(struct commit *commit, const struct rdf_change *change, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rdf_redef *redef;
        bool lost = false;
        redefine_status status = resolve(commit, &change[i], &redef, &lost);
        if (status == REDEFINE_OK && redef) {
            struct touched *touched = touch(commit, redef, lost);
            status = touched ? change_layers(commit, touched, &change[i]) : rdf_commit_no_memory(commit);
        }
        if (status != REDEFINE_OK && !leave_out(commit, &change[i]))
            return status;
    }
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below)
            touched->layer_count++;
        commit->layer_count += touched->layer_count;
    }
    return REDEFINE_OK;
}

/* ---- plan and fill ---- */

/* Where the handler of traps continues. */
static uint64_t relay_of_trap(void *ctx, uint64_t addr)
{
    const struct rdf_engine *engine = ctx;
    const struct rdf_redef *redef = rdf_registry_find(&engine->registry, addr);
    return redef ? redef->relay_addr : 0;
}

/* A trap needs its handler, and the address of the trap, which may be behind a landing pad, to be known. */
static redefine_status prepare_trap(struct commit *commit, struct rdf_redef *redef)
{
    struct rdf_space *space = commit->engine->space;
    int status = space->ops->catch_traps ? space->ops->catch_traps(space, relay_of_trap, commit->engine)
                                         : -ENOSYS;
    if (status < 0)
        return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                        "the function at 0x%" PRIx64
                        " is so short that only a trap fits, and this process cannot "
                        "catch one (%s)",
                        redef->window.function.start, rdf_errno_name(status));
    commit->engine->catches_traps = true;
    return note_alias(commit, redef->edit.addr, redef);
}

/* What the registry keeps of a plan. */
static redefine_status keep_plan(struct commit *commit, struct touched *touched, const struct rdf_plan *plan)
{
    struct rdf_redef *redef = touched->redef;
    struct rdf_arena *lasting = &commit->engine->registry.arena;
    struct rdf_pc_pair *pcs = rdf_arena_alloc(lasting, plan->relocated.pc_count * sizeof *pcs);
    struct rdf_edit *extra = rdf_arena_alloc(lasting, plan->extra_count * sizeof *extra);
    uint8_t *code = rdf_arena_alloc(&commit->arena, plan->code_bytes);
    if (!pcs || !extra || !code)
        return rdf_commit_no_memory(commit);
    rdf_bytes_copy(pcs, plan->relocated.pcs, plan->relocated.pc_count * sizeof *pcs);
    rdf_bytes_copy(extra, plan->extra, plan->extra_count * sizeof *extra);
    rdf_bytes_copy(code, plan->code, plan->code_bytes);
    redef->extra = extra;
    redef->extra_count = plan->extra_count;
    redef->window = plan->window;
    redef->window.function.image = NULL; /* gone with the commit */
    redef->window.function.name = NULL;
    redef->edit = plan->edit;
    redef->relay_addr = plan->relay_addr;
    redef->trampoline_addr = plan->trampoline_addr;
    redef->slot_addr = plan->place.slot_addr;
    redef->pcs = pcs;
    redef->pc_count = plan->relocated.pc_count;
    touched->place = plan->place;
    touched->code = code;
    touched->code_bytes = plan->code_bytes;
    for (struct rdf_layer *layer = touched->top; layer; layer = layer->below)
        if (touched->counter_addr && !layer->replacement)
            layer->replacement = plan->count_addr;
    return redef->window.strategy == RDF_STRATEGY_TRAP ? prepare_trap(commit, redef) : REDEFINE_OK;
}

/* The function that is being planned; what an older record says of itself does not count. */
struct planned {
    const struct commit *commit;
    uint64_t entry;
};

/* By its window: that is known before its edits are. Branches are no padding. */
static bool overlaps(const struct planned *planned, const struct rdf_redef *redef, uint64_t start,
                     uint64_t end)
{
    const struct rdf_window *window = &redef->window;
    if (window->function.start == planned->entry)
        return false;
    return (window->patched_start < end && start < window->patched_end) ||
           (window->padding_addr && window->padding_addr < end &&
            start < window->padding_addr + planned->commit->engine->arch->jump_bytes);
}

/* Also what is not in force now: a record keeps its places, and its next redefinition writes there again. */
static bool is_taken(void *ctx, uint64_t start, uint64_t end)
{
    const struct planned *planned = ctx;
    const struct rdf_registry *registry = &planned->commit->engine->registry;
    for (size_t i = 0; i < registry->count; i++)
        if (overlaps(planned, registry->redef[i], start, end))
            return true;
    for (const struct touched *touched = planned->commit->first; touched; touched = touched->next)
        if (overlaps(planned, touched->redef, start, end))
            return true;
    return false;
}

static redefine_status find_window(struct commit *commit, struct touched *touched)
{
    struct rdf_error why = {0};
    struct planned planned = {commit, touched->redef->window.function.start};
    const struct rdf_taken taken = {is_taken, &planned, touched->branched_to};
    struct rdf_function function = touched->redef->window.function;
    redefine_status status = rdf_plan_window_beside(commit->images, &function, &taken,
                                                    &touched->redef->window, &why);
    return status == REDEFINE_OK ? status : rdf_fail(commit->err, status, "%s", why.sentence);
}

static redefine_status make_plan(struct commit *commit, struct touched *touched, struct rdf_plan *scratch)
{
    struct rdf_error why = {0};
    struct rdf_window window = touched->redef->window;
    redefine_status status = rdf_plan_make(&commit->engine->near, commit->images, &window,
                                           touched->counter_addr, scratch, &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);
    return keep_plan(commit, touched, scratch);
}

/* A function that was to be left out if it could not be planned: as if it had never been touched. */
static void forget(struct commit *commit, struct touched *touched)
{
    touched->top = NULL;
    touched->is_left_out = true;
    commit->layer_count -= touched->layer_count;
    touched->layer_count = 0;
}

/* Do `step` for each function that is new; one that need not succeed may fail. */
static redefine_status for_each_new(struct commit *commit,
                                    redefine_status (*step)(struct commit *, struct touched *,
                                                            struct rdf_plan *),
                                    struct rdf_plan *scratch)
{
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        if (touched->is_left_out || !rdf_commit_is_new(commit, touched->redef))
            continue;
        redefine_status status = step(commit, touched, scratch);
        if (status != REDEFINE_OK && !leave_out(commit, touched->change))
            return status;
        if (status != REDEFINE_OK)
            forget(commit, touched);
    }
    return REDEFINE_OK;
}

static redefine_status first_window(struct commit *commit, struct touched *touched, struct rdf_plan *scratch)
{
    (void)scratch;
    return find_window(commit, touched);
}

/* What another function branches to stays as it is: the strategies that leave it so are tried again. */
static redefine_status narrower_window(struct commit *commit, struct touched *touched,
                                       struct rdf_plan *scratch)
{
    (void)scratch;
    return touched->branched_to ? find_window(commit, touched) : REDEFINE_OK;
}

static redefine_status plan_all(struct commit *commit)
{
    struct rdf_plan *scratch = rdf_arena_alloc(&commit->arena, sizeof *scratch);
    if (!scratch)
        return rdf_commit_no_memory(commit);
    redefine_status status = for_each_new(commit, first_window, scratch);
    if (status == REDEFINE_OK)
        status = rdf_commit_find_branches(commit);
    if (status == REDEFINE_OK)
        status = for_each_new(commit, narrower_window, scratch);
    if (status == REDEFINE_OK)
        status = for_each_new(commit, make_plan, scratch);
    return status;
}

/* One write per chunk: the places of this commit lie side by side. */
static redefine_status fill_chunk(struct commit *commit, size_t chunk, uint32_t from, uint32_t to)
{
    uint8_t *code = rdf_arena_alloc(&commit->arena, to - from);
    if (!code)
        return rdf_commit_no_memory(commit);
    uint64_t addr = commit->engine->near.chunk[chunk].code_addr + from;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        if (touched->code && touched->place.chunk == chunk)
            rdf_bytes_copy(code + (touched->place.code_addr - addr), touched->code, touched->code_bytes);
    return rdf_near_fill(&commit->engine->near, chunk, addr, code, to - from, commit->err);
}

static redefine_status fill_all(struct commit *commit, const struct rdf_near_mark *mark)
{
    struct rdf_near *near = &commit->engine->near;
    for (size_t i = 0; i < near->chunk_count; i++) {
        uint32_t from = i < mark->chunk_count ? mark->code_used[i] : 0;
        redefine_status status = REDEFINE_OK;
        if (near->chunk[i].code_used > from)
            status = fill_chunk(commit, i, from, near->chunk[i].code_used);
        if (status != REDEFINE_OK)
            return status;
    }
    return rdf_near_seal(near, mark, commit->err);
}

static void store_code(void (**cell)(void), uint64_t addr)
{
    if (cell)
        __atomic_store_n(cell, (void (*)(void))(uintptr_t)addr, __ATOMIC_RELEASE);
}

/* Slot and originals: data, one aligned store each. Never fails once the chunk is mapped. */
static void set_data(struct commit *commit, const struct touched *touched)
{
    struct rdf_redef *redef = touched->redef;
    uint64_t asked = 0;
    uint64_t asked_replacement = 0;
    for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below) {
        uint64_t original = layer->below ? layer->below->replacement : redef->trampoline_addr;
        store_code(layer->original, original);
        if (!layer->owner) {
            asked = original;
            asked_replacement = layer->replacement;
            redef->last_replacement = layer->replacement;
            redef->last_replacement_end = layer->replacement_end;
        }
    }
    if (touched->top && !asked)
        asked = redef->trampoline_addr;
    redef->direct_to = touched->direct_to;
    __atomic_store_n(&redef->asked_original, asked, __ATOMIC_RELEASE);
    __atomic_store_n(&redef->asked_replacement, asked_replacement, __ATOMIC_RELEASE);
    if (touched->top)
        (void)rdf_near_set_slot(&commit->engine->near, redef->slot_addr, touched->top->replacement);
}

/* ---- publish ---- */

/* Only stores: nothing here can fail or wait. Readers see the registry last, when everything that it leads
 * to is in place. */
static void publish(void *ctx)
{
    struct commit *commit = ctx;
    struct rdf_registry *registry = &commit->engine->registry;
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        if (touched->is_left_out)
            continue;
        struct rdf_redef *redef = touched->redef;
        set_data(commit, touched);
        while (redef->top) {
            struct rdf_layer *layer = redef->top;
            redef->top = layer->below;
            rdf_registry_give_layer(registry, layer);
        }
        struct rdf_layer **to = &redef->top;
        for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below) {
            *to = rdf_registry_take_layer(registry);
            **to = *layer;
            (*to)->below = NULL;
            to = &(*to)->below;
        }
        if (rdf_commit_is_new(commit, redef))
            rdf_registry_add(registry, redef);
    }
    for (const struct alias *alias = commit->alias; alias; alias = alias->next)
        if (alias->redef->relay_addr) /* else it was left out */
            rdf_registry_add_alias(registry, alias->addr, alias->redef);
    rdf_registry_publish(registry);
}

/* ---- write ---- */

/* A replacement within reach of the entry jump is jumped to directly, which is the fastest there is. When it
 * is replaced the jump is turned to the relay, once; from then on a change of replacement is a change of
 * data. */
static void choose_jump(const struct commit *commit, struct touched *touched)
{
    const struct rdf_redef *redef = touched->redef;
    enum rdf_strategy strategy = redef->window.strategy;
    uint64_t replacement = touched->top ? touched->top->replacement : 0;
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    touched->direct_to = 0;
    if (touched->was_active && redef->direct_to == replacement)
        touched->direct_to = redef->direct_to;
    else if (!touched->was_active && touched->layer_count == 1 && strategy <= RDF_STRATEGY_PADDED_JUMP &&
             commit->engine->arch->emit_jump(jump, redef->edit.addr, replacement) == redef->edit.len_bytes)
        touched->direct_to = replacement;
}

/* How many edits take it from what it is to what it will be: all, the entry's alone, or none. */
static size_t edits_of(const struct touched *touched)
{
    if (touched->was_active != (touched->top != NULL))
        return 1 + touched->redef->extra_count;
    return touched->top && touched->direct_to != touched->redef->direct_to;
}

/* The write of edit number `index`: 0 at the entry, the extra ones behind it. */
static struct rdf_write_item item_for(const struct commit *commit, const struct touched *touched,
                                      size_t index)
{
    const struct rdf_redef *redef = touched->redef;
    struct rdf_edit edit = index == 0 ? redef->edit : redef->extra[index - 1];
    struct rdf_write_item item = {.edit = edit, .pcs = redef->pcs, .pc_count = redef->pc_count};
    if (index == 0)
        jump_bytes(commit, redef, touched->direct_to, item.edit.new_bytes);
    if (touched->was_active && index == 0)
        jump_bytes(commit, redef, redef->direct_to, item.edit.old_bytes);
    else if (touched->was_active)
        rdf_bytes_copy(item.edit.old_bytes, edit.new_bytes, sizeof edit.new_bytes);
    if (!touched->top)
        rdf_bytes_copy(item.edit.new_bytes, edit.old_bytes, sizeof edit.old_bytes);
    /* The entry jump is one instruction, and so is a branch: nobody is inside them. Padding never runs. */
    item.moves = index == 0 && !touched->was_active;
    item.branches_back = redef->window.branches_back;
    item.is_loop_head = redef->window.is_loop_head;
    item.window_start = redef->window.function.start;
    item.window_end = redef->window.end;
    item.trampoline_addr = redef->trampoline_addr;
    for (size_t i = 0; i < 2; i++) {
        uint64_t addr = item.edit.addr + (i ? item.edit.len_bytes - 1u : 0);
        const struct rdf_map *map = rdf_maps_find(&commit->images->maps, addr);
        item.prot[i] = map ? map->prot : RDF_PROT_READ | RDF_PROT_EXEC;
    }
    struct rdf_image *image = rdf_images_at(commit->images, item.edit.addr);
    uint64_t engine_code = (uint64_t)(uintptr_t)&rdf_write_apply;
    item.has_engine = image && image == rdf_images_at(commit->images, engine_code);
    return item;
}

/* Ascending by address. Shell's method: no library, no recursion, no memory. */
static void sort_items(struct rdf_write_item *item, size_t count)
{
    size_t gap = 1;
    while (gap < count / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < count; i++) {
            struct rdf_write_item moving = item[i];
            size_t j = i;
            for (; j >= gap && item[j - gap].edit.addr > moving.edit.addr; j -= gap)
                item[j] = item[j - gap];
            item[j] = moving;
        }
}

static redefine_status write_all(struct commit *commit, uint64_t caller_sp)
{
    struct rdf_engine *engine = commit->engine;
    size_t room = 0;
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        choose_jump(commit, touched);
        room += edits_of(touched);
    }
    struct rdf_write_item *item = rdf_arena_alloc(&commit->arena, (room + 1) * sizeof *item);
    if (!item)
        return rdf_commit_no_memory(commit);
    size_t count = 0;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        for (size_t i = 0; i < edits_of(touched); i++)
            item[count++] = item_for(commit, touched, i);
    sort_items(item, count);
    for (size_t i = 1; i < count; i++)
        if (item[i - 1].edit.addr + item[i - 1].edit.len_bytes > item[i].edit.addr)
            return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                            "the entry jumps at 0x%" PRIx64 " and 0x%" PRIx64
                            " would overlap; redefine one of them",
                            item[i - 1].edit.addr, item[i].edit.addr);
    struct rdf_write write = {.space = engine->space,
                              .maps = &commit->images->maps,
                              .item = item,
                              .count = count,
                              .caller_sp = caller_sp,
                              .methods = engine->write_methods,
                              .publish = publish,
                              .publish_ctx = commit};
    redefine_status status = rdf_write_apply(&write, commit->err);
    engine->last_stop = write.stop;
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++) {
        struct touched *touched = (struct touched *)(void *)rdf_table_find(commit->index,
                                                                           item[i].window_start);
        touched->redef->method = item[i].method;
    }
    return status;
}

/* A function that was followed to lies where nobody has asked about: whether the snapshot is right there,
 * too. */
static bool is_followed_current(const struct commit *commit)
{
    for (const struct alias *alias = commit->alias; alias; alias = alias->next)
        if (commit->engine->snapshot.uses &&
            !rdf_snapshot_is_current(&commit->engine->snapshot, &alias->redef->window.function.start, 1))
            return false;
    return true;
}

static redefine_status run(struct commit *commit, const struct rdf_change *change, size_t count,
                           uint64_t caller_sp, const struct rdf_near_mark *near_mark)
{
    struct rdf_engine *engine = commit->engine;
    commit->fresh = rdf_table_new(&commit->arena, NULL, count);
    commit->index = rdf_table_new(&commit->arena, NULL, count);
    if (!commit->fresh || !commit->index)
        return rdf_commit_no_memory(commit);
    redefine_status status = resolve_all(commit, change, count);
    engine->is_stale = status == REDEFINE_OK && !is_followed_current(commit);
    if (engine->is_stale)
        status = rdf_fail(commit->err, REDEFINE_EBUSY, "objects are being loaded and unloaded; try again");
    if (status == REDEFINE_OK)
        status = plan_all(commit);
    /* A refusal that rests on what was there earlier: look again. */
    engine->is_stale |= status != REDEFINE_OK && engine->snapshot.uses;
    if (status == REDEFINE_OK &&
        !rdf_registry_reserve(&engine->registry, commit->new_count + commit->alias_count, commit->new_count,
                              commit->layer_count))
        status = rdf_commit_no_memory(commit);
    if (status == REDEFINE_OK)
        status = fill_all(commit, near_mark);
    if (status == REDEFINE_OK)
        status = write_all(commit, caller_sp);
    return status;
}

/* The addresses that a commit is about. Of many only as many as say that there are too many to ask for. */
static redefine_status take_snapshot(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                     struct rdf_error *err)
{
    enum { ASKED_MAX = 24 };
    uint64_t addr[ASKED_MAX + 3];
    size_t used = 0;
    for (size_t i = 0; i < count && used < ASKED_MAX; i++) {
        const struct rdf_redef *redef = rdf_registry_find(&engine->registry, change[i].target);
        addr[used++] = change[i].target;
        if (redef)
            addr[used++] = redef->window.function.start;
        if (change[i].replacement)
            addr[used++] = change[i].replacement;
    }
    return rdf_snapshot_refresh(&engine->snapshot, engine->space, engine->arch, engine->snapshot_pages, addr,
                                used, err);
}

/* On failure everything is as it was, but for near.mode. */
static redefine_status attempt(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                               uint64_t caller_sp, struct rdf_error *err)
{
    struct commit commit = {.engine = engine, .err = err};
    commit.last = &commit.first;
    rdf_arena_init(&commit.arena, engine->pages);
    struct rdf_registry_mark registry_mark;
    rdf_registry_take_mark(&engine->registry, &registry_mark);
    struct rdf_near_mark *near_mark = rdf_arena_alloc(&commit.arena, sizeof *near_mark);
    if (!near_mark)
        return rdf_commit_no_memory(&commit);
    rdf_near_take_mark(&engine->near, near_mark);
    bool caught_traps = engine->catches_traps;
    redefine_status status = take_snapshot(engine, change, count, err);
    commit.images = &engine->snapshot.images;
    if (status == REDEFINE_OK)
        status = run(&commit, change, count, caller_sp, near_mark);
    if (status != REDEFINE_OK && status != REDEFINE_EROLLBACK) {
        if (engine->catches_traps && !caught_traps) {
            (void)engine->space->ops->catch_traps(engine->space, NULL, NULL);
            engine->catches_traps = false;
        }
        rdf_near_rollback(&engine->near, near_mark);
        rdf_registry_rollback(&engine->registry, &registry_mark);
    }
    if (engine->is_stale)
        rdf_snapshot_drop(&engine->snapshot);
    rdf_snapshot_settle(&engine->snapshot);
    rdf_arena_free(&commit.arena);
    return status;
}

redefine_status rdf_engine_commit(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    if (count == 0)
        return REDEFINE_OK;
    enum rdf_near_mode mode = engine->near.mode;
    engine->near.is_refused = false;
    engine->is_stale = false;
    redefine_status status = attempt(engine, change, count, caller_sp, err);
    /* What has failed is tried in another way: without a write, with a new snapshot. */
    bool again = status != REDEFINE_OK && (engine->near.is_refused || engine->is_stale);
    if (again && err)
        err->status = REDEFINE_OK;
    if (again)
        status = attempt(engine, change, count, caller_sp, err);
    if (status != REDEFINE_OK && status != REDEFINE_EROLLBACK)
        engine->near.mode = mode;
    return status;
}

void rdf_engine_init(struct rdf_engine *engine, struct rdf_space *space, const struct rdf_arch *arch,
                     const struct rdf_page_source *pages, const struct rdf_page_source *snapshot_pages)
{
    /* Not the lock: the caller holds it, and others wait for it. */
    engine->space = space;
    engine->arch = arch;
    engine->pages = pages;
    engine->snapshot_pages = snapshot_pages;
    engine->write_methods = (1u << RDF_WRITE_METHODS) - 1;
    engine->near = (struct rdf_near){.space = space, .arch = arch, .pages = pages};
    engine->last_stop = (struct rdf_stop_report){0};
    rdf_registry_init(&engine->registry, pages);
}

struct rdf_redef *rdf_engine_find(struct rdf_engine *engine, uint64_t target)
{
    struct rdf_redef *redef = rdf_registry_find(&engine->registry, target);
    if (redef || engine->registry.count == 0)
        return redef;
    struct rdf_arena arena;
    struct rdf_images images = {0};
    rdf_arena_init(&arena, engine->pages);
    uint64_t entry;
    if (rdf_images_load(engine->space, engine->arch, &arena, &images, NULL) == REDEFINE_OK) {
        if (rdf_maps_allow(&images.maps, target, 1, RDF_PROT_EXEC) &&
            rdf_images_follow(&images, target, &entry, NULL) == REDEFINE_OK)
            redef = rdf_registry_find(&engine->registry, entry);
        rdf_images_free(&images);
    }
    rdf_arena_free(&arena);
    return redef;
}
