/* SPDX-License-Identifier: MIT
 *
 * Whether memory of one type may be used as if it were of another: what a method does to its receiver when
 * it runs in the place of another type's.
 *
 * Structs and arrays are taken apart into what the machine sees, in two walks side by side. Names do not
 * matter. What pointers lead to does, as deep as it goes: each pair of types is put on a list once, so that a
 * list's next does not go on for ever.
 */
#include "image/elf/go_internal.h"

#include <stdio.h>

enum {
    PAIRS_MAX = 2048,
    DEPTH_MAX = 64,
    LEAVES_SHOWN = 6,
    ARRAY_SHOWN = 1, /* elements of an array that are taken apart: they are all alike */
};

struct pair {
    const struct rdf_go *go_a, *go_b;
    uint64_t a, b;
};

struct walk;

struct compare {
    struct rdf_images *images;
    struct pair *pair; /* all that are to be compared; the first `done` have been */
    size_t pair_count, done;
    struct walk *walk; /* two to compare, two to show */
    struct rdf_error *err;
};

/* One thing that the machine sees: not a struct, not an array of known parts. */
struct leaf {
    uint64_t offset_bytes;
    struct rdf_go_type type;
    const char *field; /* the innermost field's name; "" for none */
};

/* A type taken apart, one leaf after the other. */
struct level {
    struct rdf_go_type type;
    uint64_t base;
    uint64_t next; /* field or element */
    const char *field;
};
struct walk {
    struct compare *compare;
    struct level level[DEPTH_MAX];
    unsigned depth;
};

static const char *name_of(const struct rdf_go_type *type)
{
    return *type->name ? type->name : rdf_go_kind_name(type->kind);
}

static redefine_status type_at(struct compare *compare, const struct rdf_go *go, uint64_t addr,
                               struct rdf_go_type *ret)
{
    return rdf_go_type(compare->images, go, addr, ret, compare->err);
}

static void begin_walk(struct compare *compare, const struct rdf_go_type *type, struct walk *ret)
{
    ret->compare = compare;
    ret->depth = 1;
    ret->level[0] = (struct level){.type = *type, .field = ""};
}

/* The next part of the innermost level; its offset is from the outermost start. */
static redefine_status next_part(struct walk *walk, struct leaf *ret)
{
    struct compare *compare = walk->compare;
    struct level *level = &walk->level[walk->depth - 1];
    struct rdf_go_field field = {.name = level->field, .type = level->type.elem};
    redefine_status status = REDEFINE_OK;
    if (level->type.kind == RDF_GO_STRUCT)
        status = rdf_go_type_field(compare->images, &level->type, (uint32_t)level->next, &field,
                                   compare->err);
    if (status == REDEFINE_OK)
        status = type_at(compare, level->type.go, field.type, &ret->type);
    if (status != REDEFINE_OK)
        return status;
    if (level->type.kind == RDF_GO_ARRAY)
        field.offset_bytes = level->next * ret->type.size_bytes;
    ret->offset_bytes = level->base + field.offset_bytes;
    ret->field = field.name;
    level->next++;
    return REDEFINE_OK;
}

static uint64_t part_count(const struct rdf_go_type *type)
{
    if (type->kind == RDF_GO_STRUCT)
        return type->field_count;
    return type->len < ARRAY_SHOWN ? type->len : ARRAY_SHOWN;
}

static bool is_composite(const struct rdf_go_type *type)
{
    return type->kind == RDF_GO_STRUCT || (type->kind == RDF_GO_ARRAY && type->len <= ARRAY_SHOWN);
}

