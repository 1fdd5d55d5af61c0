/* SPDX-License-Identifier: MIT
 *
 * What `redefine run` and `redefine attach` look at before they do anything: of what `redefine check --patch`
 * says, blockers are refused, copies and clones are warned of.
 */
#include "gate.h"

#include "agent/request.h"
#include "bodiless.h"
#include "check/compare.h"
#include "cli.h"
#include "indexcache.h"
#include "patchfile.h"
#include "target.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES_TOLD = 4 };

struct gate {
    const struct cli_gate_question *question;
    struct cli_target target;
    struct rdf_judge judge;
    FILE *items; /* as they were, with the clones */
    bool is_open, is_unreadable;
    bool refused;
};

/* A patch file's debug data, if it has any. */
struct patch {
    const char *path;
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_debug *debug;
    struct rdf_debug_index index;
    bool has_index;
};

static void open_patch(const char *path, struct patch *ret)
{
    struct rdf_error ignored = {0};
    *ret = (struct patch){.path = path};
    rdf_os_local_space(&ret->space);
    rdf_arena_init(&ret->arena, &rdf_os_pages);
    ret->has_index = rdf_debug_open(&ret->space, &ret->arena, path, 0, 0, RDF_DEBUG_INSIDE, &ret->debug,
                                    &ignored) == REDEFINE_OK &&
                     rdf_debug_build_index(ret->debug, &rdf_os_pages, (struct rdf_span){0}, &ret->index,
                                           &ignored) == REDEFINE_OK;
}

static void close_patch(struct patch *patch)
{
    rdf_debug_close(patch->debug);
    if (patch->has_index)
        rdf_os_pages.put(rdf_os_pages.ctx, (void *)(uintptr_t)patch->index.blob.data,
                         patch->index.blob.len_bytes);
    rdf_arena_free(&patch->arena);
}

static bool is_of_types(const struct rdf_hazard *hazard)
{
    return hazard->kind == RDF_HAZARD_SIGNATURE || hazard->kind == RDF_HAZARD_LAYOUT;
}

/* The sentence, and the table below it as it is. */
static void say_hazard(const struct gate *gate, const char *path, const char *name,
                       const struct rdf_hazard *hazard)
{
    const char *table = strchr(hazard->detail, '\n');
    int len = table ? (int)(table - hazard->detail) : (int)strlen(hazard->detail);
    cli_say("%s redefines %s%s%s: %.*s; %s", path, name, is_of_types(hazard) ? " with another " : "",
            is_of_types(hazard) ? rdf_hazard_name(hazard->kind) : "", len, hazard->detail,
            gate->question->refusal);
    for (const char *at = table ? table + 1 : NULL; at && *at; at++)
        fputc(*at == '\n' || (unsigned char)*at >= ' ' ? *at : '?', stderr);
    if (table)
        fputc('\n', stderr);
}

/* Whether there are any. */
static bool warn_of_copies(struct gate *gate, const struct rdf_function *function, const char *name)
{
    const struct rdf_error *ignored;
    struct rdf_check_debug debug;
    const struct rdf_debug_index *index = rdf_judge_index(&gate->judge, function->image, &ignored);
    const struct rdf_debug_function *known =
        index ? rdf_debug_index_at(index, function->start - rdf_image_bias(function->image)) : NULL;
    if (!known || !rdf_judge_sites(&gate->judge, function->image, index, known, &debug))
        return false;
    if (debug.is_folded)
        cli_say("warning: %s was inlined, where the replacement is not called, and debug data does not tell "
                "where; redefine check says more",
                name);
    bool found = debug.is_folded;
    for (size_t i = 0; i < debug.inlined_count && !found; i++) {
        const struct rdf_check_inlined *site = &debug.inlined[i];
        if (site->is_self)
            continue;
        found = true;
        cli_say("warning: %s is inlined into %s (%s:%u)%s, where the replacement is not called; redefine "
                "check says more",
                name, site->caller, site->file ? site->file : "?", site->line,
                debug.inlined_total > 1 ? " and elsewhere" : "");
    }
    return found;
}

/* A blocker whatever the replacement's type is. Where it was inlined, the rest of the code may be called by
 * nobody. */
static void refuse_blocker(struct gate *gate, const char *path, const char *name,
                           const struct rdf_report *report)
{
    for (const struct rdf_hazard *hazard = report->hazard; hazard; hazard = hazard->next)
        if (hazard->severity == RDF_SEVERITY_BLOCKER && hazard->kind != RDF_HAZARD_INLINED) {
            say_hazard(gate, path, name, hazard);
            gate->refused = true;
            return;
        }
}

