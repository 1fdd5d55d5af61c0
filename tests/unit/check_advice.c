/* SPDX-License-Identifier: MIT
 *
 * Every hazard says what to do (src/check/): all kinds of them, in every form they take, are made here from
 * facts, and each must name the attribute, the compiler's flag, what to redefine or to declare instead, or
 * say that nothing is to be done.
 */
#include "check/compare.h"
#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

static struct rdf_arena arena;
static unsigned seen; /* kinds: a bit each */
static regex_t advice;

static int set_up(void **state)
{
    (void)state;
    rdf_arena_init(&arena, &rdf_os_pages);
    return regcomp(
        &advice,
        "__attribute__\\(\\(no(inline|clone|ipa)\\)\\)|-fno-[a-z]+-|-fpatchable-function-entry=|with -g|"
        "redefine (it|its callers|f_caller|what is called) |nothing is to be done|"
        "declare (it|them|the replacement)|return what the target does|own declaration|must not ",
        REG_EXTENDED | REG_NOSUB);
}

static int tear_down(void **state)
{
    (void)state;
    regfree(&advice);
    rdf_arena_free(&arena);
    return 0;
}

/* At least `least` hazards, all of them with advice. */
static void expect(const struct rdf_report *report, size_t least)
{
    assert_true(report->hazard_count >= least);
    for (const struct rdf_hazard *hazard = report->hazard; hazard; hazard = hazard->next) {
        char first[2048];
        (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(hazard->detail, "\n"), hazard->detail);
        seen |= 1U << hazard->kind;
        print_message("# %s: %s\n", rdf_hazard_name(hazard->kind), first);
        if (regexec(&advice, first, 0, NULL, 0) != 0)
            fail_msg("no advice in \"%s\"", first);
    }
}

static void judge(struct rdf_check_subject subject, size_t least)
{
    struct rdf_error err = {0};
    struct rdf_report report;
    subject.name = "f";
    assert_int_equal(rdf_check_verdict(&subject, &arena, &report, &err), REDEFINE_OK);
    expect(&report, least);
}

static void test_copies(void **state)
{
    (void)state;
    const struct rdf_check_inlined site[] = {
        {.caller = "f_caller", .file = "f.c", .line = 3},
        {.caller = NULL},
        {.caller = "f", .is_self = true},
    };
    const struct rdf_check_debug debug = {.inlined = site, .inlined_count = 3, .inlined_total = 7},
                                 none = {0}, folded = {.is_folded = true};
    const struct rdf_facts uncalled = {.is_complete = true},
                           called = {.is_complete = true, .direct_calls = 2};
    judge((struct rdf_check_subject){.addr = 64, .debug = &debug}, 4);
    judge((struct rdf_check_subject){.addr = 0, .debug = &debug}, 5);
    judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .facts = &uncalled}, 5);
    judge((struct rdf_check_subject){.addr = 64, .debug = &none, .facts = &uncalled}, 1);
    judge((struct rdf_check_subject){.addr = 64, .debug = &folded, .facts = &called}, 1);
    judge((struct rdf_check_subject){.addr = 64, .debug = &folded, .facts = &uncalled}, 2);
    judge((struct rdf_check_subject){.addr = 0, .debug = &folded}, 2);
    judge((struct rdf_check_subject){.addr = 64, .facts = &called}, 1);
    judge((struct rdf_check_subject){.addr = 64}, 1);
}

static void test_clones(void **state)
{
    (void)state;
    static const enum rdf_clone_kind kinds[] = {RDF_CLONE_CONSTPROP, RDF_CLONE_ISRA, RDF_CLONE_PART,
                                                RDF_CLONE_COLD, RDF_CLONE_PROMOTED};
    static const enum rdf_clone_fit fits[] = {RDF_CLONE_UNTOLD, RDF_CLONE_FITS, RDF_CLONE_DIFFERS,
                                              RDF_CLONE_OTHER};
    const struct rdf_check_debug debug = {0};
    for (size_t i = 0; i < 5 * 4 * 3; i++) {
        struct rdf_clone clone = {.kind = kinds[i % 5],
                                  .fit = fits[i / 5 % 4],
                                  .name = "f.clone.0",
                                  .direct_calls = i / 20 % 2,
                                  .difference = i / 40 ? "takes one parameter less" : NULL};
        const struct rdf_facts facts = {.direct_calls = 1, .clone = &clone, .clone_count = 1};
        judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .facts = &facts}, 1);
        judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .facts = &facts, .takes_clones = true},
              1);
        judge((struct rdf_check_subject){.addr = 0, .debug = &debug, .facts = &facts}, 2);
    }
}

