/* SPDX-License-Identifier: MIT
 *
 * Where functions begin and end.
 *
 * Go's own table is exact, and where there is Go code nothing else is asked.
 * The unwind table is believed first for the rest: it exists in stripped objects and is exact, because
 * exceptions depend on it. Symbols add what it cannot say: assembly often has one FDE over several functions,
 * and some code has none.
 */
#include "image/elf/go_internal.h"

#include <stdio.h>

static unsigned long long hex(uint64_t addr)
{
    return addr;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void rdf_image_near(struct rdf_images *images, struct rdf_image *image, uint64_t addr, struct rdf_near *ret)
{
    struct rdf_near more;
    const struct rdf_go *go;
    /* Where there is Go code its own table is complete, and nothing else is needed. */
    if (rdf_go_is_go(images, image) && rdf_go_open(images, image, &go, NULL) == REDEFINE_OK &&
        rdf_go_near(go, addr, ret))
        return;
    rdf_symbols_near(images, image, rdf_image_dynsym(images, image), addr, ret);
    rdf_symbols_near(images, image, rdf_image_symtab(images, image), addr, &more);
    rdf_near_merge(ret, &more);
}

static const char *keep_name(struct rdf_images *images, const char *name)
{
    size_t len = rdf_text_len(name);
    const char *copy = rdf_arena_copy(images->arena, name,
                                      len < RDF_IMAGE_NAME_MAX ? len : RDF_IMAGE_NAME_MAX);
    if (!copy)
        images->out_of_memory = true;
    return copy;
}

/* The end of the segment, or of the section where the file tells. */
static uint64_t code_end(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    const struct rdf_segment *segment = rdf_image_segment(image, addr);
    uint64_t rest = segment ? segment->end - addr : 1;
    Elf64_Shdr section;
    if (rdf_image_section_at(images, image, addr, &section, NULL))
        rest = lower(rest, section.sh_size - (addr - image->object.bias - section.sh_addr));
    return addr + rest;
}

static redefine_status fail_inside(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                                   uint64_t start, struct rdf_error *err)
{
    struct rdf_near near;
    bool known;
    const char *object = rdf_image_short_name(image);
    if (rdf_image_in_plt(images, image, addr, &known))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%llx is in the procedure linkage table of %s, which only leads to functions of "
                        "other objects; pass the address of the function itself",
                        hex(addr), object);
    rdf_image_near(images, image, start, &near);
    if (near.has_at)
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%llx is 0x%llx bytes inside %.256s in %s, not at its entry 0x%llx; pass the entry",
                        hex(addr), hex(addr - start), near.at.name, object, hex(start));
    return rdf_fail(err, REDEFINE_EINVAL,
                    "0x%llx is 0x%llx bytes inside the function at 0x%llx (file address 0x%llx) in %s; pass "
                    "the entry",
                    hex(addr), hex(addr - start), hex(start), hex(start - image->object.bias), object);
}

/* At the start of an FDE. .symtab is read only when .dynsym does not confirm the length: what is
 * exported and has the FDE's size is one function. */
static redefine_status bounds_of_fde(struct rdf_images *images, struct rdf_image *image,
                                     const struct rdf_range *fde, struct rdf_function *ret,
                                     struct rdf_error *err)
{
    struct rdf_near near, more;
    uint64_t fde_bytes = fde->end - fde->start;
    bool known;
    rdf_symbols_near(images, image, rdf_image_dynsym(images, image), fde->start, &near);
    if (!near.has_at || near.longest_bytes != fde_bytes) {
        rdf_symbols_near(images, image, rdf_image_symtab(images, image), fde->start, &more);
        rdf_near_merge(&near, &more);
        if (!near.has_at && rdf_image_in_plt(images, image, fde->start, &known))
            return fail_inside(images, image, fde->start, fde->start, err);
    }
    /* A symbol as long as the FDE with another inside: a second entry, not a second function. */
    uint64_t end = near.longest_bytes == fde_bytes ? fde->end : lower(fde->end, near.next_function);
    *ret = (struct rdf_function){image, fde->start, end, RDF_BOUNDS_UNWIND,
                                 near.has_at ? keep_name(images, near.at.name) : NULL};
    return REDEFINE_OK;
}

