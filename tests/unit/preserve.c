/* SPDX-License-Identifier: MIT
 *
 * Relays that keep registers, in an emulator: a callee changes everything that it may, and behind the call
 * all that was asked for is as it was, results are the callee's, the stack was aligned within and is where it
 * was; and finds the arguments that lie there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "arch/arch.h"

#define CODE   UINT64_C(0x100000)
#define CALLEE UINT64_C(0x101000)
#define BACK   UINT64_C(0x102000)
#define SLOT   UINT64_C(0x103000)
#define STACK  UINT64_C(0x200000)
/* What makes the call, near the frame or far from it. */
#define NEAR_CALL UINT64_C(0x103800)
#define FAR_CALL  UINT64_C(0x7f1234560000)
enum { STACK_BYTES = 0x4000 };

struct machine {
    const struct rdf_arch *arch;
    uc_arch cpu;
    uc_mode mode;
    int sp, link; /* link: the register of the return address; 0: it is on the stack */
    int (*id)(unsigned number);
    const char *frame_call; /* what rdf_arch_frame_call is on this CPU */
    size_t frame_call_bytes;
    const char *ret;
    size_t ret_bytes;
};

static int x86_id(unsigned number)
{
    static const int gpr[16] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                                UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                                UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                                UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
    return number < 16 ? gpr[number] : number < 32 ? (int)(UC_X86_REG_XMM0 + number - 16) : 0;
}

static int arm_id(unsigned number)
{
    return number < 16    ? (int)(UC_ARM64_REG_X0 + number)
           : number == 29 ? UC_ARM64_REG_X29
           : number >= 32 ? (int)(UC_ARM64_REG_Q0 + number - 32)
                          : 0;
}

#define BYTES(text) text, sizeof text - 1
static int riscv_id(unsigned number)
{
    return number < 5    ? 0 /* zero, ra, sp, gp, tp */
           : number < 32 ? (int)(UC_RISCV_REG_X0 + number)
                         : (int)(UC_RISCV_REG_F0 + number - 32);
}

static const struct machine x86 = {
    &rdf_arch_x86_64,
    UC_ARCH_X86,
    UC_MODE_64,
    UC_X86_REG_RSP,
    0,
    x86_id,
    BYTES("\xf3\x0f\x1e\xfa\xff\x55\xf8\xff\x65\xf0"), /* endbr64; call [rbp - 8]; jmp [rbp - 16] */
    BYTES("\xc3"),
};
static const struct machine arm = {
    &rdf_arch_aarch64,
    UC_ARCH_ARM64,
    UC_MODE_ARM,
    UC_ARM64_REG_SP,
    UC_ARM64_REG_X30,
    arm_id,
    BYTES("\x5f\x24\x03\xd5\x00\x02\x3f\xd6\xb0\x83\x5f\xf8\x00\x02\x1f\xd6"), /* bti c; blr x16; ldur; br x16
                                                                                */
    BYTES("\xc0\x03\x5f\xd6"),
};

static const struct machine riscv = {
    &rdf_arch_riscv64,
    UC_ARCH_RISCV,
    UC_MODE_RISCV64,
    UC_RISCV_REG_SP,
    UC_RISCV_REG_RA,
    riscv_id,
    /* auipc zero, 0; jalr t1; ld t1, -24(s0); jr t1 */
    BYTES("\x17\0\0\0\xe7\0\x03\0\x03\x33\x84\xfe\x67\0\x03\0"),
    BYTES("\x67\x80\0\0"),
};

static uint64_t chance_state = 3;

static uint64_t any(void)
{
    return chance_state = chance_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
}

/* The callee: everything that a call may change is changed. */
struct callee {
    const struct machine *machine;
    uint64_t sp;
    uint64_t words[RDF_STACK_WORDS_MAX];
    bool was_called;
};

