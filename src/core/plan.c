/* SPDX-License-Identifier: MIT */
#include "core/plan.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>

const char *rdf_strategy_name(enum rdf_strategy strategy)
{
    switch (strategy) {
    case RDF_STRATEGY_ENTRY_JUMP: return "entry jump";
    case RDF_STRATEGY_PADDED_JUMP: return "entry jump with its tail in padding";
    }
    return "unknown";
}

/* The function's code, and room behind it that may be padding. */
struct body {
    struct rdf_images *images;
    const struct rdf_function *function;
    const uint8_t *code; /* from function->start */
    uint64_t end;        /* behind the last byte of `code` */
};

static redefine_status read_body(struct rdf_images *images, const struct rdf_function *function,
                                 struct body *ret, struct rdf_error *err)
{
    uint64_t end = rdf_images_next_start(images, function);
    uint64_t tail = function->end + RDF_JUMP_BYTES_MAX;
    if (end > tail)
        end = tail;
    if (end < function->end)
        end = function->end;
    size_t len = (size_t)(end - function->start);
    if (!rdf_maps_allow(&images->maps, function->start, len, RDF_PROT_READ))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the code at 0x%" PRIx64 " may be executed but not read",
                        function->start);
    const uint8_t *code = images->space->ops->view(images->space, function->start, len);
    if (!code) {
        uint8_t *copy = rdf_arena_alloc(images->arena, len);
        if (!copy)
            return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read %zu bytes of code", len);
        int status = images->space->ops->read(images->space, function->start, copy, len);
        if (status < 0)
            return rdf_fail(err, REDEFINE_ESYSTEM, "the code at 0x%" PRIx64 " could not be read (%s)",
                            function->start, rdf_errno_name(status));
        code = copy;
    }
    *ret = (struct body){images, function, code, end};
    return REDEFINE_OK;
}

static struct rdf_span code_at(const struct body *body, uint64_t addr)
{
    return (struct rdf_span){body->code + (addr - body->function->start), (size_t)(body->end - addr)};
}

static bool decode_at(const struct body *body, uint64_t addr, struct rdf_insn *ret)
{
    struct rdf_span code = code_at(body, addr);
    uint64_t limit = addr < body->function->end ? body->function->end - addr : code.len_bytes;
    if (code.len_bytes > limit)
        code.len_bytes = (size_t)limit;
    return body->images->arch->decode(code, addr, ret);
}

static const char *name_of(const struct rdf_function *function)
{
    return function->name ? function->name : "the function";
}

/* An instruction of the body as text, for a sentence. */
static const char *text_at(const struct body *body, uint64_t addr, char *text, size_t text_bytes)
{
    (void)body->images->arch->format(code_at(body, addr), addr, text, text_bytes);
    return text;
}

/* Whole instructions from the entry up to at least `least`; padding behind the function's end counts
 * while it is nothing but padding. Fills end, insn_count and strategy. */
static redefine_status take_instructions(const struct body *body, uint64_t least, struct rdf_window *window,
                                         struct rdf_error *err)
{
    const struct rdf_function *function = body->function;
    uint64_t at = function->start;
    window->insn_count = 0;
    while (at < least && at < function->end) {
        struct rdf_insn insn;
        if (!decode_at(body, at, &insn))
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "the bytes at %s+%" PRIu64 " (0x%" PRIx64 ") are no instruction that the decoder "
                            "knows, so they cannot be moved", name_of(function), at - function->start, at);
        at += insn.len_bytes;
        window->insn_count++;
        if (at - function->start > RDF_WINDOW_BYTES_MAX || window->insn_count > RDF_WINDOW_INSNS_MAX)
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "more than %d bytes at the entry of %s would have to be moved, because branches "
                            "further down lead back into them", (int)RDF_WINDOW_BYTES_MAX, name_of(function));
    }
    window->end = at;
    window->strategy = RDF_STRATEGY_ENTRY_JUMP;
    while (at < least) {
        struct rdf_insn insn;
        if (at >= body->end || !decode_at(body, at, &insn) ||
            (insn.role != RDF_ROLE_NOP && insn.role != RDF_ROLE_TRAP))
            return rdf_fail(err, REDEFINE_ESHORT,
                            "%s at 0x%" PRIx64 " has %" PRIu64 " byte%s, the entry jump needs %" PRIu64
                            ", and what follows at 0x%" PRIx64 " is not padding; tried: entry jump, entry jump "
                            "with its tail in padding",
                            name_of(function), function->start, function->end - function->start,
                            function->end - function->start == 1 ? "" : "s", least - function->start, at);
        at += insn.len_bytes;
        window->strategy = RDF_STRATEGY_PADDED_JUMP;
    }
    return REDEFINE_OK;
}

/* The last branch of the body, at or behind the window's end, that leads into bytes which will not be
 * what they were: the overwritten ones, or the entry itself (a loop whose head is the entry). 0: none. */
static uint64_t branch_into_window(const struct body *body, const struct rdf_window *window)
{
    uint64_t found = 0;
    for (uint64_t at = window->end; at < body->function->end;) {
        struct rdf_insn insn;
        if (!decode_at(body, at, &insn)) {
            /* Data between the instructions: go on at the next place where one can start. */
            at += body->images->arch->insn_align_bytes;
            continue;
        }
        if ((insn.flow == RDF_FLOW_BRANCH || insn.flow == RDF_FLOW_JUMP) &&
            insn.target >= body->function->start && insn.target < window->patched_end)
            found = at;
        at += insn.len_bytes;
    }
    return found;
}

