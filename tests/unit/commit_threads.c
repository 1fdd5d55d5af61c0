/* SPDX-License-Identifier: MIT
 *
 * Threads that stand in the way: moved, waited for, refused; never ignored.
 */
#include "support/program.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SHAPES = 10 };

static redefine_status redefine_one(struct program *program, uint64_t target, int replacement)
{
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = target,
                                .replacement = program->replacement[replacement]};
    program->err = (struct rdf_error){0};
    memory_os_reset(program->os);
    return rdf_engine_commit(program->engine, &change, 1, 0, &program->err);
}

static redefine_status restore_one(struct program *program, uint64_t target)
{
    struct rdf_change change = {.kind = RDF_CHANGE_RESTORE, .target = target};
    program->err = (struct rdf_error){0};
    memory_os_reset(program->os);
    return rdf_engine_commit(program->engine, &change, 1, 0, &program->err);
}

/* What is kept of a function after the program has gone. */
struct seen {
    uint64_t start, window_end;
    uint64_t edit, edit_end;
    bool branches_back, is_loop_head;
    uint8_t bytes[RDF_WINDOW_BYTES_MAX];
};

static struct seen seen_of(const struct rdf_redef *redef)
{
    struct seen seen = {.start = redef->entry,
                        .window_end = redef->entry + redef->window_bytes,
                        .edit = rdf_redef_edit(redef),
                        .edit_end = rdf_redef_edit(redef) + redef->edit_bytes,
                        .branches_back = redef->branches_back,
                        .is_loop_head = redef->is_loop_head};
    memcpy(seen.bytes, rdf_redef_bytes(redef), redef->window_bytes);
    return seen;
}

/* What the plan of each shape is, found out with nobody in the way. */
static struct seen plan_of(const struct rdf_arch *arch, int shape)
{
    struct program *program = program_new(arch);
    assert_int_equal(redefine_one(program, program->target[shape], 0), REDEFINE_OK);
    struct seen seen = seen_of(rdf_registry_find(&program->engine->registry, program->target[shape]));
    program_free(program);
    return seen;
}

static bool starts_instruction(const struct program *program, const struct seen *plan, uint64_t pc)
{
    const struct rdf_arch *arch = program->engine->arch;
    size_t len = (size_t)(plan->window_end - plan->start);
    struct rdf_insn insn;
    for (size_t off = 0; off < len; off += insn.len_bytes) {
        if (plan->start + off == pc)
            return true;
        if (!arch->decode((struct rdf_span){plan->bytes + off, len - off}, plan->start + off, &insn))
            return false;
    }
    return false;
}

/* The same instruction: of equal length and flow, or what relocating makes of a branch. */
static void check_counterpart(const struct program *program, const struct rdf_redef *redef, uint64_t pc,
                              uint64_t place)
{
    const struct rdf_arch *arch = program->engine->arch;
    struct rdf_insn old, new;
    size_t off = (size_t)(pc - redef->entry);
    assert_true(
        arch->decode((struct rdf_span){rdf_redef_bytes(redef) + off, redef->window_bytes - off}, pc, &old));
    if (redef->strategy == RDF_STRATEGY_SLED) {
        assert_int_equal(place, redef->entry + redef->window_bytes);
        return;
    }
    assert_true(arch->decode((struct rdf_span){memory_os_at(program->os, place), 16}, place, &new));
    assert_int_equal(new.flow, old.flow);
    assert_int_equal(new.has_ref, old.has_ref);
    assert_int_equal(new.ref, old.ref);
    assert_in_range(place, rdf_redef_trampoline(redef),
                    rdf_redef_trampoline(redef) + RDF_TRAMPOLINE_BYTES_MAX);
}

