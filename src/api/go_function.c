/* SPDX-License-Identifier: MIT */
#include "api/go_function.h"

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
    const struct rdf_go_abi *abi;
    const struct rdf_go_target *target;
    struct rdf_images *images;
    struct rdf_span moved; /* of a function without a check: its first instructions, which run elsewhere … */
    uint64_t jump_bytes;   /* … and the first of them are overwritten … */
    uint64_t padding_addr; /* … by a short jump to this, where the jump to the relay is; 0: by that one */
    struct rdf_relocated relocated;
    struct rdf_go_function *function;
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
    if (placing->moved.len_bytes) {
        struct rdf_relocate_request move = {.window = placing->moved,
                                            .window_addr = request.addr,
                                            .patched_start = request.addr,
                                            .patched_end = request.addr + placing->jump_bytes,
                                            .trampoline_addr = place->code_addr + placing->abi->original_off};
        redefine_status status = placing->images->arch->relocate(&move, &placing->relocated, err);
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
    struct rdf_go_function *function = placing->function;
    struct rdf_go_record *record = function->record;
    record->slow = (uint64_t)(uintptr_t)abi->slow;
    record->note = (uint64_t)(uintptr_t)abi->note;
    record->select = function->code.select;
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
    struct rdf_go_function *function = placing->function;
    const struct rdf_go_entry *entry = &placing->target->entry;
    for (size_t i = 0; entry->has_check && i < entry->point_count; i++)
        function->pcs[function->pc_count++] = (struct rdf_pc_pair){entry->point[i], entry->point[i]};
    for (size_t i = 0; !entry->has_check && i < placing->relocated.pc_count; i++)
        if (placing->relocated.pcs[i].old_off > 0 &&
            placing->relocated.pcs[i].old_off < function->edit.len_bytes &&
            function->pc_count < RDF_GO_POINTS_MAX)
            function->pcs[function->pc_count++] = placing->relocated.pcs[i];
}

/* Where nobody can be parked; else the window that the core would take, if it suits Go. */
static redefine_status find_way_in(struct placing *placing, struct rdf_window *window, struct rdf_error *err)
{
    const struct rdf_go_func *func = &placing->target->func;
    const struct rdf_arch *arch = placing->images->arch;
    struct rdf_go_place place;
    if (rdf_go_target_place(placing->images, placing->target, &place)) {
        placing->moved = rdf_span_slice(placing->target->code, 0, place.window_bytes);
        placing->jump_bytes = place.padding_addr ? arch->short_jump_bytes : arch->jump_bytes;
        placing->padding_addr = place.padding_addr;
        return REDEFINE_OK;
    }
    struct rdf_function function = {.image = rdf_go_image(func->go),
                                    .start = func->entry,
                                    .end = func->end,
                                    .source = RDF_BOUNDS_GO,
                                    .name = func->name};
    redefine_status status = rdf_plan_window(placing->images, &function, window, err);
    if (status != REDEFINE_OK)
        return status;
    placing->moved = (struct rdf_span){window->bytes, (size_t)(window->end - func->entry)};
    placing->jump_bytes = arch->jump_bytes;
    bool is_jump = window->strategy <= RDF_STRATEGY_PADDED_JUMP && window->patched_start == func->entry;
    if (!is_jump || window->branch_count || window->branches_back ||
        !placing->abi->may_move(placing->moved, func->entry))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the first instructions of %s cannot be moved: outside of its own code the runtime "
                        "could not preempt them, or not tell where a fault came from",
                        func->name);
    return REDEFINE_OK;
}

static void publish_padding(void *ctx)
{
    (void)ctx;
}

/* The entry's edit; and the padding's, which is made at once and stays: nothing leads there before, and who
 * is on the way there afterwards must find it. */
static redefine_status make_edits(struct rdf_engine *engine, const struct placing *placing,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    struct rdf_go_function *function = placing->function;
    struct rdf_shape padding = {.publish = publish_padding, .stack_bytes_max = STACK_BYTES_MAX};
    struct rdf_edit *long_jump = placing->padding_addr ? &padding.edit : &function->edit;
    function->edit.addr = function->entry;
    if (placing->padding_addr) {
        padding.edit.addr = placing->padding_addr;
        function->edit.len_bytes = (uint8_t)engine->arch->emit_short_jump(function->edit.new_bytes,
                                                                          function->entry,
                                                                          placing->padding_addr);
    }
    long_jump->len_bytes = (uint8_t)engine->arch->emit_jump(long_jump->new_bytes, long_jump->addr,
                                                            function->code.relay);
    for (struct rdf_edit *edit = long_jump; edit; edit = edit == &padding.edit ? &function->edit : NULL)
        if (edit->len_bytes == 0 ||
            rdf_plan_read(placing->images, edit->addr, edit->old_bytes, edit->len_bytes) < 0)
            return rdf_fail(err, REDEFINE_ESYSTEM, "the code of %s could not be read",
                            placing->target->func.name);
    return placing->padding_addr ? rdf_shape_switch(engine, &padding, true, caller_sp, err) : REDEFINE_OK;
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
    struct placing placing = {.abi = abi,
                              .target = target,
                              .images = &engine->snapshot.images,
                              .function = function};
    struct rdf_window window;
    struct rdf_near_place place;
    redefine_status status = target->entry.has_check ? REDEFINE_OK : find_way_in(&placing, &window, err);
    if (status == REDEFINE_OK)
        status = rdf_shape_place(engine, function->entry, RDF_GO_CODE_BYTES_MAX, emit, &placing,
                                 (uint64_t)(uintptr_t)record, &place, err);
    if (status != REDEFINE_OK)
        return status;
    fill_record(&placing);
    status = make_edits(engine, &placing, caller_sp, err);
    note_points(&placing);
    if (status == REDEFINE_OK && !target->entry.has_check && function->pc_count)
        status = rdf_go_find_goroutines(placing.images, target->func.go, g, &function->goroutines_addr, err);
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
    function->is_active = !function->is_active;
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
