/* SPDX-License-Identifier: MIT
 *
 * A commit: every stage takes the former's records and makes new ones; nothing is visible before the
 * write, and everything taken before it can be given back.
 *
 *   resolve   which function each change means (a stub or IFUNC is followed); its record, old or new
 *   layer     what each function's stack of owners will be                              resolve.c
 *   plan      windows, trampolines, edits of the functions that are new                inspect.c, branches.c
 *   fill      trampolines into memory near the code
 *   write     one stop of the world, every edit or none; and in it:
 *   publish   slots, originals, registry                                                publish.c
 */
#include "core/commit.h"

#include "base/bytes.h"
#include "base/order.h"
#include "base/progress.h"

#include <inttypes.h>

redefine_status rdf_commit_no_memory(struct commit *commit)
{
    return rdf_fail(commit->err, REDEFINE_ENOMEM, "no memory for the records of this change");
}

redefine_status rdf_commit_note_alias(struct commit *commit, uint64_t addr, struct touched *touched)
{
    struct alias *alias = rdf_arena_alloc(&commit->arena, sizeof *alias);
    struct rdf_alias *known = rdf_arena_alloc_words(&commit->engine->registry.arena, sizeof *known);
    if (!alias || !known)
        return rdf_commit_no_memory(commit);
    known->addr = addr;
    *alias = (struct alias){commit->alias, touched, known};
    commit->alias = alias;
    commit->alias_count++;
    return REDEFINE_OK;
}

bool rdf_commit_leave_out(struct commit *commit, const struct rdf_change *change)
{
    if (!change || !change->refused)
        return false;
    change->refused(change, commit->err);
    *commit->err = (struct rdf_error){0};
    return true;
}

/* ---- fill ---- */

/* One write per chunk: the places of this commit lie side by side. */
static redefine_status fill_all(struct commit *commit)
{
    struct rdf_near *near = &commit->engine->near;
    const struct rdf_near_mark *mark = commit->mark;
    for (size_t i = 0; i < near->chunk_count; i++) {
        uint32_t from = i < mark->chunk_count ? mark->code_used[i] : 0;
        uint32_t len = near->chunk[i].code_used - from;
        redefine_status status = REDEFINE_OK;
        if (len > 0 && commit->staged && commit->staged[i])
            status = rdf_near_fill(near, i, near->chunk[i].code_addr + from, commit->staged[i], len,
                                   commit->err);
        if (status != REDEFINE_OK)
            return status;
    }
    return rdf_near_seal(near, mark, commit->err);
}

/* ---- write ---- */

/* A replacement within reach of the entry jump is jumped to directly, which is the fastest there is. When it
 * is replaced the jump is turned to the relay, once; from then on a change of replacement is a change of
 * data. */
static void choose_jump(const struct commit *commit, struct touched *touched)
{
    const struct rdf_redef *redef = touched->redef;
    const struct rdf_layer *top = touched->top;
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    struct rdf_layer room;
    if (!top)
        touched->is_direct = false;
    else if (touched->was_active)
        touched->is_direct = redef->is_direct && rdf_redef_top(redef, &room)->replacement == top->replacement;
    else
        touched->is_direct = !redef->keeps && !top->below && redef->strategy <= RDF_STRATEGY_PADDED_JUMP &&
                             commit->engine->arch->emit_jump(jump, rdf_redef_edit(redef), top->replacement) ==
                                 rdf_redef_jump_bytes(redef);
    touched->is_data = top && !touched->is_direct && rdf_images_stay_at(commit->images, touched->entry);
}

/* How many edits take it from what it is to what it will be: all, the entry's alone, or none. */
static size_t edits_of(const struct touched *touched)
{
    if (touched->is_left_out)
        return 0;
    if (touched->was_active != (touched->top != NULL))
        return 1u + rdf_redef_extras(touched->redef);
    return touched->top && touched->is_direct != touched->redef->is_direct;
}

/* One edit to be made: number `index` of a function, 0 at the entry, the extra ones behind it. */
struct work {
    uint64_t addr;
    struct touched *touched;
    size_t index;
};

