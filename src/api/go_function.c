/* SPDX-License-Identifier: MIT */
#include "api/go_function.h"

#include "api/go_plan.h"
#include "base/bytes.h"

enum { BUCKETS = 256, LIST_ROOM = 16, STACK_BYTES_MAX = 64 << 10 };

static struct rdf_go_function *bucket[BUCKETS];
static struct rdf_arena arena; /* what lasts */
static struct rdf_go_note *notes;

/* ---- the records ---- */

static struct rdf_go_function **place_of(uint64_t entry)
{
    return &bucket[entry / 32 % BUCKETS];
}

struct rdf_go_function *rdf_api_go_find(uint64_t entry)
{
    struct rdf_go_function *function = *place_of(entry);
    while (function && function->entry != entry)
        function = function->next;
    return function;
}

static redefine_status no_memory(struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the records of this change");
}

static bool prepare(void)
{
    if (!arena.source)
        rdf_arena_init(&arena, &rdf_os_pages);
    if (!notes) {
        notes = rdf_os_pages.get(rdf_os_pages.ctx, RDF_GO_NOTES * sizeof *notes);
        if (notes)
            notes[RDF_GO_NOTES - 1].g = UINT64_MAX;
    }
    return notes != NULL;
}

/* Add an entry to a list that relays may be reading, or change it. An entry once given to a key keeps it
 * until RDF_GO_FREE, which only goroutines' entries become: nobody but that goroutine itself was reading it.
 */
static bool choose(struct rdf_go_choice **list, size_t *room, uint64_t key, uint64_t closure)
{
    size_t at = 0;
    size_t gap = SIZE_MAX;
    for (; *list && (*list)[at].key; at++) {
        if ((*list)[at].key == key) {
            __atomic_store_n(&(*list)[at].closure, closure, __ATOMIC_RELEASE);
            return true;
        }
        gap = (*list)[at].key == RDF_GO_FREE && gap == SIZE_MAX ? at : gap;
    }
    at = gap != SIZE_MAX ? gap : at;
    if (!*list || at + 1 >= *room) {
        size_t more = *room ? 2 * *room : LIST_ROOM;
        struct rdf_go_choice *copy = rdf_arena_alloc(&arena, more * sizeof *copy);
        if (!copy)
            return false;
        if (*list)
            rdf_bytes_copy(copy, *list, at * sizeof *copy);
        *room = more;
        __atomic_store_n(list, copy, __ATOMIC_RELEASE); /* the old one stays: it may be being read */
    }
    __atomic_store_n(&(*list)[at].closure, closure, __ATOMIC_RELEASE);
    __atomic_store_n(&(*list)[at].key, key, __ATOMIC_RELEASE);
    return true;
}

static struct rdf_go_choice *chosen(struct rdf_go_choice *list, uint64_t key)
{
    for (; list && list->key; list++)
        if (list->key == key)
            return list;
    return NULL;
}

/* ---- a function's first redefinition ---- */

struct placing {
    struct rdf_go_plan plan;
    struct rdf_go_function *function;
};

static redefine_status emit(void *ctx, const struct rdf_near_place *place, uint8_t *ret_code,
                            uint32_t *ret_len_bytes, struct rdf_error *err)
{
    struct placing *placing = ctx;
    redefine_status status = rdf_go_plan_emit(&placing->plan, place, ret_code, ret_len_bytes, err);
    placing->function->code = placing->plan.code;
    return status;
}

static void fill_record(const struct placing *placing)
{
    const struct rdf_go_abi *abi = placing->plan.abi;
    struct rdf_go_function *function = placing->function;
    struct rdf_go_record *record = function->record;
    record->slow = (uint64_t)(uintptr_t)abi->slow;
    record->note = (uint64_t)(uintptr_t)abi->note;
    record->select = function->code.select;
    record->original = function->code.original;
    record->more = placing->plan.target.entry.more;
    record->notes = notes;
    record->own.code = (uint64_t)(uintptr_t)abi->own;
    record->own.record = record;
    record->closure = (uint64_t)(uintptr_t)&record->own;
}

static void publish_padding(void *ctx)
{
    (void)ctx;
}

/* The entry's edit; and the padding's, which is made at once and stays: nothing leads there before, and who
 * is on the way there afterwards must find it. */
static redefine_status make_edits(struct rdf_engine *engine, struct placing *placing, uint64_t caller_sp,
                                  struct rdf_error *err)
{
    struct rdf_go_function *function = placing->function;
    struct rdf_go_plan *plan = &placing->plan;
    redefine_status status = rdf_go_plan_edits(plan, err);
    function->edit = plan->edit;
    function->pc_count = plan->pc_count;
    rdf_bytes_copy(function->pcs, plan->pcs, sizeof function->pcs);
    if (status != REDEFINE_OK || plan->padding.len_bytes == 0)
        return status;
    struct rdf_shape padding = {.edit = plan->padding,
                                .publish = publish_padding,
                                .stack_bytes_max = STACK_BYTES_MAX};
    return rdf_shape_switch(engine, &padding, true, caller_sp, err);
}

