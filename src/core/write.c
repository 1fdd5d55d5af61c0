/* SPDX-License-Identifier: MIT
 *
 * How live code is changed:
 *
 *   1. Every other thread stands still (a process of one thread: every signal is held back).
 *   2. A thread inside the bytes to be overwritten gets its new place; one that cannot have one, or a
 *      stack that holds an address inside them, means: let everyone go on, and try again a little later.
 *   3. The bytes must be what the plan says they are. Nothing has been changed so far.
 *   4. Write edit by edit, by the first method that works; read back. On failure undo in reverse.
 *   5. Move the threads. On failure undo.
 *   6. Publish what the new code relies on: slots, originals, the registry.
 *   7. Everyone goes on.
 *
 * Steps 2 to 6 may run in another task while threads hold any lock: no libc, no allocation.
 */
#include "core/write.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

enum { DEADLINE_MS = 2000, SCAN_BYTES = 2048, UNKNOWN_STACK_BYTES = 1 << 20 };

/* What the body of the stopped world answers, besides 0 and -EAGAIN. */
enum body_result { BODY_DONE, BODY_CHANGED, BODY_FAILED, BODY_MOVE_FAILED };

/* Behind the last byte at which a thread is moved: the window may be longer than what is overwritten. */
static uint64_t end_of(const struct rdf_write_item *item)
{
    uint64_t end = item->edit.addr + item->edit.len_bytes;
    return item->moves && item->window_end > end ? item->window_end : end;
}

static const struct rdf_write_item *item_at(const struct rdf_write *write, uint64_t addr)
{
    size_t low = 0;
    size_t high = write->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct rdf_write_item *item = &write->item[middle];
        if (addr < item->edit.addr)
            high = middle;
        else if (addr >= end_of(item))
            low = middle + 1;
        else
            return item;
    }
    return NULL;
}

/* Where a thread goes on that stands at a jump that is to be taken away; 0: it does not. */
static uint64_t after_ours(const struct rdf_write_item *item, uint64_t pc)
{
    for (size_t i = 0; i < RDF_WRITE_OURS_MAX; i++)
        if (item->ours[i].addr && item->ours[i].addr == pc)
            return item->ours[i].target;
    return 0;
}

/* Whether `value` is a place inside bytes that will be overwritten, other than the first: something that
 * is to be executed later, were it a return address or the PC of an interrupted context. */
static bool is_inside(const struct rdf_write *write, uint64_t value)
{
    if (value <= write->item[0].edit.addr)
        return false;
    const struct rdf_write_item *last = &write->item[write->count - 1];
    if (value >= end_of(last))
        return false;
    const struct rdf_write_item *item = item_at(write, value);
    if (!item || !item->moves || value == item->edit.addr)
        return false;
    return value < item->edit.addr + item->edit.len_bytes || item->branches_back;
}

/* The PC of an interrupted context, as Linux lays it out on x86-64 and aarch64: behind the stack pointer,
 * before the flags. A jump in padding lies where a function ends, and such an address may be left anywhere on
 * a stack. */
static bool is_context(const struct rdf_write *write, uint64_t addr)
{
    uint64_t word[3];
    if (write->space->ops->read(write->space, addr - sizeof word[0], word, sizeof word) < 0)
        return true;
    /* On the stack that it points to; or on one for signals only, and then the flags must be some. The
     * snapshot may not show the stack of a thread that was started since; numbers are small. */
    const struct rdf_map *stack = rdf_maps_find(write->maps, word[0]);
    bool is_same = stack && stack == rdf_maps_find(write->maps, addr);
    bool is_stack = stack ? stack->prot & RDF_PROT_WRITE : word[0] > UINT32_MAX;
    return is_stack && word[0] % 8 == 0 && word[2] <= UINT32_MAX && (is_same || word[2]);
}

static bool is_at_ours(const struct rdf_write *write, uint64_t addr, uint64_t value)
{
    if (value < write->item[0].edit.addr || value >= end_of(&write->item[write->count - 1]))
        return false;
    const struct rdf_write_item *item = item_at(write, value);
    return item && after_ours(item, value) && is_context(write, addr);
}

static bool words_have_address(const struct rdf_write *write, uint64_t addr, const uint64_t *word,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_inside(write, word[i]) || is_at_ours(write, addr + 8 * i, word[i]))
            return true;
    return false;
}

