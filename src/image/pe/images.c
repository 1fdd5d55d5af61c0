/* SPDX-License-Identifier: MIT
 *
 * PE images found in the mappings: one allocation of the system each, with its headers at the start.
 */
#include "image/pe/pe.h"

enum {
    HEADER_BYTES = 4096,
    SECTIONS_MAX = 96,   /* what the loader accepts */
    PE32_PLUS = 0x20b,   /* the optional header of a 64-bit image */
    IS_LIBRARY = 0x2000, /* IMAGE_FILE_DLL */
};

/* Offsets from the start of the PE header ("PE\0\0", file header, optional header). */
enum {
    AT_SECTION_COUNT = 6,
    AT_SYMBOLS = 12,
    AT_SYMBOL_COUNT = 16,
    AT_OPTIONAL_BYTES = 20,
    AT_TRAITS = 22,
    AT_OPTIONAL = 24,
    AT_IMAGE_BYTES = AT_OPTIONAL + 56,
    AT_DIRECTORY_COUNT = AT_OPTIONAL + 108,
    AT_DIRECTORIES = AT_OPTIONAL + 112,
};

enum directory { EXPORTS = 0, IMPORTS = 1, EXCEPTIONS = 3 };

static const char *name_of(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (*path == '\\' || *path == '/')
            name = path + 1;
    return name;
}

static void read_directory(struct rdf_span pe, enum directory which, rdf_rva *ret_start, rdf_rva *ret_end)
{
    uint32_t count, start, len;
    if (rdf_span_u32(pe, AT_DIRECTORY_COUNT, &count) && (uint32_t)which < count &&
        rdf_span_u32(pe, AT_DIRECTORIES + 8u * which, &start) &&
        rdf_span_u32(pe, AT_DIRECTORIES + 8u * which + 4, &len) && len <= UINT32_MAX - start) {
        *ret_start = start;
        *ret_end = start + len;
    }
}

static bool read_sections(struct rdf_images *images, struct rdf_image *image, struct rdf_span pe)
{
    enum {
        ENTRY_BYTES = 40,
        AT_LEN = 8,
        AT_START = 12,
        AT_FILE_BYTES = 16,
        AT_FILE_OFF = 20,
        AT_SECTION_TRAITS = 36
    };
    uint16_t count, optional_bytes;
    if (!rdf_span_u16(pe, AT_SECTION_COUNT, &count) ||
        !rdf_span_u16(pe, AT_OPTIONAL_BYTES, &optional_bytes) || count > SECTIONS_MAX)
        return false;
    image->section = rdf_arena_alloc(images->arena, (count + 1u) * sizeof *image->section);
    if (!image->section) {
        images->out_of_memory = true;
        return false;
    }
    for (uint16_t i = 0; i < count; i++) {
        uint64_t at = AT_OPTIONAL + (uint64_t)optional_bytes + (uint64_t)i * ENTRY_BYTES;
        uint32_t start, len, file_bytes, file_off, traits;
        if (!rdf_span_u32(pe, at + AT_START, &start) || !rdf_span_u32(pe, at + AT_LEN, &len) ||
            !rdf_span_u32(pe, at + AT_FILE_BYTES, &file_bytes) ||
            !rdf_span_u32(pe, at + AT_FILE_OFF, &file_off) ||
            !rdf_span_u32(pe, at + AT_SECTION_TRAITS, &traits) ||
            start > image->object.end - image->object.start ||
            len > image->object.end - image->object.start - start)
            return false;
        image->section[image->section_count++] = (struct rdf_pe_section){.start = start,
                                                                         .end = start + len,
                                                                         .file_off = file_off,
                                                                         .file_bytes = file_bytes,
                                                                         .traits = traits};
    }
    return true;
}

/* [start, end) is what the system has mapped of one file as an image. */
static bool read_image(struct rdf_images *images, struct rdf_image *image)
{
    uint64_t mapped = image->object.end - image->object.start;
    struct rdf_span head = rdf_pe_bytes(images, image, 0, mapped < HEADER_BYTES ? mapped : HEADER_BYTES);
    uint16_t magic, kind, traits;
    uint32_t pe_at, signature, image_bytes;
    if (!rdf_span_u16(head, 0, &magic) || magic != 0x5a4d || !rdf_span_u32(head, 0x3c, &pe_at) ||
        pe_at >= head.len_bytes)
        return false;
    struct rdf_span pe = {head.data + pe_at, head.len_bytes - pe_at};
    if (!rdf_span_u32(pe, 0, &signature) || signature != 0x4550 || !rdf_span_u16(pe, AT_OPTIONAL, &kind) ||
        kind != PE32_PLUS || !rdf_span_u16(pe, AT_TRAITS, &traits) ||
        !rdf_span_u32(pe, AT_IMAGE_BYTES, &image_bytes))
        return false;
    if (image_bytes < mapped)
        image->object.end = image->object.start + image_bytes;
    image->is_program = !(traits & IS_LIBRARY);
    (void)rdf_span_u32(pe, AT_SYMBOLS, &image->symbols_off);
    (void)rdf_span_u32(pe, AT_SYMBOL_COUNT, &image->symbol_count);
    read_directory(pe, EXPORTS, &image->exports, &image->exports_end);
    read_directory(pe, IMPORTS, &image->imports, &image->imports_end);
    read_directory(pe, EXCEPTIONS, &image->unwind, &image->unwind_end);
    return read_sections(images, image, pe);
}