/* The next leaf, or *ret_end. An array of several elements is one leaf: its length and element count. */
static redefine_status next_leaf(struct walk *walk, struct leaf *ret, bool *ret_end)
{
    *ret_end = false;
    while (walk->depth) {
        struct level *level = &walk->level[walk->depth - 1];
        if (!is_composite(&level->type)) {
            *ret = (struct leaf){level->base, level->type, level->field};
            walk->depth--;
            return REDEFINE_OK;
        }
        if (level->next >= part_count(&level->type)) {
            walk->depth--;
            continue;
        }
        struct leaf part;
        redefine_status status = next_part(walk, &part);
        if (status != REDEFINE_OK)
            return status;
        if (walk->depth == DEPTH_MAX)
            return rdf_fail(walk->compare->err, REDEFINE_EUNSUPPORTED,
                            "the type %.128s is nested deeper than %d levels", walk->level[0].type.name,
                            DEPTH_MAX);
        walk->level[walk->depth++] = (struct level){part.type, part.offset_bytes, 0, part.field};
    }
    *ret_end = true;
    return REDEFINE_OK;
}

/* ---- both layouts, side by side ---- */

static void leaf_text(const struct leaf *leaf, bool is_end, char *ret_text, size_t text_bytes)
{
    if (is_end)
        (void)snprintf(ret_text, text_bytes, "-");
    else
        (void)snprintf(ret_text, text_bytes, "%s%s%.32s", leaf->field, *leaf->field ? " " : "",
                       *leaf->type.name ? leaf->type.name : rdf_go_kind_name(leaf->type.kind));
}

struct table {
    char text[RDF_SENTENCE_BYTES / 2];
    size_t put;
};

static void add_line(struct table *table, uint64_t offset, const char *a, const char *b, const char *mark)
{
    int wrote = snprintf(table->text + table->put, sizeof table->text - table->put,
                         "\n  %4llu  %-28.40s %.40s%s", (unsigned long long)offset, a, b, mark);
    if (wrote > 0 && (size_t)wrote < sizeof table->text - table->put)
        table->put += (size_t)wrote;
    else
        table->text[table->put] = 0;
}

/* A row for each offset at which either begins something, in order. */
static void side_by_side(struct compare *compare, const struct rdf_go_type *a, const struct rdf_go_type *b,
                         uint64_t collision, struct table *ret)
{
    struct compare quiet = {.images = compare->images};
    struct walk *walk = compare->walk + 2; /* the comparison's own two are in use */
    struct leaf leaf_a, leaf_b;
    bool end_a, end_b;
    begin_walk(&quiet, a, &walk[0]);
    begin_walk(&quiet, b, &walk[1]);
    if (next_leaf(&walk[0], &leaf_a, &end_a) != REDEFINE_OK ||
        next_leaf(&walk[1], &leaf_b, &end_b) != REDEFINE_OK)
        return;
    for (unsigned rows = 0; rows < LEAVES_SHOWN && (!end_a || !end_b); rows++) {
        char text_a[96] = "", text_b[96] = "";
        bool has_a = !end_a && (end_b || leaf_a.offset_bytes <= leaf_b.offset_bytes);
        bool has_b = !end_b && (end_a || leaf_b.offset_bytes <= leaf_a.offset_bytes);
        uint64_t offset = has_a ? leaf_a.offset_bytes : leaf_b.offset_bytes;
        if (has_a)
            leaf_text(&leaf_a, end_a, text_a, sizeof text_a);
        if (has_b)
            leaf_text(&leaf_b, end_b, text_b, sizeof text_b);
        add_line(ret, offset, text_a, text_b, offset == collision ? "   <- here they collide" : "");
        if ((has_a && next_leaf(&walk[0], &leaf_a, &end_a) != REDEFINE_OK) ||
            (has_b && next_leaf(&walk[1], &leaf_b, &end_b) != REDEFINE_OK))
            return;
    }
    if (!end_a || !end_b)
        add_line(ret, end_a ? leaf_b.offset_bytes : leaf_a.offset_bytes, "...", "...", "");
}

