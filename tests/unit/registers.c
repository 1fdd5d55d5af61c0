/* SPDX-License-Identifier: MIT
 *
 * What each CPU's room tells of registers, against an emulator: single instructions of real libraries are
 * run, and run again with one register changed that is said not to be read.
 *
 *   written: what changed was said to be written
 *   read:    a register that is not said to be read makes no difference, to registers or memory
 *   killed:  what was in a register that is said to be killed makes no difference either
 *
 * Prints TAP; one result for each CPU and claim.
 */
#include "arch/arch.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unicorn/unicorn.h>
#include <unistd.h>

enum {
    REGISTERS = 64,
    INSNS_MAX = 12000, /* of each library */
    DATA_BYTES = 1 << 16,
    SHOWN_MAX = 8,
};

#define CODE UINT64_C(0x100000)
#define DATA UINT64_C(0x200000)

struct machine {
    const struct rdf_arch *arch;
    uc_arch cpu;
    uc_mode mode;
    int flags;                  /* unicorn's number of the flags; 0: it has none */
    int (*id)(unsigned number); /* unicorn's number of a register; 0: it has none */
    const char *const *libraries;
};

/* The value of each register: a number, or the first 16 bytes of a vector register. */
struct state {
    uint64_t reg[REGISTERS][8];
    uint8_t data[DATA_BYTES];
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
    if (number < 29)
        return (int)(UC_ARM64_REG_X0 + number);
    return number == 29   ? UC_ARM64_REG_X29
           : number == 30 ? UC_ARM64_REG_X30
           : number == 31 ? UC_ARM64_REG_SP
           : number >= 32 ? (int)(UC_ARM64_REG_Q0 + number - 32)
                          : 0;
}

static int riscv_id(unsigned number)
{
    return number == 0 || number == 3 || number == 4 ? 0 /* zero; gp and tp are nobody's */
           : number < 32                             ? (int)(UC_RISCV_REG_X0 + number)
                                                     : (int)(UC_RISCV_REG_F0 + number - 32);
}

static const char *const x86_libraries[] = {"/lib/x86_64-linux-gnu/libc.so.6",
                                            "/lib/x86_64-linux-gnu/libm.so.6", NULL};
static const char *const arm_libraries[] = {"/usr/aarch64-linux-gnu/lib/libc.so.6",
                                            "/usr/aarch64-linux-gnu/lib/libm.so.6", NULL};
static const char *const riscv_libraries[] = {"/usr/riscv64-linux-gnu/lib/libc.so.6",
                                              "/usr/riscv64-linux-gnu/lib/libm.so.6", NULL};
static const struct machine machines[] = {
    {&rdf_arch_x86_64, UC_ARCH_X86, UC_MODE_64, UC_X86_REG_EFLAGS, x86_id, x86_libraries},
    {&rdf_arch_aarch64, UC_ARCH_ARM64, UC_MODE_ARM, UC_ARM64_REG_NZCV, arm_id, arm_libraries},
    {&rdf_arch_riscv64, UC_ARCH_RISCV, UC_MODE_RISCV64, 0, riscv_id, riscv_libraries},
};

static uint64_t chance_state = 7;

