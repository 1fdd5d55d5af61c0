/* SPDX-License-Identifier: MIT */
#include "check/sites.h"

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
    *ret = (struct rdf_check_debug){.inlined = listing.list,
                                    .inlined_count = listing.room,
                                    .inlined_total = total,
                                    .decl_file = function->decl_file ? index->text + function->decl_file
                                                                     : NULL,
                                    .decl_line = function->decl_line};
    return true;
}
