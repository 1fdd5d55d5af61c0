/* SPDX-License-Identifier: MIT
 *
 * Several owners on one function, batches that touch a function more than once, code that comes and goes;
 * and long random histories. What each call must lead to is worked out by a model (support/program.h).
 */
#include "support/program.h"

#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

static void every_order(const struct rdf_arch *arch, bool no_views)
{
    for (size_t add = 0; add < 6; add++)
        for (size_t take = 0; take < 6; take++)
            for (int target = 0; target < 10; target++) {
                struct program *program = program_new(arch);
                program->os->no_views = no_views;
                for (int i = 0; i < 3; i++) {
                    program_redefine(program, target, 10 + i, order[add][i]);
                    program_check(program);
                    assert_int_equal(program_runs(program, program->target[target]),
                                     program->replacement[10 + i]);
                }
                for (int i = 0; i < 3; i++) {
                    program_restore(program, target, order[take][i]);
                    program_check(program);
                }
                assert_int_equal(program_runs(program, program->target[target]), program->target[target]);
                program_check_pristine(program);
                program_free(program);
            }
}

static void owners_come_and_go_in_any_order(void **state)
{
    (void)state;
    every_order(&rdf_arch_x86_64, false);
    every_order(&rdf_arch_aarch64, false);
}

/* As in a traced process: everything is read and written by calls. */
static void owners_come_and_go_without_views(void **state)
{
    (void)state;
    every_order(&rdf_arch_x86_64, true);
}

static void a_new_replacement_keeps_the_original(void **state)
{
    (void)state;
    for (int owner = 0; owner < 3; owner++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        for (int i = 0; i < 3; i++)
            program_redefine(program, 0, i, i);
        void (*before)(void) = program->original[0][owner];
        memory_os_reset(program->os);
        program_redefine(program, 0, 20, owner);
        program_check(program);
        assert_ptr_equal((void *)(uintptr_t)program->original[0][owner], (void *)(uintptr_t)before);
        /* A change of data: no code is written and nobody is stopped. */
        assert_int_equal(program->os->op_count[MEMORY_WORLD_STOPPED] +
                             program->os->op_count[MEMORY_SIGNALS_HELD],
                         0);
        for (int i = 0; i < RDF_WRITE_METHODS; i++)
            assert_int_equal(program->os->op_count[MEMORY_WRITE + i], 0);
        program_free(program);
    }
}

/* ---- one function more than once in a batch ---- */

enum step { REDEFINE, AGAIN, OTHER_OWNER, RESTORE, RESTORE_OTHER, STEPS };

static void add_step(struct program *program, struct batch *batch, int step)
{
    switch ((enum step)step) {
    case REDEFINE: batch_redefine(program, batch, 0, 1, 0); break;
    case AGAIN: batch_redefine(program, batch, 0, 2, 0); break;
    case OTHER_OWNER: batch_redefine(program, batch, 0, 3, 1); break;
    case RESTORE: batch_restore(program, batch, 0, 0); break;
    default: batch_restore(program, batch, 0, 1); break;
    }
}

/* Every three steps in one batch, on a function that is new, known but restored, or redefined. */
static void steps_of_a_batch_follow_one_another(void **state)
{
    (void)state;
    for (int before = 0; before < 3; before++)
        for (int i = 0; i < STEPS * STEPS * STEPS; i++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            if (before)
                program_redefine(program, 0, 7, 0);
            if (before == 1)
                program_restore(program, 0, 0);
            struct batch batch = {.count = 0};
            add_step(program, &batch, i % STEPS);
            add_step(program, &batch, i / STEPS % STEPS);
            add_step(program, &batch, i / STEPS / STEPS);
            if (program_commit(program, &batch) != REDEFINE_OK)
                fail_msg("before %d, steps %d: %s", before, i, program->err.sentence);
            program_check(program);
            program_free(program);
        }
}

static uint64_t bad_target(const struct program *program, int kind)
{
    switch (kind) {
    case 0: return program->target[0] + 1;   /* inside an instruction */
    case 1: return UINT64_C(0x7f1000000000); /* data: the image's tables */
    case 2: return UINT64_C(0x123456789000); /* not mapped */
    default: return program->replacement[0]; /* becomes its own replacement */
    }
}

