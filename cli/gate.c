/* SPDX-License-Identifier: MIT
 *
 * What `redefine run` looks at before it starts a program. Only debug data in the files themselves, which is
 * quickly found; `redefine check --patch` looks everywhere.
 */
#include "gate.h"

#include "agent/request.h"
#include "check/compare.h"
#include "cli.h"
#include "indexcache.h"
#include "patchfile.h"
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gate {
    const char *program;
    struct cli_target target;
    struct rdf_judge judge;
    bool is_open;
    bool refused;
};

/* A patch file's debug data. */
struct patch {
    const char *path;
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_debug *debug;
    struct rdf_debug_index index;
};

static bool open_patch(const char *path, struct patch *ret)
{
    struct rdf_error ignored = {0};
    *ret = (struct patch){.path = path};
    rdf_os_local_space(&ret->space);
    rdf_arena_init(&ret->arena, &rdf_os_pages);
    if (rdf_debug_open(&ret->space, &ret->arena, path, 0, 0, RDF_DEBUG_INSIDE, &ret->debug, &ignored) ==
            REDEFINE_OK &&
        rdf_debug_build_index(ret->debug, &rdf_os_pages, (struct rdf_span){0}, &ret->index, &ignored) ==
            REDEFINE_OK)
        return true;
    rdf_debug_close(ret->debug);
    rdf_arena_free(&ret->arena);
    return false;
}

static void close_patch(struct patch *patch)
{
    rdf_debug_close(patch->debug);
    rdf_os_pages.put(rdf_os_pages.ctx, (void *)(uintptr_t)patch->index.blob.data,
                     patch->index.blob.len_bytes);
    rdf_arena_free(&patch->arena);
}

/* The sentence, and the table below it as it is. */
static void say_hazard(const char *path, const char *name, const struct rdf_hazard *hazard)
{
    const char *table = strchr(hazard->detail, '\n');
    int len = table ? (int)(table - hazard->detail) : (int)strlen(hazard->detail);
    cli_say("%s redefines %s with another %s: %.*s; not started (--force starts it all the same)", path, name,
            rdf_hazard_name(hazard->kind), len, hazard->detail);
    for (const char *at = table; at && *at; at++)
        fputc(*at == '\n' || (unsigned char)*at >= ' ' ? *at : '?', stderr);
    if (table)
        fputc('\n', stderr);
}

static void warn_of_copies(struct gate *gate, const struct rdf_function *function, const char *name)
{
    const struct rdf_error *ignored;
    struct rdf_check_debug debug;
    const struct rdf_debug_index *index = rdf_judge_index(&gate->judge, function->image, &ignored);
    const struct rdf_debug_function *known =
        index ? rdf_debug_index_at(index, function->start - rdf_image_bias(function->image)) : NULL;
    if (!known || !rdf_judge_sites(&gate->judge, index, known, &debug))
        return;
    for (size_t i = 0; i < debug.inlined_count; i++) {
        const struct rdf_check_inlined *site = &debug.inlined[i];
        if (site->is_self)
            continue;
        cli_say("warning: %s is inlined into %s (%s:%u)%s, where the replacement is not called; redefine "
                "check says "
                "more",
                name, site->caller, site->file ? site->file : "?", site->line,
                debug.inlined_total > 1 ? " and elsewhere" : "");
        return;
    }
}

static void gate_function(struct gate *gate, const struct patch *patch, const char *name,
                          uint64_t replacement)
{
    struct rdf_error ignored = {0};
    struct rdf_function function;
    struct rdf_report report = {.name = name};
    uint64_t entry;
    if (!gate->is_open) {
        if (!cli_target_open(gate->program, &gate->target))
            return;
        gate->is_open = true;
        gate->judge = cli_judge_of(&gate->target, RDF_DEBUG_INSIDE);
    }
    /* What cannot be found, the agent will say; it knows the process. */
    if (rdf_images_find(&gate->target.images, name, &entry, &ignored) != REDEFINE_OK ||
        rdf_images_function(&gate->target.images, entry, &function, &ignored) != REDEFINE_OK)
        return;
    warn_of_copies(gate, &function, name);
    const struct rdf_debug_function *known = rdf_debug_index_at(&patch->index, replacement);
    const struct rdf_type *of_target = rdf_judge_type(&gate->judge, function.image, function.start);
    const struct rdf_type *of_replacement;
    if (!known || !of_target ||
        rdf_debug_type(patch->debug, known, &of_replacement, &ignored) != REDEFINE_OK ||
        rdf_check_compare(of_target, of_replacement, &gate->target.arena, &report, &ignored) != REDEFINE_OK)
        return;
    for (const struct rdf_hazard *hazard = report.hazard; hazard; hazard = hazard->next)
        if (hazard->severity == RDF_SEVERITY_BLOCKER) {
            say_hazard(patch->path, name, hazard);
            gate->refused = true;
            return;
        }
}

static void gate_file(struct gate *gate, const char *path)
{
    struct cli_patch_record *record;
    struct patch patch;
    size_t count;
    if (!open_patch(path, &patch))
        return;
    if (cli_patch_read(path, &record, &count)) {
        for (size_t i = 0; i < count; i++)
            gate_function(gate, &patch, record[i].name, record[i].replacement);
        cli_patch_free(record, count);
    }
    close_patch(&patch);
}

static void gate_symbol(struct gate *gate, const char *path, const char *symbol, const char *name)
{
    struct patch patch;
    if (!open_patch(path, &patch))
        return;
    uint64_t replacement = cli_patch_symbol(path, symbol);
    if (replacement)
        gate_function(gate, &patch, name, replacement);
    close_patch(&patch);
}

bool cli_gate(const char *program, const char *items)
{
    static const char item_end[] = {RDF_REQUEST_ITEM, '\0'};
    static const char field_end[] = {RDF_REQUEST_FIELD, '\0'};
    struct gate gate = {.program = program};
    char *copy = strdup(items);
    char *next_item = NULL;
    for (char *item = copy ? strtok_r(copy, item_end, &next_item) : NULL; item;
         item = strtok_r(NULL, item_end, &next_item)) {
        char *next_field = NULL;
        const char *kind = strtok_r(item, field_end, &next_field);
        const char *path = strtok_r(NULL, field_end, &next_field);
        const char *symbol = strtok_r(NULL, field_end, &next_field);
        const char *name = strtok_r(NULL, field_end, &next_field);
        if (kind && path && strcmp(kind, "patch") == 0)
            gate_file(&gate, path);
        else if (kind && name && strcmp(kind, "name") == 0)
            gate_symbol(&gate, path, symbol, name);
    }
    if (gate.is_open) {
        rdf_judge_free(&gate.judge);
        cli_target_close(&gate.target);
    }
    free(copy);
    return !gate.refused;
}
