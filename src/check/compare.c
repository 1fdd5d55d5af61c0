/* SPDX-License-Identifier: MIT
 *
 * Two functions' types, one to stand in for the other. What counts is what the machine sees: how many
 * parameters, of which size and class, and where each field lies of what pointers lead to. Names do not
 * count.
 */
#include "check/compare.h"

#include "check/array.h"
#include "check/text.h"

#include <stdio.h>

enum {
    LEAVES_MAX = 4096,
    PAIRS_MAX = 1024,
    DEPTH_MAX = 64,
    COMPLETED_MAX = 16, /* each is a search */
    FUNCTIONS_MAX = 8,  /* functions that take functions that take … */
    NAME_BYTES = 200,
    PASSED_BYTES = NAME_BYTES + 100,
    FUNCTION_NAME_BYTES = 60, /* of a parameter's type in a function's */
    ROWS_TEXT_BYTES = 64,
    FIELD_BYTES = 320,
    TABLE_LINES = 24, /* of the fields side by side */
};

/* A field that is no structure itself, with its place in the outermost one. */
struct leaf {
    uint64_t bit_off, bits;
    const struct rdf_type *type;  /* of an array: of its elements */
    const struct rdf_type *whole; /* the array */
    uint64_t count;
    const char *name;
};

struct leaves {
    struct leaf *leaf;
    size_t count;
    bool is_cut_off;
};

struct pair {
    const struct rdf_type *target, *replacement;
};

struct compare {
    struct rdf_arena *arena;
    struct rdf_report *report;
    struct rdf_error *err;
    struct pair *pair; /* structures that are to be compared, or have been */
    size_t pair_count;
    struct pair completed[COMPLETED_MAX]; /* a type that is only declared, and its definition or itself */
    size_t completed_count;
    unsigned functions;                          /* that are being compared */
    struct leaf *target_leaf, *replacement_leaf; /* LEAVES_MAX each, used again and again */
    bool out_of_memory;
};

/* ---- Texts ---- */

static const char *class_word(const struct rdf_type *type)
{
    switch (type->kind) {
    case RDF_TYPE_STRUCT: return "struct ";
    case RDF_TYPE_UNION: return "union ";
    case RDF_TYPE_ENUM: return "enum ";
    default: return "";
    }
}

/* Without what a function behind it takes. */
static void simple_text(const struct rdf_type *type, char *ret, size_t bytes)
{
    static const char *const stars[] = {"", "*", "**", "***"};
    char rows[ROWS_TEXT_BYTES] = "";
    const char *end = "";
    size_t before = 0, behind = 0; /* pointers to an array, and those in it */
    for (int step = 0; step < 8; step++) {
        size_t *depth = *rows ? &behind : &before;
        if (type->kind == RDF_TYPE_POINTER && type->target && *depth < 3)
            ++*depth;
        else if (type->kind == RDF_TYPE_REFERENCE && type->target)
            end = "&";
        else if (type->kind == RDF_TYPE_RVALUE_REFERENCE && type->target)
            end = "&&";
        else if (type->kind == RDF_TYPE_ARRAY && type->target && !*rows)
            rdf_array_text(type, rows, sizeof rows);
        else if (type->kind == RDF_TYPE_MEMBER_POINTER && type->target)
            end = "(of a class) *";
        else if (type->kind != RDF_TYPE_ARRAY || !type->target)
            break;
        type = type->target;
    }
    const char *name = type->name                        ? type->name
                       : type->kind == RDF_TYPE_FUNCTION ? "function"
                       : type->kind == RDF_TYPE_VOID     ? "void"
                                                         : "(unnamed)";
    const char *word = type->name ? class_word(type) : "";
    if (!*rows)
        (void)snprintf(ret, bytes, "%s%.80s%s%s%s%s", word, name, before ? " " : "", stars[before],
                       *end ? " " : "", end);
    else
        (void)snprintf(ret, bytes, "%s%.80s %s%s%s%s%s%s", word, name, stars[behind],
                       before || *end ? "(" : "", stars[before], end, before || *end ? ")" : "", rows);
}

static void function_text(const struct rdf_type *type, const char *stars, char *ret, size_t bytes)
{
    char result[FUNCTION_NAME_BYTES], parameter[FUNCTION_NAME_BYTES];
    simple_text(type->target, result, sizeof result);
    int used = snprintf(ret, bytes, "%s (%s)(", result, stars);
    for (size_t i = 0; used > 0 && (size_t)used < bytes && i < type->field_count; i++) {
        simple_text(type->field[i].type, parameter, sizeof parameter);
        used += snprintf(ret + used, bytes - (size_t)used, "%s%s", i ? ", " : "", parameter);
    }
    if (used > 0 && (size_t)used < bytes)
        (void)snprintf(ret + used, bytes - (size_t)used, "%s)",
                       type->is_variadic && type->field_count ? ", ..." : "");
}

