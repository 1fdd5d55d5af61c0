/* SPDX-License-Identifier: MIT
 *
 * One function's body, decoded: once through for what it sets, with those of the functions that it calls; and
 * along its branches, from the entry to a call and from the call on, for what it holds there.
 *
 * Only what is proven counts: where the code is too long, jumps through a table, or calls what is not known,
 * no more is said of it. A register that a call may change by the ABI and that is read behind one can be
 * nothing else.
 *
 * Source: gcc, final.cc (collect_fn_hard_reg_usage)
 */
#include "image/elf/body.h"

enum {
    CALLEES_MAX = 256,        /* functions that a body leads to; more: it sets everything */
    BODY_BYTES_MAX = 1 << 16, /* a longer caller is not decoded */
    STEPS_MAX = 1024,         /* places to go on from */
    STACK_WORDS_UNKNOWN = 16, /* arguments on the stack, where the body does not tell how many */
};

/* ---- What a body sets ---- */

struct rdf_body_closure {
    struct rdf_function body[CALLEES_MAX];
    size_t count;
    struct rdf_body sum;
};

static struct rdf_span code_of(struct rdf_bodies *bodies, const struct rdf_function *body)
{
    return rdf_image_bytes(bodies->images, bodies->image, body->start, body->end - body->start);
}

/* One more function, once; false when nothing is known of what is there. */
static bool add_callee(struct rdf_bodies *bodies, struct rdf_body_closure *closure, uint64_t addr)
{
    struct rdf_error unused = {0};
    for (size_t i = 0; i < closure->count; i++)
        if (closure->body[i].start == addr)
            return true;
    if (closure->count == CALLEES_MAX || rdf_images_at(bodies->images, addr) != bodies->image ||
        rdf_images_function(bodies->images, addr, &closure->body[closure->count], &unused) != REDEFINE_OK)
        return false;
    closure->count++;
    return true;
}

static bool add_body(struct rdf_bodies *bodies, struct rdf_body_closure *closure,
                     const struct rdf_function *body)
{
    struct rdf_span code = code_of(bodies, body);
    if (!code.data)
        return false;
    for (uint64_t off = 0; off < code.len_bytes;) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        struct rdf_span at = rdf_span_slice(code, off, code.len_bytes - off);
        if (bodies->insns_left == 0)
            return false;
        bodies->insns_left--;
        if (!bodies->arch->registers(at, body->start + off, &insn, &use)) {
            off += bodies->arch->insn_align_bytes;
            continue;
        }
        closure->sum.writes |= use.writes;
        closure->sum.own_uses |= use.reads | use.writes;
        if (use.vector_bytes > closure->sum.vector_bytes)
            closure->sum.vector_bytes = use.vector_bytes;
        bool leads_out = insn.has_target && (insn.target < body->start || insn.target >= body->end);
        if (insn.flow == RDF_FLOW_CALL_INDIRECT ||
            (insn.has_target && (leads_out || insn.flow == RDF_FLOW_CALL) &&
             !add_callee(bodies, closure, insn.target)))
            return false;
        off += insn.len_bytes;
    }
    return true;
}

struct rdf_body *rdf_bodies_slot(struct rdf_bodies *bodies, uint64_t start)
{
    size_t slot = (size_t)(start * UINT64_C(0x9e3779b97f4a7c15) >> 32) % bodies->known_slots;
    while (bodies->known[slot].start && bodies->known[slot].start != start)
        slot = (slot + 1) % bodies->known_slots;
    return &bodies->known[slot];
}

/* The same of a callee, of which all may be known from before. */
static bool add_known(struct rdf_bodies *bodies, struct rdf_body_closure *closure,
                      const struct rdf_function *body)
{
    const struct rdf_body *known = rdf_bodies_slot(bodies, body->start);
    if (!known->start)
        return add_body(bodies, closure, body);
    closure->sum.writes |= known->writes;
    if (known->vector_bytes > closure->sum.vector_bytes)
        closure->sum.vector_bytes = known->vector_bytes;
    return !known->calls_unknown;
}

