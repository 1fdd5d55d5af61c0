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

#include <inttypes.h>

enum { DEADLINE_MS = 2000, SCAN_BYTES = 2048, UNKNOWN_STACK_BYTES = 1 << 20 };

/* What the body of the stopped world answers, besides 0 and -EAGAIN. */
enum body_result { BODY_DONE, BODY_CHANGED, BODY_FAILED, BODY_MOVE_FAILED };
enum { TRY_AGAIN = -11 };

static const struct rdf_write_item *item_at(const struct rdf_write *write, uint64_t addr)
{
    size_t low = 0;
    size_t high = write->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct rdf_write_item *item = &write->item[middle];
        if (addr < item->edit.addr)
            high = middle;
        else if (addr >= item->edit.addr + item->edit.len_bytes)
            low = middle + 1;
        else
            return item;
    }
    return NULL;
}

/* Whether `value` is a place inside bytes that will be overwritten, other than the first: something that
 * is to be executed later, were it a return address or the PC of an interrupted context. */
static bool is_inside(const struct rdf_write *write, uint64_t value)
{
    if (value <= write->item[0].edit.addr)
        return false;
    const struct rdf_write_item *last = &write->item[write->count - 1];
    if (value >= last->edit.addr + last->edit.len_bytes)
        return false;
    const struct rdf_write_item *item = item_at(write, value);
    return item && item->moves && value != item->edit.addr;
}

/* Conservative: any aligned word between the stack pointer and the end of the stack counts. The red zone
 * below the stack pointer cannot hold what will be returned to. Read through the system, not in place: the
 * snapshot of mappings is older than the stop, and a neighbour's stack may be gone. */