/* The end of what was mapped together with the mapping at `first`. */
static uint64_t end_of(const struct rdf_maps *maps, size_t first)
{
    size_t i = first;
    while (i + 1 < maps->count && maps->map[i + 1].ino == maps->map[first].ino &&
           maps->map[i + 1].start == maps->map[i].end)
        i++;
    return maps->map[i].end;
}

redefine_status rdf_images_load(struct rdf_space *space, const struct rdf_arch *arch, struct rdf_arena *arena,
                                struct rdf_images *ret, struct rdf_error *err)
{
    struct rdf_images images = {.space = space, .arch = arch, .arena = arena};
    rdf_arena_init(&images.copies, arena->source);
    int status = space->ops->maps(space, arena, &images.maps);
    if (status < 0)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the mappings of this process cannot be read (%s)",
                        rdf_errno_name(status));
    images.image = rdf_arena_alloc(arena, (images.maps.count + 1) * sizeof *images.image);
    for (size_t i = 0; images.image && i < images.maps.count; i++) {
        const struct rdf_map *map = &images.maps.map[i];
        if (!map->ino || map->file_off != 0 || !*map->path)
            continue;
        struct rdf_image *image = rdf_arena_alloc(arena, sizeof *image);
        if (!image)
            break;
        uint64_t end = end_of(&images.maps, i);
        *image = (struct rdf_image){
            .object = {.path = map->path, .start = map->start, .end = end, .bias = map->start},
            .name = name_of(map->path)};
        if (!read_image(&images, image))
            continue;
        size_t at = images.count++;
        for (; image->is_program && at > 0; at--)
            images.image[at] = images.image[at - 1];
        images.image[at] = image;
    }
    if (!images.image || images.out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to list the objects that are mapped");
    images.linked_count = images.count;
    *ret = images;
    return REDEFINE_OK;
}

void rdf_images_close_files(struct rdf_images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        if (!image->file.data)
            continue;
        images->space->ops->close_file(images->space, image->file);
        image->file = (struct rdf_span){0};
        image->names_tried = false; /* some of them lay in the file */
        image->name_count = 0;
    }
    rdf_arena_free(&images->copies);
}

struct rdf_image *rdf_images_at(const struct rdf_images *images, uint64_t addr)
{
    for (size_t i = 0; i < images->count; i++)
        if (addr >= images->image[i]->object.start && addr < images->image[i]->object.end)
            return images->image[i];
    return NULL;
}

bool rdf_images_stay_at(struct rdf_images *images, uint64_t addr)
{
    const struct rdf_image *image = rdf_images_at(images, addr);
    return image && image->is_program; /* a library may be unloaded, whoever loaded it */
}

bool rdf_images_file_off(const struct rdf_images *images, uint64_t addr, uint64_t *ret)
{
    const struct rdf_image *image = rdf_images_at(images, addr);
    const struct rdf_pe_section *section = image
                                               ? rdf_pe_section(image, (rdf_rva)(addr - image->object.start))
                                               : NULL;
    uint64_t off = section ? addr - image->object.start - section->start : 0;
    if (!section || off >= section->file_bytes)
        return false;
    *ret = section->file_off + off;
    return true;
}

static char folded(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter == '/' ? '\\' : letter;
}

/* Without case, as the system compares names. */
static bool starts_with(const char *have, const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < name_bytes; i++)
        if (!have[i] || folded(have[i]) != folded(name[i]))
            return false;
    return true;
}

/* ".dll" may be left out. */
static bool is_named(const char *have, const char *name, size_t name_bytes)
{
    if (!starts_with(have, name, name_bytes))
        return false;
    const char *rest = have + name_bytes;
    return !*rest || (starts_with(rest, ".dll", 4) && !rest[4]);
}

struct rdf_image *rdf_pe_image_named(const struct rdf_images *images, const char *name, size_t name_bytes)
{
    for (size_t i = 0; name_bytes && i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        size_t path_len = rdf_text_len(image->object.path);
        bool is_end = name_bytes < path_len &&
                      is_named(image->object.path + path_len - name_bytes, name, name_bytes) &&
                      (image->object.path[path_len - name_bytes - 1] == '\\');
        if (is_named(image->name, name, name_bytes) || is_end)
            return image;
    }
    return NULL;
}