struct rdf_body rdf_bodies_know(struct rdf_bodies *bodies, const struct rdf_function *function)
{
    struct rdf_body *slot = rdf_bodies_slot(bodies, function->start);
    if (slot->start)
        return *slot;
    if (!bodies->closure)
        bodies->closure = rdf_arena_alloc(&bodies->arena, sizeof *bodies->closure);
    struct rdf_body_closure *closure = bodies->closure;
    struct rdf_body known = {.start = function->start, .end = function->end, .calls_unknown = true};
    bodies->out_of_memory |= !closure;
    if (closure) {
        closure->sum = (struct rdf_body){0};
        closure->count = 1;
        closure->body[0] = *function;
        known.calls_unknown = !add_body(bodies, closure, function);
        known.own_uses = closure->sum.own_uses;
        for (size_t i = 1; i < closure->count && !known.calls_unknown; i++)
            known.calls_unknown = !add_known(bodies, closure, &closure->body[i]);
        known.writes = known.calls_unknown ? bodies->arch->call_clobbered : closure->sum.writes;
        known.vector_bytes = closure->sum.vector_bytes;
    }
    if (bodies->known_count < bodies->known_slots / 2) {
        bodies->known_count++;
        *slot = known;
    }
    return known;
}

/* What a call to `target` sets, whatever is there. */
static uint64_t writes_of_call(struct rdf_bodies *bodies, uint64_t target)
{
    struct rdf_function function;
    struct rdf_error unused = {0};
    if (rdf_images_at(bodies->images, target) != bodies->image ||
        rdf_images_function(bodies->images, target, &function, &unused) != REDEFINE_OK)
        return bodies->arch->call_clobbered;
    return rdf_bodies_know(bodies, &function).writes;
}

/* ---- Walks through one body ---- */

/* Below the stack pointer at the entry, so that it is as good as aligned; nothing is known of its distance.
 */
enum { SP_REALIGNED = -(1 << 20) };

struct walk {
    struct rdf_bodies *bodies;
    struct rdf_function body;
    struct rdf_span code;
    struct rdf_body_room *room;
    size_t step_count;
    bool is_incomplete; /* too much of it, or not all of it is seen */
};

/* False where the body cannot be walked; else end_walk follows, the last begun first. */
static bool begin_walk(struct rdf_bodies *bodies, const struct rdf_function *body, struct walk *ret)
{
    struct rdf_arena *arena = &bodies->arena;
    *ret = (struct walk){.bodies = bodies, .body = *body, .code = code_of(bodies, body)};
    if (!ret->code.data || ret->code.len_bytes > BODY_BYTES_MAX)
        return false;
    ret->room = &bodies->room[bodies->rooms_used];
    if (!ret->room->seen) {
        ret->room->seen = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->seen);
        ret->room->was_reached = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->was_reached);
        ret->room->touched = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->touched);
        ret->room->step = rdf_arena_alloc(arena, STEPS_MAX * sizeof *ret->room->step);
    }
    bool has_room = ret->room->seen && ret->room->was_reached && ret->room->touched && ret->room->step;
    bodies->out_of_memory |= !has_room;
    bodies->rooms_used += has_room;
    return has_room;
}

static void end_walk(struct walk *walk)
{
    struct rdf_body_room *room = walk->room;
    while (room->touched_count > 0) {
        uint32_t place = room->touched[--room->touched_count];
        room->seen[place] = 0;
        room->was_reached[place] = false;
    }
    walk->bodies->rooms_used--;
}

static void go_on(struct walk *walk, uint64_t addr, uint64_t set, int32_t sp)
{
    if (walk->step_count == STEPS_MAX)
        walk->is_incomplete = true;
    else
        walk->room->step[walk->step_count++] = (struct rdf_body_step){addr, set, sp};
}

/* The next place to look at, with the registers that it was not yet reached with; false at the end. */
static bool next_step(struct walk *walk, struct rdf_body_step *ret)
{
    while (walk->step_count > 0 && !walk->is_incomplete && walk->bodies->insns_left > 0) {
        struct rdf_body_step step = walk->room->step[--walk->step_count];
        if (step.addr < walk->body.start || step.addr >= walk->body.end)
            continue;
        size_t place = (size_t)(step.addr - walk->body.start) / walk->bodies->arch->insn_align_bytes;
        struct rdf_body_room *room = walk->room;
        step.set &= ~room->seen[place];
        if (!step.set && room->was_reached[place])
            continue;
        if (!room->was_reached[place])
            room->touched[room->touched_count++] = (uint32_t)place;
        room->seen[place] |= step.set;
        room->was_reached[place] = true;
        walk->bodies->insns_left--;
        *ret = step;
        return true;
    }
    return false;
}