static void change_all(uc_engine *engine, uint64_t addr, uint32_t size, void *ctx)
{
    struct callee *callee = ctx;
    uint64_t value[8] = {any(), any()};
    (void)addr, (void)size;
    callee->was_called = true;
    (void)uc_reg_read(engine, callee->machine->sp, &callee->sp);
    (void)uc_mem_read(engine, callee->sp + (callee->machine->link ? 0 : 8), callee->words,
                      sizeof callee->words);
    for (unsigned i = 0; i < 64; i++)
        if (callee->machine->arch->call_clobbered >> i & 1 && callee->machine->id(i))
            (void)uc_reg_write(engine, callee->machine->id(i), value);
}

static void try_registers(const struct machine *machine, uint64_t registers, uint64_t sp_misalign,
                          uint16_t words)
{
    uint64_t call_addr = any() & 64 ? NEAR_CALL : FAR_CALL;
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    uint64_t before[64][8] = {{0}}, after[64][8] = {{0}};
    uint64_t sp = STACK + STACK_BYTES / 2 + machine->arch->entry_misalign + sp_misalign, sp_after = 0;
    uint64_t slot = CALLEE;
    size_t len = machine->arch->emit_preserve(code, CODE, SLOT, call_addr,
                                              &(struct rdf_keep){registers, 16, words});
    assert_in_range(len, 8, RDF_PRESERVE_BYTES_MAX);
    uc_engine *engine;
    uc_hook hook;
    struct callee callee = {.machine = machine};
    assert_int_equal(uc_open(machine->cpu, machine->mode, &engine), UC_ERR_OK);
    assert_int_equal(uc_mem_map(engine, CODE, 0x4000, UC_PROT_ALL), UC_ERR_OK);
    assert_int_equal(uc_mem_map(engine, STACK, STACK_BYTES, UC_PROT_READ | UC_PROT_WRITE), UC_ERR_OK);
    if (machine == &riscv)
        assert_int_equal(uc_reg_write(engine, UC_RISCV_REG_MSTATUS, &(uint64_t){3 << 13}), UC_ERR_OK);
    if (machine == &arm)
        assert_int_equal(uc_reg_write(engine, UC_ARM64_REG_CPACR_EL1, &(uint64_t){3 << 20}), UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, CODE, code, len), UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, CALLEE, machine->ret, machine->ret_bytes), UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, NEAR_CALL, machine->frame_call, machine->frame_call_bytes),
                     UC_ERR_OK);
    assert_int_equal(uc_mem_map(engine, FAR_CALL, 0x1000, UC_PROT_ALL), UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, FAR_CALL, machine->frame_call, machine->frame_call_bytes),
                     UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, SLOT, &slot, 8), UC_ERR_OK);
    assert_int_equal(uc_mem_write(engine, sp, &(uint64_t){BACK}, 8), UC_ERR_OK);
    uint64_t arguments[RDF_STACK_WORDS_MAX];
    for (size_t i = 0; i < RDF_STACK_WORDS_MAX; i++)
        arguments[i] = any();
    assert_int_equal(uc_mem_write(engine, sp + (machine->link ? 0 : 8), arguments, sizeof arguments),
                     UC_ERR_OK);
    assert_int_equal(uc_hook_add(engine, &hook, UC_HOOK_CODE, (void *)(uintptr_t)change_all, &callee, CALLEE,
                                 CALLEE),
                     UC_ERR_OK);
    for (unsigned i = 0; i < 64; i++) {
        before[i][0] = any();
        before[i][1] = machine != &riscv && machine->arch->vector_regs >> i & 1 ? any() : 0;
        if (machine->id(i))
            (void)uc_reg_write(engine, machine->id(i), before[i]);
        if (machine->id(i))
            (void)uc_reg_read(engine, machine->id(i), before[i]);
    }
    (void)uc_reg_write(engine, machine->sp, &sp);
    if (machine->link)
        (void)uc_reg_write(engine, machine->link, &(uint64_t){BACK});
    assert_int_equal(uc_emu_start(engine, CODE, BACK, 0, 1000), UC_ERR_OK);
    for (unsigned i = 0; i < 64; i++) {
        bool is_callers = !(machine->arch->call_clobbered >> i & 1) && machine->id(i) &&
                          machine->id(i) != machine->sp;
        if (machine->id(i))
            (void)uc_reg_read(engine, machine->id(i), after[i]);
        if (registers >> i & 1 || is_callers)
            assert_memory_equal(before[i], after[i], 16);
        else if (machine->id(i) && machine->id(i) != machine->sp)
            assert_memory_not_equal(before[i], after[i], 8);
    }
    (void)uc_reg_read(engine, machine->sp, &sp_after);
    assert_true(callee.was_called);
    assert_memory_equal(callee.words, arguments, words * sizeof arguments[0]);
    assert_int_equal(callee.sp % 16, machine->arch->entry_misalign);
    assert_int_equal(sp_after, machine->link ? sp : sp + 8);
    uc_close(engine);
}

