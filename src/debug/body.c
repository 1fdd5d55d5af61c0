/* SPDX-License-Identifier: MIT
 *
 * One compiled body: which of the declared parameters its callers still pass, and where. A compiler that
 * knows all callers of a function may leave some out: it describes the body like any other, but such a
 * parameter is a constant there, or is nowhere when the function is entered.
 */
#include "debug/dwarf.h"
#include "debug/index.h"

enum {
    PARAMETERS_MAX = 256,
    STEPS_MAX = 8, /* from a copy to what it is a copy of */
    CHILDREN_MAX = 1 << 16,
    RANGES_MAX = 1 << 16,
};

static bool read_address(const struct unit *unit, struct rdf_span span, uint64_t *off, uint64_t *ret)
{
    uint32_t narrow;
    uint64_t at = *off;
    *off += unit->address_bytes;
    if (unit->address_bytes == 8)
        return rdf_span_u64(span, at, ret);
    if (unit->address_bytes != 4 || !rdf_span_u32(span, at, &narrow))
        return false;
    *ret = narrow;
    return true;
}

/* ---- Lists of locations ---- */

/* One line of a list: what holds in [start, end). */
struct range {
    uint64_t start, end;
    struct rdf_span expression;
    bool is_last, is_other; /* other: a line that says something else */
};

static bool read_expression(struct rdf_span list, uint64_t *off, uint64_t bytes, struct range *ret)
{
    ret->expression = rdf_span_slice(list, *off, bytes);
    *off += bytes;
    return ret->expression.data != NULL || bytes == 0;
}

/* Of version 5. */
static bool read_range(const struct unit *unit, struct rdf_span list, uint64_t *off, uint64_t *base,
                       struct range *ret)
{
    uint8_t kind;
    uint64_t a, b, bytes;
    *ret = (struct range){0};
    if (!rdf_span_u8(list, (*off)++, &kind))
        return false;
    switch (kind) {
    case DW_LLE_end_of_list: ret->is_last = true; return true;
    case DW_LLE_GNU_view_pair:
        ret->is_other = true;
        return rdf_span_uleb(list, off, &a) && rdf_span_uleb(list, off, &b);
    case DW_LLE_base_addressx:
        ret->is_other = true;
        return rdf_span_uleb(list, off, &a) && rdf_debug_indexed_address(unit, a, base);
    case DW_LLE_base_address: ret->is_other = true; return read_address(unit, list, off, base);
    case DW_LLE_startx_endx:
        if (!rdf_span_uleb(list, off, &a) || !rdf_span_uleb(list, off, &b) ||
            !rdf_debug_indexed_address(unit, a, &ret->start) ||
            !rdf_debug_indexed_address(unit, b, &ret->end))
            return false;
        break;
    case DW_LLE_startx_length:
        if (!rdf_span_uleb(list, off, &a) || !rdf_span_uleb(list, off, &b) ||
            !rdf_debug_indexed_address(unit, a, &ret->start))
            return false;
        ret->end = ret->start + b;
        break;
    case DW_LLE_offset_pair:
        if (!rdf_span_uleb(list, off, &a) || !rdf_span_uleb(list, off, &b))
            return false;
        ret->start = *base + a;
        ret->end = *base + b;
        break;
    case DW_LLE_default_location: ret->end = UINT64_MAX; break;
    case DW_LLE_start_end:
        if (!read_address(unit, list, off, &ret->start) || !read_address(unit, list, off, &ret->end))
            return false;
        break;
    case DW_LLE_start_length:
        if (!read_address(unit, list, off, &ret->start) || !rdf_span_uleb(list, off, &b))
            return false;
        ret->end = ret->start + b;
        break;
    default: return false;
    }
    return rdf_span_uleb(list, off, &bytes) && read_expression(list, off, bytes, ret);
}

