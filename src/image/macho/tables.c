/* SPDX-License-Identifier: MIT
 *
 * The tables of one image: bytes, sections, names, starts of functions.
 */
#include "base/order.h"
#include "image/macho/macho.h"

/* ---- bytes and sections ---- */

struct rdf_span rdf_macho_bytes(struct rdf_images *images, uint64_t addr, uint64_t len_bytes)
{
    const struct rdf_span none = {0};
    if (len_bytes == 0 || !rdf_maps_allow(&images->maps, addr, len_bytes, RDF_PROT_READ))
        return none;
    const void *view = images->space->ops->view(images->space, addr, (size_t)len_bytes);
    if (view)
        return (struct rdf_span){view, (size_t)len_bytes};
    void *copy = rdf_arena_alloc(images->arena, (size_t)len_bytes);
    images->out_of_memory |= !copy;
    if (!copy || images->space->ops->read(images->space, addr, copy, (size_t)len_bytes) < 0)
        return none;
    return (struct rdf_span){copy, (size_t)len_bytes};
}

/* What the file has at `off`, where that is mapped. */
static struct rdf_span file_bytes(struct rdf_images *images, const struct rdf_image *image, uint64_t off,
                                  uint64_t len_bytes)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_macho_segment *segment = &image->segment[i];
        if (segment->is_linkedit && off >= segment->file_off && len_bytes <= segment->file_bytes &&
            off - segment->file_off <= segment->file_bytes - len_bytes)
            return rdf_macho_bytes(images, segment->start + (off - segment->file_off), len_bytes);
    }
    return (struct rdf_span){0};
}

const struct rdf_macho_section *rdf_macho_section(const struct rdf_image *image, uint64_t addr)
{
    for (size_t i = 0; i < image->section_count; i++)
        if (addr >= image->section[i].start && addr < image->section[i].end)
            return &image->section[i];
    return NULL;
}

static bool holds_code(const struct rdf_macho_section *section)
{
    const uint32_t pure_instructions = 0x80000000, some_instructions = 0x400;
    return section->traits & (pure_instructions | some_instructions);
}

bool rdf_macho_is_code(const struct rdf_image *image, uint64_t addr)
{
    const struct rdf_macho_section *section = rdf_macho_section(image, addr);
    return section && holds_code(section);
}

bool rdf_macho_is_stubs(const struct rdf_macho_section *section)
{
    enum { TYPE_MASK = 0xff, SYMBOL_STUBS = 8 };
    return (section->traits & TYPE_MASK) == SYMBOL_STUBS && section->stub_bytes;
}

/* ---- symbols ---- */

enum { SYMBOL_BYTES = 16 };

struct symbol {
    const char *text;
    uint8_t type, section;
    uint16_t traits;
    uint64_t value;
};

static bool symbol_at(struct rdf_span table, struct rdf_span strings, uint64_t index, struct symbol *ret)
{
    uint64_t at = index * SYMBOL_BYTES;
    uint32_t name;
    if (!rdf_span_u32(table, at, &name) || !rdf_span_u8(table, at + 4, &ret->type) ||
        !rdf_span_u8(table, at + 5, &ret->section) || !rdf_span_u16(table, at + 6, &ret->traits) ||
        !rdf_span_u64(table, at + 8, &ret->value))
        return false;
    ret->text = rdf_span_string(strings, name);
    return ret->text && rdf_text_len(ret->text) < RDF_IMAGE_NAME_MAX;
}

static const char *without_underscore(const char *text)
{
    return text[0] == '_' ? text + 1 : text;
}

static struct rdf_span symbols_of(struct rdf_images *images, const struct rdf_image *image,
                                  struct rdf_span *ret_strings)
{
    *ret_strings = file_bytes(images, image, image->strings.off, image->strings.len);
    return file_bytes(images, image, image->symbols.off, (uint64_t)image->symbols.len * SYMBOL_BYTES);
}

/* Global before static, and of those one with a file first. */
static bool goes_before(const void *left, const void *right)
{
    const struct rdf_macho_name *a = left, *b = right;
    if (a->addr != b->addr)
        return a->addr < b->addr;
    if (a->is_static != b->is_static)
        return !a->is_static;
    return a->file && !b->file;
}

/* A symbol that names code. What a debugger reads (stabs) names the file before and repeats the functions of
 * it, static ones too. The value of one that is resolved when it is bound is its resolver's: left out. */
