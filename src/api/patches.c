/* SPDX-License-Identifier: MIT
 *
 * Names of functions of this process, and the patch files that say them.
 */
#include <redefine/apply.h>

#include "api/enter.h"
#include "api/internal.h"

enum { OWNERS_MAX = 256 };

/* An address inside the object of each patch file seen. */
static const void *patch_owner[OWNERS_MAX];
static size_t patch_owner_count;

static redefine_status note_owner(const void *owner, struct rdf_error *err)
{
    for (size_t i = 0; i < patch_owner_count; i++)
        if (patch_owner[i] == owner)
            return REDEFINE_OK;
    if (patch_owner_count == OWNERS_MAX)
        return rdf_fail(err, REDEFINE_ENOMEM, "more than %d patch files in one process", (int)OWNERS_MAX);
    patch_owner[patch_owner_count++] = owner;
    return REDEFINE_OK;
}

static void hide_patch(const struct rdf_images *images, const void *owner)
{
    struct rdf_image *patch = rdf_images_at(images, rdf_api_address(owner));
    if (patch)
        rdf_image_hide(patch);
}

static void hide_ours(const struct rdf_images *images)
{
    /* A program may have functions that are called as our own are. */
    struct rdf_image *own = rdf_images_at(images, (uint64_t)(uintptr_t)&redefine_func);
    if (own && own != images->image[0])
        rdf_image_hide(own);
    for (size_t i = 0; i < images->count; i++)
        if (rdf_image_glob("*/libredefine-agent.so*", rdf_image_name(images->image[i])))
            rdf_image_hide(images->image[i]);
    for (size_t i = 0; i < patch_owner_count; i++)
        hide_patch(images, patch_owner[i]);
}

redefine_status rdf_api_begin_names(struct rdf_api_names *ret)
{
    redefine_status status = rdf_api_begin(&ret->engine, &ret->err);
    if (status != REDEFINE_OK)
        return status;
    const struct rdf_engine *engine = ret->engine;
    ret->images = (struct rdf_images){0};
    rdf_arena_init(&ret->arena, engine->pages);
    status = rdf_images_load(engine->space, engine->arch, &ret->arena, &ret->images, &ret->err);
    if (status != REDEFINE_OK)
        return rdf_api_end_names(ret, status);
    hide_ours(&ret->images);
    return REDEFINE_OK;
}

redefine_status rdf_api_end_names(struct rdf_api_names *names, redefine_status status)
{
    rdf_images_free(&names->images);
    rdf_arena_free(&names->arena);
    return rdf_api_end(&names->err, status);
}

redefine_status redefine_find(const char *name, void **ret_addr)
{
    if (!name || !ret_addr)
        return rdf_api_refuse(name ? "there is nowhere to put the address: ret_addr is null"
                                   : "the name is null");
    struct rdf_api_names names;
    redefine_status status = rdf_api_begin_names(&names);
    if (status != REDEFINE_OK)
        return status;
    uint64_t found;
    status = rdf_images_find(&names.images, name, &found, &names.err);
    if (status == REDEFINE_OK)
        *ret_addr = (void *)(uintptr_t)found;
    return rdf_api_end_names(&names, status);
}

static redefine_status find_all(struct rdf_images *images, struct redefine_patch_change *change, size_t count,
                                struct rdf_error *err)
{
    redefine_status status = REDEFINE_OK;
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++) {
        uint64_t found = 0;
        status = rdf_images_find(images, change[i].name, &found, err);
        change[i].target = (void *)(uintptr_t)found;
    }
    return status;
}

static redefine_status apply(struct rdf_api_names *names, const void *owner,
                             struct redefine_patch_change *change, size_t count, uint64_t caller_sp)
{
    struct rdf_error *err = &names->err;
    struct rdf_change *list = rdf_arena_alloc(&names->arena, (count + 1) * sizeof *list);
    redefine_status status = list ? note_owner(owner, err)
                                  : rdf_fail(err, REDEFINE_ENOMEM, "no memory for the list of changes");
    if (status == REDEFINE_OK) {
        hide_patch(&names->images, owner);
        status = find_all(&names->images, change, count, err);
    }
    for (size_t i = 0; list && status == REDEFINE_OK && i < count; i++)
        list[i] = (struct rdf_change){.kind = RDF_CHANGE_REDEFINE,
                                      .target = rdf_api_address(change[i].target),
                                      .replacement = rdf_api_address(change[i].replacement),
                                      .owner = owner,
                                      .original = change[i].original};
    rdf_images_close_files(&names->images);
    return status == REDEFINE_OK ? rdf_engine_commit(names->engine, list, count, caller_sp, err) : status;
}

redefine_status redefine_patch_apply(const void *owner, struct redefine_patch_change *change, size_t count)
{
    if (!owner || (!change && count))
        return rdf_api_refuse(owner ? "the list of changes is null" : "the owner is null");
    struct rdf_api_names names;
    redefine_status status = rdf_api_begin_names(&names);
    if (status != REDEFINE_OK)
        return status;
    return rdf_api_end_names(&names, apply(&names, owner, change, count, RDF_CALLER_SP));
}

redefine_status redefine_patch_remove(const void *owner)
{
    if (!owner)
        return rdf_api_refuse("the owner is null");
    return rdf_api_restore_all_of(owner, RDF_CALLER_SP);
}