/* Not at the start of an FDE, perhaps inside one (`fde` not null): only a symbol can make it an entry. */
static redefine_status bounds_of_symbol(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                                        const struct rdf_range *fde, struct rdf_function *ret,
                                        struct rdf_error *err)
{
    struct rdf_near near;
    rdf_image_near(images, image, addr, &near);
    if (!near.has_at && fde)
        return fail_inside(images, image, addr,
                           near.has_around && near.around.addr > fde->start ? near.around.addr : fde->start,
                           err);
    if (!near.has_at && near.has_around)
        return fail_inside(images, image, addr, near.around.addr, err);
    bool known;
    if (!near.has_at && rdf_image_in_plt(images, image, addr, &known))
        return fail_inside(images, image, addr, addr, err);
    Elf64_Shdr section;
    const char *name;
    /* Linkers may put constants and code into one segment. */
    if (!near.has_at && rdf_image_section_at(images, image, addr, &section, &name) &&
        !(section.sh_flags & SHF_EXECINSTR))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%llx is data (section %.64s) in %s, not code; pass the address of a function",
                        hex(addr), name, rdf_image_short_name(image));
    if (!near.has_at)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "nothing tells where the code at 0x%llx in %s ends: neither an unwind table nor a "
                        "symbol covers it; build it with -fasynchronous-unwind-tables, or do not strip it",
                        hex(addr), rdf_image_short_name(image));
    uint64_t end = fde ? fde->end : code_end(images, image, addr);
    if (near.longest_bytes)
        end = lower(end, near.longest_bytes < UINT64_MAX - addr ? addr + near.longest_bytes : end);
    else
        end = lower(end, near.at.type == STT_NOTYPE && near.at.bind == STB_LOCAL ? near.next_any
                                                                                 : near.next_global);
    if (fde)
        end = lower(end, near.next_function);
    else
        end = lower(end, rdf_unwind_next(images, image, addr + 1));
    *ret = (struct rdf_function){image, addr, end, RDF_BOUNDS_SYMBOL, keep_name(images, near.at.name)};
    return REDEFINE_OK;
}

static redefine_status bounds_of_go(struct rdf_images *images, struct rdf_image *image,
                                    const struct rdf_go_func *func, uint64_t addr, struct rdf_function *ret,
                                    struct rdf_error *err)
{
    if (func->entry != addr)
        return fail_inside(images, image, addr, func->entry, err);
    enum rdf_bounds_source source = func->is_foreign ? RDF_BOUNDS_GO_C : RDF_BOUNDS_GO;
    *ret = (struct rdf_function){image, func->entry, func->end, source, func->name};
    return REDEFINE_OK;
}

static redefine_status bounds(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                              struct rdf_function *ret, struct rdf_error *err)
{
    struct rdf_range fde;
    struct rdf_go_func func;
    const struct rdf_go *go = rdf_go_at(images, addr);
    if (go && rdf_go_func_at(go, addr, &func))
        return bounds_of_go(images, image, &func, addr, ret, err);
    /* Go code in a release that is not known: its symbols may do, but without them this is the reason. */
    if (!go && rdf_go_is_go(images, image) && !rdf_image_symtab(images, image)->count) {
        redefine_status status = rdf_go_open(images, image, &go, err);
        if (status != REDEFINE_OK)
            return status;
    }
    bool has_fde = rdf_unwind_find(images, image, addr, &fde);
    if (has_fde && fde.start == addr)
        return bounds_of_fde(images, image, &fde, ret, err);
    return bounds_of_symbol(images, image, addr, has_fde ? &fde : NULL, ret, err);
}

redefine_status rdf_images_function(struct rdf_images *images, uint64_t addr, struct rdf_function *ret,
                                    struct rdf_error *err)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    if (!map)
        return rdf_fail(err, REDEFINE_EINVAL,
                        "nothing is mapped at 0x%llx; pass the address of a function that is loaded",
                        hex(addr));
    struct rdf_image *image = rdf_images_at(images, addr);
    if (!(map->prot & RDF_PROT_EXEC))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "0x%llx is data (%c%c-) in %s, not code; pass the address of a function", hex(addr),
                        map->prot & RDF_PROT_READ ? 'r' : '-', map->prot & RDF_PROT_WRITE ? 'w' : '-',
                        image                     ? rdf_image_short_name(image)
                        : map->path && *map->path ? rdf_text_base(map->path)
                                                  : "memory without a name");
    if (!image || !rdf_image_is_code(image, addr))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "nothing tells where the code at 0x%llx ends: it is executable, but %s%s; only "
                        "functions of loaded objects can be redefined",
                        hex(addr),
                        image ? "behind the code of "
                              : "belongs to no loaded object (made at run time? being loaded?)",
                        image ? rdf_image_short_name(image) : "");
    struct rdf_function function;
    redefine_status status = bounds(images, image, addr, &function, err);
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the tables of %s",
                        rdf_image_short_name(image));
    if (status == REDEFINE_OK)
        *ret = function;
    return status;
}

