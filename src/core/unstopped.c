/* SPDX-License-Identifier: MIT
 *
 * How code is changed while the other threads run, where the system does not let us stop them. Two ways.
 *
 * By one store (L1), where each edit is one instruction inside an aligned 8 bytes that may be exchanged so
 * (arch->may_swap), and the program itself can write to the page: who executes it sees the old or the new
 * one. A CPU without the traps of the other way has its page made writable for that moment.
 *
 * By traps (L3). One byte can always be changed at once, and an instruction of one byte that traps keeps
 * everybody out of what follows, as Linux does for itself (smp_text_poke_batch_finish). Between any two steps
 * every core executes a serializing instruction (write does that).
 *
 *    1. No thread holds traps back; the handler of traps is there and knows the detours: for each entry, what
 * does the work of the old bytes. So nobody waits at a closed entry. The first time each thread is asked,
 * only to know that a fork which copied the handlers before ours was there is over: its child has no traps
 * either. After a success the handler stays.
 *    2. Branches into the bytes to be overwritten now lead to the trampoline: close them, write their tails,
 * open them. Who comes to one that is closed tries again until it is open: that is soon.
 *    3. Close each entry, and the padding that is to come back. From now on nobody gets into the bytes to be
 *       overwritten, but whoever is inside already or will return there.
 *    4. Ask each thread where it is: inside, it is moved to the trampoline or waited for; likewise stacks.
 *    5. Write the tails. Up to here all of it can be taken back, in the same careful way.
 *    6. Publish. 7. Open the entries with their new first byte.
 *    8. The other way round for a restore: now the branches lead back.
 *    9. A thread that was trapped may not have reached the handler yet: ask each once more. Then the detours
 *       go away; else they stay for good.
 *
 * tests/model/traps.pml is a model of it.
 */
#include "core/write_parts.h"

#include "base/arena.h"
#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

struct rdf_detours {
    struct rdf_detours *next;
    struct rdf_arena arena; /* in which it lies */
    bool is_undone;         /* whoever is late finds the old bytes */
    size_t count;
    struct detour {
        uint64_t addr;
        uint64_t to;
    } detour[];
};

uint64_t rdf_detours_find(struct rdf_detours *const *list, uint64_t addr)
{
    const struct rdf_detours *detours = __atomic_load_n(list, __ATOMIC_ACQUIRE);
    for (; detours; detours = __atomic_load_n(&detours->next, __ATOMIC_ACQUIRE)) {
        size_t low = 0;
        size_t high = detours->count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            const struct detour *detour = &detours->detour[middle];
            if (detour->addr == addr) {
                uint64_t to = __atomic_load_n(&detour->to, __ATOMIC_ACQUIRE);
                if (to)
                    return __atomic_load_n(&detours->is_undone, __ATOMIC_ACQUIRE) ? addr : to;
                break;
            }
            low = detour->addr < addr ? middle + 1 : low;
            high = detour->addr < addr ? high : middle;
        }
    }
    return 0;
}

/* ---- what the edits need ---- */

static bool has_inner_starts(const struct rdf_write_item *item)
{
    for (size_t i = 0; i < item->pc_count; i++) {
        uint64_t start = item->window_start + item->pcs[i].old_off;
        if (start > item->edit.addr && start < item->edit.addr + item->edit.len_bytes)
            return true;
    }
    return false;
}

/* Whether a thread could stand where it must not, once nobody gets in any more. */
static bool needs_proof(const struct rdf_write_item *item)
{
    if (item->kind == RDF_WRITE_PADDING)
        return item->is_taken_back;
    return item->moves && (item->is_loop_head || item->branches_back || has_inner_starts(item));
}

static bool has_traps(const struct rdf_write *write)
{
    return write->arch->trap_bytes == 1;
}

static bool is_one_store(const struct rdf_write *write, const struct rdf_write_item *item)
{
    struct rdf_map map;
    const struct rdf_edit *edit = &item->edit;
    bool in_word = edit->addr % sizeof(uint64_t) + edit->len_bytes <= sizeof(uint64_t);
    if (item->kind != RDF_WRITE_ENTRY || !in_word || needs_proof(item) ||
        !write->arch->may_swap((struct rdf_span){edit->old_bytes, edit->len_bytes},
                               (struct rdf_span){edit->new_bytes, edit->len_bytes}))
        return false;
    if (!has_traps(write))
        return true;
    if (!(item->prot[0] & RDF_PROT_WRITE))
        return false;
    /* A page that the program makes writable for a while only may not be so now. */
    return write->space->ops->maps_at &&
           write->space->ops->maps_at(write->space, &item->edit.addr, 1, &map) == 0 &&
           map.prot & RDF_PROT_WRITE;
}

