/* SPDX-License-Identifier: MIT
 *
 * Redefining Go functions: src/go says what is to be done, the core does it.
 */
#include <redefine/go.h>

#include "api/enter.h"
#include "base/bytes.h"
#include "core/shape.h"
#include "go/target.h"

#include <inttypes.h>
#include <stdio.h>

_Static_assert((int)REDEFINE_GO_SENTENCE_BYTES == (int)RDF_SENTENCE_BYTES, "sentences are copied whole");

/* One function that was redefined, for good: its code may be entered for as long as the program runs. */
struct function {
    struct function *next;
    uint64_t entry;
    struct rdf_go_record *record;
    struct rdf_go_code code;
    struct rdf_edit edit;
    struct rdf_pc_pair pcs[RDF_GO_POINTS_MAX];
    size_t pc_count;
    bool is_generic;
    bool is_active;
    uint64_t replacement; /* for everyone; 0: the original */
    size_t goroutine_count, dictionary_count; /* entries of the lists that are in force */
    size_t goroutine_room, dictionary_room;
};

enum { BUCKETS = 256, LIST_ROOM = 16, STACK_BYTES_MAX = 64 << 10 };

static struct function *bucket[BUCKETS];
static struct rdf_arena arena; /* what lasts */
static struct rdf_go_note *notes;
static uint64_t goid_off;

/* ---- the records ---- */

static struct function **place_of(uint64_t entry)
{
    return &bucket[entry / 32 % BUCKETS];
}

static struct function *find(uint64_t entry)
{
    struct function *function = *place_of(entry);
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

/* Add an entry to a list that relays may be reading, or change it. An entry once given to a key keeps it until
 * RDF_GO_FREE, which only goroutines' entries become: nobody but that goroutine itself was reading it. */
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
    const struct rdf_go_abi *abi;
    const struct rdf_go_target *target;
    const struct rdf_arch *arch;
    const struct rdf_window *window; /* of a function without a check */
    struct rdf_relocated relocated;
    struct function *function;
};

static redefine_status emit(void *ctx, const struct rdf_near_place *place, uint8_t *ret_code,
                            uint32_t *ret_len_bytes, struct rdf_error *err)
{
    struct placing *placing = ctx;
    const struct rdf_go_target *target = placing->target;
    struct rdf_go_emit request = {.entry = &target->entry,
                                  .addr = target->func.entry,
                                  .code_addr = place->code_addr,
                                  .slot_addr = place->slot_addr,
                                  .wrapper = target->is_generic ? &target->wrapper : NULL};
    if (placing->window) {
        const struct rdf_window *window = placing->window;
        struct rdf_relocate_request move = {
            .window = {window->bytes, (size_t)(window->end - window->function.start)},
            .window_addr = window->function.start,
            .patched_start = window->patched_start,
            .patched_end = window->patched_end,
            .trampoline_addr = place->code_addr + placing->abi->original_off};
        redefine_status status = placing->arch->relocate(&move, &placing->relocated, err);
        if (status != REDEFINE_OK)
            return status;
        request.relocated = &placing->relocated;
    }
    struct rdf_go_code *code = &placing->function->code;
    if (!placing->abi->emit(&request, ret_code, code))
        return rdf_fail(err, REDEFINE_ENOMEM, "the code for %s is out of reach of it", target->func.name);
    *ret_len_bytes = code->len_bytes;
    return REDEFINE_OK;
}

static void fill_record(const struct placing *placing)
{
    const struct rdf_go_abi *abi = placing->abi;
    struct function *function = placing->function;
    struct rdf_go_record *record = function->record;
    record->slow = (uint64_t)(uintptr_t)abi->slow;
    record->note = (uint64_t)(uintptr_t)abi->note;
    record->found = (uint64_t)(uintptr_t)abi->found;
    record->enter = function->code.enter ? function->code.enter : (uint64_t)(uintptr_t)abi->enter;
    record->fetch = function->code.fetch;
    record->original = function->code.original;
    record->more = placing->target->entry.more;
    record->notes = notes;
    record->own.code = (uint64_t)(uintptr_t)abi->own;
    record->own.record = record;
    record->closure = (uint64_t)(uintptr_t)&record->own;
}

