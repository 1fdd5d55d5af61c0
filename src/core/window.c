/* SPDX-License-Identifier: MIT
 *
 * Inspect: which bytes at a function's entry are overwritten, and which instructions move for it.
 *
 * The strategies are tried from the least intrusive on. Each needs some bytes at the entry; the window is
 * the whole instructions under them, grown until no branch from the rest of the function leads into bytes
 * that will not be what they were: a short branch is displaced along with the window, a long one is made to
 * lead into the trampoline.
 */
#include "core/plan.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>

enum { TAIL_BYTES = RDF_JUMP_BYTES_MAX }; /* what may be padding behind the end */

/* The function's code, and room behind it that may be padding. */
struct body {
    struct rdf_images *images;
    const struct rdf_function *function;
    const uint8_t *code;           /* from function->start */
    uint64_t end;                  /* behind the last byte of `code` */
    const struct rdf_taken *taken; /* or null */
    struct rdf_arena *arena;
    struct rdf_insn *decoded; /* DECODED of them, each in the place that its address says */
    struct rdf_leads leads;
};

enum { DECODED = 32 };

static const void *view_code(struct rdf_images *images, uint64_t addr, size_t len, struct rdf_error *err)
{
    if (!rdf_maps_allow(&images->maps, addr, len, RDF_PROT_READ)) {
        rdf_fail(err, REDEFINE_EUNSUPPORTED, "the code at 0x%" PRIx64 " may be executed but not read", addr);
        return NULL;
    }
    const void *code = rdf_images_bytes(images, addr, len);
    if (!code && images->out_of_memory)
        rdf_fail(err, REDEFINE_ENOMEM, "no memory to read %zu bytes of code", len);
    else if (!code)
        rdf_fail(err, REDEFINE_ESYSTEM, "the code at 0x%" PRIx64 " could not be read", addr);
    return code;
}

static redefine_status read_body(struct rdf_images *images, const struct rdf_function *function,
                                 const struct rdf_taken *taken, struct body *ret, struct rdf_error *err)
{
    /* What lies behind is asked for only where an entry jump may need it. */
    uint64_t end = function->end - function->start < TAIL_BYTES ? rdf_images_next_start(images, function)
                                                                : function->end;
    if (end > function->end + TAIL_BYTES)
        end = function->end + TAIL_BYTES;
    if (end < function->end)
        end = function->end;
    struct rdf_error why;
    rdf_error_clear(&why);
    const uint8_t *code = view_code(images, function->start, (size_t)(end - function->start), &why);
    if (!code)
        return rdf_fail(err, why.status, "%s", why.sentence);
    ret->images = images;
    ret->function = function;
    ret->code = code;
    ret->end = end;
    ret->taken = taken;
    ret->arena = taken ? taken->arena : images->arena;
    redefine_status status = rdf_plan_refuse_breakpoints(images, function, code, err);
    struct rdf_span own = {code, (size_t)(function->end - function->start)};
    return status == REDEFINE_OK ? rdf_plan_leads(images, ret->arena, function, own, &ret->leads, err)
                                 : status;
}

static struct rdf_span code_at(const struct body *body, uint64_t addr)
{
    uint64_t end = addr < body->function->end ? body->function->end : body->end;
    return (struct rdf_span){body->code + (addr - body->function->start), (size_t)(end - addr)};
}

/* The instructions at the entry are asked for again and again. */
static bool decode_at(const struct body *body, uint64_t addr, struct rdf_insn *ret)
{
    struct rdf_insn *decoded = &body->decoded[addr % DECODED];
    bool is_known = decoded->len_bytes && decoded->addr == addr;
    if (!is_known && !body->images->arch->decode(code_at(body, addr), addr, decoded))
        return false;
    *ret = *decoded;
    return true;
}

static const char *name_of(const struct rdf_function *function)
{
    return function->name ? function->name : "the function";
}

static bool is_padding(const struct rdf_insn *insn)
{
    return insn->role == RDF_ROLE_NOP || insn->role == RDF_ROLE_TRAP;
}

