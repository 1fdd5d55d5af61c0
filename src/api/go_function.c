/* SPDX-License-Identifier: MIT */
#include "api/go_function.h"

#include "api/go_plan.h"
#include "base/bytes.h"

#include <inttypes.h>

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

struct rdf_go_function *rdf_api_go_find_own(uint64_t shape, uint64_t dictionary)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct rdf_go_function *function = bucket[i]; function; function = function->next)
            if (function->call.len_bytes && function->wrapper.shape == shape &&
                function->wrapper.dictionary == dictionary)
                return function;
    return NULL;
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

static struct rdf_go_choice *chosen(struct rdf_go_choice *list, uint64_t key)
{
    for (; list && list->key; list++)
        if (list->key == key)
            return list;
    return NULL;
}

/* The entry of a key in a list that relays may be reading; a new one is nobody's choice yet. Null: no memory.
 * An entry once given to a key keeps it until RDF_GO_FREE, which only goroutines' entries become: nobody but
 * that goroutine itself was reading it. */
static struct rdf_go_choice *choice_of(struct rdf_go_choice **list, uint64_t key)
{
    struct rdf_go_choice *found = chosen(*list, key);
    if (!found)
        found = chosen(*list, RDF_GO_FREE);
    size_t count = 0;
    while (*list && (*list)[count].key)
        count++;
    bool is_full = !*list || (count + 1 >= LIST_ROOM && (count & (count + 1)) == 0);
    if (!found && is_full) { /* room for a power of two, the end included */
        struct rdf_go_choice *copy = rdf_arena_alloc(&arena,
                                                     (*list ? 2 * (count + 1) : LIST_ROOM) * sizeof *copy);
        if (!copy)
            return NULL;
        if (*list)
            rdf_bytes_copy(copy, *list, count * sizeof *copy);
        __atomic_store_n(list, copy, __ATOMIC_RELEASE); /* the old one stays: it may be being read */
    }
    if (!found)
        found = *list + count;
    __atomic_store_n(&found->key, key, __ATOMIC_RELEASE);
    return found;
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
    record->select_mine = function->code.select_mine;
    record->original = function->code.original;
    record->more = placing->plan.target.entry.more;
    record->notes = notes;
    record->own.code = (uint64_t)(uintptr_t)abi->own;
    record->own.record = record;
    record->closure = function->is_generic ? 0 : (uint64_t)(uintptr_t)&record->own;
}

