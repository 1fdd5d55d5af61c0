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
#include "core/engine.h"

#include "base/bytes.h"

#include <inttypes.h>

/* A function that the commit touches, with the stack of layers it will have. */
struct touched {
    struct touched *next;
    struct rdf_redef *redef;
    struct rdf_plan *plan; /* of a new one; null: known already */
    struct rdf_layer *top;
    size_t layer_count;
    bool was_active;
};

struct alias {
    struct alias *next;
    uint64_t addr;
    struct rdf_redef *redef;
};

struct commit {
    struct rdf_engine *engine;
    struct rdf_error *err;
    struct rdf_arena arena; /* for the time of the commit */
    struct rdf_images images;
    struct rdf_table *fresh; /* entry → redef of the new ones */
    struct rdf_table *index; /* entry → touched, by address of its redef's key */
    struct touched *first, **last;
    struct alias *alias;
    size_t new_count, alias_count, layer_count, edit_count;
};

static redefine_status no_memory(struct commit *commit)
{
    return rdf_fail(commit->err, REDEFINE_ENOMEM, "no memory for the records of this change");
}

/* ---- resolve ---- */

static bool is_code(const struct commit *commit, uint64_t addr)
{
    return rdf_maps_allow(&commit->images.maps, addr, 1, RDF_PROT_EXEC);
}

static redefine_status follow(struct commit *commit, uint64_t addr, uint64_t *ret)
{
    struct rdf_error why = {0};
    redefine_status status = rdf_images_follow(&commit->images, addr, ret, &why);
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
    rdf_images_describe(&commit->images, entry, where, sizeof where);
    return rdf_fail(commit->err, REDEFINE_EINVAL,
                    "the replacement is the target itself (%s): a call would never end; make the replacement "
                    "static if it has the name of the function that it replaces", where);
}

/* Whether a record made earlier still describes what is mapped at its entry. */
static bool is_current(const struct commit *commit, const struct rdf_redef *redef)
{
    uint8_t now[RDF_WINDOW_BYTES_MAX];
    const struct rdf_window *window = &redef->window;
    size_t len = (size_t)(window->end - window->function.start);
    struct rdf_space *space = commit->engine->space;
    if (space->ops->read(space, window->function.start, now, len) < 0)
        return false;
    if (redef->top) {
        size_t off = (size_t)(redef->edit.addr - window->function.start);
        size_t inside = len - off < redef->edit.len_bytes ? len - off : redef->edit.len_bytes;
        if (!rdf_bytes_equal(now + off, redef->edit.new_bytes, inside))
            return false;
        rdf_bytes_copy(now + off, redef->edit.old_bytes, inside);
    }
    return rdf_bytes_equal(now, window->bytes, len);
}

/* "inside an instruction" is what decoding from the entry tells; the image knows only where it begins. */
static redefine_status find_function(struct commit *commit, uint64_t entry, struct rdf_function *ret)
{
    struct rdf_error why = {0};
    redefine_status status = rdf_images_function(&commit->images, entry, ret, &why);
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
        return no_memory(commit);
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
        return no_memory(commit);
    *alias = (struct alias){commit->alias, addr, redef};
    commit->alias = alias;
    commit->alias_count++;
    return REDEFINE_OK;
}

/* The record that a target means; *ret null for a restore of what was never redefined. */
static redefine_status resolve(struct commit *commit, const struct rdf_change *change, struct rdf_redef **ret)
{
    struct rdf_engine *engine = commit->engine;
    uint64_t entry = change->target;
    *ret = rdf_registry_find(&engine->registry, entry);
    bool restore = change->kind == RDF_CHANGE_RESTORE;
    bool is_known = *ret != NULL;
    if (!is_known) {
        if (!is_code(commit, entry)) {
            const struct rdf_map *map = rdf_maps_find(&commit->images.maps, entry);
            if (restore)
                return REDEFINE_OK;
            return rdf_fail(commit->err, REDEFINE_EINVAL, "0x%" PRIx64 " is %s%s%s, not the entry of a function",
                            entry, map ? "data" : "not mapped", map && map->path[0] ? " in " : "",
                            map ? map->path : "");
        }
        redefine_status status = follow(commit, entry, &entry);
        if (status != REDEFINE_OK)
            return status;
        *ret = rdf_registry_find(&engine->registry, entry);
        if (!*ret)
            *ret = rdf_table_find(commit->fresh, entry);
    }
    if (restore && (!*ret || (!(*ret)->top && rdf_table_find(commit->fresh, entry) != *ret))) {
        *ret = NULL;
        return REDEFINE_OK;
    }
    if (*ret && rdf_table_find(commit->fresh, entry) != *ret && !is_current(commit, *ret)) {
        if ((*ret)->top)
            return rdf_fail(commit->err, REDEFINE_EBUSY,
                            "the bytes at 0x%" PRIx64 " were changed by someone else since they were redefined; "
                            "nothing was changed", (*ret)->edit.addr);
        entry = (*ret)->window.function.start;
        *ret = rdf_table_find(commit->fresh, entry);
    }
    if (!*ret) {
        redefine_status status = new_redef(commit, entry, ret);
        if (status != REDEFINE_OK)
            return status;
    }
    if (!is_known && change->target != (*ret)->window.function.start)
        return note_alias(commit, change->target, *ret);
    return REDEFINE_OK;
}