/* ---- L1 ---- */

static int close_all(struct rdf_write *write, size_t count)
{
    int failed = 0;
    while (count-- > 0) {
        int status = rdf_store_close(write, &write->item[count]);
        failed = status < 0 ? status : failed;
    }
    return failed;
}

static void publish(struct rdf_write *write)
{
    __atomic_store_n(&write->has_begun_publishing, true, __ATOMIC_RELEASE);
    write->publish(write->publish_ctx);
}

static redefine_status publish_and_store(struct rdf_write *write, struct rdf_error *err)
{
    publish(write);
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_write_item *item = &write->item[i];
        int status = write->space->ops->write(write->space, NULL, RDF_WRITE_PROTECT, item->edit.addr,
                                              item->edit.new_bytes, item->edit.len_bytes);
        item->method = RDF_WRITE_PROTECT;
        if (status < 0) {
            (void)close_all(write, write->count);
            return rdf_fail(err, REDEFINE_EROLLBACK,
                            "the code at 0x%" PRIx64
                            " could not be read back (%s): SOME FUNCTIONS WERE NOT CHANGED",
                            item->edit.addr, rdf_errno_name(status));
        }
    }
    int status = close_all(write, write->count);
    return status == 0 ? REDEFINE_OK
                       : rdf_fail(err, REDEFINE_EROLLBACK,
                                  "a page of changed code could not get its protection back (mprotect: %s)",
                                  rdf_errno_name(status));
}

/* The first item whose pages cannot be made writable, with *ret_status; none: the count of them. */
static size_t open_all(struct rdf_write *write, int *ret_status)
{
    for (size_t i = 0; i < write->count && !has_traps(write); i++)
        if ((*ret_status = rdf_store_open(write, &write->item[i])) < 0)
            return i;
    return write->count;
}

/* Everything that can be refused is asked for first. */
static redefine_status write_by_store(struct rdf_write *write, struct rdf_error *err)
{
    int status = 0;
    write->safety = RDF_SAFE_BY_STORE;
    size_t refused = open_all(write, &status);
    if (refused < write->count) {
        bool is_back = close_all(write, refused + 1) == 0;
        return rdf_fail(err, is_back ? REDEFINE_EDENIED : REDEFINE_EROLLBACK,
                        "the system does not let the code at 0x%" PRIx64
                        " be written while threads run (mprotect: %s); %s",
                        write->item[refused].edit.addr, rdf_errno_name(status),
                        is_back ? "nothing was changed" : "SOME PROTECTIONS COULD NOT BE PUT BACK");
    }
    return publish_and_store(write, err);
}

/* ---- L3: bytes ---- */

enum step {
    CLOSE, /* a trap in the place of the first byte */
    TAIL,  /* the wanted bytes behind it */
    OPEN,  /* the wanted first byte */
};

struct unstopped {
    struct rdf_write *write;
    const char *stop_step; /* what could not be done, for the sentence */
    int stop_err;
    struct rdf_error *err;
    redefine_status status;
    struct rdf_detours *detours;
    uint64_t code_start; /* while undoing: where trampolines are that will be given back */
    uint64_t code_end;
};

static bool is_closed_early(const struct rdf_write_item *item)
{
    return item->kind == RDF_WRITE_BRANCH && !item->is_taken_back;
}

static bool is_closed_late(const struct rdf_write_item *item)
{
    return item->kind == RDF_WRITE_BRANCH && item->is_taken_back;
}

/* Padding that is written for the first time is nothing that runs. */
static bool is_entrance(const struct rdf_write_item *item)
{
    return item->kind == RDF_WRITE_ENTRY || (item->kind == RDF_WRITE_PADDING && item->is_taken_back);
}

static bool is_dead_padding(const struct rdf_write_item *item)
{
    return item->kind == RDF_WRITE_PADDING && !item->is_taken_back;
}

