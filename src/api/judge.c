/* SPDX-License-Identifier: MIT */
#include "api/judge.h"

#include "api/go_judge.h"
#include "check/clone.h"
#include "check/compare.h"
#include "check/sites.h"
#include "core/plan.h"

#include <stdio.h>
#include <string.h>

enum {
    SITES_MAX = 1000,
    SITES_BRIEF = 64, /* for the verdict alone: unless so many are copies of itself in itself */
};

/* What is known of one object from debug data. */
struct rdf_judge_object {
    struct rdf_judge_object *next;
    const struct rdf_image *image;
    struct rdf_debug *debug; /* null: not opened; with an index that was kept it is, for types, later */
    struct rdf_debug_index index;
    bool has_index;
    bool has_twins; /* they were looked for */
    struct rdf_twins twins;
    struct rdf_error why; /* why there is no index */
    struct rdf_arena arena;
};

void rdf_judge_free(struct rdf_judge *judge)
{
    for (struct rdf_judge_object *object = judge->objects; object; object = object->next) {
        rdf_debug_close(object->debug);
        if (object->has_index)
            judge->pages->put(judge->pages->ctx, (void *)(uintptr_t)object->index.blob.data,
                              object->index.blob.len_bytes);
        rdf_arena_free(&object->arena);
    }
    judge->objects = NULL; /* they live in the arena */
}

/* ---- Debug data ---- */

static bool open_debug(struct rdf_judge *judge, struct rdf_judge_object *object)
{
    return object->debug ||
           rdf_debug_open(judge->images->space, &object->arena, rdf_image_name(object->image), 0, 0,
                          judge->where, &object->debug, &object->why) == REDEFINE_OK;
}

