/* SPDX-License-Identifier: MIT
 *
 * Mach-O images found in the mappings: the loader's list, which the system's room has worked into them, names
 * the path where each begins.
 */
#include "image/macho/macho.h"

enum {
    HEADER_BYTES = 32,
    COMMANDS_BYTES_MAX = 1 << 20,
    SEGMENT_BYTES = 72, /* of its command, to which the sections are added */
    SECTION_BYTES = 80,
};

static const uint32_t magic_64 = 0xfeedfacf;

enum command { SYMTAB = 0x2, DYSYMTAB = 0xb, SEGMENT_64 = 0x19, FUNCTION_STARTS = 0x26 };

static bool has_name(struct rdf_span bytes, uint64_t off, const char *wanted)
{
    for (size_t i = 0;; i++) {
        uint8_t letter;
        if (!rdf_span_u8(bytes, off + i, &letter) || letter != (uint8_t)wanted[i])
            return false;
        if (!letter)
            return true;
    }
}

static bool read_sections(struct rdf_image *image, struct rdf_span command)
{
    enum { AT_ADDR = 32, AT_LEN = 40, AT_TRAITS = 64, AT_RESERVED1 = 68, AT_RESERVED2 = 72 };
    uint32_t count;
    if (!rdf_span_u32(command, 64, &count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = SEGMENT_BYTES + (uint64_t)i * SECTION_BYTES, addr, len;
        struct rdf_macho_section section;
        if (!rdf_span_u64(command, at + AT_ADDR, &addr) || !rdf_span_u64(command, at + AT_LEN, &len) ||
            !rdf_span_u32(command, at + AT_TRAITS, &section.traits) ||
            !rdf_span_u32(command, at + AT_RESERVED1, &section.reserved1) ||
            !rdf_span_u32(command, at + AT_RESERVED2, &section.stub_bytes) ||
            at + SECTION_BYTES > command.len_bytes)
            return false;
        section.start = addr; /* without the slide, which is not known yet */
        section.end = len > UINT64_MAX - addr ? addr : addr + len;
        image->section[image->section_count++] = section;
    }
    return true;
}

static bool read_segment(struct rdf_image *image, struct rdf_span command)
{
    uint64_t addr, len;
    struct rdf_macho_segment segment;
    if (command.len_bytes < SEGMENT_BYTES || !rdf_span_u64(command, 24, &addr) ||
        !rdf_span_u64(command, 32, &len) || !rdf_span_u64(command, 40, &segment.file_off) ||
        !rdf_span_u64(command, 48, &segment.file_bytes) || !rdf_span_u32(command, 60, &segment.prot) ||
        len > UINT64_MAX - addr)
        return false;
    segment.start = addr;
    segment.end = addr + len;
    segment.is_linkedit = has_name(command, 8, "__LINKEDIT");
    if (has_name(command, 8, "__TEXT"))
        image->object.bias = image->object.start - addr;
    image->segment[image->segment_count++] = segment;
    return read_sections(image, command);
}

static bool read_table(struct rdf_span command, uint64_t off, struct rdf_macho_table *ret)
{
    return rdf_span_u32(command, off, &ret->off) && rdf_span_u32(command, off + 4, &ret->len);
}

static bool read_command(struct rdf_image *image, uint32_t kind, struct rdf_span command)
{
    switch (kind) {
    case SEGMENT_64: return read_segment(image, command);
    case SYMTAB: return read_table(command, 8, &image->symbols) && read_table(command, 16, &image->strings);
    case DYSYMTAB: return read_table(command, 56, &image->indirect);
    case FUNCTION_STARTS: return read_table(command, 8, &image->starts);
    default: return true;
    }
}

static bool read_commands(struct rdf_image *image, struct rdf_span commands, uint32_t count)
{
    uint64_t off = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kind, len;
        if (!rdf_span_u32(commands, off, &kind) || !rdf_span_u32(commands, off + 4, &len) || len < 8)
            return false;
        struct rdf_span command = rdf_span_slice(commands, off, len);
        if (!command.data || !read_command(image, kind, command))
            return false;
        off += len;
    }
    return true;
}