static bool read_at(const struct walk *walk, uint64_t addr, struct rdf_insn *ret_insn,
                    struct rdf_register_use *ret_use)
{
    uint64_t off = addr - walk->body.start;
    struct rdf_span code = rdf_span_slice(walk->code, off, walk->code.len_bytes - off);
    return walk->bodies->arch->registers(code, addr, ret_insn, ret_use);
}

static int32_t sp_behind(const struct rdf_arch *arch, int32_t sp, const struct rdf_register_use *use)
{
    if (use->sp_aligned)
        return SP_REALIGNED - arch->entry_misalign;
    if (use->sp_lost || sp == RDF_BODY_SP_UNKNOWN || use->sp_change > INT16_MAX * 16 ||
        use->sp_change < SP_REALIGNED)
        return RDF_BODY_SP_UNKNOWN;
    return sp + (int32_t)use->sp_change;
}

/* The calls of the walk under way. */
struct rdf_body_calls {
    size_t count;
    uint32_t number_at[BODY_BYTES_MAX]; /* of each place, plus one; 0: none */
    bool is_settled[BODY_BYTES_MAX];    /* ways that disagree lead there */
    struct rdf_body_call call[BODY_BYTES_MAX];
};

static bool is_call(const struct walk *walk, const struct rdf_insn *insn)
{
    return insn->has_target &&
           (insn->flow == RDF_FLOW_CALL || insn->target < walk->body.start || insn->target >= walk->body.end);
}

static void note_call(struct walk *walk, const struct rdf_body_step *step)
{
    struct rdf_body_calls *calls = walk->bodies->calls;
    uint32_t off = (uint32_t)(step->addr - walk->body.start);
    uint32_t *number = &calls->number_at[off];
    if (!*number) {
        *number = (uint32_t)++calls->count;
        calls->call[*number - 1] = (struct rdf_body_call){off, RDF_BODY_SP_UNKNOWN, 0};
        calls->is_settled[*number - 1] = false;
    }
    struct rdf_body_call *call = &calls->call[*number - 1];
    if (calls->is_settled[*number - 1])
        return;
    call->held |= step->set;
    if (call->sp == RDF_BODY_SP_UNKNOWN)
        call->sp = step->sp;
    else if (step->sp != RDF_BODY_SP_UNKNOWN && call->sp != step->sp)
        calls->is_settled[*number - 1] = true;
}

/* A copy that stays, in the order of the walk. */
static const struct rdf_body_holds *keep_calls(struct rdf_bodies *bodies, uint64_t kept_by_callers)
{
    struct rdf_body_calls *calls = bodies->calls;
    struct rdf_body_holds *holds = rdf_arena_alloc(&bodies->arena,
                                                   sizeof *holds + calls->count * sizeof *holds->call);
    bodies->out_of_memory |= !holds;
    for (size_t i = 0; i < calls->count; i++) {
        if (holds)
            holds->call[i] = calls->call[i];
        calls->number_at[calls->call[i].off] = 0;
    }
    if (holds) {
        holds->kept_by_callers = kept_by_callers;
        holds->count = calls->count;
    }
    calls->count = 0;
    return holds;
}

/* Where something is held at each call: of the arguments and what the caller's own callers keep, what is not
 * gone by then; what the caller has set; results of calls. And the stack pointer there. */
static const struct rdf_body_holds *walk_to_calls(struct walk *walk, uint64_t kept_by_callers)
{
    const struct rdf_arch *arch = walk->bodies->arch;
    struct rdf_body_step step;
    go_on(walk, walk->body.start, arch->given_regs | kept_by_callers, 0);
    while (next_step(walk, &step)) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        if (!read_at(walk, step.addr, &insn, &use))
            continue;
        if (is_call(walk, &insn))
            note_call(walk, &step);
        uint64_t next = step.addr + insn.len_bytes;
        uint64_t set = step.set | use.writes;
        if (insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_CALL_INDIRECT) {
            uint64_t gone = insn.has_target ? writes_of_call(walk->bodies, insn.target)
                                            : arch->call_clobbered;
            set = (set & ~gone) | (arch->result_regs & gone);
        }
        if (insn.flow == RDF_FLOW_JUMP_INDIRECT)
            walk->is_incomplete = true; /* a table of places */
        if (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH)
            go_on(walk, insn.target, set, sp_behind(arch, step.sp, &use));
        if (insn.flow != RDF_FLOW_JUMP && insn.flow != RDF_FLOW_RETURN && insn.flow != RDF_FLOW_STOP)
            go_on(walk, next, set, sp_behind(arch, step.sp, &use));
    }
    return keep_calls(walk->bodies, kept_by_callers);
}

