/* SPDX-License-Identifier: MIT
 *
 * Where threads stand, and what their stacks will lead them to. Runs while threads hold any lock, and in
 * signal handlers: no libc, no allocation.
 */
#include "core/write_parts.h"

#include <errno.h>

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
static uint64_t after_ours(const struct rdf_write *write, const struct rdf_write_item *item, uint64_t pc)
{
    bool is_there = item->ours && (item->is_taken_back || write->puts_back);
    for (size_t i = 0; is_there && i < RDF_WRITE_OURS_MAX; i++)
        if (item->ours[i].addr && item->ours[i].addr == pc)
            return item->ours[i].target;
    return 0;
}

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

enum { CONTEXT_WORDS = 3 };

static bool context_has_flags(const struct rdf_arch *arch)
{
    return arch->context_pc < CONTEXT_WORDS - 1 && arch->context_sp < CONTEXT_WORDS - 1;
}

static bool may_be_flags(const struct rdf_arch *arch, uint64_t word)
{
    return word <= UINT32_MAX && (word & arch->context_flags) == arch->context_flags;
}

/* The PC of an interrupted context, with what lies beside it. A jump in padding lies where a function ends,
 * and such an address may be left anywhere on a stack. */
static bool is_context(const struct rdf_write *write, uint64_t addr)
{
    uint64_t word[CONTEXT_WORDS];
    const struct rdf_arch *arch = write->arch;
    uint64_t start = addr - arch->context_pc * sizeof word[0];
    if (write->space->ops->read(write->space, start, word, sizeof word) < 0)
        return true;
    /* On the stack that it points to; or on one for signals only, and then the flags must look like some. The
     * snapshot may not show the stack of a thread that was started since; numbers are small. */
    uint64_t sp = word[arch->context_sp];
    const struct rdf_map *stack = rdf_maps_find(write->maps, sp);
    bool is_same = stack && stack == rdf_maps_find(write->maps, addr);
    bool is_stack = stack ? stack->prot & RDF_PROT_WRITE : sp > UINT32_MAX;
    if (!is_stack || sp % 8 != 0)
        return false;
    return !context_has_flags(arch) || (is_same ? word[2] <= UINT32_MAX : may_be_flags(arch, word[2]));
}

static bool is_at_ours(const struct rdf_write *write, uint64_t addr, uint64_t value)
{
    if (value < write->item[0].edit.addr || value >= end_of(&write->item[write->count - 1]))
        return false;
    const struct rdf_write_item *item = item_at(write, value);
    return item && after_ours(write, item, value) && is_context(write, addr);
}

bool rdf_place_is_inside(const void *ctx, uint64_t addr, uint64_t value)
{
    return is_inside(ctx, value) || is_at_ours(ctx, addr, value);
}

/* The parts of stacks that have been searched, or will be. */
enum { STACKS_MAX = 16 };

struct search {
    const struct rdf_write *write;
    rdf_is_place *is_place;
    const void *ctx;
    size_t count;
    struct {
        uint64_t start, end;
    } stack[STACKS_MAX];
};

/* From `sp` up to the end of its mapping, or to what is known already. A stack that the snapshot does not
 * show (of a thread started since, or grown since) ends where the system says, or is read until that fails.
 */
static void add_stack(struct search *search, uint64_t sp)
{
    const uint64_t unknown_bytes = 8 << 20;
    const struct rdf_write *write = search->write;
    uint64_t start = (sp + 7) / 8 * 8;
    const struct rdf_map *map = rdf_maps_find(write->maps, start);
    uint64_t end = map ? map->end : start + unknown_bytes;
    if (!map && write->space->ops->end_of_map)
        end = write->space->ops->end_of_map(write->space, start);
    for (size_t i = 0; i < search->count; i++) {
        if (start >= search->stack[i].start && start < search->stack[i].end)
            return;
        if (search->stack[i].start > start && search->stack[i].start < end)
            end = search->stack[i].start;
    }
    if (write->stack_bytes_max && end - start > write->stack_bytes_max)
        end = start + write->stack_bytes_max;
    if (search->count < STACKS_MAX) {
        search->stack[search->count].start = start;
        search->stack[search->count++].end = end;
    }
}

/* Whether these words are a stack pointer, a PC and flags: a handler runs here that interrupted another
 * stack, which will be gone on with. Anything that looks so costs no more than a search; but without flags
 * too much does. */
