/* SPDX-License-Identifier: MIT
 *
 * What callers take for granted because the compiler had seen the body.
 *
 * gcc -fipa-ra (on from -O1) notes which registers a function's code sets, and lets callers of the same file
 * keep values in the others across a call; from the same notes a caller of a function that does not need an
 * aligned stack leaves it as it is. A replacement knows nothing of that.
 *
 * 1. What the body sets, with those of the functions that it calls: nothing is left alone by what calls
 *    through a pointer or another object.
 * 2. The calls to it; to callers that call nothing unknown themselves, the calls to those, and so on: what
 *    goes through such a caller untouched may belong to its own callers.
 * 3. At each call: the registers that hold something there (forwards from the caller's entry) and that are
 *    read behind it before they are set (forwards from the call); until no more are found.
 *
 * Only what is proven counts: where the code is too long, jumps through a table, or calls what is not known,
 * no more is said of it. A register that a call may change by the ABI and that is read behind one can be
 * nothing else.
 *
 * Source: gcc, final.cc (collect_fn_hard_reg_usage), cfgexpand.cc (preferred stack boundary)
 */
#include "image/calls.h"
#include "image/elf/internal.h"

#include <stdio.h>

enum {
    CALLEES_MAX = 256,        /* functions that a body leads to; more: it sets everything */
    BODY_BYTES_MAX = 1 << 16, /* a longer caller is not decoded */
    STEPS_MAX = 1024,         /* places to go on from */
    CALLEE_DEPTH_MAX = 2,
    WALKS_MAX = CALLEE_DEPTH_MAX +
                2,            /* under way at once: one before a call, one behind it, in its callees */
    CALLERS_MAX = 1024,       /* callers whose own callers are looked for … */
    ROUNDS_MAX = 6,           /* … so many calls away; beyond, nothing is seen */
    INSNS_BASE = 100000,      /* so many instructions are decoded at most … */
    INSNS_EACH = 500,         /* … and so many more for each function that is asked for */
    STACK_WORDS_UNKNOWN = 16, /* arguments on the stack, where the body does not tell how many */
};

/* What is known of a function's code. */
struct known {
    uint64_t start; /* 0: a free slot */
    uint64_t end;
    uint64_t own_uses; /* what the body itself names */
    uint64_t writes;
    uint16_t vector_bytes;
    bool calls_unknown;
    uint32_t node; /* its number among the nodes, plus one; 0: none */
};

/* A call or jump to a node. */
struct site {
    struct site *next;
    uint64_t addr;
    enum rdf_reference kind;
    uint32_t caller; /* the node that it is in; of no interest when the caller calls the unknown … */
    bool has_node;   /* … as this says */
    struct rdf_function function;
    struct known known;
};

/* A function whose callers matter. */
struct node {
    struct rdf_function function;
    struct site *site;
    bool is_scanned;
    struct rdf_reliance reliance;
};

/* To go on at `addr` with a set of registers and the stack pointer, from what it was at the entry. */
struct step {
    uint64_t addr;
    uint64_t set;
    int32_t sp;
};

/* Room for a walk, used again and again: what it touched is cleared. */
struct room {
    uint64_t *seen; /* for each place where an instruction can begin: the registers it was reached with */
    bool *was_reached;
    uint32_t *touched;
    size_t touched_count;
    struct step *step;
};

struct analysis {
    struct rdf_images *images;
    struct rdf_image *image;
    const struct rdf_arch *arch;
    struct rdf_arena arena; /* the records */
    struct known *known;
    size_t known_slots, known_count;
    struct node *node;
    size_t node_count, node_max;
    uint32_t *order; /* the nodes of the scan under way, by start */
    struct room room[WALKS_MAX];
    size_t rooms_used;
    size_t insns_left;
    bool out_of_memory;
};

/* ---- 1. What a body sets ---- */

struct closure {
    struct rdf_function body[CALLEES_MAX];
    size_t count;
    struct known sum;
};

