/* SPDX-License-Identifier: MIT
 *
 * An ELF file laid out in memory as the kernel and the loader would, as a space of its own. For files that
 * cannot or must not be run: other CPUs', damaged ones, a fuzzer's. Used by tests/unit/image_hostile.c and
 * tests/fuzz/fuzz_image.c, so no test framework here.
 */
#ifndef TESTS_UNIT_IMAGE_LAYOUT_H
#define TESTS_UNIT_IMAGE_LAYOUT_H

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"

#if defined(__SANITIZE_ADDRESS__)
#define LAYOUT_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LAYOUT_POISON 1
#endif
#endif
#ifdef LAYOUT_POISON
#include <sanitizer/asan_interface.h>
#define LAYOUT_HIDE(at, len) ASAN_POISON_MEMORY_REGION(at, len)
#define LAYOUT_SHOW(at, len) ASAN_UNPOISON_MEMORY_REGION(at, len)
#else
#define LAYOUT_HIDE(at, len) ((void)(at), (void)(len))
#define LAYOUT_SHOW(at, len) ((void)(at), (void)(len))
#endif

enum { LAYOUT_MAPS = 12, LAYOUT_PAGE = 4096, LAYOUT_PAGES = 512 };

#define LAYOUT_BASE UINT64_C(0x7f0000000000)

struct layout {
    struct rdf_span file;
    uint8_t *memory; /* LAYOUT_PAGES pages, at LAYOUT_BASE; what is not mapped is poisoned */
    uint64_t bias;
    struct rdf_map map[LAYOUT_MAPS];
    size_t map_count;
    bool has_views;
    bool has_file;
    int files_open;
    /* The arena's pages. */
    size_t pages_bytes, pages_peak, gets, fail_at; /* from that one on none; 0: never */
};

static inline bool layout_holds(const struct layout *layout, uint64_t addr, size_t len)
{
    struct rdf_maps maps = {layout->map, layout->map_count};
    return len && rdf_maps_allow(&maps, addr, len, RDF_PROT_READ);
}

static inline int layout_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct layout *layout = space->os;
    (void)arena;
    *ret = (struct rdf_maps){layout->map, layout->map_count};
    return 0;
}

/* A reader that asks for what it has not checked is found out: by abort, or by the sanitizer. */
static inline int layout_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len)
{
    struct layout *layout = space->os;
    if (!layout_holds(layout, addr, len))
        abort();
    memcpy(ret_bytes, layout->memory + (addr - LAYOUT_BASE), len);
    return 0;
}

static inline const void *layout_view(struct rdf_space *space, uint64_t addr, size_t len)
{
    struct layout *layout = space->os;
    if (!layout_holds(layout, addr, len))
        abort();
    return layout->has_views ? layout->memory + (addr - LAYOUT_BASE) : NULL;
}

static inline uint64_t layout_resolver(struct rdf_space *space, uint64_t addr)
{
    (void)space;
    return addr & 1 ? 0 : addr + 12; /* where no function begins */
}

static inline int layout_open(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                              struct rdf_span *ret)
{
    struct layout *layout = space->os;
    (void)path, (void)dev, (void)ino;
    if (!layout->has_file)
        return -ENOENT;
    layout->files_open++;
    *ret = layout->file;
    return 0;
}

static inline void layout_close(struct rdf_space *space, struct rdf_span file)
{
    struct layout *layout = space->os;
    (void)file;
    layout->files_open--;
}

static const struct rdf_space_ops layout_ops = {
    .maps = layout_maps,
    .read = layout_read,
    .view = layout_view,
    .call_resolver = layout_resolver,
    .open_file = layout_open,
    .close_file = layout_close,
};

static inline void *layout_get(void *ctx, size_t len)
{
    struct layout *layout = ctx;
    if (++layout->gets >= layout->fail_at && layout->fail_at)
        return NULL;
    layout->pages_bytes += len;
    if (layout->pages_bytes > layout->pages_peak)
        layout->pages_peak = layout->pages_bytes;
    return calloc(1, len);
}

static inline void layout_put(void *ctx, void *pages, size_t len)
{
    struct layout *layout = ctx;
    layout->pages_bytes -= len;
    free(pages);
}

/* Keep `map` ascending and without overlaps; what does not fit is left out, as a failed mmap would be. */
static inline void layout_add_map(struct layout *layout, struct rdf_map map)
{
    size_t at = layout->map_count;
    if (at == LAYOUT_MAPS || map.start >= map.end)
        return;
    for (size_t i = 0; i < layout->map_count; i++)
        if (map.start < layout->map[i].end && layout->map[i].start < map.end)
            return;
    while (at > 0 && layout->map[at - 1].start > map.start) {
        layout->map[at] = layout->map[at - 1];
        at--;
    }
    layout->map[at] = map;
    layout->map_count++;
}

