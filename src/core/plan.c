/* SPDX-License-Identifier: MIT
 *
 * From a window to every byte: relay, trampoline, edits.
 */
#include "core/plan.h"

#include "base/bytes.h"

#include <inttypes.h>

const char *rdf_strategy_name(enum rdf_strategy strategy)
{
    switch (strategy) {
    case RDF_STRATEGY_SLED: return "jump over a sled of no-operations";
    case RDF_STRATEGY_ENTRY_JUMP: return "entry jump";
    case RDF_STRATEGY_PADDED_JUMP: return "entry jump with its tail in padding";
    case RDF_STRATEGY_SHORT_JUMP: return "short jump into padding";
    case RDF_STRATEGY_TRAP: return "trap";
    }
    return "unknown";
}

const char *rdf_strategy_word(enum rdf_strategy strategy)
{
    switch (strategy) {
    case RDF_STRATEGY_SLED: return "sled";
    case RDF_STRATEGY_ENTRY_JUMP: return "jump";
    case RDF_STRATEGY_PADDED_JUMP: return "padded";
    case RDF_STRATEGY_SHORT_JUMP: return "short";
    case RDF_STRATEGY_TRAP: return "trap";
    }
    return "none";
}

int rdf_plan_read(struct rdf_images *images, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    struct rdf_space *space = images->space;
    bool is_readable = rdf_maps_allow(&images->maps, addr, len_bytes, RDF_PROT_READ);
    const void *view = is_readable ? rdf_images_view(images, addr, len_bytes) : NULL;
    int status = 0;
    if (view)
        rdf_bytes_copy(ret_bytes, view, len_bytes);
    else
        status = space->ops->read(space, addr, ret_bytes, len_bytes);
    if (status < 0 && is_readable)
        rdf_images_note_gone(images, addr);
    return status;
}

/* Nothing is displaced but no-operations: the original is what lies behind them. */
static void lay_out_sled(const struct rdf_near *near, struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    struct rdf_span code = {window->bytes, (size_t)(window->end - window->function.start)};
    struct rdf_insn insn;
    plan->trampoline_addr = window->end;
    for (size_t off = 0; near->arch->decode(rdf_span_slice(code, off, code.len_bytes - off),
                                            window->function.start + off, &insn);
         off += insn.len_bytes)
        plan->relocated.pcs[plan->relocated.pc_count++] = (struct rdf_pc_pair){(uint8_t)off, 0};
}

/* Where the next piece of code begins behind the first `len_bytes`. */
static size_t align_code(struct rdf_plan *plan, size_t len_bytes)
{
    for (; len_bytes % 8; len_bytes++)
        plan->code[len_bytes] = 0;
    return len_bytes;
}

/* Behind all other code, where the record of a redefinition need not know of it: the relay leads there. */
static redefine_status lay_out_frame(const struct rdf_near *near, struct rdf_plan *plan,
                                     struct rdf_error *err)
{
    uint32_t off = (uint32_t)align_code(plan, plan->code_bytes);
    plan->frame_addr = plan->relay_addr + off;
    size_t len = near->arch->emit_preserve(plan->code + off, plan->frame_addr, plan->place.slot_addr,
                                           near->frame_call_addr, &plan->window.keep);
    plan->code_bytes = off + (uint32_t)len;
    if (len == 0 || rdf_arch_emit_jump(near->arch, true, plan->code, plan->relay_addr, plan->frame_addr) == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "the relay's slot is out of its reach");
    return REDEFINE_OK;
}

/* Instructions that are moved as they are, and a jump back. False: that one has to be a longer one. */
static bool copy_window(const struct rdf_arch *arch, const struct rdf_window *window,
                        uint64_t trampoline_addr, struct rdf_relocated *ret)
{
    size_t len = (size_t)(window->end - window->function.start);
    size_t jump_bytes = window->copied_count
                            ? arch->emit_jump(ret->code + len, trampoline_addr + len, window->end)
                            : 0;
    if (!jump_bytes)
        return false;
    rdf_bytes_copy(ret->code, window->bytes, len);
    ret->len_bytes = len + jump_bytes;
    uint8_t off = 0;
    for (ret->pc_count = 0; ret->pc_count < window->copied_count; ret->pc_count++) {
        ret->pcs[ret->pc_count] = (struct rdf_pc_pair){off, off};
        off += window->copied[ret->pc_count];
    }
    return true;
}