static bool take_step(struct unstopped *unstopped, bool (*is_meant)(const struct rdf_write_item *item),
                      enum step step, bool to_new)
{
    struct rdf_write *write = unstopped->write;
    struct rdf_world nobody = {0};
    bool has_begun = __atomic_load_n(&write->has_begun_publishing, __ATOMIC_ACQUIRE);
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_write_item *item = &write->item[i];
        item->is_due = false;
        if (!is_meant(item))
            continue;
        const uint8_t *bytes = to_new ? item->edit.new_bytes : item->edit.old_bytes;
        if (rdf_store_is(write, item->edit.addr, bytes, item->edit.len_bytes)) {
            rdf_bytes_copy(item->now, bytes, item->edit.len_bytes); /* it never got so far */
            continue;
        }
        item->now[0] = step == OPEN ? bytes[0] : write->arch->trap[0];
        for (size_t at = 1; step != CLOSE && at < item->edit.len_bytes; at++)
            item->now[at] = bytes[at];
        /* Not from what it was to be: a step that failed is taken once more. What is gone is passed over when
         * it is put back, and where the change cannot be refused any more. */
        bool is_missing = !rdf_store_is(write, item->edit.addr, item->now, item->edit.len_bytes);
        item->is_due = is_missing && !rdf_store_is_gone(write, item);
        if (is_missing && !item->is_due && to_new && !has_begun) {
            write->failed_item = i;
            write->err = -ENOMEM;
            return false;
        }
    }
    return rdf_store_due(write, &nobody);
}

static bool change(struct unstopped *unstopped, bool (*is_meant)(const struct rdf_write_item *item),
                   bool to_new)
{
    return take_step(unstopped, is_meant, CLOSE, to_new) && take_step(unstopped, is_meant, TAIL, to_new) &&
           take_step(unstopped, is_meant, OPEN, to_new);
}

/* ---- L3: threads ---- */

static bool runs_our_code(const struct rdf_write *write, uint64_t pc)
{
    struct rdf_map map;
    if (rdf_maps_allow(write->maps, pc, 1, RDF_PROT_EXEC))
        return true;
    return write->space->ops->maps_at && write->space->ops->maps_at(write->space, &pc, 1, &map) == 0 &&
           map.start <= pc && pc < map.end && map.prot & RDF_PROT_EXEC;
}

/* Step 4. A place that is no code of this process is an emulator's: it says nothing. */
static bool is_out(struct rdf_thread *thread, bool can_move, void *ctx)
{
    const struct unstopped *unstopped = ctx;
    const struct rdf_write *write = unstopped->write;
    uint64_t place = rdf_place_of(write, thread, true);
    if (place == 0 || (!can_move && (place != thread->pc || !runs_our_code(write, thread->pc))))
        return false;
    if (rdf_place_on_stack(write, thread->sp, rdf_place_is_inside, write))
        return false;
    thread->pc = place;
    return true;
}

/* Step 1. Whoever answers, or waits, is not in the middle of a fork. */
static bool is_anywhere(struct rdf_thread *thread, bool can_move, void *ctx)
{
    (void)thread, (void)can_move, (void)ctx;
    return true;
}

/* Right behind a trap: where a thread stands whose trap has not reached the handler. */
static bool is_behind_trap(const struct rdf_write *write, uint64_t value)
{
    size_t low = 0;
    size_t high = write->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t behind = write->item[middle].edit.addr + write->arch->trap_bytes;
        if (behind == value)
            return true;
        low = behind < value ? middle + 1 : low;
        high = behind < value ? high : middle;
    }
    return false;
}

static bool is_passing(const void *ctx, uint64_t addr, uint64_t value)
{
    (void)addr;
    const struct unstopped *unstopped = ctx;
    return is_behind_trap(unstopped->write, value) ||
           (value >= unstopped->code_start && value < unstopped->code_end);
}

/* Step 9. A thread that is interrupted has its trap's frame on the stack already; one that waits may not. */
static bool has_passed(struct rdf_thread *thread, bool can_move, void *ctx)
{
    const struct unstopped *unstopped = ctx;
    bool is_in_code = thread->pc >= unstopped->code_start && thread->pc < unstopped->code_end;
    if (is_in_code || (!can_move && is_behind_trap(unstopped->write, thread->pc)))
        return false;
    return !rdf_place_on_stack(unstopped->write, thread->sp, is_passing, unstopped);
}