static uint64_t any(void)
{
    uint64_t value = chance_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static struct {
    uc_engine *engine;
    uc_context *fresh;
    const struct machine *machine;
    unsigned run, failed[3], shown;
} now;

static void must(uc_err error, const char *what)
{
    if (error != UC_ERR_OK) {
        printf("Bail out! %s: %s\n", what, uc_strerror(error));
        exit(1);
    }
}

/* Run one instruction from `state`; false when it faults, or is none of the emulator's. */
static bool step(const uint8_t *code, size_t len, struct state *state)
{
    must(uc_context_restore(now.engine, now.fresh), "uc_context_restore");
    for (unsigned i = 0; i < REGISTERS; i++)
        if (now.machine->id(i))
            must(uc_reg_write(now.engine, now.machine->id(i), state->reg[i]), "uc_reg_write");
    if (now.machine->flags)
        must(uc_reg_write(now.engine, now.machine->flags, &(uint64_t){2}), "uc_reg_write");
    must(uc_mem_write(now.engine, DATA, state->data, DATA_BYTES), "uc_mem_write");
    must(uc_mem_write(now.engine, CODE, code, len), "uc_mem_write");
    must(uc_ctl_remove_cache(now.engine, CODE, CODE + 64), "uc_ctl_remove_cache");
    if (uc_emu_start(now.engine, CODE, CODE + len, 0, 1) != UC_ERR_OK)
        return false;
    for (unsigned i = 0; i < REGISTERS; i++)
        if (now.machine->id(i))
            must(uc_reg_read(now.engine, now.machine->id(i), state->reg[i]), "uc_reg_read");
    must(uc_mem_read(now.engine, DATA, state->data, DATA_BYTES), "uc_mem_read");
    return true;
}

static void complain(int claim, unsigned number, const uint8_t *code, size_t len)
{
    static const char *const claims[] = {"is written", "is read", "is not killed"};
    char text[96];
    now.failed[claim]++;
    if (now.shown++ >= SHOWN_MAX)
        return;
    (void)now.machine->arch->format((struct rdf_span){code, len}, CODE, text, sizeof text);
    printf("# %s: %s\n", text, claims[claim]);
    printf("#   register %s, bytes", now.machine->arch->register_name(number));
    for (size_t i = 0; i < len; i++)
        printf(" %02x", code[i]);
    printf("\n");
}

/* The emulator (2.0.1) takes VEX and EVEX for what they were on older CPUs, and movbe and Zcb's loads for
 * nothing. */
static bool is_too_new(const uint8_t *code, size_t len)
{
    if (now.machine->cpu == UC_ARCH_RISCV)
        return (code[0] & 3) == 0 && code[1] >> 5 == 4;
    bool is_movbe = false;
    for (size_t i = 0; i + 2 < len && !is_movbe; i++)
        is_movbe = code[i] == 0x0f && code[i + 1] == 0x38 && (code[i + 2] & 0xfe) == 0xf0;
    return code[0] == 0xc4 || code[0] == 0xc5 || code[0] == 0x62 || is_movbe;
}

/* Of more than 8 bytes. */
static bool is_wide(unsigned number)
{
    return now.machine->arch->vector_regs >> number & 1 && now.machine->cpu != UC_ARCH_RISCV;
}

static void try_insn(const uint8_t *code, size_t len)
{
    static struct state before, after, changed;
    const struct rdf_arch *arch = now.machine->arch;
    struct rdf_register_use use;
    struct rdf_insn insn;
    struct rdf_span span = {code, len};
    if (!arch->registers(span, CODE, &insn, &use) || insn.flow != RDF_FLOW_NEXT)
        return;
    if (now.machine->cpu != UC_ARCH_ARM64 && is_too_new(code, len))
        return;
    memset(&before, 0, sizeof before);
    for (unsigned i = 0; i < REGISTERS; i++) {
        bool is_vector = arch->vector_regs >> i & 1;
        before.reg[i][0] = is_vector ? any() : DATA + DATA_BYTES / 2 + (any() % 256) * 16;
        before.reg[i][1] = is_wide(i) ? any() : 0;
    }
    for (size_t i = 0; i < DATA_BYTES; i += 8)
        memcpy(before.data + i, &(uint64_t){any()}, 8);
    after = before;
    if (!step(code, len, &after))
        return;
    now.run++;
    for (unsigned i = 0; i < REGISTERS; i++)
        if (arch->call_clobbered >> i & 1 && memcmp(before.reg[i], after.reg[i], 16) != 0 &&
            !(use.writes >> i & 1))
            complain(0, i, code, len);
    for (int round = 0; round < 3; round++) {
        unsigned number = round == 0 && use.writes ? (unsigned)__builtin_ctzll(use.writes)
                                                   : (unsigned)(any() % REGISTERS);
        if (!(arch->call_clobbered >> number & 1) || use.reads >> number & 1 || !now.machine->id(number))
            continue;
        changed = before;
        changed.reg[number][0] ^= 0x5a50;
        changed.reg[number][1] ^= is_wide(number) ? 0x3c3c3c3c3c3c3c3c : 0;
        if (!step(code, len, &changed)) {
            complain(1, number, code, len);
            continue;
        }
        bool is_killed = use.kills >> number & 1;
        for (unsigned i = 0; i < REGISTERS; i++)
            if (memcmp(after.reg[i], changed.reg[i], 16) != 0 && (i != number || is_killed))
                complain(i == number ? 2 : 1, number, code, len);
        if (memcmp(after.data, changed.data, DATA_BYTES) != 0)
            complain(1, number, code, len);
    }
}

static void try_library(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    const uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    const Elf64_Ehdr *elf = (const void *)file;
    const Elf64_Phdr *load = (const void *)(file + elf->e_phoff);
    for (int i = 0; i < elf->e_phnum; i++) {
        if (load[i].p_type != PT_LOAD || !(load[i].p_flags & PF_X))
            continue;
        unsigned count = 0;
        for (size_t off = 0; off + 64 < load[i].p_filesz && count < INSNS_MAX; count++) {
            struct rdf_insn insn;
            const uint8_t *code = file + load[i].p_offset + off;
            if (!now.machine->arch->decode((struct rdf_span){code, 16}, CODE, &insn)) {
                off += now.machine->arch->insn_align_bytes;
                continue;
            }
            try_insn(code, insn.len_bytes);
            /* Not only the first functions. */
            off += insn.len_bytes +
                   (count % 64 == 63 ? load[i].p_filesz / (INSNS_MAX / 64) & ~(size_t)15 : 0);
        }
    }
    munmap((void *)(uintptr_t)file, (size_t)st.st_size);
}

int main(void)
{
    static const char *const claims[] = {"what is written", "what is read", "what is killed"};
    int number = 0;
    bool is_bad = false;
    for (size_t m = 0; m < sizeof machines / sizeof machines[0]; m++) {
        memset(&now, 0, sizeof now);
        now.machine = &machines[m];
        must(uc_open(now.machine->cpu, now.machine->mode, &now.engine), "uc_open");
        must(uc_mem_map(now.engine, CODE, 4096, UC_PROT_ALL), "uc_mem_map");
        must(uc_mem_map(now.engine, DATA, DATA_BYTES, UC_PROT_READ | UC_PROT_WRITE), "uc_mem_map");
        if (now.machine->cpu == UC_ARCH_ARM64) /* CPACR_EL1.FPEN: floating point at EL0 */
            must(uc_reg_write(now.engine, UC_ARM64_REG_CPACR_EL1, &(uint64_t){3 << 20}), "uc_reg_write");
        if (now.machine->cpu == UC_ARCH_RISCV) /* mstatus.FS */
            must(uc_reg_write(now.engine, UC_RISCV_REG_MSTATUS, &(uint64_t){3 << 13}), "uc_reg_write");
        must(uc_context_alloc(now.engine, &now.fresh), "uc_context_alloc");
        must(uc_context_save(now.engine, now.fresh), "uc_context_save");
        for (const char *const *path = now.machine->libraries; *path; path++)
            try_library(*path);
        for (int claim = 0; claim < 3; claim++)
            if (now.run < 1000)
                printf("ok %d - %s: %s # SKIP no library to take code from\n", ++number,
                       now.machine->arch->name, claims[claim]);
            else
                printf("%s %d - %s: %s, %u instructions\n", now.failed[claim] ? "not ok" : "ok", ++number,
                       now.machine->arch->name, claims[claim], now.run);
        is_bad |= now.failed[0] || now.failed[1] || now.failed[2];
        uc_context_free(now.fresh);
        uc_close(now.engine);
    }
    printf("1..%d\n", number);
    return is_bad;
}