static void check_one_pc(const struct rdf_arch *arch, int shape, const struct seen *plan, uint64_t pc)
{
    struct program *program = program_new(arch);
    size_t thread = memory_os_add_thread(program->os, pc);
    char *engine = program_describe(program);
    struct memory_snapshot *memory = program_take(program);
    /* Behind the overwritten bytes too: what is left of the window may branch back into them. */
    uint64_t end = plan->window_end > plan->edit_end ? plan->window_end : plan->edit_end;
    bool is_inside = pc > plan->edit && pc < end;
    bool can_move = starts_instruction(program, plan, pc);
    /* At the head of a loop it may be in the middle of one, or about to make a call. */
    bool is_unclear = pc == plan->edit && plan->is_loop_head;
    redefine_status status = redefine_one(program, program->target[shape], 0);
    uint64_t place = program->os->thread[thread].pc;
    if (is_unclear || (is_inside && !can_move)) {
        char tid[32];
        (void)snprintf(tid, sizeof tid, "thread %d ", MEMORY_FIRST_TID);
        assert_int_equal(status, REDEFINE_EBUSY);
        assert_non_null(strstr(program->err.sentence, tid));
        assert_non_null(strstr(program->err.sentence, "inside"));
        assert_null(memory_os_difference(program->os, memory));
        char *after = program_describe(program);
        assert_string_equal(after, engine);
        free(after);
    } else {
        if (status != REDEFINE_OK)
            fail_msg("shape %d, pc +%" PRIu64 ": %s", shape, pc - program->target[shape],
                     program->err.sentence);
        if (is_inside)
            check_counterpart(program, rdf_registry_find(&program->engine->registry, program->target[shape]),
                              pc, place);
        else
            assert_int_equal(place, pc);
        assert_int_equal(program->os->op_count[MEMORY_SET_PC], is_inside);
    }
    assert_string_equal(program->os->fault, "");
    memory_snapshot_free(memory);
    free(engine);
    program_free(program);
}

static void a_thread_at_each_byte(const struct rdf_arch *arch, int shapes)
{
    for (int shape = 0; shape < shapes; shape++) {
        struct seen plan = plan_of(arch, shape);
        for (uint64_t pc = plan.start - 4; pc < plan.window_end + 8; pc += arch->insn_align_bytes)
            check_one_pc(arch, shape, &plan, pc);
    }
}

static void a_thread_at_each_byte_of_the_window(void **state)
{
    (void)state;
    a_thread_at_each_byte(&rdf_arch_x86_64, SHAPES);
    a_thread_at_each_byte(&rdf_arch_aarch64, 3);
}

/* ---- jumps that are taken away ---- */

static const struct memory_function hopping[] = {
    /* xor %eax,%eax; ret with a neighbour right behind: a short jump to a jump in padding */
    {.name = "hops", .code = (const uint8_t[]){0x31, 0xc0, 0xc3}, .len_bytes = 3},
    /* dec %rdi; 10 nops; call behind the end; nop; jne to the entry; ret: the branch leads to a hop */
    {.name = "loops",
     .code = (const uint8_t[]){0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                               0x90, 0x90, 0xe8, 0x04, 0x00, 0x00, 0x00, 0x90, 0x75, 0xeb, 0xc3},
     .len_bytes = 22,
     .padding = (const uint8_t[]){0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc},
     .padding_bytes = 8},
};

/* It has left the function for a jump of ours, and there will be none: it goes where that leads. */
static void a_thread_at_a_jump_that_is_taken_away(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++)
        for (int on_stack = 0; on_stack < 3; on_stack++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            uint64_t addr[2];
            memory_os_add_image(program->os, EM_X86_64, UINT64_C(0x7f1010000000), "/test/hopping", hopping, 2,
                                addr);
            assert_int_equal(redefine_one(program, addr[which], 0), REDEFINE_OK);
            const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, addr[which]);
            uint64_t place = which ? addr[1] + 5 : rdf_redef_padding(redef);
            size_t thread = memory_os_add_thread(program->os, on_stack ? program->replacement[0] : place);
            /* Stack pointer, PC and flags of a signal frame; or just somebody's number. */
            if (on_stack) {
                memory_os_set_stack(program->os, thread, 2,
                                    on_stack == 1 ? program->os->thread[thread].sp : addr[which]);
                memory_os_set_stack(program->os, thread, 3, place);
                memory_os_set_stack(program->os, thread, 4, 0x246);
            }
            redefine_status status = restore_one(program, addr[which]);
            assert_int_equal(status, on_stack == 1 ? REDEFINE_EBUSY : REDEFINE_OK);
            if (!on_stack)
                assert_int_equal(program->os->thread[thread].pc,
                                 which ? rdf_redef_trampoline(redef) : rdf_redef_relay(redef));
            program_free(program);
        }
}

