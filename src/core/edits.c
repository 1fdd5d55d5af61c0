/* SPDX-License-Identifier: MIT
 *
 * What a commit writes: the edits of all its functions, in the order of their addresses, and what is known of
 * each for those who may be running there.
 */
#include "core/commit.h"

#include "base/bytes.h"
#include "base/order.h"

#include <inttypes.h>

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

redefine_status rdf_commit_write(struct commit *commit, uint64_t caller_sp)
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