/* ---- L3: detours ---- */

static redefine_status add_detours(struct unstopped *unstopped, struct rdf_error *err)
{
    struct rdf_write *write = unstopped->write;
    struct rdf_arena arena;
    rdf_arena_init(&arena, write->pages);
    struct rdf_detours *detours = rdf_arena_alloc(&arena,
                                                  sizeof *detours + write->count * sizeof *detours->detour);
    if (!detours)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the detours around %zu edits", write->count);
    for (size_t i = 0; i < write->count; i++) {
        const struct rdf_write_item *item = &write->item[i];
        /* A branch has none: who comes there waits. */
        uint64_t to = item->kind == RDF_WRITE_BRANCH ? item->edit.addr : item->detour;
        if (to)
            detours->detour[detours->count++] = (struct detour){item->edit.addr, to};
    }
    detours->arena = arena;
    detours->next = *write->detours;
    unstopped->detours = detours;
    __atomic_store_n(write->detours, detours, __ATOMIC_RELEASE);
    __atomic_store_n(&write->own_detours, detours, __ATOMIC_RELEASE);
    return REDEFINE_OK;
}

/* A trap that stays is the registry's from now on. */
static void forget_lasting_traps(const struct unstopped *unstopped)
{
    const struct rdf_write *write = unstopped->write;
    for (size_t i = 0, at = 0; i < write->count; i++) {
        const struct rdf_write_item *item = &write->item[i];
        while (at < unstopped->detours->count && unstopped->detours->detour[at].addr < item->edit.addr)
            at++;
        if (at < unstopped->detours->count && unstopped->detours->detour[at].addr == item->edit.addr &&
            item->edit.new_bytes[0] == write->arch->trap[0])
            __atomic_store_n(&unstopped->detours->detour[at].to, 0, __ATOMIC_RELEASE);
    }
}

/* Step 9. False: somebody may still need them. Asked twice: who came by one of these traps must be past it
 * before they leave the list, and who came by a trap that lasts may be reading them until they have left it.
 */
static bool end_detours(struct unstopped *unstopped)
{
    struct rdf_write *write = unstopped->write;
    const struct rdf_space_ops *ops = write->space->ops;
    struct rdf_stop_report report;
    if (ops->ask_threads(write->space, RDF_DEADLINE_MS, has_passed, unstopped, &report) < 0)
        return false;
    __atomic_store_n(write->detours, unstopped->detours->next, __ATOMIC_RELEASE);
    if (ops->ask_threads(write->space, RDF_DEADLINE_MS, has_passed, unstopped, &report) < 0) {
        __atomic_store_n(write->detours, unstopped->detours, __ATOMIC_RELEASE);
        return false;
    }
    __atomic_store_n(&write->own_detours, NULL, __ATOMIC_RELEASE);
    struct rdf_arena arena = unstopped->detours->arena; /* it lies in it itself */
    rdf_arena_free(&arena);
    return true;
}

/* ---- L3: the failures ---- */

/* Which thread could not be stopped, and what it is doing; "" where none is to blame. */
static const char *blocking_thread(const struct rdf_write *write, char *text, size_t room)
{
    struct rdf_error part = {0};
    char doing[160] = "";
    int tid = write->stop.blocking_tid;
    if (!tid)
        return "";
    if (write->space->ops->describe_thread)
        write->space->ops->describe_thread(write->space, tid, doing, sizeof doing);
    (void)rdf_fail(&part, REDEFINE_EBUSY, ", thread %d (%s)", tid, doing);
    rdf_bytes_copy(text, part.sentence, room);
    text[room - 1] = 0;
    return text;
}

static redefine_status refuse(const struct unstopped *unstopped, const char *reason, redefine_status status,
                              struct rdf_error *err)
{
    char who[200];
    return rdf_fail(
        err, status,
        "the other threads of this process could not be stopped (%s: %s%s), and without that %s; nothing "
        "was changed; redefine before threads are started, or allow %s",
        unstopped->stop_step, rdf_errno_name(unstopped->stop_err),
        blocking_thread(unstopped->write, who, sizeof who), reason, rdf_stop_name());
}

