/* SPDX-License-Identifier: MIT
 *
 * Bytes of code: stored by the first method that works, read back, put back. Runs while threads hold any
 * lock: no libc, no allocation.
 */
#include "core/write_parts.h"

#include "base/bytes.h"

#include <errno.h>

bool rdf_store_is(const struct rdf_write *write, uint64_t addr, const uint8_t *bytes, size_t len)
{
    const void *view = write->may_go ? NULL : write->space->ops->view(write->space, addr, len);
    if (view)
        return rdf_bytes_equal(view, bytes, len);
    uint8_t copy[RDF_EDIT_BYTES_MAX];
    return write->space->ops->read(write->space, addr, copy, len) == 0 && rdf_bytes_equal(copy, bytes, len);
}

/* Protections are the engine's own to change by now, which splits and joins mappings. */
static bool is_as_planned(const struct rdf_write *write, uint64_t addr, const struct rdf_map *now)
{
    const struct rdf_map *planned = rdf_maps_find(write->maps, addr);
    return planned && now->end && rdf_map_is_same_object(planned, now) && now->prot & RDF_PROT_READ;
}

/* Whether the first or last byte lies elsewhere than when the change was planned. Where the system does not
 * tell what is mapped somewhere, it tells by each reading that something is. *ret_now: the mapping of what is
 * there, empty where that is not told. */
static bool is_gone(const struct rdf_write *write, const struct rdf_edit *edit, struct rdf_map *ret_now)
{
    const struct rdf_space_ops *ops = write->space->ops;
    uint64_t page = rdf_os_page_bytes();
    const uint64_t addr[2] = {edit->addr, edit->addr + edit->len_bytes - 1};
    size_t count = addr[0] / page == addr[1] / page ? 1 : 2;
    struct rdf_map now[2];
    uint8_t bytes[RDF_EDIT_BYTES_MAX];
    bool is_told = ops->maps_at && rdf_maps_find(write->maps, edit->addr) &&
                   ops->maps_at(write->space, addr, count, now) == 0;
    *ret_now = is_told ? now[0] : (struct rdf_map){0};
    if (!is_told)
        return ops->read(write->space, edit->addr, bytes, edit->len_bytes) == -EFAULT;
    return !is_as_planned(write, addr[0], &now[0]) || (count == 2 && !is_as_planned(write, addr[1], &now[1]));
}

bool rdf_store_is_gone(const struct rdf_write *write, const struct rdf_write_item *item)
{
    struct rdf_map now;
    return write->may_go && is_gone(write, &item->edit, &now);
}

/* The page that the item begins in (0) or ends in (1); false when it has no second one. */
static bool page_of(const struct rdf_write_item *item, size_t which, uint64_t *ret_start)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t first = item->edit.addr / page * page;
    uint64_t last = (item->edit.addr + item->edit.len_bytes - 1) / page * page;
    *ret_start = which ? last : first;
    return which == 0 || last != first;
}

/* Execute permission goes away meanwhile unless the engine's own code may share the page, or threads run. */
int rdf_store_open(const struct rdf_write *write, struct rdf_write_item *item)
{
    struct rdf_space *space = write->space;
    uint64_t start;
    int status = 0;
    for (size_t i = 0; i < 2 && status == 0 && page_of(item, i, &start); i++) {
        uint8_t prot = item->prot[i] | RDF_PROT_WRITE;
        if (!item->has_engine && !write->keeps_exec)
            prot &= (uint8_t)~RDF_PROT_EXEC;
        status = space->ops->protect(space, start, rdf_os_page_bytes(), prot);
        item->is_open |= status == 0;
    }
    return status;
}

int rdf_store_close(const struct rdf_write *write, struct rdf_write_item *item)
{
    struct rdf_space *space = write->space;
    uint64_t start;
    int failed = 0;
    for (size_t i = 0; i < 2 && item->is_open && page_of(item, i, &start); i++) {
        int status = space->ops->protect(space, start, rdf_os_page_bytes(), item->prot[i]);
        failed = status < 0 ? status : failed;
    }
    item->is_open = failed < 0;
    return failed;
}

static int store_protected(const struct rdf_write *write, struct rdf_write_item *item,
                           struct rdf_world *world, const uint8_t *bytes)
{
    struct rdf_space *space = write->space;
    int status = rdf_store_open(write, item);
    if (status == 0)
        status = space->ops->write(space, world, RDF_WRITE_PROTECT, item->edit.addr, bytes,
                                   item->edit.len_bytes);
    int back = rdf_store_close(write, item);
    return status < 0 ? status : back;
}