/* Where threads inside the entry jump's bytes go on: the same instruction of the original. */
static void note_points(const struct placing *placing)
{
    struct function *function = placing->function;
    const struct rdf_go_entry *entry = &placing->target->entry;
    if (!placing->window) {
        for (size_t i = 0; i < entry->point_count; i++)
            function->pcs[function->pc_count++] = (struct rdf_pc_pair){entry->point[i], entry->point[i]};
        return;
    }
    for (size_t i = 0; i < placing->relocated.pc_count && function->pc_count < RDF_GO_POINTS_MAX; i++)
        if (placing->relocated.pcs[i].old_off > 0 &&
            placing->relocated.pcs[i].old_off < function->edit.len_bytes)
            function->pcs[function->pc_count++] = placing->relocated.pcs[i];
}

static redefine_status find_window(struct rdf_engine *engine, const struct placing *placing,
                                   struct rdf_window *ret, struct rdf_error *err)
{
    const struct rdf_go_func *func = &placing->target->func;
    struct rdf_function function = {.image = rdf_go_image(func->go),
                                    .start = func->entry,
                                    .end = func->end,
                                    .source = RDF_BOUNDS_GO,
                                    .name = func->name};
    redefine_status status = rdf_plan_window(&engine->snapshot.images, &function, ret, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_span window = {ret->bytes, (size_t)(ret->end - func->entry)};
    bool is_jump = ret->strategy <= RDF_STRATEGY_PADDED_JUMP && ret->patched_start == func->entry;
    if (!is_jump || ret->branch_count || ret->branches_back || !placing->abi->may_move(window, func->entry))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the first instructions of %s cannot be moved: outside of its own code the runtime "
                        "could not preempt them, or not tell where a fault came from",
                        func->name);
    return REDEFINE_OK;
}

static redefine_status add_function(struct rdf_engine *engine, const struct rdf_go_abi *abi,
                                    const struct rdf_go_target *target, struct function **ret,
                                    struct rdf_error *err)
{
    struct function *function = prepare() ? rdf_arena_alloc(&arena, sizeof *function) : NULL;
    struct rdf_go_record *record = function ? rdf_arena_alloc(&arena, sizeof *record) : NULL;
    if (!record)
        return no_memory(err);
    *function = (struct function){.entry = target->func.entry, .record = record, .is_generic = target->is_generic};
    struct placing placing = {.abi = abi, .target = target, .arch = engine->arch, .function = function};
    struct rdf_window window;
    struct rdf_near_place place;
    redefine_status status = REDEFINE_OK;
    if (!target->entry.has_check) {
        status = find_window(engine, &placing, &window, err);
        placing.window = &window;
    }
    if (status == REDEFINE_OK)
        status = rdf_shape_place(engine, function->entry, RDF_GO_CODE_BYTES_MAX, emit, &placing,
                                 (uint64_t)(uintptr_t)record, &place, err);
    if (status != REDEFINE_OK)
        return status;
    fill_record(&placing);
    struct rdf_edit *edit = &function->edit;
    edit->addr = function->entry;
    edit->len_bytes = (uint8_t)engine->arch->emit_jump(edit->new_bytes, edit->addr, function->code.relay);
    if (edit->len_bytes == 0 ||
        rdf_plan_read(&engine->snapshot.images, edit->addr, edit->old_bytes, edit->len_bytes) < 0)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code of %s could not be read", target->func.name);
    note_points(&placing);
    struct function **at = place_of(function->entry);
    function->next = *at;
    *at = function;
    *ret = function;
    return REDEFINE_OK;
}

/* ---- switching ---- */

static void publish(void *ctx)
{
    struct function *function = ctx;
    function->is_active = !function->is_active;
    __atomic_store_n(&function->record->active, function->is_active, __ATOMIC_RELEASE);
}