static bool lies_before(const void *a, const void *b)
{
    return ((const struct work *)a)->addr < ((const struct work *)b)->addr;
}

/* The edit at the entry: its jump, and what was there. */
static struct rdf_edit entry_edit(const struct commit *commit, const struct touched *touched)
{
    const struct rdf_redef *redef = touched->redef;
    const struct rdf_arch *arch = commit->engine->arch;
    struct rdf_layer room;
    struct rdf_edit edit = {.addr = rdf_redef_edit(redef), .len_bytes = redef->edit_bytes};
    const uint8_t *original = rdf_redef_bytes(redef) + redef->edit_off;
    if (touched->was_active)
        rdf_redef_jump(redef, arch, redef->is_direct ? rdf_redef_top(redef, &room)->replacement : 0,
                       edit.old_bytes);
    else
        rdf_bytes_copy(edit.old_bytes, original, edit.len_bytes);
    if (touched->top)
        rdf_redef_jump(redef, arch, touched->is_direct ? touched->top->replacement : 0, edit.new_bytes);
    else
        rdf_bytes_copy(edit.new_bytes, original, edit.len_bytes);
    return edit;
}

static struct rdf_edit extra_edit(const struct touched *touched, size_t index)
{
    struct rdf_edit edit = rdf_redef_extra(touched->redef, index);
    if (!touched->was_active)
        return edit;
    struct rdf_edit back = edit;
    rdf_bytes_copy(back.old_bytes, edit.new_bytes, sizeof edit.new_bytes);
    rdf_bytes_copy(back.new_bytes, edit.old_bytes, sizeof edit.old_bytes);
    return back;
}

/* Mappings and objects in which the last address was: the next one mostly is in the same. */
struct last {
    const struct rdf_map *map;
    const struct rdf_image *image;
    bool goes; /* that may be unloaded, or code of no object: one of those that were looked at */
    const struct rdf_image *engine; /* the object that the engine itself is in … */
    const struct rdf_image *called; /* … and the one that the room of the system calls; or null */
};

static uint8_t prot_at(const struct commit *commit, struct last *last, uint64_t addr)
{
    if (!last->map || addr < last->map->start || addr >= last->map->end)
        last->map = rdf_maps_find(&commit->images->maps, addr);
    return last->map ? last->map->prot : RDF_PROT_READ | RDF_PROT_EXEC;
}

static bool is_in_engine(const struct commit *commit, struct last *last, uint64_t addr)
{
    bool is_same = last->image && addr >= rdf_image_start(last->image) && addr < rdf_image_end(last->image);
    if (!is_same) {
        last->image = rdf_images_at(commit->images, addr);
        last->goes |= !rdf_images_stay_at(commit->images, addr);
    }
    return last->image && (last->image == last->engine || last->image == last->called);
}

static redefine_status set_pcs(struct commit *commit, const struct rdf_redef *redef,
                               struct rdf_write_item *item)
{
    struct rdf_pc_pair pcs[RDF_WINDOW_INSNS_MAX];
    size_t count = rdf_redef_pcs(redef, pcs);
    struct rdf_pc_pair *kept = rdf_arena_alloc_words(&commit->arena, count * sizeof *kept);
    if (!kept)
        return rdf_commit_no_memory(commit);
    rdf_bytes_copy(kept, pcs, count * sizeof *kept);
    item->pcs = kept;
    item->pc_count = (uint8_t)count;
    return REDEFINE_OK;
}

/* Both instructions of a jump that is two: a thread may stand at each. Returns its length; 0: there is none.
 */
static size_t add_long_jump(const struct rdf_arch *arch, struct rdf_span code, uint64_t addr,
                            struct rdf_write_ours list[RDF_WRITE_OURS_MAX], size_t *count)
{
    uint8_t first_bytes;
    uint64_t target;
    if (*count + 2 > RDF_WRITE_OURS_MAX || !arch->read_jump ||
        !arch->read_jump(code, addr, &first_bytes, &target))
        return 0;
    list[(*count)++] = (struct rdf_write_ours){addr, target};
    list[(*count)++] = (struct rdf_write_ours){addr + first_bytes, target};
    return arch->jump_bytes;
}