static int store_by(const struct rdf_write *write, struct rdf_write_item *item, struct rdf_world *world,
                    enum rdf_write_method method, const uint8_t *bytes)
{
    if (method == RDF_WRITE_PROTECT)
        return store_protected(write, item, world, bytes);
    return write->space->ops->write(write->space, world, method, item->edit.addr, bytes,
                                    item->edit.len_bytes);
}

/* Whether the system writes what cannot be written: asked with a byte of the engine's own, once for a change.
 * Where it does and did not, nothing was mapped at that moment: a store may find the same, and would be a
 * fault. */
static bool can_force(struct rdf_write *write)
{
    uint64_t addr = (uint64_t)(uintptr_t)&rdf_store_is;
    uint8_t byte;
    if (!write->has_tried_force)
        write->can_force = write->methods & 1u << RDF_WRITE_SELF_MEM &&
                           write->space->ops->read(write->space, addr, &byte, sizeof byte) == 0 &&
                           write->space->ops->write(write->space, NULL, RDF_WRITE_SELF_MEM, addr, &byte,
                                                    sizeof byte) == 0;
    write->has_tried_force = true;
    return write->can_force;
}

/* The first method that works and whose bytes can be read back. A method that stored something else than
 * it was given is put right by the next one, or by the undo. */
static int store(struct rdf_write *write, struct rdf_write_item *item, struct rdf_world *world,
                 const uint8_t *bytes)
{
    int err = -1;
    for (enum rdf_write_method method = 0; method < RDF_WRITE_METHODS; method++) {
        bool needs_tracer = method == RDF_WRITE_TRACER_MEM || method == RDF_WRITE_TRACER_POKE;
        if (!(write->methods & 1u << method) || (needs_tracer && !world->os))
            continue;
        if (method == RDF_WRITE_PROTECT && write->keeps_exec && write->may_go && can_force(write))
            return -ENOMEM;
        err = store_by(write, item, world, method, bytes);
        if (err == 0 && !rdf_store_is(write, item->edit.addr, bytes, item->edit.len_bytes))
            err = -EIO; /* it said yes and the bytes are others */
        if (err == 0) {
            item->method = method;
            return 0;
        }
    }
    return err;
}

/* How many items from `first` on lie in one page, wholly, up to the last of them that is due. */
static size_t run_length(const struct rdf_write *write, size_t first)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t end = write->item[first].edit.addr / page * page + page;
    size_t count = 1; /* also one that lies in two pages */
    for (size_t i = first; i < write->count; i++) {
        const struct rdf_write_item *item = &write->item[i];
        if (item->edit.addr + item->edit.len_bytes > end)
            break;
        if (item->is_due)
            count = i - first + 1;
    }
    return count;
}

enum { RUN_BYTES_MAX = 4096 };

static size_t bytes_of_run(const struct rdf_write_item *item, size_t count)
{
    const struct rdf_edit *last = &item[count - 1].edit;
    return (size_t)(last->addr + last->len_bytes - item->edit.addr);
}

static enum rdf_write_method method_of_runs(const struct rdf_world *world)
{
    return world->os ? RDF_WRITE_TRACER_MEM : RDF_WRITE_SELF_MEM;
}

static bool write_run(struct rdf_write *write, struct rdf_world *world, uint64_t addr, const uint8_t *bytes,
                      size_t len)
{
    enum rdf_write_method method = method_of_runs(world);
    return write->methods & 1u << method &&
           write->space->ops->write(write->space, world, method, addr, bytes, len) == 0 &&
           rdf_bytes_equal(write->space->ops->view(write->space, addr, len), bytes, len);
}

/* Several edits of one page in one write, with what lies between them as it is: nobody else changes it, since
 * the world stands still or the page cannot be written. False: not done, or not wholly; each by itself may do
 * better, and the undo knows them all. */
