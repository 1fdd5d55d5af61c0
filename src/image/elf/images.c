/* SPDX-License-Identifier: MIT
 *
 * Finding the ELF images of a space in its mappings.
 *
 * The loader's list alone is not enough: it leaves out the vDSO and other link namespaces, and a
 * program without a loader has none. The mappings hold everything, but also ELF files that are merely
 * being read; an image is told from those by its code being executable where its headers put it.
 */
#include "base/bytes.h"
#include "image/elf/internal.h"

#include <string.h>

static uint64_t page_down(uint64_t addr)
{
    return addr & ~(uint64_t)(RDF_IMAGE_PAGE_BYTES - 1);
}

static bool is_elf64(const Elf64_Ehdr *header)
{
    return rdf_bytes_equal(header->e_ident, ELFMAG, SELFMAG) && header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_ident[EI_DATA] == ELFDATA2LSB &&
           (header->e_type == ET_DYN || header->e_type == ET_EXEC) &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum > 0 &&
           header->e_phnum <= RDF_IMAGE_PHDRS_MAX;
}

/* Whether this PT_LOAD is mapped where the bias says: the same part of the same file, or, for code that
 * was copied (huge pages for text, the vDSO), no file but the whole range executable. */
static bool is_mapped(const struct rdf_images *images, const struct rdf_map *first, uint64_t bias,
                      const Elf64_Phdr *load)
{
    uint64_t start = page_down(load->p_vaddr + bias);
    const struct rdf_map *map = rdf_maps_find(&images->maps, start);
    if (!map)
        return false;
    /* Writable data in one mapping with the headers: a file mapped whole, to be read. */
    if ((load->p_flags & PF_W) && load->p_offset && map == first && !(map->prot & RDF_PROT_WRITE))
        return false;
    if (map->ino)
        return map->ino == first->ino && map->dev == first->dev &&
               map->file_off + (start - map->start) == page_down(load->p_offset) &&
               (!(load->p_flags & PF_X) || (map->prot & RDF_PROT_EXEC));
    return !(load->p_flags & PF_X) ||
           rdf_maps_allow(&images->maps, load->p_vaddr + bias, load->p_memsz, RDF_PROT_EXEC);
}

enum { FIRST_BYTES = 1024 }; /* hold the headers of every ordinary image: one read instead of two */

struct headers {
    Elf64_Ehdr elf;
    Elf64_Phdr program[RDF_IMAGE_PHDRS_MAX];
    uint64_t bias;
    uint8_t first[FIRST_BYTES];
};

/* What a loader may have mapped an ELF header from: a private mapping of a file, the vDSO, or a copy that
 * was made read-only. Reading anything else would be rude (devices) or slow (every heap and stack). */
static bool is_candidate(const struct rdf_map *map)
{
    return map->file_off == 0 && (map->prot & RDF_PROT_READ) && !map->shared &&
           (map->ino || !(map->prot & RDF_PROT_WRITE));
}

static bool read_tables(const struct rdf_images *images, const struct rdf_map *map, struct headers *ret)
{
    uint64_t len = map->end - map->start < FIRST_BYTES ? map->end - map->start : FIRST_BYTES;
    if (len < sizeof ret->elf || !rdf_images_read(images, map->start, ret->first, (size_t)len))
        return false;
    memcpy(&ret->elf, ret->first, sizeof ret->elf);
    if (!is_elf64(&ret->elf) || ret->elf.e_phoff > UINT64_MAX - map->start)
        return false;
    size_t table_bytes = ret->elf.e_phnum * sizeof(Elf64_Phdr);
    if (ret->elf.e_phoff <= len && table_bytes <= len - ret->elf.e_phoff) {
        rdf_bytes_copy(ret->program, ret->first + ret->elf.e_phoff, table_bytes);
        return true;
    }
    return rdf_images_read(images, map->start + ret->elf.e_phoff, ret->program, table_bytes);
}

static bool is_sane_load(const Elf64_Phdr *load, uint64_t bias)
{
    uint64_t start = load->p_vaddr + bias;
    return load->p_filesz <= load->p_memsz && start <= UINT64_MAX - load->p_memsz &&
           load->p_memsz < (uint64_t)1 << 47;
}

/* Read the headers at the start of `map`; true when what is mapped there is an image. */
static bool read_headers(const struct rdf_images *images, const struct rdf_map *map, struct headers *ret)
{
    if (!is_candidate(map) || !read_tables(images, map, ret))
        return false;
    bool has_first = false, has_code = false;
    for (unsigned i = 0; i < ret->elf.e_phnum && !has_first; i++) {
        const Elf64_Phdr *load = &ret->program[i];
        if (load->p_type == PT_LOAD && load->p_offset == 0) {
            ret->bias = map->start - load->p_vaddr;
            has_first = true;
        }
    }
    if (!has_first)
        return false;
    for (unsigned i = 0; i < ret->elf.e_phnum; i++) {
        const Elf64_Phdr *load = &ret->program[i];
        if (load->p_type != PT_LOAD || !load->p_memsz)
            continue;
        if (!is_sane_load(load, ret->bias) || (load->p_filesz && !is_mapped(images, map, ret->bias, load)))
            return false;
        has_code |= (load->p_flags & PF_X) != 0;
    }
    return has_code;
}