static bool is_context_of_other(const struct search *search, const uint64_t word[CONTEXT_WORDS])
{
    const struct rdf_arch *arch = search->write->arch;
    uint64_t sp = word[arch->context_sp], pc = word[arch->context_pc];
    if (!context_has_flags(arch) || !may_be_flags(arch, word[2]) || sp % 8 != 0 || sp <= UINT32_MAX ||
        pc <= UINT16_MAX)
        return false;
    const struct rdf_map *stack = rdf_maps_find(search->write->maps, sp);
    return (!stack || stack->prot & RDF_PROT_WRITE) &&
           rdf_maps_allow(search->write->maps, pc, 1, RDF_PROT_EXEC);
}

/* Whether the context with its stack pointer at `addr` says of itself that it lies on the stack for handlers,
 * as each does that interrupted another stack. What cannot be read is none. */
static bool is_on_handlers_stack(const struct search *search, uint64_t addr)
{
    uint64_t stack[3]; /* start, flags, length */
    uint64_t at = addr - search->write->arch->context_stack_bytes;
    return search->write->arch->context_stack_bytes &&
           search->write->space->ops->read(search->write->space, at, stack, sizeof stack) >= 0 &&
           at - stack[0] < stack[2];
}

/* `word` are what is at `addr`; the two before them are there as well, of which nothing but a context is
 * wanted. */
static bool words_have_place(struct search *search, uint64_t addr, const uint64_t *word, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (search->is_place(search->ctx, addr + 8 * i, word[i]))
            return true;
        const uint64_t *context = word + i - (CONTEXT_WORDS - 1);
        /* Where stacks are searched in part, it has to be a context: stack pointers and PCs of tasks lie
         * everywhere among Go's words, and would lead to what those tasks left behind long ago. */
        if (is_context_of_other(search, context) &&
            (!search->write->stack_bytes_max ||
             is_on_handlers_stack(search, addr + 8 * i - 8 * (CONTEXT_WORDS - 1))))
            add_stack(search, context[search->write->arch->context_sp]);
    }
    return false;
}

/* Part by part, so that none reaches into a page that cannot be read.
 * Read through the system, not in place: the snapshot of mappings is older than the stop, so a neighbour's
 * stack may be gone; and words that were never written are no error of the program. */
static bool stack_has_place(struct search *search, uint64_t start, uint64_t end)
{
    enum { BEFORE = CONTEXT_WORDS - 1, PART_WORDS = 256, PART_BYTES = PART_WORDS * 8 };
    uint64_t part[BEFORE + PART_WORDS];
    part[0] = part[1] = 0;
    for (uint64_t at = start; at < end; at = at / PART_BYTES * PART_BYTES + PART_BYTES) {
        size_t len = PART_BYTES - (size_t)(at % PART_BYTES);
        int status = search->write->space->ops->read(search->write->space, at, part + BEFORE, len);
        if (status < 0)
            return status != -EFAULT; /* what cannot be looked at may hold one */
        if (words_have_place(search, at, part + BEFORE, len / 8))
            return true;
        const uint64_t *last = part + len / 8; /* the last two of all */
        uint64_t carried[BEFORE] = {last[0], last[1]};
        part[0] = carried[0];
        part[1] = carried[1];
    }
    return false;
}

/* Conservative: any aligned word between the stack pointer and the end of the stack counts. The red zone
 * below the stack pointer cannot hold what will be returned to. A handler on an alternate stack returns to
 * another one. */
bool rdf_place_on_stack(const struct rdf_write *write, uint64_t sp, rdf_is_place *is_place, const void *ctx)
{
    struct search search = {.write = write, .is_place = is_place, .ctx = ctx};
    add_stack(&search, sp);
    for (size_t i = 0; i < search.count; i++)
        if (stack_has_place(&search, search.stack[i].start, search.stack[i].end))
            return true;
    return false;
}

static uint64_t counterpart(const struct rdf_write_item *item, uint64_t start, uint64_t pc)
{
    return rdf_plan_move_pc(start, end_of(item), item->window_start, item->trampoline_addr, item->pcs,
                            item->pc_count, pc);
}

uint64_t rdf_place_of(const struct rdf_write *write, const struct rdf_thread *thread, bool is_closed)
{
    const struct rdf_write_item *item = item_at(write, thread->pc);
    bool is_first = item && thread->pc == item->edit.addr;
    if (!item || !item->moves) {
        uint64_t after = item ? after_ours(write, item, thread->pc) : 0;
        return after ? after : thread->pc;
    }
    /* A new call, or the next round of a loop? It cannot be told; but what the trap leads to is right for
     * both. */
    if (is_first && item->is_loop_head)
        return is_closed ? counterpart(item, item->edit.addr - 1, thread->pc) : 0;
    /* At the first byte a thread makes a new call; but not when it is in a system call there, which may
     * end behind it: then it stands inside, as one that has passed the first byte does. */
    return counterpart(item, item->edit.addr - (thread->restart_bytes ? 1 : 0), thread->pc);
}