/* Jumps of ours that a thread may be about to execute when they are taken away: a hop, or the jump in
 * padding. Not the entry jump, nor a branch that was made to lead elsewhere: there the function goes on as it
 * was. */
static redefine_status note_ours(struct commit *commit, struct rdf_write_item *item, bool is_entry)
{
    const struct rdf_arch *arch = commit->engine->arch;
    const struct rdf_edit *edit = &item->edit;
    struct rdf_span ours = {edit->old_bytes, edit->len_bytes};
    struct rdf_insn insn;
    if (!is_entry && arch->decode((struct rdf_span){edit->new_bytes, edit->len_bytes}, edit->addr, &insn) &&
        (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH))
        return REDEFINE_OK;
    struct rdf_write_ours *list = rdf_arena_alloc(&commit->arena, RDF_WRITE_OURS_MAX * sizeof *list);
    if (!list)
        return rdf_commit_no_memory(commit);
    item->ours = list;
    size_t count = 0;
    for (size_t off = 0; count < RDF_WRITE_OURS_MAX && off < ours.len_bytes; off += insn.len_bytes) {
        uint64_t addr = edit->addr + off;
        size_t pair_bytes = off || !is_entry
                                ? add_long_jump(arch, rdf_span_slice(ours, off, ours.len_bytes - off), addr,
                                                list, &count)
                                : 0;
        if (pair_bytes) {
            insn.len_bytes = (uint8_t)pair_bytes;
            continue;
        }
        if (!arch->decode(rdf_span_slice(ours, off, ours.len_bytes - off), addr, &insn))
            break;
        if (insn.flow == RDF_FLOW_JUMP && (off || !is_entry))
            list[count++] = (struct rdf_write_ours){addr, insn.target};
    }
    return REDEFINE_OK;
}

/* The jump that is put into padding: should the change be broken off, it is one that is taken away. */
static redefine_status note_new_jump(struct commit *commit, struct rdf_write_item *item)
{
    const struct rdf_arch *arch = commit->engine->arch;
    const struct rdf_edit *edit = &item->edit;
    struct rdf_span code = {edit->new_bytes, edit->len_bytes};
    struct rdf_write_ours *list = rdf_arena_alloc(&commit->arena, RDF_WRITE_OURS_MAX * sizeof *list);
    struct rdf_insn insn;
    size_t count = 0;
    if (!list)
        return rdf_commit_no_memory(commit);
    item->ours = list;
    if (!add_long_jump(arch, code, edit->addr, list, &count) && arch->decode(code, edit->addr, &insn) &&
        insn.flow == RDF_FLOW_JUMP)
        list[0] = (struct rdf_write_ours){edit->addr, insn.target};
    return REDEFINE_OK;
}

