/* SPDX-License-Identifier: MIT
 *
 * The emulated machine of differential_x86_64.c: its memory, its states, one run of one window.
 */
#ifndef TESTS_UNIT_DIFFERENTIAL_X86_64_MACHINE_H
#define TESTS_UNIT_DIFFERENTIAL_X86_64_MACHINE_H

#include "arch/arch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unicorn/unicorn.h>

#define NEAR_ADDR UINT64_C(0x7f1230000000) /* trampolines that a rel32 connects with the image */
#define IMAGE_ADDR                                                                                         \
    UINT64_C(0x7f1200000000)               /* the library, or generated code: above 4 GiB, as it really is \
                                            */
#define FAR_ADDR  UINT64_C(0x10000000)     /* trampolines that need the far forms */
#define DATA_ADDR UINT64_C(0x7ffd00000000) /* stack and whatever registers point to */

enum {
    PLACE_BYTES = 1024, /* of trampoline memory for each window: no cached translation is ever reused */
    PLACES_BYTES = 1 << 25,
    PLACES = PLACES_BYTES / PLACE_BYTES - 1,
    DATA_BYTES = 1 << 16,
    GENERATED_BYTES = 1 << 24,  /* the first half is windows, the second what they use and go to */
    GENERATED_SLOT_BYTES = 256, /* a window in nops, so that a short branch out finds harmless code */
    GENERATED_WINDOW_AT = 64,
    PATCHED_BYTES = 5,
    STATES_PER_WINDOW = 4,
    STEPS_MAX = 400, /* of the original; the relocated form may need more */
    RELOCATED_STEPS_MAX = 4 * STEPS_MAX,
    WRITES_MAX = 4096,
    SHOWN_FAILURES_MAX = 5,
    GPRS = 16,
    XMMS = 16,
    FLAGS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 11, /* CF PF AF ZF SF DF OF */
};

/* ---- random numbers: SplitMix64 ---------------------------------------------------------------- */

/* What a fuzzer decides, as long as it lasts: every choice is a number out of eight bytes. */
static struct rdf_span chosen;

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    if (rdf_span_u64(chosen, 0, &z))
        chosen = rdf_span_slice(chosen, 8, chosen.len_bytes - 8);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned below(uint64_t *seed, unsigned limit)
{
    return (unsigned)(next_random(seed) >> 32) % limit;
}

/* ---- the emulated machine ---------------------------------------------------------------------- */

struct region {
    uint64_t addr;
    size_t len_bytes;
    uint8_t *live;     /* what the emulator sees */
    uint8_t *pristine; /* what every run starts from */
    uint8_t *expected; /* what the original run left */
};

struct state {
    uint64_t gpr[GPRS]; /* rax rcx rdx rbx rsp rbp rsi rdi r8 … r15 */
    uint64_t flags;
    uint8_t xmm[XMMS][16];
};

enum run_end { END_LEFT, END_FAULT, END_INTERRUPT, END_INVALID, END_ENDLESS };

struct outcome {
    enum run_end end;
    uint64_t pc;
    uint64_t last_pc; /* of the instruction that left */
    uint32_t interrupt;
    uc_err error;
    struct state state;
};

struct write {
    uint64_t addr;
    size_t len_bytes;
};

struct machine {
    uc_engine *uc;
    uc_context *clean;
    struct region image, data;
    uint8_t *near_code, *far_code;
    size_t place;
    /* of the run */
    uint64_t range_start, range_end; /* it ends when it leaves these */
    uint64_t previous_pc, last_pc;   /* before this instruction; before it left */
    unsigned steps, steps_max;
    bool stopped, is_endless, is_interrupted;
    uint64_t left_to, last_read;
    uint32_t interrupt;
    struct write writes[WRITES_MAX];
    size_t write_count;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "differential_x86_64: %s: %s\n", what, why);
    exit(2);
}

static void must(uc_err error, const char *what)
{
    if (error != UC_ERR_OK)
        die(what, uc_strerror(error));
}

static const int GPR_IDS[GPRS] = {
    UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP,
    UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
    UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15,
};

/* A function that calls its own entry leaves, there as here: see rdf_x86_64_relocate. */
static bool is_recursion(struct machine *m, uint64_t from, uint64_t to)
{
    struct rdf_insn insn;
    struct rdf_span image = {m->image.live, m->image.len_bytes};

    return to == m->range_start &&
           rdf_arch_x86_64.decode(rdf_span_slice(image, from - m->image.addr, 15), from, &insn) &&
           insn.flow == RDF_FLOW_CALL;
}