/* ---- stacks ---- */

static void a_stack_that_leads_into_the_bytes(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct seen plan = plan_of(&rdf_arch_x86_64, shape);
        uint64_t first = plan.edit;
        for (uint64_t value = first - 1; value <= plan.window_end; value++)
            for (size_t place = 0; place < 2; place++) {
                struct program *program = program_new(&rdf_arch_x86_64);
                (void)memory_os_add_thread(program->os, program->replacement[1]);
                size_t thread = memory_os_add_thread(program->os, program->replacement[0]);
                memory_os_set_stack(program->os, thread, place ? 512 / 8 - 1 : 0,
                                    value); /* the last or first word */
                bool is_inside = value > first &&
                                 value < (plan.branches_back ? plan.window_end : plan.edit_end);
                redefine_status status = redefine_one(program, program->target[shape], 0);
                assert_int_equal(status, is_inside ? REDEFINE_EBUSY : REDEFINE_OK);
                if (is_inside) {
                    char tid[32];
                    (void)snprintf(tid, sizeof tid, "thread %d ", MEMORY_FIRST_TID + 1);
                    assert_non_null(strstr(program->err.sentence, tid));
                    program_check_pristine(program);
                }
                program_free(program);
            }
    }
}

static void what_lies_below_the_stack_pointer_does_not_count(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    size_t thread = memory_os_add_thread(program->os, program->replacement[0]);
    memory_os_set_stack(program->os, thread, (size_t)-1, program->target[0] + 1);
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_OK);
    program_free(program);
}

/* As in a traced process: stacks are read, not looked at. */
static void stacks_are_searched_without_views(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program->os->no_views = true;
    size_t thread = memory_os_add_thread(program->os, program->replacement[0]);
    memory_os_set_stack(program->os, thread, 512 / 8 - 1, program->target[0] + 1);
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_EBUSY);
    memory_os_set_stack(program->os, thread, 512 / 8 - 1, 0);
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_OK);
    program_free(program);
}

static struct program *busy;

static void start_a_thread(struct memory_os *os)
{
    size_t thread = memory_os_add_thread(os, busy->replacement[0]);
    memory_os_set_stack(os, thread, 3, busy->target[0] + 1);
}

/* Its stack is in no list of mappings that the engine has. */
static void a_thread_that_was_started_meanwhile(void **state)
{
    (void)state;
    busy = program_new(&rdf_arch_x86_64);
    (void)memory_os_add_thread(busy->os, busy->replacement[1]);
    busy->os->before_stop = start_a_thread;
    assert_int_equal(redefine_one(busy, busy->target[0], 0), REDEFINE_EBUSY);
    assert_non_null(strstr(busy->err.sentence, "thread 1001 "));
    program_free(busy);
}

static void the_caller_that_will_return_into_the_bytes(void **state)
{
    (void)state;
    for (int others = 0; others < 2; others++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        size_t caller = memory_os_add_thread(program->os, program->replacement[0]);
        memory_os_set_stack(program->os, caller, 5, program->target[0] + 1);
        uint64_t caller_sp = program->os->thread[caller].sp;
        program->os->thread[0].sp += 6 * 8; /* somebody else, above */
        if (!others)
            program->os->thread_count = 0;
        struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                    .target = program->target[0],
                                    .replacement = program->replacement[0]};
        struct rdf_error err = {0};
        assert_int_equal(rdf_engine_commit(program->engine, &change, 1, caller_sp, &err), REDEFINE_EBUSY);
        assert_non_null(strstr(err.sentence, "this thread itself"));
        program_check_pristine(program);
        assert_int_equal(rdf_engine_commit(program->engine, &change, 1, caller_sp + 6 * 8, &err),
                         REDEFINE_OK);
        program_free(program);
    }
}