/* Relay, counting and trampoline. */
static redefine_status lay_out(const struct rdf_near *near, struct rdf_plan *plan, uint64_t counter_addr,
                               struct rdf_error *err)
{
    const struct rdf_arch *arch = near->arch;
    const struct rdf_window *window = &plan->window;
    plan->relay_addr = plan->place.code_addr;
    size_t relay_bytes = arch->emit_slot_jump(plan->code, plan->relay_addr, plan->place.slot_addr);
    if (relay_bytes == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "the relay's slot is out of its reach");
    /* Behind a landing pad the sled's end is no place for an indirect call: a jump leads there instead. */
    bool has_pad = window->patched_start != window->function.start;
    if (window->strategy == RDF_STRATEGY_SLED && !counter_addr && !has_pad) {
        plan->code_bytes = (uint32_t)relay_bytes;
        lay_out_sled(near, plan);
        return REDEFINE_OK;
    }
    size_t off = align_code(plan, relay_bytes);
    if (counter_addr) {
        plan->count_addr = plan->relay_addr + off;
        off += arch->emit_count(plan->code + off, counter_addr);
    }
    plan->trampoline_addr = plan->relay_addr + off;
    struct rdf_relocate_request request = {
        .window = {window->bytes, (size_t)(window->end - window->function.start)},
        .window_addr = window->function.start,
        .patched_start = window->patched_start,
        .patched_end = window->patched_end,
        .trampoline_addr = plan->trampoline_addr,
    };
    redefine_status status = REDEFINE_OK;
    if (!copy_window(arch, window, plan->trampoline_addr, &plan->relocated))
        status = arch->relocate(&request, &plan->relocated, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_bytes_copy(plan->code + off, plan->relocated.code, plan->relocated.len_bytes);
    plan->code_bytes = (uint32_t)(off + plan->relocated.len_bytes);
    return REDEFINE_OK;
}

/* Complete an edit whose new bytes are known. */
static redefine_status set_edit(struct rdf_images *images, struct rdf_edit *edit, uint64_t addr, size_t len,
                                struct rdf_error *err)
{
    edit->addr = addr;
    edit->len_bytes = (uint8_t)len;
    int status = rdf_plan_read(images, addr, edit->old_bytes, len);
    if (status < 0)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code at 0x%" PRIx64 " could not be read (%s)", addr,
                        rdf_errno_name(status));
    return REDEFINE_OK;
}

enum jump { JUMP_SHORT, JUMP_PLAIN, JUMP_TO_FRAME };

static redefine_status jump_edit(const struct rdf_near *near, struct rdf_images *images,
                                 struct rdf_edit *edit, uint64_t from, uint64_t to, enum jump kind,
                                 struct rdf_error *err)
{
    size_t len = kind == JUMP_SHORT
                     ? near->arch->emit_short_jump(edit->new_bytes, from, to)
                     : rdf_arch_emit_jump(near->arch, kind == JUMP_TO_FRAME, edit->new_bytes, from, to);
    if (len == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "0x%" PRIx64 " is out of reach of a jump at 0x%" PRIx64, to,
                        from);
    return set_edit(images, edit, from, len, err);
}

static enum jump to_relay(const struct rdf_window *window)
{
    return window->needs_frame ? JUMP_TO_FRAME : JUMP_PLAIN;
}

/* A landing pad and the jump. */
static redefine_status landing_edit(const struct rdf_near *near, struct rdf_images *images,
                                    struct rdf_edit *edit, const struct rdf_window *window, uint64_t to,
                                    struct rdf_error *err)
{
    uint8_t len = window->landing_bytes;
    redefine_status status = jump_edit(near, images, edit, window->patched_start + len, to, to_relay(window),
                                       err);
    if (status != REDEFINE_OK)
        return status;
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    rdf_bytes_copy(jump, edit->new_bytes, sizeof jump);
    rdf_bytes_copy(edit->new_bytes, near->arch->landing, len);
    rdf_bytes_copy(edit->new_bytes + len, jump, edit->len_bytes);
    return set_edit(images, edit, window->patched_start, (size_t)len + edit->len_bytes, err);
}

static redefine_status entry_edits(const struct rdf_near *near, struct rdf_images *images,
                                   struct rdf_plan *plan, struct rdf_error *err)
{
    const struct rdf_window *window = &plan->window;
    if (window->strategy == RDF_STRATEGY_TRAP) {
        rdf_bytes_copy(plan->edit.new_bytes, near->arch->trap, near->arch->trap_bytes);
        return set_edit(images, &plan->edit, window->patched_start, near->arch->trap_bytes, err);
    }
    if (window->landing_bytes)
        return landing_edit(near, images, &plan->edit, window, plan->relay_addr, err);
    if (window->strategy != RDF_STRATEGY_SHORT_JUMP)
        return jump_edit(near, images, &plan->edit, window->patched_start, plan->relay_addr, to_relay(window),
                         err);
    redefine_status status = jump_edit(near, images, &plan->edit, window->patched_start, window->padding_addr,
                                       JUMP_SHORT, err);
    if (status != REDEFINE_OK)
        return status;
    return jump_edit(near, images, &plan->extra[plan->extra_count++], window->padding_addr, plan->relay_addr,
                     to_relay(window), err);
}

/* Where the trampoline has what the function has at `addr`; 0: no instruction starts there. */
static uint64_t counterpart(const struct rdf_plan *plan, uint64_t addr)
{
    const struct rdf_relocated *relocated = &plan->relocated;
    for (size_t i = 0; i < relocated->pc_count; i++)
        if (plan->window.function.start + relocated->pcs[i].old_off == addr)
            return plan->trampoline_addr + relocated->pcs[i].new_off;
    return 0;
}

/* The hop of a branch, unless an earlier one has it: behind the entry jump, in the same edit, or in padding.
 */
