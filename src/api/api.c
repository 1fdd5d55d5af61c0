/* SPDX-License-Identifier: MIT
 *
 * The public calls: arguments validated, the engine locked, failures kept for redefine_explain.
 */
#include <redefine/apply.h>

#include "api/enter.h"
#include "api/inlined.h"
#include "api/internal.h"
#include "api/thread.h"
#include "base/bytes.h"
#include "base/progress.h"

#include <stdio.h>

static struct rdf_engine engine;
static struct rdf_space space;

const char *redefine_strerror(redefine_status status)
{
    switch (status) {
#define STATUS_CASE(name, number, text) \
    case REDEFINE_##name: return text;
        REDEFINE_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "not a status of this library";
}

const char *redefine_explain(void)
{
    return rdf_thread_known_or_shared()->last_error.sentence;
}

redefine_status rdf_api_keep(const struct rdf_error *err)
{
    rdf_thread_somewhere()->last_error = *err;
    return err->status;
}

/* Locks the engine for one call and makes room for its failure. */
static redefine_status enter(struct rdf_error *err)
{
    *err = (struct rdf_error){0};
    if (!rdf_os_lock(&engine.lock))
        return rdf_fail(
            err, REDEFINE_EBUSY,
            "called from inside the engine: a replacement of a function that the engine itself uses "
            "must not redefine or restore anything while it runs");
    if (!engine.space) {
        rdf_os_local_space(&space);
        rdf_engine_init(&engine, &space, rdf_arch_native(), &rdf_os_pages, &rdf_snapshot_pages);
        engine.thread_word = (struct rdf_thread_word){rdf_os_thread_word_off(),
                                                      rdf_os_thread_word_is_from_other()};
    }
    rdf_engine_recover(&engine);
    return REDEFINE_OK;
}

/* The same for calls whose failure is to be explained. */
static redefine_status begin(struct rdf_error *err)
{
    redefine_status status = enter(err);
    if (status != REDEFINE_OK)
        rdf_thread_somewhere()->last_error = *err;
    return status;
}

redefine_status rdf_api_end(const struct rdf_error *err, redefine_status status)
{
    rdf_os_unlock(&engine.lock);
    if (status != REDEFINE_OK)
        rdf_thread_somewhere()->last_error = *err;
    return status;
}

static redefine_status refuse_with(redefine_status status, const char *sentence)
{
    struct rdf_error *error = &rdf_thread_somewhere()->last_error;
    *error = (struct rdf_error){0};
    return rdf_fail(error, status, "%s", sentence);
}

redefine_status rdf_api_refuse(const char *sentence)
{
    return refuse_with(REDEFINE_EINVAL, sentence);
}

static redefine_status commit(const struct rdf_change *change, size_t count, uint64_t caller_sp)
{
    struct rdf_error err;
    redefine_status status = begin(&err);
    if (status != REDEFINE_OK)
        return status;
    return rdf_api_end(&err, rdf_engine_commit(&engine, change, count, caller_sp, &err));
}

/* Before the engine is locked: the first question about an object reads its debug data. What is redefined
 * already was asked about then. */
static redefine_status refuse_inlined(uint64_t target)
{
    struct rdf_error err = {0};
    const struct rdf_redef *redef = rdf_registry_find(&engine.registry, target);
    if (redef && __atomic_load_n(&redef->asked, __ATOMIC_ACQUIRE) != RDF_ASKED_NOTHING)
        return REDEFINE_OK;
    return rdf_inlined_refuse(target, &err) == REDEFINE_OK ? REDEFINE_OK : rdf_api_keep(&err);
}

redefine_status redefine_func(void *target, void *replacement)
{
    if (!target || !replacement)
        return rdf_api_refuse(target ? "the replacement is null" : "the target is null");
    if (rdf_engine_swap(&engine, rdf_api_address(target), rdf_api_address(replacement)))
        return REDEFINE_OK;
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = rdf_api_address(target),
                                .replacement = rdf_api_address(replacement)};
    redefine_status status = refuse_inlined(change.target);
    return status == REDEFINE_OK ? commit(&change, 1, RDF_CALLER_SP) : status;
}

/* ---- For one thread ---- */

