/* SPDX-License-Identifier: MIT
 *
 * How live code is changed:
 *
 *   1. Every other thread stands still (a process of one thread: every signal is held back).
 *   2. A thread inside the bytes to be overwritten gets its new place; one that cannot have one, or a
 *      stack that holds an address inside them, means: let everyone go on, and try again a little later.
 *   3. The bytes must be what the plan says they are, in the same mapping. Nothing has been changed so far.
 *   4. Move the threads: their new places do the same work, whether the bytes change or not.
 *   5. Write edit by edit, by the first method that works; read back. On failure undo in reverse, and move
 * the threads back. The order is such that what leads to a place is written when the place is there.
 *   6. Publish what the new code relies on: slots, originals, the registry.
 *   7. Everyone goes on.
 *
 * Steps 2 to 6 may run in another task while threads hold any lock: no libc, no allocation. That task may be
 * killed between any two of its system calls, and everyone goes on then: hence the order of 4 and 5, and
 * inside
 * 5. What is found afterwards is put back (put_back), or, once 6 has begun, finished: publishing twice is
 * publishing once.
 */
#include "core/write_parts.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the body of the stopped world answers, besides 0 and -EAGAIN. */
enum body_result { BODY_DONE, BODY_GONE, BODY_CHANGED, BODY_FAILED, BODY_MOVE_FAILED };

/* Step 2, without changing anything. */
static bool everyone_can_move(struct rdf_write *write, struct rdf_world *world)
{
    write->has_waited = true;
    for (size_t i = 0; i < world->thread_count; i++) {
        const struct rdf_thread *thread = &world->thread[i];
        if (rdf_place_of(write, thread, false) == 0 ||
            rdf_place_on_stack(write, thread->sp, rdf_place_is_inside, write)) {
            write->waiting_tid = world->blocking_tid = thread->tid;
            return false;
        }
    }
    write->waiting_tid = world->blocking_tid = 0;
    if (write->caller_sp && rdf_place_on_stack(write, write->caller_sp, rdf_place_is_inside, write))
        return false;
    write->has_waited = false;
    return true;
}

static void move_back(struct rdf_write *write, struct rdf_world *world, size_t count)
{
    while (count-- > 0)
        if (rdf_place_of(write, &world->thread[count], false) != world->thread[count].pc &&
            world->set_pc(world, count, world->thread[count].pc) < 0)
            write->undone = false;
}

/* Step 4; on failure those that were moved are moved back. */
static bool move_threads(struct rdf_write *write, struct rdf_world *world)
{
    write->undone = true;
    for (size_t i = 0; i < world->thread_count; i++) {
        uint64_t place = rdf_place_of(write, &world->thread[i], false);
        if (place == world->thread[i].pc)
            continue;
        write->err = world->set_pc(world, i, place);
        if (write->err < 0) {
            move_back(write, world, i);
            return false;
        }
    }
    return true;
}

static int body(struct rdf_world *world, void *ctx)
{
    struct rdf_write *write = ctx;
    if (!everyone_can_move(write, world))
        return -EAGAIN;
    write->was_not_ready = write->is_ready && !write->is_ready(write->publish_ctx, world);
    if (write->was_not_ready)
        return -EAGAIN;
    write->failed_item = rdf_store_find_gone(write);
    if (write->failed_item < write->count)
        return BODY_GONE;
    bool by_pieces = rdf_store_pieces_are_current(write);
    write->failed_item = by_pieces ? write->count : rdf_store_find_changed(write);
    if (write->failed_item < write->count)
        return BODY_CHANGED;
    if (!move_threads(write, world))
        return BODY_MOVE_FAILED;
    if (!rdf_store_all(write, world, by_pieces)) {
        rdf_store_undo(write, world);
        move_back(write, world, world->thread_count);
        return BODY_FAILED;
    }
    write->has_begun_publishing = true;
    write->publish(write->publish_ctx);
    return BODY_DONE;
}

/* The helper was ended by someone else while it wrote. Now the threads run on what is there; stopped once
 * more, it is put back. Who was moved stays where the trampoline is, which therefore stays too. */
