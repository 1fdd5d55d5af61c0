/* SPDX-License-Identifier: MIT
 *
 * Where functions begin and end: the linker lists where each begins (LC_FUNCTION_STARTS), also in what is
 * stripped. One ends where the next begins, or the section does; padding between them belongs to the one
 * before.
 */
#include "image/macho/macho.h"

#include <stdio.h>

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The next place behind `addr` that something is known to start at, else the end of the section. */
static uint64_t next_start(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    const struct rdf_macho_section *section = rdf_macho_section(image, addr);
    uint64_t next = section ? section->end : addr;
    size_t function = rdf_macho_function_from(images, image, addr + 1);
    if (function < image->function_count)
        return lower(next, image->function[function]);
    size_t name = rdf_macho_name_from(images, image, addr + 1);
    return name < image->name_count && !image->function_count ? lower(next, image->named[name].addr) : next;
}

/* Where the function that holds `addr` begins; 0: nothing tells. */
static uint64_t start_of(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    const struct rdf_macho_section *section = rdf_macho_section(image, addr);
    size_t behind = rdf_macho_function_from(images, image, addr + 1);
    uint64_t start = behind > 0 ? image->function[behind - 1] : 0;
    if (!image->function_count) {
        behind = rdf_macho_name_from(images, image, addr + 1);
        start = behind > 0 ? image->named[behind - 1].addr : 0;
    }
    return section && start >= section->start ? start : 0;
}

redefine_status rdf_images_function(struct rdf_images *images, uint64_t addr, struct rdf_function *ret,
                                    struct rdf_error *err)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    struct rdf_image *image = rdf_images_at(images, addr);
    if (!map || !map->prot)
        return rdf_fail(err, REDEFINE_EINVAL,
                        "nothing is mapped at 0x%" PRIx64 "; pass the address of a function that is loaded",
                        addr);
    if (!(map->prot & RDF_PROT_EXEC) || (image && !rdf_macho_is_code(image, addr)))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%" PRIx64 " is data in %s, not code; pass the address of a function", addr,
                        image ? image->name : "memory without a name");
    uint64_t start = image ? start_of(images, image, addr) : 0;
    const char *name = start ? rdf_macho_name_at(images, image, start) : NULL;
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the tables of %s", image->name);
    if (!start)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "nothing tells where the code at 0x%" PRIx64
                        " ends: it belongs to no loaded object, or to "
                        "one without LC_FUNCTION_STARTS and symbols; only functions of loaded objects can be "
                        "redefined",
                        addr);
    if (start != addr)
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%" PRIx64 " is 0x%" PRIx64 " bytes inside %s%.256s (entry 0x%" PRIx64
                        ") in %s; pass the entry",
                        addr, addr - start, name ? "" : "a function without a name", name ? name : "", start,
                        image->name);
    *ret = (struct rdf_function){image, addr, next_start(images, image, addr),
                                 image->function_count ? RDF_BOUNDS_UNWIND : RDF_BOUNDS_SYMBOL, name};
    return REDEFINE_OK;
}

void rdf_images_describe(struct rdf_images *images, uint64_t addr, char *ret_text, size_t text_bytes)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    uint64_t start = rdf_images_start_of(images, addr);
    const char *name = start ? rdf_macho_name_at(images, image, start) : NULL;
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
    return next_start(images, function->image, function->end - 1);
}

/* Every byte behind a known start belongs to that function, as far as the tables tell. */
uint64_t rdf_images_gap(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint64_t limit)
{
    if (rdf_images_at(images, addr) != image || !rdf_macho_is_code(image, addr) ||
        rdf_macho_is_stubs(rdf_macho_section(image, addr)) || start_of(images, image, addr))
        return addr;
    return lower(next_start(images, image, addr), limit);
}

void rdf_image_each_code(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    for (size_t i = 0; i < image->section_count; i++) {
        const struct rdf_macho_section *section = &image->section[i];
        uint64_t len = section->end - section->start;
        if (rdf_macho_is_code(image, section->start) &&
            rdf_maps_allow(&images->maps, section->start, len, RDF_PROT_READ))
            visit(ctx, section->start, section->end);
    }
}

void rdf_image_each_part(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_macho_segment *segment = &image->segment[i];
        uint64_t memory_bytes = segment->end - segment->start;
        uint64_t len = lower(segment->file_bytes, memory_bytes);
        if (len && !segment->is_linkedit && rdf_maps_allow(&images->maps, segment->start, len, RDF_PROT_READ))
            visit(ctx, segment->start, segment->start + len);
    }
}

uint64_t rdf_images_start_of(struct rdf_images *images, uint64_t addr)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    return image ? start_of(images, image, addr) : 0;
}
