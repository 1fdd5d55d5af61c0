/* SPDX-License-Identifier: MIT
 *
 * Which instruction one store may put in the place of which, while others execute it.
 */
#include "arch/arch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool may_swap(const struct rdf_arch *arch, uint32_t before, uint32_t after)
{
    uint8_t bytes[2][4];
    for (unsigned i = 0; i < 4; i++) {
        bytes[0][i] = (uint8_t)(before >> 8 * i);
        bytes[1][i] = (uint8_t)(after >> 8 * i);
    }
    return arch->may_swap((struct rdf_span){bytes[0], 4}, (struct rdf_span){bytes[1], 4});
}

/* b . + 8; bl . + 8; nop; svc #0; brk #0 */
static const uint32_t exchangeable[] = {0x14000002, 0x94000002, 0xd503201f, 0xd4000001, 0xd4200000};
/* add x0, x0, #1; ret; bti c; paciasp; yield; b.eq . + 8; cbz x0, . + 8; adr x0, .; br x16; udf #0 */
static const uint32_t others[] = {0x91000400, 0xd65f03c0, 0xd503245f, 0xd503233f, 0xd503203f,
                                  0x54000040, 0xb4000040, 0x10000000, 0xd61f0200, 0x00000000};

static void aarch64_has_a_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(exchangeable); i++) {
        for (size_t j = 0; j < COUNT(exchangeable); j++)
            assert_true(may_swap(&rdf_arch_aarch64, exchangeable[i], exchangeable[j]));
        for (size_t j = 0; j < COUNT(others); j++) {
            assert_false(may_swap(&rdf_arch_aarch64, exchangeable[i], others[j]));
            assert_false(may_swap(&rdf_arch_aarch64, others[j], exchangeable[i]));
        }
    }
    /* Two instructions are not one. */
    const uint8_t nops[8] = {0x1f, 0x20, 0x03, 0xd5, 0x1f, 0x20, 0x03, 0xd5};
    struct rdf_span two = {nops, sizeof nops};
    assert_false(rdf_arch_aarch64.may_swap(two, two));
}

static void riscv64_has_none(void **state)
{
    (void)state;
    assert_false(may_swap(&rdf_arch_riscv64, 0x00000013, 0x0080006f)); /* nop; j . + 8 */
}

static void x86_64_may_always(void **state)
{
    (void)state;
    assert_true(may_swap(&rdf_arch_x86_64, 0x90909090, 0x001f0f66));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aarch64_has_a_list),
        cmocka_unit_test(riscv64_has_none),
        cmocka_unit_test(x86_64_may_always),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
