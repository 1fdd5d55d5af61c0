/* SPDX-License-Identifier: MIT
 *
 * Protections: no page writable and executable at once, each page as it was afterwards; and which way of
 * writing is taken. (That protections are put back after failures too is commit.c's.)
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

enum { PAGE = 4096 };

enum { R = RDF_PROT_READ, W = RDF_PROT_WRITE, X = RDF_PROT_EXEC };

static redefine_status change(struct program *program, enum rdf_change_kind kind, uint64_t target)
{
    struct rdf_change one = {.kind = kind, .target = target, .replacement = program->replacement[0]};
    program->err = (struct rdf_error){0};
    memory_os_reset(program->os);
    return rdf_engine_commit(program->engine, &one, 1, 0, &program->err);
}

static void assert_done(const struct program *program, redefine_status status)
{
    if (status != REDEFINE_OK || program->os->fault[0]) {
        memory_os_print(program->os);
        fail_msg("%s %s", program->err.sentence, program->os->fault);
    }
}

static void deny(struct program *program, unsigned methods)
{
    for (int i = 0; i < RDF_WRITE_METHODS; i++)
        if (methods & 1u << i)
            program->os->denied[MEMORY_WRITE + i] = EPERM;
}

static uint8_t prot_of(const struct program *program, uint64_t addr)
{
    for (size_t i = 0; i < program->os->region_count; i++) {
        const struct memory_region *region = &program->os->region[i];
        if (addr >= region->start && addr < region->end)
            return region->prot[(addr - region->start) / PAGE];
    }
    return 0xff;
}

enum { ALL_BUT_PROTECT = ((1u << RDF_WRITE_METHODS) - 1) & ~(1u << RDF_WRITE_PROTECT) };

/* ---- recorded protections ---- */

static void each_recorded_protection_comes_back(void **state)
{
    (void)state;
    const uint8_t recorded[] = {R | X, R | W | X};
    for (size_t i = 0; i < 2; i++)
        for (int threads = 0; threads < 2; threads++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            deny(program, ALL_BUT_PROTECT);
            if (threads)
                (void)memory_os_add_thread(program->os, program->replacement[1]);
            memory_os_own_protect(program->os, program->target[0], 1, recorded[i]);
            assert_done(program, change(program, RDF_CHANGE_REDEFINE, program->target[0]));
            assert_int_equal(program_runs(program, program->target[0]), program->replacement[0]);
            assert_int_equal(prot_of(program, program->target[0]), recorded[i]);
            /* The program changes it while the function is redefined: that is what comes back now. */
            memory_os_own_protect(program->os, program->target[0], 1, recorded[1 - i]);
            assert_done(program, change(program, RDF_CHANGE_RESTORE, program->target[0]));
            assert_int_equal(prot_of(program, program->target[0]), recorded[1 - i]);
            memory_os_own_protect(program->os, program->target[0], 1, R | X);
            program_check_pristine(program);
            program_free(program);
        }
}

static void code_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    memory_os_own_protect(program->os, program->target[0], 1, X);
    assert_int_equal(change(program, RDF_CHANGE_REDEFINE, program->target[0]), REDEFINE_EUNSUPPORTED);
    assert_non_null(strstr(program->err.sentence, "executed but not read"));
    assert_int_equal(prot_of(program, program->target[0]), X);
    assert_string_equal(program->os->fault, "");
    program_free(program);
}

/* The entry jump begins on one page and ends on the next, which have protections of their own. */
static void a_jump_over_two_pages(void **state)
{
    (void)state;
    static const uint8_t filler[PAGE] = {[0 ... PAGE - 1] = 0xcc};
    const uint8_t recorded[] = {R | X, R | W | X};
    for (size_t tail = 1; tail < 5; tail++)
        for (size_t i = 0; i < 4; i++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            deny(program, ALL_BUT_PROTECT);
            const struct memory_function function[] = {
                {.name = "before",
                 .code = (const uint8_t[]){0xc3},
                 .len_bytes = 1,
                 .padding = filler,
                 .padding_bytes = PAGE - 1 - tail},
                {.name = "over", .code = (const uint8_t[]){0xb8, 1, 0, 0, 0, 0xc3}, .len_bytes = 6},
            };
            uint64_t addr[2];
            memory_os_add_image(program->os, EM_X86_64, UINT64_C(0x7f1010000000), "/test/over", function, 2,
                                addr);
            assert_int_equal((addr[1] + tail) % PAGE, 0);
            memory_os_own_protect(program->os, addr[1], 1, recorded[i % 2]);
            memory_os_own_protect(program->os, addr[1] + 5, 1, recorded[i / 2]);
            assert_done(program, change(program, RDF_CHANGE_REDEFINE, addr[1]));
            assert_int_equal(program_runs(program, addr[1]), program->replacement[0]);
            assert_int_equal(prot_of(program, addr[1]), recorded[i % 2]);
            assert_int_equal(prot_of(program, addr[1] + 5), recorded[i / 2]);
            assert_done(program, change(program, RDF_CHANGE_RESTORE, addr[1]));
            assert_memory_equal(memory_os_at(program->os, addr[1]), function[1].code, 6);
            /* Each change of protection fails once: the other page comes back as well. */
            for (size_t at = 1;; at++) {
                memory_os_reset(program->os);
                program->os->failure = (struct memory_failure){.at = at,
                                                               .err = EPERM,
                                                               .ops = 1u << MEMORY_PROTECT};
                struct rdf_change one = {.kind = RDF_CHANGE_REDEFINE,
                                         .target = addr[1],
                                         .replacement = program->replacement[0]};
                redefine_status status = rdf_engine_commit(program->engine, &one, 1, 0, NULL);
                /* Alone, it is tried once more with the help of a tracer. */
                assert_true(status == REDEFINE_OK || (status == REDEFINE_EDENIED && program->os->failed));
                assert_int_equal(prot_of(program, addr[1]), recorded[i % 2]);
                assert_int_equal(prot_of(program, addr[1] + 5), recorded[i / 2]);
                assert_string_equal(program->os->fault, "");
                if (!program->os->failed)
                    break;
                if (status == REDEFINE_OK)
                    assert_int_equal(change(program, RDF_CHANGE_RESTORE, addr[1]), REDEFINE_OK);
                assert_memory_equal(memory_os_at(program->os, addr[1]), function[1].code, 6);
            }
            program_free(program);
        }
}