/* Appended to why there is none: a command that puts it where it is looked for. */
static void tell_fetching(struct rdf_error *why, struct rdf_span id)
{
    char text[2 * RDF_DEBUG_ID_BYTES_MAX + 1];
    size_t used = 0;
    if (why->status != REDEFINE_ENOTFOUND || id.len_bytes < 2)
        return;
    for (size_t i = 0; i < id.len_bytes; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", id.data[i]);
    while (why->sentence[used])
        used++;
    (void)snprintf(why->sentence + used, sizeof why->sentence - used,
                   "; or fetch it from DEBUGINFOD_URLS: install -D \"$(debuginfod-find debuginfo %s)\" "
                   "/usr/lib/debug/.build-id/%.2s/%s.debug",
                   text, text, text + 2);
}

static struct rdf_judge_object *object_of(struct rdf_judge *judge, struct rdf_image *image)
{
    struct rdf_judge_object *object = judge->objects;
    while (object && object->image != image)
        object = object->next;
    if (object || !(object = rdf_arena_alloc(judge->arena, sizeof *object)))
        return object;
    rdf_arena_init(&object->arena, judge->pages);
    object->image = image;
    object->next = judge->objects;
    judge->objects = object;
    uint8_t id[RDF_DEBUG_ID_BYTES_MAX];
    struct rdf_span key = {id, 0};
    if (judge->load)
        (void)rdf_debug_identify(judge->images->space, rdf_image_name(image), id, &key.len_bytes);
    object->has_index = key.len_bytes && judge->load(key, &object->index);
    if (object->has_index)
        return object;
    if (!open_debug(judge, object)) {
        if (judge->tells_fetching)
            tell_fetching(&object->why, key);
        return object;
    }
    object->has_index = rdf_debug_build_index(object->debug, judge->pages, key, &object->index,
                                              &object->why) == REDEFINE_OK;
    if (object->has_index && key.len_bytes)
        judge->store(key, &object->index);
    return object;
}

const struct rdf_debug_index *rdf_judge_index(struct rdf_judge *judge, struct rdf_image *image,
                                              const struct rdf_error **ret_why)
{
    static const struct rdf_error no_memory = {REDEFINE_ENOMEM, "no memory for debug data"};
    struct rdf_judge_object *object = object_of(judge, image);
    *ret_why = object ? &object->why : &no_memory;
    return object && object->has_index ? &object->index : NULL;
}

const struct rdf_type *rdf_judge_type(struct rdf_judge *judge, struct rdf_image *image, uint64_t addr)
{
    struct rdf_judge_object *object = image ? object_of(judge, image) : NULL;
    struct rdf_error err = {0};
    const struct rdf_type *type;
    const struct rdf_debug_function *function = object && object->has_index
                                                    ? rdf_debug_index_at(&object->index,
                                                                         addr - rdf_image_bias(image))
                                                    : NULL;
    if (!function || !open_debug(judge, object) ||
        rdf_debug_type(object->debug, function, &type, &err) != REDEFINE_OK)
        return NULL;
    return type;
}

redefine_status rdf_judge_types(struct rdf_judge *judge, struct rdf_report *report,
                                struct rdf_image *target_image, struct rdf_judge *replacement_judge,
                                struct rdf_image *replacement_image, uint64_t replacement,
                                struct rdf_error *err)
{
    struct rdf_function target;
    struct rdf_error why = {0};
    if (rdf_images_function(judge->images, report->addr, &target, &why) == REDEFINE_OK &&
        rdf_plan_refuse_go(&target, &why) != REDEFINE_OK) {
        struct rdf_hazard other = {.kind = RDF_HAZARD_SIGNATURE, .severity = RDF_SEVERITY_BLOCKER};
        other.detail = rdf_arena_copy(judge->arena, why.sentence, sizeof why.sentence);
        return other.detail ? rdf_check_add(report, judge->arena, &other, err)
                            : rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    }
    const struct rdf_type *of_target = rdf_judge_type(judge, target_image, report->addr);
    const struct rdf_type *of_replacement = rdf_judge_type(replacement_judge, replacement_image, replacement);
    if (of_target && of_replacement)
        return rdf_check_compare(of_target, of_replacement, judge->arena, report, err);
    struct rdf_hazard hazard = {
        .kind = RDF_HAZARD_NO_DEBUG_INFO,
        .severity = RDF_SEVERITY_WARNING,
        .detail =
            of_target
                ? "the types cannot be compared: there is no debug data for the replacement; compile it "
                  "with -g"
                : "the types cannot be compared: there is no debug data for the target; compile it with "
                  "-g, or install its debug symbols"};
    return rdf_check_add(report, judge->arena, &hazard, err);
}

static const char *plain_name(struct rdf_arena *arena, const char *name)
{
    char text[1024];
    if (!name || !rdf_image_demangle(name, text, sizeof text))
        return name;
    size_t len = 0;
    while (text[len])
        len++;
    const char *copy = rdf_arena_copy(arena, text, len);
    return copy ? copy : name;
}

/* ---- Clones ---- */

static void judge_clone_callers(struct rdf_judge *judge, struct rdf_judge_object *object,
                                struct rdf_clone *clone)
{
    uint64_t bias = rdf_image_bias(object->image);
    for (size_t i = 0; i < clone->caller_count; i++) {
        struct rdf_caller *caller = &clone->caller[i];
        caller->name = plain_name(judge->arena, caller->name);
        if (caller->start)
            (void)rdf_debug_line(object->debug, &object->index, caller->start - bias, caller->addr - bias,
                                 &caller->file, &caller->line);
    }
}

/* Compare each clone with the function itself, as far as there is debug data. */
static void judge_clones(struct rdf_judge *judge, const struct rdf_function *function,
                         struct rdf_facts *facts)
{
    uint64_t bias = rdf_image_bias(function->image);
    struct rdf_judge_object *object = facts->clone_count ? object_of(judge, function->image) : NULL;
    struct rdf_error ignored = {0};
    struct rdf_debug_body base, body;
    const struct rdf_type *type = NULL;
    if (!object || !object->has_index)
        return;
    for (size_t i = 0; i < facts->clone_count; i++)
        rdf_clone_place(&object->index, function->start - bias, facts->clone[i].addr - bias, &facts->clone[i],
                        judge->arena);
    if (judge->is_brief || !open_debug(judge, object))
        return;
    for (size_t i = 0; i < facts->clone_count; i++)
        judge_clone_callers(judge, object, &facts->clone[i]);
    if (rdf_debug_body(object->debug, &object->index, function->start - bias, &base, &ignored) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < facts->clone_count; i++) {
        struct rdf_clone *clone = &facts->clone[i];
        if (clone->kind == RDF_CLONE_COLD || clone->kind == RDF_CLONE_PART ||
            clone->fit != RDF_CLONE_UNTOLD ||
            rdf_debug_body(object->debug, &object->index, clone->addr - bias, &body, &ignored) != REDEFINE_OK)
            continue;
        if (!type)
            type = rdf_judge_type(judge, function->image, function->start);
        rdf_clone_compare(&base, &body, type, clone, judge->arena);
    }
}

redefine_status rdf_judge_clones(struct rdf_judge *judge, const struct rdf_function *function,
                                 struct rdf_facts *ret, struct rdf_error *err)
{
    redefine_status status = rdf_facts_names(judge->images, function, 1, judge->arena, ret, err);
    if (status == REDEFINE_OK)
        judge_clones(judge, function, ret);
    return status;
}

/* ---- Other names ---- */

static bool is_defined(const struct rdf_debug_index *index, const char *name, bool counts_copies)
{
    uint32_t first, count = rdf_debug_index_named(index, name, &first);
    for (uint32_t i = first; i < first + count; i++)
        if (index->function[i].flags & RDF_DEBUG_HAS_BODY || counts_copies ||
            (index->function[i].site_count == 0 && !(index->function[i].flags & RDF_DEBUG_FOLDED)))
            return true;
    return false;
}

/* Symbols hardly tell two functions that were merged from one that has two names. Debug data does: the former
 * were both defined. */
static void judge_names(struct rdf_judge *judge, const struct rdf_debug_index *index,
                        const struct rdf_debug_function *known, const struct rdf_function *function,
                        struct rdf_facts *facts)
{
    /* Who was asked for by an alias is another name of the one that is defined there. */
    bool is_alias = function->name && !is_defined(index, function->name, true);
    for (size_t i = 0; i < facts->other_name_count; i++) {
        struct rdf_other_name *other = &facts->other_name[i];
        const char *name = other->name;
        enum rdf_clone_kind unused;
        size_t base_bytes;
        if (rdf_clone_of(name, &unused, &base_bytes))
            name = rdf_arena_copy(judge->arena, name, base_bytes);
        /* A static function of C++ may have no mangled name there. */
        if (name && strncmp(name, "_ZL", 3) != 0)
            other->is_folded = is_defined(index, name, other->is_folded) &&
                               !(is_alias && strcmp(name, index->text + known->name) == 0);
    }
}

/* ---- Verdicts ---- */

/* Of an object with an index; null: no memory. */
static const struct rdf_twins *twins_of(struct rdf_judge *judge, struct rdf_image *image)
{
    struct rdf_judge_object *object = object_of(judge, image);
    if (object && !object->has_twins)
        object->has_twins = rdf_twins_find(judge->images, image, &object->index, &object->arena,
                                           &object->twins);
    return object && object->has_twins ? &object->twins : NULL;
}

bool rdf_judge_sites(struct rdf_judge *judge, struct rdf_image *image, const struct rdf_debug_index *index,
                     const struct rdf_debug_function *function, struct rdf_check_debug *ret)
{
    size_t sites_max = judge->is_brief ? SITES_BRIEF : SITES_MAX;
    const struct rdf_twins *twins = twins_of(judge, image);
    if (!twins || !rdf_check_sites(index, function, sites_max, judge->arena, ret))
        return false;
    ret->is_folded = rdf_check_is_folded(index, function, judge->images, image, twins);
    struct rdf_check_inlined *site = (struct rdf_check_inlined *)(uintptr_t)ret->inlined;
    for (size_t i = 0; !judge->is_brief && i < ret->inlined_count; i++)
        site[i].caller = plain_name(judge->arena, site[i].caller);
    return true;
}

static bool judge_twins(struct rdf_judge *judge, const struct rdf_function *function, struct rdf_facts *facts)
{
    const struct rdf_twins *twins = twins_of(judge, function->image);
    const struct rdf_twin *own = twins ? rdf_twins_at(twins, function->start) : NULL;
    struct rdf_function kept;
    struct rdf_error unused = {0};
    if (!twins)
        return false;
    facts->twin = rdf_twins_of(twins, function->start, &facts->twin_count);
    if (own && rdf_images_function(judge->images, own->kept, &kept, &unused) == REDEFINE_OK)
        facts->kept_twin = kept.name;
    return true;
}

static redefine_status judge_one(struct rdf_judge *judge, const struct rdf_function *function,
                                 struct rdf_facts *facts, struct rdf_report *ret, struct rdf_error *err)
{
    struct rdf_arena *arena = judge->arena;
    struct rdf_error why = {0};
    struct rdf_window found;
    struct rdf_check_debug debug;
    const struct rdf_error *no_debug;
    const struct rdf_debug_index *index = rdf_judge_index(judge, function->image, &no_debug);
    const struct rdf_debug_function *known =
        index ? rdf_debug_index_at(index, function->start - rdf_image_bias(function->image)) : NULL;
    if (known && !rdf_judge_sites(judge, function->image, index, known, &debug))
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    judge_clones(judge, function, facts);
    if (index && !judge_twins(judge, function, facts))
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    if (known)
        judge_names(judge, index, known, function, facts);
    struct rdf_check_window window = {.status = rdf_plan_window(judge->images, function, &found, &why),
                                      .sentence = why.sentence};
    window.is_slow = window.status == REDEFINE_OK && found.strategy == RDF_STRATEGY_TRAP;
    const char *name = function->name ? function->name : known ? index->text + known->name : "(no name)";
    struct rdf_check_subject subject = {
        .name = judge->is_brief ? name : plain_name(arena, name),
        .addr = function->start,
        .size_bytes = function->end - function->start,
        .facts = facts,
        .debug = known ? &debug : NULL,
        .no_debug_reason = index
                               ? "the debug data of its object does not cover it; compile its source with -g"
                               : no_debug->sentence,
        .window = &window,
        .takes_clones = judge->takes_clones};
    redefine_status status = rdf_check_verdict(&subject, arena, ret, err);
    if (status == REDEFINE_OK && window.status == REDEFINE_OK)
        ret->strategy = rdf_strategy_word(found.strategy);
    return status;
}

static redefine_status gather_facts(struct rdf_judge *judge, const struct rdf_function *function,
                                    size_t count, struct rdf_facts **ret, struct rdf_error *err)
{
    struct rdf_facts *facts = rdf_arena_alloc(judge->arena, (count + 1) * sizeof *facts);
    if (!facts)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the facts of %zu functions", count);
    *ret = facts;
    return rdf_facts_gather(judge->images, function, count, judge->arena, facts, err);
}

static redefine_status judge_native(struct rdf_judge *judge, const struct rdf_function *function,
                                    size_t count, struct rdf_report *ret, struct rdf_error *err)
{
    struct rdf_facts *facts;
    redefine_status status = gather_facts(judge, function, count, &facts, err);
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++)
        status = judge_one(judge, &function[i], &facts[i], &ret[i], err);
    return status;
}

