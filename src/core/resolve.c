/* SPDX-License-Identifier: MIT
 *
 * The first stages of a commit: which function each change means, and what its stack of layers will be.
 */
#include "core/commit.h"

#include "base/bytes.h"
#include "base/progress.h"

#include <errno.h>
#include <inttypes.h>

static bool is_code(const struct commit *commit, uint64_t addr)
{
    return rdf_maps_allow(&commit->images->maps, addr, 1, RDF_PROT_EXEC);
}

static redefine_status follow(struct commit *commit, uint64_t addr, uint64_t *ret)
{
    struct rdf_error why;
    rdf_error_clear(&why);
    redefine_status status = rdf_images_follow(commit->images, addr, ret, &why);
    return status == REDEFINE_OK ? status : rdf_fail(commit->err, status, "%s", why.sentence);
}

/* ---- resolve ---- */

/* What is mapped now at the entry of a record made earlier. */
enum code_state {
    CODE_AS_RECORDED,
    CODE_ORIGINAL, /* though it is redefined: loaded anew, or put back by someone else */
    CODE_OTHER,
    CODE_GONE, /* its object was unloaded; another one may be there */
    CODE_UNREADABLE,
};

static enum code_state state_of(const struct commit *commit, const struct rdf_redef *redef)
{
    uint8_t now[RDF_WINDOW_BYTES_MAX];
    size_t len = redef->window_bytes;
    const uint8_t *bytes = rdf_redef_bytes(redef);
    if (!is_code(commit, redef->entry) ||
        rdf_redef_file(rdf_maps_find(&commit->images->maps, redef->entry)) != redef->file)
        return CODE_GONE;
    if (rdf_plan_read(commit->images, redef->entry, now, len) < 0)
        return CODE_UNREADABLE;
    bool is_original = rdf_bytes_equal(now, bytes, len);
    if (!redef->is_active)
        return is_original ? CODE_AS_RECORDED : CODE_OTHER;
    if (is_original)
        return CODE_ORIGINAL;
    struct rdf_layer room;
    uint8_t jump[RDF_EDIT_BYTES_MAX];
    size_t off = redef->edit_off;
    size_t inside = len - off < redef->edit_bytes ? len - off : redef->edit_bytes;
    rdf_redef_jump(redef, commit->engine->arch,
                   redef->is_direct ? rdf_redef_top(redef, &room)->replacement : 0, jump);
    if (!rdf_bytes_equal(now + off, jump, inside))
        return CODE_OTHER;
    rdf_bytes_copy(now + off, bytes + off, inside);
    return rdf_bytes_equal(now, bytes, len) ? CODE_AS_RECORDED : CODE_OTHER;
}

/* "inside an instruction" is what decoding from the entry tells; the image knows only where it begins. */
static redefine_status find_function(struct commit *commit, uint64_t entry, struct rdf_function *ret)
{
    struct rdf_error why;
    rdf_error_clear(&why);
    redefine_status status = rdf_images_function(commit->images, entry, ret, &why);
    return status == REDEFINE_OK ? status : rdf_fail(commit->err, status, "%s", why.sentence);
}

/* The function at `entry` as one that was never seen before. */
static redefine_status make_new(struct commit *commit, struct touched *touched)
{
    redefine_status status = find_function(commit, touched->entry, &touched->function);
    if (status != REDEFINE_OK)
        return status;
    if (rdf_os_calls(touched->entry))
        return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                        "%s at 0x%" PRIx64 " is what this library itself calls while code is changed: its "
                        "replacement would run, and ask for its original, before that is there; redefine the "
                        "function that the program calls",
                        touched->function.name ? touched->function.name : "the function", touched->entry);
    touched->redef = NULL;
    touched->top = NULL;
    touched->was_active = false;
    touched->is_new = true;
    commit->new_count++;
    return REDEFINE_OK;
}

