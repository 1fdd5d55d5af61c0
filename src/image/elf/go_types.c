/* SPDX-License-Identifier: MIT
 *
 * All types of a module. Up to Go 1.26 there is a list of the types that reflection may have to find, mostly
 * pointers and the like; the rest is reached from those, as elements, fields and parameters. From 1.27 on the
 * descriptors lie one behind the other.
 *
 * Source: runtime/type.go (typelinksinit, moduleTypelinks), runtime/iface.go (itabsinit) of each release.
 */
#include "image/elf/go_internal.h"

enum { ITAB_TYPE = 8, ITAB_CODE = 24, ITAB_BYTES = 32 };

struct walk {
    struct rdf_images *images;
    const struct rdf_go *go;
    rdf_go_type_visit *visit;
    void *ctx;
    uint8_t *seen; /* one bit for each aligned word in [types, etypes) */
    uint64_t *queue;
    size_t queued, room;
    uint64_t parts_left; /* fields and parameters: no more than there is room for in a file that is true */
    bool stopped;
};

/* Only the module's own: descriptors that another module made are that one's. */
static void enqueue(struct walk *walk, uint64_t addr)
{
    const struct rdf_go *go = walk->go;
    if (addr < go->types || addr >= go->etypes || addr % 8)
        return;
    uint64_t word = (addr - go->types) / 8;
    if ((walk->seen[word / 8] >> word % 8 & 1) || walk->queued == walk->room)
        return;
    walk->seen[word / 8] |= (uint8_t)(1u << word % 8);
    walk->queue[walk->queued++] = addr;
}

static void enqueue_parts(struct walk *walk, const struct rdf_go_type *type)
{
    uint64_t part;
    enqueue(walk, type->elem);
    enqueue(walk, type->key);
    for (uint32_t i = 0; walk->parts_left && rdf_go_part_type(walk->images, type, i, &part); i++) {
        enqueue(walk, part);
        walk->parts_left--;
    }
}

static bool visit_itab_type(void *ctx, uint64_t itab, uint64_t interface_type, uint64_t type)
{
    struct walk *walk = ctx;
    (void)itab;
    enqueue(walk, interface_type);
    enqueue(walk, type);
    return true;
}

static void enqueue_links(struct walk *walk)
{
    const struct rdf_go *go = walk->go;
    const struct rdf_go_layout *layout = go->layout;
    uint64_t count = go->words[layout->word_typelinks + 1];
    struct rdf_span links = count < UINT32_MAX ? rdf_image_bytes(walk->images, go->image,
                                                                 go->words[layout->word_typelinks], count * 4)
                                               : (struct rdf_span){NULL, 0};
    uint32_t off;
    for (uint64_t i = 0; rdf_span_u32(links, i * 4, &off); i++)
        enqueue(walk, go->types + off);
    (void)rdf_go_each_itab(walk->images, go, visit_itab_type, walk, NULL);
}

/* The descriptors begin one word behind `types`. */
static void enqueue_all(struct walk *walk)
{
    const struct rdf_go *go = walk->go;
    uint64_t end = go->types + go->words[go->layout->word_typedesclen];
    struct rdf_go_type type;
    for (uint64_t at = go->types + 8; at < end && at < go->etypes;) {
        at = (at + 7) & ~UINT64_C(7);
        if (rdf_go_type_read(walk->images, go, at, &type, NULL) != REDEFINE_OK)
            return;
        enqueue(walk, at);
        at = rdf_go_type_end(&type);
    }
}

static redefine_status begin(struct walk *walk)
{
    uint64_t words = (walk->go->etypes - walk->go->types) / 8 + 1;
    walk->room = (size_t)(words / 6 + 1); /* a descriptor has at least six words */
    walk->parts_left = words;
    walk->seen = rdf_arena_alloc(walk->images->arena, (size_t)words / 8 + 1);
    walk->queue = rdf_arena_alloc(walk->images->arena, walk->room * sizeof *walk->queue);
    return walk->seen && walk->queue ? REDEFINE_OK : REDEFINE_ENOMEM;
}

/* Each type once, without its name. */
static redefine_status each_type(struct walk *walk, struct rdf_error *err)
{
    if (begin(walk) != REDEFINE_OK)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to list the Go types of %s",
                        rdf_image_short_name(walk->go->image));
    if (walk->go->layout->word_typelinks)
        enqueue_links(walk);
    else
        enqueue_all(walk);
    for (size_t i = 0; i < walk->queued && !walk->stopped; i++) {
        struct rdf_go_type type;
        if (rdf_go_type_read(walk->images, walk->go, walk->queue[i], &type, NULL) != REDEFINE_OK)
            continue;
        walk->stopped = !walk->visit(walk->ctx, &type);
        enqueue_parts(walk, &type);
    }
    return REDEFINE_OK;
}