static void one_bad_member_spoils_the_batch(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (size_t at = 0; at < 5; at++)
            for (int bad_replacement = 0; bad_replacement < 2; bad_replacement++) {
                struct program *program = program_new(&rdf_arch_x86_64);
                program_redefine(program, 1, 1, 0);
                struct batch batch = {.count = 0};
                for (int i = 0; i < 5; i++)
                    if (i == 1)
                        batch_restore(program, &batch, i, 0);
                    else
                        batch_redefine(program, &batch, i, i, 0);
                if (batch.change[at].kind == RDF_CHANGE_RESTORE) {
                    program_free(program);
                    continue;
                }
                if (bad_replacement && kind != 0)
                    batch.change[at].replacement = kind == 3 ? batch.change[at].target
                                                             : bad_target(program, kind);
                else
                    batch.change[at].target = kind == 3 ? batch.change[at].replacement
                                                        : bad_target(program, kind);
                struct memory_snapshot *memory = program_take(program);
                char *engine = program_describe(program);
                assert_int_equal(program_commit(program, &batch), REDEFINE_EINVAL);
                assert_true(strlen(program->err.sentence) > 20);
                char *after = program_describe(program);
                assert_string_equal(after, engine);
                const char *difference = memory_os_difference(program->os, memory);
                if (difference)
                    fail_msg("%s", difference);
                program_check(program);
                memory_snapshot_free(memory);
                free(engine);
                free(after);
                program_free(program);
            }
}

/* ---- aliases ---- */

static void an_alias_stands_for_its_function(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    struct rdf_error err = {0};
    program->os->resolver_answer = program->target[5];
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = program->alias[0],
                                .replacement = program->replacement[0]};
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &err), REDEFINE_OK);
    assert_int_equal(program_runs(program, program->target[5]), program->replacement[0]);
    assert_int_equal(program_runs(program, program->alias[0]), program->alias[0]);
    struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[5]);
    assert_non_null(redef);
    assert_ptr_equal(rdf_registry_find(&program->engine->registry, program->alias[0]), redef);
    /* An alias that was never used is looked up as well. */
    assert_null(rdf_registry_find(&program->engine->registry, program->alias[1]));
    assert_ptr_equal(rdf_engine_find(program->engine, program->alias[1]), redef);
    assert_null(rdf_engine_find(program->engine, program->target[6]));
    /* The same function by two names in one batch: one layer. */
    struct rdf_change both[2] = {change, change};
    both[0].target = program->alias[1];
    both[1].target = program->target[5];
    both[1].replacement = program->replacement[9];
    assert_int_equal(rdf_engine_commit(program->engine, both, 2, 0, &err), REDEFINE_OK);
    assert_int_equal(program_runs(program, program->target[5]), program->replacement[9]);
    assert_true(redef->has_layer);
    assert_null(redef->list);
    change.kind = RDF_CHANGE_RESTORE;
    change.target = program->alias[2];
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &err), REDEFINE_OK);
    assert_int_equal(program_runs(program, program->target[5]), program->target[5]);
    program_check_pristine(program);
    program_free(program);
}

/* ---- code that comes and goes ---- */

static redefine_status change_one(struct program *program, enum rdf_change_kind kind, uint64_t target,
                                  uint64_t replacement)
{
    struct rdf_change change = {.kind = kind, .target = target, .replacement = replacement};
    program->err = (struct rdf_error){0};
    return rdf_engine_commit(program->engine, &change, 1, 0, &program->err);
}

static void assert_ok(const struct program *program, redefine_status status)
{
    if (status != REDEFINE_OK)
        fail_msg("%s", program->err.sentence);
    if (program->os->fault[0])
        fail_msg("%s", program->os->fault);
}

static const struct memory_function plugin_function[] = {
    {.name = "plugin_a", .code = (const uint8_t[]){0xb8, 1, 0, 0, 0, 0xc3, 0xcc, 0xcc}, .len_bytes = 8},
    {.name = "plugin_b", .code = (const uint8_t[]){0xb8, 2, 0, 0, 0, 0xc3, 0xcc, 0xcc}, .len_bytes = 8},
};
static const struct memory_function other_function[] = {
    {.name = "other_a",
     .code = (const uint8_t[]){0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0xc3, 0xcc},
     .len_bytes = 8},
    {.name = "other_b", .code = (const uint8_t[]){0xb8, 2, 0, 0, 0, 0xc3, 0xcc, 0xcc}, .len_bytes = 8},
};

static const uint64_t plugin_base = UINT64_C(0x7f1010000000);

static void load_plugin(struct program *program, const struct memory_function *function, uint64_t *ret)
{
    memory_os_add_image(program->os, EM_X86_64, plugin_base, "/test/plugin", function, 2, ret);
}

static void unload_plugin(struct program *program)
{
    memory_os_remove_region(program->os, plugin_base);
}