/* An owner whose object was unloaded reads its original no more; what is there now is somebody else's. */
static void forget_gone(struct commit *commit, struct rdf_layer *layer, uint64_t below)
{
    struct rdf_space *space = commit->engine->space;
    uint64_t is;
    if (!layer->owner || layer->owner == &rdf_threads || !layer->original)
        return;
    uint64_t cell = (uint64_t)(uintptr_t)layer->original;
    int status = space->ops->read(space, cell, &is, sizeof is);
    if (status == -EFAULT || (status == 0 && is != below))
        layer->original = NULL;
}

/* `lost`: what the record says of layers is no longer so. `redef` null: the function is new. */
static redefine_status touch(struct commit *commit, uint64_t entry, struct rdf_redef *redef, bool lost,
                             struct touched **ret)
{
    struct touched *touched = rdf_arena_alloc_words(&commit->arena, sizeof *touched);
    if (!touched)
        return rdf_commit_no_memory(commit);
    touched->entry = entry;
    touched->redef = redef;
    touched->was_active = redef && redef->is_active && !lost;
    if (redef)
        rdf_engine_catch_up(commit->engine, redef);
    struct rdf_layer room;
    struct rdf_layer **to = &touched->top;
    const struct rdf_layer *layer = redef && !lost ? rdf_redef_top(redef, &room) : NULL;
    for (; layer; layer = layer->below) {
        *to = touched->top ? rdf_arena_alloc_words(&commit->arena, sizeof **to) : &touched->first;
        if (!*to)
            return rdf_commit_no_memory(commit);
        **to = *layer;
        (*to)->below = NULL;
        forget_gone(commit, *to, layer->below ? layer->below->replacement : rdf_redef_trampoline(redef));
        to = &(*to)->below;
    }
    redefine_status status = redef ? REDEFINE_OK : make_new(commit, touched);
    if (status != REDEFINE_OK)
        return status;
    *commit->last = touched;
    commit->last = &touched->next;
    commit->touched_count++;
    (void)rdf_table_insert(commit->index, touched);
    *ret = touched;
    return REDEFINE_OK;
}

static redefine_status not_an_entry(struct commit *commit, uint64_t addr)
{
    const struct rdf_map *map = rdf_maps_find(&commit->images->maps, addr);
    return rdf_fail(commit->err, REDEFINE_EINVAL, "0x%" PRIx64 " is %s%s%s, not the entry of a function",
                    addr, map ? "data" : "not mapped", map && map->path[0] ? " in " : "",
                    map ? map->path : "");
}

/* The entry that a target means. *ret_redef: what the registry has of it; null: nothing. *ret_entry 0: a
 * restore of what is no code and was never redefined. */
static redefine_status find_entry(struct commit *commit, const struct rdf_change *change, uint64_t *ret_entry,
                                  struct rdf_redef **ret_redef)
{
    const struct rdf_registry *registry = &commit->engine->registry;
    uint64_t addr = change->target;
    struct rdf_redef *redef = rdf_registry_find(registry, addr);
    bool restore = change->kind == RDF_CHANGE_RESTORE;
    /* An alias is followed anew: another object may be loaded there now, with a function at that address.
     * With nothing there, a restore means what it stood for. */
    bool is_code_now = is_code(commit, addr);
    *ret_redef = redef;
    *ret_entry = redef ? redef->entry : 0;
    if (redef && (redef->entry == addr || (restore && !is_code_now)))
        return REDEFINE_OK;
    *ret_entry = 0;
    if (!is_code_now)
        return restore ? REDEFINE_OK : not_an_entry(commit, addr);
    redefine_status status = follow(commit, addr, ret_entry);
    redef = status == REDEFINE_OK ? rdf_registry_find(registry, *ret_entry) : NULL;
    *ret_redef = redef && redef->entry == *ret_entry ? redef : NULL;
    return status;
}

/* Compare what a record says with what is there. *ret_lost: it says that the function is redefined, and the
 * code that was has gone. *ret_is_other: it is of no use for a redefinition. */