static int put_back(struct rdf_world *world, void *ctx)
{
    struct rdf_write *write = ctx;
    if (!everyone_can_move(write, world))
        return -EAGAIN;
    if (!move_threads(write, world))
        return BODY_FAILED;
    rdf_store_undo(write, world);
    return write->undone ? BODY_DONE : BODY_FAILED;
}

static bool can_put_back(struct rdf_write *write)
{
    struct rdf_stop_report report;
    int result = BODY_FAILED;
    /* The other way round: the bytes that are to be overwritten now are the new ones. */
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_write_item *item = &write->item[i];
        item->moves = item->kind == RDF_WRITE_ENTRY && !item->moves;
    }
    write->puts_back = true;
    write->keeps_code = true;
    return write->space->ops->with_world_stopped(write->space, RDF_DEADLINE_MS, put_back, write, &result,
                                                 &report) == 0 &&
           result == BODY_DONE;
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
    if (write->was_not_ready && (status == -EAGAIN || status == -ETIMEDOUT))
        return rdf_fail(err, REDEFINE_EBUSY,
                        "a goroutine stays parked inside the bytes that would be overwritten; nothing was "
                        "changed; try again when it has run on");
    bool has_waited = status == -EAGAIN ||
                      (status == -ETIMEDOUT && write->has_waited && stop->blocking_tid == write->waiting_tid);
    char doing[160] = "it has ended";
    if (stop->blocking_tid && write->space->ops->describe_thread)
        write->space->ops->describe_thread(write->space, stop->blocking_tid, doing, sizeof doing);
    if (has_waited && write->waiting_tid)
        return rdf_fail(
            err, REDEFINE_EBUSY,
            "thread %d (%s) stays inside the bytes that would be overwritten (or will return into "
            "them); nothing was changed; try again when it has left them",
            write->waiting_tid, doing);
    if (has_waited)
        return rdf_fail(
            err, REDEFINE_EBUSY,
            "this thread itself will return into the bytes that would be overwritten; nothing was "
            "changed; try again from a caller that the function does not call");
    bool is_denied = status == -EPERM || status == -EACCES || status == -ENOSYS;
    if (stop->blocking_tid && !is_denied)
        return rdf_fail(err, REDEFINE_EBUSY,
                        "thread %d (%s) could not be stopped (%s: %s), and code must not change under a "
                        "running thread; nothing was changed",
                        stop->blocking_tid, doing, stop->step ? stop->step : "stop", rdf_errno_name(status));
    if (status == -ETIMEDOUT) /* whoever it was: new ones came faster than they could be stopped */
        return rdf_fail(err, REDEFINE_EBUSY,
                        "the other threads of this process could not be stopped in time (%s), and code must "
                        "not change under a running thread; nothing was changed; try again",
                        stop->step ? stop->step : "stop");
    return rdf_fail(
        err, REDEFINE_EDENIED,
        "the other threads of this process could not be stopped (%s: %s), and code must not change "
        "under a running thread; nothing was changed; redefine before threads are started, or "
        "allow %s",
        stop->step ? stop->step : "stop", rdf_errno_name(status), rdf_stop_name());
}

redefine_status rdf_write_explain_changed(const struct rdf_write *write, struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_EBUSY,
                    "the bytes at 0x%" PRIx64 " are not what they were when the change was "
                    "planned: someone else changed them; nothing was changed",
                    write->item[write->failed_item].edit.addr);
}

redefine_status rdf_write_explain_gone(const struct rdf_write *write, struct rdf_error *err)
{
    uint64_t addr = write->item[write->failed_item].edit.addr;
    const struct rdf_map *map = rdf_maps_find(write->maps, addr);
    return rdf_fail(err, REDEFINE_EBUSY,
                    "the code at 0x%" PRIx64
                    " is not there any more: %s was unloaded while the change was made; "
                    "nothing was changed; redefine it when it is loaded again",
                    addr, map && map->path[0] ? map->path : "what had it");
}

