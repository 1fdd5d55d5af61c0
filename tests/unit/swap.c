/* SPDX-License-Identifier: MIT
 *
 * When a replacement may be exchanged by one store, and when it must go the long way.
 */
#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As the in-process calls do it. */
static void redefine_plainly(struct program *program, int target, int replacement)
{
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = program->target[target],
                                .replacement = program->replacement[replacement]};
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_OK);
}

/* Twice, so that the jump leads to the relay. That its objects stay, which only a loader's list tells, is
 * said here. */
static struct program *program_with_data(int target)
{
    struct program *program = program_new(&rdf_arch_x86_64);
    redefine_plainly(program, target, 0);
    redefine_plainly(program, target, 2);
    rdf_registry_find(&program->engine->registry, program->target[target])->asked = RDF_ASKED_SLOT;
    for (int i = 0; i < 4; i++)
        rdf_engine_know(program->engine, program->replacement[i], 16);
    return program;
}

static bool swap(struct program *program, int target, int replacement)
{
    return rdf_engine_swap(program->engine, program->target[target], program->replacement[replacement]);
}

static uint64_t in_force(struct program *program, int target)
{
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[target]);
    return rdf_engine_replacement(program->engine, redef);
}

static void what_is_known_is_exchanged(void **state)
{
    (void)state;
    struct program *program = program_with_data(0);
    memory_os_reset(program->os);
    for (int i = 0; i < 3; i++) {
        assert_true(swap(program, 0, 2 * (i % 2)));
        assert_int_equal(in_force(program, 0), program->replacement[2 * (i % 2)]);
        assert_int_equal(program_runs(program, program->target[0]), program->replacement[2 * (i % 2)]);
    }
    for (size_t op = 0; op < MEMORY_OPS; op++)
        assert_int_equal(program->os->op_count[op], 0);
    /* A commit finds what was stored, and a restore takes it off. */
    struct rdf_change off = {.kind = RDF_CHANGE_RESTORE, .target = program->target[0]};
    assert_int_equal(rdf_engine_commit(program->engine, &off, 1, 0, &program->err), REDEFINE_OK);
    assert_int_equal(in_force(program, 0), 0);
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
    assert_int_equal(redef->replacement,
                     program->replacement[0]); /* the last one, for whoever is late in it */
    program_check_pristine(program);
    program_free(program);
}

static void a_patch_on_top_keeps_what_was_stored(void **state)
{
    (void)state;
    struct program *program = program_with_data(0);
    assert_true(swap(program, 0, 0));
    static void (*below)(void);
    struct rdf_change change = {.kind = RDF_CHANGE_REDEFINE,
                                .target = program->target[0],
                                .replacement = program->replacement[6],
                                .owner = &below,
                                .original = &below};
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_OK);
    assert_int_equal((uintptr_t)below, program->replacement[0]);
    assert_false(swap(program, 0, 2)); /* the slot is the patch's now */
    assert_int_equal(program_runs(program, program->target[0]), program->replacement[6]);
    assert_int_equal(in_force(program, 0), program->replacement[0]);
    program_free(program);
}

static void the_rest_goes_the_long_way(void **state)
{
    (void)state;
    struct program *program = program_with_data(0);
    assert_false(swap(program, 1, 0)); /* not redefined */
    redefine_plainly(program, 1, 0);
    assert_false(swap(program, 1, 2)); /* its jump leads straight to the replacement */
    assert_false(swap(program, 0, 9)); /* nobody has looked at that one */
    assert_false(rdf_engine_swap(program->engine, program->target[0], program->target[0]));
    program->engine->commits |= 1; /* a commit is under way */
    assert_false(swap(program, 0, 0));
    assert_int_equal(in_force(program, 0), program->replacement[2]);
    program_free(program);
}

/* A child of fork has the count as it was in the middle of another thread's commit. */
static void a_count_that_was_left_odd(void **state)
{
    (void)state;
    struct program *program = program_with_data(0);
    program->engine->commits |= 1;
    assert_false(swap(program, 0, 0));
    redefine_plainly(program, 1, 1);
    assert_int_equal(program->engine->commits % 2, 0);
    assert_true(swap(program, 0, 0));
    program_free(program);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_is_exchanged),
        cmocka_unit_test(a_patch_on_top_keeps_what_was_stored),
        cmocka_unit_test(the_rest_goes_the_long_way),
        cmocka_unit_test(a_count_that_was_left_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
