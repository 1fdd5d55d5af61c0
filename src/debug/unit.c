/* SPDX-License-Identifier: MIT
 *
 * Units, their entries, and what the values of attributes mean.
 *
 * Source: DWARF 5, 7.5 and 7.27 to 7.30; for version 4 split units the GNU proposal "DebugFission".
 */
#include "base/order.h"
#include "debug/dwarf.h"
#include "debug/internal.h"

static const uint64_t none = UINT64_MAX;

bool rdf_debug_damaged(struct rdf_debug *debug, const struct unit *unit, uint64_t off, const char *what)
{
    (void)rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "the debug data in %s is damaged at offset 0x%llx: %s",
                   unit->file->path, (unsigned long long)off, what);
    return false;
}

static struct rdf_span body_of(const struct unit *unit)
{
    return (struct rdf_span){unit->file->section[unit->section].data, unit->end};
}

static bool read_offset(struct rdf_span span, uint64_t off, unsigned bytes, uint64_t *ret)
{
    uint32_t narrow;
    if (bytes == 8)
        return rdf_span_u64(span, off, ret);
    if (!rdf_span_u32(span, off, &narrow))
        return false;
    *ret = narrow;
    return true;
}

/* ---- Units ---- */

/* The header at unit->off; sets everything that is in it. */
static bool read_header(struct rdf_span section, struct unit *unit)
{
    uint32_t length;
    uint64_t off = unit->off;
    uint64_t bytes;
    if (!rdf_span_u32(section, off, &length))
        return false;
    unit->offset_bytes = length == UINT32_MAX ? 8 : 4;
    off += 4;
    bytes = length;
    if (unit->offset_bytes == 8) {
        if (!rdf_span_u64(section, off, &bytes))
            return false;
        off += 8;
    }
    if (bytes > section.len_bytes - off || (length >= 0xfffffff0 && unit->offset_bytes == 4))
        return false;
    unit->end = off + bytes;
    if (!rdf_span_u16(section, off, &unit->version) || unit->version < 2 || unit->version > 5)
        return false;
    off += 2;
    unit->kind = unit->section == SECTION_TYPES ? DW_UT_type : DW_UT_compile;
    if (unit->version == 5) {
        if (!rdf_span_u8(section, off, &unit->kind) || !rdf_span_u8(section, off + 1, &unit->address_bytes))
            return false;
        off += 2;
    }
    if (!read_offset(section, off, unit->offset_bytes, &unit->abbrev_off))
        return false;
    off += unit->offset_bytes;
    if (unit->version < 5 && !rdf_span_u8(section, off++, &unit->address_bytes))
        return false;
    bool is_type = unit->kind == DW_UT_type || unit->kind == DW_UT_split_type;
    if (is_type || unit->kind == DW_UT_skeleton || unit->kind == DW_UT_split_compile) {
        if (!rdf_span_u64(section, off, &unit->id))
            return false;
        off += 8;
    }
    if (is_type) {
        if (!read_offset(section, off, unit->offset_bytes, &unit->type_die))
            return false;
        off += unit->offset_bytes;
    }
    unit->die = off;
    return off <= unit->end && (unit->address_bytes == 4 || unit->address_bytes == 8);
}

bool rdf_debug_read_units(struct rdf_debug *debug, struct debug_file *file)
{
    static const enum dwarf_section sections[] = {SECTION_INFO, SECTION_TYPES};
    for (int pass = 0; pass < 2; pass++) {
        size_t count = 0;
        for (int i = 0; i < 2; i++) {
            struct rdf_span section = file->section[sections[i]];
            for (uint64_t off = 0; off < section.len_bytes;) {
                struct unit unit = {.file = file, .section = sections[i], .off = off};
                if (!read_header(section, &unit))
                    return rdf_debug_damaged(debug, &unit, off, "the head of a unit makes no sense");
                if (pass)
                    file->unit[count] = unit;
                count++;
                off = unit.end;
            }
            if (i == 0)
                file->info_count = count;
        }
        if (pass == 0)
            file->unit = rdf_arena_alloc(debug->arena, (count + 1) * sizeof *file->unit);
        if (!file->unit)
            return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory for the units of %s", file->path), false;
        file->unit_count = count;
    }
    return true;
}

