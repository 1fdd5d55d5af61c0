/* SPDX-License-Identifier: MIT
 *
 * The list of source files at the head of a unit's line table. The lines themselves: row.c.
 *
 * Source: DWARF 5, 6.2.4; DWARF 4, 6.2.4.
 */
#include "debug/dwarf.h"
#include "debug/internal.h"

enum { FORMATS_MAX = 16, SOURCES_MAX = 1 << 16, DIR_BYTES_MAX = 1024 };

/* What is read: in a file, up to the end of the table; its values are read as a unit's are. */
struct table {
    struct rdf_debug *debug;
    struct unit as_unit;
    struct rdf_span span;
    uint64_t off;
    const char **dir;
    size_t dir_count;
};

static struct source source_in(const struct table *table, uint64_t dir, const char *name)
{
    /* Folder 0 is the one the compiler ran in. */
    bool has_dir = name && name[0] != '/' && dir > 0 && dir < table->dir_count;
    return (struct source){.name = name, .dir = has_dir ? table->dir[dir] : NULL};
}

/* Two lists that overlap are one too many. */
static bool afford(struct table *table, uint64_t count)
{
    uint64_t *budget = &table->as_unit.file->source_budget;
    if (count > *budget)
        return false;
    *budget -= count;
    return true;
}

static const char *next_text(struct table *table)
{
    const char *text = rdf_span_string(table->span, table->off);
    if (text)
        table->off += rdf_debug_len(text) + 1;
    return text;
}

/* ---- Version 2 to 4: texts, ended by an empty one ---- */

static size_t count_texts(const struct table *table, bool has_numbers)
{
    struct table at = *table;
    uint64_t number;
    size_t count = 0;
    for (const char *text; count < SOURCES_MAX && (text = next_text(&at)) && *text; count++)
        for (int i = 0; has_numbers && i < 3; i++)
            if (!rdf_span_uleb(at.span, &at.off, &number))
                return count;
    return count;
}

static bool read_old(struct table *table, struct unit *unit)
{
    table->dir_count = count_texts(table, false) + 1;
    table->dir = rdf_arena_alloc(table->debug->arena, table->dir_count * sizeof *table->dir);
    if (!table->dir)
        return false;
    for (size_t i = 1; i < table->dir_count; i++)
        table->dir[i] = next_text(table);
    (void)next_text(table);
    size_t count = count_texts(table, true) + 1;
    unit->source = afford(table, count + table->dir_count)
                       ? rdf_arena_alloc(table->debug->arena, count * sizeof *unit->source)
                       : NULL;
    if (!unit->source)
        return false;
    unit->source_count = count;
    for (size_t i = 1; i < count; i++) {
        const char *name = next_text(table);
        uint64_t dir, number;
        if (!name || !rdf_span_uleb(table->span, &table->off, &dir) ||
            !rdf_span_uleb(table->span, &table->off, &number) ||
            !rdf_span_uleb(table->span, &table->off, &number))
            return false;
        unit->source[i] = source_in(table, dir, name);
    }
    return true;
}

/* ---- Version 5: lists that say what is in them ---- */

struct listed {
    const char *path;
    uint64_t dir;
};

static bool read_listed(struct table *table, const struct attr *format, uint8_t formats, struct listed *ret)
{
    *ret = (struct listed){0};
    for (uint8_t i = 0; i < formats; i++) {
        struct value value;
        if (!rdf_debug_read_value(&table->as_unit, &format[i], &table->off, &value))
            return false;
        if (format[i].name == DW_LNCT_path)
            ret->path = rdf_debug_string(&table->as_unit, &value);
        else if (format[i].name == DW_LNCT_directory_index)
            ret->dir = value.number;
    }
    return true;
}

/* The list's format and how many there are. */
static bool read_format(struct table *table, struct attr *ret_format, uint8_t *ret_formats,
                        uint64_t *ret_count)
{
    if (!rdf_span_u8(table->span, table->off++, ret_formats) || *ret_formats > FORMATS_MAX)
        return false;
    for (uint8_t i = 0; i < *ret_formats; i++) {
        uint64_t name, form;
        if (!rdf_span_uleb(table->span, &table->off, &name) ||
            !rdf_span_uleb(table->span, &table->off, &form) || name > UINT16_MAX || form > UINT16_MAX)
            return false;
        ret_format[i] = (struct attr){.name = (uint16_t)name, .form = (uint16_t)form};
    }
    return rdf_span_uleb(table->span, &table->off, ret_count) && *ret_count < SOURCES_MAX &&
           *ret_count <= table->span.len_bytes;
}

static bool read_new(struct table *table, struct unit *unit)
{
    struct attr format[FORMATS_MAX];
    struct listed listed;
    uint8_t formats;
    uint64_t count;
    if (!read_format(table, format, &formats, &count))
        return false;
    table->dir = afford(table, count) ? rdf_arena_alloc(table->debug->arena, (count + 1) * sizeof *table->dir)
                                      : NULL;
    for (uint64_t i = 0; table->dir && i < count; i++) {
        if (!read_listed(table, format, formats, &listed))
            return false;
        table->dir[table->dir_count++] = listed.path;
    }
    if (!table->dir || !read_format(table, format, &formats, &count))
        return false;
    unit->source = afford(table, count)
                       ? rdf_arena_alloc(table->debug->arena, (count + 1) * sizeof *unit->source)
                       : NULL;
    for (uint64_t i = 0; unit->source && i < count; i++) {
        if (!read_listed(table, format, formats, &listed))
            return false;
        unit->source[unit->source_count++] = source_in(table, listed.dir, listed.path);
    }
    return unit->source != NULL;
}

