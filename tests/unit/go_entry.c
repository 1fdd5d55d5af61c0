/* SPDX-License-Identifier: MIT
 *
 * How Go functions begin: the three forms of the stack check, read and written again.
 */
#include "go/abi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { AT = 0x400000, CODE_AT = 0x500000, SLOT_AT = 0x510000 };

/* call more; jmp back: what is behind a function for when there is too little stack. */
#define MORE(back) 0xe8, 0x00, 0x01, 0x00, 0x00, 0xe9, (uint8_t)(back), 0xff, 0xff, 0xff

static const uint8_t small[] = {0x49, 0x3b, 0x66, 0x10, 0x76, 0x03, 0x31, 0xc0, 0xc3, MORE(-19)};
static const uint8_t large[] = {0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b,     0x66,
                                0x10, 0x76, 0x03, 0x31, 0xc0, 0xc3, MORE(-24)};
static const uint8_t large_far[] = {0x4c, 0x8d, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff, 0x4d, 0x3b, 0x66,
                                    0x10, 0x0f, 0x86, 0x03, 0x00, 0x00, 0x00, 0x31, 0xc0, 0xc3, MORE(-31)};
static const uint8_t huge[] = {0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x00, 0x00, 0x10, 0x00, 0x72,
                               0x09, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x03, 0x31, 0xc0, 0xc3, MORE(-31)};

static const struct {
    const char *name;
    const uint8_t *code;
    size_t len;
    uint8_t check_bytes, more, points, more_count;
} forms[] = {
    {"small", small, sizeof small, 6, 9, 1, 1},
    {"large", large, sizeof large, 11, 14, 0, 1},
    {"large, far", large_far, sizeof large_far, 18, 21, 0, 1},
    {"huge", huge, sizeof huge, 18, 21, 1, 2},
};

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
            /* mov r12, [rip + slot]: a record, for the note */
            const uint8_t *note = code + (insn.target - CODE_AT);
            assert_memory_equal(note, "\x4c\x8b\x25", 3);
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
    code[sizeof small - 4]++; /* where the jump behind the call leads */
    assert_int_equal(rdf_go_abi_native()->entry((struct rdf_span){code, sizeof code}, AT, &entry, &err),
                     REDEFINE_EUNSUPPORTED);
    assert_non_null(strstr(err.sentence, "a form that is not known"));
}

/* xor eax, eax; ret: no check, and that is all right. inc eax; jmp to the entry: a loop, or something else?
 */
static void without_a_check_nothing_leads_to_the_entry(void **state)
{
    (void)state;
    static const uint8_t leaf[] = {0x31, 0xc0, 0xc3};
    static const uint8_t loop[] = {0xff, 0xc0, 0xeb, 0xfc};
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

#define FRAME 0x55, 0x48, 0x89, 0xe5 /* push rbp; mov rbp, rsp */

/* What may fault in a frame is read before there is one, from a register that has not changed by then. */
static void what_may_fault_in_a_frame_is_read_before(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t code[16], len;
        uint8_t probe[8], probe_len;
        bool is_refused;
    } cases[] = {
        {"no frame", {0x48, 0x8b, 0x08, 0x48, 0x8b, 0x50, 0x08}, 7, {0}, 0, false},
        {"mov rcx, [rax+8]", {FRAME, 0x48, 0x8b, 0x48, 0x08}, 8, {0x38, 0x40, 0x08}, 3, false},
        {"test [rax], al", {FRAME, 0x84, 0x00}, 6, {0x38, 0x00}, 2, false},
        {"inc qword [rax]", {FRAME, 0x48, 0xff, 0x00}, 7, {0x38, 0x00}, 2, false},
        {"cmp qword [r8+rcx*8+16], 0",
         {FRAME, 0x49, 0x83, 0x7c, 0xc8, 0x10, 0x00},
         10,
         {0x41, 0x38, 0x44, 0xc8, 0x10},
         5,
         false},
        {"add rsp, -128; mov rcx, [rax]",
         {0x48, 0x83, 0xc4, 0x80, 0x48, 0x8b, 0x08},
         7,
         {0x38, 0x00},
         2,
         false},
        {"mov rcx, [r12], which is no stack",
         {FRAME, 0x49, 0x8b, 0x0c, 0x24},
         8,
         {0x41, 0x38, 0x04, 0x24},
         4,
         false},
        {"mov rcx, [rsp+8]", {FRAME, 0x48, 0x8b, 0x4c, 0x24, 0x08}, 9, {0}, 0, false},
        {"mov rcx, [rip]", {FRAME, 0x48, 0x8b, 0x0d, 0, 0, 0, 0}, 11, {0}, 0, false},
        {"cmp eax, 255", {FRAME, 0x3d, 0xff, 0, 0, 0}, 9, {0}, 0, false},
        {"of a register that was changed", {0x55, 0x48, 0x89, 0xd8, 0x48, 0x8b, 0x08}, 7, {0}, 0, true},
        {"with more behind it", {FRAME, 0x48, 0x8b, 0x08, 0x90}, 8, {0}, 0, true},
        {"by the frame pointer", {FRAME, 0x48, 0x8b, 0x4d, 0x08}, 8, {0}, 0, true},
        {"movups", {FRAME, 0x44, 0x0f, 0x11, 0x39}, 8, {0}, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rdf_go_probe probe = {.len_bytes = 99};
        bool may = rdf_go_abi_native()->may_move((struct rdf_span){cases[i].code, cases[i].len}, AT, &probe);
        if (may == cases[i].is_refused)
            fail_msg("%s: %s", cases[i].name, may ? "moved" : "refused");
        if (may && (probe.len_bytes != cases[i].probe_len ||
                    memcmp(probe.code, cases[i].probe, probe.len_bytes) != 0))
            fail_msg("%s: a probe of %u bytes, %02x %02x", cases[i].name, probe.len_bytes, probe.code[0],
                     probe.code[1]);
    }
}

int main(void)
{
    if (!rdf_go_abi_native()) {
        print_message("1..0 # SKIP Go's calling convention is not known on this CPU\n");
        return 0;
    }
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