static struct rdf_image *make_image(struct rdf_images *images, const struct rdf_map *map,
                                    const struct headers *headers)
{
    size_t loads = 0;
    for (unsigned i = 0; i < headers->elf.e_phnum; i++)
        loads += headers->program[i].p_type == PT_LOAD && headers->program[i].p_memsz;
    struct rdf_image *image = rdf_arena_alloc(images->arena, sizeof *image);
    struct rdf_segment *segment = rdf_arena_alloc(images->arena, loads * sizeof *segment);
    if (!image || !segment)
        return NULL;
    *image = (struct rdf_image){
        .object = {.path = map->path ? map->path : "", .start = map->start, .bias = headers->bias},
        .dev = map->dev,
        .ino = map->ino,
        .machine = headers->elf.e_machine,
        .type = headers->elf.e_type,
        .is_vdso = map->path && rdf_text_same(map->path, "[vdso]"),
        .segment = segment,
    };
    for (unsigned i = 0; i < headers->elf.e_phnum; i++) {
        const Elf64_Phdr *header = &headers->program[i];
        uint64_t start = header->p_vaddr + headers->bias;
        switch (header->p_type) {
        case PT_LOAD:
            if (!header->p_memsz)
                break;
            segment[image->segment_count++] = (struct rdf_segment){
                .start = start,
                .end = start + header->p_memsz,
                .file_end = start + header->p_filesz,
                .flags = header->p_flags,
            };
            image->object.start = start < image->object.start ? start : image->object.start;
            image->object.end = start + header->p_memsz > image->object.end ? start + header->p_memsz
                                                                            : image->object.end;
            break;
        case PT_DYNAMIC:
            image->dynamic_addr = start;
            image->dynamic_bytes = header->p_memsz;
            break;
        case PT_GNU_EH_FRAME:
            image->eh_hdr_addr = start;
            image->eh_hdr_bytes = header->p_memsz;
            break;
        case PT_INTERP: image->has_interp = true; break;
        default: break;
        }
    }
    return image;
}

/* Move the image whose dynamic section is at `dynamic_addr` to the end of those already placed. */
static void place_next(struct rdf_images *images, uint64_t dynamic_addr)
{
    for (size_t i = images->linked_count; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        if (image->dynamic_addr != dynamic_addr || image->is_vdso)
            continue;
        for (; i > images->linked_count; i--)
            images->image[i] = images->image[i - 1];
        images->image[images->linked_count++] = image;
        image->is_linked = true;
        return;
    }
}

/* The dynamic loader leaves the address of its list in the program's DT_DEBUG: struct r_debug with
 * r_map at 8; struct link_map with l_ld at 16 and l_next at 24 (<link.h>). */
static void order_by_loader(struct rdf_images *images)
{
    uint64_t debug = 0, map = 0;
    for (size_t i = 0; i < images->count && !debug; i++)
        if (!images->image[i]->is_vdso)
            debug = rdf_image_dynamic(images, images->image[i])->debug;
    if (!debug || debug > UINT64_MAX - 16 || !rdf_images_read(images, debug + 8, &map, sizeof map))
        return;
    /* Entries without an image exist (the vDSO's, one being loaded); a cycle must still end. */
    for (size_t steps = 2 * images->count + 64; map && steps; steps--) {
        uint64_t entry[4];
        if (!rdf_images_read(images, map, entry, sizeof entry))
            return;
        if (entry[2])
            place_next(images, entry[2]);
        map = entry[3];
    }
}

void rdf_images_begin_with(struct rdf_images *images, struct rdf_image *program)
{
    size_t place = 0;
    while (place < images->count && images->image[place] != program)
        place++;
    if (place == images->count)
        return;
    for (; place > 0; place--)
        images->image[place] = images->image[place - 1];
    images->image[0] = program;
    images->linked_count += !program->is_linked;
    program->is_linked = true;
}

/* A program that lies where it was linked to lie and has no dynamic section is static: what list there is, is
 * that of objects which it loaded, and does not name the program. Without a list the program is what asks for
 * an interpreter, else the first image that is not the vDSO. */
static void place_program(struct rdf_images *images)
{
    struct rdf_image *fixed = NULL, *interpreted = NULL, *first = NULL;
    for (size_t i = images->count; i-- > 0;) {
        struct rdf_image *image = images->image[i];
        if (image->is_vdso)
            continue;
        first = image;
        if (image->type == ET_EXEC && !image->dynamic_addr)
            fixed = image;
        if (image->has_interp)
            interpreted = image;
    }
    if (fixed)
        rdf_images_begin_with(images, fixed);
    else if (!images->linked_count && first)
        rdf_images_begin_with(images, interpreted ? interpreted : first);
}