static void try_machine(const struct machine *machine, bool may_be_misaligned)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < 64; i++)
        if (machine->arch->plain_regs >> i & 1 && machine->id(i))
            all |= UINT64_C(1) << i;
    try_registers(machine, 0, 0, 0);
    for (uint16_t words = 1; words <= RDF_STACK_WORDS_MAX; words++)
        try_registers(machine, all & any() & any() & any(), 0, words);
    for (unsigned i = 0; i < 64; i++)
        if (all >> i & 1)
            try_registers(machine, UINT64_C(1) << i, 0, 0);
    for (int i = 0; i < 4; i++)
        try_registers(machine, all, 0, 3);
    for (int i = 0; i < 60; i++)
        try_registers(machine, all & any() >> 1 & any() << 7, may_be_misaligned ? 8 * (unsigned)(i % 2) : 0,
                      (uint16_t)(any() >> 32) % 17);
}

static void test_x86_64(void **state)
{
    (void)state;
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    try_machine(&x86, true);
    assert_int_equal(x86.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL,
                                             &(struct rdf_keep){UINT64_C(1) << 48, 16, 0}),
                     0); /* k0 */
    assert_int_equal(x86.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL, &(struct rdf_keep){8, 16, 0}),
                     0); /* rbx is no such one */
    assert_int_equal(x86.arch->emit_preserve(code, CODE, CODE + (UINT64_C(1) << 40), NEAR_CALL,
                                             &(struct rdf_keep){1, 16, 0}),
                     0);
    assert_in_range(x86.arch->emit_preserve(code, CODE, SLOT, FAR_CALL,
                                            &(struct rdf_keep){x86.arch->call_clobbered &
                                                                   ~(UINT64_C(0xff) << 48),
                                                               64, RDF_STACK_WORDS_MAX}),
                    1, RDF_PRESERVE_BYTES_MAX);
}

static void test_aarch64(void **state)
{
    (void)state;
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    try_machine(&arm, false);
    assert_int_equal(arm.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL,
                                             &(struct rdf_keep){UINT64_C(1) << 20, 16, 0}),
                     0);
    assert_int_equal(arm.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL, &(struct rdf_keep){1, 64, 0}), 0);
}

static void test_riscv64(void **state)
{
    (void)state;
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    try_machine(&riscv, false);
    assert_int_equal(riscv.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL,
                                               &(struct rdf_keep){UINT64_C(1) << 31, 16, 0}),
                     0); /* t6: what leads here changes it */
    assert_int_equal(riscv.arch->emit_preserve(code, CODE, SLOT, NEAR_CALL,
                                               &(struct rdf_keep){UINT64_C(1) << 9, 16, 0}),
                     0); /* s1 is no such one */
}

/* What was run above is what this build has. */
static void test_frame_call(void **state)
{
    (void)state;
    const struct machine *const machines[] = {&x86, &arm, &riscv};
    bool is_known = false;
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        const struct machine *machine = machines[i];
        if (machine->arch != rdf_arch_native())
            continue;
        is_known = true;
        assert_memory_equal((const void *)(uintptr_t)rdf_arch_frame_call(), machine->frame_call,
                            machine->frame_call_bytes);
    }
    assert_true(is_known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_x86_64), cmocka_unit_test(test_aarch64),
                                       cmocka_unit_test(test_riscv64), cmocka_unit_test(test_frame_call)};
    return cmocka_run_group_tests_name("preserve", tests, NULL, NULL);
}