/* Asked of places that would do, not of each instruction: there may be many redefinitions to look through. */
static bool is_taken(const struct body *body, uint64_t start, uint64_t end)
{
    return body->taken && start < end && body->taken->is_taken(body->taken->ctx, start, end);
}

/* ---- The instructions of a window ---- */

static redefine_status too_long(const struct body *body, struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                    "more than %d bytes at the entry of %s would have to be moved, because short branches "
                    "farther down lead back into them",
                    (int)RDF_WINDOW_BYTES_MAX, name_of(body->function));
}

/* Whole instructions from the entry up to at least `least`; what is missing at the function's end must be
 * padding behind it. Fills end and insn_count. */
static redefine_status take_instructions(const struct body *body, uint64_t least, struct rdf_window *window,
                                         struct rdf_error *err)
{
    const struct rdf_function *function = body->function;
    uint64_t at = function->start;
    for (window->insn_count = 0; at < least && at < function->end; window->insn_count++) {
        struct rdf_insn insn;
        if (!decode_at(body, at, &insn))
            return rdf_plan_refuse_bytes(name_of(function), function->start, at, code_at(body, at), err);
        at += insn.len_bytes;
        if (at - function->start > RDF_WINDOW_BYTES_MAX || window->insn_count + 1 > RDF_WINDOW_INSNS_MAX)
            return too_long(body, err);
    }
    window->end = at;
    while (at < least) {
        struct rdf_insn insn;
        if (at >= body->end || !decode_at(body, at, &insn) || !is_padding(&insn) ||
            is_taken(body, window->end, least))
            return rdf_fail(err, REDEFINE_ESHORT,
                            "%s at 0x%" PRIx64 " has %" PRIu64 " byte%s, and what follows "
                            "at 0x%" PRIx64 " is not padding",
                            name_of(function), function->start, function->end - function->start,
                            function->end - function->start == 1 ? "" : "s", at);
        at += insn.len_bytes;
        if (window->strategy == RDF_STRATEGY_ENTRY_JUMP)
            window->strategy = RDF_STRATEGY_PADDED_JUMP;
    }
    return REDEFINE_OK;
}

/* ---- Branches into it ---- */

static bool can_be_retargeted(const struct body *body, uint64_t addr)
{
    uint8_t unused[RDF_JUMP_BYTES_MAX];
    /* The trampoline will be near; any place beyond a short branch's reach tells the form. */
    uint64_t far = addr + UINT64_C(0x100000);
    return body->images->arch->retarget(unused, code_at(body, addr), addr, far) != 0;
}

/* Note the branches behind the window that lead into the overwritten bytes or to the entry itself (a loop
 * whose head is the entry). *ret_extend: the last one that reaches no trampoline, so that it must be
 * displaced; 0 for none. */
static redefine_status find_branches(const struct body *body, struct rdf_window *window, uint64_t *ret_extend,
                                     struct rdf_error *err)
{
    const struct rdf_leads *leads = &body->leads;
    *ret_extend = 0;
    window->branch_count = 0;
    for (size_t i = 0; i < leads->branch_count; i++) {
        const struct rdf_branch *branch = &leads->branch[i];
        if (branch->addr < window->end || branch->target >= window->patched_end)
            continue;
        window->branch_count++;
        if (!can_be_retargeted(body, branch->addr))
            *ret_extend = branch->addr;
    }
    if (window->branch_count == 0)
        return REDEFINE_OK;
    window->branch = rdf_arena_alloc(body->arena, window->branch_count * sizeof *window->branch);
    if (!window->branch)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the branches of %s", name_of(body->function));
    size_t count = 0;
    for (size_t i = 0; i < leads->branch_count; i++)
        if (leads->branch[i].addr >= window->end && leads->branch[i].target < window->patched_end)
            window->branch[count++] = leads->branch[i];
    return REDEFINE_OK;
}

/* What is left of displaced instructions behind the overwritten bytes is as it was, with branches that lead
 * back into the jump: it must not run. A call among them would return into it. */
static bool stale_call(const struct body *body, const struct rdf_window *window)
{
    struct rdf_insn insn;
    for (uint64_t at = body->function->start; at < window->end && decode_at(body, at, &insn);) {
        at += insn.len_bytes;
        if ((insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_CALL_INDIRECT) && at < window->end)
            return true;
    }
    return false;
}