redefine_status rdf_api_go_add(struct rdf_engine *engine, const struct rdf_go_adding *adding,
                               struct rdf_go_function **ret, struct rdf_error *err)
{
    const struct rdf_go_target *target = adding->target;
    struct rdf_go_function *function = prepare() ? rdf_arena_alloc(&arena, sizeof *function) : NULL;
    struct rdf_go_record *record = function ? rdf_arena_alloc(&arena, sizeof *record) : NULL;
    if (!record)
        return no_memory(err);
    *function = (struct rdf_go_function){.entry = target->func.entry,
                                         .record = record,
                                         .is_generic = target->is_generic,
                                         .dictionary = target->wrapper.dictionary,
                                         .position = target->wrapper.position,
                                         .body = target->entry.is_small_frame
                                                     ? target->func.entry + target->entry.check_bytes
                                                     : 0};
    struct rdf_images *images = &engine->snapshot.images;
    struct placing placing = {.function = function};
    struct rdf_go_plan *plan = &placing.plan;
    struct rdf_near_place place;
    redefine_status status = rdf_go_plan_way(images, adding->abi, target, plan, err);
    plan->registers = adding->registers;
    if (status == REDEFINE_OK)
        status = rdf_shape_place(engine, function->entry, RDF_GO_CODE_BYTES_MAX, emit, &placing,
                                 (uint64_t)(uintptr_t)record, &place, err);
    if (status != REDEFINE_OK)
        return status;
    fill_record(&placing);
    status = rdf_go_plan_edit(plan, err);
    function->edit = plan->edit;
    function->pc_count = plan->pc_count;
    rdf_bytes_copy(function->pcs, plan->pcs, sizeof function->pcs);
    if (status == REDEFINE_OK && plan->can_be_parked)
        status = rdf_go_find_goroutines(images, target->func.go, adding->g, &function->goroutines_addr, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_go_function **at = place_of(function->entry);
    function->next = *at;
    *at = function;
    *ret = function;
    return REDEFINE_OK;
}

redefine_status rdf_api_go_lead(struct rdf_engine *engine, const struct rdf_go_leading *leading,
                                struct rdf_go_function *own, struct rdf_error *err)
{
    const struct rdf_go_wrapper *wrapper = leading->wrapper;
    const struct rdf_go_function *shape = leading->shape;
    struct rdf_edit call = {.addr = wrapper->call_addr};
    uint8_t code[RDF_GO_CALL_BYTES_MAX];
    size_t others_bytes = leading->other_count * sizeof *own->other;
    call.len_bytes = (uint8_t)leading->abi->emit_call(code, call.addr, shape->code.original);
    if (call.len_bytes == 0 || call.len_bytes != wrapper->call_bytes)
        return rdf_fail(err, REDEFINE_ENOMEM,
                        "the original at 0x%" PRIx64 " is out of reach of the call at 0x%" PRIx64,
                        shape->code.original, call.addr);
    if (rdf_plan_read(&engine->snapshot.images, call.addr, call.old_bytes, call.len_bytes) < 0)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code at 0x%" PRIx64 " could not be read", call.addr);
    struct rdf_go_function **other = others_bytes ? rdf_arena_alloc(&arena, others_bytes) : NULL;
    if (others_bytes && !other)
        return no_memory(err);
    if (other)
        rdf_bytes_copy(other, leading->other, others_bytes);
    rdf_bytes_copy(call.new_bytes, code, call.len_bytes);
    own->other = other;
    own->other_count = leading->other_count;
    own->call = call;
    own->wrapper = *wrapper;
    return REDEFINE_OK;
}

/* ---- switching ---- */

struct switching {
    struct rdf_go_function **function;
    size_t count;
    bool becomes_active;
};

static void publish(void *ctx)
{
    struct switching *switching = ctx;
    for (size_t i = 0; i < switching->count; i++)
        switching->function[i]->is_active = switching->becomes_active;
}

static bool nobody_is_parked(void *ctx, const struct rdf_world *world)
{
    const struct switching *switching = ctx;
    for (size_t i = 0; i < switching->count; i++) {
        const struct rdf_go_function *function = switching->function[i];
        if (function->goroutines_addr &&
            rdf_go_is_anyone_parked(function->goroutines_addr, world, function->edit.addr,
                                    function->edit.addr + function->edit.len_bytes))
            return false;
    }
    return true;
}

static redefine_status switch_functions(struct rdf_engine *engine, struct switching *switching,
                                        struct rdf_arena *scratch, uint64_t caller_sp, struct rdf_error *err)
{
    if (switching->count == 0)
        return REDEFINE_OK;
    struct rdf_shape_edit *edit = rdf_arena_alloc(scratch, 2 * switching->count * sizeof *edit);
    if (!edit)
        return no_memory(err);
    struct rdf_shape shape = {.edit = edit,
                              .stack_bytes_max = STACK_BYTES_MAX,
                              .is_ready = switching->becomes_active ? nobody_is_parked : NULL,
                              .publish = publish,
                              .ctx = switching};
    for (size_t i = 0; i < switching->count; i++) {
        const struct rdf_go_function *function = switching->function[i];
        edit[shape.count++] = (struct rdf_shape_edit){.edit = function->edit,
                                                      .trampoline_addr = function->code.original,
                                                      .pcs = function->pcs,
                                                      .pc_count = function->pc_count};
        if (function->call.len_bytes)
            edit[shape.count++].edit = function->call;
    }
    return rdf_shape_switch(engine, &shape, switching->becomes_active, caller_sp, err);
}

/* ---- what is in force ---- */

/* The relay looks into the goroutines' list from now on, or no longer. */
static void set_special(struct rdf_go_function *function)
{
    struct rdf_go_record *record = function->record;
    if (function->goroutine_count)
        (void)__atomic_fetch_or(&record->special, RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
    else
        (void)__atomic_fetch_and(&record->special, ~(uint32_t)RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
}

static struct rdf_go_choice *list_of(const struct rdf_go_choice *goroutine)
{
    return (struct rdf_go_choice *)(uintptr_t)goroutine->closure;
}

/* Where it is written what a function's callers get. Null: nowhere, as nothing is; or, with `is_new`, no
 * memory. */
static uint64_t *word_of(struct rdf_go_function *function, const struct rdf_go_change *change, bool is_new)
{
    struct rdf_go_record *record = function->record;
    struct rdf_go_choice *choice;
    if (!change->goid && !function->is_generic)
        return &function->replacement;
    if (!change->goid) {
        choice = is_new ? choice_of(&record->by_dictionary, change->dictionary)
                        : chosen(record->by_dictionary, change->dictionary);
        return choice ? &choice->closure : NULL;
    }
    choice = is_new ? choice_of(&record->by_goroutine, change->goid)
                    : chosen(record->by_goroutine, change->goid);
    if (!choice || !function->is_generic)
        return choice ? &choice->closure : NULL;
    struct rdf_go_choice *list = list_of(choice);
    struct rdf_go_choice *mine = is_new ? choice_of(&list, change->dictionary)
                                        : chosen(list, change->dictionary);
    __atomic_store_n(&choice->closure, (uint64_t)(uintptr_t)list, __ATOMIC_RELEASE);
    return mine ? &mine->closure : NULL;
}

static uint64_t in_force(struct rdf_go_function *function, const struct rdf_go_change *change)
{
    const uint64_t *word = word_of(function, change, false);
    return word ? *word : 0;
}

/* The goroutine has nothing of its own any more: its entry is anyone's. */
static void let_go(struct rdf_go_function *function, uint64_t goid)
{
    struct rdf_go_choice *goroutine = chosen(function->record->by_goroutine, goid);
    for (const struct rdf_go_choice *at = function->is_generic ? list_of(goroutine) : NULL; at && at->key;
         at++)
        if (at->closure)
            return;
    __atomic_store_n(&goroutine->key, RDF_GO_FREE, __ATOMIC_RELEASE);
}

static redefine_status put_in_force(struct rdf_go_function *function, const struct rdf_go_change *change,
                                    uint64_t closure, struct rdf_error *err)
{
    struct rdf_go_record *record = function->record;
    uint64_t *word = word_of(function, change, closure != 0);
    if (!word)
        return closure ? no_memory(err) : REDEFINE_OK;
    size_t now = closure != 0;
    size_t before = *word != 0;
    __atomic_store_n(word, closure, __ATOMIC_RELEASE);
    function->in_force += now - before;
    if (change->goid) {
        function->goroutine_count += now - before;
        if (!now)
            let_go(function, change->goid);
        set_special(function);
    } else if (!function->is_generic) {
        __atomic_store_n(&record->closure, closure ? closure : (uint64_t)(uintptr_t)&record->own,
                         __ATOMIC_RELEASE);
    } else if (change->dictionary == function->dictionary) {
        __atomic_store_n(&record->closure, closure, __ATOMIC_RELEASE);
    }
    return REDEFINE_OK;
}

/* All that gets the same. */
struct changed {
    struct rdf_go_function **function;
    size_t count;
};

static redefine_status list_changed(const struct rdf_go_change *change, struct rdf_arena *scratch,
                                    struct changed *ret, struct rdf_error *err)
{
    const struct rdf_go_function *own = change->own;
    ret->count = own ? 2 + own->other_count : 1;
    ret->function = rdf_arena_alloc(scratch, ret->count * sizeof *ret->function);
    if (!ret->function)
        return no_memory(err);
    ret->function[0] = change->function;
    if (own)
        ret->function[1] = change->own;
    for (size_t i = 2; i < ret->count; i++)
        ret->function[i] = own->other[i - 2];
    return REDEFINE_OK;
}

/* Of them, those whose bytes change. */
static redefine_status list_switched(const struct rdf_go_change *change, const struct changed *changed,
                                     bool is_in_force, struct rdf_arena *scratch, struct switching *ret,
                                     struct rdf_error *err)
{
    *ret = (struct switching){.function = rdf_arena_alloc(scratch, changed->count * sizeof *ret->function),
                              .becomes_active = change->closure != 0};
    if (!ret->function)
        return no_memory(err);
    for (size_t i = 0; i < changed->count; i++) {
        struct rdf_go_function *function = changed->function[i];
        if (change->closure ? !function->is_active
                            : is_in_force && function->is_active && function->in_force == 1)
            ret->function[ret->count++] = function;
    }
    return REDEFINE_OK;
}

static redefine_status change_with(struct rdf_engine *engine, const struct rdf_go_change *change,
                                   struct rdf_arena *scratch, uint64_t caller_sp, struct rdf_error *err)
{
    uint64_t before = in_force(change->function, change);
    struct changed changed;
    struct switching switching;
    redefine_status status = list_changed(change, scratch, &changed, err);
    if (status == REDEFINE_OK)
        status = list_switched(change, &changed, before != 0, scratch, &switching, err);
    if (status != REDEFINE_OK)
        return status;
    /* Where nothing will be left, the bytes first: until then callers get what they got. */
    if (!change->closure)
        status = switch_functions(engine, &switching, scratch, caller_sp, err);
    for (size_t i = 0; i < changed.count && status == REDEFINE_OK; i++)
        status = put_in_force(changed.function[i], change, change->closure, err);
    if (status == REDEFINE_OK && change->closure)
        status = switch_functions(engine, &switching, scratch, caller_sp, err);
    for (size_t i = 0; i < changed.count && status != REDEFINE_OK; i++)
        (void)put_in_force(changed.function[i], change, before, NULL);
    return status;
}

redefine_status rdf_api_go_change(struct rdf_engine *engine, const struct rdf_go_change *change,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    struct rdf_arena scratch;
    rdf_arena_init(&scratch, engine->pages);
    redefine_status status = change_with(engine, change, &scratch, caller_sp, err);
    rdf_arena_free(&scratch);
    return status;
}