static redefine_status switch_function(struct rdf_engine *engine, struct function *function, bool on,
                                       uint64_t caller_sp, struct rdf_error *err)
{
    if (function->is_active == on)
        return REDEFINE_OK;
    struct rdf_shape shape = {.edit = function->edit,
                              .trampoline_addr = function->code.original,
                              .pcs = function->pcs,
                              .pc_count = function->pc_count,
                              .stack_bytes_max = STACK_BYTES_MAX,
                              .publish = publish,
                              .ctx = function};
    return rdf_shape_switch(engine, &shape, on, caller_sp, err);
}

/* The relay looks into the lists from now on, or no longer. */
static void set_special(struct function *function)
{
    struct rdf_go_record *record = function->record;
    if (function->is_generic || function->goroutine_count)
        (void)__atomic_fetch_or(&record->special, RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
    else
        (void)__atomic_fetch_and(&record->special, ~(uint32_t)RDF_GO_SPECIAL_LIST, __ATOMIC_SEQ_CST);
}

/* What is in force for a goroutine, a dictionary or everyone; 0: the original. */
static uint64_t in_force(const struct function *function, const struct rdf_go_target *target, uint64_t goid)
{
    struct rdf_go_record *record = function->record;
    const struct rdf_go_choice *choice = NULL;
    if (!goid && !function->is_generic)
        return function->replacement;
    choice = goid ? chosen(record->by_goroutine, goid)
                  : chosen(record->by_dictionary, target->wrapper.dictionary);
    return choice ? choice->closure : 0;
}

static redefine_status put_in_force(struct function *function, const struct rdf_go_target *target,
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
             : !choose(&record->by_dictionary, &function->dictionary_room, target->wrapper.dictionary, closure))
        return no_memory(err);
    if (goid && !closure)
        __atomic_store_n(&chosen(record->by_goroutine, goid)->key, RDF_GO_FREE, __ATOMIC_RELEASE);
    *count += closure && !had;
    *count -= !closure && had;
    set_special(function);
    return REDEFINE_OK;
}

/* All or nothing: what was in force is put back when the switch fails. */
static redefine_status change(struct rdf_engine *engine, struct function *function,
                              const struct rdf_go_target *target, uint64_t goid, uint64_t closure,
                              uint64_t caller_sp, struct rdf_error *err)
{
    uint64_t before = in_force(function, target, goid);
    if (!closure && function->is_active &&
        !(function->replacement && (goid || function->is_generic)) &&
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

/* ---- the calls ---- */

#define CALLER_SP ((uint64_t)(uintptr_t)__builtin_frame_address(0))

struct call {
    struct rdf_engine *engine;
    const struct rdf_go_abi *abi;
    struct rdf_go_target target;
    struct function *function; /* null: never redefined */
    struct rdf_error err;
};

static redefine_status leave(struct call *call, struct redefine_go_request *request, redefine_status status)
{
    if (call->engine) {
        rdf_snapshot_settle(&call->engine->snapshot);
        rdf_api_leave();
    }
    if (status != REDEFINE_OK)
        rdf_bytes_copy(request->sentence, call->err.sentence, sizeof request->sentence);
    return status;
}

static redefine_status enter(struct call *call, const uint64_t *addr, size_t count)
{
    *call = (struct call){.abi = rdf_go_abi_native()};
    if (!call->abi)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED, "Go's calling convention is not known on this CPU");
    redefine_status status = rdf_api_enter(&call->engine, &call->err);
    if (status != REDEFINE_OK)
        return status;
    return rdf_snapshot_refresh(&call->engine->snapshot, call->engine->space, call->engine->arch,
                                call->engine->snapshot_pages, addr, count, &call->err);
}

static redefine_status enter_for(struct call *call, struct redefine_go_request *request)
{
    redefine_status status = enter(call, &request->target, 1);
    struct rdf_images *images = &call->engine->snapshot.images;
    if (status == REDEFINE_OK)
        status = rdf_go_target(images, call->abi, request->target, &call->target, &call->err);
    if (status != REDEFINE_OK)
        return status;
    call->function = find(call->target.func.entry);
    request->function = call->target.func.entry;
    return REDEFINE_OK;
}

static void tell_original(const struct call *call, struct redefine_go_request *request)
{
    const struct function *function = call->function;
    request->call = (uint64_t)(uintptr_t)(function->is_generic ? call->abi->call_generic_original
                                                               : call->abi->call_original);
    request->where = function->is_generic ? (uint64_t)(uintptr_t)function->record : function->code.original;
    request->comes_back = call->target.wrapper.return_addr;
}

static redefine_status redefine(struct call *call, struct redefine_go_request *request, uint64_t caller_sp)
{
    struct rdf_engine *engine = call->engine;
    if (request->goid && (!goid_off || call->target.is_generic))
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        goid_off ? "a generic function cannot be redefined for one goroutine"
                                 : "where goroutines have their number is not known in this release of Go");
    if (!call->function) {
        struct rdf_go_sites sites = {request->sites, sizeof request->sites, 0, 0};
        redefine_status status = rdf_go_target_begin(call->abi, &call->target, &call->err);
        if (status == REDEFINE_OK && !request->even_inlined)
            status = rdf_go_target_is_noticed(&engine->snapshot.images, &call->target, request->main_package,
                                              &sites, &call->err);
        request->site_count = sites.count;
        if (status == REDEFINE_OK)
            status = add_function(engine, call->abi, &call->target, &call->function, &call->err);
        if (status != REDEFINE_OK)
            return status;
    }
    call->function->record->goid_off = goid_off;
    tell_original(call, request);
    return change(engine, call->function, &call->target, request->goid, request->replacement, caller_sp,
                  &call->err);
}