static bool stack_has_address(const struct rdf_write *write, uint64_t sp)
{
    uint64_t word[SCAN_BYTES / 8];
    const struct rdf_map *stack = rdf_maps_find(write->maps, sp);
    uint64_t at = (sp + 7) / 8 * 8;
    /* A stack that is newer than the snapshot: as far as it can be read, within reason. */
    uint64_t end = stack ? stack->end : at + UNKNOWN_STACK_BYTES;
    while (at + 8 <= end) {
        /* Up to a page's end at a time: what can be read ends at one. */
        uint64_t len = SCAN_BYTES - at % SCAN_BYTES < end - at ? SCAN_BYTES - at % SCAN_BYTES : (end - at) / 8 * 8;
        if (write->space->ops->read(write->space, at, word, (size_t)len) < 0)
            return false;
        for (size_t i = 0; i < len / 8; i++)
            if (is_inside(write, word[i]))
                return true;
        at += len;
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

/* Store through added write permission. Execute permission goes away meanwhile unless the engine's own
 * code may share the page: nobody else runs now. */
static int store_protected(const struct rdf_write *write, const struct rdf_write_item *item,
                           struct rdf_world *world, const uint8_t *bytes)
{
    struct rdf_space *space = write->space;
    uint64_t page = rdf_os_page_bytes();
    uint64_t start = item->edit.addr / page * page;
    uint64_t len = (item->edit.addr + item->edit.len_bytes + page - 1) / page * page - start;
    uint8_t prot = item->prot | RDF_PROT_WRITE;
    if (!item->has_engine)
        prot &= (uint8_t)~RDF_PROT_EXEC;
    int status = space->ops->protect(space, start, (size_t)len, prot);
    if (status < 0)
        return status;
    status = space->ops->write(space, world, RDF_WRITE_PROTECT, item->edit.addr, bytes, item->edit.len_bytes);
    int back = space->ops->protect(space, start, (size_t)len, item->prot);
    return status < 0 ? status : back;
}

static int store_by(const struct rdf_write *write, const struct rdf_write_item *item, struct rdf_world *world,
                    enum rdf_write_method method, const uint8_t *bytes)
{
    if (method == RDF_WRITE_PROTECT)
        return store_protected(write, item, world, bytes);
    return write->space->ops->write(write->space, world, method, item->edit.addr, bytes, item->edit.len_bytes);
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
            err = -5; /* EIO: it said yes and the bytes are others */
        if (err == 0) {
            item->method = method;
            return 0;
        }
    }
    return err;
}

static void undo(struct rdf_write *write, struct rdf_world *world, size_t count)
{
    write->undone = true;
    while (count-- > 0) {
        struct rdf_write_item *item = &write->item[count];
        if (!read_back_is(write, item->edit.addr, item->edit.old_bytes, item->edit.len_bytes) &&
            store(write, item, world, item->edit.old_bytes) < 0)
            write->undone = false;
    }
}

static uint64_t new_place(const struct rdf_write *write, uint64_t pc)
{
    const struct rdf_write_item *item = item_at(write, pc);
    if (!item || !item->moves)
        return pc;
    return rdf_plan_move_pc(item->edit.addr, item->edit.addr + item->edit.len_bytes, item->window_start,
                            item->trampoline_addr, item->pcs, item->pc_count, pc);
}

/* Step 2, without changing anything. */
static bool everyone_can_move(struct rdf_write *write, const struct rdf_world *world)
{
    for (size_t i = 0; i < world->thread_count; i++) {
        const struct rdf_thread *thread = &world->thread[i];
        if (new_place(write, thread->pc) == 0 || stack_has_address(write, thread->sp)) {
            write->stop.blocking_tid = thread->tid;
            return false;
        }
    }
    if (write->caller_sp && stack_has_address(write, write->caller_sp)) {
        write->stop.blocking_tid = 0;
        return false;
    }
    return true;
}

static int body(struct rdf_world *world, void *ctx)
{
    struct rdf_write *write = ctx;
    if (!everyone_can_move(write, world))
        return TRY_AGAIN;
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_edit *edit = &write->item[i].edit;
        if (!read_back_is(write, edit->addr, edit->old_bytes, edit->len_bytes)) {
            write->failed_item = i;
            return BODY_CHANGED;
        }
    }
    for (size_t i = 0; i < write->count; i++) {
        write->err = store(write, &write->item[i], world, write->item[i].edit.new_bytes);
        if (write->err < 0) {
            write->failed_item = i;
            undo(write, world, i + 1);
            return BODY_FAILED;
        }
    }
    for (size_t i = 0; i < world->thread_count; i++) {
        uint64_t pc = world->thread[i].pc;
        uint64_t place = new_place(write, pc);
        if (place == pc)
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
    if (status == TRY_AGAIN && stop->blocking_tid)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "thread %d stays inside the bytes that would be overwritten (or will return into "
                        "them); nothing was changed; try again when it has left them", stop->blocking_tid);
    if (status == TRY_AGAIN)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "this thread itself will return into the bytes that would be overwritten; nothing was "
                        "changed; try again from a caller that the function does not call");
    if (stop->blocking_tid)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "thread %d could not be stopped (%s: %s), and code must not change under a running "
                        "thread; nothing was changed",
                        stop->blocking_tid, stop->step ? stop->step : "stop", rdf_errno_name(status));
    return rdf_fail(err, REDEFINE_EDENIED,
                    "the other threads of this process could not be stopped (%s: %s), and code must not change "
                    "under a running thread; nothing was changed; redefine before threads are started, or "
                    "allow ptrace", stop->step ? stop->step : "stop", rdf_errno_name(status));
}

static redefine_status explain_body(const struct rdf_write *write, int result, struct rdf_error *err)
{
    uint64_t addr = write->item[write->failed_item].edit.addr;
    const char *undone = write->undone ? "every byte is as it was" : "SOME BYTES COULD NOT BE PUT BACK";
    switch (result) {
    case BODY_DONE:
        return REDEFINE_OK;
    case BODY_CHANGED:
        return rdf_fail(err, REDEFINE_EBUSY, "the bytes at 0x%" PRIx64 " are not what they were when the change was "
                        "planned: someone else changed them; nothing was changed", addr);
    case BODY_FAILED:
        return rdf_fail(err, write->undone ? REDEFINE_EDENIED : REDEFINE_EROLLBACK,
                        "the system does not let the code at 0x%" PRIx64 " be written, neither through "
                        "/proc/self/mem nor by mprotect%s (%s); %s",
                        addr, write->stop.thread_count ? " nor by ptrace" : "", rdf_errno_name(write->err), undone);
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
            return result == TRY_AGAIN ? explain_stop(write, TRY_AGAIN, err) : explain_body(write, result, err);
    }
    struct rdf_stop_report report = {0};
    int status = ops->with_world_stopped(write->space, DEADLINE_MS, body, write, &result, &report);
    if (write->stop.blocking_tid && !report.blocking_tid)
        report.blocking_tid = write->stop.blocking_tid;
    write->stop = report;
    if (status < 0 && result == BODY_FAILED)
        return explain_body(write, result, err); /* what failed before the tracer was asked for */
    if (status < 0)
        return explain_stop(write, status, err);
    return explain_body(write, result, err);
}
