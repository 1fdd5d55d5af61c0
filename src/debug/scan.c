/* SPDX-License-Identifier: MIT
 *
 * Every entry once: which function begins where, and where each was inlined.
 *
 * An inlined copy names its function's abstract entry; so does the body that was compiled for it, if there is
 * one. Those two, with the function that encloses a copy, are all that is kept. Bodies that the linker
 * dropped have an address that is none (0, or the largest ones): their copies do not exist either.
 */
#include "base/progress.h"
#include "debug/dwarf.h"
#include "debug/gather.h"

enum {
    LEVELS_MAX = 1024,
    STEPS_MAX = 8, /* from a copy to its abstract entry, from there to a declaration */
};

/* What encloses an entry: NO_FUNCTION where no code of a function is. */
struct level {
    uint32_t function, via;
    uint32_t scope; /* text: the namespaces, "a::b" */
    bool is_local;  /* in a subprogram, with code or not */
};

/* An entry's attributes, as far as they matter here. */
struct found {
    struct value origin, specification, ranges, low, entry, name, linkage;
    uint64_t decl_file, decl_line, call_file, call_line;
    bool is_declaration, is_abstract, is_external, is_noreturn, is_nocall;
};

static void take(struct found *found, uint16_t name, const struct value *value)
{
    switch (name) {
    case DW_AT_abstract_origin: found->origin = *value; break;
    case DW_AT_specification: found->specification = *value; break;
    case DW_AT_ranges: found->ranges = *value; break;
    case DW_AT_low_pc: found->low = *value; break;
    case DW_AT_entry_pc: found->entry = *value; break;
    case DW_AT_name: found->name = *value; break;
    case DW_AT_MIPS_linkage_name:
    case DW_AT_linkage_name: found->linkage = *value; break;
    case DW_AT_decl_file: found->decl_file = value->number; break;
    case DW_AT_decl_line: found->decl_line = value->number; break;
    case DW_AT_call_file: found->call_file = value->number; break;
    case DW_AT_call_line: found->call_line = value->number; break;
    case DW_AT_declaration: found->is_declaration = value->number != 0; break;
    case DW_AT_inline: found->is_abstract = value->number == 1 || value->number == 3; break;
    case DW_AT_external: found->is_external = value->number != 0; break;
    case DW_AT_calling_convention: found->is_nocall = value->number == DW_CC_NOCALL; break;
    case DW_AT_noreturn: found->is_noreturn = value->number != 0; break;
    default: break;
    }
}

static bool read_found(struct gather *gather, const struct die *die, struct found *ret, uint64_t *ret_off)
{
    /* Version 5 counts files from 0. */
    *ret = (struct found){.decl_file = UINT64_MAX, .call_file = UINT64_MAX};
    uint64_t off = die->attrs_off;
    for (size_t i = 0; i < die->abbrev->attr_count; i++) {
        const struct attr *attr = &die->unit->abbrevs->attr[die->abbrev->first_attr + i];
        struct value value;
        if (!rdf_debug_read_value(die->unit, attr, &off, &value))
            return rdf_debug_damaged(gather->debug, die->unit, off, "an attribute cannot be read");
        take(ret, attr->name, &value);
    }
    *ret_off = off;
    return true;
}

/* ---- Functions ---- */

static void place(const struct gather *gather, const struct die *die, struct rdf_debug_function *function)
{
    const struct debug_file *file = die->unit->file;
    const struct unit *skeleton = die->unit->skeleton;
    function->die_off = die->off;
    function->unit_off = skeleton ? skeleton->off : die->unit->off;
    if (skeleton)
        function->flags |= RDF_DEBUG_SPLIT;
    else if (file == gather->debug->main->alt)
        function->flags |= RDF_DEBUG_SHARED;
}