static redefine_status make_item(struct commit *commit, const struct work *work, struct last *last,
                                 struct rdf_write_item *item)
{
    const struct touched *touched = work->touched;
    const struct rdf_redef *redef = touched->redef;
    item->edit = work->index == 0 ? entry_edit(commit, touched) : extra_edit(touched, work->index - 1);
    /* The entry jump is one instruction, and so is a branch: nobody is inside them. Padding did not run. */
    item->moves = work->index == 0 && !touched->was_active;
    redefine_status status = REDEFINE_OK;
    if (!touched->top && (work->index > 0 || redef->has_hops))
        status = note_ours(commit, item, work->index == 0);
    item->is_taken_back = !touched->top;
    if (work->index > 0)
        item->kind = item->edit.addr == rdf_redef_padding(redef) ? RDF_WRITE_PADDING : RDF_WRITE_BRANCH;
    if (status == REDEFINE_OK && touched->top && item->kind == RDF_WRITE_PADDING)
        status = note_new_jump(commit, item);
    bool is_elsewhere = item->edit.addr - redef->entry >= redef->function_bytes;
    item->has_hops = redef->has_hops || (item->kind == RDF_WRITE_BRANCH && is_elsewhere);
    item->branches_back = redef->branches_back;
    item->is_loop_head = redef->is_loop_head;
    item->window_start = redef->entry;
    item->window_end = redef->entry + redef->window_bytes;
    item->trampoline_addr = rdf_redef_trampoline(redef);
    item->prot[0] = prot_at(commit, last, item->edit.addr);
    item->prot[1] = prot_at(commit, last, item->edit.addr + item->edit.len_bytes - 1u);
    item->has_engine = is_in_engine(commit, last, item->edit.addr);
    if (status == REDEFINE_OK && work->index == 0)
        status = set_pcs(commit, redef, item);
    struct rdf_layer room;
    if (touched->was_active)
        item->detour = work->index == 0 && redef->is_direct ? rdf_redef_top(redef, &room)->replacement
                                                            : rdf_redef_relay(redef);
    else if (work->index == 0)
        item->detour = rdf_plan_move_pc(item->edit.addr - 1, item->edit.addr + 1, item->window_start,
                                        item->trampoline_addr, item->pcs, item->pc_count, item->edit.addr);
    return status;
}

/* Every edit of the commit, in the order of their addresses. */
static redefine_status list_work(struct commit *commit, struct work **ret, size_t *ret_count)
{
    size_t room = 0;
    for (struct touched *touched = commit->first; touched; touched = touched->next) {
        if (!touched->is_left_out)
            choose_jump(commit, touched);
        touched->edits = (uint32_t)edits_of(touched);
        room += touched->edits;
    }
    struct work *work = rdf_arena_alloc(&commit->arena, (room + 1) * sizeof *work);
    if (!work)
        return rdf_commit_no_memory(commit);
    size_t count = 0;
    for (struct touched *touched = commit->first; touched; touched = touched->next)
        for (size_t i = 0; i < touched->edits; i++)
            work[count++] = (struct work){i == 0 ? rdf_redef_edit(touched->redef)
                                                 : rdf_redef_extra(touched->redef, i - 1).addr,
                                          touched, i};
    rdf_sort(work, count, sizeof *work, lies_before);
    *ret = work;
    *ret_count = count;
    return REDEFINE_OK;
}

static redefine_status make_items(struct commit *commit, const struct work *work, size_t count,
                                  struct rdf_write_item **ret, bool *ret_may_go)
{
    struct rdf_write_item *item = rdf_arena_alloc(&commit->arena, (count + 1) * sizeof *item);
    if (!item)
        return rdf_commit_no_memory(commit);
    struct last last = {.engine = rdf_images_at(commit->images, (uint64_t)(uintptr_t)&rdf_write_apply),
                        .called = rdf_images_at(commit->images, rdf_os_called_code())};
    for (size_t i = 0; i < count; i++) {
        redefine_status status = make_item(commit, &work[i], &last, &item[i]);
        if (status != REDEFINE_OK)
            return status;
        if (i > 0 && item[i - 1].edit.addr + item[i - 1].edit.len_bytes > item[i].edit.addr)
            return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                            "the entry jumps at 0x%" PRIx64 " and 0x%" PRIx64
                            " would overlap; redefine one of them",
                            item[i - 1].edit.addr, item[i].edit.addr);
    }
    *ret = item;
    *ret_may_go = last.goes;
    return REDEFINE_OK;
}