/* What `report` says, as a part of a sentence. */
static const char *reason_of(const struct rdf_write *write, const struct rdf_stop_report *report, char *text,
                             size_t room)
{
    struct rdf_error part = {0};
    char doing[160] = "";
    if (report->blocking_tid && write->space->ops->describe_thread)
        write->space->ops->describe_thread(write->space, report->blocking_tid, doing, sizeof doing);
    if (report->blocking_tid)
        (void)rdf_fail(&part, REDEFINE_EBUSY, "thread %d is in the way (%s; %s)", report->blocking_tid,
                       report->step, doing[0] ? doing : rdf_errno_name(report->err));
    else
        (void)rdf_fail(&part, REDEFINE_EBUSY, "code cannot be changed (%s: %s)", report->step,
                       rdf_errno_name(report->err));
    rdf_bytes_copy(text, part.sentence, room);
    text[room - 1] = 0;
    return text;
}

redefine_status rdf_write_check_traps(struct rdf_write *write, struct rdf_error *err)
{
    const struct rdf_space_ops *ops = write->space->ops;
    uint64_t addr = 0;
    for (size_t i = 0; i < write->count && !addr; i++) {
        const struct rdf_write_item *item = &write->item[i];
        bool is_trap = item->kind == RDF_WRITE_ENTRY && !item->is_taken_back &&
                       item->edit.len_bytes == write->arch->trap_bytes &&
                       rdf_bytes_equal(item->edit.new_bytes, write->arch->trap, write->arch->trap_bytes);
        addr = is_trap ? item->edit.addr : 0;
    }
    struct rdf_stop_report report = {.step = ""};
    if (!addr || !ops->check_traps || ops->check_traps(write->space, RDF_DEADLINE_MS, &report) >= 0)
        return REDEFINE_OK;
    char text[400];
    return rdf_fail(err, REDEFINE_EBUSY,
                    "the function at 0x%" PRIx64
                    " is so short that only a trap fits, and %s: the trap would end the "
                    "process; let SIGTRAP through there; nothing was changed",
                    addr, reason_of(write, &report, text, sizeof text));
}

/* Everything back, in the careful way. What cannot be written may be an object on its way out, or in again:
 * once more then. What counts is what is there in the end. */
static void undo(struct unstopped *unstopped)
{
    struct rdf_write *write = unstopped->write;
    static bool (*const order[])(const struct rdf_write_item *) = {is_dead_padding, is_entrance,
                                                                   is_closed_early};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (!change(unstopped, order[i], false))
            (void)change(unstopped, order[i], false);
    write->undone = true;
    for (size_t i = 0; i < write->count; i++) {
        const struct rdf_write_item *item = &write->item[i];
        const struct rdf_edit *edit = &item->edit;
        write->undone &= (!item->is_open &&
                          rdf_store_is(write, edit->addr, edit->old_bytes, edit->len_bytes)) ||
                         rdf_store_is_gone(write, item);
    }
    if (!write->undone)
        return;
    for (size_t i = 0; i < write->count; i++) {
        uint64_t addr = write->item[i].trampoline_addr;
        if (!unstopped->code_start || addr < unstopped->code_start)
            unstopped->code_start = addr;
        if (addr + RDF_TRAMPOLINE_BYTES_MAX > unstopped->code_end)
            unstopped->code_end = addr + RDF_TRAMPOLINE_BYTES_MAX;
    }
    __atomic_store_n(&unstopped->detours->is_undone, true, __ATOMIC_RELEASE);
    write->keeps_code = !end_detours(unstopped);
}

/* Steps 2 to 5. */
static bool prepare(struct unstopped *unstopped, struct rdf_stop_report *report)
{
    struct rdf_write *write = unstopped->write;
    bool is_needed = false;
    for (size_t i = 0; i < write->count; i++)
        is_needed |= needs_proof(&write->item[i]);
    report->err = 0;
    if (!change(unstopped, is_closed_early, true) || !take_step(unstopped, is_entrance, CLOSE, true))
        return false;
    if (is_needed && write->caller_sp &&
        rdf_place_on_stack(write, write->caller_sp, rdf_place_is_inside, write)) {
        report->err = -EAGAIN;
        return false;
    }
    if (is_needed &&
        write->space->ops->ask_threads(write->space, RDF_DEADLINE_MS, is_out, unstopped, report) < 0)
        return false;
    write->stop.thread_count = report->thread_count;
    if (!take_step(unstopped, is_entrance, TAIL, true) || !change(unstopped, is_dead_padding, true))
        return false;
    write->failed_item = rdf_store_find_gone(write);
    write->err = write->failed_item < write->count ? -ENOMEM : 0;
    return write->err == 0;
}