static redefine_status compare(struct commit *commit, const struct rdf_redef *redef, bool *ret_lost,
                               bool *ret_is_other)
{
    enum code_state state = state_of(commit, redef);
    if (state == CODE_UNREADABLE)
        return rdf_fail(commit->err, REDEFINE_ESYSTEM,
                        "the code at 0x%" PRIx64 " could not be read; nothing was changed", redef->entry);
    if (redef->is_active && state == CODE_OTHER)
        return rdf_fail(commit->err, REDEFINE_EBUSY,
                        "the bytes at 0x%" PRIx64 " were changed by someone else since they were redefined; "
                        "nothing was changed",
                        rdf_redef_edit(redef));
    *ret_lost = redef->is_active && state != CODE_AS_RECORDED;
    *ret_is_other = state == CODE_OTHER || state == CODE_GONE;
    return REDEFINE_OK;
}

/* What a change is about; *ret null for a restore of what was never redefined. */
static redefine_status resolve(struct commit *commit, const struct rdf_change *change, struct touched **ret)
{
    uint64_t entry;
    struct rdf_redef *redef;
    bool restore = change->kind == RDF_CHANGE_RESTORE;
    redefine_status status = find_entry(commit, change, &entry, &redef);
    struct touched *touched = entry && status == REDEFINE_OK ? rdf_commit_find(commit, entry) : NULL;
    *ret = touched;
    /* Touched: an earlier change of this batch may have redefined it. */
    if (status != REDEFINE_OK || (restore && !touched && (!redef || !redef->is_active)))
        return status;
    bool lost = false;
    bool is_other = false;
    if (redef && !(touched && touched->is_new))
        status = compare(commit, redef, &lost, &is_other);
    if (status != REDEFINE_OK)
        return status;
    if (!touched)
        status = touch(commit, entry, restore || !is_other ? redef : NULL, lost, &touched);
    else if (is_other && !restore)
        status = make_new(commit, touched);
    *ret = touched;
    if (status == REDEFINE_OK && change->target != entry &&
        (touched->is_new || rdf_registry_find(&commit->engine->registry, change->target) != touched->redef))
        return rdf_commit_note_alias(commit, change->target, touched);
    return status;
}

/* ---- layer ---- */

/* Where another instruction begins may be a second entry; inside of one is none. */
static bool is_inside_instruction(struct commit *commit, uint64_t addr)
{
    const struct rdf_arch *arch = commit->engine->arch;
    struct rdf_space *space = commit->engine->space;
    uint64_t at = rdf_images_start_of(commit->images, addr);
    while (at && at < addr) {
        struct rdf_insn insn;
        uint8_t bytes[RDF_EDIT_BYTES_MAX];
        if (space->ops->read(space, at, bytes, arch->insn_bytes_max) < 0 ||
            !arch->decode((struct rdf_span){bytes, arch->insn_bytes_max}, at, &insn))
            return false;
        at += insn.len_bytes;
    }
    return at > addr;
}

/* What is known of it is kept for the next change of the batch. */
static redefine_status look_at_replacement(struct commit *commit, uint64_t replacement)
{
    if (commit->replacement == replacement)
        return REDEFINE_OK;
    if (rdf_engine_knows(commit->engine, replacement, &commit->replacement_bytes)) {
        commit->replacement = commit->replacement_runs = replacement;
        return REDEFINE_OK;
    }
    commit->replacement = 0;
    if (!is_code(commit, replacement))
        return rdf_fail(commit->err, REDEFINE_EINVAL, "the replacement 0x%" PRIx64 " is not executable code",
                        replacement);
    redefine_status status = follow(commit, replacement, &commit->replacement_runs);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_function function;
    bool known = rdf_images_function(commit->images, replacement, &function, NULL) == REDEFINE_OK &&
                 function.end - replacement <= UINT32_MAX;
    if (!known && is_inside_instruction(commit, replacement)) {
        char where[256];
        rdf_images_describe(commit->images, rdf_images_start_of(commit->images, replacement), where,
                            sizeof where);
        return rdf_fail(commit->err, REDEFINE_EINVAL,
                        "the replacement 0x%" PRIx64
                        " is inside an instruction of %s; pass a function's entry",
                        replacement, where);
    }
    commit->replacement_bytes = known ? (uint32_t)(function.end - replacement) : 0;
    commit->replacement = replacement;
    if (commit->replacement_runs == replacement && rdf_images_stay_at(commit->images, replacement))
        rdf_engine_know(commit->engine, replacement, commit->replacement_bytes);
    return REDEFINE_OK;
}