struct unit *rdf_debug_unit_at(struct debug_file *file, uint64_t off)
{
    size_t i = RDF_FIRST_BEHIND(file->unit, file->info_count, end, off);
    return i < file->info_count && off >= file->unit[i].die ? &file->unit[i] : NULL;
}

static void take_number(struct unit *unit, uint16_t name, const struct value *value)
{
    switch (name) {
    case DW_AT_stmt_list: unit->line_off = value->number; break;
    case DW_AT_str_offsets_base: unit->str_base = value->number; break;
    case DW_AT_GNU_addr_base:
    case DW_AT_addr_base: unit->addr_base = value->number; break;
    case DW_AT_GNU_ranges_base: unit->ranges_base = value->number; break;
    case DW_AT_rnglists_base: unit->rnglists_base = value->number; break;
    case DW_AT_loclists_base: unit->loclists_base = value->number; break;
    case DW_AT_language: unit->language = (uint32_t)value->number; break;
    case DW_AT_GNU_dwo_id: unit->id = value->number; break;
    default: break;
    }
}

/* What depends on the bases. */
static void take_other(struct unit *unit, uint16_t name, const struct value *value)
{
    switch (name) {
    case DW_AT_name: unit->name = rdf_debug_string(unit, value); break;
    case DW_AT_comp_dir: unit->comp_dir = rdf_debug_string(unit, value); break;
    case DW_AT_dwo_name:
    case DW_AT_GNU_dwo_name: unit->dwo_name = rdf_debug_string(unit, value); break;
    case DW_AT_low_pc: (void)rdf_debug_address(unit, value, &unit->low_pc); break;
    default: break;
    }
}

bool rdf_debug_open_unit(struct rdf_debug *debug, struct unit *unit)
{
    struct die die;
    if (unit->is_opened)
        return true;
    bool is_wide = unit->offset_bytes == 8;
    unit->line_off = none;
    unit->str_base = unit->version < 5 ? 0 : is_wide ? 16 : 8;
    unit->addr_base = unit->version < 5 ? 0 : is_wide ? 16 : 8;
    unit->rnglists_base = unit->loclists_base = is_wide ? 20 : 12;
    if (!rdf_debug_read_abbrevs(debug, unit))
        return false;
    unit->is_opened = true;
    if (!rdf_debug_die_at(debug, unit, unit->die, &die))
        return false;
    if (!die.abbrev)
        return true; /* an empty unit */
    for (int pass = 0; pass < 2; pass++) {
        uint64_t off = die.attrs_off;
        for (size_t i = 0; i < die.abbrev->attr_count; i++) {
            const struct attr *attr = &unit->abbrevs->attr[die.abbrev->first_attr + i];
            struct value value;
            if (!rdf_debug_read_value(unit, attr, &off, &value))
                return rdf_debug_damaged(debug, unit, off, "an attribute of a unit cannot be read");
            if (pass == 0)
                take_number(unit, attr->name, &value);
            else
                take_other(unit, attr->name, &value);
        }
    }
    return true;
}

/* ---- Values ---- */

static bool read_fixed(struct rdf_span span, uint64_t *off, unsigned bytes, uint64_t *ret)
{
    if (*off > span.len_bytes || bytes > span.len_bytes - *off)
        return false;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)span.data[*off + i] << 8 * i;
    *off += bytes;
    *ret = value;
    return true;
}

static bool read_block(struct rdf_span span, uint64_t *off, uint64_t bytes, struct value *ret)
{
    ret->block = rdf_span_slice(span, *off, bytes);
    *off += bytes;
    return ret->block.data != NULL || bytes == 0;
}

static bool read_counted_block(struct rdf_span span, uint64_t *off, unsigned count_bytes, struct value *ret)
{
    uint64_t bytes;
    bool ok = count_bytes ? read_fixed(span, off, count_bytes, &bytes) : rdf_span_uleb(span, off, &bytes);
    return ok && bytes <= span.len_bytes && read_block(span, off, bytes, ret);
}

static bool read_text(struct rdf_span span, uint64_t *off, struct value *ret)
{
    const char *text = rdf_span_string(span, *off);
    if (!text)
        return false;
    size_t len = rdf_debug_len(text) + 1;
    ret->block = (struct rdf_span){(const uint8_t *)text, len};
    *off += len;
    return true;
}