static void type_text(const struct rdf_type *type, char *ret, size_t bytes)
{
    const char *stars = "*";
    const struct rdf_type *to = type;
    if (to->kind == RDF_TYPE_POINTER && to->target && to->target->kind == RDF_TYPE_POINTER) {
        stars = "**";
        to = to->target;
    }
    if (to->kind == RDF_TYPE_POINTER && to->target && to->target->kind == RDF_TYPE_FUNCTION)
        function_text(to->target, stars, ret, bytes);
    else
        simple_text(type, ret, bytes);
}

static void leaf_text(const struct leaf *leaf, char *ret, size_t bytes)
{
    char type[NAME_BYTES], rows[ROWS_TEXT_BYTES];
    type_text(leaf->type, type, sizeof type);
    rdf_array_text(leaf->whole, rows, sizeof rows);
    (void)snprintf(ret, bytes, "%s %.40s%s", type, leaf->name ? leaf->name : "", rows);
}

static void add(struct compare *compare, enum rdf_hazard_kind kind, enum rdf_severity severity,
                const char *text)
{
    struct rdf_hazard hazard = {.kind = kind, .severity = severity};
    size_t len = 0;
    while (text[len])
        len++;
    hazard.detail = rdf_arena_copy(compare->arena, text, len);
    if (!hazard.detail ||
        rdf_check_add(compare->report, compare->arena, &hazard, compare->err) != REDEFINE_OK)
        compare->out_of_memory = true;
}

/* ---- Classes ---- */

static bool is_pointer(const struct rdf_type *type)
{
    return type->kind == RDF_TYPE_POINTER || type->kind == RDF_TYPE_REFERENCE ||
           type->kind == RDF_TYPE_RVALUE_REFERENCE;
}

static bool is_integer(const struct rdf_type *type)
{
    enum { ATE_complex = 3, ATE_float = 4, ATE_imaginary = 9, ATE_decimal = 15 };
    return type->kind == RDF_TYPE_ENUM ||
           (type->kind == RDF_TYPE_BASE && type->encoding != ATE_complex && type->encoding != ATE_float &&
            type->encoding != ATE_imaginary && type->encoding != ATE_decimal);
}

bool rdf_type_is_signed(const struct rdf_type *type)
{
    enum { ATE_signed = 5, ATE_signed_char = 6 };
    return type->encoding == ATE_signed || type->encoding == ATE_signed_char;
}

static bool is_composite(const struct rdf_type *type)
{
    return type->kind == RDF_TYPE_STRUCT || type->kind == RDF_TYPE_UNION;
}

static void want(struct compare *compare, const struct rdf_type *target, const struct rdf_type *replacement)
{
    for (size_t i = 0; i < compare->pair_count; i++)
        if (compare->pair[i].target == target && compare->pair[i].replacement == replacement)
            return;
    if (compare->pair_count < PAIRS_MAX)
        compare->pair[compare->pair_count++] = (struct pair){target, replacement};
}

/* A type that only its name is known of here, as another unit defines it; where that does not help, itself.
 */
static const struct rdf_type *completed(struct compare *compare, const struct rdf_type *type)
{
    const struct rdf_type *whole = type;
    for (size_t i = 0; i < compare->completed_count; i++)
        if (compare->completed[i].target == type)
            return compare->completed[i].replacement;
    if (compare->completed_count == COMPLETED_MAX)
        return type;
    if (!rdf_debug_complete(type, &whole))
        whole = type;
    compare->completed[compare->completed_count++] = (struct pair){type, whole};
    return whole;
}

/* Both may be only declared: then they are as equal as their users know. */
static void complete(struct compare *compare, const struct rdf_type **target,
                     const struct rdf_type **replacement)
{
    if ((*target)->kind == RDF_TYPE_OPAQUE && is_composite(*replacement))
        *target = completed(compare, *target);
    else if ((*replacement)->kind == RDF_TYPE_OPAQUE && is_composite(*target))
        *replacement = completed(compare, *replacement);
}

static bool fits(struct compare *compare, const struct rdf_type *target, const struct rdf_type *replacement);

