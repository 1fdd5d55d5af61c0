/* SPDX-License-Identifier: MIT
 *
 * A function's type, with everything that its parameters and its result lead to. Types name each other in
 * circles, so each entry becomes one record, made when it is first named and filled in its turn.
 */
#include "base/progress.h"
#include "debug/dwarf.h"
#include "debug/internal.h"

enum {
    TYPES_MAX = 2048, /* what lies behind is cut off, and says so */
    SLOTS = 4 * TYPES_MAX,
    STEPS_MAX = 64, /* typedefs of const typedefs of … */
    FIELDS_MAX = 4096,
    ENTRIES_MAX = 1 << 20, /* children looked at, all together */
};

struct waiting {
    const uint8_t *at; /* of the entry in its file; null: free */
    struct die die;
    struct rdf_type *type;
};

struct types {
    struct rdf_debug *debug;
    struct waiting *slot; /* by `at` */
    uint32_t *queue;      /* slots, in the order of their naming */
    size_t count, done;
    struct rdf_type *cut_off, *nothing;
    size_t entries;
};

static bool no_memory(struct types *types)
{
    return rdf_fail(types->debug->err, REDEFINE_ENOMEM, "no memory for the types of a function"), false;
}

static const char *name_of(const struct die *die)
{
    struct value value;
    return rdf_debug_attr(die, DW_AT_name, &value) ? rdf_debug_string(die->unit, &value) : NULL;
}

static bool is_constant(const struct value *value)
{
    switch (value->form) {
    case DW_FORM_data1:
    case DW_FORM_data2:
    case DW_FORM_data4:
    case DW_FORM_data8:
    case DW_FORM_udata:
    case DW_FORM_sdata:
    case DW_FORM_implicit_const: return true;
    default: return false;
    }
}

/* A size may also be an expression, or a reference to a variable: then nobody knows it before run time. */
static uint64_t number_of(const struct die *die, uint16_t name, uint64_t otherwise)
{
    struct value value;
    return rdf_debug_attr(die, name, &value) && is_constant(&value) ? value.number : otherwise;
}

static bool has(const struct die *die, uint16_t name)
{
    struct value value;
    return rdf_debug_attr(die, name, &value) && value.number;
}

bool rdf_debug_follow(struct rdf_debug *debug, const struct die *from, uint16_t name, struct die *ret)
{
    struct value value;
    struct rdf_error ignored = {0};
    struct rdf_error *err = debug->err;
    if (!rdf_debug_attr(from, name, &value))
        return false;
    /* What lies elsewhere is unknown; that is no failure. */
    debug->err = &ignored;
    bool found = rdf_debug_refer(debug, from->unit, &value, ret) && ret->abbrev;
    debug->err = err;
    return found;
}

/* ---- Records ---- */

/* Qualifiers and typedefs change nothing of a layout. *ret_name: of a typedef, for a type without one. */
static bool strip(struct types *types, struct die *die, const char **ret_name)
{
    *ret_name = NULL;
    for (int step = 0; step < STEPS_MAX; step++) {
        switch (die->abbrev->tag) {
        case DW_TAG_typedef: *ret_name = name_of(die); break;
        case DW_TAG_const_type:
        case DW_TAG_volatile_type:
        case DW_TAG_restrict_type:
        case DW_TAG_atomic_type: break;
        default: return true;
        }
        if (!rdf_debug_follow(types->debug, die, DW_AT_type, die))
            return false; /* void */
    }
    return false;
}

/* The record of the type at `die`; null: no memory. */
static struct rdf_type *record_of(struct types *types, struct die die, const char *name)
{
    struct die whole;
    if (has(&die, DW_AT_declaration) && rdf_debug_follow(types->debug, &die, DW_AT_signature, &whole))
        die = whole;
    const uint8_t *at = die.unit->file->section[die.unit->section].data + die.off;
    size_t slot = ((uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15) >> 32) % SLOTS;
    while (types->slot[slot].at && types->slot[slot].at != at)
        slot = (slot + 1) % SLOTS;
    if (types->slot[slot].at)
        return types->slot[slot].type;
    if (types->count == TYPES_MAX)
        return types->cut_off;
    struct rdf_type *type = rdf_arena_alloc(types->debug->arena, sizeof *type);
    if (!type)
        return NULL;
    *type = (struct rdf_type){.kind = RDF_TYPE_OPAQUE, .name = name};
    types->slot[slot] = (struct waiting){at, die, type};
    types->queue[types->count++] = (uint32_t)slot;
    return type;
}