static redefine_status write_all(struct commit *commit, uint64_t caller_sp)
{
    struct rdf_engine *engine = commit->engine;
    struct work *work = NULL;
    struct rdf_write_item *item = NULL;
    size_t count = 0;
    bool may_go = false;
    redefine_status status = list_work(commit, &work, &count);
    if (status == REDEFINE_OK)
        status = make_items(commit, work, count, &item, &may_go);
    if (status == REDEFINE_OK)
        status = rdf_commit_prepare(commit);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_write *write = rdf_arena_alloc(&commit->arena, sizeof *write);
    if (!write)
        return rdf_commit_no_memory(commit);
    *write = (struct rdf_write){.space = engine->space,
                                .arch = engine->arch,
                                .maps = &commit->images->maps,
                                .item = item,
                                .count = count,
                                .may_go = may_go,
                                .caller_sp = caller_sp,
                                .methods = engine->write_methods,
                                .publish = rdf_commit_publish,
                                .publish_ctx = commit,
                                .detours = &engine->detours,
                                .pages = engine->pages,
                                .where = rdf_commit_where_from_trap,
                                .where_ctx = engine,
                                .catches_traps = &engine->catches_traps};
    __atomic_store_n(&commit->write, write, __ATOMIC_RELEASE);
    status = rdf_write_apply(write, commit->err);
    engine->last_stop = write->stop;
    engine->keeps_code = write->keeps_code;
    if (status == REDEFINE_OK && count > 0) {
        engine->last_safety = write->safety;
        engine->last_method = item[0].method;
        engine->last_edits = count;
    }
    for (size_t i = 0; status == REDEFINE_OK && i < count; i++)
        if (work[i].index == 0)
            work[i].touched->redef->method = (uint8_t)item[i].method & 3;
    return status;
}

/* A function that was followed to lies where nobody has asked about: whether the snapshot is right there,
 * too. */
static bool is_followed_current(const struct commit *commit)
{
    for (const struct alias *alias = commit->alias; alias; alias = alias->next)
        if (commit->engine->snapshot.uses &&
            !rdf_snapshot_is_current(&commit->engine->snapshot, &alias->touched->entry, 1))
            return false;
    return true;
}

/* What was read of an object that is not there any more is no ground for anything, not even where it was
 * enough for a plan: another one of the same file may be there when the world stands still. */
static redefine_status refuse_gone(struct commit *commit)
{
    *commit->err = (struct rdf_error){0};
    return rdf_fail(
        commit->err, REDEFINE_EBUSY,
        "%s could not be read any more while the change was planned (another thread unloads it?); "
        "nothing was changed; try again when it is loaded",
        commit->images->gone);
}

/* The addresses that a commit is about. Of many only as many as say that there are too many to ask for. */
enum { ASKED_MAX = 24 };

static size_t list_addresses(const struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                             uint64_t ret[ASKED_MAX + 3])
{
    size_t used = 0;
    for (size_t i = 0; i < count && used < ASKED_MAX; i++) {
        const struct rdf_redef *redef = rdf_registry_find(&engine->registry, change[i].target);
        ret[used++] = change[i].target;
        if (redef)
            ret[used++] = redef->entry;
        if (change[i].replacement)
            ret[used++] = change[i].replacement;
    }
    return used;
}

/* Half of an object may be there while it is loaded or unloaded, and what is said of that is not to be
 * believed. */
static redefine_status believe(struct commit *commit, const struct rdf_change *change, size_t count,
                               redefine_status status)
{
    struct rdf_engine *engine = commit->engine;
    uint64_t addr[ASKED_MAX + 3];
    if (!rdf_snapshot_is_outdated(&engine->snapshot, addr, list_addresses(engine, change, count, addr)))
        return status;
    engine->is_stale = true;
    *commit->err = (struct rdf_error){0};
    return rdf_fail(commit->err, REDEFINE_EBUSY, "objects are being loaded and unloaded; try again");
}