/* What is called through a pointer. Who says "()" in C promises nothing. */
static bool functions_fit(struct compare *compare, const struct rdf_type *target,
                          const struct rdf_type *replacement)
{
    bool is_vague = (target->is_variadic && !target->field_count) ||
                    (replacement->is_variadic && !replacement->field_count);
    if (is_vague || target == replacement || compare->functions == FUNCTIONS_MAX)
        return true;
    if (target->field_count != replacement->field_count || target->is_variadic != replacement->is_variadic)
        return false;
    compare->functions++;
    bool fit = target->target->kind == RDF_TYPE_VOID || replacement->target->kind == RDF_TYPE_VOID
                   ? target->target->kind == replacement->target->kind
                   : fits(compare, target->target, replacement->target);
    for (size_t i = 0; fit && i < target->field_count; i++)
        fit = fits(compare, target->field[i].type, replacement->field[i].type);
    compare->functions--;
    return fit;
}

static bool is_bytes(const struct rdf_type *type)
{
    return type->kind == RDF_TYPE_VOID || type->kind == RDF_TYPE_OPAQUE ||
           (is_integer(type) && type->size_bytes == 1);
}

/* What a pointer leads to, through pointers to pointers: structures are compared in their turn. */
static bool targets_fit(struct compare *compare, const struct rdf_type *target,
                        const struct rdf_type *replacement)
{
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        if (!rdf_array_fits(target, replacement))
            return false;
        target = rdf_array_element(target, NULL);
        replacement = rdf_array_element(replacement, NULL);
        if (!is_pointer(target) || !is_pointer(replacement) || !target->target || !replacement->target)
            break;
        target = target->target;
        replacement = replacement->target;
    }
    complete(compare, &target, &replacement);
    /* Bytes may be anything; a number is read as it was written. */
    if (is_bytes(target) || is_bytes(replacement))
        return true;
    if (is_composite(target) && is_composite(replacement)) {
        want(compare, target, replacement);
        return true;
    }
    if (target->kind == RDF_TYPE_FUNCTION && replacement->kind == RDF_TYPE_FUNCTION)
        return functions_fit(compare, target, replacement);
    if (target->kind == RDF_TYPE_BASE && replacement->kind == RDF_TYPE_BASE)
        return target->size_bytes == replacement->size_bytes && is_integer(target) == is_integer(replacement);
    /* A structure may be given by its first field, and a handle by a number; only not by one of another size.
     */
    return !target->size_bytes || !replacement->size_bytes || target->size_bytes == replacement->size_bytes;
}

/* Whether a value of one type is passed and read as one of the other. */
static bool fits(struct compare *compare, const struct rdf_type *target, const struct rdf_type *replacement)
{
    complete(compare, &target, &replacement);
    if (target->kind == RDF_TYPE_OPAQUE || replacement->kind == RDF_TYPE_OPAQUE)
        return true;
    if (is_pointer(target) && is_pointer(replacement))
        return targets_fit(compare, target->target, replacement->target);
    if (is_integer(target) && is_integer(replacement))
        return target->size_bytes == replacement->size_bytes;
    if (is_composite(target) && is_composite(replacement)) {
        want(compare, target, replacement);
        return true;
    }
    if (target->kind == RDF_TYPE_ARRAY && replacement->kind == RDF_TYPE_ARRAY) /* a vector */
        return target->size_bytes == replacement->size_bytes &&
               fits(compare, target->target, replacement->target);
    return target->kind == replacement->kind && target->size_bytes == replacement->size_bytes &&
           target->encoding == replacement->encoding;
}

/* Also for the sake of a base or a member; *budget: of fields that are still looked at. */
static bool has_own_copying(const struct rdf_type *type, unsigned *budget)
{
    type = rdf_array_element(type, NULL);
    bool found = type->is_by_reference;
    for (size_t i = 0; !found && is_composite(type) && i < type->field_count && *budget; i++) {
        --*budget;
        found = has_own_copying(type->field[i].type, budget);
    }
    return found;
}

static bool is_by_reference(const struct rdf_type *type)
{
    unsigned budget = 8 * DEPTH_MAX;
    return has_own_copying(type, &budget);
}

/* As a parameter or a result: where a structure is put depends on its size, and on whether it can be copied
 * byte by byte. */
static bool is_passed_alike(struct compare *compare, const struct rdf_type *target,
                            const struct rdf_type *replacement)
{
    if (!fits(compare, target, replacement))
        return false;
    return !is_composite(target) || !is_composite(replacement) ||
           (target->size_bytes == replacement->size_bytes &&
            is_by_reference(target) == is_by_reference(replacement));
}