redefine_status redefine_go_redefine(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK)
        status = redefine(&call, request, CALLER_SP);
    return leave(&call, request, status);
}

redefine_status redefine_go_restore(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && call.function)
        status = change(call.engine, call.function, &call.target, request->goid, 0, CALLER_SP, &call.err);
    return leave(&call, request, status);
}

redefine_status redefine_go_original(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && !call.function)
        status = rdf_fail(&call.err, REDEFINE_EINVAL, "%s was never redefined", call.target.func.name);
    if (status == REDEFINE_OK)
        tell_original(&call, request);
    return leave(&call, request, status);
}

redefine_status redefine_go_find(const char *name, struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter(&call, NULL, 0);
    if (status == REDEFINE_OK)
        status = rdf_go_target_named(&call.engine->snapshot.images, name, &request->target, &call.err);
    return leave(&call, request, status);
}

static redefine_status compare(struct call *call, uint64_t a, uint64_t b)
{
    struct rdf_images *images = &call->engine->snapshot.images;
    const struct rdf_go *go = rdf_go_at(images, a);
    struct rdf_go_type types[2];
    for (size_t i = 0; !go && i < images->count; i++)
        if (rdf_go_is_go(images, images->image[i]) &&
            rdf_go_open(images, images->image[i], &go, &call->err) != REDEFINE_OK)
            return call->err.status;
    redefine_status status = rdf_go_type(images, go, a, &types[0], &call->err);
    if (status == REDEFINE_OK)
        status = rdf_go_type(images, go, b, &types[1], &call->err);
    return status == REDEFINE_OK ? rdf_go_same_layout(images, &types[0], &types[1], &call->err) : status;
}

redefine_status redefine_go_same_layout(uint64_t a, uint64_t b, struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter(&call, &a, 1);
    if (status == REDEFINE_OK)
        status = compare(&call, a, b);
    return leave(&call, request, status);
}

void redefine_go_use_goid(uint64_t off)
{
    goid_off = off;
}

uint64_t redefine_go_current(void)
{
    const struct rdf_go_abi *abi = rdf_go_abi_native();
    return abi ? (uint64_t)(uintptr_t)abi->current : 0;
}