/* What is held at one of them. A caller is walked through once for all of its calls. */
static uint64_t held_at(struct rdf_bodies *bodies, const struct rdf_function *caller, uint64_t site,
                        uint64_t kept_by_callers, int32_t *ret_sp)
{
    struct walk walk;
    (void)rdf_bodies_know(bodies, caller);
    struct rdf_body *slot = rdf_bodies_slot(bodies, caller->start);
    const struct rdf_body_holds *holds = slot->holds;
    if (!holds || holds->kept_by_callers != kept_by_callers) {
        if (!bodies->calls)
            bodies->calls = rdf_arena_alloc(&bodies->arena, sizeof *bodies->calls);
        bodies->out_of_memory |= !bodies->calls;
        if (!bodies->calls || !begin_walk(bodies, caller, &walk))
            return 0;
        holds = walk_to_calls(&walk, kept_by_callers);
        end_walk(&walk);
        slot = rdf_bodies_slot(bodies, caller->start); /* others may have come to be known */
        if (slot->start)
            slot->holds = holds;
    }
    for (size_t i = 0; holds && i < holds->count; i++)
        if (caller->start + holds->call[i].off == site) {
            *ret_sp = holds->call[i].sp;
            return holds->call[i].held;
        }
    return 0;
}

static uint64_t read_by_call(struct rdf_bodies *bodies, uint64_t target, uint64_t set, int depth);

/* Of `set`, what is read from `addr` on before it is set; `at_return` is read by whoever called. */
static uint64_t read_from(struct walk *walk, uint64_t addr, uint64_t set, uint64_t at_return, int depth)
{
    const struct rdf_arch *arch = walk->bodies->arch;
    uint64_t read = 0;
    struct rdf_body_step step;
    go_on(walk, addr, set, 0);
    while (next_step(walk, &step)) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        if (!step.set)
            continue;
        if (!read_at(walk, step.addr, &insn, &use))
            continue;
        read |= step.set & use.reads;
        uint64_t left = step.set & ~use.kills;
        uint64_t next = step.addr + insn.len_bytes;
        bool leads_out = insn.has_target && (insn.target < walk->body.start || insn.target >= walk->body.end);
        switch (insn.flow) {
        case RDF_FLOW_CALL:
            read |= read_by_call(walk->bodies, insn.target, left, depth);
            go_on(walk, next, left & ~writes_of_call(walk->bodies, insn.target), 0);
            break;
        case RDF_FLOW_CALL_INDIRECT: break;
        case RDF_FLOW_JUMP:
        case RDF_FLOW_BRANCH:
            if (leads_out)
                read |= (left & at_return & ~arch->result_regs) |
                        read_by_call(walk->bodies, insn.target, left, depth);
            else
                go_on(walk, insn.target, left, 0);
            if (insn.flow == RDF_FLOW_BRANCH)
                go_on(walk, next, left, 0);
            break;
        case RDF_FLOW_JUMP_INDIRECT: break;
        case RDF_FLOW_RETURN: read |= left & at_return; break;
        case RDF_FLOW_STOP: break;
        default: go_on(walk, next, left, 0); break;
        }
    }
    return read;
}

/* Which arguments a function reads. One of variable arguments saves all that there could be, whether the
 * caller has set it or not; it is known by reading `variadic_reg`. */
static uint64_t given_read(struct rdf_bodies *bodies, const struct rdf_function *function, int depth)
{
    struct walk walk;
    if (!begin_walk(bodies, function, &walk))
        return 0;
    uint64_t variadic = bodies->arch->variadic_reg;
    uint64_t read = read_from(&walk, function->start, bodies->arch->argument_regs | variadic, 0, depth + 1);
    end_walk(&walk);
    return read & variadic ? 0 : read & bodies->arch->argument_regs;
}