/* The same of the type that `from` names by its DW_AT_type. */
static struct rdf_type *type_of(struct types *types, const struct die *from)
{
    struct die die;
    const char *name;
    if (!has(from, DW_AT_type) || !rdf_debug_follow(types->debug, from, DW_AT_type, &die) ||
        !strip(types, &die, &name))
        return types->nothing;
    return record_of(types, die, name);
}

/* ---- Members ---- */

static bool member_offset(const struct die *die, uint64_t *ret)
{
    struct value value;
    *ret = 0;
    if (!rdf_debug_attr(die, DW_AT_data_member_location, &value))
        return true; /* of a union, or of a bit field that says it itself */
    if (!value.block.data) {
        *ret = value.number;
        return true;
    }
    uint64_t off = 1;
    return value.block.len_bytes > 1 && value.block.data[0] == DW_OP_plus_uconst &&
           rdf_span_uleb(value.block, &off, ret);
}

static bool read_member(struct types *types, const struct die *die, struct rdf_field *ret)
{
    uint64_t off;
    if (!member_offset(die, &off))
        return true; /* of a virtual base: its place is known at run time only */
    *ret = (struct rdf_field){.name = name_of(die),
                              .bit_off = off * 8,
                              .bits = number_of(die, DW_AT_bit_size, 0),
                              .is_artificial = has(die, DW_AT_artificial),
                              .type = type_of(types, die)};
    struct value value;
    if (rdf_debug_attr(die, DW_AT_data_bit_offset, &value))
        ret->bit_off = value.number;
    else if (ret->bits && rdf_debug_attr(die, DW_AT_bit_offset, &value))
        /* The older way counts from the most significant bit. */
        ret->bit_off += number_of(die, DW_AT_byte_size, 4) * 8 - value.number - ret->bits;
    return ret->type || no_memory(types);
}

/* Whether the member function is a destructor, or a constructor from another one of its class, that somebody
 * wrote: such a class is passed by its address (Itanium C++ ABI, 3.1.2.3). */
static bool is_own_copying(struct types *types, const struct die *parent, const struct die *function)
{
    struct die parameter, type;
    const char *name = name_of(function), *of = name_of(parent), *unused;
    if (!name || has(function, DW_AT_artificial) || has(function, DW_AT_defaulted))
        return false;
    if (name[0] == '~')
        return true;
    size_t len = of ? rdf_debug_len(name) : 0;
    if (!of || rdf_debug_len(of) < len || !rdf_bytes_equal(name, of, len) || (of[len] && of[len] != '<'))
        return false;
    /* Behind `this`. */
    return rdf_debug_child(types->debug, function, &parameter) && parameter.abbrev &&
           rdf_debug_next(types->debug, &parameter, &parameter) && parameter.abbrev &&
           rdf_debug_follow(types->debug, &parameter, DW_AT_type, &type) &&
           (type.abbrev->tag == DW_TAG_reference_type || type.abbrev->tag == DW_TAG_rvalue_reference_type) &&
           rdf_debug_follow(types->debug, &type, DW_AT_type, &type) && strip(types, &type, &unused) &&
           type.unit == parent->unit && type.off == parent->off;
}

/* Children of one of two tags, as fields. */
static bool read_fields(struct types *types, const struct die *parent, struct rdf_type *type,
                        bool are_members)
{
    struct die die;
    size_t count = 0;
    struct rdf_field *field = NULL;
    for (int pass = 0; pass < 2; pass++) {
        size_t used = 0;
        if (!rdf_debug_child(types->debug, parent, &die))
            return false;
        while (die.abbrev && used < FIELDS_MAX && ++types->entries < ENTRIES_MAX) {
            uint32_t tag = die.abbrev->tag;
            bool wanted = are_members ? (tag == DW_TAG_member && !has(&die, DW_AT_external)) ||
                                            tag == DW_TAG_inheritance
                                      : tag == DW_TAG_formal_parameter;
            if (tag == DW_TAG_unspecified_parameters)
                type->is_variadic = true;
            if (are_members && pass == 0 && (tag == DW_TAG_subprogram || tag == DW_TAG_inheritance))
                type->is_by_reference |= has(&die, DW_AT_virtuality) ||
                                         (tag == DW_TAG_subprogram && is_own_copying(types, parent, &die));
            if (wanted && pass == 1 && used < count && !read_member(types, &die, &field[used]))
                return false;
            used += wanted;
            if (!rdf_debug_next(types->debug, &die, &die))
                return false;
        }
        type->is_cut_off |= die.abbrev != NULL;
        count = used;
        if (pass == 0 && !(field = rdf_arena_alloc(types->debug->arena, (count + 1) * sizeof *field)))
            return no_memory(types);
    }
    type->field_count = 0;
    for (size_t i = 0; i < count; i++)
        if (field[i].type)
            field[type->field_count++] = field[i];
    type->field = field;
    return true;
}

