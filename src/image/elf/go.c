/* SPDX-License-Identifier: MIT
 *
 * Which images hold Go code, and of which release.
 *
 * Every Go program carries its build information: a magic number, then the release as text. It begins the
 * writable data of what Go's own linker makes; a note with the build id says "Go" wherever the data lies.
 *
 * Source: debug/buildinfo of the Go library; ELF notes of cmd/link.
 */
#include "image/elf/go_internal.h"

#include <string.h>

enum {
    MAGIC_ALIGN = 16,
    MAGIC_NEAR_BYTES = 1 << 20, /* how far into writable data it is looked for, unless a note says Go */
    HEADER_BYTES = 32,          /* of the build information */
    FLAGS_AT = 15,
    FLAG_INLINE = 2, /* the strings follow the header, since Go 1.18 */
    VERSION_BYTES_MAX = 256,
    NOTES_BYTES_MAX = 4096,
};

static const char info_magic[] = "\xff Go buildinf:";

/* Where in a segment's bytes the magic is, from `off` on; UINT64_MAX: nowhere. Copied part by part: a
 * program's data may be watched (valgrind, sanitizers), and other threads write it. */
static uint64_t find_magic(struct rdf_images *images, const struct rdf_segment *segment, uint64_t off,
                           uint64_t len_bytes)
{
    uint8_t part[4096];
    while (off + HEADER_BYTES <= len_bytes) {
        uint64_t left = len_bytes - off;
        size_t len = left < sizeof part ? (size_t)left : sizeof part;
        if (!rdf_images_read(images, segment->start + off, part, len))
            break;
        for (size_t at = 0; at + HEADER_BYTES <= len; at += MAGIC_ALIGN)
            if (part[at] == 0xff && memcmp(part + at, info_magic, sizeof info_magic - 1) == 0)
                return off + at;
        off += sizeof part - MAGIC_ALIGN;
    }
    return UINT64_MAX;
}

/* The build information in the first `limit` bytes of a writable segment; empty when there is none. */
static struct rdf_span find_info(struct rdf_images *images, struct rdf_image *image, uint64_t limit)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_segment *segment = &image->segment[i];
        if (!(segment->flags & PF_W) || (segment->flags & PF_X))
            continue;
        struct rdf_span bytes = rdf_image_tail(images, image, segment->start);
        uint64_t off = (MAGIC_ALIGN - segment->start % MAGIC_ALIGN) % MAGIC_ALIGN;
        off = find_magic(images, segment, off, bytes.len_bytes < limit ? bytes.len_bytes : limit);
        if (off != UINT64_MAX)
            return rdf_span_slice(bytes, off, bytes.len_bytes - off);
    }
    return (struct rdf_span){NULL, 0};
}

/* System V gABI, "Note Section": name and description are padded to four bytes. */
static bool notes_say_go(struct rdf_span notes)
{
    uint32_t name_bytes, desc_bytes;
    uint64_t off = 0;
    while (rdf_span_u32(notes, off, &name_bytes) && rdf_span_u32(notes, off + 4, &desc_bytes)) {
        struct rdf_span name = rdf_span_slice(notes, off + 12, name_bytes);
        if (name_bytes == 4 && name.data && memcmp(name.data, "Go\0", 4) == 0)
            return true;
        off += 12 + (((uint64_t)name_bytes + 3) & ~UINT64_C(3)) + (((uint64_t)desc_bytes + 3) & ~UINT64_C(3));
    }
    return false;
}

static bool has_go_note(struct rdf_images *images, struct rdf_image *image)
{
    Elf64_Ehdr header;
    if (!rdf_images_read(images, image->object.start, &header, sizeof header) ||
        header.e_phentsize != sizeof(Elf64_Phdr))
        return false;
    for (unsigned i = 0; i < header.e_phnum && i < RDF_IMAGE_PHDRS_MAX; i++) {
        Elf64_Phdr program;
        uint8_t notes[NOTES_BYTES_MAX];
        uint64_t at = image->object.start + header.e_phoff + i * sizeof program;
        if (!rdf_images_read(images, at, &program, sizeof program) || program.p_type != PT_NOTE ||
            program.p_filesz > sizeof notes)
            continue;
        /* Copied, since this is asked of every object: in a program under valgrind also of valgrind's own. */
        if (rdf_images_read(images, program.p_vaddr + image->object.bias, notes, program.p_filesz) &&
            notes_say_go((struct rdf_span){notes, program.p_filesz}))
            return true;
    }
    return false;
}