/* ---- waiting ---- */

static void leave_the_window(struct memory_os *os)
{
    os->thread[0].pc = busy->replacement[1];
}

static void a_thread_that_leaves_in_time(void **state)
{
    (void)state;
    busy = program_new(&rdf_arch_x86_64);
    (void)memory_os_add_thread(busy->os, busy->target[0] + 2);
    busy->os->between = leave_the_window;
    assert_int_equal(redefine_one(busy, busy->target[0], 0), REDEFINE_OK);
    assert_int_equal(program_runs(busy, busy->target[0]), busy->replacement[0]);
    assert_int_equal(busy->os->thread[0].pc, busy->replacement[1]);
    assert_int_equal(busy->engine->last_stop.blocking_tid, 0);
    program_free(busy);
}

/* ---- between planning and stopping ---- */

static uint64_t changed_addr;

static void change_a_byte(struct memory_os *os)
{
    *memory_os_at(os, changed_addr) ^= 1;
}

/* By somebody else: nothing is written over it, nor anywhere else. */
static void the_bytes_change_meanwhile(void **state)
{
    (void)state;
    for (int victim = 0; victim < SHAPES; victim++) {
        struct seen plan = plan_of(&rdf_arch_x86_64, victim);
        for (uint64_t off = 0; off < plan.edit_end - plan.edit; off++) {
            busy = program_new(&rdf_arch_x86_64);
            (void)memory_os_add_thread(busy->os, busy->replacement[0]);
            changed_addr = plan.edit + off;
            busy->os->before_stop = change_a_byte;
            struct batch batch = {.count = 0};
            for (int i = 0; i < SHAPES; i++)
                batch_redefine(busy, &batch, i, i, 0);
            assert_int_equal(program_commit(busy, &batch), REDEFINE_EBUSY);
            assert_non_null(strstr(busy->err.sentence, "someone else"));
            *memory_os_at(busy->os, changed_addr) ^= 1;
            program_check_pristine(busy);
            program_check(busy);
            program_free(busy);
        }
    }
}

/* ---- system calls that are going to be restarted ---- */

static const struct memory_function calling[] = {
    /* syscall; ret; and padding */
    {.name = "call_now",
     .code = (const uint8_t[]){0x0f, 0x05, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc},
     .len_bytes = 3,
     .padding = (const uint8_t[]){0xcc, 0xcc, 0xcc, 0xcc, 0xcc},
     .padding_bytes = 5},
    /* xor %edi,%edi; syscall; ret */
    {.name = "call_then",
     .code = (const uint8_t[]){0x31, 0xff, 0x0f, 0x05, 0xc3},
     .len_bytes = 5,
     .padding = (const uint8_t[]){0xcc, 0xcc, 0xcc},
     .padding_bytes = 3},
};

static void a_system_call_that_is_restarted(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++)
        for (int restart = 0; restart < 2; restart++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            uint64_t addr[2];
            memory_os_add_image(program->os, EM_X86_64, UINT64_C(0x7f1010000000), "/test/calling", calling, 2,
                                addr);
            uint64_t pc = addr[which] + (which ? 2 : 0);
            size_t thread = memory_os_add_thread(program->os, pc);
            program->os->thread[thread].restart_bytes = restart ? 2 : 0;
            redefine_status status = redefine_one(program, addr[which], 0);
            if (status != REDEFINE_OK)
                fail_msg("%s", program->err.sentence);
            uint64_t place = program->os->thread[thread].pc;
            /* At the entry and in no system call: about to make a new call. */
            if (which == 0 && !restart) {
                assert_int_equal(place, pc);
            } else {
                assert_int_not_equal(place, pc);
                assert_memory_equal(memory_os_at(program->os, place), "\x0f\x05", 2);
            }
            program_free(program);
        }
}

/* ---- moving fails ---- */