static const struct rdf_selector *selector_of(void *target)
{
    const struct rdf_redef *redef = rdf_engine_find(&engine, rdf_api_address(target));
    return redef ? rdf_registry_selector(&engine.registry, redef->entry) : NULL;
}

static bool is_own(const struct rdf_selector *selector)
{
    const struct rdf_thread_record *thread = rdf_thread_known();
    return selector && thread && thread->own[selector->index];
}

redefine_status redefine_func_for_thread(void *target, void *replacement)
{
    if (!target || !replacement)
        return rdf_api_refuse(target ? "the replacement is null" : "the target is null");
    redefine_status status = refuse_inlined(rdf_api_address(target));
    if (status != REDEFINE_OK)
        return status;
    struct rdf_thread_record *thread = rdf_thread_get();
    if (!thread)
        return refuse_with(REDEFINE_ENOMEM, "no memory for what this thread redefines for itself");
    struct rdf_change change = {.kind = RDF_CHANGE_SELECT,
                                .target = rdf_api_address(target),
                                .replacement = rdf_api_address(replacement),
                                .owner = &rdf_threads};
    struct rdf_error err;
    status = begin(&err);
    if (status != REDEFINE_OK)
        return status;
    status = rdf_engine_commit(&engine, &change, 1, RDF_CALLER_SP, &err);
    if (status == REDEFINE_OK)
        rdf_thread_set(thread, selector_of(target)->index, rdf_api_address(replacement));
    return rdf_api_end(&err, status);
}

/* The last one who leaves takes the layer off. */
static redefine_status restore_own(void *target, const struct rdf_selector *selector, uint64_t caller_sp,
                                   struct rdf_error *err)
{
    struct rdf_change change = {.kind = RDF_CHANGE_RESTORE,
                                .target = rdf_api_address(target),
                                .owner = &rdf_threads};
    redefine_status status = REDEFINE_OK;
    if (!rdf_thread_others_have(selector->index))
        status = rdf_engine_commit(&engine, &change, 1, caller_sp, err);
    if (status == REDEFINE_OK)
        rdf_thread_set(rdf_thread_known(), selector->index, 0);
    return status;
}

redefine_status redefine_func_restore_for_thread(void *target)
{
    if (!target)
        return rdf_api_refuse("the target is null");
    struct rdf_error err;
    redefine_status status = begin(&err);
    if (status != REDEFINE_OK)
        return status;
    const struct rdf_selector *selector = selector_of(target);
    if (is_own(selector))
        status = restore_own(target, selector, RDF_CALLER_SP, &err);
    return rdf_api_end(&err, status);
}

redefine_status redefine_func_restore(void *target)
{
    if (!target)
        return rdf_api_refuse("the target is null");
    struct rdf_change change = {.kind = RDF_CHANGE_RESTORE, .target = rdf_api_address(target)};
    struct rdf_error err;
    redefine_status status = begin(&err);
    if (status != REDEFINE_OK)
        return status;
    const struct rdf_thread_record *thread = rdf_thread_known();
    const struct rdf_selector *selector = thread && thread->own_count ? selector_of(target) : NULL;
    if (is_own(selector))
        status = restore_own(target, selector, RDF_CALLER_SP, &err);
    else
        status = rdf_engine_commit(&engine, &change, 1, RDF_CALLER_SP, &err);
    return rdf_api_end(&err, status);
}

/* ---- What is asked ---- */

/* The record of a target, without a lock where the address itself is known. */
static struct rdf_redef *find_redef(void *target)
{
    struct rdf_redef *redef = rdf_registry_find(&engine.registry, rdf_api_address(target));
    struct rdf_error err;
    if (redef || __atomic_load_n(&engine.registry.table, __ATOMIC_ACQUIRE) == NULL ||
        enter(&err) != REDEFINE_OK)
        return redef;
    redef = rdf_engine_find(&engine, rdf_api_address(target));
    (void)rdf_api_end(&err, REDEFINE_OK);
    return redef;
}

void *redefine_func_original(void *target)
{
    struct rdf_redef *redef = find_redef(target);
    uint64_t original = redef ? __atomic_load_n(&redef->asked_original, __ATOMIC_ACQUIRE) : 0;
    /* Asked by the replacement itself after another thread's restore: were the answer the target, and a
     * third thread's redefinition next, the replacement would call itself. */
    uint64_t asker = rdf_api_address(__builtin_return_address(0));
    if (redef && !original && asker - redef->replacement < redef->replacement_bytes)
        original = rdf_redef_trampoline(redef);
    return original ? (void *)(uintptr_t)original : target;
}

