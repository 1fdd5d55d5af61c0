/* SPDX-License-Identifier: MIT
 *
 * What a system keeps of a thread that a signal handler interrupted: it will go on from there, on that stack,
 * and each CPU's is laid out in another way.
 */
#include "support/program.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CODE(...) .code = (const uint8_t[]){__VA_ARGS__}, .len_bytes = sizeof((const uint8_t[]){__VA_ARGS__})

static const uint64_t base = UINT64_C(0x7f1010000000);
static const uint64_t other_stack = UINT64_C(0x7f3000000000);

static redefine_status change(struct program *program, enum rdf_change_kind kind, uint64_t target)
{
    struct rdf_change change = {.kind = kind, .target = target, .replacement = program->replacement[0]};
    program->err = (struct rdf_error){0};
    memory_os_reset(program->os);
    return rdf_engine_commit(program->engine, &change, 1, 0, &program->err);
}

/* A thread that is somewhere else; what is on its stack is set next. */
static size_t add_thread(struct program *program)
{
    return memory_os_add_thread(program->os, program->replacement[0]);
}

static const uint8_t nops_riscv64[] = {0x01, 0, 0x01, 0, 0x01, 0, 0x01, 0,
                                       0x01, 0, 0x01, 0, 0x01, 0, 0x01, 0};
/* c.li a0,0; c.jr ra with a neighbour right behind, and padding behind that: a short jump to a jump there */
static const struct memory_function hopping_riscv64[] = {
    {.name = "hops", CODE(0x01, 0x45, 0x82, 0x80)},
    {.name = "other",
     CODE(0x01, 0x45, 0x82, 0x80),
     .padding = nops_riscv64,
     .padding_bytes = sizeof nops_riscv64},
};

static struct program *program_that_hops(uint64_t *ret_target)
{
    struct program *program = program_new(&rdf_arch_riscv64);
    uint64_t addr[2];
    memory_os_add_image(program->os, EM_RISCV, base, "/test/hopping", hopping_riscv64, 2, addr);
    assert_int_equal(change(program, RDF_CHANGE_REDEFINE, addr[0]), REDEFINE_OK);
    *ret_target = addr[0];
    return program;
}

/* A jump of ours that is taken away is two instructions on riscv64: whoever stands at the one or the other
 * goes where it leads. */
static void at_a_jump_that_is_taken_away(void **state)
{
    (void)state;
    for (uint64_t off = 0; off < 8; off += 4) {
        uint64_t target;
        struct program *program = program_that_hops(&target);
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, target);
        assert_true(rdf_redef_padding(redef) != 0);
        size_t thread = memory_os_add_thread(program->os, rdf_redef_padding(redef) + off);
        assert_int_equal(change(program, RDF_CHANGE_RESTORE, target), REDEFINE_OK);
        assert_int_equal(program->os->thread[thread].pc, rdf_redef_relay(redef));
        program_free(program);
    }
}

/* It was interrupted there: the stack pointer comes behind the PC, and no flags do. */
static void interrupted_at_a_jump_that_is_taken_away(void **state)
{
    (void)state;
    for (int is_context = 0; is_context < 2; is_context++) {
        uint64_t target;
        struct program *program = program_that_hops(&target);
        size_t thread = add_thread(program);
        memory_os_set_stack(program->os, thread, 2,
                            rdf_redef_padding(rdf_registry_find(&program->engine->registry, target)));
        memory_os_set_stack(program->os, thread, 4, is_context ? program->os->thread[thread].sp : target);
        assert_int_equal(change(program, RDF_CHANGE_RESTORE, target),
                         is_context ? REDEFINE_EBUSY : REDEFINE_OK);
        program_free(program);
    }
}

/* push %rdi; pop %rax; nop; inc %rax; ret */
static const struct memory_function steps_x86_64 = {.name = "steps",
                                                    CODE(0x57, 0x58, 0x90, 0x48, 0xff, 0xc0, 0xc3)};
/* paciasp; add x0,x0,#1; autiasp; ret */
static const struct memory_function steps_aarch64 = {.name = "steps",
                                                     CODE(0x3f, 0x23, 0x03, 0xd5, 0x00, 0x04, 0x00, 0x91,
                                                          0xbf, 0x23, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6)};

/* The handler runs on a stack of its own and has interrupted another, on which is what leads into the bytes.
 * On x86-64 one bit of the flags is always set; on arm64 none need be. */
static void on_another_stack(void **state)
{
    (void)state;
    const struct {
        const struct rdf_arch *arch;
        const struct memory_function *function;
        uint64_t flags;
        redefine_status status;
    } cases[] = {
        {&rdf_arch_x86_64, &steps_x86_64, 0x202, REDEFINE_EBUSY},
        {&rdf_arch_x86_64, &steps_x86_64, 0x200, REDEFINE_OK},
        {&rdf_arch_aarch64, &steps_aarch64, UINT64_C(1) << 30, REDEFINE_EBUSY},
        {&rdf_arch_aarch64, &steps_aarch64, 0, REDEFINE_EBUSY},
        {&rdf_arch_aarch64, &steps_aarch64, UINT64_C(1) << 32, REDEFINE_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct program *program = program_new(cases[i].arch);
        uint64_t addr;
        memory_os_add_image(program->os, cases[i].arch->elf_machine, base, "/test/steps", cases[i].function,
                            1, &addr);
        struct memory_region *region = memory_os_add_region(program->os, other_stack, 4096,
                                                            RDF_PROT_READ | RDF_PROT_WRITE, "");
        uint64_t inside = addr + cases[i].arch->insn_align_bytes;
        memcpy(region->bytes + 512, &inside, sizeof inside);
        size_t thread = add_thread(program);
        memory_os_set_stack(program->os, thread, 2, other_stack);
        memory_os_set_stack(program->os, thread, 3, program->replacement[0]);
        memory_os_set_stack(program->os, thread, 4, cases[i].flags);
        assert_int_equal(change(program, RDF_CHANGE_REDEFINE, addr), cases[i].status);
        program_free(program);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_a_jump_that_is_taken_away),
        cmocka_unit_test(interrupted_at_a_jump_that_is_taken_away),
        cmocka_unit_test(on_another_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