static void add_symbol(struct rdf_image *image, const struct symbol *symbol, const char **file)
{
    enum {
        STAB = 0xe0,
        STAB_FILE = 0x64,
        STAB_FUNCTION = 0x24,
        KIND = 0x0e,
        IN_SECTION = 0x0e,
        EXTERNAL = 0x01,
        PRIVATE_EXTERNAL = 0x10,
        RESOLVER = 0x100
    };
    bool is_stab = symbol->type & STAB;
    if (symbol->type == STAB_FILE)
        *file = *symbol->text ? symbol->text : NULL;
    bool is_function = is_stab ? symbol->type == STAB_FUNCTION
                               : (symbol->type & KIND) == IN_SECTION && !(symbol->traits & RESOLVER);
    if (!is_function || !symbol->section || symbol->section > image->section_count || !*symbol->text)
        return;
    const struct rdf_macho_section *home = &image->section[symbol->section - 1];
    uint64_t addr = symbol->value + image->object.bias;
    if (!holds_code(home) || addr < home->start || addr >= home->end)
        return;
    image->named[image->name_count++] = (struct rdf_macho_name){
        .addr = addr,
        .is_static = is_stab || !(symbol->type & EXTERNAL) || (symbol->type & PRIVATE_EXTERNAL),
        .text = without_underscore(symbol->text),
        .file = is_stab ? *file : NULL};
}

void rdf_macho_read_names(struct rdf_images *images, struct rdf_image *image)
{
    if (image->names_tried)
        return;
    image->names_tried = true;
    struct rdf_span strings;
    struct rdf_span table = symbols_of(images, image, &strings);
    uint64_t count = table.len_bytes / SYMBOL_BYTES;
    image->named = rdf_arena_alloc(images->arena, ((size_t)count + 1) * sizeof *image->named);
    images->out_of_memory |= !image->named;
    const char *file = NULL;
    struct symbol symbol;
    for (uint64_t i = 0; image->named && i < count; i++)
        if (symbol_at(table, strings, i, &symbol))
            add_symbol(image, &symbol, &file);
    if (image->named)
        rdf_sort(image->named, image->name_count, sizeof *image->named, goes_before);
}

size_t rdf_macho_name_from(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    rdf_macho_read_names(images, image);
    return RDF_FIRST_FROM(image->named, image->name_count, addr, addr);
}

const char *rdf_macho_name_at(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    size_t i = rdf_macho_name_from(images, image, addr);
    return i < image->name_count && image->named[i].addr == addr ? image->named[i].text : NULL;
}

uint64_t rdf_macho_defined(struct rdf_images *images, struct rdf_image *image, const char *name,
                           size_t name_bytes)
{
    rdf_macho_read_names(images, image);
    for (size_t i = 0; i < image->name_count; i++)
        if (!image->named[i].is_static && rdf_text_is(image->named[i].text, name, name_bytes))
            return image->named[i].addr;
    return 0;
}

const char *rdf_macho_indirect(struct rdf_images *images, const struct rdf_image *image, uint64_t index)
{
    enum { ENTRY_BYTES = 4 };
    struct rdf_span strings;
    struct rdf_span table = symbols_of(images, image, &strings);
    uint64_t len = (uint64_t)image->indirect.len * ENTRY_BYTES;
    uint32_t number; /* that of a local one has its top bits set, and is behind the end of the table */
    struct symbol symbol;
    return index < image->indirect.len &&
                   rdf_span_u32(file_bytes(images, image, image->indirect.off, len), index * ENTRY_BYTES,
                                &number) &&
                   symbol_at(table, strings, number, &symbol)
               ? without_underscore(symbol.text)
               : NULL;
}

/* ---- starts of functions ---- */

/* Differences, each to the one before; the first to the start of __TEXT. Zero ends them. */
static void read_starts(struct rdf_images *images, struct rdf_image *image)
{
    struct rdf_span table = file_bytes(images, image, image->starts.off, image->starts.len);
    image->starts_tried = true;
    image->function = rdf_arena_alloc(images->arena, (table.len_bytes + 1) * sizeof *image->function);
    images->out_of_memory |= !image->function;
    uint64_t off = 0, addr = image->object.start, step;
    while (image->function && rdf_span_uleb(table, &off, &step) && step && step <= image->object.end - addr) {
        addr += step;
        image->function[image->function_count++] = addr;
    }
}

size_t rdf_macho_function_from(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    if (!image->starts_tried)
        read_starts(images, image);
    return RDF_FIRST_NUMBER(image->function, image->function_count, addr);
}