static void test_names_and_entries(void **state)
{
    (void)state;
    const struct rdf_check_debug debug = {0};
    struct rdf_other_name names[] = {{"g", true}, {"f2", false}};
    const struct rdf_caller relying = {.name = "f_caller", .addr = 128};
    struct rdf_facts facts = {.direct_calls = 1, .other_name = names, .other_name_count = 2};
    judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .facts = &facts}, 2);
    for (unsigned i = 0; i < 8; i++) {
        facts = (struct rdf_facts){.direct_calls = 1,
                                   .left_alone_names = i & 1 ? "rcx" : NULL,
                                   .is_misaligned = true,
                                   .relay_keeps = i & 2,
                                   .relying = i & 4 ? &relying : NULL};
        judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .facts = &facts}, 1);
    }
    const struct rdf_check_window windows[] = {{.status = REDEFINE_ESHORT, .sentence = "nothing fits"},
                                               {.status = REDEFINE_ESHORT},
                                               {.status = REDEFINE_OK, .is_slow = true}};
    for (size_t i = 0; i < 3; i++)
        judge((struct rdf_check_subject){.addr = 64, .debug = &debug, .window = &windows[i]}, 1);
}

static void compare(const struct rdf_type *target, const struct rdf_type *replacement, size_t least)
{
    struct rdf_error err = {0};
    struct rdf_report report = {.name = "f"};
    assert_int_equal(rdf_check_compare(target, replacement, &arena, &report, &err), REDEFINE_OK);
    expect(&report, least);
}

static void test_types(void **state)
{
    (void)state;
    enum { ATE_signed = 5, ATE_unsigned = 7 };
    const struct rdf_type nothing = {.kind = RDF_TYPE_VOID, .name = "void"};
    const struct rdf_type word = {.kind = RDF_TYPE_BASE,
                                  .encoding = ATE_signed,
                                  .name = "long",
                                  .size_bytes = 8};
    const struct rdf_type number = {.kind = RDF_TYPE_BASE,
                                    .encoding = ATE_unsigned,
                                    .name = "uint",
                                    .size_bytes = 4};
    const struct rdf_type plain = {.kind = RDF_TYPE_BASE,
                                   .encoding = ATE_signed,
                                   .name = "int",
                                   .size_bytes = 4};
    const struct rdf_field two[] = {{.name = "A", .type = &plain},
                                    {.name = "B", .bit_off = 32, .type = &plain}};
    const struct rdf_field one[] = {{.name = "A", .type = &word}};
    const struct rdf_type pair = {
        .kind = RDF_TYPE_STRUCT, .name = "pair", .size_bytes = 8, .field = two, .field_count = 2};
    const struct rdf_type half = {
        .kind = RDF_TYPE_STRUCT, .name = "half", .size_bytes = 4, .field = two, .field_count = 1};
    const struct rdf_type single = {
        .kind = RDF_TYPE_STRUCT, .name = "one", .size_bytes = 8, .field = one, .field_count = 1};
    const struct rdf_type *const parameters[] = {&word, &number, &plain, &pair, &half, &single};
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 6; j++) {
            const struct rdf_field a[] = {{.name = "x", .type = parameters[i]}},
                                   b[] = {{.type = parameters[j]}};
            const struct rdf_type f = {.kind = RDF_TYPE_FUNCTION,
                                       .target = parameters[j],
                                       .field = a,
                                       .field_count = 1};
            const struct rdf_type g = {.kind = RDF_TYPE_FUNCTION,
                                       .target = parameters[i],
                                       .field = b,
                                       .field_count = 1};
            compare(&f, &g, i != j);
        }
    for (unsigned i = 0; i < 8; i++) {
        const struct rdf_type f = {.kind = RDF_TYPE_FUNCTION,
                                   .target = &nothing,
                                   .field = two,
                                   .field_count = i & 1,
                                   .is_variadic = (i >> 1) & 1,
                                   .is_noreturn = (i >> 2) & 1};
        const struct rdf_type g = {.kind = RDF_TYPE_FUNCTION,
                                   .target = &nothing,
                                   .field = two,
                                   .field_count = !(i & 1),
                                   .is_variadic = !((i >> 1) & 1)};
        compare(&f, &g, 2);
    }
}

static void test_all_kinds_were_seen(void **state)
{
    (void)state;
#define KIND(name, text) assert_true(seen & 1U << RDF_HAZARD_##name);
    RDF_HAZARD_LIST(KIND)
#undef KIND
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_clones),
        cmocka_unit_test(test_names_and_entries),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_all_kinds_were_seen),
    };
    return cmocka_run_group_tests_name("check_advice", tests, set_up, tear_down);
}
