/* SPDX-License-Identifier: MIT
 *
 * From a function's bytes to a plan: functions written by hand, each for one question.
 */
#include "core/plan.h"
#include "support/memory_os.h"

#include <elf.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define INT3_4     0xcc, 0xcc, 0xcc, 0xcc
#define NOP_10     0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90
#define NOP_60     NOP_10, NOP_10, NOP_10, NOP_10, NOP_10, NOP_10
#define NOP_110    NOP_60, NOP_10, NOP_10, NOP_10, NOP_10, NOP_10
#define NOP_120    NOP_60, NOP_60
#define RET_A64    0xc0, 0x03, 0x5f, 0xd6
#define BTI_C      0x5f, 0x24, 0x03, 0xd5
#define NOP_A64    0x1f, 0x20, 0x03, 0xd5

/* What is expected; offsets from the function's start. */
struct expected {
    redefine_status status;
    enum rdf_strategy strategy;
    uint8_t patched_start, patched_end, end;
    size_t branch_count;
    const char *words; /* in the sentence, for a refusal */
};

struct example {
    const char *name;
    const uint8_t *code;
    size_t len;
    const uint8_t *padding; /* behind it; a neighbour follows */
    size_t padding_len;
    struct expected expected;
};

#define WINDOW(strategy, start, patched_end, end, branches)                           \
    {                                                                                 \
        REDEFINE_OK, RDF_STRATEGY_##strategy, start, patched_end, end, branches, NULL \
    }
#define REFUSED(status, words)                  \
    {                                           \
        REDEFINE_##status, 0, 0, 0, 0, 0, words \
    }
#define NO_PADDING NULL, 0

