/* SPDX-License-Identifier: MIT
 *
 * The same by elfutils. It is written for itself, from the DWARF standard and libdw's manual pages, and
 * shares no code with what it is compared with.
 */
#include "dump.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 8, TYPEDEFS_MAX = 64, NAME_BYTES = 512 };

/* What encloses an entry. */
struct inside {
    bool is_code;
    Dwarf_Die function, via; /* abstract ones */
    const char *scope;       /* "a::b", or null */
};

/* ---- Names ---- */

/* Entries of subprograms → the namespaces around them: a declaration may be named before it is come by, so
 * that names are put together in a second pass. */
struct scope {
    const void *at;
    const char *text;
};
static void *scopes;

static int by_place(const void *a, const void *b)
{
    const struct scope *left = a, *right = b;
    return left->at < right->at ? -1 : left->at > right->at;
}

static void note_scope(const Dwarf_Die *die, const char *text)
{
    struct scope *scope = malloc(sizeof *scope);
    *scope = (struct scope){die->addr, text};
    if (*(struct scope **)tsearch(scope, &scopes, by_place) != scope)
        free(scope);
}

static const char *text_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attr;
    return dwarf_formstring(dwarf_attr(die, name, &attr));
}

static bool refer(Dwarf_Die *die, unsigned name, Dwarf_Die *ret)
{
    Dwarf_Attribute attr;
    Dwarf_Die to;
    if (!dwarf_attr(die, name, &attr) || !dwarf_formref_die(&attr, &to))
        return false;
    *ret = to;
    return true;
}

static bool flag_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attr;
    bool flag = false;
    return dwarf_attr(die, name, &attr) && dwarf_formflag(&attr, &flag) == 0 && flag;
}

static uint64_t number_of(Dwarf_Die *die, unsigned name, uint64_t otherwise)
{
    Dwarf_Attribute attr;
    Dwarf_Word number;
    return dwarf_attr(die, name, &attr) && dwarf_formudata(&attr, &number) == 0 ? number : otherwise;
}

static Dwarf_Die abstract_of(Dwarf_Die die)
{
    for (int i = 0; i < STEPS_MAX && refer(&die, DW_AT_abstract_origin, &die); i++)
        ;
    return die;
}

/* Where the compiler of a split unit ran may be in its skeleton alone. */
static const char *skeleton_dir;