static bool store_run(struct rdf_write *write, struct rdf_world *world, size_t first, size_t count)
{
    uint8_t bytes[RUN_BYTES_MAX];
    struct rdf_write_item *item = &write->item[first];
    uint64_t start = item->edit.addr;
    size_t len = bytes_of_run(item, count);
    bool is_still = !write->keeps_exec || !(item->prot[0] & RDF_PROT_WRITE || write->may_go);
    const void *live = count > 1 && is_still && len <= sizeof bytes
                           ? write->space->ops->view(write->space, start, len)
                           : NULL;
    if (!live)
        return false;
    rdf_bytes_copy(bytes, live, len);
    for (size_t i = 0; i < count; i++)
        rdf_bytes_copy(bytes + (item[i].edit.addr - start), item[i].now, item[i].edit.len_bytes);
    if (!write_run(write, world, start, bytes, len))
        return false;
    for (size_t i = 0; i < count; i++)
        item[i].method = method_of_runs(world);
    return true;
}

/* When an item is written: what leads to a place, after the place. Where there are hops, which lie inside the
 * bytes of an entry, either order would be wrong: then at once, which one page's are. */
enum turn { FIRST_PADDING, FIRST_BRANCHES, ENTRIES, LAST_BRANCHES, LAST_PADDING, TURNS };

static enum turn turn_of(const struct rdf_write_item *item)
{
    if (item->kind == RDF_WRITE_PADDING)
        return item->is_taken_back ? LAST_PADDING : FIRST_PADDING;
    if (item->kind == RDF_WRITE_BRANCH && !item->has_hops)
        return item->is_taken_back ? LAST_BRANCHES : FIRST_BRANCHES;
    return ENTRIES;
}

/* How many items from `first` on lie in pages that follow each other. */
static size_t piece_length(const struct rdf_write *write, size_t first)
{
    uint64_t page = rdf_os_page_bytes();
    const struct rdf_write_item *item = &write->item[first];
    size_t count = 1;
    while (first + count < write->count &&
           item[count].edit.addr / page <=
               (item[count - 1].edit.addr + item[count - 1].edit.len_bytes - 1) / page + 1)
        count++;
    return count;
}

/* False: no memory, the bytes cannot be looked at, or they are not what the plan says. It begins with its
 * page: the system writes parts of a page's size, and who is killed between two of them has written whole
 * edits. */
static bool make_piece(const struct rdf_write *write, struct rdf_arena *arena,
                       const struct rdf_write_item *item, struct rdf_write_piece *ret)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t start = item->edit.addr / page * page;
    size_t len = (size_t)(item->edit.addr - start) + bytes_of_run(item, ret->item_count);
    bool has_view = write->space->ops->view(write->space, start, len) != NULL;
    ret->addr = start;
    ret->len_bytes = len;
    ret->before = has_view ? rdf_arena_alloc(arena, len) : NULL;
    ret->after = has_view ? rdf_arena_alloc(arena, len) : NULL;
    if (!ret->before || !ret->after || write->space->ops->read(write->space, start, ret->before, len) < 0)
        return false;
    rdf_bytes_copy(ret->after, ret->before, len);
    for (size_t i = 0; i < ret->item_count; i++) {
        const struct rdf_edit *edit = &item[i].edit;
        if (!rdf_bytes_equal(ret->before + (edit->addr - start), edit->old_bytes, edit->len_bytes))
            return false;
        rdf_bytes_copy(ret->after + (edit->addr - start), edit->new_bytes, edit->len_bytes);
        ret->is_writable |= (item[i].prot[0] | item[i].prot[1]) & RDF_PROT_WRITE;
    }
    return true;
}

void rdf_store_make_pieces(struct rdf_write *write, struct rdf_arena *arena)
{
    enum { WORTH_IT = 64 };
    write->piece_count = 0;
    if (write->count < WORTH_IT)
        return;
    size_t pieces = 0;
    for (size_t i = 0; i < write->count; i++)
        if (turn_of(&write->item[i]) != ENTRIES)
            return; /* pieces have no turns */
    for (size_t first = 0; first < write->count; first += piece_length(write, first))
        pieces++;
    struct rdf_write_piece *piece = rdf_arena_alloc(arena, pieces * sizeof *piece);
    size_t count = 0;
    for (size_t first = 0; piece && first < write->count; first += piece[count++].item_count) {
        piece[count].item_count = piece_length(write, first);
        if (!make_piece(write, arena, &write->item[first], &piece[count]))
            return;
    }
    write->piece = piece;
    write->piece_count = piece ? count : 0;
}