/* Of version 4; in a split unit, what gcc and clang write there: an index, a length. */
static bool read_older_range(const struct unit *unit, struct rdf_span list, uint64_t *off, uint64_t *base,
                             struct range *ret)
{
    enum { LLE_GNU_start_length = 3 };
    uint64_t largest = unit->address_bytes == 8 ? UINT64_MAX : UINT32_MAX;
    uint16_t bytes;
    *ret = (struct range){0};
    if (unit->skeleton) {
        uint8_t kind;
        uint64_t index;
        uint32_t length;
        if (!rdf_span_u8(list, (*off)++, &kind) || (kind && kind != LLE_GNU_start_length))
            return false;
        ret->is_last = !kind;
        if (!kind)
            return true;
        if (!rdf_span_uleb(list, off, &index) || !rdf_debug_indexed_address(unit, index, &ret->start) ||
            !rdf_span_u32(list, *off, &length))
            return false;
        *off += sizeof length;
        ret->end = ret->start + length;
    } else {
        if (!read_address(unit, list, off, &ret->start) || !read_address(unit, list, off, &ret->end))
            return false;
        ret->is_last = !ret->start && !ret->end;
        ret->is_other = ret->start == largest;
        if (ret->is_other)
            *base = ret->end;
        if (ret->is_last || ret->is_other)
            return true;
        ret->start += *base;
        ret->end += *base;
    }
    if (!rdf_span_u16(list, *off, &bytes))
        return false;
    *off += sizeof bytes;
    return read_expression(list, off, bytes, ret);
}

/* Where the list of an index begins. */
static bool indexed_list(const struct unit *unit, struct rdf_span lists, uint64_t index, uint64_t *ret)
{
    uint64_t at = unit->loclists_base + index * unit->offset_bytes;
    uint32_t narrow;
    if (index > UINT32_MAX)
        return false;
    if (unit->offset_bytes == 8) {
        if (!rdf_span_u64(lists, at, ret))
            return false;
    } else {
        if (!rdf_span_u32(lists, at, &narrow))
            return false;
        *ret = narrow;
    }
    *ret += unit->loclists_base;
    return true;
}

/* What holds at `addr`; false: nothing, or nothing that can be read. */
static bool location_at(struct rdf_debug *debug, const struct unit *unit, const struct value *value,
                        uint64_t addr, struct rdf_span *ret)
{
    if (value->block.data) {
        *ret = value->block;
        return true;
    }
    enum dwarf_section section = unit->version >= 5 ? SECTION_LOCLISTS : SECTION_LOC;
    const struct unit *owner = unit->skeleton ? unit->skeleton : unit;
    uint64_t base = owner->low_pc, off = value->number;
    if (!rdf_debug_unpack(debug, unit->file, section))
        return false;
    struct rdf_span lists = unit->file->section[section];
    if (value->form == DW_FORM_loclistx && !indexed_list(unit, lists, off, &off))
        return false;
    struct range range;
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        bool ok = unit->version >= 5 ? read_range(unit, lists, &off, &base, &range)
                                     : read_older_range(unit, lists, &off, &base, &range);
        if (!ok || range.is_last)
            return false;
        if (range.is_other || addr < range.start || addr >= range.end || !range.expression.len_bytes)
            continue;
        *ret = range.expression;
        return true;
    }
    return false;
}

/* A register, or memory at a distance from one: not what can be worked out without the caller. */
static bool is_place(struct rdf_span expression)
{
    uint8_t first = expression.data[0], last = expression.data[expression.len_bytes - 1];
    return first >= DW_OP_reg0 && first <= DW_OP_bregx &&
           (expression.len_bytes == 1 || last != DW_OP_stack_value);
}

/* ---- Parameters ---- */

struct reading {
    struct rdf_debug *debug;
    uint64_t addr;
    struct rdf_parameter parameter[PARAMETERS_MAX];
    const uint8_t *declared[PARAMETERS_MAX]; /* where each one is declared */
    size_t count;
};

static const uint8_t *place_of(const struct die *die)
{
    return die->unit->file->section[die->unit->section].data + die->off;
}

static void follow_origin(struct rdf_debug *debug, struct die *die)
{
    struct die origin;
    for (int step = 0; step < STEPS_MAX && rdf_debug_follow(debug, die, DW_AT_abstract_origin, &origin);
         step++)
        *die = origin;
}

/* 0: no number. */
static uint8_t constant_bytes(uint16_t form)
{
    switch (form) {
    case DW_FORM_data1: return 1;
    case DW_FORM_data2: return 2;
    case DW_FORM_data4: return 4;
    case DW_FORM_data8:
    case DW_FORM_udata:
    case DW_FORM_sdata:
    case DW_FORM_implicit_const: return 8;
    default: return 0;
    }
}