static struct rdf_span code_of(struct analysis *analysis, const struct rdf_function *body)
{
    return rdf_image_bytes(analysis->images, analysis->image, body->start, body->end - body->start);
}

/* One more function, once; false when nothing is known of what is there. */
static bool add_callee(struct analysis *analysis, struct closure *closure, uint64_t addr)
{
    struct rdf_error unused = {0};
    for (size_t i = 0; i < closure->count; i++)
        if (closure->body[i].start == addr)
            return true;
    if (closure->count == CALLEES_MAX || rdf_images_at(analysis->images, addr) != analysis->image ||
        rdf_images_function(analysis->images, addr, &closure->body[closure->count], &unused) != REDEFINE_OK)
        return false;
    closure->count++;
    return true;
}

static bool add_body(struct analysis *analysis, struct closure *closure, const struct rdf_function *body)
{
    struct rdf_span code = code_of(analysis, body);
    if (!code.data)
        return false;
    for (uint64_t off = 0; off < code.len_bytes;) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        struct rdf_span at = rdf_span_slice(code, off, code.len_bytes - off);
        if (analysis->insns_left == 0)
            return false;
        analysis->insns_left--;
        if (!analysis->arch->decode(at, body->start + off, &insn) ||
            !analysis->arch->registers(at, body->start + off, &use)) {
            off += analysis->arch->insn_align_bytes;
            continue;
        }
        closure->sum.writes |= use.writes;
        closure->sum.own_uses |= use.reads | use.writes;
        if (use.vector_bytes > closure->sum.vector_bytes)
            closure->sum.vector_bytes = use.vector_bytes;
        bool leads_out = insn.has_target && (insn.target < body->start || insn.target >= body->end);
        if (insn.flow == RDF_FLOW_CALL_INDIRECT ||
            (insn.has_target && (leads_out || insn.flow == RDF_FLOW_CALL) &&
             !add_callee(analysis, closure, insn.target)))
            return false;
        off += insn.len_bytes;
    }
    return true;
}

static struct known *slot_of(struct analysis *analysis, uint64_t start)
{
    size_t slot = (size_t)(start * UINT64_C(0x9e3779b97f4a7c15) >> 32) % analysis->known_slots;
    while (analysis->known[slot].start && analysis->known[slot].start != start)
        slot = (slot + 1) % analysis->known_slots;
    return &analysis->known[slot];
}

static struct known know(struct analysis *analysis, const struct rdf_function *function)
{
    struct known *slot = slot_of(analysis, function->start);
    if (slot->start)
        return *slot;
    struct rdf_arena_mark mark = rdf_arena_take_mark(&analysis->arena);
    struct closure *closure = rdf_arena_alloc(&analysis->arena, sizeof *closure);
    struct known known = {.start = function->start, .end = function->end, .calls_unknown = true};
    analysis->out_of_memory |= !closure;
    if (closure) {
        closure->body[closure->count++] = *function;
        known.calls_unknown = !add_body(analysis, closure, function);
        known.own_uses = closure->sum.own_uses;
        for (size_t i = 1; i < closure->count && !known.calls_unknown; i++)
            known.calls_unknown = !add_body(analysis, closure, &closure->body[i]);
        known.writes = known.calls_unknown ? analysis->arch->call_clobbered : closure->sum.writes;
        known.vector_bytes = closure->sum.vector_bytes;
    }
    rdf_arena_rollback(&analysis->arena, mark);
    if (analysis->known_count < analysis->known_slots / 2) {
        analysis->known_count++;
        *slot = known;
    }
    return known;
}

/* What a call to `target` sets, whatever is there. */
static uint64_t writes_of_call(struct analysis *analysis, uint64_t target)
{
    struct rdf_function function;
    struct rdf_error unused = {0};
    if (rdf_images_at(analysis->images, target) != analysis->image ||
        rdf_images_function(analysis->images, target, &function, &unused) != REDEFINE_OK)
        return analysis->arch->call_clobbered;
    return know(analysis, &function).writes;
}