static const struct example example_x86_64[] = {
    {"whole instructions", BYTES(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc9, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 8, 0)},
    {"one instruction", BYTES(0xb8, 1, 0, 0, 0, 0xc3), NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},
    {"exactly as long as the jump", BYTES(0x31, 0xc0, 0x31, 0xc9, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},

    /* Landing pads. */
    {"behind endbr64", BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0xb8, 1, 0, 0, 0, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 4, 9, 9, 0)},
    {"over endbr64, where a neighbour leaves no room behind it", BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},
    {"behind endbr64 into padding", BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0xc3), BYTES(INT3_4),
     WINDOW(PADDED_JUMP, 4, 9, 5, 0)},
    {"endbr64 and nothing else", BYTES(0xf3, 0x0f, 0x1e, 0xfa), BYTES(INT3_4),
     WINDOW(PADDED_JUMP, 0, 5, 4, 0)},

    /* Short functions. */
    {"4 bytes, int3", BYTES(0x31, 0xc0, 0x90, 0xc3), BYTES(INT3_4), WINDOW(PADDED_JUMP, 0, 5, 4, 0)},
    {"3 bytes, int3", BYTES(0x31, 0xc0, 0xc3), BYTES(INT3_4), WINDOW(PADDED_JUMP, 0, 5, 3, 0)},
    {"2 bytes, nops", BYTES(0x90, 0xc3), BYTES(0x90, 0x90, 0x90), WINDOW(PADDED_JUMP, 0, 5, 2, 0)},
    {"1 byte, a long nop", BYTES(0xc3), BYTES(0x0f, 0x1f, 0x44, 0x00, 0x00), WINDOW(PADDED_JUMP, 0, 5, 1, 0)},
    {"1 byte, exactly enough", BYTES(0xc3), BYTES(INT3_4), WINDOW(PADDED_JUMP, 0, 5, 1, 0)},
    {"1 byte, one too few", BYTES(0xc3), BYTES(0xcc, 0xcc, 0xcc), WINDOW(TRAP, 0, 1, 1, 0)},
    {"1 byte, a neighbour", BYTES(0xc3), NO_PADDING, WINDOW(TRAP, 0, 1, 1, 0)},
    {"2 bytes, a neighbour", BYTES(0x90, 0xc3), NO_PADDING, WINDOW(TRAP, 0, 1, 1, 0)},
    {"4 bytes, a neighbour", BYTES(0x31, 0xc0, 0x90, 0xc3), NO_PADDING, WINDOW(TRAP, 0, 1, 2, 0)},
    {"4 bytes, and what follows is no padding", BYTES(0x31, 0xc0, 0x90, 0xc3), BYTES(0x00, 0xcc, 0xcc, 0xcc),
     WINDOW(TRAP, 0, 1, 2, 0)},
    {"4 bytes, padding farther on", BYTES(0x31, 0xc0, 0x90, 0xc3), BYTES(0x00, INT3_4, 0xcc),
     WINDOW(SHORT_JUMP, 0, 2, 2, 0)},

    /* Left there to be overwritten. */
    {"a sled", BYTES(0x0f, 0x1f, 0x44, 0, 0, 0xc3), NO_PADDING, WINDOW(SLED, 0, 5, 5, 0)},
    {"a sled of five", BYTES(0x90, 0x90, 0x90, 0x90, 0x90, 0xc3), NO_PADDING, WINDOW(SLED, 0, 5, 5, 0)},
    {"a sled behind endbr64", BYTES(0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0, 0xc3), NO_PADDING,
     WINDOW(SLED, 4, 9, 9, 0)},
    {"too short for a sled", BYTES(0x90, 0x90, 0x90, 0x90, 0xc3), NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},

    /* Branches that lead back. dec %rdi is three bytes. */
    {"a loop inside the window", BYTES(0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},
    {"a short loop is taken along", BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x75, 0xf8, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 8, 0)},
    {"and so is one that leads into the middle", BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x75, 0xfb, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 8, 0)},
    {"one behind the jump may stay", BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x75, 0xfd, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},
    {"a branch taken along brings another",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x75, 0xf9, 0x90, 0x75, 0xf6, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 10, 0)},
    {"a long loop is retargeted",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x0f, 0x85, 0xf5, 0xff, 0xff, 0xff, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 5, 5, 1)},
    {"a jump to the entry as well", BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0xe9, 0xf6, 0xff, 0xff, 0xff, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 1)},
    {"a call of itself is a call", BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0xe8, 0xf6, 0xff, 0xff, 0xff, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 0)},
    {"a short loop from far away is taken along", BYTES(0x48, 0xff, 0xcf, NOP_60, NOP_10, 0x75, 0xb5, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 75, 0)},
    /* A hop: the jump at 5 leads into the trampoline, and the branch to the hop. */
    {"with too many instructions between", BYTES(0x48, 0xff, 0xcf, NOP_110, 0x75, 0x8d, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 10, 10, 1)},
    {"into the middle, with too many between", BYTES(0x48, 0xff, 0xcf, NOP_110, 0x75, 0x90, 0xc3), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 10, 10, 1)},
    {"the same, and room for a short jump", BYTES(0x48, 0xff, 0xcf, NOP_110, 0x75, 0x90, 0xc3),
     BYTES(INT3_4, 0xcc), WINDOW(ENTRY_JUMP, 0, 10, 10, 1)},
    {"a loop over a call",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, NOP_10, 0xe8, 1, 0, 0, 0, 0x90, 0x75, 0xe7, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 10, 10, 1)},
    {"two loops over a call to one place",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, NOP_10, 0xe8, 1, 0, 0, 0, 0x90, 0x75, 0xe7, 0x74, 0xe5,
           0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 10, 10, 2)},
    {"two loops over a call to two places",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, NOP_10, 0xe8, 1, 0, 0, 0, 0x90, 0x75, 0xe7, 0x74, 0xe8,
           0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 15, 15, 2)},
    {"a hop that brings another branch",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, NOP_10, 0xe8, 1, 0, 0, 0, 0x90, 0x75, 0xe7, 0x74, 0xeb,
           0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 15, 15, 2)},
    /* The call returns to 8, so no hop may lie there: padding will do. */
    {"a call in the first bytes, and padding",
     BYTES(0x48, 0xff, 0xcf, 0xe8, 16, 0, 0, 0, NOP_110, 0x75, 0x88, 0xc3), BYTES(INT3_4, 0xcc),
     WINDOW(ENTRY_JUMP, 0, 5, 8, 1)},
    {"a call in the first bytes, and no room",
     BYTES(0x48, 0xff, 0xcf, 0xe8, 16, 0, 0, 0, NOP_110, 0x75, 0x88, 0xc3), NO_PADDING,
     WINDOW(TRAP, 0, 6, 8, 1)},
    {"jrcxz and loop back over a call",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, NOP_10, 0xe8, 1, 0, 0, 0, 0x90, 0xe3, 0xe7, 0xe2, 0xe5,
           0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 10, 10, 2)},
    {"five long branches back",
     BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x0f, 0x85, 0xf5, 0xff, 0xff, 0xff, 0x0f, 0x85, 0xef, 0xff, 0xff,
           0xff, 0x0f, 0x85, 0xe9, 0xff, 0xff, 0xff, 0x0f, 0x85, 0xe3, 0xff, 0xff, 0xff, 0x0f, 0x85, 0xdd,
           0xff, 0xff, 0xff, 0xc3),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 5, 5, 5)},

    /* What is no code. */
    {"no instruction at the entry", BYTES(0x06, 0x90, 0x90, 0x90, 0x90, 0xc3), NO_PADDING,
     REFUSED(EUNSUPPORTED, "no instruction")},
    {"none behind the first", BYTES(0x90, 0x06, 0x90, 0x90, 0x90, 0xc3), NO_PADDING,
     WINDOW(TRAP, 0, 1, 1, 0)},
    {"an instruction that is cut off by the end", BYTES(0x90, 0xb8, 0x01), BYTES(INT3_4, INT3_4),
     WINDOW(TRAP, 0, 1, 1, 0)},
    {"data behind the window", BYTES(0xb8, 1, 0, 0, 0, 0xc3, 0x06, 0x06, 0x75, 0xf6, 0xc3), NO_PADDING,
     WINDOW(TRAP, 0, 6, 6, 1)},
};