static void the_second_of_three_cannot_be_moved(void **state)
{
    (void)state;
    for (size_t failing = 1; failing <= 3; failing++)
        for (int lasting = 0; lasting < 2; lasting++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            for (int i = 0; i < 3; i++)
                (void)memory_os_add_thread(program->os, program->target[0] + 1);
            struct memory_snapshot *memory = program_take(program);
            struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                        .target = program->target[0],
                                        .replacement = program->replacement[0]};
            struct rdf_error err = {0};
            program->os->failure = (struct memory_failure){.at = failing,
                                                           .err = ESRCH,
                                                           .lasting = lasting,
                                                           .ops = 1u << MEMORY_SET_PC};
            redefine_status status = rdf_engine_commit(program->engine, &change, 1, 0, &err);
            const char *difference = memory_os_difference(program->os, memory);
            if (lasting && failing > 1) {
                /* Someone stays in the trampoline, which therefore stays too. */
                assert_int_equal(status, REDEFINE_EROLLBACK);
                assert_non_null(strstr(err.sentence, "COULD NOT BE PUT BACK"));
                assert_non_null(memory_os_at(program->os, program->os->thread[0].pc));
                assert_int_equal(program_runs(program, program->target[0]), program->target[0]);
            } else {
                assert_int_equal(status, REDEFINE_EBUSY);
                if (difference)
                    fail_msg("%s", difference);
                memory_os_reset(program->os);
                err = (struct rdf_error){0};
                assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &err), REDEFINE_OK);
                for (int i = 0; i < 3; i++)
                    assert_int_not_equal(program->os->thread[i].pc, program->target[0] + 1);
            }
            memory_snapshot_free(memory);
            program_free(program);
        }
}

static void hundreds_of_threads_are_moved(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    for (int i = 0; i < MEMORY_THREADS_MAX; i++)
        (void)memory_os_add_thread(program->os, program->target[0] + (i % 3 ? 1 : 4));
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_OK);
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
    for (int i = 0; i < MEMORY_THREADS_MAX; i++)
        assert_int_equal(program->os->thread[i].pc, rdf_redef_trampoline(redef) + (i % 3 ? 1 : 4));
    program_free(program);
}

/* The task that does the writing is killed in the middle: nobody knows what it has done. */
static void deny_the_next_stop(struct memory_os *os)
{
    os->denied[MEMORY_WORLD_STOPPED] = EPERM;
}

static void the_helper_is_killed(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    (void)memory_os_add_thread(program->os, program->replacement[0]);
    program->os->kill_helper = 1;
    program->os->before_stop = deny_the_next_stop;
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_EROLLBACK);
    assert_non_null(strstr(program->err.sentence, "COULD NOT BE PUT BACK"));
    /* Where the new bytes lead is still there. */
    struct rdf_insn insn;
    assert_true(rdf_arch_x86_64.decode((struct rdf_span){memory_os_at(program->os, program->target[0]), 8},
                                       program->target[0], &insn));
    assert_non_null(memory_os_at(program->os, insn.target));
    program_free(program);
}

/* Once: what it had written is put back, and the next attempt works. */
static void the_helper_is_killed_once(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    size_t thread = memory_os_add_thread(program->os, program->replacement[0]);
    uint8_t before[RDF_WINDOW_BYTES_MAX];
    memcpy(before, memory_os_at(program->os, program->target[0]), sizeof before);
    program->os->kill_helper = 1;
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_EBUSY);
    assert_non_null(strstr(program->err.sentence, "nothing is changed"));
    assert_memory_equal(before, memory_os_at(program->os, program->target[0]), sizeof before);
    assert_null(rdf_registry_find(&program->engine->registry, program->target[0]));
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_OK);
    /* The same for a restore: a thread that runs in what had come back already goes on in the trampoline. */
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
    struct rdf_pc_pair pcs[RDF_WINDOW_INSNS_MAX];
    assert_true(rdf_redef_pcs(redef, pcs) > 1);
    program->os->thread[thread].pc = redef->entry + pcs[1].old_off;
    program->os->kill_helper = 1;
    assert_int_equal(restore_one(program, program->target[0]), REDEFINE_EBUSY);
    assert_int_equal(program->os->thread[thread].pc, rdf_redef_trampoline(redef) + pcs[1].new_off);
    assert_int_equal(restore_one(program, program->target[0]), REDEFINE_OK);
    assert_memory_equal(before, memory_os_at(program->os, program->target[0]), sizeof before);
    program_free(program);
}

