/* SPDX-License-Identifier: MIT
 *
 * differential_x86_64 [--count N] [--generated N] [--seed S] [LIBRARY…]
 *
 * The relocated window must do what the original window does. Both run in an emulator from equal random
 * states, until they leave their bytes; then registers, flags, SSE registers, all written memory and the
 * address they went to must be equal. Windows come from two places: the first instructions of every function
 * of the given libraries and programs (at most N of each; without any, the libraries of this program), and a
 * generator of branches, calls and RIP-relative operands. Prints TAP and, last, how many of each were tried.
 * The same seed gives the same run.
 */
#include "arch/arch.h"
#include "support/entries.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unicorn/unicorn.h>
#include <unistd.h>

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

/* ---- comparing --------------------------------------------------------------------------------- */

static struct region *region_of(struct machine *m, const struct write *write, size_t *ret_off)
{
    struct region *const regions[] = {&m->image, &m->data};

    for (size_t i = 0; i < 2; i++) {
        *ret_off = (size_t)(write->addr - regions[i]->addr);
        if (write->addr >= regions[i]->addr && *ret_off <= regions[i]->len_bytes - write->len_bytes)
            return regions[i];
    }
    return NULL;
}

/* What the run wrote becomes what is expected of the next one; live memory is as before the run. */
static void memory_expect(struct machine *m)
{
    for (size_t i = 0; i < m->write_count; i++) {
        size_t off, len = m->writes[i].len_bytes;
        struct region *region = region_of(m, &m->writes[i], &off);
        if (region)
            memcpy(region->expected + off, region->live + off, len);
    }
    for (size_t i = 0; i < m->write_count; i++) {
        size_t off, len = m->writes[i].len_bytes;
        struct region *region = region_of(m, &m->writes[i], &off);
        if (region)
            memcpy(region->live + off, region->pristine + off, len);
    }
}

/* The first address at which live memory is not what is expected, 0 when all is; then makes everything
 * that either run wrote as it was in the beginning. */
static uint64_t memory_compare(struct machine *m)
{
    uint64_t differs_at = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < m->write_count; i++) {
            size_t off, len = m->writes[i].len_bytes;
            struct region *region = region_of(m, &m->writes[i], &off);
            if (!region)
                continue;
            if (pass == 0 && !differs_at && memcmp(region->live + off, region->expected + off, len) != 0)
                differs_at = m->writes[i].addr;
            if (pass == 1) {
                memcpy(region->live + off, region->pristine + off, len);
                memcpy(region->expected + off, region->pristine + off, len);
            }
        }
    m->write_count = 0;
    return differs_at;
}

struct window {
    uint64_t addr;
    struct rdf_span code;
    uint64_t trampoline_addr;
    struct rdf_relocated relocated;
};

static uint64_t old_pc_of(const struct window *window, uint64_t pc)
{
    uint64_t old = window->addr;

    for (size_t i = 0; i < window->relocated.pc_count; i++)
        if (window->relocated.pcs[i].new_off <= pc - window->trampoline_addr)
            old = window->addr + window->relocated.pcs[i].old_off;
    return old;
}

/* `call next; pop rbx; jmp rbx` goes to where the window was. No relocation can know what a register will
 * hold; a direct branch that did so would be a mistake, and is not excused here. */
static bool is_computed_entry(const struct window *window, const struct outcome *relocated)
{
    struct rdf_span code = {window->relocated.code, window->relocated.len_bytes};
    uint64_t off = relocated->last_pc - window->trampoline_addr;
    struct rdf_insn insn;

    if (relocated->end != END_LEFT || relocated->pc - window->addr >= window->code.len_bytes ||
        off >= code.len_bytes ||
        !rdf_arch_x86_64.decode(rdf_span_slice(code, off, code.len_bytes - off), relocated->last_pc, &insn))
        return false;
    return insn.flow == RDF_FLOW_RETURN || (insn.flow == RDF_FLOW_JUMP_INDIRECT && !insn.has_ref);
}