/* A new record. A definition outside of its class or namespace says little: the declaration says the rest. */
static bool describe(struct gather *gather, const struct die definition, struct found found, uint32_t *ret)
{
    const char *linkage = NULL, *plain = NULL, *file = NULL;
    struct rdf_debug_function function = {0};
    struct die die = definition;
    uint64_t off;
    for (int step = 0; step < STEPS_MAX; step++) {
        linkage = linkage || !found.linkage.form ? linkage : rdf_debug_string(die.unit, &found.linkage);
        plain = plain || !found.name.form ? plain : rdf_debug_string(die.unit, &found.name);
        file = file ? file : rdf_debug_source(gather->debug, die.unit, found.decl_file);
        if (!function.decl_line)
            function.decl_line = (uint32_t)found.decl_line;
        function.flags |= (found.is_external ? RDF_DEBUG_EXTERNAL : 0) |
                          (found.is_noreturn ? RDF_DEBUG_NORETURN : 0) |
                          (found.is_nocall ? RDF_DEBUG_NOCALL : 0);
        if (!found.specification.form)
            break;
        if (!rdf_debug_refer(gather->debug, die.unit, &found.specification, &die))
            return false;
        if (!die.abbrev)
            return rdf_debug_damaged(gather->debug, die.unit, die.off, "a declaration's entry is none");
        if (!read_found(gather, &die, &found, &off))
            return false;
    }
    place(gather, &definition, &function);
    if (!rdf_gather_text(gather, linkage ? linkage : plain, &function.name) ||
        !rdf_gather_text(gather, plain ? plain : linkage, &function.plain) ||
        !rdf_gather_text(gather, file, &function.decl_file))
        return false;
    struct rdf_debug_function *record = rdf_gather_function(gather, &definition, linkage ? NULL : &die, ret);
    if (record)
        *record = function;
    return record != NULL;
}

/* The record of the function that `die` describes, or of the one that it is a copy of. */
static bool function_of(struct gather *gather, struct die die, uint32_t *ret)
{
    struct found found;
    uint64_t off;
    for (int step = 0; step < STEPS_MAX; step++) {
        if (!die.abbrev)
            return rdf_debug_damaged(gather->debug, die.unit, die.off, "a function's entry is none");
        uint32_t *slot = rdf_gather_slot(gather, &die);
        if (!slot)
            return false;
        if (*slot != NO_FUNCTION) {
            *ret = *slot;
            return true;
        }
        if (!read_found(gather, &die, &found, &off))
            return false;
        if (!found.origin.form)
            break;
        if (!rdf_debug_refer(gather->debug, die.unit, &found.origin, &die))
            return false;
    }
    return describe(gather, die, found, ret);
}

/* ---- Places ---- */

static bool is_real(const struct unit *unit, uint64_t addr)
{
    uint64_t largest = unit->address_bytes == 8 ? UINT64_MAX : UINT32_MAX;
    return addr != 0 && addr < largest - 1;
}

/* Where the code of an entry begins; 0: it has none, or the linker dropped it. */
static uint64_t start_of(const struct unit *unit, const struct found *found)
{
    uint64_t low = 0, entry = 0;
    bool has_low = found->low.form && rdf_debug_address(unit, &found->low, &low);
    if (!has_low && found->ranges.form)
        has_low = rdf_debug_first_range(unit, &found->ranges, &low);
    if (found->entry.form) {
        if (rdf_debug_address(unit, &found->entry, &entry))
            return is_real(unit, entry) ? entry : 0;
        if (has_low) /* in version 5 it may be a distance */
            low += found->entry.number;
    }
    return has_low && is_real(unit, low) ? low : 0;
}

/* What the function of an entry is called, and whether all units know it by that name. */
static bool name_of(struct gather *gather, struct die die, struct found found, const char **ret_name,
                    bool *ret_is_external)
{
    const char *linkage = NULL, *plain = NULL;
    *ret_is_external = false;
    for (int step = 0; step < STEPS_MAX; step++) {
        uint64_t off;
        linkage = linkage || !found.linkage.form ? linkage : rdf_debug_string(die.unit, &found.linkage);
        plain = plain || !found.name.form ? plain : rdf_debug_string(die.unit, &found.name);
        *ret_is_external |= found.is_external;
        const struct value *next = found.origin.form ? &found.origin : &found.specification;
        if (linkage || !next->form)
            break;
        if (!rdf_debug_refer(gather->debug, die.unit, next, &die))
            return false;
        if (!die.abbrev)
            return rdf_debug_damaged(gather->debug, die.unit, die.off, "a function's entry is none");
        if (!read_found(gather, &die, &found, &off))
            return false;
    }
    *ret_name = linkage ? linkage : plain;
    return true;
}

