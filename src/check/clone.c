/* SPDX-License-Identifier: MIT
 *
 * Clones: bodies of a function that a compiler made for some of its callers. A replacement can stand in for
 * one when those callers pass it what they would pass to the function: every parameter, in the same place.
 * Both bodies' debug data tells where each parameter is when they are entered.
 */
#include "check/clone.h"

#include "check/compare.h"
#include "check/text.h"

#include <inttypes.h>
#include <string.h>

static const char *keep(struct rdf_arena *arena, const struct rdf_text *text)
{
    return rdf_arena_copy(arena, text->text, text->used);
}

/* ---- Whose it is ---- */

/* One function, compiled for several units or only once; a static one of the same name is another. */
static bool is_same_function(const struct rdf_debug_index *index, const struct rdf_debug_function *a,
                             const struct rdf_debug_function *b)
{
    return a == b || (a->decl_line == b->decl_line && a->decl_file == b->decl_file && a->plain == b->plain &&
                      strcmp(index->text + a->name, index->text + b->name) == 0);
}

void rdf_clone_place(const struct rdf_debug_index *index, uint64_t base, uint64_t addr,
                     struct rdf_clone *clone, struct rdf_arena *arena)
{
    const struct rdf_debug_function *of_base = rdf_debug_index_at(index, base);
    const struct rdf_debug_function *of_clone = rdf_debug_index_at(index, addr);
    struct rdf_text text = {.used = 0};
    if (!of_base || !of_clone || is_same_function(index, of_base, of_clone))
        return;
    clone->fit = RDF_CLONE_OTHER;
    rdf_text_add(&text, "is another function of that name, of %s:%u", index->text + of_clone->decl_file,
                 of_clone->decl_line);
    clone->difference = keep(arena, &text);
}

/* ---- What it takes ---- */

static bool is_same_place(const struct rdf_parameter *a, const struct rdf_parameter *b)
{
    return a->place.len_bytes == b->place.len_bytes &&
           memcmp(a->place.data, b->place.data, a->place.len_bytes) == 0;
}

static void add_constant(struct rdf_text *text, const struct rdf_parameter *parameter,
                         const struct rdf_type *type)
{
    unsigned unused_bits = 64 - 8U * parameter->constant_bytes;
    if (type && type->kind == RDF_TYPE_BASE && rdf_type_is_signed(type))
        rdf_text_add(text, "%" PRId64, (int64_t)(parameter->constant << unused_bits) >> unused_bits);
    else if (type && type->kind == RDF_TYPE_POINTER && parameter->constant)
        rdf_text_add(text, "0x%" PRIx64, parameter->constant);
    else
        rdf_text_add(text, "%" PRIu64, parameter->constant);
}

/* "factor is always 10" */
static void add_missing(struct rdf_text *text, size_t index, const struct rdf_parameter *parameter,
                        const struct rdf_parameter *declared, const struct rdf_type *type)
{
    if (declared->name)
        rdf_text_add(text, "%s", declared->name);
    else
        rdf_text_add(text, "number %zu", index + 1);
    if (parameter->kind == RDF_PARAMETER_CONSTANT) {
        rdf_text_add(text, " is always ");
        add_constant(text, parameter, type && index < type->field_count ? type->field[index].type : NULL);
    } else if (parameter->kind == RDF_PARAMETER_FIXED) {
        rdf_text_add(text, " is always the same");
    } else {
        rdf_text_add(text, " is not passed");
    }
}

static void tell_missing(const struct rdf_debug_body *base, const struct rdf_debug_body *body,
                         const struct rdf_type *type, size_t missing, struct rdf_clone *clone,
                         struct rdf_arena *arena)
{
    struct rdf_text text = {.used = 0};
    const char *before = ": ";
    if (missing == 1)
        rdf_text_add(&text, "takes one parameter less");
    else
        rdf_text_add(&text, "takes %zu parameters less", missing);
    for (size_t i = 0; i < base->count; i++) {
        if (body->parameter[i].kind == RDF_PARAMETER_PLACED)
            continue;
        rdf_text_add(&text, "%s", before);
        add_missing(&text, i, &body->parameter[i], &base->parameter[i], type);
        before = ", ";
    }
    clone->fit = RDF_CLONE_DIFFERS;
    clone->difference = keep(arena, &text);
}

static void differs(struct rdf_clone *clone, const char *difference)
{
    clone->fit = RDF_CLONE_DIFFERS;
    clone->difference = difference;
}

void rdf_clone_compare(const struct rdf_debug_body *base, const struct rdf_debug_body *body,
                       const struct rdf_type *type, struct rdf_clone *clone, struct rdf_arena *arena)
{
    size_t missing = 0, moved = 0;
    if (base->count != body->count) {
        differs(clone, "was declared with other parameters");
        return;
    }
    for (size_t i = 0; i < base->count; i++) {
        /* Where it is in the function itself is what a replacement expects. */
        if (base->parameter[i].kind != RDF_PARAMETER_PLACED)
            return;
        if (body->parameter[i].kind != RDF_PARAMETER_PLACED)
            missing++;
        else
            moved += !is_same_place(&base->parameter[i], &body->parameter[i]);
    }
    if (missing)
        tell_missing(base, body, type, missing, clone, arena);
    else if (moved)
        differs(clone, "takes its parameters in other places");
    else if (clone->kind == RDF_CLONE_ISRA)
        differs(clone, "takes or returns something else than was declared");
    else
        clone->fit = RDF_CLONE_FITS;
}
