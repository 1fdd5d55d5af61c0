/* SPDX-License-Identifier: MIT
 *
 * The compact record of a plan says what the plan said.
 */
#include "core/redef.h"
#include "support/memory_os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t entry = UINT64_C(0x7f0012345670);

/* A plan of `count` instructions of `old_bytes` each, which have `new_bytes` each now. */
static void fill(struct rdf_plan *plan, size_t count, size_t old_bytes, size_t new_bytes, size_t extras)
{
    *plan = (struct rdf_plan){.relay_addr = entry - UINT64_C(0x70000000)};
    plan->window.function = (struct rdf_function){.start = entry, .end = entry + 1000};
    plan->window.end = entry + count * old_bytes;
    plan->trampoline_addr = plan->relay_addr + 8;
    plan->place.slot_addr = plan->relay_addr + 0x20000;
    plan->edit = (struct rdf_edit){.addr = entry + 4, .len_bytes = 5};
    for (size_t i = 0; i < RDF_WINDOW_BYTES_MAX; i++)
        plan->window.bytes[i] = (uint8_t)(i * 7 + 1);
    for (size_t i = 0; i < RDF_EDIT_BYTES_MAX; i++)
        plan->edit.old_bytes[i] = (uint8_t)((i + 4) * 7 + 1);
    plan->relocated.pc_count = count;
    for (size_t i = 0; i < count; i++)
        plan->relocated.pcs[i] = (struct rdf_pc_pair){(uint8_t)(i * old_bytes), (uint16_t)(i * new_bytes)};
    static struct rdf_edit extra[300];
    plan->extra = extra;
    plan->extra_count = extras;
    for (size_t i = 0; i < extras; i++)
        plan->extra[i] = (struct rdf_edit){.addr = entry + 100 * i,
                                           .len_bytes = 6,
                                           .old_bytes = {(uint8_t)i}};
}

static void check(const struct rdf_redef *redef, const struct rdf_plan *plan)
{
    struct rdf_pc_pair pcs[RDF_WINDOW_INSNS_MAX];
    assert_int_equal(redef->entry, entry);
    assert_int_equal(rdf_redef_relay(redef), plan->relay_addr);
    assert_int_equal(rdf_redef_slot(redef), plan->place.slot_addr);
    assert_int_equal(rdf_redef_trampoline(redef), plan->trampoline_addr);
    assert_int_equal(rdf_redef_edit(redef), plan->edit.addr);
    assert_int_equal(redef->edit_bytes, plan->edit.len_bytes);
    assert_memory_equal(rdf_redef_bytes(redef), plan->window.bytes, redef->window_bytes);
    assert_memory_equal(rdf_redef_bytes(redef) + redef->edit_off, plan->edit.old_bytes, redef->edit_bytes);
    assert_int_equal(rdf_redef_pcs(redef, pcs), plan->relocated.pc_count);
    for (size_t i = 0; i < plan->relocated.pc_count; i++) {
        assert_int_equal(pcs[i].old_off, plan->relocated.pcs[i].old_off);
        assert_int_equal(pcs[i].new_off, plan->relocated.pcs[i].new_off);
    }
    assert_int_equal(rdf_redef_extras(redef), plan->extra_count);
    for (size_t i = 0; i < plan->extra_count; i++) {
        struct rdf_edit extra = rdf_redef_extra(redef, i);
        assert_memory_equal(&extra, &plan->extra[i], sizeof extra);
    }
}

/* Also windows shorter than the jump, and instructions that became much longer (from 15 bytes on, and from
 * 256 on, it is written in another way). */
static void a_record_says_what_its_plan_said(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_plan *plan = malloc(sizeof *plan);
    const size_t became[] = {0, 1, 5, 14, 15, 16, 60, 255, 256, 300};
    for (size_t count = 1; count <= 12; count++)
        for (size_t old_bytes = 1; old_bytes <= 15; old_bytes++)
            for (size_t i = 0; i < sizeof became / sizeof became[0]; i++) {
                struct rdf_arena arena;
                rdf_arena_init(&arena, &os->pages);
                fill(plan, count, old_bytes, became[i], count % 6);
                struct rdf_redef *redef = rdf_redef_new(&arena, plan);
                assert_non_null(redef);
                check(redef, plan);
                rdf_arena_free(&arena);
            }
    free(plan);
    assert_int_equal(os->page_live, 0);
    memory_os_free(os);
}

/* As many edits as a function has branches back, and jumps for short ones behind the entry jump. */
static void a_record_keeps_hops_and_edits(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_plan *plan = malloc(sizeof *plan);
    struct rdf_branch branch[2] = {{.hop_addr = entry + 5}, {.hop_addr = entry + 4096}};
    const size_t extras[] = {0, 1, 6, 7, 8, 255, 256, 300};
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        struct rdf_arena arena;
        uint8_t jump[RDF_EDIT_BYTES_MAX];
        rdf_arena_init(&arena, &os->pages);
        fill(plan, 4, 3, 3, extras[i]);
        plan->edit = (struct rdf_edit){.addr = entry, .len_bytes = 10};
        for (size_t j = 0; j < RDF_EDIT_BYTES_MAX; j++) {
            plan->edit.old_bytes[j] = plan->window.bytes[j];
            plan->edit.new_bytes[j] = (uint8_t)(0x30 + j);
        }
        plan->window.branch = branch;
        plan->window.branch_count = 2;
        const struct rdf_redef *redef = rdf_redef_new(&arena, plan);
        assert_non_null(redef);
        check(redef, plan);
        assert_int_equal(rdf_redef_jump_bytes(redef), 5);
        rdf_redef_jump(redef, &rdf_arch_x86_64, 0, jump);
        assert_int_equal(jump[0], 0xe9);
        assert_memory_equal(jump + 5, plan->edit.new_bytes + 5, 5);
        rdf_arena_free(&arena);
    }
    free(plan);
    memory_os_free(os);
}

/* What most functions need: three instructions in six bytes. */
static void a_usual_record_has_64_bytes(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_plan *plan = malloc(sizeof *plan);
    struct rdf_arena arena;
    rdf_arena_init(&arena, &os->pages);
    fill(plan, 3, 2, 2, 0);
    plan->edit = (struct rdf_edit){.addr = entry, .len_bytes = 5};
    const char *first = (const char *)rdf_redef_new(&arena, plan);
    const char *second = (const char *)rdf_redef_new(&arena, plan);
    assert_true(second - first <= 64);
    rdf_arena_free(&arena);
    free(plan);
    memory_os_free(os);
}

/* The original of a sled lies behind it. */
static void a_sled_has_no_trampoline(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_plan *plan = malloc(sizeof *plan);
    struct rdf_arena arena;
    rdf_arena_init(&arena, &os->pages);
    fill(plan, 2, 5, 0, 0);
    plan->trampoline_addr = plan->window.end;
    check(rdf_redef_new(&arena, plan), plan);
    rdf_arena_free(&arena);
    free(plan);
    memory_os_free(os);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_says_what_its_plan_said),
        cmocka_unit_test(a_record_keeps_hops_and_edits),
        cmocka_unit_test(a_usual_record_has_64_bytes),
        cmocka_unit_test(a_sled_has_no_trampoline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