/* Between the short jump and the one in the padding, which a restore takes away. */
static void a_thread_in_the_padding(void **state)
{
    (void)state;
    size_t seen = 0;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        size_t thread = memory_os_add_thread(program->os, program->replacement[0]);
        assert_int_equal(redefine_one(program, program->target[shape], 0), REDEFINE_OK);
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[shape]);
        if (redef->strategy == RDF_STRATEGY_SHORT_JUMP) {
            seen++;
            program->os->thread[thread].pc = rdf_redef_padding(redef);
            assert_int_equal(restore_one(program, program->target[shape]), REDEFINE_OK);
            assert_int_equal(program->os->thread[thread].pc, rdf_redef_relay(redef));
        }
        program_free(program);
    }
    assert_true(seen > 0);
}

static void nobody_can_be_stopped(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    (void)memory_os_add_thread(program->os, program->replacement[0]);
    program->os->denied[MEMORY_WORLD_STOPPED] = EPERM;
    assert_int_equal(redefine_one(program, program->target[0], 0), REDEFINE_EDENIED);
    assert_non_null(strstr(program->err.sentence, "EPERM"));
    program_check_pristine(program);
    program_free(program);
}

/* ---- restoring ---- */

static void a_restore_moves_nobody(void **state)
{
    (void)state;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        assert_int_equal(redefine_one(program, program->target[shape], 0), REDEFINE_OK);
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[shape]);
        const struct seen seen = seen_of(redef);
        uint64_t pc[64];
        size_t count = 0;
        for (uint64_t at = seen.start; at <= seen.window_end && count < 20; at++)
            if (at <= seen.edit || at >= seen.edit_end)
                pc[count++] = at;
        pc[count++] = rdf_redef_relay(redef);
        for (uint64_t at = rdf_redef_trampoline(redef); at < rdf_redef_trampoline(redef) + 16; at++)
            pc[count++] = at;
        pc[count++] = program->replacement[0];
        for (size_t i = 0; i < count; i++) {
            size_t thread = memory_os_add_thread(program->os, pc[i]);
            memory_os_set_stack(program->os, thread, 1, seen.edit + 1);
        }
        if (restore_one(program, program->target[shape]) != REDEFINE_OK)
            fail_msg("shape %d: %s", shape, program->err.sentence);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(program->os->thread[i].pc, pc[i]);
        program_check_pristine(program);
        program_free(program);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_at_each_byte_of_the_window),
        cmocka_unit_test(a_thread_at_a_jump_that_is_taken_away),
        cmocka_unit_test(a_stack_that_leads_into_the_bytes),
        cmocka_unit_test(what_lies_below_the_stack_pointer_does_not_count),
        cmocka_unit_test(stacks_are_searched_without_views),
        cmocka_unit_test(a_thread_that_was_started_meanwhile),
        cmocka_unit_test(the_caller_that_will_return_into_the_bytes),
        cmocka_unit_test(a_thread_that_leaves_in_time),
        cmocka_unit_test(the_bytes_change_meanwhile),
        cmocka_unit_test(a_system_call_that_is_restarted),
        cmocka_unit_test(the_second_of_three_cannot_be_moved),
        cmocka_unit_test(hundreds_of_threads_are_moved),
        cmocka_unit_test(the_helper_is_killed),
        cmocka_unit_test(the_helper_is_killed_once),
        cmocka_unit_test(a_thread_in_the_padding),
        cmocka_unit_test(nobody_can_be_stopped),
        cmocka_unit_test(a_restore_moves_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
