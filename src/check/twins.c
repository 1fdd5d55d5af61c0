/* SPDX-License-Identifier: MIT */
#include "check/twins.h"

#include "base/order.h"
#include "check/facts.h"
#include "image/calls.h"

/* Symbols are gone through three times: to count the candidates, to list them, and to find whom each equals.
 */
struct search {
    const struct rdf_debug_index *index;
    struct rdf_images *images;
    struct rdf_image *image;
    struct rdf_twin *twin; /* null: they are counted */
    size_t count;
    uint64_t last_addr; /* that was visited: symbols may be listed twice */
};

static bool is_described(const struct search *search, uint64_t addr)
{
    return rdf_debug_index_at(search->index, addr - rdf_image_bias(search->image));
}

/* It is defined in the source, and nothing says where. (One that is inlined is too, so that this proves
 * little.) */
static bool is_bodiless(const struct search *search, const char *name)
{
    uint32_t first, count = rdf_debug_index_named(search->index, name, &first);
    for (uint32_t i = first; i < first + count; i++)
        if (!(search->index->function[i].flags & RDF_DEBUG_HAS_BODY))
            return true;
    return false;
}

static bool visit_candidate(void *ctx, const struct rdf_named *named)
{
    struct search *search = ctx;
    enum rdf_clone_kind kind;
    size_t base_bytes;
    if (!named->size_bytes || named->addr == search->last_addr || is_described(search, named->addr) ||
        !is_bodiless(search, named->name) || rdf_clone_of(named->name, &kind, &base_bytes))
        return true;
    search->last_addr = named->addr;
    if (search->twin)
        search->twin[search->count] = (struct rdf_twin){
            .name = named->name,
            .addr = named->addr,
            .size_bytes = named->size_bytes,
            .kept = rdf_image_jump_only(search->images, search->image, named->addr,
                                        named->addr + named->size_bytes),
            .is_local = named->is_local,
            .is_likely = true, /* where it jumps there */
        };
    search->count++;
    return true;
}

static bool visit_kept(void *ctx, const struct rdf_named *named)
{
    struct search *search = ctx;
    size_t i = RDF_FIRST_FROM(search->twin, search->count, size_bytes, named->size_bytes);
    bool is_new = named->size_bytes && named->addr != search->last_addr && i < search->count &&
                  search->twin[i].size_bytes == named->size_bytes;
    if (!is_new || !is_described(search, named->addr))
        return true;
    search->last_addr = named->addr;
    for (; i < search->count && search->twin[i].size_bytes == named->size_bytes; i++) {
        struct rdf_twin *twin = &search->twin[i];
        /* Of several equal ones it is more likely one that is seen as far as the other was: those are merged.
         */
        bool is_likely = named->is_local == twin->is_local;
        if ((!twin->kept || (is_likely && !twin->is_likely)) &&
            rdf_image_same_code(search->images, search->image, twin->addr, named->addr, named->size_bytes)) {
            twin->kept = named->addr;
            twin->is_likely = is_likely;
        }
    }
    return true;
}

static bool is_shorter(const void *a, const void *b)
{
    return ((const struct rdf_twin *)a)->size_bytes < ((const struct rdf_twin *)b)->size_bytes;
}

static bool is_kept_before(const void *a, const void *b)
{
    const struct rdf_twin *left = a, *right = b;
    return left->kept != right->kept ? left->kept < right->kept : left->addr < right->addr;
}

bool rdf_twins_find(struct rdf_images *images, struct rdf_image *image, const struct rdf_debug_index *index,
                    struct rdf_arena *arena, struct rdf_twins *ret)
{
    struct search search = {.index = index, .images = images, .image = image};
    rdf_image_each_name(images, image, visit_candidate, &search);
    struct rdf_twin *twin = rdf_arena_alloc(arena, (search.count + 1) * sizeof *twin);
    if (!twin)
        return false;
    search = (struct search){.index = index, .images = images, .image = image, .twin = twin};
    rdf_image_each_name(images, image, visit_candidate, &search);
    rdf_sort(twin, search.count, sizeof *twin, is_shorter);
    search.last_addr = 0;
    rdf_image_each_name(images, image, visit_kept, &search);
    size_t count = 0;
    for (size_t i = 0; i < search.count; i++)
        if (twin[i].kept && is_described(&search, twin[i].kept))
            twin[count++] = twin[i];
    rdf_sort(twin, count, sizeof *twin, is_kept_before);
    /* Both tables may list one. */
    size_t unique = 0;
    for (size_t i = 0; i < count; i++)
        if (!unique || twin[unique - 1].addr != twin[i].addr)
            twin[unique++] = twin[i];
    *ret = (struct rdf_twins){twin, unique};
    return true;
}

const struct rdf_twin *rdf_twins_at(const struct rdf_twins *twins, uint64_t addr)
{
    for (size_t i = 0; i < twins->count; i++)
        if (twins->twin[i].addr == addr)
            return &twins->twin[i];
    return NULL;
}

const struct rdf_twin *rdf_twins_of(const struct rdf_twins *twins, uint64_t kept, size_t *ret_count)
{
    size_t first = RDF_FIRST_FROM(twins->twin, twins->count, kept, kept), end = first;
    while (end < twins->count && twins->twin[end].kept == kept)
        end++;
    *ret_count = end - first;
    return &twins->twin[first];
}