static const struct example example_aarch64[] = {
    {"ret", BYTES(RET_A64), NO_PADDING, WINDOW(ENTRY_JUMP, 0, 4, 4, 0)},
    {"behind bti c", BYTES(BTI_C, RET_A64), NO_PADDING, WINDOW(ENTRY_JUMP, 4, 8, 8, 0)},
    {"bti c and nothing else", BYTES(BTI_C), NO_PADDING, WINDOW(ENTRY_JUMP, 0, 4, 4, 0)},
    {"a sled", BYTES(NOP_A64, NOP_A64, RET_A64), NO_PADDING, WINDOW(SLED, 0, 4, 4, 0)},
    /* subs x0,x0,#1; nop; b.ne .-8; ret */
    {"a loop", BYTES(0x00, 0x04, 0x00, 0xf1, NOP_A64, 0xc1, 0xff, 0xff, 0x54, RET_A64), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 4, 12, 0)},
    /* the same with b .-8 */
    {"a jump back", BYTES(0x00, 0x04, 0x00, 0xf1, NOP_A64, 0xfe, 0xff, 0xff, 0x17, RET_A64), NO_PADDING,
     WINDOW(ENTRY_JUMP, 0, 4, 4, 1)},
    {"a loop behind the jump", BYTES(0x00, 0x04, 0x00, 0xf1, NOP_A64, 0xe1, 0xff, 0xff, 0x54, RET_A64),
     NO_PADDING, WINDOW(ENTRY_JUMP, 0, 4, 4, 0)},
};

/* ---- one function in a space ---- */

struct place {
    struct memory_os *os;
    struct rdf_arena arena;
    struct rdf_images images;
    struct rdf_function function;
    struct rdf_error err;
};

static const uint8_t keep_away_x86_64[] = {NOP_120, NOP_10, 0xc3};
static const uint8_t keep_away_aarch64[] = {NOP_A64, RET_A64};