static redefine_status hop_edit(const struct rdf_near *near, struct rdf_images *images, struct rdf_plan *plan,
                                const struct rdf_branch *branch, uint64_t to, struct rdf_error *err)
{
    const struct rdf_window *window = &plan->window;
    for (const struct rdf_branch *other = window->branch; other < branch; other++)
        if (other->hop_addr == branch->hop_addr)
            return REDEFINE_OK;
    if (branch->hop_addr < window->patched_start || branch->hop_addr >= window->patched_end)
        return jump_edit(near, images, &plan->extra[plan->extra_count++], branch->hop_addr, to, JUMP_PLAIN,
                         err);
    struct rdf_edit hop;
    redefine_status status = jump_edit(near, images, &hop, branch->hop_addr, to, JUMP_PLAIN, err);
    if (status != REDEFINE_OK)
        return status;
    uint64_t off = branch->hop_addr - window->patched_start;
    rdf_bytes_copy(plan->edit.new_bytes + off, hop.new_bytes, hop.len_bytes);
    return set_edit(images, &plan->edit, window->patched_start, (size_t)off + hop.len_bytes, err);
}

/* The branches that lead into the overwritten bytes lead to the same instruction in the trampoline. */
static redefine_status branch_edit(const struct rdf_near *near, struct rdf_images *images,
                                   struct rdf_plan *plan, const struct rdf_branch *branch,
                                   struct rdf_error *err)
{
    uint8_t code[RDF_JUMP_BYTES_MAX];
    struct rdf_insn insn;
    uint64_t addr = branch->addr;
    uint64_t left = plan->window.function.end - addr;
    size_t len = left < sizeof code ? (size_t)left : sizeof code;
    struct rdf_span span = {code, len};
    if (rdf_plan_read(images, addr, code, len) < 0 || !near->arch->decode(span, addr, &insn))
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code at 0x%" PRIx64 " could not be read", addr);
    uint64_t to = counterpart(plan, branch->target);
    if (!to) {
        char text[96];
        (void)near->arch->format(span, addr, text, sizeof text);
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "\"%s\" at 0x%" PRIx64 " leads into the middle of an instruction at "
                        "the entry",
                        text, addr);
    }
    redefine_status status = REDEFINE_OK;
    if (branch->hop_addr)
        status = hop_edit(near, images, plan, branch, to, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_edit *edit = &plan->extra[plan->extra_count];
    if (near->arch->retarget(edit->new_bytes, span, addr, branch->hop_addr ? branch->hop_addr : to) == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "the trampoline is out of reach of the branch at 0x%" PRIx64,
                        addr);
    plan->extra_count++;
    return set_edit(images, edit, addr, insn.len_bytes, err);
}

/* Not all of it: of what is laid out only as much is read as there is. */
static void begin(struct rdf_plan *plan, const struct rdf_window *window)
{
    plan->window = *window;
    plan->edit = (struct rdf_edit){0};
    plan->extra = NULL;
    plan->extra_count = 0;
    plan->place = (struct rdf_near_place){0};
    plan->relay_addr = plan->count_addr = plan->trampoline_addr = plan->frame_addr = 0;
    plan->code_bytes = 0;
    plan->relocated.len_bytes = plan->relocated.pc_count = 0;
}

redefine_status rdf_plan_make(struct rdf_near *near, struct rdf_images *images,
                              const struct rdf_window *window, uint64_t counter_addr, struct rdf_plan *ret,
                              struct rdf_error *err)
{
    struct rdf_plan *plan = ret;
    begin(plan, window);
    size_t extra_max = (window->padding_addr ? 1 : 0) + 2 * window->branch_count;
    if (extra_max)
        plan->extra = rdf_arena_alloc(window->arena, extra_max * sizeof *plan->extra);
    if (extra_max && !plan->extra)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the edits of a function's branches");
    size_t room = sizeof plan->code - (window->needs_frame ? 0 : RDF_PRESERVE_BYTES_MAX);
    redefine_status status = rdf_near_reserve(near, &images->maps, window->patched_start, room, &plan->place,
                                              err);
    if (status == REDEFINE_OK)
        status = lay_out(near, plan, counter_addr, err);
    if (status == REDEFINE_OK && window->needs_frame)
        status = lay_out_frame(near, plan, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_near_shrink(near, &plan->place, plan->code_bytes);
    status = entry_edits(near, images, plan, err);
    for (size_t i = 0; status == REDEFINE_OK && i < window->branch_count; i++)
        status = branch_edit(near, images, plan, &window->branch[i], err);
    return status;
}

uint64_t rdf_plan_move_pc(uint64_t patched_start, uint64_t patched_end, uint64_t window_start,
                          uint64_t trampoline_addr, const struct rdf_pc_pair *pcs, size_t pc_count,
                          uint64_t pc)
{
    /* At the first overwritten byte the jump itself is executed: that is a new call. */
    if (pc <= patched_start || pc >= patched_end)
        return pc;
    for (size_t i = 0; i < pc_count; i++)
        if (window_start + pcs[i].old_off == pc)
            return trampoline_addr + pcs[i].new_off;
    return 0;
}