/* A call through memory that lies where the call itself pushes: the relocated form has pushed before it
 * reads. With rsp as the base it is refused; through another register nobody can know. A documented limit. */
static bool is_slot_read(const struct window *window, const struct outcome *original, uint64_t read_at)
{
    struct rdf_insn insn;
    uint64_t off = original->last_pc - window->addr;

    return off < window->code.len_bytes &&
           rdf_arch_x86_64.decode(rdf_span_slice(window->code, off, window->code.len_bytes - off),
                                  original->last_pc, &insn) &&
           insn.flow == RDF_FLOW_CALL_INDIRECT && read_at - (original->state.gpr[4] - 7) < 15;
}

/* unicorn 2.0.1 sometimes leaves wrong flags after an instruction that changes memory and flags, depending
 * on the code around: sar qword ptr [rdx-0x70], cl of 0x7ffd00009a20 by 40 gave CF 0, and bit 39 is 1. xchg
 * with memory is as bad. */
static bool has_unsure_result(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
    if (!(insn->cpu_flags && (insn->cpu_flags->modified | insn->cpu_flags->undefined)) &&
        insn->mnemonic != ZYDIS_MNEMONIC_XCHG)
        return false;
    for (int i = 0; i < insn->operand_count; i++)
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            return true;
    return false;
}

/* The flags whose value says nothing after this code: those, and what the manual leaves undefined, which
 * the emulator makes from whatever it last had (SDM vol. 1, appendix A). */
static uint64_t unsure_flags(struct rdf_span code)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t mask = 0;

    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (size_t off = 0; off < code.len_bytes; off += insn.length) {
        if (ZYAN_FAILED(
                ZydisDecoderDecodeFull(&decoder, code.data + off, code.len_bytes - off, &insn, operands)))
            return mask;
        if (has_unsure_result(&insn, operands))
            mask |= FLAGS;
        else if (insn.cpu_flags)
            mask |= insn.cpu_flags->undefined;
    }
    return mask;
}

static const char FLAGS_DIFFER[] = "flags";

/* Null when both did the same, else what differs. */
static const char *difference(const struct window *window, const struct outcome *a, const struct outcome *b)
{
    struct rdf_insn insn = {.flow = RDF_FLOW_NEXT};
    uint64_t off = a->pc - window->addr;

    if (a->end != b->end)
        return "one left and the other did not";
    if (a->end == END_LEFT && a->pc != b->pc)
        return "they go to different addresses";
    if (a->interrupt != b->interrupt)
        return "different interrupts";
    if (a->end == END_FAULT) {
        if (old_pc_of(window, b->pc) != a->pc)
            return "different instructions fault";
        /* A call whose target cannot be read has already pushed when its relocated form faults. */
        struct rdf_span rest = rdf_span_slice(window->code, off, window->code.len_bytes - off);
        (void)rdf_arch_x86_64.decode(rest, a->pc, &insn);
        if (insn.flow == RDF_FLOW_CALL_INDIRECT)
            return NULL;
        if (a->error != b->error)
            return "they fault differently";
    }
    if (memcmp(a->state.gpr, b->state.gpr, sizeof a->state.gpr) != 0)
        return "general registers";
    if (a->state.flags != b->state.flags)
        return FLAGS_DIFFER;
    if (memcmp(a->state.xmm, b->state.xmm, sizeof a->state.xmm) != 0)
        return "xmm registers";
    return NULL;
}

/* ---- one window -------------------------------------------------------------------------------- */

struct totals {
    size_t windows, equal_runs, failed_windows;
    size_t refused, unreachable;                         /* by relocate */
    size_t invalid, endless, computed, nondeterministic; /* skipped by the test */
    size_t unsure;                     /* equal but for flags that the emulator gets wrong */
    size_t left, faulted, interrupted; /* how the equal runs ended */
};

static void show_code(const char *title, struct rdf_span code, uint64_t addr)
{
    printf("#   %s at 0x%" PRIx64 "\n", title, addr);
    for (size_t off = 0; off < code.len_bytes;) {
        char text[128];
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        size_t len = rdf_arch_x86_64.format(rest, addr + off, text, sizeof text);
        printf("#     +%02zx", off);
        len = len ? len : 1;
        for (size_t i = 0; i < len; i++)
            printf(" %02x", rest.data[i]);
        printf("   %s\n", text);
        off += len;
    }
}