/* `example` between two neighbours without padding of their own. */
static void set_up(struct place *place, const struct rdf_arch *arch, const struct example *example)
{
    bool is_x86 = arch->elf_machine == EM_X86_64;
    struct memory_function neighbour = {.name = "neighbour",
                                        .code = is_x86 ? keep_away_x86_64 : keep_away_aarch64,
                                        .len_bytes = is_x86 ? sizeof keep_away_x86_64
                                                            : sizeof keep_away_aarch64};
    const struct memory_function function[] = {neighbour,
                                               {.name = "example",
                                                .code = example->code,
                                                .len_bytes = example->len,
                                                .padding = example->padding,
                                                .padding_bytes = example->padding_len},
                                               neighbour};
    uint64_t addr[3];
    *place = (struct place){.os = memory_os_new()};
    memory_os_add_image(place->os, arch->elf_machine, UINT64_C(0x7f2000000000), "/test/plan", function, 3,
                        addr);
    rdf_arena_init(&place->arena, &place->os->pages);
    assert_int_equal(rdf_images_load(&place->os->space, arch, &place->arena, &place->images, &place->err),
                     REDEFINE_OK);
    if (rdf_images_function(&place->images, addr[1], &place->function, &place->err) != REDEFINE_OK)
        fail_msg("%s: %s", example->name, place->err.sentence);
    assert_int_equal(place->function.end - place->function.start, example->len);
}

static void tear_down(struct place *place)
{
    rdf_images_free(&place->images);
    rdf_arena_free(&place->arena);
    assert_int_equal(place->os->page_live, 0);
    memory_os_free(place->os);
}

static void check_window(const struct example *example, const struct place *place,
                         const struct rdf_window *window)
{
    const struct expected *e = &example->expected;
    uint64_t start = place->function.start;
    if (window->strategy != e->strategy || window->patched_start != start + e->patched_start ||
        window->patched_end != start + e->patched_end || window->end != start + e->end ||
        window->branch_count != e->branch_count)
        fail_msg("%s: %s, patched %" PRIu64 "-%" PRIu64 ", moved -%" PRIu64 ", %zu branches", example->name,
                 rdf_strategy_name(window->strategy), window->patched_start - start,
                 window->patched_end - start, window->end - start, window->branch_count);
    assert_memory_equal(window->bytes, example->code, window->end - start);
}

static size_t window_jump_bytes(const struct rdf_arch *arch, const struct rdf_window *window)
{
    return window->strategy == RDF_STRATEGY_TRAP         ? arch->trap_bytes
           : window->strategy == RDF_STRATEGY_SHORT_JUMP ? arch->short_jump_bytes
                                                         : arch->jump_bytes;
}

/* A branch that was short leads to a jump into the trampoline, to the counterpart of what it led to. */
static void check_hop(const struct rdf_arch *arch, const struct place *place, const struct rdf_window *window,
                      const struct rdf_plan *plan, const struct rdf_edit *branch,
                      const struct rdf_insn *leads)
{
    struct rdf_insn was, hop;
    uint64_t start = place->function.start;
    struct rdf_span bytes = {branch->old_bytes, branch->len_bytes};
    assert_true(arch->decode(bytes, branch->addr, &was));
    const struct rdf_edit *edit = &plan->edit;
    for (size_t i = 0; leads->target >= window->patched_end && i < plan->extra_count; i++)
        if (plan->extra[i].addr == leads->target)
            edit = &plan->extra[i];
    size_t off = (size_t)(leads->target - edit->addr);
    assert_in_range(off, 0, (size_t)(edit->len_bytes - arch->jump_bytes));
    bytes = (struct rdf_span){edit->new_bytes + off, edit->len_bytes - off};
    assert_true(arch->decode(bytes, leads->target, &hop));
    assert_int_equal(hop.flow, RDF_FLOW_JUMP);
    size_t i = 0;
    while (i < plan->relocated.pc_count && start + plan->relocated.pcs[i].old_off != was.target)
        i++;
    assert_true(i < plan->relocated.pc_count);
    assert_int_equal(hop.target, plan->trampoline_addr + plan->relocated.pcs[i].new_off);
}