redefine_status rdf_api_go_add(struct rdf_engine *engine, const struct rdf_go_abi *abi,
                               const struct rdf_go_target *target, uint64_t g, uint64_t caller_sp,
                               struct rdf_go_function **ret, struct rdf_error *err)
{
    struct rdf_go_function *function = prepare() ? rdf_arena_alloc(&arena, sizeof *function) : NULL;
    struct rdf_go_record *record = function ? rdf_arena_alloc(&arena, sizeof *record) : NULL;
    if (!record)
        return no_memory(err);
    *function = (struct rdf_go_function){.entry = target->func.entry,
                                         .record = record,
                                         .is_generic = target->is_generic};
    struct rdf_images *images = &engine->snapshot.images;
    struct placing placing = {.function = function};
    struct rdf_near_place place;
    redefine_status status = rdf_go_plan_way(images, abi, target, &placing.plan, err);
    if (status == REDEFINE_OK)
        status = rdf_shape_place(engine, function->entry, RDF_GO_CODE_BYTES_MAX, emit, &placing,
                                 (uint64_t)(uintptr_t)record, &place, err);
    if (status != REDEFINE_OK)
        return status;
    fill_record(&placing);
    status = make_edits(engine, &placing, caller_sp, err);
    if (status == REDEFINE_OK && !target->entry.has_check && function->pc_count)
        status = rdf_go_find_goroutines(images, target->func.go, g, &function->goroutines_addr, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_go_function **at = place_of(function->entry);
    function->next = *at;
    *at = function;
    *ret = function;
    return REDEFINE_OK;
}

/* ---- switching ---- */

static void publish(void *ctx)
{
    struct rdf_go_function *function = ctx;
    function->is_active = function->becomes_active;
    __atomic_store_n(&function->record->active, function->is_active, __ATOMIC_RELEASE);
}

static bool nobody_is_parked(void *ctx, const struct rdf_world *world)
{
    const struct rdf_go_function *function = ctx;
    const struct rdf_edit *edit = &function->edit;
    return !rdf_go_is_anyone_parked(function->goroutines_addr, world, edit->addr,
                                    edit->addr + edit->len_bytes);
}

static redefine_status switch_function(struct rdf_engine *engine, struct rdf_go_function *function, bool on,
                                       uint64_t caller_sp, struct rdf_error *err)
{
    if (function->is_active == on)
        return REDEFINE_OK;
    function->becomes_active = on;
    struct rdf_shape shape = {.edit = function->edit,
                              .trampoline_addr = function->code.original,
                              .pcs = function->pcs,
                              .pc_count = function->pc_count,
                              .stack_bytes_max = STACK_BYTES_MAX,
                              .is_ready = on && function->goroutines_addr ? nobody_is_parked : NULL,
                              .publish = publish,
                              .ctx = function};
    return rdf_shape_switch(engine, &shape, on, caller_sp, err);
}

/* The relay looks into the lists from now on, or no longer. */
static void set_special(struct rdf_go_function *function)
{
    struct rdf_go_record *record = function->record;
    if (function->goroutine_count)
        (void)__atomic_fetch_or(&record->special, RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
    else
        (void)__atomic_fetch_and(&record->special, ~(uint32_t)RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
}

/* What is in force for a goroutine, a dictionary or everyone; 0: the original. */
static uint64_t in_force(const struct rdf_go_function *function, const struct rdf_go_target *target,
                         uint64_t goid)
{
    struct rdf_go_record *record = function->record;
    const struct rdf_go_choice *choice = NULL;
    if (!goid && !function->is_generic)
        return function->replacement;
    choice = goid ? chosen(record->by_goroutine, goid)
                  : chosen(record->by_dictionary, target->wrapper.dictionary);
    return choice ? choice->closure : 0;
}

static redefine_status put_in_force(struct rdf_go_function *function, const struct rdf_go_target *target,
                                    uint64_t goid, uint64_t closure, struct rdf_error *err)
{
    struct rdf_go_record *record = function->record;
    bool had = in_force(function, target, goid) != 0;
    size_t *count = goid ? &function->goroutine_count : &function->dictionary_count;
    if (!goid && !function->is_generic) {
        function->replacement = closure;
        __atomic_store_n(&record->closure, closure ? closure : (uint64_t)(uintptr_t)&record->own,
                         __ATOMIC_RELEASE);
        return REDEFINE_OK;
    }
    if (!closure && !had)
        return REDEFINE_OK;
    if (goid ? !choose(&record->by_goroutine, &function->goroutine_room, goid, closure)
             : !choose(&record->by_dictionary, &function->dictionary_room, target->wrapper.dictionary,
                       closure))
        return no_memory(err);
    if (goid && !closure)
        __atomic_store_n(&chosen(record->by_goroutine, goid)->key, RDF_GO_FREE, __ATOMIC_RELEASE);
    *count += closure && !had;
    *count -= !closure && had;
    set_special(function);
    return REDEFINE_OK;
}

redefine_status rdf_api_go_change(struct rdf_engine *engine, struct rdf_go_function *function,
                                  const struct rdf_go_target *target, uint64_t goid, uint64_t closure,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    uint64_t before = in_force(function, target, goid);
    if (!closure && function->is_active && !(function->replacement && (goid || function->is_generic)) &&
        function->goroutine_count + function->dictionary_count <= (goid || function->is_generic)) {
        /* Nothing will be left. The bytes first: until then callers get what they got. */
        redefine_status status = before ? switch_function(engine, function, false, caller_sp, err)
                                        : REDEFINE_OK;
        if (status != REDEFINE_OK)
            return status;
    }
    redefine_status status = put_in_force(function, target, goid, closure, err);
    if (status == REDEFINE_OK && closure)
        status = switch_function(engine, function, true, caller_sp, err);
    if (status != REDEFINE_OK)
        (void)put_in_force(function, target, goid, before, NULL);
    return status;
}