redefine_status rdf_judge_each(struct rdf_judge *judge, const struct rdf_function *function, size_t count,
                               rdf_judge_visit *visit, void *ctx, struct rdf_error *err)
{
    struct rdf_facts *facts;
    struct rdf_report report;
    redefine_status status = gather_facts(judge, function, count, &facts, err);
    if (status == REDEFINE_OK && count && !object_of(judge, function[0].image)) /* this is to stay */
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for debug data");
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++) {
        struct rdf_arena_mark mark = rdf_arena_take_mark(judge->arena);
        status = judge_one(judge, &function[i], &facts[i], &report, err);
        if (status == REDEFINE_OK)
            visit(ctx, i, &report);
        rdf_arena_rollback(judge->arena, mark);
    }
    return status;
}

/* The Go functions among them, and then the others, each kind in one go. */
static redefine_status judge_mixed(struct rdf_judge *judge, const struct rdf_function *function, size_t count,
                                   struct rdf_report *ret, struct rdf_error *err)
{
    struct rdf_arena *arena = judge->arena;
    const struct rdf_function **go = rdf_arena_alloc(arena, count * sizeof *go);
    struct rdf_report **report = rdf_arena_alloc(arena, count * sizeof *report);
    struct rdf_function *native = rdf_arena_alloc(arena, count * sizeof *native);
    struct rdf_report *native_report = rdf_arena_alloc(arena, count * sizeof *native_report);
    size_t go_count = 0, native_count = 0;
    if (!go || !report || !native || !native_report)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the verdicts on %zu functions", count);
    for (size_t i = 0; i < count; i++) {
        if (function[i].source != RDF_BOUNDS_GO) {
            native[native_count++] = function[i];
            continue;
        }
        go[go_count] = &function[i];
        report[go_count++] = &ret[i];
    }
    redefine_status status = REDEFINE_OK;
    if (go_count)
        status = rdf_go_judge_functions(judge, go, go_count, report, err);
    if (status == REDEFINE_OK && native_count)
        status = judge_native(judge, native, native_count, native_report, err);
    for (size_t i = 0, next = 0; status == REDEFINE_OK && i < count; i++)
        if (next < native_count && native[next].start == function[i].start)
            ret[i] = native_report[next++];
    return status;
}

redefine_status rdf_judge_functions(struct rdf_judge *judge, const struct rdf_function *function,
                                    size_t count, struct rdf_report *ret, struct rdf_error *err)
{
    bool is_go = count && rdf_go_is_go(judge->images, function[0].image);
    return (is_go ? judge_mixed : judge_native)(judge, function, count, ret, err);
}