/* Steps 6 to 9. What has been written already can be written again: once more, if one call failed. */
static bool complete(struct unstopped *unstopped)
{
    publish(unstopped->write);
    forget_lasting_traps(unstopped);
    bool is_done = (take_step(unstopped, is_entrance, OPEN, true) ||
                    take_step(unstopped, is_entrance, OPEN, true)) &&
                   (change(unstopped, is_closed_late, true) || change(unstopped, is_closed_late, true));
    if (is_done)
        (void)end_detours(unstopped);
    return is_done;
}

static redefine_status write_by_traps(struct unstopped *unstopped, struct rdf_error *err)
{
    struct rdf_write *write = unstopped->write;
    struct rdf_stop_report report = {.step = ""};
    char text[400];
    bool had_handler = *write->catches_traps;
    if (write->space->ops->catch_traps(write->space, write->where, write->where_ctx) < 0)
        return refuse(unstopped, "SIGTRAP cannot be caught", REDEFINE_EDENIED, err);
    *write->catches_traps = true;
    if (!had_handler &&
        write->space->ops->ask_threads(write->space, RDF_DEADLINE_MS, is_anywhere, unstopped, &report) < 0)
        return refuse(unstopped, reason_of(write, &report, text, sizeof text), REDEFINE_EBUSY, err);
    redefine_status status = add_detours(unstopped, err);
    if (status != REDEFINE_OK)
        return status;
    if (!prepare(unstopped, &report)) {
        /* Pages that are not there are found so, or cannot be made writable, nor read back. They may be there
         * again by now. */
        bool was_gone = write->err == -ENOMEM || write->err == -EIO;
        size_t unloaded = was_gone ? write->failed_item : rdf_store_find_gone(write);
        bool is_unloaded = write->may_go && !report.err && unloaded < write->count;
        undo(unstopped);
        if (!write->undone)
            return rdf_fail(err, REDEFINE_EROLLBACK,
                            "the code at 0x%" PRIx64
                            " could not be written (%s): SOME BYTES COULD NOT BE PUT BACK",
                            write->item[write->failed_item].edit.addr, rdf_errno_name(write->err));
        if (is_unloaded) {
            write->failed_item = unloaded;
            return rdf_write_explain_gone(write, err);
        }
        if (report.err == -EAGAIN)
            return refuse(unstopped,
                          "this thread itself would return into the bytes that would be overwritten",
                          REDEFINE_EBUSY, err);
        if (report.err)
            return refuse(unstopped, reason_of(write, &report, text, sizeof text), REDEFINE_EBUSY, err);
        return refuse(unstopped, "it cannot be written, neither through /proc/self/mem nor by mprotect",
                      REDEFINE_EDENIED, err);
    }
    if (!complete(unstopped))
        return rdf_fail(err, REDEFINE_EROLLBACK,
                        "the code at 0x%" PRIx64
                        " could be written at first and then no more (%s): SOME BYTES ARE "
                        "TRAPS NOW, which lead to the former function",
                        write->item[write->failed_item].edit.addr, rdf_errno_name(write->err));
    return REDEFINE_OK;
}