/* A definition without code: what it is called, so that it can be told from a mere other name of a place. */
static bool note_absent(struct gather *gather, const struct die *die, const struct found *found)
{
    const char *name;
    bool unused;
    return name_of(gather, *die, *found, &name, &unused) && rdf_gather_absent(gather, name);
}

static bool note_body(struct gather *gather, const struct die *die, const struct found *found,
                      struct level *level)
{
    uint64_t addr = start_of(die->unit, found);
    level->function = level->via = NO_FUNCTION;
    if (found->is_abstract)
        return rdf_gather_abstract(gather, die);
    if (found->is_declaration)
        return true;
    if (!addr)
        return note_absent(gather, die, found);
    uint32_t function;
    if (!function_of(gather, *die, &function))
        return false;
    gather->function[function].flags |= RDF_DEBUG_HAS_BODY;
    level->function = level->via = function;
    return rdf_gather_entry(gather, addr, function, die->off);
}

/* Static functions of C++ have no mangled name: theirs is put together from this. */
static bool note_scope(struct gather *gather, const struct die *die, const struct found *found,
                       uint32_t scope)
{
    bool is_own = !found->origin.form && !found->specification.form && !found->linkage.form;
    return !scope || !is_own || rdf_gather_scope(gather, die, scope);
}

static bool note_copy(struct gather *gather, const struct die *die, const struct found *found,
                      struct level *level)
{
    struct die origin;
    uint32_t function;
    if (!found->origin.form)
        return true;
    if (!rdf_debug_refer(gather->debug, die->unit, &found->origin, &origin))
        return false;
    if (level->function == NO_FUNCTION)
        return rdf_gather_dropped(gather, &origin);
    if (!function_of(gather, origin, &function))
        return false;
    struct rdf_debug_site site = {.addr = start_of(die->unit, found),
                                  .caller = level->function,
                                  .via = level->via,
                                  .line = (uint32_t)found->call_line};
    level->via = function;
    const char *file = rdf_debug_source(gather->debug, die->unit, found->call_file);
    return rdf_gather_text(gather, file, &site.file) && rdf_gather_site(gather, function, &site);
}

/* A copy of which no instruction is left (`return 42;`) has no entry of its own. That there was one is all
 * that is written down: gcc marks the function as inlined. (clang does that of functions with entries of
 * copies.) */
static bool note_folded(struct gather *gather, const struct abstract *abstract)
{
    struct die die;
    struct found found;
    uint64_t off;
    uint32_t function;
    const char *name;
    bool is_external;
    if (!rdf_debug_die_at(gather->debug, abstract->unit, abstract->off, &die) ||
        !read_found(gather, &die, &found, &off) || !name_of(gather, die, found, &name, &is_external))
        return false;
    if (is_external)
        return rdf_gather_folded(gather, name);
    if (!name)
        return true;
    if (!function_of(gather, die, &function))
        return false;
    if (!gather->function[function].site_count)
        gather->function[function].flags |= RDF_DEBUG_FOLDED;
    return true;
}

/* ---- All of them ---- */

/* Types hold no code: bodies of member functions lie outside of their class. (Not of classes that are local
 * to a function, lambdas among them.) */
static bool is_type(uint32_t tag)
{
    switch (tag) {
    case DW_TAG_array_type:
    case DW_TAG_class_type:
    case DW_TAG_enumeration_type:
    case DW_TAG_structure_type:
    case DW_TAG_subroutine_type:
    case DW_TAG_union_type: return true;
    default: return false;
    }
}