void *redefine_func_replacement(void *target)
{
    const struct rdf_redef *redef = find_redef(target);
    return redef ? (void *)(uintptr_t)rdf_engine_replacement(&engine, redef) : NULL;
}

static bool has_layer_of(const struct rdf_redef *redef, const void *owner)
{
    struct rdf_layer room;
    const struct rdf_layer *layer = rdf_redef_top(redef, &room);
    while (layer && layer->owner != owner)
        layer = layer->below;
    return layer != NULL;
}

redefine_status rdf_api_restore_all_of(const void *owner, uint64_t caller_sp)
{
    struct rdf_error err;
    redefine_status status = begin(&err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_arena arena;
    rdf_arena_init(&arena, engine.pages);
    size_t count = 0;
    struct rdf_change *change = rdf_arena_alloc(&arena, (2 * engine.registry.count + 1) * sizeof *change);
    if (!change)
        status = rdf_fail(&err, REDEFINE_ENOMEM, "no memory for the list of what is redefined");
    const struct rdf_redef *redef;
    for (size_t at = 0; change && (redef = rdf_table_next(engine.registry.table, &at)) != NULL;)
        for (size_t i = 0; i < (owner ? 1 : 2); i++) {
            const void *of = i ? &rdf_threads : owner;
            if (has_layer_of(redef, of))
                change[count++] = (struct rdf_change){.kind = RDF_CHANGE_RESTORE,
                                                      .owner = of,
                                                      .target = redef->entry};
        }
    if (change)
        status = rdf_engine_commit(&engine, change, count, caller_sp, &err);
    if (status == REDEFINE_OK && !owner)
        rdf_thread_clear_all();
    rdf_arena_free(&arena);
    return rdf_api_end(&err, status);
}

redefine_status redefine_restore_all(void)
{
    return rdf_api_restore_all_of(NULL, RDF_CALLER_SP);
}

/* ---- Batches ---- */

struct redefine_batch {
    struct rdf_arena arena;
    struct rdf_change *change;
    size_t count;
    size_t capacity;
};

redefine_batch *redefine_batch_new(void)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, &rdf_os_pages);
    redefine_batch *batch = rdf_arena_alloc(&arena, sizeof *batch);
    if (!batch) {
        (void)refuse_with(REDEFINE_ENOMEM, "no memory for a batch of changes");
        return NULL;
    }
    batch->arena = arena;
    return batch;
}

void redefine_batch_free(redefine_batch *batch)
{
    if (!batch)
        return;
    struct rdf_arena arena = batch->arena; /* the batch itself lives in it */
    rdf_arena_free(&arena);
}

static redefine_status note(redefine_batch *batch, const struct rdf_change *change)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? 2 * batch->capacity : 16;
        struct rdf_change *list = rdf_arena_alloc(&batch->arena, capacity * sizeof *list);
        if (!list)
            return refuse_with(REDEFINE_ENOMEM, "no memory for one more change in the batch");
        if (batch->count)
            rdf_bytes_copy(list, batch->change, batch->count * sizeof *list);
        batch->change = list;
        batch->capacity = capacity;
    }
    batch->change[batch->count++] = *change;
    return REDEFINE_OK;
}

redefine_status redefine_batch_add(redefine_batch *batch, void *target, void *replacement)
{
    if (!batch || !target || !replacement)
        return rdf_api_refuse(!batch   ? "the batch is null"
                              : target ? "the replacement is null"
                                       : "the target is null");
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = rdf_api_address(target),
                                .replacement = rdf_api_address(replacement)};
    return note(batch, &change);
}

redefine_status redefine_batch_restore(redefine_batch *batch, void *target)
{
    if (!batch || !target)
        return rdf_api_refuse(batch ? "the target is null" : "the batch is null");
    struct rdf_change change = {.kind = RDF_CHANGE_RESTORE, .target = rdf_api_address(target)};
    return note(batch, &change);
}