/* ---- Layouts ---- */

static void flatten(struct leaves *leaves, const struct rdf_type *type, uint64_t bit_off, unsigned depth)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct rdf_field *field = &type->field[i];
        const struct rdf_type *of = field->type;
        uint64_t count;
        if (of->kind == RDF_TYPE_STRUCT && depth < DEPTH_MAX) {
            flatten(leaves, of, bit_off + field->bit_off, depth + 1);
            continue;
        }
        if (leaves->count == LEAVES_MAX) {
            leaves->is_cut_off = true;
            return;
        }
        of = rdf_array_element(of, &count);
        leaves->leaf[leaves->count++] = (struct leaf){.bit_off = bit_off + field->bit_off,
                                                      .bits = field->bits ? field->bits : of->size_bytes * 8,
                                                      .type = of,
                                                      .whole = field->type,
                                                      .count = count,
                                                      .name = field->name};
    }
}

static bool same_place(const struct leaf *a, const struct leaf *b)
{
    return a->bit_off == b->bit_off && a->bits == b->bits && a->count == b->count &&
           rdf_array_fits(a->whole, b->whole);
}

static bool leaf_fits(struct compare *compare, const struct leaf *target, const struct leaf *replacement)
{
    return same_place(target, replacement) && fits(compare, target->type, replacement->type);
}

/* A line for each place where a field begins: the target's to the left, the replacement's to the right. */
static void side_by_side(struct compare *compare, struct rdf_text *out, const struct leaves *target,
                         const struct leaves *replacement)
{
    size_t left = 0, right = 0;
    for (int line = 0; left < target->count || right < replacement->count; line++) {
        uint64_t a_at = left < target->count ? target->leaf[left].bit_off : UINT64_MAX;
        uint64_t b_at = right < replacement->count ? replacement->leaf[right].bit_off : UINT64_MAX;
        uint64_t at = a_at < b_at ? a_at : b_at;
        const struct leaf *a = a_at == at ? &target->leaf[left] : NULL;
        const struct leaf *b = b_at == at ? &replacement->leaf[right] : NULL;
        left += a != NULL;
        right += b != NULL;
        if (line == TABLE_LINES) {
            rdf_text_add(out, "\n    …");
            return;
        }
        char a_text[FIELD_BYTES] = "", b_text[FIELD_BYTES] = "";
        if (a)
            leaf_text(a, a_text, sizeof a_text);
        if (b)
            leaf_text(b, b_text, sizeof b_text);
        bool collides = !a || !b || !leaf_fits(compare, a, b);
        rdf_text_add(out, "\n  %c %4llu  %-30s  %s", collides ? '!' : ' ', (unsigned long long)(at / 8),
                     a_text, b_text);
    }
}

static const struct leaf *first_collision(struct compare *compare, const struct leaves *target,
                                          const struct leaves *replacement, bool *ret_all_known)
{
    size_t common = target->count < replacement->count ? target->count : replacement->count;
    *ret_all_known = replacement->count <= target->count;
    for (size_t i = 0; i < common; i++)
        if (!leaf_fits(compare, &target->leaf[i], &replacement->leaf[i])) {
            *ret_all_known = false;
            return &replacement->leaf[i];
        }
    if (replacement->count > common)
        return &replacement->leaf[common];
    return target->count > common ? &target->leaf[common] : NULL;
}

/* Members come in the order of their places, bases perhaps not. */
static void sort_leaves(struct leaves *leaves)
{
    for (size_t i = 1; i < leaves->count; i++)
        for (size_t at = i; at > 0 && leaves->leaf[at].bit_off < leaves->leaf[at - 1].bit_off; at--) {
            struct leaf moved = leaves->leaf[at];
            leaves->leaf[at] = leaves->leaf[at - 1];
            leaves->leaf[at - 1] = moved;
        }
}