static bool is_fortran(const struct unit *unit)
{
    switch (unit->language) {
    case DW_LANG_Fortran77:
    case DW_LANG_Fortran90:
    case DW_LANG_Fortran95:
    case DW_LANG_Fortran03:
    case DW_LANG_Fortran08: return true;
    default: return false;
    }
}

/* Where indices begin that do not say so: DWARF 5, table 7.17. */
static uint64_t first_index(const struct unit *unit)
{
    switch (unit->language) {
    case DW_LANG_Ada83:
    case DW_LANG_Ada95:
    case DW_LANG_Cobol74:
    case DW_LANG_Cobol85:
    case DW_LANG_Pascal83:
    case DW_LANG_Modula2:
    case DW_LANG_PLI: return 1;
    default: return is_fortran(unit);
    }
}

/* How many elements one dimension has; 0: not known. */
static uint64_t elements_of(const struct die *range)
{
    struct value value;
    if (range->abbrev->tag != DW_TAG_subrange_type)
        return 0; /* by the values of an enumeration */
    if (!rdf_debug_attr(range, DW_AT_upper_bound, &value))
        return number_of(range, DW_AT_count, 0);
    if (rdf_debug_attr(range, DW_AT_lower_bound, &value) && !is_constant(&value))
        return 0;
    uint64_t first = number_of(range, DW_AT_lower_bound, first_index(range->unit));
    return number_of(range, DW_AT_upper_bound, first - 1) - first + 1;
}

/* Each dimension is an array of the next one's, as in C: the last varies fastest. */
static bool read_dimensions(struct types *types, const struct die *parent, struct rdf_type *type)
{
    struct die die;
    struct rdf_type *last = type;
    const struct rdf_type *element = type->target;
    bool is_by_column = number_of(parent, DW_AT_ordering, 0) == DW_ORD_col_major;
    size_t count = 0;
    if (!rdf_debug_child(types->debug, parent, &die))
        return false;
    type->size_bytes = 0;
    for (; die.abbrev && count < FIELDS_MAX && ++types->entries < ENTRIES_MAX; count++) {
        uint64_t elements = elements_of(&die);
        if (count) {
            struct rdf_type *row = rdf_arena_alloc(types->debug->arena, sizeof *row);
            if (!row)
                return no_memory(types);
            *row = *type; /* the outermost so far, or a new innermost */
            if (is_by_column) {
                type->target = row;
            } else {
                row->target = element;
                last->target = row;
                last = row;
            }
        }
        (is_by_column ? type : last)->size_bytes = elements;
        if (!rdf_debug_next(types->debug, &die, &die))
            return false;
    }
    return true;
}

static enum rdf_type_kind kind_of(uint32_t tag)
{
    switch (tag) {
    case DW_TAG_base_type: return RDF_TYPE_BASE;
    case DW_TAG_enumeration_type: return RDF_TYPE_ENUM;
    case DW_TAG_unspecified_type: /* std::nullptr_t */
    case DW_TAG_pointer_type: return RDF_TYPE_POINTER;
    case DW_TAG_reference_type: return RDF_TYPE_REFERENCE;
    case DW_TAG_rvalue_reference_type: return RDF_TYPE_RVALUE_REFERENCE;
    case DW_TAG_ptr_to_member_type: return RDF_TYPE_MEMBER_POINTER;
    case DW_TAG_class_type:
    case DW_TAG_structure_type: return RDF_TYPE_STRUCT;
    case DW_TAG_union_type: return RDF_TYPE_UNION;
    case DW_TAG_array_type: return RDF_TYPE_ARRAY;
    case DW_TAG_subprogram:
    case DW_TAG_subroutine_type: return RDF_TYPE_FUNCTION;
    default: return RDF_TYPE_OPAQUE;
    }
}