/* The edits lead to the relay, and so does the trampoline back; nothing is changed. */
static void check_plan(const struct rdf_arch *arch, const struct example *example, struct place *place,
                       const struct rdf_window *window)
{
    struct rdf_near *near = calloc(1, sizeof *near);
    struct rdf_plan *plan = calloc(1, sizeof *plan);
    *near = (struct rdf_near){.space = &place->os->space, .arch = arch, .pages = &place->os->pages};
    struct memory_snapshot *before = memory_os_take(place->os);
    if (rdf_plan_make(near, &place->images, window, 0, plan, &place->err) != REDEFINE_OK)
        fail_msg("%s: %s", example->name, place->err.sentence);
    struct rdf_insn insn;
    for (size_t i = 0; i <= plan->extra_count; i++) {
        const struct rdf_edit *edit = i ? &plan->extra[i - 1] : &plan->edit;
        assert_memory_equal(edit->old_bytes, memory_os_at(place->os, edit->addr), edit->len_bytes);
        assert_true(arch->decode((struct rdf_span){edit->new_bytes, edit->len_bytes}, edit->addr, &insn));
        assert_int_equal(insn.len_bytes, i ? edit->len_bytes : window_jump_bytes(arch, window));
        if (window->strategy == RDF_STRATEGY_TRAP && i == 0)
            assert_int_equal(insn.role, RDF_ROLE_TRAP);
        else if (i == 0)
            assert_int_equal(insn.target, window->strategy == RDF_STRATEGY_SHORT_JUMP ? window->padding_addr
                                                                                      : plan->relay_addr);
        else if (edit->addr == window->padding_addr)
            assert_int_equal(insn.target, plan->relay_addr);
        else if (insn.target < plan->place.code_addr)
            check_hop(arch, place, window, plan, edit, &insn);
        else
            assert_in_range(insn.target, plan->trampoline_addr,
                            plan->trampoline_addr + plan->relocated.len_bytes - 1);
    }
    assert_int_equal(plan->edit.addr, window->patched_start);
    assert_int_equal(plan->edit.len_bytes, window->patched_end - window->patched_start);
    assert_int_equal(plan->place.code_addr, plan->relay_addr);
    assert_true(plan->code_bytes <= plan->place.code_bytes);
    assert_true(arch->decode((struct rdf_span){plan->code, sizeof plan->code}, plan->relay_addr, &insn));
    assert_int_equal(insn.ref, plan->place.slot_addr);
    /* Only a chunk has come into being. */
    struct rdf_near_mark *mark = calloc(1, sizeof *mark);
    rdf_near_rollback(near, mark);
    const char *difference = memory_os_difference(place->os, before);
    if (difference)
        fail_msg("%s: planning has changed something: %s", example->name, difference);
    memory_snapshot_free(before);
    free(mark);
    free(plan);
    free(near);
}

static void check_example(const struct rdf_arch *arch, const struct example *example)
{
    struct place place;
    struct rdf_window window, untouched;
    set_up(&place, arch, example);
    memset(&window, 0x5a, sizeof window);
    untouched = window;
    redefine_status status = rdf_plan_window(&place.images, &place.function, &window, &place.err);
    if (status != example->expected.status)
        fail_msg("%s: status %d, %s", example->name, (int)status,
                 status ? place.err.sentence : rdf_strategy_name(window.strategy));
    if (status != REDEFINE_OK) {
        assert_int_equal(place.err.status, status);
        if (!strstr(place.err.sentence, example->expected.words) || !strstr(place.err.sentence, "example"))
            fail_msg("%s: %s", example->name, place.err.sentence);
        assert_memory_equal(&window, &untouched, sizeof window);
    } else {
        check_window(example, &place, &window);
        check_plan(arch, example, &place, &window);
    }
    tear_down(&place);
}

static void windows_on_x86_64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof example_x86_64 / sizeof example_x86_64[0]; i++)
        check_example(&rdf_arch_x86_64, &example_x86_64[i]);
}

static void windows_on_aarch64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof example_aarch64 / sizeof example_aarch64[0]; i++)
        check_example(&rdf_arch_aarch64, &example_aarch64[i]);
}