static void tell_layouts(struct compare *compare, const struct pair *pair, const struct leaves *left,
                         const struct leaves *right, uint64_t byte_off, bool is_part)
{
    char a[NAME_BYTES], b[NAME_BYTES];
    struct rdf_text text = {.used = 0};
    unsigned long long a_bytes = pair->target->size_bytes, b_bytes = pair->replacement->size_bytes;
    type_text(pair->target, a, sizeof a);
    type_text(pair->replacement, b, sizeof b);
    if (is_part)
        rdf_text_add(
            &text,
            "the replacement's %s (%llu bytes) has only the first fields of the target's %s (%llu bytes): "
            "it must not make or copy one",
            b, b_bytes, a, a_bytes);
    else
        rdf_text_add(
            &text,
            "the target's %s (%llu bytes) and the replacement's %s (%llu bytes) differ from offset %llu "
            "on: build the replacement with the program's own declaration",
            a, a_bytes, b, b_bytes, (unsigned long long)byte_off);
    rdf_text_add(&text, "\n  offset  %-30s  %s", a, b);
    side_by_side(compare, &text, left, right);
    add(compare, RDF_HAZARD_LAYOUT, is_part ? RDF_SEVERITY_WARNING : RDF_SEVERITY_BLOCKER, text.text);
}

static void compare_layouts(struct compare *compare, const struct pair *pair)
{
    const struct rdf_type *target = pair->target, *replacement = pair->replacement;
    struct leaves left = {.leaf = compare->target_leaf}, right = {.leaf = compare->replacement_leaf};
    /* Which member of a union is in use is the program's secret. */
    if ((target->kind == RDF_TYPE_UNION || replacement->kind == RDF_TYPE_UNION) &&
        target->size_bytes == replacement->size_bytes)
        return;
    flatten(&left, target, 0, 0);
    flatten(&right, replacement, 0, 0);
    sort_leaves(&left);
    sort_leaves(&right);
    bool is_part;
    const struct leaf *collision = first_collision(compare, &left, &right, &is_part);
    if (!collision && target->size_bytes == replacement->size_bytes)
        return;
    uint64_t byte_off = collision                                      ? collision->bit_off / 8
                        : target->size_bytes < replacement->size_bytes ? target->size_bytes
                                                                       : replacement->size_bytes;
    tell_layouts(compare, pair, &left, &right, byte_off,
                 is_part && replacement->size_bytes <= target->size_bytes);
}

/* ---- Signatures ---- */

static const char *way_text(const struct rdf_type *type)
{
    return is_by_reference(type) ? ", passed by its address, as it cannot be copied byte by byte" : "";
}

static void passed_text(const struct rdf_type *type, char *ret, size_t bytes)
{
    char name[NAME_BYTES];
    type_text(type, name, sizeof name);
    (void)snprintf(ret, bytes, "%s (%llu bytes%s)", name, (unsigned long long)type->size_bytes,
                   way_text(type));
}

static void begin_parameter(struct rdf_text *text, size_t number, const struct rdf_field *target)
{
    rdf_text_add(text, "parameter %zu%s%s", number, target->name ? ", " : "",
                 target->name ? target->name : "");
}

/* A parameter of Fortran, as its caller passes it: the value is described, and an address is passed. */
static void compare_addressed(struct compare *compare, size_t number, const struct rdf_field *target,
                              const struct rdf_field *replacement)
{
    char a[NAME_BYTES], b[NAME_BYTES];
    struct rdf_text text = {.used = 0};
    bool is_address = is_pointer(replacement->type);
    /* An array whose shape is passed along is described as the array. */
    if (is_address &&
        (target->is_artificial || targets_fit(compare, target->type, replacement->type->target)))
        return;
    type_text(target->type, a, sizeof a);
    type_text(replacement->type, b, sizeof b);
    begin_parameter(&text, number, target);
    rdf_text_add(&text,
                 " is the address of %s in the target, unless it was declared VALUE, and %s in the "
                 "replacement: declare it as a pointer to that",
                 a, b);
    add(compare, RDF_HAZARD_SIGNATURE,
        !is_address && is_passed_alike(compare, target->type, replacement->type) ? RDF_SEVERITY_WARNING
                                                                                 : RDF_SEVERITY_BLOCKER,
        text.text);
}

static void compare_parameter(struct compare *compare, size_t number, const struct rdf_field *target,
                              const struct rdf_field *replacement)
{
    char a[PASSED_BYTES], b[PASSED_BYTES];
    struct rdf_text text = {.used = 0};
    bool fit = is_passed_alike(compare, target->type, replacement->type);
    if (fit && (!is_integer(target->type) || !is_integer(replacement->type) ||
                target->type->kind == RDF_TYPE_ENUM || replacement->type->kind == RDF_TYPE_ENUM ||
                rdf_type_is_signed(target->type) == rdf_type_is_signed(replacement->type)))
        return;
    passed_text(target->type, a, sizeof a);
    passed_text(replacement->type, b, sizeof b);
    begin_parameter(&text, number, target);
    rdf_text_add(&text, " is %s in the target and %s in the replacement: declare it as the target does", a,
                 b);
    add(compare, RDF_HAZARD_SIGNATURE, fit ? RDF_SEVERITY_WARNING : RDF_SEVERITY_BLOCKER, text.text);
}

