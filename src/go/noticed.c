/* SPDX-License-Identifier: MIT
 *
 * Whether callers would notice: copies in callers, calls that were computed away, calls that are
 * instructions.
 */
#include "go/target.h"

#include <stdio.h>
#include <string.h>

enum { FLAG_BYTES = 320 };

struct looking {
    struct rdf_go_sites *sites;
    char first[256];
};

static bool note_site(void *ctx, const struct rdf_go_site *site)
{
    struct looking *looking = ctx;
    struct rdf_go_sites *sites = looking->sites;
    size_t room = sites->text_bytes - sites->used_bytes;
    int len = snprintf(sites->text + sites->used_bytes, room, "%s\t%u\t%s\n", site->file, site->line,
                       site->caller);
    if (len > 0 && (size_t)len < room)
        sites->used_bytes += (size_t)len;
    else if (room)
        sites->text[sites->used_bytes] = 0;
    if (sites->count++ == 0)
        (void)snprintf(looking->first, sizeof looking->first, "%s (%s:%u)", site->caller, site->file,
                       site->line);
    return true;
}

/* Whether "PATTERN=FLAG FLAG…", as the program was built with, forbids that anything of the package is
 * inlined. */
static bool forbids_inlining(const struct rdf_go_built *built, const char *name)
{
    const char *flags = built->gcflags;
    char wanted[FLAG_BYTES]; /* -gcflags=PKG=-l */
    rdf_go_inlining_flag(name, built->main_package, wanted, sizeof wanted);
    const char *package = strchr(wanted, '=') + 1;
    size_t package_len = strcspn(package, "="), len = strcspn(flags, "= ");
    bool is_ours = flags[len] == '=' && ((len == 3 && memcmp(flags, "all", len) == 0) ||
                                         (len == package_len && memcmp(flags, package, len) == 0));
    for (const char *flag = flags + len; is_ours && (flag = strstr(flag, "-l")); flag += 2)
        if ((flag[-1] == '=' || flag[-1] == ' ') && (flag[2] == ' ' || flag[2] == 0))
            return true;
    return false;
}

redefine_status rdf_go_target_bodiless(struct rdf_images *images, const char *name,
                                       const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                       struct rdf_error *err)
{
    struct looking looking = {.sites = sites};
    char flag[FLAG_BYTES];
    rdf_go_inlined(images, name, note_site, &looking);
    if (!sites->count)
        return REDEFINE_OK;
    rdf_go_inlining_flag(name, built->main_package, flag, sizeof flag);
    return rdf_fail(
        err, REDEFINE_EINLINED,
        "%s has no code of its own: it was inlined wherever it is called, into %s%s; build with %s", name,
        looking.first, sites->count > 1 ? " and others" : "", flag);
}

bool rdf_go_target_can_vanish(const struct rdf_go_target *target)
{
    /* A body that calls something, or has a loop of some size, leaves a trace wherever it is inlined. */
    enum { FOLDABLE_BYTES_MAX = 32 };
    const char *name = target->func.name;
    bool is_small = !target->entry.has_check && target->code.len_bytes <= FOLDABLE_BYTES_MAX;
    bool has_own_callers = strchr(name, '(') || strstr(name, ".func");
    return is_small && !has_own_callers;
}

/* A plugin is linked with a copy of every package that it uses, which only its own calls go to. */
static redefine_status find_copy(struct rdf_images *images, const struct rdf_go_func *func,
                                 struct rdf_error *err)
{
    for (size_t i = 0; i < images->count; i++) {
        const struct rdf_go *go;
        struct rdf_go_func copy;
        if (images->image[i] == rdf_go_image(func->go) || !rdf_go_is_go(images, images->image[i]) ||
            rdf_go_open(images, images->image[i], &go, NULL) != REDEFINE_OK ||
            !rdf_go_func_named(go, func->name, 0, &copy))
            continue;
        return rdf_fail(
            err, REDEFINE_EAMBIGUOUS,
            "%s is in %s, and a copy of it in %s: the calls in a plugin, and those outside of it, each go "
            "to their own, and func values to one of them; redefine it before the plugin is opened, for "
            "those outside, or redefine what only one of the two has",
            func->name, rdf_image_name(rdf_go_image(func->go)), rdf_image_name(images->image[i]));
    }
    return REDEFINE_OK;
}

redefine_status rdf_go_is_inlined(struct rdf_images *images, const char *name,
                                  const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                  struct rdf_error *err)
{
    struct looking looking = {.sites = sites};
    char flag[FLAG_BYTES];
    rdf_go_inlined(images, name, note_site, &looking);
    rdf_go_inlining_flag(name, built->main_package, flag, sizeof flag);
    if (!sites->count)
        return REDEFINE_OK;
    return rdf_fail(err, REDEFINE_EINLINED,
                    "%s was inlined into %s%s; those callers would not notice; build with %s", name,
                    looking.first, sites->count > 1 ? " and others" : "", flag);
}

redefine_status rdf_go_target_is_noticed(struct rdf_images *images, const struct rdf_go_target *target,
                                         const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                         struct rdf_error *err)
{
    const char *name = target->func.name;
    char flag[FLAG_BYTES];
    redefine_status status = rdf_go_is_inlined(images, name, built, sites, err);
    if (status == REDEFINE_OK)
        status = find_copy(images, &target->func, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_go_inlining_flag(name, built->main_package, flag, sizeof flag);
    if (rdf_go_target_can_vanish(target) && !forbids_inlining(built, name) &&
        rdf_go_each_call(images, target->func.go, target->func.entry, NULL, NULL) == 0)
        return rdf_fail(
            err, REDEFINE_EFOLDED,
            "nothing in this program calls %s any more: it is so small that the compiler computed its "
            "calls where they were, and left no trace; build with %s",
            name, flag);
    return REDEFINE_OK;
}