/* One of which every call was inlined: where that is, and that it cannot be done. */
static void refuse_bodiless(struct gate *gate, const char *path, const char *name,
                            const struct rdf_report *report)
{
    size_t told = 0;
    for (const struct rdf_hazard *hazard = report->hazard; hazard && told < COPIES_TOLD;
         hazard = hazard->next)
        if (hazard->kind == RDF_HAZARD_INLINED && hazard->caller) {
            told++;
            cli_say("%s is inlined into %s (%s:%u)", name, hazard->caller, hazard->file ? hazard->file : "?",
                    hazard->line);
        }
    refuse_blocker(gate, path, name, report);
}

static void refuse_uncalled(struct gate *gate, const char *path, const struct rdf_function *function,
                            const char *name)
{
    struct rdf_error ignored = {0};
    struct rdf_report report;
    if (rdf_judge_functions(&gate->judge, function, 1, &report, &ignored) == REDEFINE_OK)
        refuse_blocker(gate, path, name, &report);
}

/* ---- Clones ---- */

/* What redefine_find calls the clone in the program; false: there is no name for it alone. */
static bool name_clone(struct gate *gate, const struct rdf_function *function, const struct rdf_clone *clone,
                       char *ret_name, size_t name_bytes)
{
    struct rdf_images *images = &gate->target.images;
    bool is_program = function->image == images->image[0];
    struct rdf_error ignored = {0};
    uint64_t addr;
    const char *at = clone->file ? "@" : "";
    int len = snprintf(ret_name, name_bytes, "%s%s%s%s%s",
                       is_program ? "" : cli_short_name(rdf_image_name(function->image)),
                       is_program ? "" : "!", clone->name, at, clone->file ? clone->file : "");
    return len > 0 && (size_t)len < name_bytes && !strpbrk(ret_name, "\036\037") &&
           rdf_images_find(images, ret_name, &addr, &ignored) == REDEFINE_OK && addr == clone->addr;
}

static void warn_of_clone(const char *name, const struct rdf_clone *clone)
{
    const char *what = clone->difference ? clone->difference
                                         : "may take other parameters: only debug data (-g) would tell";
    if (clone->kind == RDF_CLONE_PART)
        cli_say("warning: %s is a piece of %s, which callers that inlined the rest go to: they do not call "
                "the replacement",
                clone->name, name);
    else
        cli_say("warning: calls of %s that were compiled to go to %s do not call the replacement: it %s; "
                "redefine check says more",
                name, clone->name, what);
}

/* The clones that go with the function, as fields of its item, each behind `before`; the others are warned
 * of. */
static void gate_clones(struct gate *gate, const struct rdf_function *function, const char *name,
                        const char *before)
{
    struct rdf_error ignored = {0};
    struct rdf_facts facts;
    char clone_name[1024];
    if (rdf_judge_clones(&gate->judge, function, &facts, &ignored) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < facts.clone_count; i++) {
        const struct rdf_clone *clone = &facts.clone[i];
        if (clone->kind == RDF_CLONE_COLD || clone->fit == RDF_CLONE_OTHER)
            continue;
        if (clone->fit != RDF_CLONE_FITS)
            warn_of_clone(name, clone);
        else if (!gate->question->takes_clones)
            cli_say("warning: calls of %s that were compiled to go to %s do not call the replacement; "
                    "--clones redefines that too: it takes the same parameters",
                    name, clone->name);
        else if (!name_clone(gate, function, clone, clone_name, sizeof clone_name))
            cli_say("warning: %s cannot be taken along: no name leads to it alone", clone->name);
        else
            fprintf(gate->items, "%s%c%s", before, RDF_REQUEST_FIELD, clone_name);
    }
}

/* ---- One function ---- */

static void compare_types(struct gate *gate, const struct patch *patch, const struct rdf_function *function,
                          const char *name, uint64_t replacement)
{
    struct rdf_error ignored = {0};
    struct rdf_report report = {.name = name};
    const struct rdf_debug_function *known = patch->has_index ? rdf_debug_index_at(&patch->index, replacement)
                                                              : NULL;
    const struct rdf_type *of_target = known ? rdf_judge_type(&gate->judge, function->image, function->start)
                                             : NULL;
    const struct rdf_type *of_replacement;
    if (!of_target || rdf_debug_type(patch->debug, known, &of_replacement, &ignored) != REDEFINE_OK ||
        rdf_check_compare(of_target, of_replacement, &gate->target.arena, &report, &ignored) != REDEFINE_OK)
        return;
    refuse_blocker(gate, patch->path, name, &report);
}