static void show_failure(const struct window *window, const struct state *start, const struct outcome *a,
                         const struct outcome *b, const char *what, const char *name)
{
    printf("# %s: %s\n", name, what);
    show_code("original", window->code, window->addr);
    show_code("relocated", (struct rdf_span){window->relocated.code, window->relocated.len_bytes},
              window->trampoline_addr);
    printf("#   original: end %d error %d pc 0x%" PRIx64 " flags 0x%" PRIx64 "\n", a->end, a->error, a->pc,
           a->state.flags);
    printf("#   relocated: end %d error %d pc 0x%" PRIx64 " flags 0x%" PRIx64 "\n", b->end, b->error, b->pc,
           b->state.flags);
    for (int i = 0; i < GPRS; i++)
        if (a->state.gpr[i] != b->state.gpr[i])
            printf("#   register %d: from 0x%" PRIx64 " to 0x%" PRIx64 ", relocated 0x%" PRIx64 "\n", i,
                   start->gpr[i], a->state.gpr[i], b->state.gpr[i]);
}

/* Instructions whose result is not a function of the state. */
static bool is_deterministic(struct rdf_span code)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;

    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (size_t off = 0; off < code.len_bytes; off += insn.length) {
        if (ZYAN_FAILED(
                ZydisDecoderDecodeInstruction(&decoder, NULL, code.data + off, code.len_bytes - off, &insn)))
            return false;
        switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED:
        case ZYDIS_MNEMONIC_RDPMC:
        case ZYDIS_MNEMONIC_FNSTENV: /* stores the address of the last x87 instruction */
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64: return false;
        default: break;
        }
    }
    return true;
}

/* Relocates to the next free place; false, and counted, when that is refused. */
static bool place_window(struct machine *m, struct window *window, bool is_far, struct totals *totals)
{
    size_t place = m->place;
    struct rdf_error err = {.status = REDEFINE_OK};

    window->trampoline_addr = (is_far ? FAR_ADDR : NEAR_ADDR) + place;
    struct rdf_relocate_request request = {
        .window = window->code,
        .window_addr = window->addr,
        .patched_start = window->addr,
        .patched_end = window->addr + PATCHED_BYTES,
        .trampoline_addr = window->trampoline_addr,
    };
    redefine_status status = rdf_arch_x86_64.relocate(&request, &window->relocated, &err);
    if (status == REDEFINE_ENOMEM)
        totals->unreachable++;
    else if (status != REDEFINE_OK)
        totals->refused++;
    if (status != REDEFINE_OK)
        return false;
    m->place += PLACE_BYTES;
    if (m->place == PLACES_BYTES)
        die("too many windows", "give a smaller --count");
    uint8_t *live = (is_far ? m->far_code : m->near_code) + place;
    memcpy(live, window->relocated.code, window->relocated.len_bytes);
    return true;
}

