/* SPDX-License-Identifier: MIT
 *
 * Branches from elsewhere into the bytes to be overwritten, words that are such addresses, and what only
 * looks like one; and counting, which is refused where a trampoline exists already.
 */
#include "support/program.h"

#include <elf.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INT3_8 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc

enum { AT_OTHER = 22, DATA_BYTES = 4096 };

/* The target, 6 bytes and 8 of padding; then the other function, which begins 22 bytes behind it. */
static const uint8_t plain[] = {0x31, 0xc0, 0x31, 0xc9, 0x90, 0xc3};
/* dec %rdi; nop; nop; nop; jne to the entry; ret: displaced as far as the branch */
static const uint8_t loop[] = {0x48, 0xff, 0xcf, 0x90, 0x90, 0x90, 0x75, 0xf8, 0xc3};
static const uint8_t padding[16] = {INT3_8, INT3_8};

struct place {
    struct program *program;
    uint64_t addr[2];
    uint64_t data; /* a page of it behind the code */
};

static void set_up(struct place *place, const uint8_t *target, size_t target_bytes, const uint8_t *other,
                   size_t other_bytes)
{
    const struct memory_function function[] = {
        {.name = "target",
         .code = target,
         .len_bytes = target_bytes,
         .padding = padding,
         .padding_bytes = AT_OTHER - target_bytes},
        {.name = "other", .code = other, .len_bytes = other_bytes},
    };
    place->program = program_new(&rdf_arch_x86_64);
    memory_os_add_image(place->program->os, EM_X86_64, UINT64_C(0x7f1010000000), "/test/branches", function,
                        2, place->addr);
    assert_int_equal(place->addr[1] - place->addr[0], AT_OTHER);
    place->data = (place->addr[0] + DATA_BYTES) / DATA_BYTES * DATA_BYTES;
}

static redefine_status commit(struct place *place, enum rdf_change_kind kind, uint64_t counter)
{
    struct rdf_change change = {.kind = kind,
                                .target = place->addr[0],
                                .replacement = place->program->replacement[0],
                                .counter_addr = counter};
    place->program->err = (struct rdf_error){0};
    return rdf_engine_commit(place->program->engine, &change, 1, 0, &place->program->err);
}

static const struct rdf_redef *redefined(struct place *place)
{
    redefine_status status = commit(place, RDF_CHANGE_REDEFINE, 0);
    if (status != REDEFINE_OK)
        fail_msg("%s", place->program->err.sentence);
    return rdf_registry_find(&place->program->engine->registry, place->addr[0]);
}

struct example {
    const char *name;
    const uint8_t *other;
    size_t other_bytes;
    uint8_t patched_bytes; /* of the target `plain`, 5 or 2 */
};

#define OTHER(...)      (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define REL32(from, to) (uint8_t)((to) - (from)), 0xff, 0xff, 0xff

/* What begins at AT_OTHER and ends `len` behind it leads to the target's byte number `to`. */
static const struct example examples[] = {
    {"nothing", OTHER(0xc3), 5},
    {"jmp rel32 into it", OTHER(0xe9, REL32(AT_OTHER + 5, 2)), 2},
    {"jmp rel32 to its last byte", OTHER(0xe9, REL32(AT_OTHER + 5, 4)), 2},
    {"jmp rel32 behind it", OTHER(0xe9, REL32(AT_OTHER + 5, 5)), 5},
    {"jmp rel32 to the entry", OTHER(0xe9, REL32(AT_OTHER + 5, 0)), 5},
    {"jmp rel8 into it", OTHER(0xeb, 2 - (AT_OTHER + 2)), 2},
    {"jle rel32 into it", OTHER(0x0f, 0x8e, REL32(AT_OTHER + 6, 2), 0xc3), 2},
    {"jle rel8 into it", OTHER(0x7e, (uint8_t)(2 - (AT_OTHER + 2)), 0xc3), 2},
    {"loop into it", OTHER(0xe2, (uint8_t)(2 - (AT_OTHER + 2)), 0xc3), 2},
    {"jrcxz into it", OTHER(0xe3, (uint8_t)(2 - (AT_OTHER + 2)), 0xc3), 2},
    {"behind another instruction", OTHER(0x90, 0xe9, REL32(AT_OTHER + 6, 2)), 2},
    /* mov $imm32,%eax and test $imm8,%al: what they hold is no branch */
    {"a number that looks like jmp rel8", OTHER(0xb8, 0xeb, (uint8_t)(2 - (AT_OTHER + 3)), 0, 0, 0xc3), 5},
    {"a number that looks like jmp rel32", OTHER(0x48, 0xb8, 0xe9, REL32(AT_OTHER + 7, 2), 0, 0, 0, 0xc3), 5},
    {"a call into it returns", OTHER(0xe8, REL32(AT_OTHER + 5, 2), 0xc3), 5},
};