/* What an entry says of the parameter: a place is believed before a constant, the first one before others. */
static void take(struct reading *reading, const struct die *die, struct rdf_parameter *parameter)
{
    struct value value;
    struct rdf_span place;
    if (parameter->kind == RDF_PARAMETER_PLACED)
        return;
    if (rdf_debug_attr(die, DW_AT_location, &value) &&
        location_at(reading->debug, die->unit, &value, reading->addr, &place) && is_place(place)) {
        parameter->kind = RDF_PARAMETER_PLACED;
        parameter->place = place;
    } else if (rdf_debug_attr(die, DW_AT_const_value, &value)) {
        parameter->constant = value.number;
        parameter->constant_bytes = constant_bytes(value.form);
        parameter->kind = parameter->constant_bytes ? RDF_PARAMETER_CONSTANT : RDF_PARAMETER_FIXED;
    }
}

static struct rdf_parameter *declared_at(struct reading *reading, const uint8_t *at)
{
    for (size_t i = 0; i < reading->count; i++)
        if (reading->declared[i] == at)
            return &reading->parameter[i];
    return NULL;
}

static bool declare(struct reading *reading, const struct die *die)
{
    struct value value;
    if (reading->count == PARAMETERS_MAX)
        return rdf_fail(reading->debug->err, REDEFINE_EUNSUPPORTED, "a function of more than %d parameters",
                        PARAMETERS_MAX),
               false;
    reading->declared[reading->count] = place_of(die);
    reading->parameter[reading->count++] = (struct rdf_parameter){
        .name = rdf_debug_attr(die, DW_AT_name, &value) ? rdf_debug_string(die->unit, &value) : NULL};
    return true;
}

/* Every parameter among the children of `parent`: declared there, or described. */
static bool each_parameter(struct reading *reading, const struct die *parent, bool are_declared)
{
    struct die die;
    if (!rdf_debug_child(reading->debug, parent, &die))
        return false;
    for (size_t i = 0; die.abbrev && i < CHILDREN_MAX; i++) {
        if (die.abbrev->tag == DW_TAG_formal_parameter) {
            struct die origin = die;
            follow_origin(reading->debug, &origin);
            struct rdf_parameter *parameter = are_declared ? NULL : declared_at(reading, place_of(&origin));
            if (are_declared && !declare(reading, &die))
                return false;
            if (parameter)
                take(reading, &die, parameter);
        }
        if (!rdf_debug_next(reading->debug, &die, &die))
            return false;
    }
    return true;
}

static bool read_body(struct reading *reading, const struct rdf_debug_function *function, uint64_t body_off)
{
    struct die body;
    if (!rdf_debug_find_die(reading->debug, function, body_off, &body))
        return false;
    if (!body.abbrev || body.abbrev->tag != DW_TAG_subprogram)
        return rdf_debug_damaged(reading->debug, body.unit, body.off, "this was to be a function");
    struct die origin = body;
    follow_origin(reading->debug, &origin);
    return each_parameter(reading, &origin, true) && each_parameter(reading, &body, false);
}

redefine_status rdf_debug_body(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t addr,
                               struct rdf_debug_body *ret, struct rdf_error *err)
{
    struct rdf_error why = {0};
    const struct rdf_debug_entry *entry = rdf_index_entry(index, addr);
    if (!entry || !entry->body_off)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "the debug data of %s describes no function at %llx",
                        debug->object_path, (unsigned long long)addr);
    struct reading *reading = rdf_arena_alloc(debug->arena, sizeof *reading);
    if (!reading)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the parameters of a function");
    *reading = (struct reading){.debug = debug, .addr = addr};
    debug->err = &why;
    debug->work = WORK_MAX;
    bool done = read_body(reading, &index->function[entry->function], entry->body_off);
    debug->err = NULL;
    if (!done)
        return rdf_fail(err, why.status ? why.status : REDEFINE_EUNSUPPORTED, "%s", why.sentence);
    *ret = (struct rdf_debug_body){reading->parameter, reading->count};
    return REDEFINE_OK;
}