static void try_window(struct machine *m, struct window *window, bool is_far, uint64_t *seed,
                       const char *name, struct totals *totals)
{
    if (!is_deterministic(window->code)) {
        totals->nondeterministic++;
        return;
    }
    if (!place_window(m, window, is_far, totals))
        return;
    totals->windows++;
    for (int i = 0; i < STATES_PER_WINDOW; i++) {
        struct state start;
        state_make(&start, seed);
        m->write_count = 0;
        struct outcome a = machine_run(m, &start, window->addr, window->addr + window->code.len_bytes,
                                       STEPS_MAX);
        uint64_t read_at = m->last_read;
        memory_expect(m);
        if (a.end == END_INVALID || a.end == END_ENDLESS) {
            *(a.end == END_INVALID ? &totals->invalid : &totals->endless) += 1;
            (void)memory_compare(m);
            return;
        }
        struct outcome b = machine_run(m, &start, window->trampoline_addr,
                                       window->trampoline_addr + window->relocated.len_bytes,
                                       RELOCATED_STEPS_MAX);
        if (is_computed_entry(window, &b) || (a.end == END_LEFT && is_slot_read(window, &a, read_at))) {
            totals->computed++;
            (void)memory_compare(m);
            return;
        }
        const char *what = difference(window, &a, &b);
        if (what == FLAGS_DIFFER && ((a.state.flags ^ b.state.flags) & ~unsure_flags(window->code)) == 0) {
            totals->unsure++;
            what = NULL;
        }
        bool is_call_fault = !what && a.end == END_FAULT && a.state.gpr[4] != b.state.gpr[4];
        uint64_t differs_at = memory_compare(m);
        if (!what && differs_at && !is_call_fault)
            what = "memory";
        if (what) {
            if (totals->failed_windows++ < SHOWN_FAILURES_MAX)
                show_failure(window, &start, &a, &b, what, name);
            return;
        }
        totals->equal_runs++;
        if (a.end == END_LEFT)
            totals->left++;
        else if (a.end == END_FAULT)
            totals->faulted++;
        else
            totals->interrupted++;
    }
}

#ifndef RDF_DIFFERENTIAL_FUZZ

/* Whole instructions of at least `min_bytes`; their length, 0 when there are none. */
static size_t window_bytes(struct rdf_span code, uint64_t addr, size_t min_bytes)
{
    size_t len = 0;
    struct rdf_insn insn;

    while (len < min_bytes) {
        if (!rdf_arch_x86_64.decode(rdf_span_slice(code, len, code.len_bytes - len), addr + len, &insn))
            return 0;
        len += insn.len_bytes;
    }
    return len <= RDF_WINDOW_BYTES_MAX ? len : 0;
}

static int report(const char *name, const struct totals *t, int *test)
{
    bool is_ok = t->failed_windows == 0 && t->equal_runs > 0;

    printf("%s %d - %s: %zu windows, %zu equal runs (%zu left, %zu faulted alike, %zu interrupted)\n",
           is_ok ? "ok" : "not ok", ++*test, name, t->windows, t->equal_runs, t->left, t->faulted,
           t->interrupted);
    printf("#   failed %zu, refused %zu, operand out of reach %zu; "
           "skipped: %zu that the emulator cannot run, %zu endless, "
           "%zu that compute an address in the window, %zu nondeterministic, %zu flags undefined\n",
           t->failed_windows, t->refused, t->unreachable, t->invalid, t->endless, t->computed,
           t->nondeterministic, t->unsure);
    fflush(stdout);
    return is_ok ? 0 : 1;
}

/* ---- real libraries ---------------------------------------------------------------------------- */

struct library {
    const uint8_t *bytes;
    size_t len_bytes;
    const Elf64_Ehdr *header;
};

static struct library library_open(const char *path)
{
    struct library library = {0};
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &stat) != 0)
        die("cannot open", path);
    library.len_bytes = (size_t)stat.st_size;
    library.bytes = mmap(NULL, library.len_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (library.bytes == MAP_FAILED)
        die("cannot map", path);
    library.header = (const Elf64_Ehdr *)library.bytes;
    if (library.len_bytes < sizeof *library.header || memcmp(library.bytes, ELFMAG, SELFMAG) != 0 ||
        library.header->e_machine != EM_X86_64)
        die("not an x86-64 ELF file", path);
    return library;
}

static const void *library_at(const struct library *library, uint64_t off, uint64_t len_bytes)
{
    struct rdf_span file = {library->bytes, library->len_bytes};
    const void *at = rdf_span_slice(file, off, len_bytes).data;

    if (!at)
        die("the file is cut off", "a table lies outside");
    return at;
}

static const Elf64_Phdr *library_segment(const struct library *library, unsigned i)
{
    return library_at(library, library->header->e_phoff + i * sizeof(Elf64_Phdr), sizeof(Elf64_Phdr));
}