static void on_insn(uc_engine *uc, uint64_t addr, uint32_t len_bytes, void *ctx)
{
    struct machine *m = ctx;
    bool is_inside = addr - m->range_start < m->range_end - m->range_start;

    (void)len_bytes;
    if (m->stopped)
        return;
    if (!is_inside || is_recursion(m, m->previous_pc, addr)) {
        m->left_to = addr;
        m->last_pc = m->previous_pc;
        m->stopped = true;
    } else if (++m->steps > m->steps_max) {
        m->is_endless = m->stopped = true;
    }
    m->previous_pc = addr;
    if (m->stopped)
        (void)uc_emu_stop(uc);
}

static void on_write(uc_engine *uc, uc_mem_type type, uint64_t addr, int len_bytes, int64_t value, void *ctx)
{
    struct machine *m = ctx;

    (void)type, (void)value;
    if (m->stopped)
        return;
    if (m->write_count == WRITES_MAX) {
        m->is_endless = m->stopped = true;
        (void)uc_emu_stop(uc);
        return;
    }
    m->writes[m->write_count++] = (struct write){addr, (size_t)len_bytes};
}

static void on_read(uc_engine *uc, uc_mem_type type, uint64_t addr, int len_bytes, int64_t value, void *ctx)
{
    struct machine *m = ctx;

    (void)uc, (void)type, (void)len_bytes, (void)value;
    if (!m->stopped)
        m->last_read = addr;
}

static void on_interrupt(uc_engine *uc, uint32_t number, void *ctx)
{
    struct machine *m = ctx;

    m->interrupt = number;
    m->is_interrupted = m->stopped = true;
    (void)uc_emu_stop(uc);
}

/* The kernel changes RAX, RCX and R11; RCX would tell where the instruction stands. */
static void on_syscall(uc_engine *uc, void *ctx)
{
    uint64_t zero = 0;

    (void)ctx;
    (void)uc_reg_write(uc, UC_X86_REG_RCX, &zero);
    (void)uc_reg_write(uc, UC_X86_REG_R11, &zero);
}

static uint8_t *new_pages(size_t len_bytes)
{
    void *pages = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        die("mmap", "no memory");
    return pages;
}

static void region_open(struct machine *m, struct region *region, uint64_t addr, size_t len_bytes)
{
    *region = (struct region){
        .addr = addr,
        .len_bytes = len_bytes,
        .live = new_pages(len_bytes),
        .pristine = new_pages(len_bytes),
        .expected = new_pages(len_bytes),
    };
    must(uc_mem_map_ptr(m->uc, addr, len_bytes, UC_PROT_READ | UC_PROT_WRITE, region->live), "map");
}

/* Code is not writable and nothing else is executable: the emulator translates whatever it arrives at, and
 * on some random bytes it aborts. */
static void region_allow_code(struct machine *m, struct region *region, uint64_t off, size_t len_bytes)
{
    must(uc_mem_protect(m->uc, region->addr + off, len_bytes, UC_PROT_READ | UC_PROT_EXEC), "protect");
}

/* Once region->live holds what every run is to start from. */
static void region_seal(struct region *region)
{
    memcpy(region->pristine, region->live, region->len_bytes);
    memcpy(region->expected, region->live, region->len_bytes);
}

static void region_close(struct region *region)
{
    (void)munmap(region->live, region->len_bytes);
    (void)munmap(region->pristine, region->len_bytes);
    (void)munmap(region->expected, region->len_bytes);
}

/* Unicorn takes functions as void *, which ISO C has no cast for. */
#define CALLBACK(function) ((void *)(uintptr_t)(function))

static void machine_open(struct machine *m, size_t image_bytes, uint64_t *seed)
{
    uc_hook hook;

    *m = (struct machine){0};
    must(uc_open(UC_ARCH_X86, UC_MODE_64, &m->uc), "open");
    region_open(m, &m->image, IMAGE_ADDR, image_bytes);
    region_open(m, &m->data, DATA_ADDR, DATA_BYTES);
    for (size_t i = 0; i < DATA_BYTES; i += 8) {
        uint64_t value = next_random(seed);
        if (value % 2) /* half of it are pointers into itself, so that loads can go on */
            value = DATA_ADDR + value / 2 % DATA_BYTES / 8 * 8;
        memcpy(m->data.live + i, &value, 8);
    }
    region_seal(&m->data);
    m->near_code = new_pages(PLACES_BYTES);
    m->far_code = new_pages(PLACES_BYTES);
    must(uc_mem_map_ptr(m->uc, NEAR_ADDR, PLACES_BYTES, UC_PROT_READ | UC_PROT_EXEC, m->near_code), "map");
    must(uc_mem_map_ptr(m->uc, FAR_ADDR, PLACES_BYTES, UC_PROT_READ | UC_PROT_EXEC, m->far_code), "map");
    must(uc_hook_add(m->uc, &hook, UC_HOOK_CODE, CALLBACK(on_insn), m, 1, 0), "hook");
    must(uc_hook_add(m->uc, &hook, UC_HOOK_MEM_WRITE, CALLBACK(on_write), m, 1, 0), "hook");
    must(uc_hook_add(m->uc, &hook, UC_HOOK_MEM_READ, CALLBACK(on_read), m, 1, 0), "hook");
    must(uc_hook_add(m->uc, &hook, UC_HOOK_INTR, CALLBACK(on_interrupt), m, 1, 0), "hook");
    must(uc_hook_add(m->uc, &hook, UC_HOOK_INSN, CALLBACK(on_syscall), m, 1, 0, UC_X86_INS_SYSCALL), "hook");
    uint64_t fs_base = DATA_ADDR + DATA_BYTES / 2;
    must(uc_reg_write(m->uc, UC_X86_REG_FS_BASE, &fs_base), "fs");
    must(uc_reg_write(m->uc, UC_X86_REG_GS_BASE, &fs_base), "gs");
    uint64_t cr4 = 1 << 9 | 1 << 5; /* OSFXSR: SSE may run; PAE stays */
    must(uc_reg_write(m->uc, UC_X86_REG_CR4, &cr4), "cr4");
    must(uc_context_alloc(m->uc, &m->clean), "context");
    must(uc_context_save(m->uc, m->clean), "context");
}