void rdf_images_describe(struct rdf_images *images, uint64_t addr, char *ret_text, size_t text_bytes)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    if (!image) {
        bool has_path = map && map->path && *map->path;
        (void)snprintf(ret_text, text_bytes, "0x%llx%s%s", hex(addr), has_path ? " in " : "",
                       has_path ? rdf_text_base(map->path) : "");
        return;
    }
    const char *object = rdf_image_short_name(image), *name = NULL;
    struct rdf_near near;
    struct rdf_range fde;
    uint64_t start = addr;
    rdf_image_near(images, image, addr, &near);
    if (near.has_at) {
        name = near.at.name;
    } else if (near.has_around) {
        name = near.around.name;
        start = near.around.addr;
    } else if (rdf_unwind_find(images, image, addr, &fde)) {
        start = fde.start;
        rdf_image_near(images, image, start, &near);
        name = near.has_at ? near.at.name : NULL;
    }
    if (!name)
        (void)snprintf(ret_text, text_bytes, "0x%llx (file address 0x%llx) in %s", hex(addr),
                       hex(addr - image->object.bias), object);
    else if (start == addr)
        (void)snprintf(ret_text, text_bytes, "%.256s in %s", name, object);
    else
        (void)snprintf(ret_text, text_bytes, "%.256s+0x%llx in %s", name, hex(addr - start), object);
}

/* The end of the executable mappings that `addr` is in. */
static uint64_t mapped_code_end(const struct rdf_images *images, uint64_t addr)
{
    const struct rdf_maps *maps = &images->maps;
    const struct rdf_map *map = rdf_maps_find(maps, addr);
    uint64_t end = addr;
    for (; map && map < maps->map + maps->count && map->start <= end && (map->prot & RDF_PROT_EXEC); map++)
        end = map->end;
    return end;
}

uint64_t rdf_images_next_start(struct rdf_images *images, const struct rdf_function *function)
{
    struct rdf_image *image = function->image;
    uint64_t next = mapped_code_end(images, function->end - 1);
    struct rdf_near near;
    rdf_image_near(images, image, function->end - 1, &near);
    next = lower(next, near.next_any);
    next = lower(next, rdf_unwind_next(images, image, function->end));
    /* Stubs and .fini have neither in a stripped file, constants between code never: a section's start
     * is a start too. */
    Elf64_Shdr section;
    for (size_t i = 1; rdf_image_section(images, image, i, &section, NULL); i++) {
        uint64_t start = section.sh_addr + image->object.bias;
        if ((section.sh_flags & SHF_ALLOC) && section.sh_size && start >= function->end)
            next = lower(next, start);
    }
    /* A damaged table can end a function behind the mapping. */
    return next > function->end ? next : function->end;
}

uint64_t rdf_images_gap(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint64_t limit)
{
    struct rdf_near near;
    struct rdf_range fde;
    bool known;
    if (!rdf_image_is_code(image, addr) || rdf_unwind_find(images, image, addr, &fde) ||
        rdf_image_in_plt(images, image, addr, &known))
        return addr;
    rdf_image_near(images, image, addr, &near);
    if (near.has_at || near.has_around || near.is_data)
        return addr;
    uint64_t end = lower(near.next_any, rdf_unwind_next(images, image, addr));
    return lower(lower(end, code_end(images, image, addr)), limit);
}

void rdf_image_each_code(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_segment *segment = &image->segment[i];
        if (rdf_image_is_code(image, segment->start) && segment->end > segment->start &&
            rdf_maps_allow(&images->maps, segment->start, segment->end - segment->start, RDF_PROT_READ))
            visit(ctx, segment->start, segment->end);
    }
}

void rdf_image_each_part(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_segment *segment = &image->segment[i];
        if (segment->file_end > segment->start &&
            rdf_maps_allow(&images->maps, segment->start, segment->file_end - segment->start, RDF_PROT_READ))
            visit(ctx, segment->start, segment->file_end);
    }
}

uint64_t rdf_images_start_of(struct rdf_images *images, uint64_t addr)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    struct rdf_range fde;
    struct rdf_near near;
    if (!image)
        return 0;
    if (rdf_unwind_find(images, image, addr, &fde))
        return fde.start;
    rdf_image_near(images, image, addr, &near);
    return near.has_at ? addr : near.has_around ? near.around.addr : 0;
}
