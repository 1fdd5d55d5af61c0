/* SPDX-License-Identifier: MIT
 *
 * Functions that no symbol leads to, since the compiler left no code of their own. Debug data knows them, the
 * names of their clones, or Go's own tables.
 */
#include "bodiless.h"

#include "api/go_judge.h"

#include <string.h>

/* Whether a function of the index is what the user calls NAME: plain, linkage name, or C++ with or without
 * its parameters; NAME@FILE too. */
static bool is_named(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                     const char *name)
{
    const char *linkage = index->text + function->name;
    const char *at = strchr(name, '@');
    size_t len = at ? (size_t)(at - name) : strlen(name);
    if (at && strcmp(index->text + function->decl_file, at + 1) != 0) {
        const char *slash = strrchr(index->text + function->decl_file, '/');
        if (!slash || strcmp(slash + 1, at + 1) != 0)
            return false;
    }
    if (strncmp(linkage, name, len) == 0 && !linkage[len])
        return true;
    /* A static function of C++ has no mangled name, and so no parameters in it. */
    size_t own_len = strcspn(name, "(") < len ? strcspn(name, "(") : len;
    if (strncmp(linkage, "_Z", 2) != 0 && strncmp(linkage, name, own_len) == 0 && !linkage[own_len])
        return true;
    char text[1024];
    if (strncmp(linkage, "_Z", 2) != 0 || !rdf_image_demangle(linkage, text, sizeof text) ||
        strncmp(text, name, len) != 0)
        return false;
    return !text[len] || text[len] == '(';
}

static const struct rdf_debug_function *find(const struct rdf_debug_index *index, const char *name)
{
    for (uint32_t i = 0; index && i < index->function_count; i++)
        if ((index->function[i].site_count || index->function[i].flags & RDF_DEBUG_FOLDED) &&
            is_named(index, &index->function[i], name))
            return &index->function[i];
    return NULL;
}

/* Inlined everywhere; or one of which otherwise only a clone or a piece is left, whose body carries the name
 * in debug data. Or else the names of clones alone tell. */
static redefine_status judge_native(struct rdf_judge *judge, const char *name, struct rdf_report *ret,
                                    struct rdf_error *err)
{
    struct rdf_image *program = judge->images->image[0];
    const struct rdf_error *why;
    const struct rdf_debug_index *index = rdf_judge_index(judge, program, &why);
    const struct rdf_debug_function *function = find(index, name);
    struct rdf_function nowhere = {.image = program, .name = name};
    struct rdf_check_debug debug = {0};
    struct rdf_facts facts;
    bool may_have_clones = !function || function->flags & RDF_DEBUG_HAS_BODY;
    if (function && !rdf_judge_sites(judge, program, index, function, &debug))
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    bool has_clones = may_have_clones && rdf_judge_clones(judge, &nowhere, &facts, err) == REDEFINE_OK &&
                      facts.clone_count > 0;
    if (!function && !has_clones)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "%s is not known", name);
    struct rdf_check_subject subject = {.name = name, .debug = &debug, .facts = has_clones ? &facts : NULL};
    return rdf_check_verdict(&subject, judge->arena, ret, err);
}

redefine_status cli_bodiless_judge(struct rdf_judge *judge, const char *name, redefine_status why_not,
                                   struct rdf_report *ret, struct rdf_error *err)
{
    const char *bang = strchr(name, '!');
    if (why_not == REDEFINE_ENOTFOUND)
        return judge_native(judge, name, ret, err);
    if (why_not == REDEFINE_EINLINED)
        return rdf_go_judge_inlined(judge, bang ? bang + 1 : name, ret, err);
    return rdf_fail(err, REDEFINE_ENOTFOUND, "%s has code", name);
}