/* Of a unit: the folder its compiler ran in is left out of a path. */
static const char *source_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attr;
    Dwarf_Word number;
    Dwarf_Die unit;
    Dwarf_Files *files;
    size_t count;
    if (!dwarf_attr(die, name, &attr) || dwarf_formudata(&attr, &number) != 0 ||
        !dwarf_cu_die(die->cu, &unit, NULL, NULL, NULL, NULL, NULL, NULL) ||
        dwarf_getsrcfiles(&unit, &files, &count) != 0 || number >= count)
        return NULL;
    const char *path = dwarf_filesrc(files, number, NULL, NULL);
    const char *dir = text_of(&unit, DW_AT_comp_dir);
    dir = dir ? dir : skeleton_dir;
    size_t len = dir ? strlen(dir) : 0;
    return path && len && strncmp(path, dir, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

struct names {
    char linkage[NAME_BYTES]; /* … or with its namespaces */
    const char *plain, *file;
    uint64_t line;
    bool is_external, is_noreturn;
};

/* Of an abstract entry and the declarations that it completes. */
static void describe(Dwarf_Die die, struct names *ret)
{
    const char *linkage = NULL;
    *ret = (struct names){.line = 0};
    for (int step = 0; step < STEPS_MAX; step++) {
        if (!linkage && !(linkage = text_of(&die, DW_AT_linkage_name)))
            linkage = text_of(&die, DW_AT_MIPS_linkage_name);
        ret->plain = ret->plain ? ret->plain : text_of(&die, DW_AT_name);
        ret->file = ret->file ? ret->file : source_of(&die, DW_AT_decl_file);
        ret->line = ret->line ? ret->line : number_of(&die, DW_AT_decl_line, 0);
        ret->is_external |= flag_of(&die, DW_AT_external);
        ret->is_noreturn |= flag_of(&die, DW_AT_noreturn);
        if (!refer(&die, DW_AT_specification, &die))
            break;
    }
    struct scope wanted = {die.addr, NULL};
    struct scope **scope = tfind(&wanted, &scopes, by_place);
    const char *around = !linkage && scope ? (*scope)->text : NULL;
    ret->plain = ret->plain ? ret->plain : linkage ? linkage : "";
    ret->file = ret->file ? ret->file : "?";
    (void)snprintf(ret->linkage, sizeof ret->linkage, "%s%s%s", around ? around : "", around ? "::" : "",
                   linkage ? linkage : ret->plain);
}

/* ---- Types ---- */

static bool put(struct type_text *text, Dwarf_Die *from, int levels);

/* By DW_AT_type, past typedefs and qualifiers, up to the definition of a type that has a unit of its own;
 * false: void. */
static bool type_of(Dwarf_Die *from, Dwarf_Die *ret)
{
    Dwarf_Die die = *from;
    for (int step = 0; step < TYPEDEFS_MAX; step++) {
        if (!refer(&die, DW_AT_type, &die))
            return false;
        int tag = dwarf_tag(&die);
        if (tag == DW_TAG_typedef || tag == DW_TAG_const_type || tag == DW_TAG_volatile_type ||
            tag == DW_TAG_restrict_type || tag == DW_TAG_atomic_type)
            continue;
        if (flag_of(&die, DW_AT_declaration))
            (void)refer(&die, DW_AT_signature, &die);
        *ret = die;
        return true;
    }
    return false;
}

/* False: a virtual base, whose place is known at run time only. */
static bool place_of(Dwarf_Die *member, uint64_t *ret_bits)
{
    Dwarf_Attribute attr;
    Dwarf_Op *op;
    size_t ops;
    Dwarf_Word number = 0;
    if (dwarf_attr(member, DW_AT_data_member_location, &attr) && dwarf_formudata(&attr, &number) != 0) {
        if (dwarf_getlocation(&attr, &op, &ops) != 0 || ops != 1 || op->atom != DW_OP_plus_uconst)
            return false;
        number = op->number;
    }
    *ret_bits = number * 8;
    uint64_t bits = number_of(member, DW_AT_bit_size, 0);
    if (dwarf_hasattr(member, DW_AT_data_bit_offset))
        *ret_bits = number_of(member, DW_AT_data_bit_offset, 0);
    else if (bits && dwarf_hasattr(member, DW_AT_bit_offset))
        *ret_bits += number_of(member, DW_AT_byte_size, 4) * 8 - number_of(member, DW_AT_bit_offset, 0) -
                     bits;
    return true;
}

static bool put_fields(struct type_text *text, Dwarf_Die *type, int levels)
{
    Dwarf_Die member;
    uint64_t place;
    for (int more = dwarf_child(type, &member); more == 0; more = dwarf_siblingof(&member, &member)) {
        int tag = dwarf_tag(&member);
        bool is_member = tag == DW_TAG_member && !flag_of(&member, DW_AT_external);
        const char *name = text_of(&member, DW_AT_name);
        if ((!is_member && tag != DW_TAG_inheritance) || !place_of(&member, &place))
            continue;
        if (!type_text_add(text, " %s%s@%llu:%llu=", name ? name : "",
                           flag_of(&member, DW_AT_artificial) ? "!" : "", (unsigned long long)place,
                           (unsigned long long)number_of(&member, DW_AT_bit_size, 0)) ||
            !put(text, &member, levels - 1))
            return false;
    }
    return true;
}

static uint64_t elements_of(Dwarf_Die *array, Dwarf_Die *range)
{
    Dwarf_Die unit;
    Dwarf_Sword first = 0;
    uint64_t end = number_of(range, DW_AT_upper_bound, UINT64_MAX) + 1;
    if (dwarf_tag(range) != DW_TAG_subrange_type)
        return 0;
    (void)dwarf_default_lower_bound(dwarf_srclang(dwarf_diecu(array, &unit, NULL, NULL)), &first);
    if (!end)
        return number_of(range, DW_AT_count, 0);
    return end - number_of(range, DW_AT_lower_bound, (uint64_t)first);
}

static bool put_array(struct type_text *text, Dwarf_Die *array, int levels)
{
    Dwarf_Die range;
    uint64_t rows[TYPE_LEVELS];
    int count = 0;
    for (int more = dwarf_child(array, &range); more == 0; more = dwarf_siblingof(&range, &range))
        if (count < TYPE_LEVELS)
            rows[count++] = elements_of(array, &range);
    if (count == 0)
        rows[count++] = 0;
    bool is_by_column = number_of(array, DW_AT_ordering, DW_ORD_row_major) == DW_ORD_col_major;
    for (int i = 0; i < count; i++, levels--)
        if (levels == 0)
            return type_text_add(text, "~");
        else if (!type_text_add(text, "[%llu]", (unsigned long long)rows[is_by_column ? count - 1 - i : i]))
            return false;
    return put(text, array, levels);
}

static bool put_parameters(struct type_text *text, Dwarf_Die *function, int levels, bool *ret_any,
                           bool *ret_more)
{
    Dwarf_Die parameter;
    for (int more = dwarf_child(function, &parameter); more == 0;
         more = dwarf_siblingof(&parameter, &parameter)) {
        const char *name = text_of(&parameter, DW_AT_name);
        *ret_more |= dwarf_tag(&parameter) == DW_TAG_unspecified_parameters;
        if (dwarf_tag(&parameter) != DW_TAG_formal_parameter)
            continue;
        *ret_any = true;
        if (!type_text_add(text, "%s%s ", name ? name : "",
                           flag_of(&parameter, DW_AT_artificial) ? "!" : "") ||
            !put(text, &parameter, levels - 1) || !type_text_add(text, ", "))
            return false;
    }
    return true;
}

/* Of a definition that names a declaration, whichever says it. */
static bool put_function(struct type_text *text, Dwarf_Die function, int levels)
{
    bool has_parameters = false, is_variadic = false, is_noreturn = false;
    Dwarf_Die result = function, at = function;
    if (!type_text_add(text, "("))
        return false;
    for (int step = 0; step < STEPS_MAX; step++) {
        if (!has_parameters && !put_parameters(text, &at, levels, &has_parameters, &is_variadic))
            return false;
        is_noreturn |= flag_of(&at, DW_AT_noreturn);
        if (!dwarf_hasattr(&result, DW_AT_type))
            result = at;
        if (!refer(&at, DW_AT_specification, &at))
            break;
    }
    return type_text_add(text, "%s)%s", is_variadic ? "..." : "", is_noreturn ? "!" : "") &&
           put(text, &result, levels - 1);
}

static bool put_pointer(struct type_text *text, const char *sign, Dwarf_Die *type, int levels)
{
    uint8_t address_bytes = 8;
    Dwarf_Die unit;
    (void)dwarf_cu_die(type->cu, &unit, NULL, NULL, &address_bytes, NULL, NULL, NULL);
    return type_text_add(text, "%s%llu ", sign,
                         (unsigned long long)number_of(type, DW_AT_byte_size, address_bytes)) &&
           put(text, type, levels - 1);
}

/* The type that `from` has. */
static bool put(struct type_text *text, Dwarf_Die *from, int levels)
{
    Dwarf_Die type;
    if (levels == 0)
        return type_text_add(text, "~");
    if (!type_of(from, &type))
        return type_text_add(text, "void");
    if (flag_of(&type, DW_AT_declaration))
        return type_text_add(text, "opaque");
    unsigned long long size = number_of(&type, DW_AT_byte_size, 0);
    int tag = dwarf_tag(&type);
    switch (tag) {
    case DW_TAG_base_type: {
        const char *name = text_of(&type, DW_AT_name);
        return type_text_add(text, "%s#%llu/%u", name ? name : "", size,
                             (unsigned)number_of(&type, DW_AT_encoding, 0));
    }
    case DW_TAG_enumeration_type: return type_text_add(text, "enum#%llu", size);
    case DW_TAG_unspecified_type:
    case DW_TAG_pointer_type: return put_pointer(text, "*", &type, levels);
    case DW_TAG_reference_type: return put_pointer(text, "&", &type, levels);
    case DW_TAG_rvalue_reference_type: return put_pointer(text, "&&", &type, levels);
    case DW_TAG_ptr_to_member_type: return put_pointer(text, "::*", &type, levels);
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
        return type_text_add(text, "%s#%llu{", tag == DW_TAG_union_type ? "union" : "struct", size) &&
               put_fields(text, &type, levels) && type_text_add(text, "}");
    case DW_TAG_array_type: return put_array(text, &type, levels);
    case DW_TAG_subprogram:
    case DW_TAG_subroutine_type: return put_function(text, type, levels);
    default: return type_text_add(text, "opaque");
    }
}

/* ---- Code ---- */

/* Where it begins; 0: nowhere, or the linker dropped it. */
static uint64_t start_of(Dwarf_Die *die)
{
    Dwarf_Addr start = 0, end, base;
    if (dwarf_entrypc(die, &start) != 0 && dwarf_ranges(die, 0, &base, &start, &end) <= 0)
        return 0;
    return start < UINT64_MAX - 1 ? start : 0;
}

static void put_body(struct dump *dump, Dwarf_Die *die, Dwarf_Die abstract)
{
    static struct type_text text;
    struct names names;
    uint64_t start = start_of(die);
    describe(abstract, &names);
    dump_line(dump, "begins %llx %s, %s, %s:%llu%s%s", (unsigned long long)start, names.linkage, names.plain,
              names.file, (unsigned long long)names.line, names.is_external ? " external" : "",
              names.is_noreturn ? " noreturn" : "");
    if (dump->only_sites)
        return;
    text.used = 0;
    (void)put_function(&text, abstract, TYPE_LEVELS);
    dump_line(dump, "type %llx %s %s", (unsigned long long)start, names.linkage, text.bytes);
}

static void put_copy(struct dump *dump, Dwarf_Die *die, const struct inside *inside, Dwarf_Die abstract)
{
    static struct names names, caller, via;
    const char *file = source_of(die, DW_AT_call_file);
    describe(abstract, &names);
    describe(inside->function, &caller);
    describe(inside->via, &via);
    dump_line(dump, "inlined %s in %s via %s at %llx, %s:%llu", names.linkage, caller.linkage, via.linkage,
              (unsigned long long)start_of(die), file ? file : "?",
              (unsigned long long)number_of(die, DW_AT_call_line, 0));
}

static bool is_body(Dwarf_Die *die)
{
    uint64_t inlining = number_of(die, DW_AT_inline, 0);
    return !flag_of(die, DW_AT_declaration) && inlining != 1 && inlining != 3 && start_of(die);
}

/* Its children, in two passes: without a dump only scopes are noted. */
static void walk(struct dump *dump, Dwarf_Die *parent, const struct inside *around)
{
    Dwarf_Die die;
    for (int more = dwarf_child(parent, &die); more == 0; more = dwarf_siblingof(&die, &die)) {
        struct inside inside = *around;
        switch (dwarf_tag(&die)) {
        case DW_TAG_subprogram:
            if (!dump && inside.scope)
                note_scope(&die, inside.scope);
            inside.is_code = dump && is_body(&die);
            if (inside.is_code) {
                inside.function = inside.via = abstract_of(die);
                put_body(dump, &die, inside.function);
            }
            break;
        case DW_TAG_inlined_subroutine:
            if (inside.is_code) {
                Dwarf_Die abstract = abstract_of(die);
                put_copy(dump, &die, &inside, abstract);
                inside.via = abstract;
            }
            break;
        case DW_TAG_namespace: {
            const char *name = text_of(&die, DW_AT_name);
            char *scope = NULL;
            if (asprintf(&scope, "%s%s%s", around->scope ? around->scope : "", around->scope ? "::" : "",
                         name ? name : "(anonymous namespace)") < 0)
                abort();
            inside.scope = scope; /* kept: scopes refer to it */
            break;
        }
        default: break;
        }
        walk(dump, &die, &inside);
    }
}

static bool each_unit(struct dump *dump, Dwarf *dwarf, struct dump *failed)
{
    Dwarf_CU *unit = NULL;
    Dwarf_Die die, split;
    uint8_t kind;
    static const struct inside nowhere;
    while (dwarf_get_units(dwarf, unit, &unit, NULL, &kind, &die, &split) == 0) {
        if (kind == DW_UT_type || kind == DW_UT_split_type)
            continue;
        if (kind == DW_UT_skeleton && !split.addr) {
            failed->failure = "a split unit is missing";
            return false;
        }
        skeleton_dir = kind == DW_UT_skeleton ? text_of(&die, DW_AT_comp_dir) : NULL;
        walk(dump, kind == DW_UT_skeleton ? &split : &die, &nowhere);
    }
    return true;
}

bool dump_by_libdw(struct dump *dump, const char *path)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address};
    Dwfl *dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *module = dwfl ? dwfl_report_offline(dwfl, "", path, -1) : NULL;
    Dwarf_Addr bias;
    Dwarf *dwarf = module && dwfl_report_end(dwfl, NULL, NULL) == 0 ? dwfl_module_getdwarf(module, &bias)
                                                                    : NULL;
    if (!dwarf)
        dump->failure = dwfl_errmsg(-1);
    /* Namespaces are wanted for what is compared, not for what is measured. */
    bool done = dwarf && (dump->is_silent || each_unit(NULL, dwarf, dump)) && each_unit(dump, dwarf, dump);
    dwfl_end(dwfl);
    return done;
}
