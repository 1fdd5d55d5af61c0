/* SPDX-License-Identifier: MIT
 *
 * Where functions begin and end: the unwind table says it of every function that uses the stack; of the
 * others (leaves) a name says where they begin, and the next known start behind which they cannot reach.
 */
#include "image/pe/pe.h"

#include <stdio.h>

static rdf_rva lower(rdf_rva a, rdf_rva b)
{
    return a < b ? a : b;
}

static rdf_rva rva_of(const struct rdf_image *image, uint64_t addr)
{
    return (rdf_rva)(addr - image->object.start);
}

/* The next place behind `at` that something is known to start at, else the end of the section. */
static rdf_rva next_start(struct rdf_images *images, struct rdf_image *image, rdf_rva at)
{
    const struct rdf_pe_section *section = rdf_pe_section(image, at);
    rdf_rva next = section ? section->end : at;
    size_t name = rdf_pe_name_from(images, image, at + 1);
    if (name < image->name_count)
        next = lower(next, image->named[name].at);
    return lower(next, rdf_pe_range_from(images, image, at + 1));
}

static redefine_status fail_inside(const struct rdf_image *image, uint64_t addr, rdf_rva start,
                                   const char *name, struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_EINVAL,
                    "0x%" PRIx64 " is 0x%" PRIx64 " bytes inside %s%.256s (entry 0x%" PRIx64
                    ") in %s; pass the entry",
                    addr, addr - image->object.start - start, name ? "" : "a function without a name",
                    name ? name : "", image->object.start + start, image->name);
}

static redefine_status bounds(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                              struct rdf_function *ret, struct rdf_error *err)
{
    rdf_rva at = rva_of(image, addr);
    struct rdf_pe_range range;
    const char *name = rdf_pe_name_at(images, image, at);
    bool has_range = rdf_pe_range_at(images, image, at, &range);
    if (has_range && range.start != at && !name)
        return fail_inside(image, addr, range.start, rdf_pe_name_at(images, image, range.start), err);
    if (!has_range && !name)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "nothing tells where the code at 0x%" PRIx64
                        " in %s ends: neither .pdata nor a symbol "
                        "covers it; do not strip it, or export the function",
                        addr, image->name);
    /* A name inside: a second entry, up to where the first one ends. */
    rdf_rva end = has_range ? range.end : next_start(images, image, at);
    *ret = (struct rdf_function){image, addr, image->object.start + end,
                                 has_range ? RDF_BOUNDS_UNWIND : RDF_BOUNDS_SYMBOL, name};
    return REDEFINE_OK;
}

redefine_status rdf_images_function(struct rdf_images *images, uint64_t addr, struct rdf_function *ret,
                                    struct rdf_error *err)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    struct rdf_image *image = rdf_images_at(images, addr);
    struct rdf_function function;
    if (!map || !map->prot)
        return rdf_fail(err, REDEFINE_EINVAL,
                        "nothing is mapped at 0x%" PRIx64 "; pass the address of a function that is loaded",
                        addr);
    if (!(map->prot & RDF_PROT_EXEC))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%" PRIx64 " is data in %s, not code; pass the address of a function", addr,
                        image ? image->name : "memory without a name");
    if (!image || !rdf_pe_is_code(image, rva_of(image, addr)))
        return rdf_fail(
            err, REDEFINE_EUNSUPPORTED,
            "nothing tells where the code at 0x%" PRIx64 " ends: it is executable, but belongs to no "
            "loaded object (made at run time?); only functions of loaded objects can be redefined",
            addr);
    redefine_status status = bounds(images, image, addr, &function, err);
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the tables of %s", image->name);
    if (status == REDEFINE_OK)
        *ret = function;
    return status;
}

void rdf_images_describe(struct rdf_images *images, uint64_t addr, char *ret_text, size_t text_bytes)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    uint64_t start = rdf_images_start_of(images, addr);
    const char *name = start ? rdf_pe_name_at(images, image, rva_of(image, start)) : NULL;
    if (!image)
        (void)snprintf(ret_text, text_bytes, "0x%" PRIx64, addr);
    else if (!name)
        (void)snprintf(ret_text, text_bytes, "0x%" PRIx64 " (%s+0x%" PRIx64 ")", addr, image->name,
                       addr - image->object.start);
    else if (start == addr)
        (void)snprintf(ret_text, text_bytes, "%.256s in %s", name, image->name);
    else
        (void)snprintf(ret_text, text_bytes, "%.256s+0x%" PRIx64 " in %s", name, addr - start, image->name);
}

uint64_t rdf_images_next_start(struct rdf_images *images, const struct rdf_function *function)
{
    struct rdf_image *image = function->image;
    return image->object.start + next_start(images, image, rva_of(image, function->end - 1));
}

uint64_t rdf_images_gap(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint64_t limit)
{
    if (addr < image->object.start || addr >= image->object.end ||
        !rdf_pe_is_code(image, rva_of(image, addr)))
        return addr;
    rdf_rva at = rva_of(image, addr);
    struct rdf_pe_range range;
    if (rdf_pe_range_at(images, image, at, &range) || rdf_pe_name_at(images, image, at))
        return addr;
    /* Behind a leaf function's name anything up to the next start may still be that function. */
    size_t behind = rdf_pe_name_from(images, image, at);
    if (behind > 0 && !rdf_pe_range_at(images, image, image->named[behind - 1].at, &range) &&
        rdf_pe_range_from(images, image, image->named[behind - 1].at) > at)
        return addr;
    uint64_t end = image->object.start + next_start(images, image, at);
    return end < limit ? end : limit;
}

static void each_section(struct rdf_images *images, struct rdf_image *image, uint32_t traits,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    for (size_t i = 0; i < image->section_count; i++) {
        const struct rdf_pe_section *section = &image->section[i];
        uint64_t start = image->object.start + section->start;
        if ((section->traits & traits) == traits && section->end > section->start &&
            rdf_maps_allow(&images->maps, start, section->end - section->start, RDF_PROT_READ))
            visit(ctx, start, image->object.start + section->end);
    }
}

void rdf_image_each_code(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    each_section(images, image, RDF_PE_CODE, visit, ctx);
}

void rdf_image_each_part(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    each_section(images, image, 0, visit, ctx);
}

uint64_t rdf_images_start_of(struct rdf_images *images, uint64_t addr)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    struct rdf_pe_range range;
    if (!image)
        return 0;
    rdf_rva at = rva_of(image, addr);
    if (rdf_pe_range_at(images, image, at, &range))
        return image->object.start + range.start;
    size_t behind = rdf_pe_name_from(images, image, at + 1);
    return behind > 0 ? image->object.start + image->named[behind - 1].at : 0;
}
