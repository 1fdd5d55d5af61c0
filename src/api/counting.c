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
    struct rdf_api_names *names;
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
    if ((is_ifunc && rdf_images_follow(&counting->names->images, addr, &addr, &why) != REDEFINE_OK) ||
        rdf_counted_go_refuse(&counting->names->images, addr, &why) != REDEFINE_OK) {
        counting->not_counted(counting->ctx, name, why.sentence);
        return RDF_VISIT_OTHER;
    }
    uint64_t *counter = counting->counter(counting->ctx, rdf_image_name(image), name, readable);
    if (!counter)
        return RDF_VISIT_OTHER;
    struct counted *counted = rdf_arena_alloc(&counting->names->arena, sizeof *counted);
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

static redefine_status count_all(struct counting *counting, const char *glob, uint64_t caller_sp)
{
    static const char owner[] = "counting";
    struct rdf_error *err = &counting->names->err;
    hide_decoder(&counting->names->images);
    rdf_images_each(&counting->names->images, glob, count_this, counting);
    struct rdf_change *change = rdf_arena_alloc(&counting->names->arena,
                                                (counting->count + 1) * sizeof *change);
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
    return rdf_engine_commit(counting->names->engine, change, count, caller_sp, err);
}

redefine_status redefine_count(const char *glob, redefine_counter *counter, redefine_not_counted *not_counted,
                               void *ctx)
{
    if (!glob || !counter || !not_counted)
        return rdf_api_refuse(glob ? "a callback is null" : "the pattern is null");
    struct rdf_api_names names;
    redefine_status status = rdf_api_begin_names(&names);
    if (status != REDEFINE_OK)
        return status;
    struct counting counting = {.names = &names, .counter = counter, .not_counted = not_counted, .ctx = ctx};
    counting.last = &counting.first;
    return rdf_api_end_names(&names, count_all(&counting, glob, RDF_CALLER_SP));
}