bool rdf_debug_read_value(const struct unit *unit, const struct attr *attr, uint64_t *off, struct value *ret)
{
    struct rdf_span span = body_of(unit);
    uint64_t form = attr->form;
    int64_t number;
    if (form == DW_FORM_indirect &&
        (!rdf_span_uleb(span, off, &form) || form == DW_FORM_indirect || form == DW_FORM_implicit_const))
        return false;
    *ret = (struct value){.form = (uint16_t)form};
    switch (form) {
    case DW_FORM_flag_present: ret->number = 1; return true;
    case DW_FORM_implicit_const: ret->number = (uint64_t)attr->implicit; return true;
    case DW_FORM_data1:
    case DW_FORM_ref1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1: return read_fixed(span, off, 1, &ret->number);
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2: return read_fixed(span, off, 2, &ret->number);
    case DW_FORM_strx3:
    case DW_FORM_addrx3: return read_fixed(span, off, 3, &ret->number);
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
    case DW_FORM_ref_sup4: return read_fixed(span, off, 4, &ret->number);
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8: return read_fixed(span, off, 8, &ret->number);
    case DW_FORM_addr: return read_fixed(span, off, unit->address_bytes, &ret->number);
    case DW_FORM_strp:
    case DW_FORM_line_strp:
    case DW_FORM_strp_sup:
    case DW_FORM_sec_offset:
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_GNU_strp_alt: return read_fixed(span, off, unit->offset_bytes, &ret->number);
    case DW_FORM_ref_addr:
        return read_fixed(span, off, unit->version == 2 ? unit->address_bytes : unit->offset_bytes,
                          &ret->number);
    case DW_FORM_udata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index: return rdf_span_uleb(span, off, &ret->number);
    case DW_FORM_sdata:
        if (!rdf_span_sleb(span, off, &number))
            return false;
        ret->number = (uint64_t)number;
        return true;
    case DW_FORM_string: return read_text(span, off, ret);
    case DW_FORM_data16: return read_block(span, off, 16, ret);
    case DW_FORM_block1: return read_counted_block(span, off, 1, ret);
    case DW_FORM_block2: return read_counted_block(span, off, 2, ret);
    case DW_FORM_block4: return read_counted_block(span, off, 4, ret);
    case DW_FORM_block:
    case DW_FORM_exprloc: return read_counted_block(span, off, 0, ret);
    default: return false;
    }
}

/* No name is longer: a file of nothing but references into one endless text would never be done. */
static const char *text_at(struct rdf_span texts, uint64_t off)
{
    enum { TEXT_BYTES_MAX = 1 << 14 };
    if (off >= texts.len_bytes)
        return NULL;
    uint64_t left = texts.len_bytes - off;
    return rdf_span_string(rdf_span_slice(texts, off, left < TEXT_BYTES_MAX ? left : TEXT_BYTES_MAX), 0);
}

const char *rdf_debug_string(const struct unit *unit, const struct value *value)
{
    const struct debug_file *file = unit->file;
    uint64_t off;
    switch (value->form) {
    case DW_FORM_string: return (const char *)value->block.data;
    case DW_FORM_strp: return text_at(file->section[SECTION_STR], value->number);
    case DW_FORM_line_strp: return text_at(file->section[SECTION_LINE_STR], value->number);
    case DW_FORM_GNU_strp_alt:
    case DW_FORM_strp_sup: return file->alt ? text_at(file->alt->section[SECTION_STR], value->number) : NULL;
    case DW_FORM_strx:
    case DW_FORM_strx1:
    case DW_FORM_strx2:
    case DW_FORM_strx3:
    case DW_FORM_strx4:
    case DW_FORM_GNU_str_index:
        if (value->number > UINT32_MAX ||
            !read_offset(file->section[SECTION_STR_OFFSETS],
                         unit->str_base + value->number * unit->offset_bytes, unit->offset_bytes, &off))
            return NULL;
        return text_at(file->section[SECTION_STR], off);
    default: return NULL;
    }
}

bool rdf_debug_indexed_address(const struct unit *unit, uint64_t index, uint64_t *ret)
{
    const struct unit *owner = unit->skeleton ? unit->skeleton : unit;
    uint64_t off = owner->addr_base + index * unit->address_bytes;
    return index <= UINT32_MAX &&
           read_fixed(owner->file->section[SECTION_ADDR], &off, unit->address_bytes, ret);
}