/* Whether the function is there; what cannot be found, the agent will say; it knows the process. What has no
 * code is refused here, since only debug data says why. */
static bool find(struct gate *gate, const char *path, const char *name, struct rdf_function *ret)
{
    struct rdf_error ignored = {0};
    struct rdf_report report;
    uint64_t entry;
    if (!gate->is_open) {
        gate->is_open = true;
        if (!(gate->question->pid ? cli_target_open_process(gate->question->pid, &gate->target)
                                  : cli_target_open(gate->question->program, &gate->target))) {
            gate->is_unreadable = true;
            return false;
        }
        gate->judge = cli_judge_of(&gate->target, RDF_DEBUG_ANYWHERE);
    }
    if (gate->is_unreadable)
        return false;
    redefine_status status = rdf_images_find(&gate->target.images, name, &entry, &ignored);
    if (status == REDEFINE_ENOTFOUND &&
        cli_bodiless_judge(&gate->judge, name, status, &report, &ignored) == REDEFINE_OK) {
        if (!gate->question->is_forced)
            refuse_bodiless(gate, path, name, &report);
        return false;
    }
    return status == REDEFINE_OK &&
           rdf_images_function(&gate->target.images, entry, ret, &ignored) == REDEFINE_OK;
}

static void gate_function(struct gate *gate, const struct patch *patch, const char *name,
                          uint64_t replacement, const char *before)
{
    struct rdf_function function;
    if (!find(gate, patch->path, name, &function))
        return;
    bool has_copies = warn_of_copies(gate, &function, name);
    gate_clones(gate, &function, name, before);
    if (gate->question->is_forced)
        return;
    if (has_copies)
        refuse_uncalled(gate, patch->path, &function, name);
    compare_types(gate, patch, &function, name, replacement);
}

/* ---- Items ---- */

static void gate_file(struct gate *gate, const char *path)
{
    struct cli_patch_record *record;
    struct patch patch;
    size_t count;
    fprintf(gate->items, "patch%c%s", RDF_REQUEST_FIELD, path);
    if (!cli_patch_read(path, false, &record, &count))
        return; /* the agent will say why */
    open_patch(path, &patch);
    for (size_t i = 0; i < count; i++) {
        char *before = NULL;
        bool is_plain = !strpbrk(record[i].name, "\036\037");
        if (is_plain && asprintf(&before, "%c%s", RDF_REQUEST_FIELD, record[i].name) > 0)
            gate_function(gate, &patch, record[i].name, record[i].replacement, before);
        free(before);
    }
    cli_patch_free(record, count);
    close_patch(&patch);
}

static void gate_symbol(struct gate *gate, const char *path, const char *symbol, const char *name)
{
    struct patch patch;
    fprintf(gate->items, "name%c%s%c%s%c%s", RDF_REQUEST_FIELD, path, RDF_REQUEST_FIELD, symbol,
            RDF_REQUEST_FIELD, name);
    open_patch(path, &patch);
    gate_function(gate, &patch, name, cli_patch_symbol(path, symbol), "");
    close_patch(&patch);
}

static void gate_items(struct gate *gate, char *items)
{
    static const char item_end[] = {RDF_REQUEST_ITEM, '\0'};
    static const char field_end[] = {RDF_REQUEST_FIELD, '\0'};
    char *next_item = NULL;
    for (char *item = strtok_r(items, item_end, &next_item); item;
         item = strtok_r(NULL, item_end, &next_item)) {
        char *next_field = NULL;
        const char *kind = strtok_r(item, field_end, &next_field);
        const char *path = strtok_r(NULL, field_end, &next_field);
        const char *symbol = strtok_r(NULL, field_end, &next_field);
        const char *name = strtok_r(NULL, field_end, &next_field);
        if (strcmp(kind, "patch") == 0)
            gate_file(gate, path);
        else
            gate_symbol(gate, path, symbol, name);
        fputc(RDF_REQUEST_ITEM, gate->items);
    }
}

char *cli_gate(const struct cli_gate_question *question)
{
    struct gate gate = {.question = question};
    char *copy = strdup(question->items), *text = NULL;
    size_t text_bytes;
    gate.items = open_memstream(&text, &text_bytes);
    if (copy && gate.items)
        gate_items(&gate, copy);
    if (gate.is_open) {
        rdf_judge_free(&gate.judge);
        cli_target_close(&gate.target);
    }
    bool done = copy && gate.items && fclose(gate.items) == 0;
    free(copy);
    if (done && !gate.refused)
        return text;
    if (!done)
        cli_say("no memory");
    free(text);
    return NULL;
}