/* ---- Both ---- */

bool rdf_debug_line_head(struct rdf_span section, uint64_t off, struct line_head *ret)
{
    uint32_t length;
    uint64_t bytes, rest = 0;
    uint8_t line_base;
    uint16_t version;
    *ret = (struct line_head){.offset_bytes = 4};
    if (!rdf_span_u32(section, off, &length))
        return false;
    off += 4;
    bytes = length;
    if (length == UINT32_MAX) {
        ret->offset_bytes = 8;
        if (!rdf_span_u64(section, off, &bytes))
            return false;
        off += 8;
    }
    if (bytes > section.len_bytes - off)
        return false;
    ret->span = (struct rdf_span){section.data, off + bytes};
    if (!rdf_span_u16(ret->span, off, &version) || version < 2 || version > 5)
        return false;
    ret->version = version;
    off += 2 + (version == 5 ? 2 : 0);
    uint32_t narrow = 0;
    if (ret->offset_bytes == 8 ? !rdf_span_u64(ret->span, off, &rest)
                               : !rdf_span_u32(ret->span, off, &narrow))
        return false;
    off += ret->offset_bytes;
    rest += narrow;
    if (rest > ret->span.len_bytes - off)
        return false;
    ret->program_off = off + rest;
    /* The shortest instruction, (the most operations,) is_stmt, line base and range */
    if (!rdf_span_u8(ret->span, off, &ret->insn_bytes))
        return false;
    off += version >= 4 ? 3 : 2;
    if (!rdf_span_u8(ret->span, off, &line_base) || !rdf_span_u8(ret->span, off + 1, &ret->line_range) ||
        !rdf_span_u8(ret->span, off + 2, &ret->opcodes))
        return false;
    ret->line_base = (int8_t)line_base;
    ret->lengths_off = off + 3;
    off += 2 + (ret->opcodes ? ret->opcodes : 1);
    ret->lists_off = off;
    return off <= ret->span.len_bytes;
}

/* Up to the lists. */
static bool read_head(struct table *table)
{
    struct line_head head;
    if (!rdf_debug_line_head(table->span, table->off, &head))
        return false;
    table->span = head.span;
    table->off = head.lists_off;
    table->as_unit.end = head.span.len_bytes;
    table->as_unit.offset_bytes = head.offset_bytes;
    table->as_unit.version = head.version;
    return true;
}

/* Type units have the same list as the unit they belong to. */
static bool read_sources(struct rdf_debug *debug, struct unit *unit)
{
    struct debug_file *file = unit->file;
    if (!file->lines_bucket) {
        file->lines_bucket = rdf_arena_alloc(debug->arena, BUCKETS * sizeof *file->lines_bucket);
        file->source_budget = 2 * file->section[SECTION_LINE].len_bytes + 1024;
    }
    if (!file->lines_bucket)
        return false;
    uint64_t hash = unit->line_off * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    struct unit **bucket = &file->lines_bucket[hash % BUCKETS];
    struct unit *same = *bucket;
    while (same && same->line_off != unit->line_off)
        same = same->next_lines;
    if (same) {
        unit->source = same->source;
        unit->source_count = same->source_count;
        return true;
    }
    unit->next_lines = *bucket;
    *bucket = unit;
    struct table table = {.debug = debug, .as_unit = *unit, .off = unit->line_off};
    table.as_unit.section = SECTION_LINE;
    table.span = file->section[SECTION_LINE];
    return read_head(&table) &&
           (table.as_unit.version == 5 ? read_new(&table, unit) : read_old(&table, unit));
}

const char *rdf_debug_source(struct rdf_debug *debug, struct unit *unit, uint64_t index)
{
    struct unit *owner = unit->skeleton ? unit->skeleton : unit;
    /* A damaged list names fewer files: a line without a file is still an answer. */
    if (!owner->has_sources && owner->line_off != UINT64_MAX)
        (void)read_sources(debug, owner);
    owner->has_sources = true;
    if (index >= owner->source_count || !owner->source[index].name)
        return NULL;
    struct source *source = &owner->source[index];
    size_t dir_len = source->dir ? rdf_debug_len(source->dir) : 0;
    if (source->path || dir_len == 0 || dir_len > DIR_BYTES_MAX)
        return source->path ? source->path : source->name;
    size_t name_len = rdf_debug_len(source->name);
    char *path = rdf_arena_alloc(debug->arena, dir_len + name_len + 2);
    if (!path)
        return source->name;
    rdf_bytes_copy(path, source->dir, dir_len);
    path[dir_len] = '/';
    rdf_bytes_copy(path + dir_len + 1, source->name, name_len);
    source->path = path;
    return path;
}
