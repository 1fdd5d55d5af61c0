/* SPDX-License-Identifier: MIT
 *
 * Threads that cannot be stopped (src/core/unstopped.c), and a system that fails: operation number 1 of a
 * change, then number 2, until none does, for a while or for good. Nothing is half written: every entry holds
 * what it held, or what it is to hold, or the trap that leads to one of them; and a refusal has changed
 * nothing.
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

enum { SHAPES = 10, WARM = 40 };

static size_t tried, refused, rolled_back, carried_out;

/* The memory for trampolines is there already: that of a refusal may stay. */
static struct program *prepare(bool is_restore)
{
    struct program *program = program_new(&rdf_arch_x86_64);
    program_redefine(program, WARM, 0, 0);
    program_restore(program, WARM, 0);
    if (is_restore)
        for (int i = 0; i < SHAPES; i++)
            program_redefine(program, i, i, 0);
    for (int i = 0; i < 2; i++)
        (void)memory_os_add_thread(program->os, program->replacement[i]);
    memory_os_deny_stops(program->os);
    program->os->may_be_wx = true; /* by mprotect, for the moment of a store: there is no other way */
    memory_os_reset(program->os);
    return program;
}

static void add_changes(struct program *program, struct batch *batch, bool is_restore)
{
    for (int i = 0; i < SHAPES; i++)
        if (is_restore)
            batch_restore(program, batch, i, 0);
        else
            batch_redefine(program, batch, i, i, 0);
}

/* After REDEFINE_EROLLBACK. */
static void check_each_entry(const struct program *program, const char *what)
{
    for (int i = 0; i < SHAPES; i++) {
        enum { LANDING_BYTES = 4 };
        uint64_t addr = program->target[i];
        const uint8_t *entry = memory_os_at(program->os, addr);
        if (entry[0] == 0xf3) { /* endbr64 */
            entry += LANDING_BYTES;
            addr += LANDING_BYTES;
        }
        if (entry[0] == rdf_arch_x86_64.trap[0]) {
            uint64_t to = program->os->trap_where ? program->os->trap_where(program->os->trap_ctx, addr) : 0;
            if (!to)
                fail_msg("%s: the trap of function %d leads nowhere", what, i);
            continue;
        }
        uint64_t runs = program_runs(program, addr);
        if (runs != addr && runs != program->target[i] && runs != program->replacement[i])
            fail_msg("%s: function %d runs 0x%llx", what, i, (unsigned long long)runs);
    }
}

static bool try_failure(bool is_restore, size_t at, int err, bool lasting)
{
    struct program *program = prepare(is_restore);
    struct batch batch = {.count = 0};
    add_changes(program, &batch, is_restore);
    struct memory_snapshot *memory = program_take(program);
    program->os->failure = (struct memory_failure){.at = at, .err = err, .lasting = lasting};
    redefine_status status = program_commit(program, &batch);
    bool happened = program->os->failed;
    char what[100];
    (void)snprintf(what, sizeof what, "%s, error %d at %zu%s", is_restore ? "restore" : "redefine", err, at,
                   lasting ? " and from there on" : "");
    program->os->failure = (struct memory_failure){0};
    if (program->os->fault[0])
        fail_msg("%s: %s", what, program->os->fault);
    if (status == REDEFINE_OK) {
        program_check(program);
        carried_out++;
    } else if (status == REDEFINE_EROLLBACK) {
        if (!strstr(program->err.sentence, "SOME "))
            fail_msg("%s: the sentence hides it: %s", what, program->err.sentence);
        check_each_entry(program, what);
        rolled_back++;
    } else {
        const char *difference = memory_os_difference(program->os, memory);
        if (difference)
            fail_msg("%s: %s, and yet: %s", what, difference, program->err.sentence);
        assert_int_equal(program_commit(program, &batch), REDEFINE_OK);
        program_check(program);
        refused++;
    }
    tried += happened;
    memory_snapshot_free(memory);
    program_free(program);
    return happened;
}

static void sweep(bool lasting)
{
    static const int errs[] = {EPERM, ENOMEM, EIO};
    tried = refused = rolled_back = carried_out = 0;
    for (int is_restore = 0; is_restore < 2; is_restore++)
        for (size_t i = 0; i < sizeof errs / sizeof errs[0]; i++)
            for (size_t at = 1; try_failure(is_restore, at, errs[i], lasting); at++)
                ;
    printf("# %zu failures: %zu refused, %zu got round, %zu rolled back in part and said so\n", tried,
           refused, carried_out, rolled_back);
    assert_true(refused > 20 && carried_out > 2);
}

static void each_operation_fails(void **state)
{
    (void)state;
    sweep(false);
    assert_int_equal(rolled_back, 0);
}

