/* SPDX-License-Identifier: MIT
 *
 * How Go functions begin: the three forms of the stack check, read and written again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "go_forms_cpu.h"

enum { AT = 0x400000, CODE_AT = 0x500000, SLOT_AT = 0x510000 };

static void the_three_forms_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct rdf_go_entry entry;
        struct rdf_error err = {0};
        struct rdf_span code = {forms[i].code, forms[i].len};
        if (rdf_go_abi_native()->entry(code, AT, &entry, &err) != REDEFINE_OK)
            fail_msg("%s: %s", forms[i].name, err.sentence);
        assert_true(entry.has_check);
        assert_int_equal(entry.check_bytes, forms[i].check_bytes);
        assert_int_equal(entry.more, AT + forms[i].more);
        assert_int_equal(entry.point_count, forms[i].points);
        assert_int_equal(entry.more_count, forms[i].more_count);
        assert_int_equal(entry.is_small_frame, forms[i].code == small);
    }
}

/* The original is the check again; its branches lead to a note, its end into the body. */
static void the_original_repeats_the_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const struct rdf_go_abi *abi = rdf_go_abi_native();
        struct rdf_go_entry entry;
        struct rdf_span body = {forms[i].code, forms[i].len};
        assert_int_equal(abi->entry(body, AT, &entry, NULL), REDEFINE_OK);
        uint8_t code[RDF_GO_CODE_BYTES_MAX];
        struct rdf_go_code at;
        struct rdf_go_emit request = {.entry = &entry,
                                      .addr = AT,
                                      .code_addr = CODE_AT,
                                      .slot_addr = SLOT_AT};
        assert_true(abi->emit(&request, code, &at));
        assert_int_equal(at.original, CODE_AT);
        size_t branches = 0;
        struct rdf_insn insn;
        for (uint64_t pc = at.original;; pc += insn.len_bytes) {
            struct rdf_span rest = {code + (pc - CODE_AT), at.len_bytes - (pc - CODE_AT)};
            assert_true(rdf_arch_native()->decode(rest, pc, &insn));
            if (insn.flow == RDF_FLOW_JUMP)
                break;
            if (insn.flow != RDF_FLOW_BRANCH)
                continue;
            branches++;
            assert_true(insn.target > pc && insn.target < CODE_AT + at.len_bytes);
            assert_true(is_note(code + (insn.target - CODE_AT)));
        }
        assert_int_equal(insn.target, AT + forms[i].check_bytes);
        assert_int_equal(branches, forms[i].more_count);
    }
}

static void a_check_that_never_begins_again_is_refused(void **state)
{
    (void)state;
    uint8_t code[sizeof small];
    struct rdf_go_entry entry;
    struct rdf_error err = {0};
    memcpy(code, small, sizeof code);
    code[SMALL_BACK_AT]++;
    assert_int_equal(rdf_go_abi_native()->entry((struct rdf_span){code, sizeof code}, AT, &entry, &err),
                     REDEFINE_EUNSUPPORTED);
    assert_non_null(strstr(err.sentence, "a form that is not known"));
}

/* No check, and that is all right. A jump to the entry: a loop, or something else? */
static void without_a_check_nothing_leads_to_the_entry(void **state)
{
    (void)state;
    struct rdf_go_entry entry = {.has_check = true};
    const struct rdf_go_abi *abi = rdf_go_abi_native();
    assert_int_equal(abi->entry((struct rdf_span){leaf, sizeof leaf}, AT, &entry, NULL), REDEFINE_OK);
    assert_false(entry.has_check);
    assert_int_equal(abi->entry((struct rdf_span){loop, sizeof loop}, AT, &entry, NULL),
                     REDEFINE_EUNSUPPORTED);
}

static void out_of_reach_is_told(void **state)
{
    (void)state;
    struct rdf_go_entry entry;
    uint8_t code[RDF_GO_CODE_BYTES_MAX];
    struct rdf_go_code at;
    assert_int_equal(rdf_go_abi_native()->entry((struct rdf_span){small, sizeof small}, AT, &entry, NULL),
                     REDEFINE_OK);
    struct rdf_go_emit request = {.entry = &entry,
                                  .addr = AT,
                                  .code_addr = UINT64_C(0x7f0000000000),
                                  .slot_addr = UINT64_C(0x7f0000010000)};
    assert_false(rdf_go_abi_native()->emit(&request, code, &at));
}

/* What may fault in a frame is read before there is one, from a register that has not changed by then. */
static void what_may_fault_in_a_frame_is_read_before(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        struct rdf_go_probe probe = {.len_bytes = 99};
        bool may = rdf_go_abi_native()->may_move((struct rdf_span){moves[i].code, moves[i].len}, AT, &probe);
        if (may == moves[i].is_refused)
            fail_msg("%s: %s", moves[i].name, may ? "moved" : "refused");
        if (may && (probe.len_bytes != moves[i].probe_len ||
                    memcmp(probe.code, moves[i].probe, probe.len_bytes) != 0))
            fail_msg("%s: a probe of %u bytes, %02x %02x", moves[i].name, probe.len_bytes, probe.code[0],
                     probe.code[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms_are_read),
        cmocka_unit_test(the_original_repeats_the_check),
        cmocka_unit_test(a_check_that_never_begins_again_is_refused),
        cmocka_unit_test(what_may_fault_in_a_frame_is_read_before),
        cmocka_unit_test(without_a_check_nothing_leads_to_the_entry),
        cmocka_unit_test(out_of_reach_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