/* A loop over more and more instructions: taken along while a window may have so many. */
static void how_much_can_be_moved(void **state)
{
    (void)state;
    for (size_t nops = 2; nops < 120; nops++) {
        uint8_t bytes[128] = {0x48, 0xff, 0xcf};
        memset(bytes + 3, 0x90, nops);
        bytes[3 + nops] = 0x75;
        bytes[4 + nops] = (uint8_t)(0 - (nops + 5));
        bytes[5 + nops] = 0xc3;
        struct example example = {.name = "a loop", .code = bytes, .len = nops + 6};
        if (nops + 2 <= RDF_WINDOW_INSNS_MAX && nops + 5 <= RDF_WINDOW_BYTES_MAX)
            example.expected = (struct expected)WINDOW(ENTRY_JUMP, 0, 5, (uint8_t)(nops + 5), 0);
        else
            example.expected = (struct expected)WINDOW(ENTRY_JUMP, 0, 10, 10, 1);
        check_example(&rdf_arch_x86_64, &example);
    }
}

/* ---- what is padding ---- */

/* Three bytes, then int3 that belong to somebody: by a symbol, by an unwind entry, by both. */
static void what_has_an_owner_is_no_padding(void **state)
{
    (void)state;
    for (int owned = 0; owned < 4; owned++) {
        struct memory_os *os = memory_os_new();
        struct memory_function function[] = {
            {.name = "keeps_away", .code = keep_away_x86_64, .len_bytes = sizeof keep_away_x86_64},
            {.name = "short", .code = (const uint8_t[]){0x31, 0xc0, 0xc3}, .len_bytes = 3},
            {.name = owned & 1 ? "traps" : NULL,
             .code = (const uint8_t[]){INT3_4, INT3_4},
             .len_bytes = 8,
             .no_fde = !(owned & 2)},
            {.name = "keeps_away_too", .code = keep_away_x86_64, .len_bytes = sizeof keep_away_x86_64},
        };
        uint64_t addr[4];
        memory_os_add_image(os, EM_X86_64, UINT64_C(0x7f2000000000), "/test/owners", function, 4, addr);
        struct rdf_arena arena;
        struct rdf_images images;
        struct rdf_function found;
        struct rdf_window window;
        rdf_arena_init(&arena, &os->pages);
        assert_int_equal(rdf_images_load(&os->space, &rdf_arch_x86_64, &arena, &images, NULL), REDEFINE_OK);
        assert_int_equal(rdf_images_function(&images, addr[1], &found, NULL), REDEFINE_OK);
        assert_int_equal(rdf_plan_window(&images, &found, &window, NULL), REDEFINE_OK);
        assert_int_equal(window.strategy, owned ? RDF_STRATEGY_TRAP : RDF_STRATEGY_PADDED_JUMP);
        rdf_images_free(&images);
        rdf_arena_free(&arena);
        memory_os_free(os);
    }
}

/* The last function of the last page: what follows is not mapped, or data. */
static void nothing_is_read_behind_the_code(void **state)
{
    (void)state;
    for (size_t len = 1; len < 8; len++) {
        static const uint8_t nops[4096] = {[0 ... 4095] = 0x90};
        uint8_t code[8];
        memset(code, 0x90, sizeof code);
        code[len - 1] = 0xc3;
        struct memory_os *os = memory_os_new();
        const struct memory_function function[] = {
            {.name = "fills", .code = nops, .len_bytes = 4096 - len},
            {.name = "last", .code = code, .len_bytes = len},
        };
        uint64_t addr[2];
        memory_os_add_image(os, EM_X86_64, UINT64_C(0x7f2000000000), "/test/last", function, 2, addr);
        assert_int_equal((addr[1] + len) % 4096, 0);
        struct rdf_arena arena;
        struct rdf_images images;
        struct rdf_function found;
        struct rdf_window window;
        rdf_arena_init(&arena, &os->pages);
        assert_int_equal(rdf_images_load(&os->space, &rdf_arch_x86_64, &arena, &images, NULL), REDEFINE_OK);
        assert_int_equal(rdf_images_function(&images, addr[1], &found, NULL), REDEFINE_OK);
        assert_int_equal(rdf_plan_window(&images, &found, &window, NULL), REDEFINE_OK);
        assert_int_equal(window.strategy, len < 5    ? RDF_STRATEGY_TRAP
                                          : len == 5 ? RDF_STRATEGY_ENTRY_JUMP
                                                     : RDF_STRATEGY_SLED);
        assert_string_equal(os->fault, "");
        rdf_images_free(&images);
        rdf_arena_free(&arena);
        memory_os_free(os);
    }
}