static void everything_fails_from_there_on(void **state)
{
    (void)state;
    sweep(true);
    assert_true(rolled_back > 0);
}

/* Redefine and restore once for each operation before which there may be a fork, until `try` says that the
 * change was over before it. */
static void fork_at_each(bool (*try)(bool is_restore, size_t at), size_t at_least)
{
    for (int is_restore = 0; is_restore < 2; is_restore++) {
        size_t at = 1;
        while (try(is_restore, at))
            at++;
        printf("# %s: forked before each of %zu operations\n", is_restore ? "restore" : "redefine", at - 1);
        assert_true(at > at_least);
    }
}

/* Another thread forks meanwhile, before each operation: the child goes on from what is there, and can change
 * all of it again. False: the change was over before. */
static bool try_fork(bool is_restore, size_t at)
{
    struct program *program = prepare(is_restore);
    struct batch batch = {.count = 0};
    add_changes(program, &batch, is_restore);
    program->os->fork_counted = 0;
    program->os->fork_at = at;
    if (!setjmp(program->os->forked)) {
        assert_int_equal(program_commit(program, &batch), REDEFINE_OK);
        program->os->fork_at = 0;
        program_free(program);
        return false;
    }
    if (program->os->fault[0])
        fail_msg("forked before %zu: %s", at, program->os->fault);
    check_each_entry(program, "in the child");
    struct batch again = {.count = 0};
    add_changes(program, &again, is_restore);
    if (program_commit(program, &again) != REDEFINE_OK)
        fail_msg("%s, forked before %zu: %s", is_restore ? "restore" : "redefine", at, program->err.sentence);
    program_check(program);
    for (int i = 0; i < SHAPES; i++)
        program_restore(program, i, 0);
    program_check_pristine(program);
    assert_null(program->engine->detours);
    assert_null(program->engine->under_way);
    program_free(program);
    return true;
}

static void a_child_forked_meanwhile_goes_on(void **state)
{
    (void)state;
    fork_at_each(try_fork, 10);
}

/* ---- edits of one store each, without traps ---- */

enum { SLEDS = 4 };

/* nop; mov w0,#1; ret */
static const struct memory_function sled = {
    .name = "sled",
    .code = (const uint8_t[]){0x1f, 0x20, 0x03, 0xd5, 0x20, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6},
    .len_bytes = 12,
};

static const uint64_t near_base = UINT64_C(0x7f1004000000); /* within reach of the replacements */

static redefine_status change_sleds(struct program *program, enum rdf_change_kind kind, const uint64_t *addr)
{
    struct rdf_change change[SLEDS];
    for (size_t i = 0; i < SLEDS; i++)
        change[i] = (struct rdf_change){.kind = kind,
                                        .target = addr[i],
                                        .replacement = program->replacement[0]};
    program->err = (struct rdf_error){0};
    return rdf_engine_commit(program->engine, change, SLEDS, 0, &program->err);
}

static bool try_fork_between_stores(bool is_restore, size_t at)
{
    struct program *program = program_new(&rdf_arch_aarch64);
    struct memory_function many[SLEDS] = {sled, sled, sled, sled};
    uint64_t addr[SLEDS];
    memory_os_add_image(program->os, EM_AARCH64, near_base, "/test/sleds", many, SLEDS, addr);
    if (is_restore)
        assert_int_equal(change_sleds(program, RDF_CHANGE_REDEFINE, addr), REDEFINE_OK);
    (void)memory_os_add_thread(program->os, program->replacement[1]);
    memory_os_deny_stops(program->os);
    program->os->may_be_wx = true;
    memory_os_reset(program->os);
    program->os->fork_counted = 0;
    program->os->fork_at = at;
    bool is_child = setjmp(program->os->forked);
    enum rdf_change_kind kind = is_restore ? RDF_CHANGE_RESTORE : RDF_CHANGE_REDEFINE;
    if (change_sleds(program, kind, addr) != REDEFINE_OK)
        fail_msg("%s, forked before %zu: %s", is_restore ? "restore" : "redefine", at, program->err.sentence);
    program->os->fork_at = 0;
    for (size_t i = 0; i < SLEDS; i++)
        assert_int_equal(program_runs(program, addr[i]), is_restore ? addr[i] : program->replacement[0]);
    if (program->os->fault[0])
        fail_msg("forked before %zu: %s", at, program->os->fault);
    program_free(program);
    return is_child;
}

/* They share a page, which a child may find closed after one of them and not after the next. */
static void a_child_forked_between_stores_goes_on(void **state)
{
    (void)state;
    fork_at_each(try_fork_between_stores, SLEDS);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_fails),
        cmocka_unit_test(everything_fails_from_there_on),
        cmocka_unit_test(a_child_forked_meanwhile_goes_on),
        cmocka_unit_test(a_child_forked_between_stores_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
