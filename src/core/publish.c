/* SPDX-License-Identifier: MIT
 *
 * The last stage of a commit: what calls and questions will find. What nothing leads to yet is set before the
 * world stands still, the rest while it does: only stores, which cannot fail or wait, and which may be broken
 * off anywhere and then made once more.
 */
#include "core/commit.h"

static void store_code(void (**cell)(void), uint64_t addr)
{
    if (cell)
        __atomic_store_n(cell, (void (*)(void))(uintptr_t)addr, __ATOMIC_RELEASE);
}

/* One layer of the in-process calls needs no more than the record has room for. */
static bool fits_the_record(const struct rdf_layer *top)
{
    return top && !top->below && !top->owner && !top->original;
}

size_t rdf_commit_layers(const struct commit *commit)
{
    size_t count = 0;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        for (const struct rdf_layer *layer = fits_the_record(touched->top) ? NULL : touched->top; layer;
             layer = layer->below)
            count++;
    return count ? count + 1 : 0; /* one may be lost where publishing is broken off */
}

static void set_list(struct rdf_registry *registry, struct rdf_redef *redef, const struct rdf_layer *top)
{
    while (redef->list) {
        struct rdf_layer *layer = redef->list;
        redef->list = layer->below;
        rdf_registry_give_layer(registry, layer);
    }
    redef->has_layer = fits_the_record(top);
    struct rdf_layer **to = &redef->list;
    for (const struct rdf_layer *layer = redef->has_layer ? NULL : top; layer; layer = layer->below) {
        struct rdf_layer alone = *layer;
        alone.below = NULL; /* at no moment does the list lead into what is only this commit's */
        *to = rdf_registry_take_layer(registry);
        **to = alone;
        to = &(*to)->below;
    }
}

static void take_back(struct commit *commit, struct rdf_redef *redef)
{
    set_list(&commit->engine->registry, redef, NULL);
    redef->is_active = false;
    redef->is_direct = false;
    __atomic_store_n(&redef->asked_original, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&redef->asked, RDF_ASKED_NOTHING, __ATOMIC_RELEASE);
}

/* The record and the slot: data, one aligned store each for what is read without a lock. */
static void set_record(struct commit *commit, const struct touched *touched)
{
    struct rdf_redef *redef = touched->redef;
    uint64_t trampoline = rdf_redef_trampoline(redef);
    uint64_t asked_original = trampoline;
    enum rdf_asked asked = RDF_ASKED_NOTHING;
    for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below) {
        uint64_t below = layer->below ? layer->below->replacement : trampoline;
        if (layer->owner == &rdf_threads)
            asked_original = below;
        if (layer->owner)
            continue;
        asked = touched->is_data && fits_the_record(touched->top) ? RDF_ASKED_SLOT : RDF_ASKED_RECORD;
        asked_original = below;
        redef->replacement_bytes = layer->replacement_bytes;
        __atomic_store_n(&redef->replacement, layer->replacement, __ATOMIC_RELEASE);
    }
    set_list(&commit->engine->registry, redef, touched->top);
    redef->is_active = true;
    redef->is_direct = touched->is_direct;
    __atomic_store_n(&redef->asked_original, asked_original, __ATOMIC_RELEASE);
    (void)rdf_near_set_slot(&commit->engine->near, rdf_redef_slot(redef), touched->top->replacement);
    __atomic_store_n(&redef->asked, asked, __ATOMIC_RELEASE);
}

/* Where the owners of patch files read their originals, and selectors where to go on: that one is a slot. */
static void set_cells(struct commit *commit, const struct touched *touched)
{
    for (const struct rdf_layer *layer = touched->top; layer; layer = layer->below) {
        uint64_t below = layer->below ? layer->below->replacement : rdf_redef_trampoline(touched->redef);
        if (layer->owner == &rdf_threads)
            (void)rdf_near_set_slot(&commit->engine->near, (uint64_t)(uintptr_t)layer->original, below);
        else
            store_code(layer->original, below);
    }
}

static void add_all(struct commit *commit)
{
    struct rdf_registry *registry = &commit->engine->registry;
    for (const struct touched *touched = commit->new_count ? commit->first : NULL; touched;
         touched = touched->next)
        if (touched->is_new && !touched->is_left_out)
            rdf_registry_add(registry, touched->redef);
    for (const struct alias *alias = commit->alias; alias; alias = alias->next) {
        if (alias->touched->is_left_out)
            continue;
        alias->known->record = alias->touched->redef;
        rdf_registry_add_alias(registry, alias->known);
    }
}

static bool has_cells(const struct touched *touched)
{
    const struct rdf_layer *layer = touched->top;
    while (layer && !layer->original)
        layer = layer->below;
    return layer != NULL;
}

static bool is_late(const struct touched *touched)
{
    return !touched->is_left_out && (!touched->is_new || has_cells(touched));
}

/* Records that nobody can find yet, in the registry that nobody sees yet if it had to grow. */
redefine_status rdf_commit_prepare(struct commit *commit)
{
    size_t late_count = 0;
    for (const struct touched *touched = commit->first; touched; touched = touched->next)
        late_count += is_late(touched);
    commit->late = rdf_arena_alloc(&commit->arena, late_count * sizeof *commit->late);
    if (!commit->late)
        return rdf_commit_no_memory(commit);
    for (const struct touched *touched = commit->first; touched; touched = touched->next) {
        if (touched->is_left_out)
            continue;
        if (touched->is_new && touched->top)
            set_record(commit, touched);
        else if (touched->is_new)
            take_back(commit, touched->redef);
        if (is_late(touched))
            commit->late[commit->late_count++] = (struct late){touched->redef, touched->top ? touched : NULL};
    }
    if (commit->engine->registry.pending)
        add_all(commit);
    return REDEFINE_OK;
}

/* Readers see the registry last, when everything that it leads to is in place. */
void rdf_commit_publish(void *ctx)
{
    struct commit *commit = ctx;
    enum { AHEAD = 8 };
    for (size_t i = 0; i < commit->late_count; i++) {
        const struct late *late = &commit->late[i];
        if (i + AHEAD < commit->late_count)
            __builtin_prefetch(late[AHEAD].redef, 1);
        if (!late->touched)
            take_back(commit, late->redef);
        else if (!late->touched->is_new)
            set_record(commit, late->touched);
        if (late->touched)
            set_cells(commit, late->touched);
    }
    if (!commit->engine->registry.pending)
        add_all(commit);
    rdf_registry_publish(&commit->engine->registry);
}