/* One entry; *ret_off: where the next one is; *ret_enter: its children come next, inside *level. */
static bool scan_die(struct gather *gather, const struct die *die, struct level *level, uint64_t *ret_off,
                     bool *ret_enter)
{
    struct unit *unit = die->unit;
    struct found found;
    struct value sibling;
    uint32_t tag = die->abbrev->tag;
    *ret_enter = die->abbrev->has_children;
    if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine) {
        if (!read_found(gather, die, &found, ret_off))
            return false;
        level->is_local = true;
        if (tag == DW_TAG_inlined_subroutine)
            return note_copy(gather, die, &found, level);
        return note_scope(gather, die, &found, level->scope) && note_body(gather, die, &found, level);
    }
    if (tag == DW_TAG_namespace && *ret_enter) {
        const char *name = rdf_debug_attr(die, DW_AT_name, &sibling) ? rdf_debug_string(unit, &sibling)
                                                                     : NULL;
        uint32_t text;
        if (!rdf_gather_text(gather, name ? name : "(anonymous namespace)", &text) ||
            !rdf_gather_joined(gather, level->scope, text, &level->scope))
            return false;
    }
    if (*ret_enter && !level->is_local && is_type(tag) && rdf_debug_attr(die, DW_AT_sibling, &sibling)) {
        uint64_t off = unit->off + sibling.number;
        if (sibling.form == DW_FORM_ref_addr || sibling.number >= unit->end || off <= die->off ||
            off >= unit->end)
            return rdf_debug_damaged(gather->debug, unit, die->off, "an entry's sibling lies elsewhere");
        *ret_off = off;
        *ret_enter = false;
        return true;
    }
    return rdf_debug_skip_attrs(die, ret_off) ||
           rdf_debug_damaged(gather->debug, unit, die->off, "an attribute cannot be read");
}

static bool scan_unit(struct gather *gather, struct unit *unit)
{
    struct level level[LEVELS_MAX];
    size_t depth = 0, first_abstract = gather->abstract_count;
    level[0] = (struct level){NO_FUNCTION, NO_FUNCTION, 0, false};
    for (uint64_t off = unit->die; off < unit->end;) {
        struct die die;
        bool enter;
        if (!rdf_debug_die_at(gather->debug, unit, off, &die))
            return false;
        if (!die.abbrev) {
            off = die.attrs_off;
            if (depth > 0)
                depth--; /* else padding */
            continue;
        }
        struct level inside = level[depth];
        if (!scan_die(gather, &die, &inside, &off, &enter))
            return false;
        if (!enter)
            continue;
        if (++depth == LEVELS_MAX)
            return rdf_debug_damaged(gather->debug, unit, off, "its entries are nested too deeply");
        level[depth] = inside;
    }
    rdf_gather_forget_copied(gather, first_abstract);
    return true;
}

static bool scan_all(struct gather *gather)
{
    struct debug_file *file = gather->debug->main;
    for (size_t i = 0; i < file->info_count; i++) {
        struct unit *unit = &file->unit[i];
        rdf_progress("units of debug data read", i, file->info_count);
        if (unit->kind == DW_UT_type)
            continue;
        if (!rdf_debug_open_unit(gather->debug, unit))
            return false;
        if (unit->dwo_name)
            unit = rdf_debug_split_of(gather->debug, unit);
        if (!unit || !scan_unit(gather, unit))
            return false;
    }
    rdf_gather_forget_copied(gather, 0);
    for (size_t i = 0; i < gather->abstract_count; i++)
        if (!note_folded(gather, &gather->abstract[i]))
            return false;
    return true;
}

redefine_status rdf_debug_build_index(struct rdf_debug *debug, const struct rdf_page_source *pages,
                                      struct rdf_span key, struct rdf_debug_index *ret, struct rdf_error *err)
{
    struct rdf_error why = {0};
    struct rdf_arena arena;
    struct gather gather;
    debug->err = &why;
    debug->work = WORK_MAX;
    rdf_arena_init(&arena, pages);
    bool done = rdf_gather_begin(&gather, debug, &arena) && scan_all(&gather) &&
                rdf_gather_end(&gather, pages, key, ret);
    rdf_arena_free(&arena);
    debug->err = NULL;
    rdf_progress("debug data read", 1, 1);
    if (done)
        return REDEFINE_OK;
    return rdf_fail(err, why.status ? why.status : REDEFINE_EUNSUPPORTED, "%s", why.sentence);
}
