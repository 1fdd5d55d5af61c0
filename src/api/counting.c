/* SPDX-License-Identifier: MIT
 *
 * Calls counted: every function that a pattern means is redefined by a jump over a counter to its original.
 */
#include <redefine/apply.h>

#include "api/counted_go.h"
#include "api/enter.h"
#include "api/internal.h"
#include "base/progress.h"

struct counting;

struct counted {
    struct counted *next;
    const struct counting *counting;
    const char *name;
    uint64_t addr;
    uint64_t *counter;
};

struct counting {
    struct rdf_images *images;
    struct rdf_arena *arena;
    redefine_counter *counter;
    redefine_not_counted *not_counted;
    void *ctx;
    struct counted *first, **last;
    size_t count;
    bool out_of_memory;
};

static enum rdf_visit count_this(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                                 uint64_t addr, bool is_ifunc)
{
    struct counting *counting = ctx;
    struct rdf_error why = {0};
    if ((is_ifunc && rdf_images_follow(counting->images, addr, &addr, &why) != REDEFINE_OK) ||
        rdf_counted_go_refuse(counting->images, addr, &why) != REDEFINE_OK) {
        counting->not_counted(counting->ctx, name, why.sentence);
        return RDF_VISIT_OTHER;
    }
    uint64_t *counter = counting->counter(counting->ctx, rdf_image_name(image), name, readable);
    if (!counter)
        return RDF_VISIT_OTHER;
    struct counted *counted = rdf_arena_alloc(counting->arena, sizeof *counted);
    counting->out_of_memory = !counted;
    if (!counted)
        return RDF_VISIT_STOP;
    *counted = (struct counted){.counting = counting, .name = name, .addr = addr, .counter = counter};
    *counting->last = counted;
    counting->last = &counted->next;
    counting->count++;
    rdf_progress("functions found", counting->count, 0);
    return RDF_VISIT_TAKEN;
}

static void tell_not_counted(const struct rdf_change *change, const struct rdf_error *why)
{
    const struct counted *counted = change->refused_ctx;
    counted->counting->not_counted(counted->counting->ctx, counted->name, why->sentence);
}

/* What counts must not be counted: the decoder works for the engine. */
static void hide_decoder(struct rdf_images *images)
{
    for (size_t i = 0; i < images->count; i++)
        if (rdf_image_glob("*/libZy*.so*", rdf_image_name(images->image[i])))
            rdf_image_hide(images->image[i]);
}

static redefine_status count_all(struct rdf_engine *engine, struct counting *counting, const char *glob,
                                 uint64_t caller_sp, struct rdf_error *err)
{
    static const char owner[] = "counting";
    hide_decoder(counting->images);
    rdf_images_each(counting->images, glob, count_this, counting);
    struct rdf_change *change = rdf_arena_alloc(counting->arena, (counting->count + 1) * sizeof *change);
    if (counting->out_of_memory || !change)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the list of %zu functions", counting->count);
    size_t count = 0;
    for (const struct counted *counted = counting->first; counted; counted = counted->next)
        change[count++] = (struct rdf_change){.kind = RDF_CHANGE_COUNT,
                                              .target = counted->addr,
                                              .owner = owner,
                                              .counter_addr = rdf_api_address(counted->counter),
                                              .refused = tell_not_counted,
                                              .refused_ctx = (void *)(uintptr_t)counted};
    return rdf_engine_commit(engine, change, count, caller_sp, err);
}

redefine_status redefine_count(const char *glob, redefine_counter *counter, redefine_not_counted *not_counted,
                               void *ctx)
{
    if (!glob || !counter || !not_counted)
        return rdf_api_refuse(glob ? "a callback is null" : "the pattern is null");
    struct rdf_error err;
    struct rdf_engine *engine;
    redefine_status status = rdf_api_begin(&engine, &err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_arena arena;
    struct rdf_images images = {0};
    struct counting counting = {
        .images = &images, .arena = &arena, .counter = counter, .not_counted = not_counted, .ctx = ctx};
    counting.last = &counting.first;
    rdf_arena_init(&arena, engine->pages);
    status = rdf_api_load_images(engine, &images, &arena, &err);
    if (status == REDEFINE_OK)
        status = count_all(engine, &counting, glob, RDF_CALLER_SP, &err);
    rdf_images_free(&images);
    rdf_arena_free(&arena);
    return rdf_api_end(&err, status);
}