/* Loaded anew at the same place: what was redefined is original code again. */
static void code_that_was_loaded_anew_can_be_redefined(void **state)
{
    (void)state;
    for (int restored_before = 0; restored_before < 2; restored_before++)
        for (int other = 0; other < 2; other++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            uint64_t addr[2];
            load_plugin(program, plugin_function, addr);
            assert_ok(program, change_one(program, RDF_CHANGE_REDEFINE, addr[0], program->replacement[0]));
            assert_int_equal(program_runs(program, addr[0]), program->replacement[0]);
            if (restored_before)
                assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[0], 0));
            unload_plugin(program);
            load_plugin(program, other ? other_function : plugin_function, addr);
            redefine_status status = change_one(program, RDF_CHANGE_REDEFINE, addr[0],
                                                program->replacement[1]);
            assert_ok(program, status);
            assert_int_equal(program_runs(program, addr[0]), program->replacement[1]);
            const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, addr[0]);
            assert_memory_equal(memory_os_at(program->os, rdf_redef_trampoline(redef)),
                                other ? "\x31\xc0" : "\xb8\x01", 2);
            assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[0], 0));
            assert_memory_equal(memory_os_at(program->os, addr[0]),
                                (other ? other_function : plugin_function)[0].code, 8);
            program_free(program);
        }
}

/* Where an alias was, another object has a function now: that one is meant. */
static void an_alias_whose_object_was_exchanged(void **state)
{
    (void)state;
    const struct memory_function choosing = {.name = "choosing",
                                             .code = (const uint8_t[]){0xb8, 1, 0, 0, 0, 0xc3},
                                             .len_bytes = 6,
                                             .is_ifunc = true};
    for (int restored = 0; restored < 2; restored++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        uint64_t addr[2];
        memory_os_add_image(program->os, EM_X86_64, plugin_base, "/test/choosing", &choosing, 1, addr);
        program->os->resolver_answer = program->target[5];
        assert_ok(program, change_one(program, RDF_CHANGE_REDEFINE, addr[0], program->replacement[0]));
        assert_int_equal(program_runs(program, program->target[5]), program->replacement[0]);
        if (restored)
            assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[0], 0));
        unload_plugin(program);
        uint64_t expected = restored ? program->target[5] : program->replacement[0];
        assert_int_equal(program_runs(program, program->target[5]), expected);
        load_plugin(program, plugin_function, addr);
        assert_ok(program, change_one(program, RDF_CHANGE_REDEFINE, addr[0], program->replacement[1]));
        assert_int_equal(program_runs(program, addr[0]), program->replacement[1]);
        assert_int_equal(program_runs(program, program->target[5]), expected);
        assert_int_equal(program->engine->registry.count, 2);
        assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[0], 0));
        assert_int_equal(program_runs(program, addr[0]), addr[0]);
        assert_int_equal(program_runs(program, program->target[5]), expected);
        program_free(program);
    }
}

static void code_that_has_gone_can_be_restored(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    uint64_t addr[2];
    load_plugin(program, plugin_function, addr);
    assert_ok(program, change_one(program, RDF_CHANGE_REDEFINE, addr[0], program->replacement[0]));
    program_redefine(program, 0, 0, 0);
    unload_plugin(program);
    assert_int_equal(change_one(program, RDF_CHANGE_REDEFINE, addr[0], program->replacement[1]),
                     REDEFINE_EINVAL);
    /* Together with one that is still there, as redefine_restore_all does. */
    struct rdf_change both[2] = {{.kind = RDF_CHANGE_RESTORE, .target = addr[0]},
                                 {.kind = RDF_CHANGE_RESTORE, .target = program->target[0]}};
    assert_ok(program, rdf_engine_commit(program->engine, both, 2, 0, &program->err));
    program_check_pristine(program);
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, addr[0]);
    assert_true(!redef || !redef->is_active);
    program_free(program);
}

static void bytes_of_a_second_patcher_are_not_touched(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program_redefine(program, 2, 0, 0);
    memory_os_at(program->os, program->target[2])[1] ^= 0x40;
    struct memory_snapshot *memory = program_take(program);
    for (int kind = 0; kind < 2; kind++) {
        assert_int_equal(change_one(program, kind ? RDF_CHANGE_RESTORE : RDF_CHANGE_REDEFINE,
                                    program->target[2], program->replacement[1]),
                         REDEFINE_EBUSY);
        assert_null(memory_os_difference(program->os, memory));
    }
    memory_snapshot_free(memory);
    program_free(program);
}

/* ---- short jumps share padding ---- */

/* Two functions of three bytes, and one place for an entry jump in reach of both. */
static const uint8_t far_away[140] = {[0 ... 138] = 0x90, [139] = 0xc3};
static const struct memory_function crowd[] = {
    {.name = "far_1", .code = far_away, .len_bytes = 140},
    {.name = "one", .code = (const uint8_t[]){0x31, 0xc0, 0xc3}, .len_bytes = 3},
    {.name = "two", .code = (const uint8_t[]){0x31, 0xc9, 0xc3}, .len_bytes = 3},
    {.name = "middle",
     .code = (const uint8_t[]){0xb8, 1, 0, 0, 0, 0xc3},
     .len_bytes = 6,
     .padding = (const uint8_t[]){0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc},
     .padding_bytes = 6},
    {.name = "far_2", .code = far_away, .len_bytes = 140},
};