bool rdf_debug_address(const struct unit *unit, const struct value *value, uint64_t *ret)
{
    switch (value->form) {
    case DW_FORM_addr: *ret = value->number; return true;
    case DW_FORM_addrx:
    case DW_FORM_addrx1:
    case DW_FORM_addrx2:
    case DW_FORM_addrx3:
    case DW_FORM_addrx4:
    case DW_FORM_GNU_addr_index: return rdf_debug_indexed_address(unit, value->number, ret);
    default: return false;
    }
}

bool rdf_debug_refer(struct rdf_debug *debug, const struct unit *unit, const struct value *value,
                     struct die *ret)
{
    struct unit *to = (struct unit *)unit;
    uint64_t off = value->number;
    switch (value->form) {
    case DW_FORM_ref1:
    case DW_FORM_ref2:
    case DW_FORM_ref4:
    case DW_FORM_ref8:
    case DW_FORM_ref_udata: off = off < unit->end ? off + unit->off : none; break;
    case DW_FORM_ref_addr: to = rdf_debug_unit_at(unit->file, off); break;
    case DW_FORM_GNU_ref_alt:
    case DW_FORM_ref_sup4:
    case DW_FORM_ref_sup8: to = unit->file->alt ? rdf_debug_unit_at(unit->file->alt, off) : NULL; break;
    case DW_FORM_ref_sig8:
        to = NULL;
        debug->work -= debug->work < unit->file->unit_count ? debug->work : unit->file->unit_count;
        for (size_t i = 0; debug->work && !to && i < unit->file->unit_count; i++) {
            struct unit *type = &unit->file->unit[i];
            if (type->id == off && (type->kind == DW_UT_type || type->kind == DW_UT_split_type))
                to = type;
        }
        off = to ? to->off + to->type_die : none;
        break;
    default: to = NULL;
    }
    if (!to || off < to->die || off >= to->end)
        return rdf_debug_damaged(debug, unit, unit->off, "a reference leads to no entry");
    return rdf_debug_open_unit(debug, to) && rdf_debug_die_at(debug, to, off, ret);
}

/* ---- Entries ---- */

bool rdf_debug_die_at(struct rdf_debug *debug, struct unit *unit, uint64_t off, struct die *ret)
{
    uint64_t code, at = off;
    if (!rdf_span_uleb(body_of(unit), &at, &code))
        return rdf_debug_damaged(debug, unit, off, "a unit ends in the middle of its entries");
    *ret = (struct die){.unit = unit, .off = off, .attrs_off = at};
    if (code == 0)
        return true;
    ret->abbrev = rdf_debug_abbrev(unit, code);
    if (!ret->abbrev)
        return rdf_debug_damaged(debug, unit, off,
                                 "an entry has an abbreviation that its unit does not have");
    return true;
}

bool rdf_debug_skip_attrs(const struct die *die, uint64_t *ret_off)
{
    uint64_t off = die->attrs_off;
    const struct abbrev *abbrev = die->abbrev;
    struct value value;
    if (abbrev->is_fixed) {
        *ret_off = off + abbrev->fixed_bytes;
        return *ret_off <= die->unit->end;
    }
    for (size_t i = 0; i < abbrev->attr_count; i++)
        if (!rdf_debug_read_value(die->unit, &die->unit->abbrevs->attr[abbrev->first_attr + i], &off, &value))
            return false;
    *ret_off = off;
    return true;
}

bool rdf_debug_attr(const struct die *die, uint16_t name, struct value *ret)
{
    uint64_t off = die->attrs_off;
    for (size_t i = 0; die->abbrev && i < die->abbrev->attr_count; i++) {
        const struct attr *attr = &die->unit->abbrevs->attr[die->abbrev->first_attr + i];
        struct value value;
        if (!rdf_debug_read_value(die->unit, attr, &off, &value))
            return false;
        if (attr->name == name) {
            *ret = value;
            return true;
        }
    }
    return false;
}