/* Make of a record what its entry says. */
static bool fill(struct types *types, const struct die *die, struct rdf_type *type)
{
    const char *name = name_of(die);
    type->name = name ? name : type->name;
    type->kind = has(die, DW_AT_declaration) ? RDF_TYPE_OPAQUE : kind_of(die->abbrev->tag);
    type->debug = type->kind == RDF_TYPE_OPAQUE && type->name ? types->debug : NULL;
    type->is_by_reference = number_of(die, DW_AT_calling_convention, 0) == DW_CC_PASS_BY_REFERENCE;
    type->size_bytes = number_of(die, DW_AT_byte_size, 0);
    type->encoding = (uint8_t)number_of(die, DW_AT_encoding, 0);
    switch (type->kind) {
    case RDF_TYPE_STRUCT:
    case RDF_TYPE_UNION: return read_fields(types, die, type, true);
    case RDF_TYPE_ARRAY:
        type->target = type_of(types, die);
        return (type->target || no_memory(types)) && read_dimensions(types, die, type);
    case RDF_TYPE_FUNCTION:
        type->target = type_of(types, die);
        return (type->target || no_memory(types)) && read_fields(types, die, type, false);
    case RDF_TYPE_POINTER:
    case RDF_TYPE_REFERENCE:
    case RDF_TYPE_RVALUE_REFERENCE:
    case RDF_TYPE_MEMBER_POINTER:
        if (!type->size_bytes)
            type->size_bytes = die->unit->address_bytes;
        type->target = type_of(types, die);
        return type->target || no_memory(types);
    default: return true;
    }
}

static bool fill_all(struct types *types)
{
    for (; types->done < types->count; types->done++) {
        const struct waiting *waiting = &types->slot[types->queue[types->done]];
        if (!fill(types, &waiting->die, waiting->type))
            return false;
    }
    return true;
}

/* ---- The function ---- */

static bool fill_function(struct types *types, struct die die, struct rdf_type *type)
{
    struct die declaration;
    bool has_result = false;
    for (int step = 0; step < STEPS_MAX; step++) {
        struct rdf_type part = {0};
        if (!read_fields(types, &die, &part, false))
            return false;
        if (!type->field_count) {
            type->field = part.field;
            type->field_count = part.field_count;
        }
        type->is_variadic |= part.is_variadic;
        type->is_noreturn |= has(&die, DW_AT_noreturn);
        type->is_nocall |= number_of(&die, DW_AT_calling_convention, 0) == DW_CC_NOCALL;
        if (!type->name)
            type->name = name_of(&die);
        if (!has_result && has(&die, DW_AT_type)) {
            has_result = true;
            type->target = type_of(types, &die);
        }
        if (!type->target)
            return no_memory(types);
        if (!rdf_debug_follow(types->debug, &die, DW_AT_specification, &declaration))
            break;
        die = declaration;
    }
    type->passes_addresses = is_fortran(die.unit);
    type->is_method = !type->passes_addresses && type->field_count && type->field[0].is_artificial;
    return true;
}

static bool begin(struct types *types, struct rdf_debug *debug)
{
    *types = (struct types){.debug = debug};
    types->slot = rdf_arena_alloc(debug->arena, SLOTS * sizeof *types->slot);
    types->queue = rdf_arena_alloc(debug->arena, TYPES_MAX * sizeof *types->queue);
    types->cut_off = rdf_arena_alloc(debug->arena, sizeof *types->cut_off);
    types->nothing = rdf_arena_alloc(debug->arena, sizeof *types->nothing);
    if (!types->slot || !types->queue || !types->cut_off || !types->nothing)
        return no_memory(types);
    *types->cut_off = (struct rdf_type){.kind = RDF_TYPE_OPAQUE, .is_cut_off = true};
    *types->nothing = (struct rdf_type){.kind = RDF_TYPE_VOID, .name = "void"};
    return true;
}

bool rdf_debug_find_die(struct rdf_debug *debug, const struct rdf_debug_function *function, uint64_t off,
                        struct die *ret)
{
    bool is_shared = off == function->die_off && function->flags & RDF_DEBUG_SHARED;
    struct debug_file *file = is_shared ? debug->main->alt : debug->main;
    struct unit *unit = NULL;
    if (function->flags & RDF_DEBUG_SPLIT) {
        for (size_t i = 0; !unit && i < debug->main->info_count; i++)
            if (debug->main->unit[i].off == function->unit_off)
                unit = &debug->main->unit[i];
        if (unit && rdf_debug_open_unit(debug, unit))
            unit = rdf_debug_split_of(debug, unit);
    } else if (file) {
        unit = rdf_debug_unit_at(file, off);
    }
    /* An index from a file may be older than what it was made from. */
    if (!unit || off < unit->die || off >= unit->end)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                        "the debug data of %s is not what its index was made from", debug->object_path),
               false;
    return rdf_debug_open_unit(debug, unit) && rdf_debug_die_at(debug, unit, off, ret);
}