void rdf_store_own_pieces(const struct rdf_write *write)
{
    for (size_t i = 0; write->space->ops->own_pages && i < write->piece_count; i++)
        if (!write->piece[i].is_writable)
            write->space->ops->own_pages(write->space, write->piece[i].addr, write->piece[i].len_bytes);
}

bool rdf_store_pieces_are_current(const struct rdf_write *write)
{
    for (size_t i = 0; i < write->piece_count; i++) {
        const struct rdf_write_piece *piece = &write->piece[i];
        const void *live = write->space->ops->view(write->space, piece->addr, piece->len_bytes);
        if (!live || !rdf_bytes_equal(live, piece->before, piece->len_bytes))
            return false;
    }
    return write->piece_count > 0;
}

/* Returns how many items, from the first on, are there now: those behind may be, too. */
static size_t store_pieces(struct rdf_write *write, struct rdf_world *world)
{
    size_t stored = 0;
    for (size_t i = 0; i < write->piece_count; i++) {
        const struct rdf_write_piece *piece = &write->piece[i];
        if (!write_run(write, world, piece->addr, piece->after, piece->len_bytes))
            break;
        stored += piece->item_count;
    }
    write->piece_method = method_of_runs(world);
    return stored;
}

size_t rdf_store_find_gone(const struct rdf_write *write)
{
    struct rdf_map seen = {0};
    for (size_t i = 0; write->may_go && i < write->count; i++) {
        const struct rdf_edit *edit = &write->item[i].edit;
        if (edit->addr >= seen.start && edit->addr + edit->len_bytes <= seen.end)
            continue;
        if (is_gone(write, edit, &seen))
            return i;
    }
    return write->count;
}

size_t rdf_store_find_changed(const struct rdf_write *write)
{
    size_t i = 0;
    while (i < write->count && rdf_store_is(write, write->item[i].edit.addr, write->item[i].edit.old_bytes,
                                            write->item[i].edit.len_bytes))
        i++;
    return i;
}

bool rdf_store_due(struct rdf_write *write, struct rdf_world *world)
{
    for (size_t first = 0, count; first < write->count; first += count) {
        count = 1;
        if (!write->item[first].is_due)
            continue;
        count = run_length(write, first);
        bool stored = store_run(write, world, first, count);
        for (size_t i = first; i < first + count; i++) {
            struct rdf_write_item *item = &write->item[i];
            bool is_there = stored || !item->is_due ||
                            rdf_store_is(write, item->edit.addr, item->now, item->edit.len_bytes);
            write->err = is_there ? 0 : store(write, item, world, item->now);
            item->is_due = false;
            if (write->err < 0) {
                write->failed_item = i;
                return false;
            }
        }
    }
    return true;
}

bool rdf_store_all(struct rdf_write *write, struct rdf_world *world, bool by_pieces)
{
    size_t stored = by_pieces ? store_pieces(write, world) : 0;
    write->stored_in_pieces = stored;
    if (stored == write->count)
        return true;
    for (size_t i = 0; i < write->count; i++) {
        const struct rdf_edit *edit = &write->item[i].edit;
        rdf_bytes_copy(write->item[i].now, i < stored ? edit->new_bytes : edit->old_bytes,
                       sizeof write->item[i].now);
    }
    for (enum turn turn = 0; turn < TURNS; turn++) {
        for (size_t i = stored; i < write->count; i++) {
            struct rdf_write_item *item = &write->item[i];
            item->is_due = turn_of(item) == turn;
            if (item->is_due)
                rdf_bytes_copy(item->now, item->edit.new_bytes, sizeof item->now);
        }
        if (!rdf_store_due(write, world))
            return false;
    }
    return true;
}

static void put_back(struct rdf_write *write, struct rdf_world *world, struct rdf_write_item *item)
{
    if (!rdf_store_is(write, item->edit.addr, item->edit.old_bytes, item->edit.len_bytes) &&
        store(write, item, world, item->edit.old_bytes) < 0)
        write->undone = false;
    if (item->is_open && rdf_store_close(write, item) < 0)
        write->undone = false;
}

void rdf_store_undo(struct rdf_write *write, struct rdf_world *world)
{
    write->undone = true;
    for (int turn = TURNS; turn-- > 0;)
        for (size_t i = write->count; i-- > 0;)
            if (turn_of(&write->item[i]) == (enum turn)turn)
                put_back(write, world, &write->item[i]);
}