static void two_short_functions_do_not_share_padding(void **state)
{
    (void)state;
    for (int in_one_batch = 0; in_one_batch < 2; in_one_batch++)
        for (int between = 0; between < 2; between++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            uint64_t addr[5];
            memory_os_add_image(program->os, EM_X86_64, plugin_base, "/test/crowd", crowd, 5, addr);
            const uint8_t *code = memory_os_at(program->os, addr[0]);
            size_t code_bytes = addr[4] + 140 - addr[0];
            uint8_t *before = malloc(code_bytes);
            memcpy(before, code, code_bytes);
            struct rdf_change change[2] = {
                {.kind = RDF_CHANGE_REDEFINE, .target = addr[1], .replacement = program->replacement[1]},
                {.kind = RDF_CHANGE_REDEFINE, .target = addr[2], .replacement = program->replacement[2]}};
            if (in_one_batch) {
                assert_ok(program, rdf_engine_commit(program->engine, change, 2, 0, &program->err));
            } else {
                assert_ok(program, rdf_engine_commit(program->engine, &change[0], 1, 0, &program->err));
                if (between) /* restored meanwhile: the padding is free, and may not be given away */
                    assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[1], 0));
                assert_ok(program, rdf_engine_commit(program->engine, &change[1], 1, 0, &program->err));
                if (between)
                    assert_ok(program, rdf_engine_commit(program->engine, &change[0], 1, 0, &program->err));
            }
            assert_int_equal(program_runs(program, addr[1]), program->replacement[1]);
            assert_int_equal(program_runs(program, addr[2]), program->replacement[2]);
            assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[1], 0));
            assert_ok(program, change_one(program, RDF_CHANGE_RESTORE, addr[2], 0));
            assert_memory_equal(code, before, code_bytes);
            free(before);
            program_free(program);
        }
}

/* ---- long histories ---- */

static uint32_t random_state;

static uint32_t roll(uint32_t sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

static void random_batch(struct program *program, struct batch *batch)
{
    for (uint32_t i = 1 + roll(12); i > 0; i--) {
        int target = (int)roll(PROGRAM_TARGETS);
        int owner = (int)roll(PROGRAM_OWNERS);
        if (roll(3))
            batch_redefine(program, batch, target, (int)roll(PROGRAM_REPLACEMENTS), owner);
        else
            batch_restore(program, batch, target, owner);
    }
}

static void random_history(const struct rdf_arch *arch, uint32_t seed)
{
    struct program *program = program_new(arch);
    random_state = seed;
    for (size_t i = seed % 3; i > 0; i--)
        (void)memory_os_add_thread(program->os, program->replacement[i]);
    if (seed % 5 == 0)
        program->os->denied[MEMORY_WRITE + RDF_WRITE_SELF_MEM] = EPERM;
    for (int step = 0; step < 60; step++) {
        struct batch batch = {.count = 0};
        random_batch(program, &batch);
        memory_os_reset(program->os);
        if (roll(3) == 0)
            program->os->failure = (struct memory_failure){.at = 1 + roll(60), .err = EIO};
        redefine_status status = program_commit(program, &batch);
        if (status != REDEFINE_OK && !program->os->failed)
            fail_msg("seed %u, step %d: %s", seed, step, program->err.sentence);
        assert_int_not_equal(status, REDEFINE_EROLLBACK);
        program_check(program);
    }
    struct batch off = {.count = 0};
    batch_restore_everything(program, &off);
    memory_os_reset(program->os);
    assert_int_equal(program_commit(program, &off), REDEFINE_OK);
    program_check(program);
    program_check_pristine(program);
    program_free(program);
}

static void random_histories(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        random_history(&rdf_arch_x86_64, seed);
        random_history(&rdf_arch_aarch64, seed);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_come_and_go_in_any_order),
        cmocka_unit_test(owners_come_and_go_without_views),
        cmocka_unit_test(a_new_replacement_keeps_the_original),
        cmocka_unit_test(steps_of_a_batch_follow_one_another),
        cmocka_unit_test(one_bad_member_spoils_the_batch),
        cmocka_unit_test(an_alias_stands_for_its_function),
        cmocka_unit_test(code_that_was_loaded_anew_can_be_redefined),
        cmocka_unit_test(an_alias_whose_object_was_exchanged),
        cmocka_unit_test(code_that_has_gone_can_be_restored),
        cmocka_unit_test(bytes_of_a_second_patcher_are_not_touched),
        cmocka_unit_test(two_short_functions_do_not_share_padding),
        cmocka_unit_test(random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