/* ---- a branch into the middle of an instruction ---- */

static void a_branch_into_an_instruction(void **state)
{
    (void)state;
    /* dec %rdi; nop; nop; jne entry+1 by a long form; ret */
    const struct example example = {"into dec",
                                    BYTES(0x48, 0xff, 0xcf, 0x90, 0x90, 0x0f, 0x85, 0xf6, 0xff, 0xff, 0xff,
                                          0xc3),
                                    NO_PADDING, REFUSED(EUNSUPPORTED, "")};
    struct place place;
    struct rdf_window window;
    set_up(&place, &rdf_arch_x86_64, &example);
    redefine_status status = rdf_plan_window(&place.images, &place.function, &window, &place.err);
    if (status == REDEFINE_OK && window.branch_count) {
        struct rdf_near *near = calloc(1, sizeof *near);
        struct rdf_plan *plan = calloc(1, sizeof *plan);
        *near = (struct rdf_near){.space = &place.os->space,
                                  .arch = &rdf_arch_x86_64,
                                  .pages = &place.os->pages};
        assert_int_equal(rdf_plan_make(near, &place.images, &window, 0, plan, &place.err),
                         REDEFINE_EUNSUPPORTED);
        assert_non_null(strstr(place.err.sentence, "jn"));
        free(plan);
        free(near);
    } else {
        /* Or it is left alone by a strategy that overwrites less. */
        assert_int_equal(status, REDEFINE_OK);
        assert_int_equal(window.patched_end, window.patched_start + 1);
    }
    tear_down(&place);
}

/* ---- threads ---- */

static void where_a_thread_goes_on(void **state)
{
    (void)state;
    /* endbr64 at 0, kept; 4: three bytes, 7: one, 8: four. The jump takes [4, 9). */
    const struct rdf_pc_pair pcs[] = {{0, 0}, {4, 4}, {7, 9}, {8, 10}};
    const uint64_t start = 0x1000, patched = start + 4, patched_end = start + 9, trampoline = 0x9000;
    const uint64_t expected[16] = {[5] = 0, [6] = 0, [7] = trampoline + 9, [8] = trampoline + 10};
    for (uint64_t off = 0; off < 16; off++) {
        uint64_t place = rdf_plan_move_pc(patched, patched_end, start, trampoline, pcs, 4, start + off);
        assert_int_equal(place, off >= 5 && off < 9 ? expected[off] : start + off);
    }
    assert_int_equal(rdf_plan_move_pc(patched, patched_end, start, trampoline, pcs, 4, 0), 0);
    assert_int_equal(rdf_plan_move_pc(patched, patched_end, start, trampoline, pcs, 4, UINT64_MAX),
                     UINT64_MAX);
}

static void strategies_have_names(void **state)
{
    (void)state;
    for (int i = RDF_STRATEGY_SLED; i <= RDF_STRATEGY_TRAP; i++)
        assert_string_not_equal(rdf_strategy_name((enum rdf_strategy)i), "unknown");
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_on_x86_64),
        cmocka_unit_test(windows_on_aarch64),
        cmocka_unit_test(how_much_can_be_moved),
        cmocka_unit_test(what_has_an_owner_is_no_padding),
        cmocka_unit_test(nothing_is_read_behind_the_code),
        cmocka_unit_test(a_branch_into_an_instruction),
        cmocka_unit_test(where_a_thread_goes_on),
        cmocka_unit_test(strategies_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