static size_t library_image_bytes(const struct library *library)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < library->header->e_phnum; i++) {
        const Elf64_Phdr *ph = library_segment(library, i);
        if (ph->p_type == PT_LOAD && ph->p_vaddr + ph->p_memsz > end)
            end = ph->p_vaddr + ph->p_memsz;
    }
    return (size_t)((end + 0xffff) & ~UINT64_C(0xffff));
}

static void library_load(const struct library *library, struct machine *m)
{
    struct region *image = &m->image;

    for (unsigned i = 0; i < library->header->e_phnum; i++) {
        const Elf64_Phdr *ph = library_segment(library, i);
        if (ph->p_type != PT_LOAD || ph->p_filesz == 0)
            continue;
        memcpy(image->live + ph->p_vaddr, library_at(library, ph->p_offset, ph->p_filesz), ph->p_filesz);
        if (ph->p_flags & PF_X)
            region_allow_code(m, image, ph->p_vaddr & ~UINT64_C(4095),
                              (ph->p_filesz + (ph->p_vaddr & 4095) + 4095) & ~UINT64_C(4095));
    }
    region_seal(image);
}

/* Each entry gives a window of entry-jump size or, by chance, a longer one. */
static void try_entries(struct machine *m, const struct library *library, const struct entry *entry,
                        size_t count, uint64_t *seed, const char *path, struct totals *totals)
{
    machine_open(m, library_image_bytes(library), seed);
    library_load(library, m);
    for (size_t i = 0; i < count; i++) {
        struct window window = {.addr = IMAGE_ADDR + entry[i].addr};
        size_t min_bytes = PATCHED_BYTES + (below(seed, 2) ? below(seed, 24) : 0);
        if (entry[i].addr + 80 > m->image.len_bytes)
            continue;
        struct rdf_span code = {m->image.live + entry[i].addr, 80};
        window.code = (struct rdf_span){code.data, window_bytes(code, window.addr, min_bytes)};
        if (window.code.len_bytes > 0)
            try_window(m, &window, below(seed, 4) == 0, seed, path, totals);
    }
    machine_close(m);
}

/* At most `limit` of its entries; a machine has room for so many windows only. */
static int test_library(const char *path, size_t limit, uint64_t *seed, int *test, size_t *windows)
{
    static struct machine machine;
    struct library library = library_open(path);
    struct totals totals = {0};
    size_t count = 0;
    struct entry *entry = entries_of(library.bytes, library.len_bytes, &count);

    if (!entry)
        die("no entries", path);
    count = count < limit ? count : limit;
    for (size_t at = 0; at < count; at += PLACES)
        try_entries(&machine, &library, entry + at, count - at < PLACES ? count - at : PLACES, seed, path,
                    &totals);
    free(entry);
    (void)munmap((void *)(uintptr_t)library.bytes, library.len_bytes);
    *windows += totals.windows;
    return report(path, &totals, test);
}

#endif

/* ---- generated windows ------------------------------------------------------------------------- */

struct draft {
    uint8_t bytes[RDF_WINDOW_BYTES_MAX + 16];
    size_t len_bytes;
    uint8_t starts[RDF_WINDOW_INSNS_MAX];
    size_t start_count;
    uint8_t rel8_at[RDF_WINDOW_INSNS_MAX]; /* short branches, aimed when all starts are known */
    size_t rel8_count;
};

static void draft_put(struct draft *d, const uint8_t *bytes, size_t len_bytes)
{
    memcpy(d->bytes + d->len_bytes, bytes, len_bytes);
    d->len_bytes += len_bytes;
}

#define DRAFT(d, ...) draft_put((d), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void draft_value(struct draft *d, int64_t value, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        DRAFT(d, (uint8_t)((uint64_t)value >> 8 * i));
}

/* A distance from any window to somewhere in the half of the image that holds none. */
static int64_t draft_distance(uint64_t *seed)
{
    return GENERATED_BYTES / 2 + below(seed, 0x8000);
}

/* A REX prefix before another prefix is ignored (SDM vol. 2, 2.2.1). This emulator obeys it. */
static bool has_stray_rex(const ZydisDecodedInstruction *insn)
{
    for (int i = 0; i + 1 < insn->raw.prefix_count; i++)
        if ((insn->raw.prefixes[i].value & 0xf0) == 0x40)
            return true;
    return false;
}

