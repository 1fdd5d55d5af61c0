/* SPDX-License-Identifier: MIT
 *
 * Tables of abbreviations: what an entry with a given code looks like. Units of one file may share a table.
 *
 * Source: DWARF 5, 7.5.3.
 */
#include "base/order.h"
#include "debug/dwarf.h"
#include "debug/internal.h"

enum { ATTRS_MAX = 4096, FIXED_BYTES_MAX = 60000 };

/* The length of a value of this form, where it does not depend on the value; −1: it does. */
static int form_bytes(const struct unit *unit, uint16_t form)
{
    switch (form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const: return 0;
    case DW_FORM_data1:
    case DW_FORM_ref1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1: return 1;
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2: return 2;
    case DW_FORM_strx3:
    case DW_FORM_addrx3: return 3;
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
    case DW_FORM_ref_sup4: return 4;
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8: return 8;
    case DW_FORM_data16: return 16;
    case DW_FORM_addr: return unit->address_bytes;
    case DW_FORM_strp:
    case DW_FORM_line_strp:
    case DW_FORM_strp_sup:
    case DW_FORM_sec_offset:
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_GNU_strp_alt: return unit->offset_bytes;
    case DW_FORM_ref_addr: return unit->version == 2 ? unit->address_bytes : unit->offset_bytes;
    default: return -1;
    }
}

/* One declaration's list of attributes, counted or stored. */
static bool read_attrs(struct rdf_span section, uint64_t *off, struct attr *ret, size_t *ret_count)
{
    size_t count = 0;
    for (;;) {
        uint64_t name, form;
        int64_t implicit = 0;
        if (!rdf_span_uleb(section, off, &name) || !rdf_span_uleb(section, off, &form))
            return false;
        if (form == DW_FORM_implicit_const && !rdf_span_sleb(section, off, &implicit))
            return false;
        if (name == 0 && form == 0)
            break;
        if (name > UINT16_MAX || form > UINT16_MAX || count == ATTRS_MAX)
            return false;
        if (ret)
            ret[count] = (struct attr){(uint16_t)name, (uint16_t)form, implicit};
        count++;
    }
    *ret_count = count;
    return true;
}

/* One declaration; *ret_code 0 at the end of the table. Attributes go to `attr`, where that is not null. */
static bool read_declaration(struct rdf_span section, uint64_t *off, uint64_t *ret_code, struct abbrev *ret,
                             struct attr *attr, size_t *ret_count)
{
    uint64_t tag;
    uint8_t children;
    *ret_count = 0;
    /* At the very end of the section the terminator may be missing. */
    if (*off == section.len_bytes) {
        *ret_code = 0;
        return true;
    }
    if (!rdf_span_uleb(section, off, ret_code))
        return false;
    if (*ret_code == 0)
        return true;
    if (!rdf_span_uleb(section, off, &tag) || tag > UINT16_MAX || !rdf_span_u8(section, *off, &children))
        return false;
    *off += 1;
    *ret = (struct abbrev){.tag = (uint32_t)tag, .has_children = children != 0};
    return read_attrs(section, off, attr, ret_count);
}

static void note_fixed(const struct unit *unit, struct abbrev *abbrev, const struct attr *attr)
{
    uint32_t bytes = 0;
    for (size_t i = 0; i < abbrev->attr_count; i++) {
        int len = form_bytes(unit, attr[i].form);
        if (len < 0 || bytes > FIXED_BYTES_MAX)
            return;
        bytes += (uint32_t)len;
    }
    abbrev->is_fixed = true;
    abbrev->fixed_bytes = (uint16_t)bytes;
}

static bool read_table(struct rdf_debug *debug, struct unit *unit, struct abbrev_table *table)
{
    struct debug_file *file = unit->file;
    struct rdf_span section = file->section[SECTION_ABBREV];
    uint64_t off = unit->abbrev_off, code;
    size_t declarations = 0, attrs = 0, count;
    struct abbrev abbrev;
    if (off > section.len_bytes)
        return rdf_debug_damaged(debug, unit, unit->off, "its abbreviations lie behind their section");
    for (;;) {
        if (!read_declaration(section, &off, &code, &abbrev, NULL, &count))
            return rdf_debug_damaged(debug, unit, unit->off, "its abbreviations are damaged");
        if (code == 0)
            break;
        declarations++;
        attrs += count + 1;
        if (attrs > file->abbrev_budget)
            return rdf_debug_damaged(debug, unit, unit->off, "tables of abbreviations overlap");
    }
    file->abbrev_budget -= attrs;
    struct abbrev *list = rdf_arena_alloc(debug->arena, declarations * sizeof *list);
    uint64_t *codes = rdf_arena_alloc(debug->arena, declarations * sizeof *codes);
    struct attr *attr = rdf_arena_alloc(debug->arena, (attrs + 1) * sizeof *attr);
    if (!list || !codes || !attr)
        return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory for the abbreviations of %s", file->path),
               false;
    *table = (struct abbrev_table){.off = unit->abbrev_off,
                                   .version = unit->version,
                                   .offset_bytes = unit->offset_bytes,
                                   .address_bytes = unit->address_bytes,
                                   .abbrev = list,
                                   .code = codes,
                                   .count = declarations,
                                   .is_dense = true,
                                   .attr = attr};
    uint32_t used = 0;
    off = unit->abbrev_off;
    for (size_t i = 0; i < declarations; i++) {
        (void)read_declaration(section, &off, &codes[i], &list[i], attr + used, &count);
        list[i].first_attr = used;
        list[i].attr_count = (uint16_t)count;
        note_fixed(unit, &list[i], attr + used);
        table->is_dense &= codes[i] == i + 1;
        if (i && codes[i] <= codes[i - 1])
            return rdf_debug_damaged(debug, unit, unit->off, "its abbreviations are not in order");
        used += (uint32_t)count;
    }
    return true;
}

bool rdf_debug_read_abbrevs(struct rdf_debug *debug, struct unit *unit)
{
    struct debug_file *file = unit->file;
    if (!file->bucket) {
        file->bucket = rdf_arena_alloc(debug->arena, BUCKETS * sizeof *file->bucket);
        file->abbrev_budget = 4 * file->section[SECTION_ABBREV].len_bytes + 1024;
    }
    if (!file->bucket)
        return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory for the abbreviations of %s", file->path),
               false;
    uint64_t hash = unit->abbrev_off * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    struct abbrev_table **bucket = &file->bucket[hash % BUCKETS];
    struct abbrev_table *table = *bucket;
    while (table &&
           !(table->off == unit->abbrev_off && table->version == unit->version &&
             table->offset_bytes == unit->offset_bytes && table->address_bytes == unit->address_bytes))
        table = table->next;
    if (!table) {
        table = rdf_arena_alloc(debug->arena, sizeof *table);
        if (!table)
            return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory for the abbreviations of %s", file->path),
                   false;
        if (!read_table(debug, unit, table))
            return false;
        table->next = *bucket;
        *bucket = table;
    }
    unit->abbrevs = table;
    return true;
}

const struct abbrev *rdf_debug_abbrev(const struct unit *unit, uint64_t code)
{
    const struct abbrev_table *table = unit->abbrevs;
    if (table->is_dense)
        return code - 1 < table->count ? &table->abbrev[code - 1] : NULL;
    size_t i = RDF_FIRST_NUMBER(table->code, table->count, code);
    return i < table->count && table->code[i] == code ? &table->abbrev[i] : NULL;
}