static void add_slide(struct rdf_image *image)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        struct rdf_macho_segment *segment = &image->segment[i];
        segment->start += image->object.bias;
        segment->end += image->object.bias;
        if (segment->prot && segment->end > image->object.end)
            image->object.end = segment->end;
    }
    for (size_t i = 0; i < image->section_count; i++) {
        image->section[i].start += image->object.bias;
        image->section[i].end += image->object.bias;
    }
}

/* False: what is mapped there is none. */
static bool read_image(struct rdf_images *images, struct rdf_image *image)
{
    enum { PROGRAM = 2 };
    struct rdf_span header = rdf_macho_bytes(images, image->object.start, HEADER_BYTES);
    uint32_t magic, kind, count, len;
    if (!rdf_span_u32(header, 0, &magic) || magic != magic_64 || !rdf_span_u32(header, 12, &kind) ||
        !rdf_span_u32(header, 16, &count) || !rdf_span_u32(header, 20, &len) || len > COMMANDS_BYTES_MAX)
        return false;
    struct rdf_span commands = rdf_macho_bytes(images, image->object.start + HEADER_BYTES, len);
    image->is_program = kind == PROGRAM;
    image->segment = rdf_arena_alloc(images->arena, (len / SEGMENT_BYTES + 1) * sizeof *image->segment);
    image->section = rdf_arena_alloc(images->arena, (len / SECTION_BYTES + 1) * sizeof *image->section);
    if (!image->segment || !image->section) {
        images->out_of_memory = true;
        return false;
    }
    if (!commands.data || !read_commands(image, commands, count))
        return false;
    add_slide(image);
    return true;
}

static bool is_candidate(const struct rdf_map *map)
{
    const uint8_t wanted = RDF_PROT_READ | RDF_PROT_EXEC;
    return *map->path && (map->prot & wanted) == wanted;
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
        struct rdf_arena_mark mark = rdf_arena_take_mark(arena);
        struct rdf_image *image = is_candidate(map) ? rdf_arena_alloc(arena, sizeof *image) : NULL;
        images.out_of_memory |= is_candidate(map) && !image;
        if (!image)
            continue;
        *image = (struct rdf_image){.object = {.path = map->path, .start = map->start, .end = map->end},
                                    .name = rdf_text_base(map->path)};
        if (!read_image(&images, image)) {
            rdf_arena_rollback(arena, mark);
            continue;
        }
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

/* None is open. */
void rdf_images_close_files(struct rdf_images *images)
{
    rdf_arena_free(&images->copies);
}

/* In the shared cache the segments of one lie between those of others; __LINKEDIT is that of all of them. */
struct rdf_image *rdf_images_at(const struct rdf_images *images, uint64_t addr)
{
    for (size_t i = 0; i < images->count; i++)
        for (size_t j = 0; j < images->image[i]->segment_count; j++) {
            const struct rdf_macho_segment *segment = &images->image[i]->segment[j];
            if (segment->prot && !segment->is_linkedit && addr >= segment->start && addr < segment->end)
                return images->image[i];
        }
    return NULL;
}

/* The loader does not tell what it has loaded with the program from what came later. */
bool rdf_images_stay_at(struct rdf_images *images, uint64_t addr)
{
    const struct rdf_image *image = rdf_images_at(images, addr);
    return image && image->is_program;
}

/* A file may hold the image for several CPUs: the mapping knows where in it this one is. */
bool rdf_images_file_off(const struct rdf_images *images, uint64_t addr, uint64_t *ret)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    if (!map || !map->ino)
        return false;
    *ret = map->file_off + (addr - map->start);
    return true;
}

struct rdf_image *rdf_macho_image_named(const struct rdf_images *images, const char *name, size_t name_bytes)
{
    for (size_t i = 0; name_bytes && i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        size_t path_len = rdf_text_len(image->object.path);
        bool is_end = name_bytes < path_len && image->object.path[path_len - name_bytes - 1] == '/' &&
                      rdf_text_is(image->object.path + path_len - name_bytes, name, name_bytes);
        if (is_end || rdf_text_is(image->object.path, name, name_bytes))
            return image;
    }
    return NULL;
}