static redefine_status write_somehow(struct unstopped *unstopped, struct rdf_error *err)
{
    struct rdf_write *write = unstopped->write;
    const struct rdf_space_ops *ops = write->space->ops;
    struct rdf_stop_report report = {.step = "membarrier", .err = ops->sync_cores(write->space)};
    char text[400];
    if (report.err < 0)
        return refuse(unstopped, reason_of(write, &report, text, sizeof text), REDEFINE_EDENIED, err);
    write->keeps_exec = true;
    write->failed_item = rdf_store_find_gone(write);
    if (write->failed_item < write->count)
        return rdf_write_explain_gone(write, err);
    write->failed_item = rdf_store_find_changed(write);
    if (write->failed_item < write->count)
        return rdf_write_explain_changed(write, err);
    bool by_store = (write->methods & 1u << RDF_WRITE_PROTECT) != 0;
    bool by_traps = has_traps(write);
    for (size_t i = 0; i < write->count; i++) {
        struct rdf_write_item *item = &write->item[i];
        rdf_bytes_copy(item->now, item->edit.old_bytes, sizeof item->now);
        item->is_due = false;
        by_store = by_store && is_one_store(write, item);
        by_traps = by_traps && !item->has_hops && (item->kind != RDF_WRITE_ENTRY || item->detour);
    }
    if (by_store)
        return write_by_store(write, err);
    if (!by_traps)
        return refuse(unstopped,
                      has_traps(write)
                          ? "not every edit can be made (there are hops for short loops)"
                          : "this CPU has no short trap, and not every edit is one instruction that may be "
                            "exchanged under running threads",
                      REDEFINE_EDENIED, err);
    write->safety = RDF_SAFE_BY_TRAPS;
    if (ops->check_traps(write->space, RDF_DEADLINE_MS, &report) < 0)
        return refuse(unstopped, reason_of(write, &report, text, sizeof text), REDEFINE_EBUSY, err);
    return write_by_traps(unstopped, err);
}

/* No handler of this thread runs meanwhile, which could call the engine or leave it by a jump. */
static int body(struct rdf_world *world, void *ctx)
{
    (void)world;
    struct unstopped *unstopped = ctx;
    unstopped->status = write_somehow(unstopped, unstopped->err);
    return 0;
}

redefine_status rdf_write_unstopped(struct rdf_write *write, const char *stop_step, int stop_err,
                                    struct rdf_error *err)
{
    const struct rdf_space_ops *ops = write->space->ops;
    struct unstopped unstopped = {.write = write, .stop_step = stop_step, .stop_err = stop_err, .err = err};
    int unused;
    int status = ops->with_signals_held(write->space, body, &unstopped, &unused);
    return status < 0 ? refuse(&unstopped, "signals cannot be held back", REDEFINE_EDENIED, err)
                      : unstopped.status;
}

/* ---- after a fork ---- */

static int recover(struct rdf_world *world, void *ctx)
{
    (void)world;
    struct unstopped *unstopped = ctx;
    struct rdf_write *write = unstopped->write;
    bool is_published = __atomic_load_n(&write->has_begun_publishing, __ATOMIC_ACQUIRE);
    unstopped->detours = __atomic_load_n(&write->own_detours, __ATOMIC_ACQUIRE);
    if (write->safety == RDF_SAFE_BY_STORE) {
        /* Items share pages: one that is to be written to may have been closed with another one's. */
        int status = 0;
        bool is_right = open_all(write, &status) == write->count;
        is_right = is_right && is_published ? publish_and_store(write, NULL) == REDEFINE_OK
                                            : close_all(write, write->count) == 0 && is_right;
        return !is_right ? RDF_RECOVERED_IN_PART : is_published ? RDF_RECOVERED_MADE : RDF_RECOVERED_UNDONE;
    }
    /* No byte can have changed before, but for a helper that was ended in the middle. */
    if (!unstopped->detours && !is_published)
        return rdf_store_find_changed(write) == write->count ? RDF_RECOVERED_UNDONE : RDF_RECOVERED_IN_PART;
    if (!unstopped->detours)
        return RDF_RECOVERED_MADE;
    if (is_published)
        return complete(unstopped) ? RDF_RECOVERED_MADE : RDF_RECOVERED_IN_PART;
    undo(unstopped);
    return write->undone ? RDF_RECOVERED_UNDONE : RDF_RECOVERED_IN_PART;
}

enum rdf_recovery rdf_write_recover(struct rdf_write *write)
{
    struct unstopped unstopped = {.write = write};
    int recovery = RDF_RECOVERED_IN_PART;
    int status = write->space->ops->with_signals_held(write->space, recover, &unstopped, &recovery);
    rdf_arena_free(&write->arena);
    return status < 0 ? RDF_RECOVERED_IN_PART : (enum rdf_recovery)recovery;
}
