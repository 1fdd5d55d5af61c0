/* SPDX-License-Identifier: MIT */
#include "core/shape.h"

#include "base/bytes.h"

static redefine_status place(struct rdf_engine *engine, uint64_t addr, uint32_t code_bytes_max,
                             rdf_shape_emit *emit, void *ctx, struct rdf_near_mark *mark, uint8_t *code,
                             struct rdf_near_place *ret, struct rdf_error *err)
{
    struct rdf_near *near = &engine->near;
    uint32_t len_bytes;
    rdf_near_take_mark(near, mark);
    redefine_status status = rdf_near_reserve(near, &engine->snapshot.images.maps, addr, code_bytes_max, ret,
                                              err);
    if (status == REDEFINE_OK)
        status = emit(ctx, ret, code, &len_bytes, err);
    if (status == REDEFINE_OK) {
        rdf_near_shrink(near, ret, len_bytes);
        status = rdf_near_fill(near, ret->chunk, ret->code_addr, code, len_bytes, err);
    }
    if (status == REDEFINE_OK)
        status = rdf_near_seal(near, mark, err);
    if (status != REDEFINE_OK)
        rdf_near_rollback(near, mark);
    return status;
}

redefine_status rdf_shape_place(struct rdf_engine *engine, uint64_t addr, uint32_t code_bytes_max,
                                rdf_shape_emit *emit, void *ctx, uint64_t slot_value,
                                struct rdf_near_place *ret, struct rdf_error *err)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, engine->pages);
    struct rdf_near_mark *mark = rdf_arena_alloc(&arena, sizeof *mark);
    uint8_t *code = rdf_arena_alloc(&arena, code_bytes_max);
    redefine_status status;
    if (mark && code) {
        engine->near.is_refused = false;
        status = place(engine, addr, code_bytes_max, emit, ctx, mark, code, ret, err);
        if (status != REDEFINE_OK && engine->near.is_refused) { /* in another way: see rdf_near_fill */
            if (err)
                err->status = REDEFINE_OK;
            status = place(engine, addr, code_bytes_max, emit, ctx, mark, code, ret, err);
        }
    } else {
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for the records of this change");
    }
    if (status == REDEFINE_OK)
        (void)rdf_near_set_slot(&engine->near, ret->slot_addr, slot_value);
    rdf_arena_free(&arena);
    return status;
}

static void make_item(struct rdf_engine *engine, const struct rdf_shape_edit *edit, bool on,
                      struct rdf_write_item *ret)
{
    const struct rdf_maps *maps = &engine->snapshot.images.maps;
    struct rdf_write_item item = {.edit = edit->edit,
                                  /* what is taken back is one instruction: nobody is inside it */
                                  .moves = on && edit->trampoline_addr,
                                  .window_start = edit->edit.addr,
                                  .window_end = edit->edit.addr + edit->edit.len_bytes,
                                  .trampoline_addr = edit->trampoline_addr,
                                  .pcs = edit->pcs,
                                  .pc_count = edit->pc_count};
    if (!on) {
        rdf_bytes_copy(item.edit.old_bytes, edit->edit.new_bytes, sizeof item.edit.old_bytes);
        rdf_bytes_copy(item.edit.new_bytes, edit->edit.old_bytes, sizeof item.edit.new_bytes);
    }
    for (size_t i = 0; i < 2; i++) {
        const struct rdf_map *map = rdf_maps_find(maps, item.edit.addr + (i ? item.edit.len_bytes - 1u : 0));
        item.prot[i] = map ? map->prot : RDF_PROT_READ | RDF_PROT_EXEC;
    }
    struct rdf_image *image = rdf_images_at(&engine->snapshot.images, item.edit.addr);
    item.has_engine = image &&
                      image == rdf_images_at(&engine->snapshot.images, (uint64_t)(uintptr_t)&rdf_write_apply);
    *ret = item;
}

redefine_status rdf_shape_switch(struct rdf_engine *engine, const struct rdf_shape *shape, bool on,
                                 uint64_t caller_sp, struct rdf_error *err)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, engine->pages);
    struct rdf_write_item *item = rdf_arena_alloc(&arena, shape->count * sizeof *item);
    if (!item)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the records of this change");
    for (size_t i = 0; i < shape->count; i++) { /* ascending */
        size_t at = i;
        for (; at > 0 && item[at - 1].edit.addr > shape->edit[i].edit.addr; at--)
            item[at] = item[at - 1];
        make_item(engine, &shape->edit[i], on, &item[at]);
    }
    struct rdf_write write = {.space = engine->space,
                              .arch = engine->arch,
                              .only_stopped = true,
                              .maps = &engine->snapshot.images.maps,
                              .item = item,
                              .count = shape->count,
                              .caller_sp = caller_sp,
                              .methods = engine->write_methods,
                              .publish = shape->publish,
                              .publish_ctx = shape->ctx,
                              .stack_bytes_max = shape->stack_bytes_max,
                              .is_ready = shape->is_ready};
    redefine_status status = rdf_write_apply(&write, err);
    engine->last_stop = write.stop;
    rdf_arena_free(&arena);
    return status;
}
