/* SPDX-License-Identifier: MIT */
#include "check/sites.h"

#include <string.h>

enum { FOLDING_BYTES_MAX = 24 }; /* of a body: those that were seen to fold have a few instructions */

/* A function that was inlined into itself, or into another record of itself. */
static bool is_same(const struct rdf_debug_index *index, uint32_t caller,
                    const struct rdf_debug_function *function)
{
    const struct rdf_debug_function *other = &index->function[caller];
    return other == function || (other->name == function->name && function->flags & RDF_DEBUG_EXTERNAL &&
                                 other->flags & RDF_DEBUG_EXTERNAL);
}

static bool each_of(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                    rdf_site_visit *visit, void *ctx)
{
    for (uint32_t i = 0; i < function->site_count; i++) {
        const struct rdf_debug_site *site = &index->site[function->first_site + i];
        /* In a copy of itself: a piece of that one, or recursion unrolled there. */
        if (&index->function[site->via] == function && site->caller != site->via)
            continue;
        if (!visit(ctx, site, is_same(index, site->caller, function)))
            return false;
    }
    return true;
}

void rdf_check_each_site(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                         rdf_site_visit *visit, void *ctx)
{
    if (!(function->flags & RDF_DEBUG_EXTERNAL)) {
        (void)each_of(index, function, visit, ctx);
        return;
    }
    uint32_t first;
    uint32_t count = rdf_debug_index_named(index, index->text + function->name, &first);
    for (uint32_t i = first; i < first + count; i++)
        if (index->function[i].flags & RDF_DEBUG_EXTERNAL && !each_of(index, &index->function[i], visit, ctx))
            return;
}

struct listing {
    const struct rdf_debug_index *index;
    struct rdf_check_inlined *list; /* null: only counting */
    size_t count, room;
};

static bool list_site(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    struct listing *listing = ctx;
    const struct rdf_debug_index *index = listing->index;
    if (listing->list && listing->count < listing->room)
        listing->list[listing->count] =
            (struct rdf_check_inlined){.caller = index->text + index->function[site->caller].name,
                                       .file = site->file ? index->text + site->file : NULL,
                                       .line = site->line,
                                       .addr = site->addr,
                                       .is_self = is_self};
    listing->count++;
    return true;
}

static bool stop_at_site(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    (void)site;
    (void)is_self;
    *(bool *)ctx = true;
    return false;
}

/* gcc marks a function as inlined that it made a clone of, too, that it split and put together again, or
 * whose code it put into an equal one. The first has a name of its own (one whose name is not known may be a
 * clone); the second is no body that could be gone without a trace. */
static bool may_fold(struct rdf_images *images, const struct rdf_twins *twins, uint64_t addr)
{
    size_t twin_count;
    struct rdf_function body;
    struct rdf_error unused = {0};
    enum rdf_clone_kind kind;
    size_t base_bytes;
    if (rdf_images_function(images, addr, &body, &unused) != REDEFINE_OK || !body.name ||
        body.end - body.start > FOLDING_BYTES_MAX)
        return false;
    (void)rdf_twins_of(twins, addr, &twin_count);
    if (twin_count)
        return false;
    return !rdf_clone_of(body.name, &kind, &base_bytes) || kind == RDF_CLONE_PROMOTED;
}

bool rdf_check_is_folded(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                         struct rdf_images *images, const struct rdf_image *image,
                         const struct rdf_twins *twins)
{
    bool has_site = false;
    uint32_t first = (uint32_t)(function - index->function), count = 1;
    if (!(function->flags & RDF_DEBUG_FOLDED))
        return false;
    rdf_check_each_site(index, function, stop_at_site, &has_site);
    if (function->flags & RDF_DEBUG_EXTERNAL)
        count = rdf_debug_index_named(index, index->text + function->name, &first);
    for (uint32_t i = 0; i < index->entry_count && !has_site; i++) {
        const struct rdf_debug_entry *entry = &index->entry[i];
        if (entry->function >= first && entry->function - first < count &&
            !may_fold(images, twins, entry->addr + rdf_image_bias(image)))
            return false;
    }
    return !has_site;
}

static bool is_before(const struct rdf_check_inlined *a, const struct rdf_check_inlined *b)
{
    int files = strcmp(a->file ? a->file : "", b->file ? b->file : "");
    return files ? files < 0 : a->line < b->line;
}

/* As in the source; compilers write them in an order of their own. They are few: no quicker way is needed. */
static void sort(struct rdf_check_inlined *list, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct rdf_check_inlined moved = list[i];
        size_t at = i;
        for (; at > 0 && is_before(&moved, &list[at - 1]); at--)
            list[at] = list[at - 1];
        list[at] = moved;
    }
}

bool rdf_check_sites(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                     size_t sites_max, struct rdf_arena *arena, struct rdf_check_debug *ret)
{
    struct listing listing = {.index = index};
    rdf_check_each_site(index, function, list_site, &listing);
    size_t total = listing.count;
    listing = (struct listing){.index = index, .room = total < sites_max ? total : sites_max};
    listing.list = rdf_arena_alloc(arena, (listing.room + 1) * sizeof *listing.list);
    if (!listing.list)
        return false;
    rdf_check_each_site(index, function, list_site, &listing);
    sort(listing.list, listing.room);
    *ret = (struct rdf_check_debug){.inlined = listing.list,
                                    .inlined_count = listing.room,
                                    .inlined_total = total,
                                    .decl_file = function->decl_file ? index->text + function->decl_file
                                                                     : NULL,
                                    .decl_line = function->decl_line,
                                    .is_nocall = function->flags & RDF_DEBUG_NOCALL};
    return true;
}