/* The page that is written to holds the engine, which must go on running: the one case of a page that is
 * writable and executable. */
static void the_engines_own_object(void **state)
{
    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        deny(program, ALL_BUT_PROTECT);
        const struct memory_function function[] = {
            {.name = "near_engine", .code = (const uint8_t[]){0xb8, 1, 0, 0, 0, 0xc3}, .len_bytes = 6}};
        /* Tables take the first page, code the second: where rdf_write_apply is in this process. */
        uint64_t base = (uint64_t)(uintptr_t)&rdf_write_apply / PAGE * PAGE - PAGE;
        uint64_t addr;
        memory_os_add_image(program->os, EM_X86_64, base, "/test/engine", function, 1, &addr);
        program->os->may_be_wx = !alone;
        redefine_status status = change(program, RDF_CHANGE_REDEFINE, addr);
        assert_int_equal(status, REDEFINE_OK);
        /* memory_os notices: so the other tests would, were it done elsewhere. */
        assert_int_equal(strstr(program->os->fault, "writable and executable") != NULL, alone);
        assert_int_equal(prot_of(program, addr), R | X);
        bool was_wx = false;
        for (size_t i = 0; i < program->os->call_count; i++)
            was_wx |= program->os->call[i].op == MEMORY_PROTECT && program->os->call[i].detail == (R | W | X);
        assert_true(was_wx);
        program_free(program);
    }
}

/* ---- which way ---- */

struct way {
    unsigned denied;
    bool threads;
    enum rdf_write_method expected;
};

static const struct way way[] = {
    {0, true, RDF_WRITE_TRACER_MEM},
    {1u << RDF_WRITE_TRACER_MEM, true, RDF_WRITE_TRACER_POKE},
    {1u << RDF_WRITE_TRACER_MEM | 1u << RDF_WRITE_TRACER_POKE, true, RDF_WRITE_SELF_MEM},
    {ALL_BUT_PROTECT, true, RDF_WRITE_PROTECT},
    {0, false, RDF_WRITE_SELF_MEM},
    {ALL_BUT_PROTECT, false, RDF_WRITE_PROTECT},
};

static void the_first_way_that_works(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++)
        for (int asked = 0; asked < 2; asked++) {
            struct program *program = program_new(&rdf_arch_x86_64);
            if (way[i].threads)
                (void)memory_os_add_thread(program->os, program->replacement[1]);
            if (asked)
                program->engine->write_methods &= ~way[i].denied;
            else
                deny(program, way[i].denied);
            assert_done(program, change(program, RDF_CHANGE_REDEFINE, program->target[0]));
            const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
            if (redef->method != way[i].expected)
                memory_os_print(program->os);
            assert_int_equal(redef->method, way[i].expected);
            assert_int_equal(program_runs(program, program->target[0]), program->replacement[0]);
            assert_done(program, change(program, RDF_CHANGE_RESTORE, program->target[0]));
            program_check_pristine(program);
            program_free(program);
        }
}

/* Alone, and neither of the two simple ways works: a helper that is a tracer may do what we may not. */
static void the_tracer_is_asked_last(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program->engine->write_methods &= ~(1u << RDF_WRITE_SELF_MEM | 1u << RDF_WRITE_PROTECT);
    assert_done(program, change(program, RDF_CHANGE_REDEFINE, program->target[0]));
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
    assert_int_equal(redef->method, RDF_WRITE_TRACER_MEM);
    assert_int_equal(program->os->op_count[MEMORY_WORLD_STOPPED], 1);
    program_free(program);
}