static bool read_all(struct rdf_debug *debug, const struct rdf_debug_function *function,
                     struct rdf_type *type)
{
    struct types types;
    struct die die;
    if (!begin(&types, debug) || !rdf_debug_find_die(debug, function, function->die_off, &die))
        return false;
    if (!die.abbrev || die.abbrev->tag != DW_TAG_subprogram)
        return rdf_debug_damaged(debug, die.unit, die.off, "this was to be a function");
    type->target = types.nothing;
    return fill_function(&types, die, type) && fill_all(&types);
}

redefine_status rdf_debug_type(struct rdf_debug *debug, const struct rdf_debug_function *function,
                               const struct rdf_type **ret, struct rdf_error *err)
{
    struct rdf_error why = {0};
    struct rdf_type *type = rdf_arena_alloc(debug->arena, sizeof *type);
    if (!type)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the types of a function");
    *type = (struct rdf_type){.kind = RDF_TYPE_FUNCTION};
    debug->err = &why;
    debug->work = WORK_MAX;
    bool done = read_all(debug, function, type);
    debug->err = NULL;
    if (!done)
        return rdf_fail(err, why.status ? why.status : REDEFINE_EUNSUPPORTED, "%s", why.sentence);
    *ret = type;
    return REDEFINE_OK;
}

/* ---- Definitions in other units ---- */

enum { NAMESPACES_MAX = 16 };

struct search {
    struct rdf_debug *debug;
    const char *name;
    struct die found; /* abbrev null: not yet */
    uint64_t size_bytes;
    bool is_ambiguous;
};

static bool is_definition(const struct die *die)
{
    uint32_t tag = die->abbrev->tag;
    return (tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type) &&
           !has(die, DW_AT_declaration);
}

/* The children of a unit's own entry, and of namespaces in it. */
static bool search_in(struct search *search, const struct die *parent, unsigned depth)
{
    struct die die;
    if (!rdf_debug_child(search->debug, parent, &die))
        return false;
    while (die.abbrev) {
        if (die.abbrev->tag == DW_TAG_namespace && depth < NAMESPACES_MAX &&
            !search_in(search, &die, depth + 1))
            return false;
        const char *name = is_definition(&die) ? name_of(&die) : NULL;
        if (name && rdf_debug_same(name, search->name)) {
            uint64_t size_bytes = number_of(&die, DW_AT_byte_size, 0);
            search->is_ambiguous |= search->found.abbrev && search->size_bytes != size_bytes;
            search->found = die;
            search->size_bytes = size_bytes;
        }
        if (!rdf_debug_next(search->debug, &die, &die))
            return false;
    }
    return true;
}

static bool search_all(struct search *search)
{
    struct debug_file *file = search->debug->main;
    for (size_t i = 0; i < file->unit_count && !search->is_ambiguous; i++) {
        struct unit *unit = &file->unit[i];
        struct die die;
        rdf_progress("units searched for a type", i, file->unit_count);
        if (!rdf_debug_open_unit(search->debug, unit))
            return false;
        if (unit->dwo_name)
            unit = rdf_debug_split_of(search->debug, unit);
        if (!unit || !rdf_debug_die_at(search->debug, unit, unit->die, &die) ||
            (die.abbrev && !search_in(search, &die, 0)))
            return false;
    }
    return search->found.abbrev && !search->is_ambiguous;
}

bool rdf_debug_complete(const struct rdf_type *declared, const struct rdf_type **ret)
{
    struct rdf_debug *debug = declared->debug;
    struct rdf_error ignored = {0};
    struct types types;
    if (!debug)
        return false;
    debug->err = &ignored;
    debug->work = WORK_MAX;
    struct search search = {.debug = debug, .name = declared->name};
    bool found = search_all(&search) && begin(&types, debug);
    const struct rdf_type *type = found ? record_of(&types, search.found, declared->name) : NULL;
    found = type && fill_all(&types);
    rdf_progress("units searched for a type", 1, 1);
    debug->err = NULL;
    if (found)
        *ret = type;
    return found;
}