bool rdf_go_is_go(struct rdf_images *images, struct rdf_image *image)
{
    if (!image->go_asked) {
        image->go_asked = true;
        /* Without a note (-buildid=) only the program is looked into: that reads much. */
        image->is_go = has_go_note(images, image) ||
                       (image == images->image[0] && find_info(images, image, MAGIC_NEAR_BYTES).data);
    }
    return image->is_go;
}

/* "go1.26.3", "go1.27rc1", "devel go1.28-abcdef …": the number behind "go1."; 0 when there is none. */
static unsigned minor_of(const char *version)
{
    for (; *version; version++) {
        if (!rdf_text_starts(version, "go1."))
            continue;
        unsigned minor = 0;
        for (version += 4; *version >= '0' && *version <= '9' && minor < 1000; version++)
            minor = minor * 10 + (unsigned)(*version - '0');
        return minor;
    }
    return 0;
}

static redefine_status read_version(struct rdf_images *images, struct rdf_image *image, struct rdf_go *go,
                                    struct rdf_error *err)
{
    struct rdf_span info = find_info(images, image, UINT64_MAX);
    const char *object = rdf_image_short_name(image);
    uint64_t off = HEADER_BYTES, len;
    if (!info.data)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "%s holds Go code, but its build information is not to be found, so its release is "
                        "not known",
                        object);
    if (!(info.data[FLAGS_AT] & FLAG_INLINE))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "%s was built by a Go older than 1.18; build it with Go 1.19 or newer", object);
    struct rdf_span text = {NULL, 0};
    if (rdf_span_uleb(info, &off, &len) && len && len <= VERSION_BYTES_MAX)
        text = rdf_span_slice(info, off, len);
    if (!text.data)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the build information of %s is damaged", object);
    go->version = rdf_arena_copy(images->arena, (const char *)text.data, text.len_bytes);
    if (!go->version) {
        images->out_of_memory = true;
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the Go tables of %s", object);
    }
    go->minor = minor_of(go->version);
    return REDEFINE_OK;
}

static redefine_status open_module(struct rdf_images *images, struct rdf_image *image, struct rdf_error *err)
{
    struct rdf_go *go = rdf_arena_alloc(images->arena, sizeof *go);
    if (!go) {
        images->out_of_memory = true;
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the Go tables of %s",
                        rdf_image_short_name(image));
    }
    go->image = image;
    go->arena = images->arena;
    redefine_status status = read_version(images, image, go, err);
    if (status == REDEFINE_OK)
        status = rdf_go_read_module(images, image, go, err);
    if (status != REDEFINE_OK)
        return status;
    go->wrapper_id = rdf_go_learn_wrapper_id(go);
    image->go = go;
    return REDEFINE_OK;
}

redefine_status rdf_go_open(struct rdf_images *images, struct rdf_image *image, const struct rdf_go **ret_go,
                            struct rdf_error *err)
{
    if (!rdf_go_is_go(images, image))
        return rdf_fail(err, REDEFINE_ENOTFOUND, "%s holds no Go code", rdf_image_short_name(image));
    /* A refusal is worked out again when someone wants to hear it: it is not what is asked often. */
    if (!image->go && !(image->go_refused && !err)) {
        redefine_status status = open_module(images, image, err);
        image->go_refused = status != REDEFINE_OK;
        if (status != REDEFINE_OK)
            return status;
    }
    if (!image->go)
        return REDEFINE_EUNSUPPORTED;
    *ret_go = image->go;
    return REDEFINE_OK;
}

const struct rdf_go *rdf_go_at(struct rdf_images *images, uint64_t pc)
{
    const struct rdf_go *go;
    struct rdf_image *image = rdf_images_at(images, pc);
    if (!image || rdf_go_open(images, image, &go, NULL) != REDEFINE_OK || pc < go->text || pc >= go->etext)
        return NULL;
    return go;
}

const char *rdf_go_version(const struct rdf_go *go)
{
    return go->version;
}

struct rdf_image *rdf_go_image(const struct rdf_go *go)
{
    return go->image;
}

uint64_t rdf_go_text(const struct rdf_go *go)
{
    return go->text;
}

uint64_t rdf_go_text_end(const struct rdf_go *go)
{
    return go->etext;
}