/* Conservative: any aligned word between the stack pointer and the end of the stack counts. The red zone
 * below the stack pointer cannot hold what will be returned to.
 * Read through the system, not in place: the snapshot of mappings is older than the stop, so a neighbour's
 * stack may be gone; and words that were never written are no error of the program. A stack that the snapshot
 * does not show (of a thread started since, or grown since) is read until that fails. */
static bool stack_has_address(const struct rdf_write *write, uint64_t sp)
{
    enum { PART_WORDS = 256, PART_BYTES = PART_WORDS * 8, UNKNOWN_BYTES = 8 << 20 };
    uint64_t part[PART_WORDS];
    uint64_t start = (sp + 7) / 8 * 8;
    const struct rdf_map *stack = rdf_maps_find(write->maps, start);
    uint64_t end = stack ? stack->end : start + UNKNOWN_BYTES;
    /* Part by part, so that none reaches into a page that cannot be read. */
    for (uint64_t at = start; at < end; at = at / PART_BYTES * PART_BYTES + PART_BYTES) {
        size_t len = PART_BYTES - (size_t)(at % PART_BYTES);
        int status = write->space->ops->read(write->space, at, part, len);
        if (status < 0)
            return status != -EFAULT; /* what cannot be looked at may hold one */
        if (words_have_address(write, at, part, len / 8))
            return true;
    }
    return false;
}

static bool read_back_is(const struct rdf_write *write, uint64_t addr, const uint8_t *bytes, size_t len)
{
    const void *view = write->space->ops->view(write->space, addr, len);
    if (view)
        return rdf_bytes_equal(view, bytes, len);
    uint8_t copy[RDF_EDIT_BYTES_MAX];
    return write->space->ops->read(write->space, addr, copy, len) == 0 && rdf_bytes_equal(copy, bytes, len);
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

/* Execute permission goes away meanwhile unless the engine's own code may share the page: nobody else
 * runs now. */
static int open_pages(const struct rdf_write *write, struct rdf_write_item *item)
{
    struct rdf_space *space = write->space;
    uint64_t start;
    int status = 0;
    for (size_t i = 0; i < 2 && status == 0 && page_of(item, i, &start); i++) {
        uint8_t prot = item->prot[i] | RDF_PROT_WRITE;
        if (!item->has_engine)
            prot &= (uint8_t)~RDF_PROT_EXEC;
        status = space->ops->protect(space, start, rdf_os_page_bytes(), prot);
        item->is_open |= status == 0;
    }
    return status;
}

static int close_pages(const struct rdf_write *write, struct rdf_write_item *item)
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
    int status = open_pages(write, item);
    if (status == 0)
        status = space->ops->write(space, world, RDF_WRITE_PROTECT, item->edit.addr, bytes,
                                   item->edit.len_bytes);
    int back = close_pages(write, item);
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

/* The first method that works and whose bytes can be read back. A method that stored something else than
 * it was given is put right by the next one, or by the undo. */
static int store(const struct rdf_write *write, struct rdf_write_item *item, struct rdf_world *world,
                 const uint8_t *bytes)
{
    int err = -1;
    for (enum rdf_write_method method = 0; method < RDF_WRITE_METHODS; method++) {
        bool needs_tracer = method == RDF_WRITE_TRACER_MEM || method == RDF_WRITE_TRACER_POKE;
        if (!(write->methods & 1u << method) || (needs_tracer && !world->os))
            continue;
        err = store_by(write, item, world, method, bytes);
        if (err == 0 && !read_back_is(write, item->edit.addr, bytes, item->edit.len_bytes))
            err = -EIO; /* it said yes and the bytes are others */
        if (err == 0) {
            item->method = method;
            return 0;
        }
    }
    return err;
}

/* How many items from `first` on lie in one page, wholly. */
static size_t run_length(const struct rdf_write *write, size_t first)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t end = write->item[first].edit.addr / page * page + page;
    size_t count = 0;
    while (first + count < write->count &&
           write->item[first + count].edit.addr + write->item[first + count].edit.len_bytes <= end)
        count++;
    return count;
}

/* Several edits of one page in one write, with what lies between them as it is: the world stands still.
 * False: not done, or not wholly; each by itself may do better, and the undo knows them all. */