/* ---- 2. Walks through one body ---- */

/* Below the stack pointer at the entry, so that it is as good as aligned; nothing is known of its distance.
 */
enum { SP_UNKNOWN = INT32_MIN, SP_REALIGNED = -(1 << 20) };

struct walk {
    struct analysis *analysis;
    struct rdf_function body;
    struct rdf_span code;
    struct room *room;
    size_t step_count;
    bool is_incomplete; /* too much of it, or not all of it is seen */
};

/* False where the body cannot be walked; else end_walk follows, the last begun first. */
static bool begin_walk(struct analysis *analysis, const struct rdf_function *body, struct walk *ret)
{
    struct rdf_arena *arena = &analysis->arena;
    *ret = (struct walk){.analysis = analysis, .body = *body, .code = code_of(analysis, body)};
    if (!ret->code.data || ret->code.len_bytes > BODY_BYTES_MAX)
        return false;
    ret->room = &analysis->room[analysis->rooms_used];
    if (!ret->room->seen) {
        ret->room->seen = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->seen);
        ret->room->was_reached = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->was_reached);
        ret->room->touched = rdf_arena_alloc(arena, BODY_BYTES_MAX * sizeof *ret->room->touched);
        ret->room->step = rdf_arena_alloc(arena, STEPS_MAX * sizeof *ret->room->step);
    }
    bool has_room = ret->room->seen && ret->room->was_reached && ret->room->touched && ret->room->step;
    analysis->out_of_memory |= !has_room;
    analysis->rooms_used += has_room;
    return has_room;
}

static void end_walk(struct walk *walk)
{
    struct room *room = walk->room;
    while (room->touched_count > 0) {
        uint32_t place = room->touched[--room->touched_count];
        room->seen[place] = 0;
        room->was_reached[place] = false;
    }
    walk->analysis->rooms_used--;
}

static void go_on(struct walk *walk, uint64_t addr, uint64_t set, int32_t sp)
{
    if (walk->step_count == STEPS_MAX)
        walk->is_incomplete = true;
    else
        walk->room->step[walk->step_count++] = (struct step){addr, set, sp};
}