bool rdf_debug_child(struct rdf_debug *debug, const struct die *die, struct die *ret)
{
    uint64_t off;
    *ret = (struct die){.unit = die->unit};
    if (!die->abbrev || !die->abbrev->has_children)
        return true;
    if (!rdf_debug_skip_attrs(die, &off))
        return rdf_debug_damaged(debug, die->unit, die->off, "an attribute cannot be read");
    return rdf_debug_die_at(debug, die->unit, off, ret);
}

bool rdf_debug_next(struct rdf_debug *debug, const struct die *die, struct die *ret)
{
    struct value sibling;
    if (die->abbrev->has_children && rdf_debug_attr(die, DW_AT_sibling, &sibling)) {
        uint64_t off = die->unit->off + sibling.number;
        if (sibling.form == DW_FORM_ref_addr || sibling.number >= die->unit->end || off <= die->off ||
            off >= die->unit->end)
            return rdf_debug_damaged(debug, die->unit, die->off, "an entry's sibling lies elsewhere");
        return rdf_debug_die_at(debug, die->unit, off, ret);
    }
    struct die at = *die;
    for (size_t depth = 0;;) {
        uint64_t off = at.attrs_off;
        if (debug->work-- == 0)
            return rdf_debug_damaged(debug, die->unit, die->off, "entries within entries have no end");
        if (at.abbrev && !rdf_debug_skip_attrs(&at, &off))
            return rdf_debug_damaged(debug, die->unit, at.off, "an attribute cannot be read");
        if (!at.abbrev)
            depth--;
        else if (at.abbrev->has_children)
            depth++;
        if (!rdf_debug_die_at(debug, die->unit, off, &at))
            return false;
        if (depth == 0)
            break;
    }
    *ret = at;
    return true;
}

/* ---- Ranges ---- */

/* The first address of a list of version 5, at `off`. */
static bool first_of_list(const struct unit *unit, struct rdf_span lists, uint64_t off, uint64_t *ret)
{
    const struct unit *owner = unit->skeleton ? unit->skeleton : unit;
    uint64_t base = owner->low_pc;
    uint64_t number;
    for (;;) {
        uint8_t kind;
        if (!rdf_span_u8(lists, off++, &kind))
            return false;
        switch (kind) {
        case DW_RLE_base_addressx:
            if (!rdf_span_uleb(lists, &off, &number) || !rdf_debug_indexed_address(unit, number, &base))
                return false;
            break;
        case DW_RLE_base_address:
            if (!read_fixed(lists, &off, unit->address_bytes, &base))
                return false;
            break;
        case DW_RLE_startx_endx:
        case DW_RLE_startx_length:
            return rdf_span_uleb(lists, &off, &number) && rdf_debug_indexed_address(unit, number, ret);
        case DW_RLE_offset_pair:
            if (!rdf_span_uleb(lists, &off, &number))
                return false;
            *ret = base + number;
            return true;
        case DW_RLE_start_end:
        case DW_RLE_start_length: return read_fixed(lists, &off, unit->address_bytes, ret);
        default: return false;
        }
    }
}

bool rdf_debug_first_range(const struct unit *unit, const struct value *value, uint64_t *ret)
{
    const struct unit *owner = unit->skeleton ? unit->skeleton : unit;
    uint64_t off = value->number;
    if (unit->version >= 5) {
        struct rdf_span lists = unit->file->section[SECTION_RNGLISTS];
        if (value->form == DW_FORM_rnglistx) {
            uint64_t at;
            if (off > UINT32_MAX ||
                !read_offset(lists, unit->rnglists_base + off * unit->offset_bytes, unit->offset_bytes, &at))
                return false;
            off = unit->rnglists_base + at;
        }
        return first_of_list(unit, lists, off, ret);
    }
    /* Pairs; the largest possible start sets the base; two zeros end the list. */
    struct rdf_span ranges = owner->file->section[SECTION_RANGES];
    uint64_t base = owner->low_pc;
    uint64_t largest = unit->address_bytes == 8 ? UINT64_MAX : UINT32_MAX;
    off += unit->skeleton ? owner->ranges_base : 0;
    for (;;) {
        uint64_t start, end;
        if (!read_fixed(ranges, &off, unit->address_bytes, &start) ||
            !read_fixed(ranges, &off, unit->address_bytes, &end) || (start == 0 && end == 0))
            return false;
        if (start != largest) {
            *ret = base + start;
            return true;
        }
        base = end;
    }
}
