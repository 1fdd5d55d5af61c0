/* SPDX-License-Identifier: MIT
 *
 * Redefinitions for one thread, as far as a commit makes them: one layer on top, which comes off without a
 * trace, all or nothing whatever fails. (What threads get is for tests/live/for_thread.c.)
 */
#define RDF_ARENA_CHUNK_BYTES 1
#include "base/arena.c"

#include "support/program.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SELECTED = 3 };

/* A function that is redefined, one that a patch file redefined, and one that is neither. */
static struct program *new_program(const struct rdf_arch *arch)
{
    struct program *program = program_new_forgetful(arch);
    program->engine->thread_word.off = 0x10;
    program_redefine(program, 0, 0, 0);
    program_redefine(program, 1, 1, 2);
    memory_os_reset(program->os);
    return program;
}

static redefine_status change_all(struct program *program, enum rdf_change_kind kind)
{
    struct rdf_change change[SELECTED];
    for (int i = 0; i < SELECTED; i++)
        change[i] = (struct rdf_change){.kind = kind,
                                        .target = program->target[i],
                                        .replacement = kind == RDF_CHANGE_SELECT ? program->replacement[5]
                                                                                 : 0,
                                        .owner = &rdf_threads};
    program->err = (struct rdf_error){0};
    return rdf_engine_commit(program->engine, change, SELECTED, 0, &program->err);
}

/* Each goes to code of its own, which goes on to what was there before. */
static void check_selected(struct program *program)
{
    for (int i = 0; i < SELECTED; i++) {
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[i]);
        const struct rdf_selector *selector = rdf_registry_selector(&program->engine->registry,
                                                                    program->target[i]);
        assert_non_null(selector);
        assert_non_null(redef);
        program->model[i].trampoline = rdf_redef_trampoline(redef); /* from now on it has one */
        assert_int_equal(program_runs(program, program->target[i]), selector->code_addr);
        assert_ptr_equal(redef->list->owner, &rdf_threads);
        assert_int_equal(memory_os_word(program->os, selector->cell_addr),
                         i < 2 ? program->replacement[i] : rdf_redef_trampoline(redef));
        /* What a thread's replacement asks for: below what is redefined for all, above a patch file's. */
        assert_int_equal(redef->asked_original,
                         i == 1 ? program->replacement[1] : rdf_redef_trampoline(redef));
    }
}

static void it_comes_off_without_a_trace(void **state)
{
    (void)state;
    struct program *program = new_program(&rdf_arch_x86_64);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(change_all(program, RDF_CHANGE_SELECT), REDEFINE_OK);
        check_selected(program);
        /* A layer that comes later lies below it. */
        program_redefine(program, 0, 7 + round, 0);
        const struct rdf_selector *selector = rdf_registry_selector(&program->engine->registry,
                                                                    program->target[0]);
        assert_int_equal(program_runs(program, program->target[0]), selector->code_addr);
        assert_int_equal(memory_os_word(program->os, selector->cell_addr), program->replacement[7 + round]);
        program_redefine(program, 0, 0, 0);
        assert_int_equal(selector->index, 0);
        assert_int_equal(change_all(program, RDF_CHANGE_RESTORE), REDEFINE_OK);
        program_check(program);
    }
    program_free(program);
}

static bool try_failure(size_t at, int err, bool of_pages)
{
    struct program *program = new_program(&rdf_arch_x86_64);
    struct memory_snapshot *memory = program_take(program);
    char *engine = program_describe(program);
    struct memory_failure failure = {.at = at, .err = err};
    *(of_pages ? &program->os->page_failure : &program->os->failure) = failure;
    redefine_status status = change_all(program, RDF_CHANGE_SELECT);
    bool happened = of_pages ? program->os->page_failed : program->os->failed;
    if (status != REDEFINE_OK) {
        char *after = program_describe(program);
        assert_true(happened);
        assert_true(strlen(program->err.sentence) > 20);
        assert_null(memory_os_difference(program->os, memory));
        assert_string_equal(after, engine);
        program_check(program);
        free(after);
        memory_os_reset(program->os);
        assert_int_equal(change_all(program, RDF_CHANGE_SELECT), REDEFINE_OK);
    }
    check_selected(program);
    memory_os_reset(program->os);
    assert_int_equal(change_all(program, RDF_CHANGE_RESTORE), REDEFINE_OK);
    program_check(program);
    memory_snapshot_free(memory);
    free(engine);
    program_free(program);
    return happened;
}

static void whatever_fails_nothing_changes(void **state)
{
    (void)state;
    size_t tried = 0;
    for (int of_pages = 0; of_pages < 2; of_pages++)
        for (size_t at = 1; try_failure(at, at % 2 ? EPERM : ENOMEM, of_pages); at++)
            tried++;
    assert_true(tried > 30);
}

static void a_wrong_replacement_is_refused(void **state)
{
    (void)state;
    struct program *program = new_program(&rdf_arch_x86_64);
    struct rdf_change change = {.kind = RDF_CHANGE_SELECT,
                                .target = program->target[4],
                                .replacement = program->target[4],
                                .owner = &rdf_threads};
    char *engine = program_describe(program);
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_EINVAL);
    change.replacement = 0x1000;
    assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_EINVAL);
    char *after = program_describe(program);
    assert_string_equal(after, engine);
    free(engine);
    free(after);
    program_free(program);
}

/* A room that cannot reach the word says so. */
static void a_word_out_of_reach_is_refused(void **state)
{
    (void)state;
    struct program *program = new_program(&rdf_arch_aarch64);
    program->engine->thread_word.off = -8;
    char *engine = program_describe(program);
    assert_int_equal(change_all(program, RDF_CHANGE_SELECT), REDEFINE_EUNSUPPORTED);
    char *after = program_describe(program);
    assert_string_equal(after, engine);
    free(engine);
    free(after);
    program->engine->thread_word.off = 16;
    assert_int_equal(change_all(program, RDF_CHANGE_SELECT), REDEFINE_OK);
    program_free(program);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_off_without_a_trace),
        cmocka_unit_test(whatever_fails_nothing_changes),
        cmocka_unit_test(a_wrong_replacement_is_refused),
        cmocka_unit_test(a_word_out_of_reach_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