/* The ways to write that were there to be tried, as a part of a sentence. */
static const char *ways_tried(const struct rdf_write *write, char *text, size_t room)
{
    size_t at = 0;
    for (int method = 0; method < RDF_WRITE_METHODS; method++) {
        bool needs_stop = method == RDF_WRITE_TRACER_MEM || method == RDF_WRITE_TRACER_POKE;
        const char *name = rdf_write_method_name(method);
        if ((needs_stop && !write->stop.thread_count) || strcmp(name, "none") == 0 || at >= room)
            continue;
        at += (size_t)snprintf(text + at, room - at, "%s%s", at ? ", by " : "by ", name);
    }
    return text;
}

static redefine_status explain_body(const struct rdf_write *write, int result, struct rdf_error *err)
{
    uint64_t addr = write->item[write->failed_item].edit.addr;
    const char *undone = write->undone ? "every byte is as it was"
                                       : "SOME BYTES OR PROTECTIONS COULD NOT BE PUT BACK";
    char ways[128] = "";
    switch (result) {
    case BODY_DONE: return REDEFINE_OK;
    case BODY_GONE: return rdf_write_explain_gone(write, err);
    case BODY_CHANGED: return rdf_write_explain_changed(write, err);
    case BODY_FAILED:
        return rdf_fail(err, write->undone ? REDEFINE_EDENIED : REDEFINE_EROLLBACK,
                        "the system does not let the code at 0x%" PRIx64 " be written: not %s (%s); %s", addr,
                        ways_tried(write, ways, sizeof ways), rdf_errno_name(write->err), undone);
    default:
        return rdf_fail(err, write->undone ? REDEFINE_EBUSY : REDEFINE_EROLLBACK,
                        "a thread inside the overwritten bytes could not be moved (%s); %s",
                        rdf_errno_name(write->err), undone);
    }
}

/* The stop cannot be had: not that a thread was in the way, nor that the helper was killed. */
static bool is_stop_denied(const struct rdf_write *write, int status)
{
    const struct rdf_space_ops *ops = write->space->ops;
    bool is_denied = status != -ETIMEDOUT && status != -EOWNERDEAD && status != -EXDEV &&
                     !write->stop.body_began;
    return is_denied && ops->sync_cores && ops->check_traps && ops->ask_threads && ops->catch_traps;
}

static redefine_status apply(struct rdf_write *write, struct rdf_error *err)
{
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
    rdf_store_own_pieces(write);
    int status = ops->with_world_stopped(write->space, RDF_DEADLINE_MS, body, write, &result, &report);
    write->stop = report;
    if (status < 0 && result == BODY_FAILED && !report.body_began)
        return explain_body(write, result, err); /* what failed before the tracer was asked for */
    if (report.body_began && write->has_begun_publishing) {
        write->publish(write->publish_ctx);
        write->stop.body_began = false;
        result = BODY_DONE;
        status = 0;
    }
    if (write->stop.body_began && can_put_back(write))
        return rdf_fail(
            err, REDEFINE_EBUSY,
            "the task that was changing the code was ended by someone else (%s); nothing is changed",
            rdf_errno_name(status));
    if (status < 0 && !write->only_stopped && is_stop_denied(write, status))
        return rdf_write_unstopped(write, report.step, status, err);
    if (status < 0)
        return explain_stop(write, status, err);
    write->safety = RDF_SAFE_BY_STOP;
    return explain_body(write, result, err);
}

redefine_status rdf_write_apply(struct rdf_write *write, struct rdf_error *err)
{
    if (write->count == 0) {
        __atomic_store_n(&write->has_begun_publishing, true, __ATOMIC_RELEASE); /* for rdf_write_recover */
        write->publish(write->publish_ctx);
        return REDEFINE_OK;
    }
    redefine_status status = rdf_write_check_traps(write, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_arena_init(&write->arena, write->pages);
    if (write->pages)
        rdf_store_make_pieces(write, &write->arena);
    status = apply(write, err);
    for (size_t i = 0; i < write->stored_in_pieces; i++)
        write->item[i].method = write->piece_method;
    rdf_arena_free(&write->arena);
    return status;
}