/* ---- layer ---- */

static struct touched *touch(struct commit *commit, struct rdf_redef *redef)
{
    /* The index maps entries to records of this commit; a touched is stored under its redef's entry. */
    struct touched *touched = (struct touched *)(void *)rdf_table_find(commit->index, redef->window.function.start);
    if (touched)
        return touched;
    touched = rdf_arena_alloc(&commit->arena, sizeof *touched);
    if (!touched)
        return NULL;
    touched->redef = redef;
    touched->was_active = redef->top != NULL;
    struct rdf_layer **to = &touched->top;
    for (const struct rdf_layer *layer = redef->top; layer; layer = layer->below) {
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
    redefine_status status = check_replacement(commit, change->replacement, touched->redef->window.function.start);
    if (status != REDEFINE_OK)
        return status;
    if (!*at) {
        struct rdf_layer *layer = rdf_arena_alloc(&commit->arena, sizeof *layer);
        if (!layer)
            return no_memory(commit);
        layer->below = touched->top;
        touched->top = layer;
        at = &touched->top;
    }
    struct rdf_function function;
    bool known = rdf_images_function(&commit->images, change->replacement, &function, NULL) == REDEFINE_OK;
    (*at)->owner = change->owner;
    (*at)->replacement = change->replacement;
    (*at)->replacement_end = known ? function.end : 0;
    (*at)->original = change->original;
    return REDEFINE_OK;
}

static redefine_status resolve_all(struct commit *commit, const struct rdf_change *change, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rdf_redef *redef;
        redefine_status status = resolve(commit, &change[i], &redef);
        if (status == REDEFINE_OK && redef) {
            struct touched *touched = touch(commit, redef);
            status = touched ? change_layers(commit, touched, &change[i]) : no_memory(commit);
        }
        if (status != REDEFINE_OK)
            return status;
    }
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below)
            touched->layer_count++;
        commit->layer_count += touched->layer_count;
        commit->edit_count += touched->was_active != (touched->top != NULL);
    }
    return REDEFINE_OK;
}

/* ---- plan and fill ---- */

static bool is_new(const struct commit *commit, const struct rdf_redef *redef)
{
    return rdf_table_find(commit->fresh, redef->window.function.start) == redef;
}

static redefine_status plan_one(struct commit *commit, struct touched *touched)
{
    struct rdf_redef *redef = touched->redef;
    struct rdf_engine *engine = commit->engine;
    touched->plan = rdf_arena_alloc(&commit->arena, sizeof *touched->plan);
    if (!touched->plan)
        return no_memory(commit);
    struct rdf_error why = {0};
    struct rdf_window window;
    redefine_status status = rdf_plan_window(&commit->images, &redef->window.function, &window, &why);
    if (status == REDEFINE_OK)
        status = rdf_plan_make(&engine->near, &commit->images, &window, touched->plan, &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);

    const struct rdf_plan *plan = touched->plan;
    struct rdf_pc_pair *pcs =
        rdf_arena_alloc(&engine->registry.arena, plan->relocated.pc_count * sizeof *pcs);
    if (!pcs)
        return no_memory(commit);
    rdf_bytes_copy(pcs, plan->relocated.pcs, plan->relocated.pc_count * sizeof *pcs);
    redef->window = plan->window;
    redef->window.function.image = NULL; /* gone with the commit */
    redef->window.function.name = NULL;
    redef->edit = plan->edit;
    redef->relay_addr = plan->relay_addr;
    redef->trampoline_addr = plan->trampoline_addr;
    redef->slot_addr = plan->place.slot_addr;
    redef->pcs = pcs;
    redef->pc_count = plan->relocated.pc_count;
    return REDEFINE_OK;
}

static redefine_status plan_all(struct commit *commit)
{
    for (struct touched *touched = commit->first; touched; touched = touched->next)
        if (is_new(commit, touched->redef)) {
            redefine_status status = plan_one(commit, touched);
            if (status != REDEFINE_OK)
                return status;
        }
    return REDEFINE_OK;
}

/* One write per chunk: the places of this commit lie side by side. */
static redefine_status fill_chunk(struct commit *commit, size_t chunk, uint32_t from, uint32_t to)
{
    uint8_t *code = rdf_arena_alloc(&commit->arena, to - from);
    if (!code)
        return no_memory(commit);
    uint64_t addr = commit->engine->near.chunk[chunk].code_addr + from;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        if (touched->plan && touched->plan->place.chunk == chunk)
            rdf_bytes_copy(code + (touched->plan->place.code_addr - addr), touched->plan->code,
                           touched->plan->code_bytes);
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
        if (is_new(commit, redef))
            rdf_registry_add(registry, redef);
    }
    for (const struct alias *alias = commit->alias; alias; alias = alias->next)
        rdf_registry_add_alias(registry, alias->addr, alias->redef);
    rdf_registry_publish(registry);
}