/* The next place to look at, with the registers that it was not yet reached with; false at the end. */
static bool next_step(struct walk *walk, struct step *ret)
{
    while (walk->step_count > 0 && !walk->is_incomplete && walk->analysis->insns_left > 0) {
        struct step step = walk->room->step[--walk->step_count];
        if (step.addr < walk->body.start || step.addr >= walk->body.end)
            continue;
        size_t place = (size_t)(step.addr - walk->body.start) / walk->analysis->arch->insn_align_bytes;
        struct room *room = walk->room;
        step.set &= ~room->seen[place];
        if (!step.set && room->was_reached[place])
            continue;
        if (!room->was_reached[place])
            room->touched[room->touched_count++] = (uint32_t)place;
        room->seen[place] |= step.set;
        room->was_reached[place] = true;
        walk->analysis->insns_left--;
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
    return walk->analysis->arch->decode(code, addr, ret_insn) &&
           walk->analysis->arch->registers(code, addr, ret_use);
}

static int32_t sp_behind(const struct rdf_arch *arch, int32_t sp, const struct rdf_register_use *use)
{
    if (use->sp_aligned)
        return SP_REALIGNED - arch->entry_misalign;
    if (use->sp_lost || sp == SP_UNKNOWN || use->sp_change > INT16_MAX * 16 || use->sp_change < SP_REALIGNED)
        return SP_UNKNOWN;
    return sp + (int32_t)use->sp_change;
}

/* Where something is held at `site`: of the arguments and what the caller's own callers keep, what is not
 * gone by then; what the caller has set; results of calls. *ret_sp: the stack pointer there. */
static uint64_t held_at(struct walk *walk, uint64_t site, uint64_t kept_by_callers, int32_t *ret_sp)
{
    const struct rdf_arch *arch = walk->analysis->arch;
    uint64_t held = 0;
    struct step step;
    *ret_sp = SP_UNKNOWN;
    go_on(walk, walk->body.start, arch->given_regs | kept_by_callers, 0);
    while (next_step(walk, &step)) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        if (step.addr == site) {
            held |= step.set;
            if (*ret_sp == SP_UNKNOWN)
                *ret_sp = step.sp;
            else if (step.sp != SP_UNKNOWN && *ret_sp != step.sp)
                walk->is_incomplete = true;
        }
        if (!read_at(walk, step.addr, &insn, &use))
            continue;
        uint64_t next = step.addr + insn.len_bytes;
        uint64_t set = step.set | use.writes;
        if (insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_CALL_INDIRECT) {
            uint64_t gone = insn.has_target ? writes_of_call(walk->analysis, insn.target)
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
    return held;
}

static uint64_t read_by_call(struct analysis *analysis, uint64_t target, uint64_t set, int depth);

/* Of `set`, what is read from `addr` on before it is set; `at_return` is read by whoever called. */
static uint64_t read_from(struct walk *walk, uint64_t addr, uint64_t set, uint64_t at_return, int depth)
{
    const struct rdf_arch *arch = walk->analysis->arch;
    uint64_t read = 0;
    struct step step;
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
            read |= read_by_call(walk->analysis, insn.target, left, depth);
            go_on(walk, next, left & ~writes_of_call(walk->analysis, insn.target), 0);
            break;
        case RDF_FLOW_CALL_INDIRECT: break;
        case RDF_FLOW_JUMP:
        case RDF_FLOW_BRANCH:
            if (leads_out)
                read |= (left & at_return & ~arch->result_regs) |
                        read_by_call(walk->analysis, insn.target, left, depth);
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

/* Of `set`, what a function reads that it was given. One of variable arguments saves all that there could be,
 * whether the caller has set it or not; it is known by reading `variadic_reg`. */
static uint64_t read_by_call(struct analysis *analysis, uint64_t target, uint64_t set, int depth)
{
    struct rdf_function function;
    struct rdf_error unused = {0};
    uint64_t given = set & analysis->arch->argument_regs;
    if (!given || depth == CALLEE_DEPTH_MAX || rdf_images_at(analysis->images, target) != analysis->image ||
        rdf_images_function(analysis->images, target, &function, &unused) != REDEFINE_OK)
        return 0;
    struct walk walk;
    if (!begin_walk(analysis, &function, &walk))
        return 0;
    uint64_t variadic = analysis->arch->variadic_reg;
    uint64_t read = read_from(&walk, target, given | variadic, 0, depth + 1);
    end_walk(&walk);
    return read & variadic ? 0 : read & given;
}

/* ---- 2. Calls, and calls to their callers ---- */

/* The node of a function, made when it is new; UINT32_MAX when there are too many. */
static uint32_t node_of(struct analysis *analysis, const struct rdf_function *function)
{
    (void)know(analysis, function);
    struct known *slot = slot_of(analysis, function->start);
    if (slot->node)
        return slot->node - 1;
    if (!slot->start || analysis->node_count == analysis->node_max)
        return UINT32_MAX;
    struct node *node = &analysis->node[analysis->node_count++];
    *node = (struct node){.function = *function};
    node->reliance.left_alone = analysis->arch->call_clobbered & ~slot->writes;
    slot->node = (uint32_t)analysis->node_count;
    return slot->node - 1;
}

static void note_site(void *ctx, size_t index, uint64_t addr, enum rdf_reference kind)
{
    struct analysis *analysis = ctx;
    uint32_t number = analysis->order[index];
    struct rdf_function caller;
    struct rdf_error unused = {0};
    uint64_t start = rdf_images_start_of(analysis->images, addr);
    if (!analysis->node[number].reliance.left_alone || !start ||
        rdf_images_function(analysis->images, start, &caller, &unused) != REDEFINE_OK || addr >= caller.end)
        return; /* code that no compiler wrote */
    struct site *site = rdf_arena_alloc(&analysis->arena, sizeof *site);
    if (!site) {
        analysis->out_of_memory = true;
        return;
    }
    struct known known = know(analysis, &caller);
    *site = (struct site){.next = analysis->node[number].site,
                          .addr = addr,
                          .kind = kind,
                          .function = caller,
                          .known = known,
                          .has_node = !known.calls_unknown};
    analysis->node[number].site = site;
    if (!site->has_node)
        return;
    site->caller = node_of(analysis, &caller);
    site->has_node = site->caller != UINT32_MAX;
}

/* Ascending by start; shell sort, as they are few and mostly in order. */
static void sort_order(struct analysis *analysis, size_t count)
{
    uint32_t *order = analysis->order;
    for (size_t gap = count / 2; gap; gap /= 2)
        for (size_t i = gap; i < count; i++)
            for (size_t j = i; j >= gap && analysis->node[order[j - gap]].function.start >
                                               analysis->node[order[j]].function.start;
                 j -= gap) {
                uint32_t swap = order[j];
                order[j] = order[j - gap];
                order[j - gap] = swap;
            }
}

/* The callers of every node, whose callers become nodes in their turn. */
static redefine_status find_sites(struct analysis *analysis, struct rdf_error *err)
{
    struct rdf_references *ask = rdf_arena_alloc(&analysis->arena, analysis->node_max * sizeof *ask);
    analysis->order = rdf_arena_alloc(&analysis->arena, analysis->node_max * sizeof *analysis->order);
    analysis->out_of_memory |= !ask || !analysis->order;
    redefine_status status = REDEFINE_OK;
    for (int round = 0; status == REDEFINE_OK && !analysis->out_of_memory; round++) {
        size_t count = 0;
        for (size_t i = 0; i < analysis->node_count; i++) {
            if (analysis->node[i].is_scanned || !analysis->node[i].reliance.left_alone)
                continue;
            analysis->node[i].is_scanned = true;
            analysis->order[count++] = (uint32_t)i;
        }
        if (count == 0 || round == ROUNDS_MAX)
            break;
        sort_order(analysis, count);
        for (size_t i = 0; i < count; i++) {
            const struct rdf_function *function = &analysis->node[analysis->order[i]].function;
            ask[i] = (struct rdf_references){.start = function->start, .end = function->end};
        }
        status = rdf_image_references(analysis->images, analysis->image, ask, count, true, note_site,
                                      analysis, err);
    }
    return status;
}

/* ---- 3. One call ---- */

static bool note_reliance(struct rdf_reliance *reliance, const struct site *site, uint64_t registers,
                          bool is_misaligned)
{
    registers &= reliance->left_alone & ~reliance->relied_on;
    is_misaligned &= !reliance->is_misaligned;
    if (!registers && !is_misaligned)
        return false;
    if (!reliance->caller_addr)
        reliance->caller_addr = site->addr;
    reliance->relied_on |= registers;
    reliance->is_misaligned |= is_misaligned;
    if (site->known.vector_bytes > reliance->vector_bytes)
        reliance->vector_bytes = site->known.vector_bytes;
    return true;
}

/* What a caller holds across one call, of what the function leaves alone. */
static uint64_t kept_across(struct analysis *analysis, const struct node *node, const struct site *site,
                            uint64_t kept_by_callers, int32_t *ret_sp)
{
    struct walk walk;
    struct rdf_insn insn;
    struct rdf_register_use use;
    *ret_sp = SP_UNKNOWN;
    if (!begin_walk(analysis, &site->function, &walk))
        return 0;
    bool is_read = read_at(&walk, site->addr, &insn, &use);
    uint64_t held = is_read ? held_at(&walk, site->addr, kept_by_callers, ret_sp) : 0;
    end_walk(&walk);
    held &= node->reliance.left_alone;
    if (site->kind != RDF_REFERENCE_CALL)
        return held & kept_by_callers;
    if (!held || !begin_walk(analysis, &site->function, &walk))
        return 0;
    held = read_from(&walk, site->addr + insn.len_bytes, held, kept_by_callers, 0);
    end_walk(&walk);
    return held;
}

/* Whether anything new was found. */
static bool look_at_call(struct analysis *analysis, struct node *node, const struct site *site)
{
    uint8_t entry_misalign = analysis->arch->entry_misalign;
    const struct rdf_reliance *callers = site->has_node ? &analysis->node[site->caller].reliance : NULL;
    int32_t sp;
    uint64_t registers = kept_across(analysis, node, site, callers ? callers->relied_on : 0, &sp);
    int32_t sp_wanted = site->kind == RDF_REFERENCE_CALL ? 0 : entry_misalign;
    bool is_misaligned = entry_misalign && sp != SP_UNKNOWN && ((sp + entry_misalign) & 15) != sp_wanted;
    is_misaligned |= callers && callers->is_misaligned;
    /* Of what the caller does not name, only what it was given or hands on may go through it. */
    registers &= site->known.own_uses | analysis->arch->argument_regs | analysis->arch->result_regs |
                 (callers ? callers->relied_on : 0);
    bool is_new = note_reliance(&node->reliance, site, registers, is_misaligned);
    if (is_new && callers && callers->vector_bytes > node->reliance.vector_bytes)
        node->reliance.vector_bytes = callers->vector_bytes;
    return is_new;
}

/* What is found of a caller may add to what is found of those that it calls. */
static void look_at_calls(struct analysis *analysis)
{
    bool is_first = true;
    for (bool is_more = true; is_more; is_first = false) {
        is_more = false;
        for (size_t i = 0; i < analysis->node_count && !analysis->out_of_memory; i++)
            for (const struct site *site = analysis->node[i].site; site; site = site->next)
                if (is_first || site->has_node)
                    is_more |= look_at_call(analysis, &analysis->node[i], site);
    }
}

/* ---- Stack arguments ---- */

/* How many words above the return address an instruction may name: the last of them, or an unknown number. */
static uint16_t words_above(const struct rdf_register_use *use, int32_t sp, int32_t frame)
{
    int32_t base = use->has_stack ? sp : frame;
    if (!use->has_stack && (!use->has_frame || frame == SP_UNKNOWN))
        return 0;
    int64_t off = base + use->stack_off;
    if (base != SP_UNKNOWN && off < 0)
        return 0;
    if (base == SP_UNKNOWN || off / 8 < STACK_WORDS_UNKNOWN)
        return STACK_WORDS_UNKNOWN; /* an address taken may lead to more than its first word */
    return off / 8 < UINT16_MAX ? (uint16_t)(off / 8 + 1) : UINT16_MAX;
}

/* How many words of arguments the body may take from the stack; what it jumps to at its end may take any. */
static uint16_t stack_words(struct analysis *analysis, const struct rdf_function *function)
{
    struct walk walk;
    struct step step;
    int32_t frame = SP_UNKNOWN;
    uint16_t words = 0;
    if (!begin_walk(analysis, function, &walk))
        return STACK_WORDS_UNKNOWN;
    go_on(&walk, function->start, 0, 0);
    while (next_step(&walk, &step)) {
        struct rdf_insn insn;
        struct rdf_register_use use;
        if (!read_at(&walk, step.addr, &insn, &use))
            continue;
        if (use.sets_frame)
            frame = step.sp;
        bool leads_out = insn.has_target && insn.flow != RDF_FLOW_CALL &&
                         (insn.target < function->start || insn.target >= function->end);
        uint16_t above = words_above(&use, step.sp, frame);
        if (above > words)
            words = above;
        walk.is_incomplete |= leads_out || insn.flow == RDF_FLOW_JUMP_INDIRECT;
        if (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH)
            go_on(&walk, insn.target, 0, sp_behind(analysis->arch, step.sp, &use));
        if (insn.flow != RDF_FLOW_JUMP && insn.flow != RDF_FLOW_RETURN && insn.flow != RDF_FLOW_STOP)
            go_on(&walk, step.addr + insn.len_bytes, 0, sp_behind(analysis->arch, step.sp, &use));
    }
    bool is_unknown = walk.is_incomplete || analysis->insns_left == 0;
    end_walk(&walk);
    return is_unknown && words < STACK_WORDS_UNKNOWN ? STACK_WORDS_UNKNOWN : words;
}

/* Go's own compiler lets a call change everything, and its stacks are its own. */
static bool is_go(struct rdf_images *images, struct rdf_image *image)
{
    Elf64_Shdr section;
    const char *name;
    for (size_t i = 1; rdf_image_section(images, image, i, &section, &name); i++)
        if (rdf_text_same(name, ".gopclntab") || rdf_text_same(name, ".data.rel.ro.gopclntab"))
            return true;
    return false;
}

redefine_status rdf_image_reliance(struct rdf_images *images, struct rdf_image *image,
                                   const struct rdf_function *functions, size_t count,
                                   struct rdf_reliance *ret, struct rdf_error *err)
{
    struct analysis analysis = {.images = images, .image = image, .arch = images->arch};
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct rdf_reliance){0};
    if (count == 0 || !images->arch->registers || is_go(images, image))
        return REDEFINE_OK;
    rdf_arena_init(&analysis.arena, &rdf_os_pages); /* not the snapshot's: that one is kept */
    analysis.node_max = count + CALLERS_MAX;
    analysis.insns_left = INSNS_BASE + count * INSNS_EACH;
    analysis.known_slots = 4 * analysis.node_max;
    analysis.node = rdf_arena_alloc(&analysis.arena, analysis.node_max * sizeof *analysis.node);
    analysis.known = rdf_arena_alloc(&analysis.arena, analysis.known_slots * sizeof *analysis.known);
    analysis.out_of_memory = !analysis.node || !analysis.known;
    for (size_t i = 0; i < count && !analysis.out_of_memory; i++)
        (void)node_of(&analysis, &functions[i]);
    redefine_status status = analysis.out_of_memory ? REDEFINE_OK : find_sites(&analysis, err);
    if (status == REDEFINE_OK && !analysis.out_of_memory)
        look_at_calls(&analysis);
    for (size_t i = 0; i < count && !analysis.out_of_memory; i++)
        ret[i] = analysis.node[node_of(&analysis, &functions[i])].reliance;
    for (size_t i = 0; i < count && !analysis.out_of_memory; i++)
        if (ret[i].relied_on || ret[i].is_misaligned)
            ret[i].stack_words = stack_words(&analysis, &functions[i]);
    rdf_arena_free(&analysis.arena);
    return analysis.out_of_memory
               ? rdf_fail(err, REDEFINE_ENOMEM, "no memory to see what the callers of %zu functions rely on",
                          count)
               : status;
}

void rdf_register_names(const struct rdf_arch *arch, uint64_t registers, char *ret_text, size_t text_bytes)
{
    size_t used = 0;
    bool is_first = true;
    if (text_bytes)
        ret_text[0] = 0;
    for (unsigned i = 0; i < 64; i++) {
        const char *name = registers >> i & 1 ? arch->register_name(i) : NULL;
        if (!name)
            continue;
        const char *before = is_first ? "" : registers >> i >> 1 ? ", " : " and ";
        int len = snprintf(ret_text + used, text_bytes - used, "%s%s", before, name);
        if (len < 0 || (size_t)len >= text_bytes - used) {
            if (text_bytes)
                ret_text[used] = 0;
            return;
        }
        used += (size_t)len;
        is_first = false;
    }
}