/* The last branch behind the window that leads into what is left; it has to be displaced as well. 0: none. */
static uint64_t stale_branch(const struct body *body, const struct rdf_window *window)
{
    uint64_t found = 0;
    for (size_t i = 0; i < body->leads.branch_count; i++) {
        const struct rdf_branch *branch = &body->leads.branch[i];
        if (branch->addr >= window->end && branch->target >= window->patched_end &&
            branch->target < window->end)
            found = branch->addr;
    }
    return found;
}

/* What arrives by no branch that could be changed: from another function, or through a jump table. */
static redefine_status refuse_arrivals(const struct body *body, const struct rdf_window *window,
                                       struct rdf_error *err)
{
    const struct rdf_function *function = body->function;
    uint64_t branched_to = body->taken ? body->taken->branched_to : 0;
    uint64_t end = window->is_extended ? window->end : window->patched_end;
    if (branched_to && branched_to < end)
        return rdf_fail(err, REDEFINE_ESHORT,
                        "another function branches to %s+%" PRIu64 ", so no more than these bytes "
                        "of it can be overwritten",
                        name_of(function), branched_to - function->start);
    for (uint64_t at = function->start; at < end; at++)
        if (rdf_byte_set_has(&body->leads.tables, at))
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "a jump table leads to %s+%" PRIu64 ", and what is overwritten there cannot be "
                            "reached in any other way",
                            name_of(function), at - function->start);
    return REDEFINE_OK;
}

/* ---- One strategy ---- */

static bool are_copied(const struct body *body, struct rdf_window *window)
{
    struct rdf_insn insn;
    uint64_t at = body->function->start;
    window->copied_count = 0;
    if (window->insn_count > RDF_WINDOW_COPIED_MAX)
        return false;
    for (size_t i = 0; at < window->end && decode_at(body, at, &insn) && insn.is_copied; i++) {
        window->copied[i] = insn.len_bytes;
        at += insn.len_bytes;
    }
    window->copied_count = at == window->end ? (uint8_t)window->insn_count : 0;
    return at == window->end;
}

/* A relocation for a trampoline that is as near as it will be: what cannot be moved is known before anything
 * is reserved, and the next strategy may displace less. */
static redefine_status try_relocation(const struct body *body, struct rdf_window *window,
                                      struct rdf_error *err)
{
    struct rdf_relocated relocated;
    if (are_copied(body, window))
        return REDEFINE_OK;
    struct rdf_relocate_request request = {
        .window = {window->bytes, (size_t)(window->end - body->function->start)},
        .window_addr = body->function->start,
        .patched_start = window->patched_start,
        .patched_end = window->patched_end,
        .trampoline_addr = body->function->start + UINT64_C(0x100000),
    };
    redefine_status status = body->images->arch->relocate(&request, &relocated, err);
    return status == REDEFINE_ENOMEM ? REDEFINE_OK : status; /* reach is a question of the real place */
}

/* ---- Padding within reach of a short jump ---- */

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* Also what this window itself has already taken. */
static bool is_free(const struct body *body, const struct rdf_window *window, uint64_t start, uint64_t end)
{
    uint64_t jump_bytes = end - start;
    bool is_used = window->padding_addr && distance(window->padding_addr, start) < jump_bytes;
    for (size_t i = 0; i < window->branch_count; i++) {
        uint64_t hop = window->branch[i].hop_addr;
        is_used |= hop && distance(hop, start) < jump_bytes;
    }
    return !is_used && !is_taken(body, start, end);
}

/* Bytes that belong to no function and are nothing but padding, as far as a short jump that ends at
 * `jump_end` reaches: a place for an entry jump, the nearest; 0 when there is none. */