static void branches_from_elsewhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *e = &examples[i];
        struct place place;
        set_up(&place, plain, sizeof plain, e->other, e->other_bytes);
        const struct rdf_redef *redef = redefined(&place);
        if (redef->edit_bytes != e->patched_bytes)
            fail_msg("%s: %s", e->name, rdf_strategy_name((enum rdf_strategy)redef->strategy));
        program_free(place.program);
    }
}

/* What is left behind the entry jump of a displaced loop must not run either. */
static void a_branch_to_what_is_left_of_a_loop(void **state)
{
    (void)state;
    for (uint8_t to = 0; to < sizeof loop; to++) {
        const uint8_t other[] = {0xe9, REL32(AT_OTHER + 5, to)};
        struct place place;
        set_up(&place, loop, sizeof loop, other, sizeof other);
        const struct rdf_redef *redef = redefined(&place);
        unsigned end = redef->branches_back ? redef->window_bytes : redef->edit_bytes;
        if (to > 0 && to < end)
            fail_msg("a branch to +%u, and +%u is the end", to, end);
        program_free(place.program);
    }
}

/* The value of DT_NULL, which nobody reads, is the last word of what comes from the file. */
static void words_that_are_addresses(void **state)
{
    (void)state;
    for (uint64_t to = 0; to < 8; to++) {
        struct place place;
        set_up(&place, plain, sizeof plain, (const uint8_t[]){0xc3}, 1);
        uint64_t word = place.addr[0] + to;
        memcpy(memory_os_at(place.program->os, place.data + 4 * sizeof(Elf64_Dyn) + 8), &word, sizeof word);
        const struct rdf_redef *redef = redefined(&place);
        if (redef->edit_bytes != (to == 1 ? 1 : to > 1 && to < 5 ? 2 : 5))
            fail_msg("a word to +%" PRIu64 ": %s", to, rdf_strategy_name((enum rdf_strategy)redef->strategy));
        program_free(place.program);
    }
}

/* lea table(%rip),%rdx; …; jmp *%rdx: of the function itself. Four-byte distances from the table. */
static void tables_of_offsets(void **state)
{
    (void)state;
    for (uint64_t to = 0; to < 8; to++)
        for (int row = 0; row < 4; row++) {
            uint8_t code[AT_OTHER] = {0x31, 0xc0, 0x31, 0xc9, 0x90, 0x48, 0x8d, 0x15, 0, 0, 0, 0, 0xff, 0xe2};
            struct place place;
            set_up(&place, code, 14, (const uint8_t[]){0xc3}, 1);
            uint64_t table = place.data + 1024;
            int32_t distance = (int32_t)(table - (place.addr[0] + 12));
            memcpy(memory_os_at(place.program->os, place.addr[0] + 8), &distance, sizeof distance);
            for (int i = 0; i < 4; i++) {
                int32_t entry = (int32_t)(place.addr[0] + (i == row ? to : 12) - table);
                memcpy(memory_os_at(place.program->os, table + 4 * (uint64_t)i), &entry, sizeof entry);
            }
            redefine_status status = commit(&place, RDF_CHANGE_REDEFINE, 0);
            const struct rdf_redef *redef = rdf_registry_find(&place.program->engine->registry,
                                                              place.addr[0]);
            if (to == 0) {
                assert_int_equal(status, REDEFINE_EUNSUPPORTED);
                assert_non_null(strstr(place.program->err.sentence, "a jump table leads to target+0"));
            } else {
                assert_int_equal(status, REDEFINE_OK);
                if ((redef->edit_bytes < 5) != (to < 5))
                    fail_msg("row %d to +%" PRIu64 ": %s", row, to,
                             rdf_strategy_name((enum rdf_strategy)redef->strategy));
            }
            program_free(place.program);
        }
}