/* A harmless instruction out of random bytes. */
static void draft_plain(struct draft *d, uint64_t *seed)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    uint8_t bytes[16];

    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (;;) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)next_random(seed);
        if (below(seed, 2))
            bytes[0] = (uint8_t)(0x48 | below(seed, 8));
        if (below(seed, 8) == 0)
            bytes[0] = 0x0f;
        if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, sizeof bytes, &insn)) ||
            insn.length > 15 || insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
            continue;
        if ((insn.attributes & ZYDIS_ATTRIB_IS_RELATIVE) && !insn.raw.imm[0].is_relative) {
            int64_t disp = draft_distance(seed); /* an operand that is there */
            memcpy(bytes + insn.raw.disp.offset, &disp, 4);
        }
        switch (insn.meta.category) {
        case ZYDIS_CATEGORY_BINARY:
        case ZYDIS_CATEGORY_LOGICAL:
        case ZYDIS_CATEGORY_SHIFT:
        case ZYDIS_CATEGORY_ROTATE:
        case ZYDIS_CATEGORY_BITBYTE:
        case ZYDIS_CATEGORY_CMOV:
        case ZYDIS_CATEGORY_SETCC:
        case ZYDIS_CATEGORY_CONVERT:
        case ZYDIS_CATEGORY_FLAGOP:
        case ZYDIS_CATEGORY_SSE:
        case ZYDIS_CATEGORY_NOP:
        case ZYDIS_CATEGORY_WIDENOP:
        case ZYDIS_CATEGORY_STRINGOP:
        case ZYDIS_CATEGORY_SEMAPHORE:
        case ZYDIS_CATEGORY_PUSH:
        case ZYDIS_CATEGORY_POP: break;
        case ZYDIS_CATEGORY_DATAXFER:
            if (insn.mnemonic == ZYDIS_MNEMONIC_MOV && (insn.opcode == 0x8c || insn.opcode == 0x8e))
                continue; /* segment registers */
            break;
        default: continue;
        }
        if (insn.mnemonic == ZYDIS_MNEMONIC_CLI || insn.mnemonic == ZYDIS_MNEMONIC_STI ||
            insn.mnemonic == ZYDIS_MNEMONIC_POPF || insn.mnemonic == ZYDIS_MNEMONIC_POPFQ)
            continue; /* an interrupt flag or a trap flag of the emulated kernel */
        if (has_stray_rex(&insn) || (unsure_flags((struct rdf_span){bytes, insn.length}) & FLAGS) == FLAGS)
            continue;
        if (insn.meta.category == ZYDIS_CATEGORY_POP && insn.opcode_map == ZYDIS_OPCODE_MAP_0F)
            continue; /* pop fs, pop gs */
        draft_put(d, bytes, insn.length);
        return;
    }
}

static void draft_rel8(struct draft *d)
{
    d->rel8_at[d->rel8_count++] = (uint8_t)d->len_bytes;
    DRAFT(d, 0);
}

static void draft_call(struct draft *d, uint64_t *seed)
{
    uint8_t low = (uint8_t)below(seed, 8), disp = (uint8_t)below(seed, 256);

    switch (below(seed, 9)) {
    case 0:
        DRAFT(d, 0xe8);
        draft_value(d, draft_distance(seed), 4);
        break;
    case 1: DRAFT(d, 0xe8, 0, 0, 0, 0, (uint8_t)(0x58 | low)); break; /* call next; pop */
    case 2: DRAFT(d, 0xff, (uint8_t)(0xd0 | low)); break;
    case 3: DRAFT(d, 0x41, 0xff, (uint8_t)(0xd0 | low)); break;
    case 4: DRAFT(d, 0xff, 0x54, 0x24, disp); break; /* call [rsp+disp] */
    case 5:
        DRAFT(d, 0xff, 0x94, 0x24);
        draft_value(d, below(seed, 0x1000), 4);
        break;
    case 6:
        DRAFT(d, 0xff, 0x15);
        draft_value(d, draft_distance(seed), 4);
        break;
    case 7: DRAFT(d, 0xff, (uint8_t)(0x50 | (low == 4 ? 5 : low)), disp); break;
    default: DRAFT(d, 0xff, 0x14, 0x24); break; /* call [rsp] */
    }
}