static void compare_result(struct compare *compare, const struct rdf_type *target,
                           const struct rdf_type *replacement)
{
    char a[PASSED_BYTES], b[PASSED_BYTES];
    struct rdf_text text = {.used = 0};
    /* Who expects nothing does not look. */
    bool is_composite_result = is_composite(target) || is_composite(replacement);
    if (target->kind == RDF_TYPE_VOID && !is_composite_result)
        return;
    if (is_passed_alike(compare, target, replacement))
        return;
    passed_text(target, a, sizeof a);
    passed_text(replacement, b, sizeof b);
    rdf_text_add(&text, "the target returns %s, the replacement %s: return what the target does", a, b);
    add(compare, RDF_HAZARD_SIGNATURE, RDF_SEVERITY_BLOCKER, text.text);
}

static void compare_counts(struct compare *compare, const struct rdf_type *target,
                           const struct rdf_type *replacement)
{
    struct rdf_text text = {.used = 0};
    if (target->field_count != replacement->field_count) {
        bool fewer = replacement->field_count < target->field_count;
        rdf_text_add(&text, "the target takes %zu parameter%s%s, the replacement %zu%s: %s",
                     target->field_count, target->field_count == 1 ? "" : "s",
                     target->is_method && !replacement->is_method ? " ('this' is the first)" : "",
                     replacement->field_count,
                     replacement->is_method && !target->is_method ? " ('this' is the first)" : "",
                     fewer ? "it does not see the last ones; declare them"
                           : "what it finds in the others is left over from something else; declare it as "
                             "the target is");
        add(compare, RDF_HAZARD_SIGNATURE, fewer ? RDF_SEVERITY_WARNING : RDF_SEVERITY_BLOCKER, text.text);
    }
    /* The two are called in different ways, by the ABI of every CPU here or of some. */
    if (target->is_variadic != replacement->is_variadic)
        add(compare, RDF_HAZARD_SIGNATURE, RDF_SEVERITY_BLOCKER,
            target->is_variadic
                ? "the target takes a variable number of arguments (...), the replacement "
                  "does not, and cannot pass them on to the original: declare it with ... and read them by "
                  "va_arg"
                : "the replacement takes a variable number of arguments (...), the target "
                  "does not, and its callers do not say how many registers hold them: declare it without "
                  "them");
    if (target->is_nocall &&
        rdf_check_add(compare->report, compare->arena, &rdf_hazard_nocall, compare->err) != REDEFINE_OK)
        compare->out_of_memory = true;
    if (target->is_noreturn && !replacement->is_noreturn)
        add(compare, RDF_HAZARD_SIGNATURE, RDF_SEVERITY_BLOCKER,
            "the target never returns, so its callers have no code to come back to: declare the replacement "
            "_Noreturn");
}

redefine_status rdf_check_compare(const struct rdf_type *target, const struct rdf_type *replacement,
                                  struct rdf_arena *arena, struct rdf_report *report, struct rdf_error *err)
{
    struct compare compare = {.arena = arena, .report = report, .err = err};
    compare.pair = rdf_arena_alloc(arena, PAIRS_MAX * sizeof *compare.pair);
    compare.target_leaf = rdf_arena_alloc(arena, LEAVES_MAX * sizeof *compare.target_leaf);
    compare.replacement_leaf = rdf_arena_alloc(arena, LEAVES_MAX * sizeof *compare.replacement_leaf);
    if (!compare.pair || !compare.target_leaf || !compare.replacement_leaf)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to compare types");
    compare_counts(&compare, target, replacement);
    compare_result(&compare, target->target, replacement->target);
    for (size_t i = 0; i < target->field_count && i < replacement->field_count; i++)
        if (target->passes_addresses && !replacement->passes_addresses && !is_pointer(target->field[i].type))
            compare_addressed(&compare, i + 1, &target->field[i], &replacement->field[i]);
        else
            compare_parameter(&compare, i + 1, &target->field[i], &replacement->field[i]);
    /* Comparing one pair may name others, which come behind it. */
    for (size_t i = 0; i < compare.pair_count; i++)
        compare_layouts(&compare, &compare.pair[i]);
    return compare.out_of_memory ? rdf_fail(err, REDEFINE_ENOMEM, "no memory to compare types") : REDEFINE_OK;
}