static uint64_t find_padding(const struct body *body, const struct rdf_window *window, uint64_t jump_end)
{
    struct rdf_images *images = body->images;
    const struct rdf_arch *arch = images->arch;
    size_t need = arch->jump_bytes;
    uint64_t low = jump_end - arch->short_jump_reach - 1;
    uint64_t high = jump_end + arch->short_jump_reach + need;
    uint64_t best = 0;
    for (uint64_t at = low; at < high;) {
        uint64_t end = rdf_images_gap(images, body->function->image, at, high);
        uint64_t run = at; /* start of what is padding, in this gap */
        while (at < end) {
            struct rdf_insn insn;
            const uint8_t *code = view_code(images, at, (size_t)(end - at), NULL);
            bool padding = code && arch->decode((struct rdf_span){code, (size_t)(end - at)}, at, &insn) &&
                           is_padding(&insn);
            at += padding ? insn.len_bytes : 1;
            if (!padding)
                run = at;
            if (at - run < need || run > jump_end + arch->short_jump_reach ||
                (best && distance(run, jump_end) >= distance(best, jump_end)))
                continue;
            if (is_free(body, window, run, run + need))
                best = run;
            else
                run = at;
        }
        at = at > end ? at : end + 1;
    }
    return best;
}

static void note_branch(struct rdf_window *window, const struct rdf_branch *branch)
{
    if (branch->target >= window->patched_end)
        return;
    window->branches_back |= branch->addr < window->end;
    window->is_loop_head |= branch->target <= window->patched_start;
}

/* A window whose instructions and branches are known: whether it can be moved. */
static redefine_status complete(const struct body *body, struct rdf_window *window, struct rdf_error *err)
{
    redefine_status status = refuse_arrivals(body, window, err);
    if (status != REDEFINE_OK)
        return status;
    /* What a thread must not do while the bytes change: go on with a loop whose head will be the jump. */
    for (size_t i = 0; i < body->leads.branch_count; i++)
        note_branch(window, &body->leads.branch[i]);
    rdf_bytes_copy(window->bytes, body->code, (size_t)(window->end - body->function->start));
    return try_relocation(body, window, err);
}

/* Grown until what leads back is displaced as well, but for branches that reach the trampoline. */
static redefine_status grow(const struct body *body, struct rdf_window *window, struct rdf_error *err)
{
    const struct rdf_function *function = body->function;
    for (uint64_t extend = window->patched_end - 1; extend;) {
        redefine_status status = take_instructions(body, extend + 1, window, err);
        if (status == REDEFINE_OK)
            status = find_branches(body, window, &extend, err);
        if (status == REDEFINE_OK && !extend && window->is_extended)
            extend = stale_branch(body, window);
        window->is_extended |= extend != 0;
        if (status == REDEFINE_OK && extend && extend - function->start >= RDF_WINDOW_BYTES_MAX)
            status = too_long(body, err);
        if (status != REDEFINE_OK)
            return status;
    }
    if (window->is_extended && stale_call(body, window))
        return rdf_fail(
            err, REDEFINE_EUNSUPPORTED,
            "a loop of %s leads back into its first bytes over a call, whose return address is among "
            "what would be displaced",
            name_of(function));
    return complete(body, window, err);
}

/* ---- Hops ---- */

/* The hop that an earlier branch to the same place has; 0: none. */
static uint64_t known_hop(const struct body *body, const struct rdf_window *window,
                          const struct rdf_branch *branch)
{
    uint8_t unused[RDF_JUMP_BYTES_MAX];
    for (const struct rdf_branch *other = window->branch; other < branch; other++)
        if (other->hop_addr && other->target == branch->target &&
            body->images->arch->retarget(unused, code_at(body, branch->addr), branch->addr, other->hop_addr))
            return other->hop_addr;
    return 0;
}

/* Behind the entry jump, in the rest of what is displaced: nothing runs there any more. */
static redefine_status hop_behind(const struct body *body, struct rdf_window *window, struct rdf_error *err)
{
    const struct rdf_arch *arch = body->images->arch;
    uint64_t jump_end = window->patched_end;
    uint64_t unused;
    for (uint64_t free = jump_end, room = jump_end + arch->jump_bytes;; room = free, free = jump_end) {
        if (room > body->function->end || room - window->patched_start > RDF_EDIT_BYTES_MAX)
            return rdf_fail(err, REDEFINE_ESHORT, "there is no room for them behind the entry jump");
        window->patched_end = room;
        redefine_status status = take_instructions(body, room, window, err);
        if (status == REDEFINE_OK)
            status = find_branches(body, window, &unused, err);
        if (status != REDEFINE_OK)
            return status;
        for (size_t i = 0; i < window->branch_count; i++) {
            struct rdf_branch *branch = &window->branch[i];
            if (can_be_retargeted(body, branch->addr))
                continue;
            branch->hop_addr = known_hop(body, window, branch);
            if (branch->hop_addr)
                continue;
            branch->hop_addr = free;
            free += arch->jump_bytes;
        }
        if (free <= room)
            return complete(body, window, err);
    }
}