static redefine_status run(struct commit *commit, const struct rdf_change *change, size_t count,
                           uint64_t caller_sp)
{
    struct rdf_engine *engine = commit->engine;
    commit->index = rdf_table_new(&commit->arena, NULL, 2 * count); /* padding is in it as well */
    if (!commit->index)
        return rdf_commit_no_memory(commit);
    redefine_status status = rdf_commit_resolve(commit, change, count);
    engine->is_stale = status == REDEFINE_OK && !is_followed_current(commit);
    if (engine->is_stale)
        status = rdf_fail(commit->err, REDEFINE_EBUSY, "objects are being loaded and unloaded; try again");
    if (status == REDEFINE_OK)
        status = rdf_commit_inspect(commit);
    if (status == REDEFINE_OK && commit->images->out_of_memory)
        status = rdf_fail(commit->err, REDEFINE_ENOMEM,
                          "no memory to look for what leads to the code; nothing was changed");
    if (commit->images->gone)
        status = refuse_gone(commit);
    /* A refusal that rests on what was there earlier: look again. */
    engine->is_stale |= status != REDEFINE_OK && (engine->snapshot.uses || commit->images->gone);
    if (status != REDEFINE_OK && !engine->is_stale)
        status = believe(commit, change, count, status);
    if (status == REDEFINE_OK &&
        !rdf_registry_reserve(&engine->registry, commit->new_count + commit->alias_count,
                              rdf_commit_layers(commit)))
        status = rdf_commit_no_memory(commit);
    if (status == REDEFINE_OK)
        status = fill_all(commit);
    if (status == REDEFINE_OK)
        status = write_all(commit, caller_sp);
    return status;
}

static redefine_status take_snapshot(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                     struct rdf_error *err)
{
    uint64_t addr[ASKED_MAX + 3];
    size_t used = list_addresses(engine, change, count, addr);
    return rdf_snapshot_refresh(&engine->snapshot, engine->space, engine->arch, engine->snapshot_pages, addr,
                                used, err);
}

/* What was taken since the marks, but for what a thread may still run. */
static void give_back(struct commit *commit)
{
    struct rdf_engine *engine = commit->engine;
    if (engine->catches_traps && !commit->caught_traps && !engine->detours) {
        (void)engine->space->ops->catch_traps(engine->space, NULL, NULL);
        engine->catches_traps = false;
    }
    if (!engine->keeps_code)
        rdf_near_rollback(&engine->near, commit->mark);
    rdf_registry_rollback(&engine->registry, &commit->registry_mark);
}

static void end(struct commit *commit)
{
    struct rdf_arena arena = commit->arena;
    rdf_arena_free(&commit->one);
    __atomic_store_n(&commit->engine->under_way, NULL, __ATOMIC_RELEASE);
    rdf_arena_free(&arena);
}

/* A fork has copied a commit of another thread to a child, where nobody goes on with it. What that thread had
 * done then is there up to some point and nothing behind it: a store to a page that has been copied waits
 * until the fork is over. So it is taken back, or finished where it has begun to be published. */
void rdf_engine_recover(struct rdf_engine *engine)
{
    struct commit *commit = __atomic_load_n(&engine->under_way, __ATOMIC_ACQUIRE);
    if (!commit)
        return;
    struct rdf_write *write = __atomic_load_n(&commit->write, __ATOMIC_ACQUIRE);
    enum rdf_recovery recovery = write ? rdf_write_recover(write) : RDF_RECOVERED_UNDONE;
    engine->keeps_code = write && write->keeps_code;
    if (recovery == RDF_RECOVERED_UNDONE)
        give_back(commit);
    if (recovery == RDF_RECOVERED_IN_PART)
        rdf_registry_abandon(&engine->registry, &commit->registry_mark);
    rdf_snapshot_forget(&engine->snapshot);
    end(commit);
}

static struct commit *begin(struct rdf_engine *engine, struct rdf_error *err)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, engine->pages);
    struct commit *commit = rdf_arena_alloc(&arena, sizeof *commit);
    struct rdf_near_mark *near_mark = rdf_arena_alloc(&arena, sizeof *near_mark);
    if (!commit || !near_mark) {
        rdf_arena_free(&arena);
        (void)rdf_fail(err, REDEFINE_ENOMEM, "no memory for the records of this change");
        return NULL;
    }
    *commit = (struct commit){.engine = engine,
                              .err = err,
                              .arena = arena,
                              .last = &commit->first,
                              .mark = near_mark,
                              .caught_traps = engine->catches_traps};
    rdf_registry_take_mark(&engine->registry, &commit->registry_mark);
    rdf_near_take_mark(&engine->near, near_mark);
    engine->keeps_code = false;
    __atomic_store_n(&engine->under_way, commit, __ATOMIC_RELEASE);
    return commit;
}