static void no_way_at_all(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        struct program *program = program_new(&rdf_arch_x86_64);
        if (threads)
            (void)memory_os_add_thread(program->os, program->replacement[1]);
        program->engine->write_methods = 0;
        assert_int_equal(change(program, RDF_CHANGE_REDEFINE, program->target[0]), REDEFINE_EDENIED);
        assert_true(strlen(program->err.sentence) > 20);
        program_check_pristine(program);
        assert_int_equal(program->engine->near.chunk_count, 0);
        program_free(program);
    }
}

/* In a sandbox the file of /proc may be another. What is read back tells. */
static void a_write_that_lies(void **state)
{
    (void)state;
    for (int lie = MEMORY_STORES_NOTHING; lie <= MEMORY_STORES_HALF; lie++)
        for (int all = 0; all < 2; all++)
            for (int threads = 0; threads < 2; threads++) {
                struct program *program = program_new(&rdf_arch_x86_64);
                if (threads)
                    (void)memory_os_add_thread(program->os, program->replacement[1]);
                for (int i = 0; i < RDF_WRITE_METHODS; i++)
                    program->os->lie[i] = all || i != RDF_WRITE_PROTECT ? lie : MEMORY_HONEST;
                struct batch batch = {.count = 0};
                for (int i = 0; i < 20; i++)
                    batch_redefine(program, &batch, i, i, 0);
                redefine_status status = program_commit(program, &batch);
                /* What was stored by halves is put back by halves. */
                if (all && lie == MEMORY_STORES_HALF && status == REDEFINE_EROLLBACK)
                    assert_non_null(strstr(program->err.sentence, "COULD NOT BE PUT BACK"));
                else
                    assert_int_equal(status, all ? REDEFINE_EDENIED : REDEFINE_OK);
                if (status != REDEFINE_EROLLBACK)
                    program_check(program);
                if (status == REDEFINE_EDENIED)
                    program_check_pristine(program);
                program_free(program);
            }
}

/* ---- memory near the code ---- */

static void check_chunks(const struct program *program)
{
    for (size_t i = 0; i < program->engine->near.chunk_count; i++) {
        const struct rdf_near_chunk *chunk = &program->engine->near.chunk[i];
        for (uint64_t at = chunk->code_addr; at < chunk->code_addr + chunk->code_bytes; at += PAGE)
            assert_int_equal(prot_of(program, at), R | X);
        for (uint64_t at = chunk->slot_addr; at < chunk->slot_addr + 8 * chunk->slot_count; at += PAGE)
            assert_int_equal(prot_of(program, at), R | W);
    }
}

static void one_chunk_serves_all(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    for (int i = 0; i < PROGRAM_TARGETS; i++) {
        program_redefine(program, i, i, 0);
        check_chunks(program);
    }
    assert_int_equal(program->engine->near.chunk_count, 1);
    assert_int_equal(program->engine->near.mode, RDF_NEAR_WRITTEN);
    program_check(program);
    program_free(program);
}

/* Without a way to write into executable pages each commit fills a chunk of its own, before it is executable.
 */
static void fresh_chunks_where_code_cannot_be_written(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    deny(program, ALL_BUT_PROTECT);
    for (int i = 0; i < 5; i++) {
        struct batch batch = {.count = 0};
        for (int j = 0; j < 5; j++)
            batch_redefine(program, &batch, 5 * i + j, j, 0);
        assert_int_equal(program_commit(program, &batch), REDEFINE_OK);
        assert_int_equal(program->engine->near.chunk_count, i + 1);
        assert_int_equal(program->engine->near.mode, RDF_NEAR_FRESH);
        check_chunks(program);
        program_check(program);
    }
    program_free(program);
}

/* Allowed at first, and then no longer: a filter was installed meanwhile. */
static void writing_is_denied_later(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program_redefine(program, 0, 0, 0);
    assert_int_equal(program->engine->near.mode, RDF_NEAR_WRITTEN);
    deny(program, ALL_BUT_PROTECT);
    program_redefine(program, 1, 1, 0);
    program_redefine(program, 2, 2, 0);
    check_chunks(program);
    program_check(program);
    program_free(program);
}

static void no_executable_memory(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program->os->denied[MEMORY_MAP] = EPERM;
    assert_int_equal(change(program, RDF_CHANGE_REDEFINE, program->target[0]), REDEFINE_EDENIED);
    assert_non_null(strstr(program->err.sentence, "executable memory"));
    program->os->denied[MEMORY_MAP] = ENOMEM;
    assert_int_equal(change(program, RDF_CHANGE_REDEFINE, program->target[0]), REDEFINE_ENOMEM);
    program_check_pristine(program);
    program_free(program);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recorded_protection_comes_back),
        cmocka_unit_test(code_that_cannot_be_read_is_refused),
        cmocka_unit_test(a_jump_over_two_pages),
        cmocka_unit_test(the_engines_own_object),
        cmocka_unit_test(the_first_way_that_works),
        cmocka_unit_test(the_tracer_is_asked_last),
        cmocka_unit_test(no_way_at_all),
        cmocka_unit_test(a_write_that_lies),
        cmocka_unit_test(one_chunk_serves_all),
        cmocka_unit_test(fresh_chunks_where_code_cannot_be_written),
        cmocka_unit_test(writing_is_denied_later),
        cmocka_unit_test(no_executable_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