static redefine_status hop_in_padding(const struct body *body, struct rdf_window *window,
                                      struct rdf_error *err)
{
    uint64_t unused;
    redefine_status status = take_instructions(body, window->patched_end, window, err);
    if (status == REDEFINE_OK)
        status = find_branches(body, window, &unused, err);
    for (size_t i = 0; status == REDEFINE_OK && i < window->branch_count; i++) {
        struct rdf_branch *branch = &window->branch[i];
        struct rdf_insn insn;
        if (can_be_retargeted(body, branch->addr) || !decode_at(body, branch->addr, &insn))
            continue;
        branch->hop_addr = known_hop(body, window, branch);
        if (!branch->hop_addr)
            branch->hop_addr = find_padding(body, window, branch->addr + insn.len_bytes);
        if (!branch->hop_addr)
            return rdf_fail(err, REDEFINE_ESHORT, "no padding lies within their reach");
    }
    return status == REDEFINE_OK ? complete(body, window, err) : status;
}

/* ---- One strategy ---- */

/* Where what leads back cannot be displaced along with the window, it is led to a hop: a jump into the
 * trampoline that a short branch reaches. */
static redefine_status try_window(const struct body *body, struct rdf_window *ret, struct rdf_error *err)
{
    static redefine_status (*const with_hops[])(const struct body *, struct rdf_window *,
                                                struct rdf_error *) = {hop_behind, hop_in_padding};
    struct rdf_window window = *ret;
    redefine_status status = grow(body, &window, err);
    bool may_hop = status != REDEFINE_OK && window.is_extended;
    for (size_t i = 0; may_hop && status != REDEFINE_OK && i < sizeof with_hops / sizeof with_hops[0]; i++) {
        struct rdf_error unused = {0};
        window = *ret;
        status = with_hops[i](body, &window, &unused);
        if (status != REDEFINE_OK)
            status = err->status;
    }
    if (status == REDEFINE_OK)
        *ret = window;
    return status;
}

static struct rdf_window start_window(const struct body *body, enum rdf_strategy strategy,
                                      uint64_t patched_start, size_t patched_bytes)
{
    return (struct rdf_window){.function = *body->function,
                               .arena = body->arena,
                               .strategy = strategy,
                               .patched_start = patched_start,
                               .patched_end = patched_start + patched_bytes};
}

static redefine_status try_short_jump(const struct body *body, uint64_t patched_start, struct rdf_window *ret,
                                      struct rdf_error *err)
{
    const struct rdf_arch *arch = body->images->arch;
    struct rdf_window window = start_window(body, RDF_STRATEGY_SHORT_JUMP, patched_start,
                                            arch->short_jump_bytes);
    if (arch->short_jump_bytes && window.patched_end <= body->function->end)
        window.padding_addr = find_padding(body, &window, window.patched_end);
    if (!window.padding_addr)
        return rdf_fail(err, REDEFINE_ESHORT,
                        "no padding of %u bytes lies within reach of a short jump at 0x%" PRIx64,
                        arch->jump_bytes, patched_start);
    redefine_status status = try_window(body, &window, err);
    if (status == REDEFINE_OK)
        *ret = window;
    return status;
}

static redefine_status try_strategy(const struct body *body, enum rdf_strategy strategy,
                                    uint64_t patched_start, size_t patched_bytes, struct rdf_window *ret,
                                    struct rdf_error *err)
{
    struct rdf_window window = start_window(body, strategy, patched_start, patched_bytes);
    redefine_status status = try_window(body, &window, err);
    if (status == REDEFINE_OK)
        *ret = window;
    return status;
}