static redefine_status try_window(const struct body *body, uint64_t patched_start, struct rdf_window *ret,
                                  struct rdf_error *err)
{
    const struct rdf_function *function = body->function;
    struct rdf_window window = {.function = *function, .patched_start = patched_start};
    window.patched_end = patched_start + body->images->arch->jump_bytes;
    uint64_t least = window.patched_end;
    for (;;) {
        redefine_status status = take_instructions(body, least, &window, err);
        if (status != REDEFINE_OK)
            return status;
        uint64_t branch = branch_into_window(body, &window);
        if (!branch)
            break;
        if (branch - function->start >= RDF_WINDOW_BYTES_MAX) {
            char text[128];
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "%s+%" PRIu64 " (0x%" PRIx64 "): \"%s\" leads back into the first bytes, which the "
                            "entry jump overwrites, from too far away to be moved along with them",
                            name_of(function), branch - function->start, branch,
                            text_at(body, branch, text, sizeof text));
        }
        least = branch + 1; /* extend the window over the branch, so that it is relocated too */
    }
    rdf_bytes_copy(window.bytes, body->code, (size_t)(window.end - function->start));
    *ret = window;
    return REDEFINE_OK;
}

redefine_status rdf_plan_window(struct rdf_images *images, const struct rdf_function *function,
                                struct rdf_window *ret, struct rdf_error *err)
{
    struct body body;
    redefine_status status = read_body(images, function, &body, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_insn first;
    if (!decode_at(&body, function->start, &first))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the bytes at the entry of %s (0x%" PRIx64 ") are no "
                        "instruction that the decoder knows", name_of(function), function->start);
    if (first.role != RDF_ROLE_LANDING)
        return try_window(&body, function->start, ret, err);
    /* Behind the landing pad, so that indirect calls still land on one; over it where there is no room. */
    struct rdf_error behind = {0};
    status = try_window(&body, function->start + first.len_bytes, ret, &behind);
    if (status != REDEFINE_ESHORT)
        return status == REDEFINE_OK ? status : rdf_fail(err, status, "%s", behind.sentence);
    return try_window(&body, function->start, ret, err);
}

static redefine_status lay_out(const struct rdf_near *near, struct rdf_plan *plan, struct rdf_error *err)
{
    const struct rdf_arch *arch = near->arch;
    const struct rdf_window *window = &plan->window;
    plan->relay_addr = plan->place.code_addr;
    size_t relay_bytes = arch->emit_slot_jump(plan->code, plan->relay_addr, plan->place.slot_addr);
    if (relay_bytes == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "the relay's slot is out of its reach");
    size_t off = (relay_bytes + 7) / 8 * 8;
    plan->trampoline_addr = plan->relay_addr + off;
    struct rdf_relocate_request request = {
        .window = {window->bytes, (size_t)(window->end - window->function.start)},
        .window_addr = window->function.start,
        .patched_start = window->patched_start,
        .patched_end = window->patched_end,
        .trampoline_addr = plan->trampoline_addr,
    };
    redefine_status status = arch->relocate(&request, &plan->relocated, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_bytes_copy(plan->code + off, plan->relocated.code, plan->relocated.len_bytes);
    plan->code_bytes = (uint32_t)(off + plan->relocated.len_bytes);
    return REDEFINE_OK;
}

redefine_status rdf_plan_make(struct rdf_near *near, struct rdf_images *images,
                              const struct rdf_window *window, struct rdf_plan *ret, struct rdf_error *err)
{
    const struct rdf_arch *arch = near->arch;
    struct rdf_plan *plan = ret;
    *plan = (struct rdf_plan){.window = *window};
    redefine_status status = rdf_near_reserve(near, &images->maps, window->patched_start, sizeof plan->code,
                                              &plan->place, err);
    if (status != REDEFINE_OK)
        return status;
    status = lay_out(near, plan, err);
    if (status != REDEFINE_OK)
        return status;
    rdf_near_shrink(near, &plan->place, plan->code_bytes);

    uint8_t jump[RDF_JUMP_BYTES_MAX];
    size_t jump_bytes = arch->emit_jump(jump, window->patched_start, plan->relay_addr);
    if (jump_bytes == 0)
        return rdf_fail(err, REDEFINE_ENOMEM, "the relay at 0x%" PRIx64 " is out of reach of 0x%" PRIx64,
                        plan->relay_addr, window->patched_start);
    plan->edit.addr = window->patched_start;
    plan->edit.len_bytes = (uint8_t)jump_bytes;
    rdf_bytes_copy(plan->edit.new_bytes, jump, jump_bytes);
    const uint8_t *old = window->bytes + (window->patched_start - window->function.start);
    size_t inside = (size_t)(window->end - window->patched_start);
    rdf_bytes_copy(plan->edit.old_bytes, old, inside < jump_bytes ? inside : jump_bytes);
    if (inside < jump_bytes) {
        /* The rest lies in padding, which is not part of the window. */
        int error = images->space->ops->read(images->space, window->end, plan->edit.old_bytes + inside,
                                             jump_bytes - inside);
        if (error < 0)
            return rdf_fail(err, REDEFINE_ESYSTEM, "the padding at 0x%" PRIx64 " could not be read (%s)",
                            window->end, rdf_errno_name(error));
    }
    return REDEFINE_OK;
}

uint64_t rdf_plan_move_pc(uint64_t patched_start, uint64_t patched_end, uint64_t window_start,
                          uint64_t trampoline_addr, const struct rdf_pc_pair *pcs, size_t pc_count, uint64_t pc)
{
    /* At the first overwritten byte the jump itself is executed: that is a new call. */
    if (pc <= patched_start || pc >= patched_end)
        return pc;
    for (size_t i = 0; i < pc_count; i++)
        if (window_start + pcs[i].old_off == pc)
            return trampoline_addr + pcs[i].new_off;
    return 0;
}