/* ---- write ---- */

static struct rdf_write_item item_for(const struct commit *commit, const struct touched *touched)
{
    const struct rdf_redef *redef = touched->redef;
    struct rdf_write_item item = {.edit = redef->edit, .pcs = redef->pcs, .pc_count = redef->pc_count};
    if (touched->was_active) {
        rdf_bytes_copy(item.edit.old_bytes, redef->edit.new_bytes, sizeof item.edit.old_bytes);
        rdf_bytes_copy(item.edit.new_bytes, redef->edit.old_bytes, sizeof item.edit.new_bytes);
    }
    item.moves = !touched->was_active; /* the entry jump is one instruction: nobody is inside it */
    item.window_start = redef->window.function.start;
    item.trampoline_addr = redef->trampoline_addr;
    const struct rdf_map *map = rdf_maps_find(&commit->images.maps, item.edit.addr);
    item.prot = map ? map->prot : RDF_PROT_READ | RDF_PROT_EXEC;
    struct rdf_image *image = rdf_images_at(&commit->images, item.edit.addr);
    uint64_t engine_code = (uint64_t)(uintptr_t)&rdf_write_apply;
    item.has_engine = image && image == rdf_images_at(&commit->images, engine_code);
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
    struct rdf_write_item *item = rdf_arena_alloc(&commit->arena, (commit->edit_count + 1) * sizeof *item);
    if (!item)
        return no_memory(commit);
    size_t count = 0;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        if (touched->was_active != (touched->top != NULL))
            item[count++] = item_for(commit, touched);
    sort_items(item, count);
    for (size_t i = 1; i < count; i++)
        if (item[i - 1].edit.addr + item[i - 1].edit.len_bytes > item[i].edit.addr)
            return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                            "the entry jumps at 0x%" PRIx64 " and 0x%" PRIx64 " would overlap; redefine one of them",
                            item[i - 1].edit.addr, item[i].edit.addr);
    struct rdf_write write = {.space = engine->space,
                              .maps = &commit->images.maps,
                              .item = item,
                              .count = count,
                              .caller_sp = caller_sp,
                              .methods = engine->write_methods,
                              .publish = publish,
                              .publish_ctx = commit};
    redefine_status status = rdf_write_apply(&write, commit->err);
    engine->last_stop = write.stop;
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++) {
        struct touched *touched =
            (struct touched *)(void *)rdf_table_find(commit->index, item[i].window_start);
        touched->redef->method = item[i].method;
    }
    return status;
}

static redefine_status run(struct commit *commit, const struct rdf_change *change, size_t count,
                           uint64_t caller_sp, const struct rdf_near_mark *near_mark)
{
    struct rdf_engine *engine = commit->engine;
    commit->fresh = rdf_table_new(&commit->arena, NULL, count);
    commit->index = rdf_table_new(&commit->arena, NULL, count);
    if (!commit->fresh || !commit->index)
        return no_memory(commit);
    redefine_status status =
        rdf_images_load(engine->space, engine->arch, &commit->arena, &commit->images, commit->err);
    if (status == REDEFINE_OK)
        status = resolve_all(commit, change, count);
    if (status == REDEFINE_OK)
        status = plan_all(commit);
    if (status == REDEFINE_OK &&
        !rdf_registry_reserve(&engine->registry, commit->new_count + commit->alias_count, commit->new_count,
                              commit->layer_count))
        status = no_memory(commit);
    if (status == REDEFINE_OK)
        status = fill_all(commit, near_mark);
    if (status == REDEFINE_OK)
        status = write_all(commit, caller_sp);
    return status;
}

redefine_status rdf_engine_commit(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    if (count == 0)
        return REDEFINE_OK;
    struct commit commit = {.engine = engine, .err = err};
    commit.last = &commit.first;
    rdf_arena_init(&commit.arena, engine->pages);
    struct rdf_registry_mark registry_mark;
    rdf_registry_take_mark(&engine->registry, &registry_mark);
    struct rdf_near_mark *near_mark = rdf_arena_alloc(&commit.arena, sizeof *near_mark);
    if (!near_mark)
        return no_memory(&commit);
    enum rdf_near_mode mode = engine->near.mode;
    rdf_near_take_mark(&engine->near, near_mark);
    redefine_status status = run(&commit, change, count, caller_sp, near_mark);
    if (status != REDEFINE_OK && status != REDEFINE_EROLLBACK) {
        rdf_near_rollback(&engine->near, near_mark);
        engine->near.mode = mode;
        rdf_registry_rollback(&engine->registry, &registry_mark);
    }
    rdf_images_free(&commit.images);
    rdf_arena_free(&commit.arena);
    return status;
}

void rdf_engine_init(struct rdf_engine *engine, struct rdf_space *space, const struct rdf_arch *arch,
                     const struct rdf_page_source *pages)
{
    *engine = (struct rdf_engine){.space = space,
                                  .arch = arch,
                                  .pages = pages,
                                  .write_methods = (1u << RDF_WRITE_METHODS) - 1,
                                  .near = {.space = space, .arch = arch}};
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