/* On failure everything is as it was, but for near.mode. */
static redefine_status attempt(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                               uint64_t caller_sp, struct rdf_error *err)
{
    struct commit *commit = begin(engine, err);
    if (!commit)
        return REDEFINE_ENOMEM;
    redefine_status status = take_snapshot(engine, change, count, err);
    commit->images = &engine->snapshot.images;
    if (status == REDEFINE_OK)
        status = run(commit, change, count, caller_sp);
    if (status == REDEFINE_EROLLBACK)
        rdf_registry_abandon(&engine->registry, &commit->registry_mark);
    else if (status != REDEFINE_OK)
        give_back(commit);
    if (engine->is_stale)
        rdf_snapshot_drop(&engine->snapshot);
    rdf_snapshot_settle(&engine->snapshot);
    end(commit);
    return status;
}

/* What the frames of a commit leave on the stack are addresses among bytes that are overwritten: to another
 * thread's commit, which searches this stack while this thread waits for the lock, places to return to. */
static __attribute__((noinline)) void forget_frames(void)
{
    enum { WORDS = 512 };
    volatile uint64_t left[WORDS];
    for (size_t i = 0; i < WORDS; i++)
        left[i] = 0;
    (void)left[0];
}

redefine_status rdf_engine_commit(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    if (count == 0)
        return REDEFINE_OK;
    rdf_engine_recover(engine);
    enum rdf_near_mode mode = engine->near.mode;
    engine->near.is_refused = false;
    engine->is_stale = false;
    /* Odd, also when it was: in a child of fork, while another thread of the parent was here. */
    (void)__atomic_exchange_n(&engine->commits, (engine->commits + 1) | 1, __ATOMIC_SEQ_CST);
    redefine_status status = attempt(engine, change, count, caller_sp, err);
    /* What has failed is tried in another way: without a write, with a new snapshot. */
    bool again = status != REDEFINE_OK && (engine->near.is_refused || engine->is_stale);
    if (again && err)
        err->status = REDEFINE_OK;
    if (again)
        status = attempt(engine, change, count, caller_sp, err);
    if (status != REDEFINE_OK && status != REDEFINE_EROLLBACK)
        engine->near.mode = mode;
    (void)__atomic_exchange_n(&engine->commits, engine->commits + 1, __ATOMIC_SEQ_CST);
    rdf_progress("changes made", 1, 1);
    forget_frames();
    return status;
}

void rdf_engine_init(struct rdf_engine *engine, struct rdf_space *space, const struct rdf_arch *arch,
                     const struct rdf_page_source *pages, const struct rdf_page_source *snapshot_pages)
{
    /* Not the lock: the caller holds it, and others wait for it. */
    engine->space = space;
    engine->arch = arch;
    engine->pages = pages;
    engine->snapshot_pages = snapshot_pages;
    engine->write_methods = (1u << RDF_WRITE_METHODS) - 1;
    engine->near = (struct rdf_near){.space = space,
                                     .arch = arch,
                                     .pages = pages,
                                     .frame_call_addr = rdf_arch_frame_call()};
    engine->last_stop = (struct rdf_stop_report){0};
    rdf_registry_init(&engine->registry, pages);
}

struct rdf_redef *rdf_engine_find(struct rdf_engine *engine, uint64_t target)
{
    struct rdf_redef *redef = rdf_registry_find(&engine->registry, target);
    if (redef || engine->registry.count == 0)
        return redef;
    struct rdf_arena arena;
    struct rdf_images images = {0};
    rdf_arena_init(&arena, engine->pages);
    uint64_t entry;
    if (rdf_images_load(engine->space, engine->arch, &arena, &images, NULL) == REDEFINE_OK) {
        if (rdf_maps_allow(&images.maps, target, 1, RDF_PROT_EXEC) &&
            rdf_images_follow(&images, target, &entry, NULL) == REDEFINE_OK)
            redef = rdf_registry_find(&engine->registry, entry);
        rdf_images_free(&images);
    }
    rdf_arena_free(&arena);
    return redef;
}