struct named_visit {
    struct rdf_images *images;
    rdf_go_type_visit *visit;
    void *ctx;
};

static bool visit_with_name(void *ctx, const struct rdf_go_type *type)
{
    const struct named_visit *named = ctx;
    struct rdf_go_type full;
    return rdf_go_type(named->images, type->go, type->addr, &full, NULL) != REDEFINE_OK ||
           named->visit(named->ctx, &full);
}

redefine_status rdf_go_each_type(struct rdf_images *images, const struct rdf_go *go, rdf_go_type_visit *visit,
                                 void *ctx, struct rdf_error *err)
{
    struct named_visit named = {images, visit, ctx};
    struct walk walk = {.images = images, .go = go, .visit = visit_with_name, .ctx = &named};
    return each_type(&walk, err);
}

struct wanted {
    const char *name;
    uint64_t addr;
    size_t count;
};

static bool compare_name(void *ctx, const struct rdf_go_type *type)
{
    struct wanted *wanted = ctx;
    struct rdf_span name = rdf_go_type_name(type->go, type);
    size_t i = 0;
    while (i < name.len_bytes && wanted->name[i] && wanted->name[i] == (char)name.data[i])
        i++;
    if (!name.len_bytes || i < name.len_bytes || wanted->name[i])
        return true;
    if (!wanted->count++)
        wanted->addr = type->addr;
    return true;
}

redefine_status rdf_go_type_named(struct rdf_images *images, const struct rdf_go *go, const char *name,
                                  struct rdf_go_type *ret, size_t *ret_count, struct rdf_error *err)
{
    struct wanted wanted = {.name = name};
    struct walk walk = {.images = images, .go = go, .visit = compare_name, .ctx = &wanted};
    struct rdf_go_type type;
    redefine_status status = each_type(&walk, err);
    if (status == REDEFINE_OK && !wanted.count)
        status =
            rdf_fail(err, REDEFINE_ENOTFOUND,
                     "%s has no type %.128s that reflection could find; the linker leaves out what is not "
                     "needed",
                     rdf_image_short_name(go->image), name);
    if (status == REDEFINE_OK)
        status = rdf_go_type(images, go, wanted.addr, &type, err);
    if (status != REDEFINE_OK)
        return status;
    *ret = type;
    if (ret_count)
        *ret_count = wanted.count;
    return REDEFINE_OK;
}

/* ---- itabs ---- */

static bool visit_itab(struct rdf_images *images, const struct rdf_go *go, uint64_t itab,
                       rdf_go_itab_visit *visit, void *ctx, bool *ret_stop)
{
    uint64_t interface_type, type;
    if (!rdf_go_pointer(images, go, itab, &interface_type) ||
        !rdf_go_pointer(images, go, itab + ITAB_TYPE, &type))
        return false;
    *ret_stop = !visit(ctx, itab, interface_type, type);
    return true;
}

static bool each_linked_itab(struct rdf_images *images, const struct rdf_go *go, rdf_go_itab_visit *visit,
                             void *ctx)
{
    uint64_t at = go->words[go->layout->word_itablinks], count = go->words[go->layout->word_itablinks + 1];
    bool stop = false;
    for (uint64_t i = 0; i < count && !stop; i++) {
        uint64_t itab;
        if (!rdf_go_pointer(images, go, at + i * 8, &itab) ||
            !visit_itab(images, go, itab, visit, ctx, &stop))
            return false;
    }
    return true;
}

/* An itab is as long as its interface has methods. */
static bool each_itab_in_line(struct rdf_images *images, const struct rdf_go *go, rdf_go_itab_visit *visit,
                              void *ctx)
{
    uint64_t at = go->types + go->words[go->layout->word_itaboffset];
    uint64_t end = at + go->words[go->layout->word_itaboffset + 1];
    bool stop = false;
    while (at < end && !stop) {
        uint64_t interface_type, first;
        struct rdf_go_type type;
        if (!rdf_go_pointer(images, go, at, &interface_type) ||
            !rdf_go_pointer(images, go, at + ITAB_CODE, &first) ||
            rdf_go_type_read(images, go, interface_type, &type, NULL) != REDEFINE_OK ||
            type.kind != RDF_GO_INTERFACE || !visit_itab(images, go, at, visit, ctx, &stop))
            return false;
        uint64_t more = first && type.method_count ? type.method_count - 1 : 0;
        at += ITAB_BYTES + more * 8;
    }
    return true;
}

redefine_status rdf_go_each_itab(struct rdf_images *images, const struct rdf_go *go, rdf_go_itab_visit *visit,
                                 void *ctx, struct rdf_error *err)
{
    bool whole = go->layout->word_itablinks ? each_linked_itab(images, go, visit, ctx)
                                            : each_itab_in_line(images, go, visit, ctx);
    if (!whole)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the list of itabs in %s is damaged",
                        rdf_image_short_name(go->image));
    return REDEFINE_OK;
}