redefine_status rdf_images_load(struct rdf_space *space, const struct rdf_arch *arch, struct rdf_arena *arena,
                                struct rdf_images *ret, struct rdf_error *err)
{
    struct rdf_images images = {.space = space, .arch = arch, .arena = arena};
    rdf_arena_init(&images.copies, arena->source);
    int failed = space->ops->maps(space, arena, &images.maps);
    if (failed)
        return rdf_fail(err, failed == -12 /* ENOMEM */ ? REDEFINE_ENOMEM : REDEFINE_ESYSTEM,
                        "the list of mappings cannot be read: %s; without it no code can be found%s",
                        rdf_errno_name(failed), failed == -2 /* ENOENT */ ? ": mount /proc" : "");
    size_t capacity = 0;
    for (size_t i = 0; i < images.maps.count; i++)
        capacity += is_candidate(&images.maps.map[i]);
    images.image = rdf_arena_alloc(arena, capacity * sizeof(struct rdf_image *));
    struct headers *headers = rdf_arena_alloc(arena, sizeof *headers);
    if (!images.image || !headers)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the list of loaded objects");
    for (size_t i = 0; i < images.maps.count; i++) {
        if (!read_headers(&images, &images.maps.map[i], headers))
            continue;
        struct rdf_image *image = make_image(&images, &images.maps.map[i], headers);
        if (!image)
            return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the list of loaded objects");
        images.image[images.count++] = image;
    }
    order_by_loader(&images);
    place_program(&images);
    *ret = images;
    return REDEFINE_OK;
}

void rdf_images_close_files(struct rdf_images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        if (image->file_is_open)
            images->space->ops->close_file(images->space, image->file);
        image->file_is_open = image->file_is_mapped = image->file_tried = image->symtab_tried = false;
        image->file = image->sections = image->section_names = (struct rdf_span){0};
        image->symtab = (struct rdf_symbols){0};
    }
    rdf_images_drop_lent(images);
}

/* A namespace of dlmopen has its own copies, except of the dynamic loader. */
struct rdf_image *rdf_images_needed(struct rdf_images *images, const char *needed, const struct rdf_image *by)
{
    const char *base = rdf_text_base(needed);
    struct rdf_image *other = NULL;
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        const char *soname = rdf_image_soname(images, image);
        if (!(soname && rdf_text_same(soname, needed)) && !rdf_text_same(rdf_image_short_name(image), base))
            continue;
        if (image->is_linked == by->is_linked)
            return image;
        other = other ? other : image;
    }
    return other;
}

/* The loader searches the program, then what was preloaded, then what they need, in the order of its
 * list; what dlopen brought comes behind the last of those. */
void rdf_images_find_scope(struct rdf_images *images)
{
    if (images->scope_known)
        return;
    images->scope_known = true;
    struct rdf_image **queue = rdf_arena_alloc(images->arena, (images->count + 1) * sizeof(*queue));
    if (!queue) {
        images->out_of_memory = true;
        return;
    }
    size_t put = 0;
    if (images->linked_count) {
        images->image[0]->is_in_global = true;
        queue[put++] = images->image[0];
    }
    for (size_t take = 0; take < put; take++) {
        struct rdf_span entries = rdf_image_dynamic(images, queue[take])->entries;
        for (size_t off = 0; off + sizeof(Elf64_Dyn) <= entries.len_bytes; off += sizeof(Elf64_Dyn)) {
            Elf64_Dyn entry;
            memcpy(&entry, entries.data + off, sizeof entry);
            const char *name = entry.d_tag == DT_NEEDED
                                   ? rdf_image_dynstr(images, queue[take], entry.d_un.d_val)
                                   : NULL;
            struct rdf_image *needed = name ? rdf_images_needed(images, name, queue[take]) : NULL;
            if (!needed || !needed->is_linked || needed->is_in_global)
                continue;
            needed->is_in_global = true;
            queue[put++] = needed;
        }
    }
    bool behind = false;
    for (size_t i = images->linked_count; i-- > 0;) {
        behind |= images->image[i]->is_in_global;
        images->image[i]->is_in_global = behind;
    }
}

bool rdf_images_stay_at(struct rdf_images *images, uint64_t addr)
{
    const struct rdf_image *image = rdf_images_at(images, addr);
    if (image)
        rdf_images_find_scope(images);
    return image && image->is_in_global;
}

/* Whole pages: what lies behind a segment's end on its last page is mapped with it. */
bool rdf_image_pages(const struct rdf_image *image, uint64_t addr, uint64_t *ret_start, uint64_t *ret_end)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        uint64_t start = page_down(image->segment[i].start);
        uint64_t last = page_down(image->segment[i].end - 1) + RDF_IMAGE_PAGE_BYTES - 1;
        if (addr < start || addr > last)
            continue;
        *ret_start = start;
        *ret_end = last + 1;
        return true;
    }
    return false;
}

struct rdf_image *rdf_images_at(const struct rdf_images *images, uint64_t addr)
{
    uint64_t start, end;
    for (size_t i = 0; i < images->count; i++)
        if (rdf_image_pages(images->image[i], addr, &start, &end))
            return images->image[i];
    return NULL;
}

bool rdf_images_file_off(const struct rdf_images *images, uint64_t addr, uint64_t *ret)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    if (!map || !map->ino)
        return false;
    *ret = map->file_off + (addr - map->start);
    return true;
}