static void draft_insn(struct draft *d, uint64_t *seed)
{
    uint8_t low = (uint8_t)below(seed, 8), rex = (uint8_t)(0x48 | below(seed, 2) << 2);

    d->starts[d->start_count++] = (uint8_t)d->len_bytes;
    switch (below(seed, 18)) {
    case 0:
        DRAFT(d, (uint8_t)(0x70 | below(seed, 16)));
        draft_rel8(d);
        break;
    case 1:
        DRAFT(d, 0x0f, (uint8_t)(0x80 | below(seed, 16)));
        draft_value(d, draft_distance(seed), 4);
        break;
    case 2:
        DRAFT(d, (uint8_t)(0xe0 | below(seed, 4)));
        draft_rel8(d);
        break;
    case 3:
        DRAFT(d, 0x67, (uint8_t)(0xe0 | below(seed, 4)));
        draft_rel8(d);
        break;
    case 4:
        DRAFT(d, 0xeb);
        draft_rel8(d);
        break;
    case 5: draft_call(d, seed); break;
    case 6:
        DRAFT(d, rex, 0x8d, (uint8_t)(low << 3 | 5));
        draft_value(d, draft_distance(seed), 4);
        break;
    case 7:
        DRAFT(d, rex, 0x8b, (uint8_t)(low << 3 | 5));
        draft_value(d, draft_distance(seed), 4);
        break;
    case 8:
        DRAFT(d, 0x48, 0xc7, 0x05);
        draft_value(d, draft_distance(seed), 4);
        draft_value(d, (int64_t)next_random(seed), 4);
        break;
    case 13:
        DRAFT(d, 0x80, 0x3d);
        draft_value(d, draft_distance(seed), 4);
        DRAFT(d, low);
        break; /* cmp */
    case 14:
        DRAFT(d, 0xf7, 0x05);
        draft_value(d, draft_distance(seed), 4);
        draft_value(d, low, 4);
        break;
    case 9: DRAFT(d, (uint8_t)(0x50 | below(seed, 16))); break; /* push, pop */
    case 10:
        if (below(seed, 4) == 0) {
            DRAFT(d, 0xe9);
            draft_value(d, draft_distance(seed), 4);
        } else {
            DRAFT(d, 0xff, 0x25);
            draft_value(d, draft_distance(seed), 4);
        }
        break;
    case 11: DRAFT(d, 0xff, (uint8_t)(0xc0 | below(seed, 2) << 3 | low)); break; /* inc, dec */
    case 12: DRAFT(d, below(seed, 8) ? 0x90 : 0xc3); break;
    default: draft_plain(d, seed); break;
    }
}

static void draft_window(struct draft *d, uint64_t *seed)
{
    size_t min_bytes = PATCHED_BYTES + below(seed, 20);

    *d = (struct draft){.len_bytes = 0};
    while (d->len_bytes < min_bytes)
        draft_insn(d, seed);
    for (size_t i = 0; i < d->rel8_count; i++) {
        size_t at = d->rel8_at[i];
        unsigned choice = below(seed, 4);
        int target = choice == 0   ? (int)below(seed, 100) - 30
                     : choice == 1 ? (int)d->len_bytes
                                   : d->starts[below(seed, (unsigned)d->start_count)];
        d->bytes[at] = (uint8_t)(target - (int)(at + 1));
    }
}

/* Far from a trampoline, a window with such an operand is refused: a few are enough. */
static bool has_load(const struct draft *d)
{
    struct rdf_span code = {d->bytes, d->len_bytes};
    struct rdf_insn insn;

    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        if (!rdf_arch_x86_64.decode(rdf_span_slice(code, off, code.len_bytes - off), off, &insn))
            return false;
        if (insn.has_ref && insn.ref_is_load)
            return true;
    }
    return false;
}