static redefine_status fail_collision(struct compare *compare, const struct rdf_go_type *a,
                                      const struct rdf_go_type *b, const struct leaf *leaf_a, bool end_a,
                                      const struct leaf *leaf_b, bool end_b)
{
    char text_a[96], text_b[96];
    struct table table;
    uint64_t offset = end_a || (!end_b && leaf_b->offset_bytes < leaf_a->offset_bytes) ? leaf_b->offset_bytes
                                                                                       : leaf_a->offset_bytes;
    leaf_text(leaf_a, end_a || leaf_a->offset_bytes != offset, text_a, sizeof text_a);
    leaf_text(leaf_b, end_b || leaf_b->offset_bytes != offset, text_b, sizeof text_b);
    int wrote = snprintf(table.text, sizeof table.text, "\n        %-28.40s %.40s", name_of(a), name_of(b));
    table.put = wrote > 0 && (size_t)wrote < sizeof table.text ? (size_t)wrote : 0;
    side_by_side(compare, a, b, offset, &table);
    return rdf_fail(
        compare->err, REDEFINE_ETYPE,
        "%.96s (%llu bytes) and %.96s (%llu bytes) are laid out differently: at offset %llu the one "
        "has %.64s, the other %.64s%s",
        name_of(a), (unsigned long long)a->size_bytes, name_of(b), (unsigned long long)b->size_bytes,
        (unsigned long long)offset, text_a, text_b, table.text);
}

/* ---- comparing ---- */

/* Later, unless that is known already. */
static redefine_status compare_at(struct compare *compare, const struct rdf_go_type *a, uint64_t a_part,
                                  const struct rdf_go_type *b, uint64_t b_part)
{
    if (a_part == b_part)
        return REDEFINE_OK;
    for (size_t i = 0; i < compare->pair_count; i++)
        if (compare->pair[i].a == a_part && compare->pair[i].b == b_part)
            return REDEFINE_OK;
    if (compare->pair_count == PAIRS_MAX)
        return rdf_fail(compare->err, REDEFINE_EUNSUPPORTED,
                        "%.128s and %.128s lead to more types than can be compared", name_of(a), name_of(b));
    compare->pair[compare->pair_count++] = (struct pair){a->go, b->go, a_part, b_part};
    return REDEFINE_OK;
}

static redefine_status fail_kind(struct compare *compare, const struct rdf_go_type *a,
                                 const struct rdf_go_type *b, const char *why)
{
    return rdf_fail(compare->err, REDEFINE_ETYPE, "%.200s and %.200s are not alike: %s", name_of(a),
                    name_of(b), why);
}

static redefine_status compare_funcs(struct compare *compare, const struct rdf_go_type *a,
                                     const struct rdf_go_type *b)
{
    if (a->in_count != b->in_count || a->out_count != b->out_count || a->is_variadic != b->is_variadic)
        return fail_kind(compare, a, b, "they take or return another number of values");
    for (uint32_t i = 0; i < a->in_count + a->out_count; i++) {
        uint64_t part_a, part_b;
        redefine_status status = rdf_go_type_param(compare->images, a, i, &part_a, compare->err);
        if (status == REDEFINE_OK)
            status = rdf_go_type_param(compare->images, b, i, &part_b, compare->err);
        if (status == REDEFINE_OK)
            status = compare_at(compare, a, part_a, b, part_b);
        if (status != REDEFINE_OK)
            return status;
    }
    return REDEFINE_OK;
}

/* A value of an interface is called through its table: the methods must be the same, in number and order,
 * which is that of their names. */
static redefine_status compare_interfaces(struct compare *compare, const struct rdf_go_type *a,
                                          const struct rdf_go_type *b)
{
    if (a->method_count != b->method_count)
        return fail_kind(compare, a, b, "they have another number of methods");
    for (uint32_t i = 0; i < a->method_count; i++) {
        struct rdf_go_method method_a, method_b;
        redefine_status status = rdf_go_type_method(compare->images, a, i, &method_a, compare->err);
        if (status == REDEFINE_OK)
            status = rdf_go_type_method(compare->images, b, i, &method_b, compare->err);
        if (status == REDEFINE_OK && !rdf_text_same(method_a.name, method_b.name))
            status = fail_kind(compare, a, b, "they have other methods");
        if (status == REDEFINE_OK && method_a.type && method_b.type)
            status = compare_at(compare, a, method_a.type, b, method_b.type);
        if (status != REDEFINE_OK)
            return status;
    }
    return REDEFINE_OK;
}

