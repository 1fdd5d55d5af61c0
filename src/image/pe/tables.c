/* SPDX-License-Identifier: MIT
 *
 * The tables of one image: bytes, sections, names, unwind data, what it exports and imports.
 */
#include "base/order.h"
#include "image/pe/pe.h"

/* ---- bytes ---- */

struct rdf_span rdf_pe_bytes(struct rdf_images *images, const struct rdf_image *image, rdf_rva at,
                             uint64_t len_bytes)
{
    const struct rdf_span none = {0};
    uint64_t room = image->object.end - image->object.start;
    uint64_t addr = image->object.start + at;
    if (at > room || len_bytes > room - at || len_bytes == 0 ||
        !rdf_maps_allow(&images->maps, addr, len_bytes, RDF_PROT_READ))
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

const struct rdf_pe_section *rdf_pe_section(const struct rdf_image *image, rdf_rva at)
{
    for (size_t i = 0; i < image->section_count; i++)
        if (at >= image->section[i].start && at < image->section[i].end)
            return &image->section[i];
    return NULL;
}

bool rdf_pe_is_code(const struct rdf_image *image, rdf_rva at)
{
    const struct rdf_pe_section *section = rdf_pe_section(image, at);
    return section && (section->traits & RDF_PE_CODE);
}

/* Everything from `at` to the end of its section. */
static struct rdf_span tail(struct rdf_images *images, const struct rdf_image *image, rdf_rva at)
{
    const struct rdf_pe_section *section = rdf_pe_section(image, at);
    return section ? rdf_pe_bytes(images, image, at, section->end - at) : (struct rdf_span){0};
}

const char *rdf_pe_string(struct rdf_images *images, const struct rdf_image *image, rdf_rva at)
{
    const char *text = rdf_span_string(tail(images, image, at), 0);
    return text && rdf_text_len(text) < RDF_IMAGE_NAME_MAX ? text : NULL;
}

/* ---- exports ---- */

struct exports {
    struct rdf_span functions, names, ordinals;
    uint32_t function_count, name_count;
};

static bool read_exports(struct rdf_images *images, const struct rdf_image *image, struct exports *ret)
{
    enum {
        BYTES = 40,
        AT_FUNCTION_COUNT = 20,
        AT_NAME_COUNT = 24,
        AT_FUNCTIONS = 28,
        AT_NAMES = 32,
        AT_ORDINALS = 36
    };
    struct rdf_span head = rdf_pe_bytes(images, image, image->exports, image->exports ? BYTES : 0);
    uint32_t functions, names, ordinals;
    if (!rdf_span_u32(head, AT_FUNCTION_COUNT, &ret->function_count) ||
        !rdf_span_u32(head, AT_NAME_COUNT, &ret->name_count) ||
        !rdf_span_u32(head, AT_FUNCTIONS, &functions) || !rdf_span_u32(head, AT_NAMES, &names) ||
        !rdf_span_u32(head, AT_ORDINALS, &ordinals))
        return false;
    ret->functions = rdf_pe_bytes(images, image, functions, UINT64_C(4) * ret->function_count);
    ret->names = rdf_pe_bytes(images, image, names, UINT64_C(4) * ret->name_count);
    ret->ordinals = rdf_pe_bytes(images, image, ordinals, UINT64_C(2) * ret->name_count);
    return ret->functions.data && ret->names.data && ret->ordinals.data;
}

/* The name number `index` and where it leads; false when the tables contradict themselves. */
static bool export_at(struct rdf_images *images, const struct rdf_image *image, const struct exports *exports,
                      uint32_t index, const char **ret_name, rdf_rva *ret_at)
{
    uint32_t name;
    uint16_t ordinal;
    if (!rdf_span_u32(exports->names, UINT64_C(4) * index, &name) ||
        !rdf_span_u16(exports->ordinals, UINT64_C(2) * index, &ordinal) ||
        !rdf_span_u32(exports->functions, UINT64_C(4) * ordinal, ret_at))
        return false;
    *ret_name = rdf_pe_string(images, image, name);
    return *ret_name != NULL;
}

/* Where an export leads: below the export table itself lies the text "OTHER.name", and the other is meant. */
static uint64_t resolve_export(struct rdf_images *images, struct rdf_image *image, rdf_rva at, int depth)
{
    enum { DEPTH_MAX = 8 };
    if (at < image->exports || at >= image->exports_end)
        return image->object.start + at;
    const char *text = rdf_pe_string(images, image, at);
    size_t dot = 0;
    for (size_t i = 0; text && text[i]; i++)
        dot = text[i] == '.' ? i : dot;
    if (!dot || depth == DEPTH_MAX)
        return 0;
    struct rdf_image *other = rdf_pe_image_named(images, text, dot);
    struct exports exports;
    if (!other || !read_exports(images, other, &exports))
        return 0;
    for (uint32_t i = 0; i < exports.name_count; i++) {
        const char *name;
        if (export_at(images, other, &exports, i, &name, &at) && rdf_text_same(name, text + dot + 1))
            return resolve_export(images, other, at, depth + 1);
    }
    return 0;
}

uint64_t rdf_pe_exported(struct rdf_images *images, struct rdf_image *image, const char *name,
                         size_t name_bytes)
{
    struct exports exports;
    if (!read_exports(images, image, &exports))
        return 0;
    for (uint32_t i = 0; i < exports.name_count; i++) {
        const char *text;
        rdf_rva at;
        if (export_at(images, image, &exports, i, &text, &at) && rdf_text_is(text, name, name_bytes))
            return resolve_export(images, image, at, 0);
    }
    return 0;
}

/* ---- imports ---- */

/* In one library's list: names in `names`, addresses where the loader put them in `bound`. */
static uint64_t imported_from(struct rdf_images *images, const struct rdf_image *image, struct rdf_span names,
                              struct rdf_span bound, const char *name, size_t name_bytes)
{
    static const uint64_t by_ordinal = UINT64_C(1) << 63;
    uint64_t entry, addr;
    for (uint64_t off = 0; rdf_span_u64(names, off, &entry) && entry && rdf_span_u64(bound, off, &addr);
         off += 8) {
        enum { HINT_BYTES = 2 };
        const char *text = entry & by_ordinal || entry > UINT32_MAX - HINT_BYTES
                               ? NULL
                               : rdf_pe_string(images, image, (rdf_rva)entry + HINT_BYTES);
        if (text && rdf_text_is(text, name, name_bytes))
            return addr;
    }
    return 0;
}

uint64_t rdf_pe_imported(struct rdf_images *images, const struct rdf_image *image, const char *name,
                         size_t name_bytes)
{
    enum { ENTRY_BYTES = 20, AT_BOUND = 16 };
    struct rdf_span table = rdf_pe_bytes(images, image, image->imports, image->imports_end - image->imports);
    uint32_t names, bound;
    for (uint64_t at = 0;
         rdf_span_u32(table, at, &names) && rdf_span_u32(table, at + AT_BOUND, &bound) && bound;
         at += ENTRY_BYTES) {
        uint64_t addr = names ? imported_from(images, image, tail(images, image, names),
                                              tail(images, image, bound), name, name_bytes)
                              : 0;
        if (addr)
            return addr;
    }
    return 0;
}

/* ---- names ---- */

/* Ascending by address, then the better name first. */
static bool goes_before(const void *left, const void *right)
{
    const struct rdf_pe_name *a = left, *b = right;
    if (a->at != b->at)
        return a->at < b->at;
    if (a->is_exported != b->is_exported)
        return a->is_exported;
    return !a->is_static && b->is_static;
}

static void add_exports(struct rdf_images *images, struct rdf_image *image, const struct exports *exports)
{
    for (uint32_t i = 0; i < exports->name_count; i++) {
        const char *text;
        rdf_rva at;
        if (export_at(images, image, exports, i, &text, &at) && rdf_pe_is_code(image, at))
            image->named[image->name_count++] = (struct rdf_pe_name){.at = at,
                                                                     .is_exported = true,
                                                                     .text = text};
    }
}

enum { SYMBOL_BYTES = 18 };

/* The text of a symbol: eight bytes in place, or longer in the strings behind the table. */
static const char *symbol_text(struct rdf_images *images, struct rdf_span symbol, struct rdf_span strings)
{
    enum { SHORT_BYTES = 8 };
    uint32_t zero, off;
    if (rdf_span_u32(symbol, 0, &zero) && zero == 0)
        return rdf_span_u32(symbol, 4, &off) ? rdf_span_string(strings, off) : NULL;
    const char *text = rdf_arena_copy(images->arena, (const char *)symbol.data, SHORT_BYTES);
    images->out_of_memory |= !text;
    return text;
}

/* One symbol that names code; `file` is where the last ".file" said that what follows comes from. */
static void add_symbol(struct rdf_images *images, struct rdf_image *image, struct rdf_span symbol,
                       struct rdf_span strings, const char *file)
{
    enum {
        AT_VALUE = 8,
        AT_SECTION = 12,
        AT_TYPE = 14,
        AT_CLASS = 16,
        FUNCTION = 0x20,
        GLOBAL = 2,
        STATIC = 3
    };
    uint32_t value;
    uint16_t section, type;
    uint8_t class;
    if (!rdf_span_u32(symbol, AT_VALUE, &value) || !rdf_span_u16(symbol, AT_SECTION, &section) ||
        !rdf_span_u16(symbol, AT_TYPE, &type) || !rdf_span_u8(symbol, AT_CLASS, &class) || type != FUNCTION ||
        (class != GLOBAL && class != STATIC) || section == 0 || section > image->section_count)
        return;
    const struct rdf_pe_section *home = &image->section[section - 1];
    const char *text = symbol_text(images, symbol, strings);
    if (text && *text && (home->traits & RDF_PE_CODE) && value < home->end - home->start)
        image->named[image->name_count++] = (struct rdf_pe_name){.at = home->start + value,
                                                                 .is_static = class == STATIC,
                                                                 .text = text,
                                                                 .file = file};
}

static void add_symbols(struct rdf_images *images, struct rdf_image *image, struct rdf_span table,
                        struct rdf_span strings)
{
    enum { AT_CLASS = 16, AT_AUX = 17, FILE_NAME = 103 };
    const char *file = NULL;
    for (uint64_t i = 0; i < image->symbol_count; i++) {
        struct rdf_span symbol = rdf_span_slice(table, i * SYMBOL_BYTES, SYMBOL_BYTES);
        uint8_t class, aux;
        if (!rdf_span_u8(symbol, AT_CLASS, &class) || !rdf_span_u8(symbol, AT_AUX, &aux))
            break;
        if (class == FILE_NAME) {
            struct rdf_span name = rdf_span_slice(table, (i + 1) * SYMBOL_BYTES,
                                                  (uint64_t)aux * SYMBOL_BYTES);
            file = name.data ? rdf_arena_copy(images->arena, (const char *)name.data, name.len_bytes) : NULL;
        } else {
            add_symbol(images, image, symbol, strings, file);
        }
        i += aux;
    }
}

void rdf_pe_read_names(struct rdf_images *images, struct rdf_image *image)
{
    if (image->names_tried)
        return;
    image->names_tried = true;
    struct rdf_span table = {0}, strings = {0};
    struct exports exports = {0};
    if (image->symbol_count &&
        images->space->ops->open_file(images->space, image->object.path, 0, 0, &image->file) == 0) {
        table = rdf_span_slice(image->file, image->symbols_off, (uint64_t)image->symbol_count * SYMBOL_BYTES);
        uint64_t behind = image->symbols_off + (uint64_t)image->symbol_count * SYMBOL_BYTES;
        if (table.data)
            strings = rdf_span_slice(image->file, behind, image->file.len_bytes - behind);
    }
    bool has_exports = read_exports(images, image, &exports);
    size_t room = (has_exports ? exports.name_count : 0) + (table.data ? image->symbol_count : 0);
    image->named = rdf_arena_alloc(images->arena, (room + 1) * sizeof *image->named);
    if (!image->named) {
        images->out_of_memory = true;
        return;
    }
    if (has_exports)
        add_exports(images, image, &exports);
    if (table.data)
        add_symbols(images, image, table, strings);
    rdf_sort(image->named, image->name_count, sizeof *image->named, goes_before);
}

size_t rdf_pe_name_from(struct rdf_images *images, struct rdf_image *image, rdf_rva at)
{
    rdf_pe_read_names(images, image);
    return RDF_FIRST_FROM(image->named, image->name_count, at, at);
}

const char *rdf_pe_name_at(struct rdf_images *images, struct rdf_image *image, rdf_rva at)
{
    size_t i = rdf_pe_name_from(images, image, at);
    return i < image->name_count && image->named[i].at == at ? image->named[i].text : NULL;
}

/* ---- unwind data ---- */

enum { RANGE_BYTES = 12 };

static bool range_number(struct rdf_span table, uint64_t index, struct rdf_pe_range *ret)
{
    return rdf_span_u32(table, index * RANGE_BYTES, &ret->start) &&
           rdf_span_u32(table, index * RANGE_BYTES + 4, &ret->end) &&
           rdf_span_u32(table, index * RANGE_BYTES + 8, &ret->unwind);
}

static struct rdf_span unwind_table(struct rdf_images *images, const struct rdf_image *image)
{
    return rdf_pe_bytes(images, image, image->unwind, image->unwind_end - image->unwind);
}

/* The first entry that starts behind `at`. */
static uint64_t range_behind(struct rdf_span table, rdf_rva at)
{
    uint64_t low = 0, high = table.len_bytes / RANGE_BYTES;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct rdf_pe_range range;
        if (range_number(table, middle, &range) && range.start <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* An entry can be a part of another's function: its unwind data says so, and names that one. */
static bool parent_of(struct rdf_images *images, const struct rdf_image *image, struct rdf_pe_range *range)
{
    enum { HEAD_BYTES = 4, IS_PART = 4 << 3, SLOT_BYTES = 2 };
    struct rdf_span head = rdf_pe_bytes(images, image, range->unwind, HEAD_BYTES);
    uint8_t flags, slots;
    if (!rdf_span_u8(head, 0, &flags) || !rdf_span_u8(head, 2, &slots) || !(flags & IS_PART))
        return false;
    uint64_t skip = HEAD_BYTES + SLOT_BYTES * ((slots + 1u) & ~1u);
    struct rdf_pe_range parent;
    if (range->unwind > UINT32_MAX - skip ||
        !range_number(rdf_pe_bytes(images, image, range->unwind + (rdf_rva)skip, RANGE_BYTES), 0, &parent))
        return false;
    *range = parent;
    return true;
}

bool rdf_pe_range_at(struct rdf_images *images, const struct rdf_image *image, rdf_rva at,
                     struct rdf_pe_range *ret)
{
    enum { PARTS_MAX = 32 };
    struct rdf_span table = unwind_table(images, image);
    uint64_t index = range_behind(table, at);
    struct rdf_pe_range range;
    if (index == 0 || !range_number(table, index - 1, &range) || at >= range.end)
        return false;
    for (int i = 0; i < PARTS_MAX && parent_of(images, image, &range); i++)
        ;
    if (range.end <= range.start || range.end > image->object.end - image->object.start)
        return false;
    /* What follows it without a gap and belongs to it. */
    struct rdf_pe_range next, whole;
    for (index = range_behind(table, range.start);
         range_number(table, index, &next) && next.start == range.end && next.end > next.start; index++) {
        whole = next;
        if (!parent_of(images, image, &whole) || whole.start != range.start)
            break;
        range.end = next.end;
    }
    *ret = range;
    return true;
}

rdf_rva rdf_pe_range_from(struct rdf_images *images, const struct rdf_image *image, rdf_rva at)
{
    struct rdf_span table = unwind_table(images, image);
    struct rdf_pe_range range;
    uint64_t index = at ? range_behind(table, at - 1) : 0;
    return range_number(table, index, &range) ? range.start : UINT32_MAX;
}