redefine_status redefine_batch_commit(redefine_batch *batch)
{
    if (!batch)
        return rdf_api_refuse("the batch is null");
    redefine_status status = REDEFINE_OK;
    for (size_t i = 0; status == REDEFINE_OK && i < batch->count; i++)
        if (batch->change[i].kind == RDF_CHANGE_REDEFINE)
            status = refuse_inlined(batch->change[i].target);
    if (status == REDEFINE_OK)
        status = commit(batch->change, batch->count, RDF_CALLER_SP);
    if (status == REDEFINE_OK)
        batch->count = 0;
    return status;
}

void redefine_on_progress(redefine_progress *tell, void *ctx)
{
    rdf_progress_to(tell, ctx);
}

const char *redefine_describe(void *target)
{
    struct rdf_error err;
    char *description = rdf_thread_somewhere()->description;
    if (enter(&err) != REDEFINE_OK)
        return "";
    const struct rdf_redef *redef = rdf_engine_find(&engine, rdf_api_address(target));
    if (!redef)
        (void)snprintf(description, RDF_SENTENCE_BYTES, "%p was never redefined", target);
    else
        (void)snprintf(description, RDF_SENTENCE_BYTES,
                       "%s%s at 0x%llx, %u bytes of 0x%llx..0x%llx displaced, relay 0x%llx, original 0x%llx, "
                       "written by %s with %zu other threads stopped for %u us",
                       redef->is_active ? "" : "restored: ", rdf_strategy_name(redef->strategy),
                       (unsigned long long)rdf_redef_edit(redef), (unsigned)redef->window_bytes,
                       (unsigned long long)redef->entry,
                       (unsigned long long)redef->entry + redef->function_bytes,
                       (unsigned long long)rdf_redef_relay(redef),
                       (unsigned long long)rdf_redef_trampoline(redef), rdf_write_method_name(redef->method),
                       engine.last_safety == RDF_SAFE_BY_STOP ? engine.last_stop.thread_count : 0,
                       (unsigned)(engine.last_stop.stopped_ns / 1000));
    (void)rdf_api_end(&err, REDEFINE_OK);
    return description;
}

const char *redefine_report(void)
{
    static const char *const names[] = {
        [RDF_SAFE_ALONE] = "L0: no other thread",
        [RDF_SAFE_BY_STORE] = "L1: one atomic store each, other threads ran on",
        [RDF_SAFE_BY_STOP] = "L2: other threads were stopped by ",
        [RDF_SAFE_BY_TRAPS] = "L3: other threads ran on, kept away by traps",
    };
    struct rdf_error err;
    char *description = rdf_thread_somewhere()->description;
    if (enter(&err) != REDEFINE_OK)
        return "";
    bool is_by_store = engine.last_safety == RDF_SAFE_BY_STORE && rdf_arch_native()->trap_bytes != 1;
    bool is_open = is_by_store ||
                   (engine.last_safety == RDF_SAFE_BY_TRAPS && engine.last_method == RDF_WRITE_PROTECT);
    char stop[64] = "";
    if (engine.last_safety == RDF_SAFE_BY_STOP)
        (void)snprintf(stop, sizeof stop, "%s (%zu of them, for %llu us)", rdf_stop_name(),
                       engine.last_stop.thread_count,
                       (unsigned long long)(engine.last_stop.stopped_ns / 1000));
    description[0] = 0;
    if (engine.last_edits)
        (void)snprintf(description, RDF_SENTENCE_BYTES, "%s%s; %zu edits, written by %s%s",
                       names[engine.last_safety], stop, engine.last_edits,
                       rdf_write_method_name(engine.last_method),
                       is_open ? " (writable and executable for that moment)" : "");
    (void)rdf_api_end(&err, REDEFINE_OK);
    return description;
}

/* ---- For the other files of this folder ---- */

redefine_status rdf_api_enter(struct rdf_engine **ret_engine, struct rdf_error *err)
{
    redefine_status status = enter(err);
    if (status == REDEFINE_OK)
        *ret_engine = &engine;
    return status;
}

redefine_status rdf_api_begin(struct rdf_engine **ret_engine, struct rdf_error *err)
{
    redefine_status status = begin(err);
    if (status == REDEFINE_OK)
        *ret_engine = &engine;
    return status;
}

void rdf_api_leave(void)
{
    rdf_os_unlock(&engine.lock);
}