static bool store_run(struct rdf_write *write, struct rdf_world *world, size_t first, size_t count)
{
    enum { RUN_BYTES_MAX = 4096 };
    uint8_t bytes[RUN_BYTES_MAX];
    struct rdf_write_item *item = &write->item[first];
    const struct rdf_edit *last = &item[count - 1].edit;
    uint64_t start = item->edit.addr;
    size_t len = (size_t)(last->addr + last->len_bytes - start);
    const void *live = count > 1 && len <= sizeof bytes ? write->space->ops->view(write->space, start, len)
                                                        : NULL;
    if (!live)
        return false;
    enum rdf_write_method method = world->os ? RDF_WRITE_TRACER_MEM : RDF_WRITE_SELF_MEM;
    if (!(write->methods & 1u << method))
        return false;
    rdf_bytes_copy(bytes, live, len);
    for (size_t i = 0; i < count; i++)
        rdf_bytes_copy(bytes + (item[i].edit.addr - start), item[i].edit.new_bytes, item[i].edit.len_bytes);
    if (write->space->ops->write(write->space, world, method, start, bytes, len) < 0 ||
        !rdf_bytes_equal(live, bytes, len))
        return false;
    for (size_t i = 0; i < count; i++)
        item[i].method = method;
    return true;
}

static void undo(struct rdf_write *write, struct rdf_world *world, size_t count)
{
    write->undone = true;
    while (count-- > 0) {
        struct rdf_write_item *item = &write->item[count];
        if (!read_back_is(write, item->edit.addr, item->edit.old_bytes, item->edit.len_bytes) &&
            store(write, item, world, item->edit.old_bytes) < 0)
            write->undone = false;
        if (item->is_open && close_pages(write, item) < 0)
            write->undone = false;
    }
}

/* 0: the thread must go on a little before the bytes can change. */
static uint64_t new_place(const struct rdf_write *write, const struct rdf_thread *thread)
{
    const struct rdf_write_item *item = item_at(write, thread->pc);
    if (!item || !item->moves) {
        uint64_t after = item ? after_ours(item, thread->pc) : 0;
        return after ? after : thread->pc;
    }
    /* A new call, or the next round of a loop? It cannot be told. */
    if (thread->pc == item->edit.addr && item->is_loop_head)
        return 0;
    /* At the first byte a thread makes a new call; but not when it is in a system call there, which may
     * end behind it: then it stands inside, as one that has passed the first byte does. */
    uint64_t start = item->edit.addr - (thread->restart_bytes ? 1 : 0);
    return rdf_plan_move_pc(start, end_of(item), item->window_start, item->trampoline_addr, item->pcs,
                            item->pc_count, thread->pc);
}

/* Step 2, without changing anything. */
static bool everyone_can_move(struct rdf_write *write, struct rdf_world *world)
{
    write->has_waited = true;
    for (size_t i = 0; i < world->thread_count; i++) {
        const struct rdf_thread *thread = &world->thread[i];
        if (new_place(write, thread) == 0 || stack_has_address(write, thread->sp)) {
            write->waiting_tid = world->blocking_tid = thread->tid;
            return false;
        }
    }
    write->waiting_tid = world->blocking_tid = 0;
    if (write->caller_sp && stack_has_address(write, write->caller_sp))
        return false;
    write->has_waited = false;
    return true;
}

static int body(struct rdf_world *world, void *ctx)
{
    struct rdf_write *write = ctx;
    if (!everyone_can_move(write, world))
        return -EAGAIN;
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_edit *edit = &write->item[i].edit;
        if (!read_back_is(write, edit->addr, edit->old_bytes, edit->len_bytes)) {
            write->failed_item = i;
            return BODY_CHANGED;
        }
    }
    for (size_t first = 0, count; first < write->count; first += count) {
        count = run_length(write, first);
        count = count ? count : 1; /* one that lies in two pages */
        bool stored = store_run(write, world, first, count);
        for (size_t i = first; !stored && i < first + count; i++) {
            write->err = store(write, &write->item[i], world, write->item[i].edit.new_bytes);
            if (write->err < 0) {
                write->failed_item = i;
                undo(write, world, first + count);
                return BODY_FAILED;
            }
        }
    }
    for (size_t i = 0; i < world->thread_count; i++) {
        uint64_t place = new_place(write, &world->thread[i]);
        if (place == world->thread[i].pc)
            continue;
        write->err = world->set_pc(world, i, place);
        if (write->err < 0) {
            undo(write, world, write->count);
            while (i-- > 0)
                if (world->set_pc(world, i, world->thread[i].pc) < 0)
                    write->undone = false;
            return BODY_MOVE_FAILED;
        }
    }
    write->publish(write->publish_ctx);
    return BODY_DONE;
}