static inline void layout_segment(struct layout *layout, const Elf64_Phdr *load)
{
    uint64_t page = LAYOUT_PAGE - 1, limit = (uint64_t)LAYOUT_PAGES * LAYOUT_PAGE;
    uint64_t start = load->p_vaddr + layout->bias - LAYOUT_BASE;
    if (start >= limit || load->p_memsz > limit - start || load->p_offset > layout->file.len_bytes)
        return;
    uint64_t first = start & ~page, end = (start + load->p_memsz + page) & ~page;
    if (end > limit)
        return;
    uint64_t off = load->p_offset & ~page, room = layout->file.len_bytes - (size_t)off;
    uint64_t copy = load->p_filesz + (load->p_offset & page);
    copy = copy < room ? copy : room;
    copy = copy < end - first ? copy : end - first;
    LAYOUT_SHOW(layout->memory + first, end - first);
    if (copy)
        memcpy(layout->memory + first, layout->file.data + off, copy);
    layout_add_map(layout, (struct rdf_map){
                               .start = LAYOUT_BASE + first,
                               .end = LAYOUT_BASE + end,
                               .file_off = off,
                               .dev = 1,
                               .ino = 2,
                               .prot = (uint8_t)((load->p_flags & PF_R ? RDF_PROT_READ : 0) |
                                                 (load->p_flags & PF_W ? RDF_PROT_WRITE : 0) |
                                                 (load->p_flags & PF_X ? RDF_PROT_EXEC : 0)),
                               .path = "/fixtures/laid-out.so",
                           });
}

/* Lay `file` out; the bytes must outlive it. */
static inline void layout_init(struct layout *layout, const uint8_t *data, size_t len)
{
    *layout = (struct layout){.file = {data, len}, .bias = LAYOUT_BASE, .has_views = true, .has_file = true};
    layout->memory = calloc(LAYOUT_PAGES, LAYOUT_PAGE);
    if (!layout->memory)
        abort();
    LAYOUT_HIDE(layout->memory, (size_t)LAYOUT_PAGES * LAYOUT_PAGE);
    Elf64_Ehdr header;
    if (len < sizeof header)
        return;
    memcpy(&header, data, sizeof header);
    for (unsigned i = 0; i < header.e_phnum && i < 64; i++) {
        Elf64_Phdr load;
        uint64_t at = header.e_phoff + i * sizeof load;
        if (at < header.e_phoff || at > len || len - at < sizeof load)
            break;
        memcpy(&load, data + at, sizeof load);
        if (load.p_type == PT_LOAD)
            layout_segment(layout, &load);
    }
}

static inline void layout_free(struct layout *layout)
{
    LAYOUT_SHOW(layout->memory, (size_t)LAYOUT_PAGES * LAYOUT_PAGE);
    free(layout->memory);
}

/* Writable bytes at an address of the image; null when not mapped. */
static inline uint8_t *layout_at(struct layout *layout, uint64_t addr, size_t len)
{
    return layout_holds(layout, addr, len) ? layout->memory + (addr - LAYOUT_BASE) : NULL;
}

/* What the loader does to slots that it binds lazily: it adds the bias (elf_machine_lazy_rel). */
static inline void layout_relocate_slots(struct layout *layout)
{
    uint64_t dynamic = 0, jmprel = 0, bytes = 0;
    Elf64_Ehdr header;
    if (layout->file.len_bytes < sizeof header)
        return;
    memcpy(&header, layout->file.data, sizeof header);
    for (unsigned i = 0; i < header.e_phnum && i < 64; i++) {
        Elf64_Phdr program;
        uint64_t at = header.e_phoff + i * sizeof program;
        if (at < header.e_phoff || at > layout->file.len_bytes ||
            layout->file.len_bytes - at < sizeof program)
            break;
        memcpy(&program, layout->file.data + at, sizeof program);
        if (program.p_type == PT_DYNAMIC)
            dynamic = program.p_vaddr + layout->bias;
    }
    for (unsigned i = 0; dynamic && i < 256; i++, dynamic += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        const uint8_t *at = layout_at(layout, dynamic, sizeof entry);
        if (!at)
            break;
        memcpy(&entry, at, sizeof entry);
        if (entry.d_tag == DT_JMPREL)
            jmprel = entry.d_un.d_val + layout->bias;
        if (entry.d_tag == DT_PLTRELSZ)
            bytes = entry.d_un.d_val;
    }
    for (uint64_t off = 0; jmprel && off < bytes && off < 4096; off += sizeof(Elf64_Rela)) {
        Elf64_Rela rela;
        const uint8_t *at = layout_at(layout, jmprel + off, sizeof rela);
        if (!at)
            break;
        memcpy(&rela, at, sizeof rela);
        uint8_t *slot = layout_at(layout, rela.r_offset + layout->bias, 8);
        uint64_t value;
        if (!slot)
            continue;
        memcpy(&value, slot, 8);
        value += layout->bias;
        memcpy(slot, &value, 8);
    }
}

#endif