/* Of `set`, what a function reads that it was given. */
static uint64_t read_by_call(struct rdf_bodies *bodies, uint64_t target, uint64_t set, int depth)
{
    struct rdf_function function;
    struct rdf_error unused = {0};
    uint64_t given = set & bodies->arch->argument_regs;
    if (!given || depth == CALLEE_DEPTH_MAX || rdf_images_at(bodies->images, target) != bodies->image ||
        rdf_images_function(bodies->images, target, &function, &unused) != REDEFINE_OK)
        return 0;
    (void)rdf_bodies_know(bodies, &function);
    struct rdf_body *slot = rdf_bodies_slot(bodies, function.start);
    uint64_t read = slot->has_given[depth] ? slot->given[depth] : given_read(bodies, &function, depth);
    slot = rdf_bodies_slot(bodies, function.start); /* others may have come to be known */
    if (slot->start) {
        slot->given[depth] = read;
        slot->has_given[depth] = true;
    }
    return read & given;
}

uint64_t rdf_body_kept_across(struct rdf_bodies *bodies, const struct rdf_function *caller, uint64_t site,
                              enum rdf_reference kind, uint64_t left_alone, uint64_t kept_by_callers,
                              int32_t *ret_sp)
{
    struct walk walk;
    struct rdf_insn insn;
    struct rdf_register_use use;
    *ret_sp = RDF_BODY_SP_UNKNOWN;
    if (!begin_walk(bodies, caller, &walk))
        return 0;
    bool is_read = read_at(&walk, site, &insn, &use);
    end_walk(&walk);
    uint64_t held = is_read ? held_at(bodies, caller, site, kept_by_callers, ret_sp) : 0;
    held &= left_alone;
    if (kind != RDF_REFERENCE_CALL)
        return held & kept_by_callers;
    if (!held || !begin_walk(bodies, caller, &walk))
        return 0;
    held = read_from(&walk, site + insn.len_bytes, held, kept_by_callers, 0);
    end_walk(&walk);
    return held;
}

/* ---- Stack arguments ---- */

/* How many words above the return address an instruction may name: the last of them, or an unknown number. */
static uint16_t words_above(const struct rdf_register_use *use, int32_t sp, int32_t frame)
{
    int32_t base = use->has_stack ? sp : frame;
    if (!use->has_stack && (!use->has_frame || frame == RDF_BODY_SP_UNKNOWN))
        return 0;
    int64_t off = base + use->stack_off;
    if (base != RDF_BODY_SP_UNKNOWN && off < 0)
        return 0;
    if (base == RDF_BODY_SP_UNKNOWN || off / 8 < STACK_WORDS_UNKNOWN)
        return STACK_WORDS_UNKNOWN; /* an address taken may lead to more than its first word */
    return off / 8 < UINT16_MAX ? (uint16_t)(off / 8 + 1) : UINT16_MAX;
}

uint16_t rdf_body_stack_words(struct rdf_bodies *bodies, const struct rdf_function *function)
{
    struct walk walk;
    struct rdf_body_step step;
    int32_t frame = RDF_BODY_SP_UNKNOWN;
    uint16_t words = 0;
    if (!begin_walk(bodies, function, &walk))
        return STACK_WORDS_UNKNOWN;
    go_on(&walk, function->start, 0, 0);
    while (next_step(&walk, &step)) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        if (!read_at(&walk, step.addr, &insn, &use))
            continue;
        if (use.sets_frame)
            frame = step.sp == RDF_BODY_SP_UNKNOWN ? step.sp : step.sp + (int32_t)use.frame_off;
        bool leads_out = insn.has_target && insn.flow != RDF_FLOW_CALL &&
                         (insn.target < function->start || insn.target >= function->end);
        uint16_t above = words_above(&use, step.sp, frame);
        if (above > words)
            words = above;
        walk.is_incomplete |= leads_out || insn.flow == RDF_FLOW_JUMP_INDIRECT;
        if (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH)
            go_on(&walk, insn.target, 0, sp_behind(bodies->arch, step.sp, &use));
        if (insn.flow != RDF_FLOW_JUMP && insn.flow != RDF_FLOW_RETURN && insn.flow != RDF_FLOW_STOP)
            go_on(&walk, step.addr + insn.len_bytes, 0, sp_behind(bodies->arch, step.sp, &use));
    }
    bool is_unknown = walk.is_incomplete || bodies->insns_left == 0;
    end_walk(&walk);
    return is_unknown && words < STACK_WORDS_UNKNOWN ? STACK_WORDS_UNKNOWN : words;
}