static redefine_status explain_stop(const struct rdf_write *write, int status, struct rdf_error *err)
{
    const struct rdf_stop_report *stop = &write->stop;
    if (stop->body_began)
        return rdf_fail(
            err, REDEFINE_EROLLBACK,
            "the task that was changing the code was ended by someone else (%s: %s): SOME BYTES COULD "
            "NOT BE PUT BACK",
            stop->step ? stop->step : "stop", rdf_errno_name(status));
    bool has_waited = status == -EAGAIN ||
                      (status == -ETIMEDOUT && write->has_waited && stop->blocking_tid == write->waiting_tid);
    if (has_waited && write->waiting_tid)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "thread %d stays inside the bytes that would be overwritten (or will return into "
                        "them); nothing was changed; try again when it has left them",
                        write->waiting_tid);
    if (has_waited)
        return rdf_fail(
            err, REDEFINE_EBUSY,
            "this thread itself will return into the bytes that would be overwritten; nothing was "
            "changed; try again from a caller that the function does not call");
    bool is_denied = status == -EPERM || status == -EACCES || status == -ENOSYS;
    if (stop->blocking_tid && !is_denied)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "thread %d could not be stopped (%s: %s), and code must not change under a running "
                        "thread; nothing was changed",
                        stop->blocking_tid, stop->step ? stop->step : "stop", rdf_errno_name(status));
    return rdf_fail(
        err, REDEFINE_EDENIED,
        "the other threads of this process could not be stopped (%s: %s), and code must not change "
        "under a running thread; nothing was changed; redefine before threads are started, or "
        "allow ptrace",
        stop->step ? stop->step : "stop", rdf_errno_name(status));
}

static redefine_status explain_body(const struct rdf_write *write, int result, struct rdf_error *err)
{
    uint64_t addr = write->item[write->failed_item].edit.addr;
    const char *undone = write->undone ? "every byte is as it was"
                                       : "SOME BYTES OR PROTECTIONS COULD NOT BE PUT BACK";
    switch (result) {
    case BODY_DONE: return REDEFINE_OK;
    case BODY_CHANGED:
        return rdf_fail(err, REDEFINE_EBUSY,
                        "the bytes at 0x%" PRIx64 " are not what they were when the change was "
                        "planned: someone else changed them; nothing was changed",
                        addr);
    case BODY_FAILED:
        return rdf_fail(err, write->undone ? REDEFINE_EDENIED : REDEFINE_EROLLBACK,
                        "the system does not let the code at 0x%" PRIx64 " be written, neither through "
                        "/proc/self/mem nor by mprotect%s (%s); %s",
                        addr, write->stop.thread_count ? " nor by ptrace" : "", rdf_errno_name(write->err),
                        undone);
    default:
        return rdf_fail(err, write->undone ? REDEFINE_EBUSY : REDEFINE_EROLLBACK,
                        "a thread inside the overwritten bytes could not be moved (%s); %s",
                        rdf_errno_name(write->err), undone);
    }
}

redefine_status rdf_write_apply(struct rdf_write *write, struct rdf_error *err)
{
    if (write->count == 0) {
        write->publish(write->publish_ctx);
        return REDEFINE_OK;
    }
    const struct rdf_space_ops *ops = write->space->ops;
    int result = BODY_DONE;
    if (!ops->has_other_threads(write->space)) {
        int status = ops->with_signals_held(write->space, body, write, &result);
        if (status < 0)
            return explain_stop(write, status, err);
        bool tracer_may_help = result == BODY_FAILED && write->undone &&
                               write->methods & (1u << RDF_WRITE_TRACER_MEM | 1u << RDF_WRITE_TRACER_POKE);
        if (!tracer_may_help)
            return result == -EAGAIN ? explain_stop(write, -EAGAIN, err) : explain_body(write, result, err);
    }
    struct rdf_stop_report report = {0};
    int status = ops->with_world_stopped(write->space, DEADLINE_MS, body, write, &result, &report);
    write->stop = report;
    if (status < 0 && result == BODY_FAILED && !report.body_began)
        return explain_body(write, result, err); /* what failed before the tracer was asked for */
    if (status < 0)
        return explain_stop(write, status, err);
    return explain_body(write, result, err);
}