/* ---- counting ---- */

/* The entry leads to the relay, the slot to code that counts in `counter`, and that runs into the trampoline.
 */
static void a_counted_function_runs_its_original(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        const struct rdf_arch *arch = which ? &rdf_arch_aarch64 : &rdf_arch_x86_64;
        struct program *program = program_new(arch);
        const uint64_t counter = UINT64_C(0x7e0000001238);
        struct rdf_change change = {.kind = RDF_CHANGE_COUNT,
                                    .target = program->target[0],
                                    .counter_addr = counter};
        if (rdf_engine_commit(program->engine, &change, 1, 0, &program->err) != REDEFINE_OK)
            fail_msg("%s", program->err.sentence);
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[0]);
        uint8_t code[RDF_COUNT_BYTES_MAX];
        size_t len = arch->emit_count(code, counter);
        uint64_t at = program_runs(program, program->target[0]);
        assert_int_equal(at + len, rdf_redef_trampoline(redef));
        assert_memory_equal(memory_os_at(program->os, at), code, len);
        /* Never twice, nor over a redefinition; and it comes off as any other. */
        assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_EBUSY);
        assert_non_null(strstr(program->err.sentence, "redefined already"));
        change.kind = RDF_CHANGE_RESTORE;
        assert_int_equal(rdf_engine_commit(program->engine, &change, 1, 0, &program->err), REDEFINE_OK);
        program_check_pristine(program);
        program_free(program);
    }
}

static size_t refusals;

static void note_refusal(const struct rdf_change *change, const struct rdf_error *why)
{
    assert_int_equal(change->kind, RDF_CHANGE_COUNT);
    assert_int_equal(why->status, *(const redefine_status *)change->refused_ctx);
    refusals++;
}

/* What cannot be counted is left out, the rest is; in one commit. */
static void what_cannot_be_counted_is_left_out(void **state)
{
    (void)state;
    struct program *program = program_new(&rdf_arch_x86_64);
    program_redefine(program, 1, 0, 0);
    redefine_status busy = REDEFINE_EBUSY, invalid = REDEFINE_EINVAL;
    const struct rdf_change change[] = {
        {.kind = RDF_CHANGE_COUNT,
         .target = program->target[0],
         .counter_addr = 8,
         .refused = note_refusal,
         .refused_ctx = &busy},
        {.kind = RDF_CHANGE_COUNT,
         .target = program->target[1],
         .counter_addr = 8,
         .refused = note_refusal,
         .refused_ctx = &busy},
        {.kind = RDF_CHANGE_COUNT,
         .target = program->target[0] + 1,
         .counter_addr = 8,
         .refused = note_refusal,
         .refused_ctx = &invalid},
        {.kind = RDF_CHANGE_COUNT,
         .target = program->target[2],
         .counter_addr = 8,
         .refused = note_refusal,
         .refused_ctx = &busy},
    };
    refusals = 0;
    assert_int_equal(rdf_engine_commit(program->engine, change, 4, 0, &program->err), REDEFINE_OK);
    assert_int_equal(refusals, 2);
    assert_int_equal(program_runs(program, program->target[1]), program->replacement[0]);
    for (int i = 0; i < 3; i += 2) {
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[i]);
        assert_true(program_runs(program, program->target[i]) < rdf_redef_trampoline(redef));
    }
    program_free(program);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_from_elsewhere),
        cmocka_unit_test(a_branch_to_what_is_left_of_a_loop),
        cmocka_unit_test(words_that_are_addresses),
        cmocka_unit_test(tables_of_offsets),
        cmocka_unit_test(a_counted_function_runs_its_original),
        cmocka_unit_test(what_cannot_be_counted_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