/* int and int64 are one thing to the machine. */
static enum rdf_go_kind machine_kind(enum rdf_go_kind kind)
{
    switch (kind) {
    case RDF_GO_INT: return RDF_GO_INT64;
    case RDF_GO_UINT:
    case RDF_GO_UINTPTR: return RDF_GO_UINT64;
    default: return kind;
    }
}

/* Of leaves: the same kind, and alike in what they lead to. */
static redefine_status compare_leaves(struct compare *compare, const struct rdf_go_type *a,
                                      const struct rdf_go_type *b)
{
    redefine_status status = REDEFINE_OK;
    switch (a->kind) {
    case RDF_GO_ARRAY:
    case RDF_GO_CHAN:
        if (a->len != b->len)
            return fail_kind(compare, a, b,
                             a->kind == RDF_GO_ARRAY ? "their lengths differ" : "their directions differ");
        return compare_at(compare, a, a->elem, b, b->elem);
    case RDF_GO_POINTER:
    case RDF_GO_SLICE: return compare_at(compare, a, a->elem, b, b->elem);
    case RDF_GO_MAP:
        status = compare_at(compare, a, a->key, b, b->key);
        return status == REDEFINE_OK ? compare_at(compare, a, a->elem, b, b->elem) : status;
    case RDF_GO_FUNC: return compare_funcs(compare, a, b);
    case RDF_GO_INTERFACE: return compare_interfaces(compare, a, b);
    default: return status;
    }
}

/* Leaf by leaf; what leaves lead to is compared when both walks are at the same place. */
static redefine_status compare_composites(struct compare *compare, const struct rdf_go_type *a,
                                          const struct rdf_go_type *b)
{
    struct walk *walk = compare->walk;
    begin_walk(compare, a, &walk[0]);
    begin_walk(compare, b, &walk[1]);
    while (true) {
        struct leaf leaf_a = {0}, leaf_b = {0};
        bool end_a, end_b;
        redefine_status status = next_leaf(&walk[0], &leaf_a, &end_a);
        if (status == REDEFINE_OK)
            status = next_leaf(&walk[1], &leaf_b, &end_b);
        if (status != REDEFINE_OK)
            return status;
        if (end_a && end_b)
            return a->size_bytes == b->size_bytes
                       ? REDEFINE_OK
                       : fail_kind(compare, a, b, "their fields are, but their sizes differ");
        if (end_a || end_b || leaf_a.offset_bytes != leaf_b.offset_bytes ||
            machine_kind(leaf_a.type.kind) != machine_kind(leaf_b.type.kind))
            return fail_collision(compare, a, b, &leaf_a, end_a, &leaf_b, end_b);
        status = compare_leaves(compare, &leaf_a.type, &leaf_b.type);
        if (status != REDEFINE_OK)
            return status;
    }
}

redefine_status rdf_go_same_layout(struct rdf_images *images, const struct rdf_go_type *a,
                                   const struct rdf_go_type *b, struct rdf_error *err)
{
    struct compare compare = {.images = images, .err = err};
    compare.pair = rdf_arena_alloc(images->arena, PAIRS_MAX * sizeof *compare.pair);
    compare.walk = rdf_arena_alloc(images->arena, 4 * sizeof *compare.walk);
    if (!compare.pair || !compare.walk)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to compare types");
    redefine_status status = compare_at(&compare, a, a->addr, b, b->addr);
    while (status == REDEFINE_OK && compare.done < compare.pair_count) {
        const struct pair *pair = &compare.pair[compare.done++];
        struct rdf_go_type type_a, type_b;
        status = type_at(&compare, pair->go_a, pair->a, &type_a);
        if (status == REDEFINE_OK)
            status = type_at(&compare, pair->go_b, pair->b, &type_b);
        if (status == REDEFINE_OK)
            status = compare_composites(&compare, &type_a, &type_b);
    }
    return status;
}