enum { GENERATED_HALF = GENERATED_BYTES / 2, SLOTS = (GENERATED_HALF - 0x10000) / GENERATED_SLOT_BYTES };

/* Room for SLOTS windows, in the first half of its image. */
static void open_for_generated(struct machine *m, uint64_t *seed)
{
    machine_open(m, GENERATED_BYTES, seed);
    region_allow_code(m, &m->image, 0, GENERATED_HALF);
    memset(m->image.live, 0x90, GENERATED_HALF);
    for (size_t i = GENERATED_HALF; i < GENERATED_BYTES; i++)
        m->image.live[i] = (uint8_t)next_random(seed);
    region_seal(&m->image);
}

static void try_generated(struct machine *m, size_t slot, bool is_far, uint64_t *seed, const char *name,
                          struct totals *totals)
{
    uint8_t *const views[] = {m->image.live, m->image.pristine, m->image.expected};
    size_t off = slot * GENERATED_SLOT_BYTES + GENERATED_WINDOW_AT;
    struct draft draft;
    do
        draft_window(&draft, seed);
    while (is_far && has_load(&draft) && below(seed, 32) != 0);
    struct window window = {.addr = IMAGE_ADDR + off, .code = {m->image.live + off, draft.len_bytes}};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        memcpy(views[i] + off, draft.bytes, draft.len_bytes);
    if (draft.len_bytes <= RDF_WINDOW_BYTES_MAX)
        try_window(m, &window, is_far, seed, name, totals);
}

#ifndef RDF_DIFFERENTIAL_FUZZ

static int test_generated(size_t count, bool is_far, uint64_t *seed, int *test, size_t *windows)
{
    struct totals totals = {0};
    const char *name = is_far ? "generated windows, far trampoline" : "generated windows, near trampoline";

    static struct machine machine;
    for (size_t i = 0; i < count; i++) {
        if (i % SLOTS == 0)
            open_for_generated(&machine, seed);
        try_generated(&machine, i % SLOTS, is_far, seed, name, &totals);
        if (i % SLOTS == SLOTS - 1 || i == count - 1)
            machine_close(&machine);
    }
    *windows += totals.windows;
    return report(name, &totals, test);
}

struct own_libraries {
    char *paths[32];
    int count;
};

static int add_own_library(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct own_libraries *own = ctx;

    (void)size;
    if (info->dlpi_name[0] == '/' && own->count < 32)
        own->paths[own->count++] = strdup(info->dlpi_name);
    return 0;
}

int main(int argc, char **argv)
{
    struct own_libraries own = {.count = 0};
    size_t count = 5000, generated = 10000;
    uint64_t seed = 1;
    size_t tried = 0, made = 0;
    int test = 0, failed = 0, arg = 1;

    for (; arg + 1 < argc && strncmp(argv[arg], "--", 2) == 0; arg += 2) {
        uint64_t value = strtoull(argv[arg + 1], NULL, 0);
        if (strcmp(argv[arg], "--count") == 0)
            count = (size_t)value;
        else if (strcmp(argv[arg], "--generated") == 0)
            generated = (size_t)value;
        else if (strcmp(argv[arg], "--seed") == 0)
            seed = value;
        else
            die("unknown option", argv[arg]);
    }
    printf("# seed %" PRIu64 "\n", seed);
    if (arg == argc)
        (void)dl_iterate_phdr(add_own_library, &own);
    for (int i = 0; count > 0 && i < own.count; i++) {
        failed += test_library(own.paths[i], count, &seed, &test, &tried);
        free(own.paths[i]);
    }
    for (; count > 0 && arg < argc; arg++)
        failed += test_library(argv[arg], count, &seed, &test, &tried);
    if (generated > 0) {
        failed += test_generated(generated, false, &seed, &test, &made);
        failed += test_generated(generated, true, &seed, &test, &made);
    }
    printf("# x86-64: %zu entries of libraries and programs, %zu generated\n1..%d\n", tried, made, test);
    return failed ? 1 : 0;
}

#endif