static void machine_close(struct machine *m)
{
    (void)uc_context_free(m->clean);
    (void)uc_close(m->uc);
    region_close(&m->image);
    region_close(&m->data);
    (void)munmap(m->near_code, PLACES_BYTES);
    (void)munmap(m->far_code, PLACES_BYTES);
}

static void state_make(struct state *state, uint64_t *seed)
{
    for (int i = 0; i < GPRS; i++) {
        uint64_t value = next_random(seed);
        switch (value % 8) {
        case 0: value = value >> 32 & 3; break; /* small: what counters and comparisons are about */
        case 1: break;
        default: value = DATA_ADDR + DATA_BYTES / 4 + (value >> 8) % (DATA_BYTES / 2); break;
        }
        state->gpr[i] = value;
    }
    state->gpr[4] = DATA_ADDR + DATA_BYTES / 2 + below(seed, 512) * 8;
    state->flags = (next_random(seed) & FLAGS & ~(uint64_t)(1 << 10)) | 2;
    for (int i = 0; i < XMMS; i++)
        for (int j = 0; j < 16; j++)
            state->xmm[i][j] = (uint8_t)next_random(seed);
}

static void state_write(struct machine *m, const struct state *state)
{
    must(uc_context_restore(m->uc, m->clean), "context");
    for (int i = 0; i < GPRS; i++)
        must(uc_reg_write(m->uc, GPR_IDS[i], &state->gpr[i]), "register");
    must(uc_reg_write(m->uc, UC_X86_REG_EFLAGS, &state->flags), "flags");
    for (int i = 0; i < XMMS; i++)
        must(uc_reg_write(m->uc, UC_X86_REG_XMM0 + i, state->xmm[i]), "xmm");
}

static void state_read(struct machine *m, struct state *ret)
{
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < GPRS; i++)
        must(uc_reg_read(m->uc, GPR_IDS[i], &ret->gpr[i]), "register");
    must(uc_reg_read(m->uc, UC_X86_REG_EFLAGS, &ret->flags), "flags");
    ret->flags &= FLAGS;
    for (int i = 0; i < XMMS; i++)
        must(uc_reg_read(m->uc, UC_X86_REG_XMM0 + i, ret->xmm[i]), "xmm");
}

/* Runs from range_start until the code leaves [range_start, range_end). */
static struct outcome machine_run(struct machine *m, const struct state *state, uint64_t start, uint64_t end,
                                  unsigned steps_max)
{
    struct outcome outcome = {.end = END_LEFT};

    m->range_start = start;
    m->range_end = end;
    m->previous_pc = 0;
    m->last_pc = 0;
    m->steps = 0;
    m->steps_max = steps_max;
    m->stopped = m->is_endless = m->is_interrupted = false;
    state_write(m, state);
    outcome.error = uc_emu_start(m->uc, start, ~UINT64_C(0), 0, 0);
    outcome.last_pc = m->stopped ? m->last_pc : m->previous_pc;
    must(uc_reg_read(m->uc, UC_X86_REG_RIP, &outcome.pc), "rip");
    state_read(m, &outcome.state);
    if (m->is_endless) {
        outcome.end = END_ENDLESS;
    } else if (m->is_interrupted) {
        outcome.end = END_INTERRUPT;
        outcome.interrupt = m->interrupt;
    } else if (m->stopped) {
        outcome.pc = m->left_to;
    } else if (outcome.error == UC_ERR_INSN_INVALID) {
        outcome.end = END_INVALID;
    } else if (outcome.pc - start < end - start) {
        outcome.end = END_FAULT; /* an instruction inside could not do its work */
    }
    return outcome;
}

#endif