static redefine_status check_replacement(struct commit *commit, uint64_t replacement, uint64_t entry)
{
    redefine_status status = look_at_replacement(commit, replacement);
    if (status != REDEFINE_OK || commit->replacement_runs != entry)
        return status;
    char where[256];
    rdf_images_describe(commit->images, entry, where, sizeof where);
    return rdf_fail(commit->err, REDEFINE_EINVAL,
                    "the replacement is the target itself (%s): a call would never end; make the replacement "
                    "static if it has the name of the function that it replaces",
                    where);
}

/* A new layer lies above the others, but below the one in which threads choose. */
static struct rdf_layer **place_above(struct touched *touched, const struct rdf_change *change)
{
    bool has_threads = touched->top && touched->top->owner == &rdf_threads;
    return has_threads && change->owner != &rdf_threads ? &touched->top->below : &touched->top;
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
    if (change->kind == RDF_CHANGE_COUNT && !touched->is_new)
        return rdf_fail(commit->err, REDEFINE_EBUSY,
                        "the function at 0x%" PRIx64 " is redefined already, or was: its "
                        "trampoline does not count",
                        touched->entry);
    redefine_status status = REDEFINE_OK;
    if (change->kind != RDF_CHANGE_COUNT && touched->is_new)
        status = rdf_plan_refuse_go(&touched->function, commit->err);
    if (change->kind != RDF_CHANGE_COUNT && status == REDEFINE_OK)
        status = check_replacement(commit, change->replacement, touched->entry);
    const struct rdf_selector *selector = NULL;
    if (status == REDEFINE_OK && change->kind == RDF_CHANGE_SELECT)
        status = rdf_commit_select(commit, touched->entry, &selector);
    if (status != REDEFINE_OK)
        return status;
    touched->counter_addr = change->counter_addr;
    touched->change = change;
    if (!*at) {
        struct rdf_layer *layer = touched->top ? rdf_arena_alloc_words(&commit->arena, sizeof *layer)
                                               : &touched->first;
        if (!layer)
            return rdf_commit_no_memory(commit);
        at = place_above(touched, change);
        layer->below = *at;
        *at = layer;
    }
    (*at)->owner = change->owner;
    (*at)->replacement = change->replacement;
    (*at)->replacement_bytes = change->kind == RDF_CHANGE_REDEFINE ? commit->replacement_bytes : 0;
    (*at)->original = change->original;
    if (selector) {
        (*at)->replacement = selector->code_addr;
        (*at)->replacement_bytes = 0;
        (*at)->original = (void (**)(void))(uintptr_t)selector->cell_addr;
    }
    return REDEFINE_OK;
}

redefine_status rdf_commit_resolve(struct commit *commit, const struct rdf_change *change, size_t count)
{
    enum { STEP = 256, AHEAD = 8 };
    for (size_t i = 0; i < count; i++) {
        struct touched *touched;
        if (i + AHEAD < count)
            rdf_table_expect(commit->index, change[i + AHEAD].target);
        if (i % STEP == STEP - 1)
            rdf_progress("functions looked at", i, count);
        redefine_status status = resolve(commit, &change[i], &touched);
        if (status == REDEFINE_OK && touched)
            status = change_layers(commit, touched, &change[i]);
        if (status != REDEFINE_OK && !rdf_commit_leave_out(commit, &change[i]))
            return status;
    }
    return REDEFINE_OK;
}