/* ---- All of them ---- */

/* A window that consists of nothing but no-operations (behind a landing pad): left there to be overwritten,
 * by -fpatchable-function-entry and its like. Its original is what lies behind it. */
static bool is_sled(const struct body *body, const struct rdf_window *window)
{
    for (uint64_t at = window->patched_start; at < window->end;) {
        struct rdf_insn insn;
        if (!decode_at(body, at, &insn) || insn.role != RDF_ROLE_NOP)
            return false;
        at += insn.len_bytes;
    }
    return window->strategy == RDF_STRATEGY_ENTRY_JUMP && window->branch_count == 0;
}

/* The jump lies behind the landing pad, so that indirect calls still land on one; over it where there is no
 * room. One that signs the return address must not run before another body that signs it again: a plain one
 * takes its place. */
static redefine_status try_entry_jump(const struct body *body, const struct rdf_insn *pad,
                                      struct rdf_window *ret, struct rdf_error *err, struct rdf_error *over)
{
    const struct rdf_arch *arch = body->images->arch;
    uint64_t start = body->function->start;
    bool signs = pad && pad->role == RDF_ROLE_LANDING_SIGNS;
    uint64_t from = start + (pad && !signs ? pad->len_bytes : 0);
    uint8_t landing_bytes = signs ? arch->landing_bytes : 0;
    redefine_status status = try_strategy(body, RDF_STRATEGY_ENTRY_JUMP, from,
                                          (size_t)landing_bytes + arch->jump_bytes, ret, err);
    if (status == REDEFINE_OK)
        ret->landing_bytes = landing_bytes;
    else if (pad)
        status = try_strategy(body, RDF_STRATEGY_ENTRY_JUMP, start, arch->jump_bytes, ret, over);
    return status;
}

redefine_status rdf_plan_window(struct rdf_images *images, const struct rdf_function *function,
                                struct rdf_window *ret, struct rdf_error *err)
{
    return rdf_plan_window_beside(images, function, NULL, ret, err);
}

redefine_status rdf_plan_window_beside(struct rdf_images *images, const struct rdf_function *function,
                                       const struct rdf_taken *taken, struct rdf_window *ret,
                                       struct rdf_error *err)
{
    struct rdf_insn decoded[DECODED];
    for (size_t i = 0; i < DECODED; i++)
        decoded[i].len_bytes = 0;
    struct body body = {.decoded = decoded};
    redefine_status status = read_body(images, function, taken, &body, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_insn first;
    if (!decode_at(&body, function->start, &first))
        return rdf_plan_refuse_bytes(name_of(function), function->start, function->start,
                                     code_at(&body, function->start), err);

    const struct rdf_arch *arch = images->arch;
    bool has_pad = (first.role == RDF_ROLE_LANDING || first.role == RDF_ROLE_LANDING_SIGNS) &&
                   first.len_bytes < function->end - function->start;
    uint64_t behind = function->start + (has_pad && first.role == RDF_ROLE_LANDING ? first.len_bytes : 0);
    struct rdf_error jump, over, hop, trap;
    rdf_error_clear(&jump);
    rdf_error_clear(&over);
    rdf_error_clear(&hop);
    rdf_error_clear(&trap);
    status = try_entry_jump(&body, has_pad ? &first : NULL, ret, &jump, &over);
    if (status != REDEFINE_OK)
        status = try_short_jump(&body, behind, ret, &hop);
    if (status != REDEFINE_OK && arch->trap_bytes)
        status = try_strategy(&body, RDF_STRATEGY_TRAP, behind, arch->trap_bytes, ret, &trap);
    if (status == REDEFINE_OK) {
        if (is_sled(&body, ret))
            ret->strategy = RDF_STRATEGY_SLED;
        return REDEFINE_OK;
    }
    const struct rdf_tried tried[] = {{"entry jump", &jump},
                                      {"entry jump over the landing pad", &over},
                                      {"short jump", &hop},
                                      {"trap", &trap}};
    return rdf_plan_refuse(tried, sizeof tried / sizeof tried[0], err);
}
