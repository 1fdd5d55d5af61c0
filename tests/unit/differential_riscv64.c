/* SPDX-License-Identifier: MIT
 *
 * Windows run twice in an emulator: as they are, until control leaves them, and relocated, until it leaves
 * the trampoline. Both must end at the same address with the same registers and memory. Of t1, t4, t5 and t6
 * those are left out that the window does not touch: a far jump may use one. While the relocated code runs,
 * the window's bytes are others, as those are that an entry jump overwrites.
 *
 *     differential_riscv64 [--count N] [--seed S]
 */
#include "arch/arch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#define WINDOW UINT64_C(0x5555550000)
#define DATA   UINT64_C(0x6000000000)

enum {
    DATA_BYTES = 8192,
    AROUND_BYTES = 1 << 20, /* of memory on either side of the window, for what auipc names */
    TRAMPOLINE_AREA_BYTES = 4096,
    INSNS_MAX = 24,
    STEPS_MAX = 400, /* a window that loops longer is given up */
    OUTSIDE_BYTES = 0x100,
    SP = 2,
    S0 = 8,
};

static const struct rdf_arch *const arch = &rdf_arch_riscv64;

/* --- chance ----------------------------------------------------------------------------------- */

static uint64_t chance_state;

static uint64_t any(void) /* splitmix64 */
{
    uint64_t value = chance_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(any() % limit);
}

/* --- windows ---------------------------------------------------------------------------------- */

/* One made-up instruction; branches get their targets when all lengths are known. */
struct made {
    uint32_t word;
    unsigned len_bytes, off;
    enum { FIXED, JAL, BRANCH, C_J, C_BRANCH } kind;
};

struct window {
    struct made made[INSNS_MAX];
    size_t count, len_bytes;
    uint8_t bytes[INSNS_MAX * 4];
};

/* Any but those that hold addresses of data; temporaries more often. */
static unsigned any_reg(void)
{
    static const unsigned regs[] = {1, 5, 6, 7, 10, 11, 12, 15, 17, 28, 29, 30, 31, 6, 29};
    return regs[below(sizeof regs / sizeof regs[0])];
}

static unsigned short_reg(void)
{
    return 2 + below(6); /* a0 to a5 */
}

static void add(struct window *window, uint32_t word, unsigned len_bytes, int kind)
{
    struct made *made = &window->made[window->count++];
    *made = (struct made){word, len_bytes, (unsigned)window->len_bytes, (unsigned)kind};
    window->len_bytes += len_bytes;
}

static uint32_t encode(uint32_t opcode, unsigned rd, unsigned rs1, uint32_t high)
{
    return high << 20 | rs1 << 15 | rd << 7 | opcode;
}

/* auipc, and what often uses it at once. */
static void add_pair(struct window *window)
{
    unsigned rd = any_reg();
    /* Within the mapped surroundings, and before or well behind the window. */
    uint32_t high = below(2) ? 1 + below(200) : 0xfffff - below(200);
    add(window, high << 12 | rd << 7 | 0x17, 4, FIXED);
    switch (below(4)) {
    case 0: add(window, encode(0x13, any_reg(), rd, below(0x7f0)), 4, FIXED); break;
    case 1: add(window, encode(0x3003, any_reg(), rd, below(0x7f0) & ~7U), 4, FIXED); break;
    case 2:
        add(window, encode(0x67, below(2) ? 1 : below(2) ? rd : 0, rd, below(0x7f0) & ~1U), 4, FIXED);
        break;
    default: break;
    }
}

static void add_any(struct window *window)
{
    static const unsigned conditions[] = {0, 1, 4, 5, 6, 7};
    unsigned rd = any_reg(), rs1 = any_reg(), rs2 = any_reg();
    switch (below(20)) {
    case 0: add(window, encode(0x13, rd, rs1, below(0x1000)), 4, FIXED); break;
    case 1: add(window, encode(0x1b, rd, rs1, below(0x1000)), 4, FIXED); break;
    case 2: add(window, encode(0x33, rd, rs1, rs2 | below(2) << 10), 4, FIXED); break;
    case 3: add(window, (uint32_t)any() << 12 | rd << 7 | 0x37, 4, FIXED); break;
    case 4: add(window, encode(0x3003, rd, below(2) ? SP : S0, below(64) * 8), 4, FIXED); break;
    case 5:
        add(window, encode(0x3023, below(4) * 8, below(2) ? SP : S0, rs2 | below(8) << 5), 4, FIXED);
        break;
    case 6: add(window, 0x0001 | rd << 7 | below(32) << 2, 2, FIXED); break;          /* c.addi */
    case 7: add(window, 0x4001 | rd << 7 | below(32) << 2, 2, FIXED); break;          /* c.li */
    case 8: add(window, 0x8002 | rd << 7 | rs2 << 2, 2, FIXED); break;                /* c.mv */
    case 9: add(window, 0xe002 | below(64) << 7 | rs2 << 2, 2, FIXED); break;         /* c.sdsp */
    case 10: add(window, 0x6002 | rd << 7 | (below(32) & ~3U) << 2, 2, FIXED); break; /* c.ldsp */
    case 11: add(window, conditions[below(6)] << 12 | rs2 << 20 | rs1 << 15 | 0x63, 4, BRANCH); break;
    case 12: add(window, 0xc001 | below(2) << 13 | short_reg() << 7, 2, C_BRANCH); break;
    case 13: add(window, below(2) ? 0x6f : 0x6f | (below(2) ? 1U : 5U) << 7, 4, JAL); break;
    case 14: add(window, 0xa001, 2, C_J); break;
    case 15: add(window, encode(0x67, below(3) ? 1 : rd, rs1, below(0x1000)), 4, FIXED); break;
    case 16:
        add(window, below(2) ? 0x9002 | rs1 << 7 : 0x8002 | rs1 << 7, 2, FIXED);
        break;                                                                          /* c.jalr, c.jr */
    case 17: add(window, 0x2000302f | rs2 << 20 | S0 << 15 | rd << 7, 4, FIXED); break; /* amoxor.d */
    default: add_pair(window); break;
    }
}

static uint32_t with_offset(const struct made *made, int32_t off)
{
    uint32_t b = (uint32_t)off;
    switch (made->kind) {
    case JAL:
        return made->word | (b >> 20 & 1) << 31 | (b >> 1 & 0x3ff) << 21 | (b >> 11 & 1) << 20 |
               (b & 0xff000);
    case BRANCH:
        return made->word | (b >> 12 & 1) << 31 | (b >> 5 & 63) << 25 | (b >> 1 & 15) << 8 |
               (b >> 11 & 1) << 7;
    case C_J:
        return made->word | (b >> 11 & 1) << 12 | (b >> 4 & 1) << 11 | (b >> 8 & 3) << 9 |
               (b >> 10 & 1) << 8 | (b >> 6 & 1) << 7 | (b >> 7 & 1) << 6 | (b >> 1 & 7) << 3 |
               (b >> 5 & 1) << 2;
    case C_BRANCH:
        return made->word | (b >> 8 & 1) << 12 | (b >> 3 & 3) << 10 | (b >> 6 & 3) << 5 | (b >> 1 & 3) << 3 |
               (b >> 5 & 1) << 2;
    default: return made->word;
    }
}

static void make_window(struct window *window)
{
    *window = (struct window){.count = 0};
    for (unsigned wanted = 1 + below(8); window->count < wanted;)
        add_any(window);
    for (size_t i = 0; i < window->count; i++) {
        struct made *made = &window->made[i];
        bool links = made->kind == JAL && made->word >> 7;
        int32_t target = !links && below(2) ? (int32_t)window->made[below((unsigned)window->count)].off
                                            : (int32_t)(window->len_bytes + below(OUTSIDE_BYTES / 4) * 2);
        uint32_t word = with_offset(made, target - (int32_t)made->off);
        for (unsigned k = 0; k < made->len_bytes; k++)
            window->bytes[made->off + k] = (uint8_t)(word >> 8 * k);
    }
}

/* --- the machine ------------------------------------------------------------------------------ */

struct run {
    uint64_t start, end; /* of the code */
    uint64_t exit_pc;
    bool has_exit;
    unsigned steps;
    uint64_t x[32];
    uint8_t data[DATA_BYTES];
};

static uc_engine *engine;

static void must(uc_err error, const char *what)
{
    if (error == UC_ERR_OK)
        return;
    printf("Bail out! %s: %s\n", what, uc_strerror(error));
    exit(1);
}

static void on_code(uc_engine *uc, uint64_t addr, uint32_t size, void *ctx)
{
    struct run *run = ctx;
    (void)size;
    bool leaves = addr - run->start >= run->end - run->start;
    if (leaves && !run->has_exit) {
        run->has_exit = true;
        run->exit_pc = addr;
    }
    if (leaves || ++run->steps > STEPS_MAX)
        must(uc_emu_stop(uc), "stop");
}

static bool on_unmapped(uc_engine *uc, uc_mem_type type, uint64_t addr, int size, int64_t value, void *ctx)
{
    struct run *run = ctx;
    (void)uc, (void)size, (void)value;
    if (type == UC_MEM_FETCH_UNMAPPED && !run->has_exit) {
        run->has_exit = true;
        run->exit_pc = addr;
    }
    return false;
}

static void fill(uint64_t addr, size_t len_bytes)
{
    static uint8_t bytes[2 * AROUND_BYTES];
    uint64_t value = 0;
    for (size_t i = 0; i < len_bytes; i += 8) {
        value = (addr + i) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(bytes + i, &value, 8);
    }
    must(uc_mem_write(engine, addr, bytes, len_bytes), "fill");
}

/* A new engine each time: no translation is stale. False when the run did not end in an orderly way. */
static bool run_code(struct run *run, const struct window *window, const struct rdf_relocated *moved,
                     uint64_t trampoline, const uint64_t x[32])
{
    uc_hook code, unmapped;
    uint64_t page = trampoline & ~UINT64_C(4095);
    must(uc_open(UC_ARCH_RISCV, UC_MODE_RISCV64, &engine), "open");
    must(uc_mem_map(engine, WINDOW - AROUND_BYTES, 2 * AROUND_BYTES, UC_PROT_ALL), "map");
    must(uc_mem_map(engine, DATA, DATA_BYTES, UC_PROT_READ | UC_PROT_WRITE), "map");
    if (page - (WINDOW - AROUND_BYTES) >= 2 * AROUND_BYTES)
        must(uc_mem_map(engine, page, TRAMPOLINE_AREA_BYTES, UC_PROT_ALL), "map");
    fill(WINDOW - AROUND_BYTES, 2 * AROUND_BYTES);
    fill(DATA, DATA_BYTES);
    uint8_t other[sizeof window->bytes];
    memset(other, 0, sizeof other);
    must(uc_mem_write(engine, WINDOW, moved ? other : window->bytes, window->len_bytes), "write");
    if (moved)
        must(uc_mem_write(engine, trampoline, moved->code, moved->len_bytes), "write");
    *run = (struct run){.start = moved ? trampoline : WINDOW};
    run->end = run->start + (moved ? moved->len_bytes : window->len_bytes);
    for (int i = 1; i < 32; i++)
        must(uc_reg_write(engine, UC_RISCV_REG_X0 + i, &x[i]), "register");
    must(uc_hook_add(engine, &code, UC_HOOK_CODE, (void *)on_code, run, 1, 0), "hook");
    must(uc_hook_add(engine, &unmapped, UC_HOOK_MEM_UNMAPPED, (void *)on_unmapped, run, 1, 0), "hook");
    (void)uc_emu_start(engine, run->start, 0, 0, 0);
    for (int i = 1; i < 32; i++)
        must(uc_reg_read(engine, UC_RISCV_REG_X0 + i, &run->x[i]), "register");
    must(uc_mem_read(engine, DATA, run->data, DATA_BYTES), "read");
    must(uc_close(engine), "close");
    return run->has_exit && run->steps <= STEPS_MAX;
}

/* --- one case --------------------------------------------------------------------------------- */

/* Registers that the window names: of those the relocated code must keep the values. */
static uint32_t named_registers(const struct window *window)
{
    uint32_t named = 0;
    for (size_t i = 0; i < window->count; i++) {
        const struct made *made = &window->made[i];
        uint32_t word = made->word, opcode = word & 0x7f;
        uint32_t rd = UINT32_C(1) << (word >> 7 & 31), rs1 = UINT32_C(1) << (word >> 15 & 31);
        uint32_t rs2 = UINT32_C(1) << (word >> 20 & 31), short_rs2 = UINT32_C(1) << (word >> 2 & 31);
        bool is_store = opcode == 0x23 || opcode == 0x63;
        bool is_upper = opcode == 0x17 || opcode == 0x37 || opcode == 0x6f;
        if (made->kind == C_J || made->kind == C_BRANCH)
            continue;
        if (made->len_bytes == 2)
            named |= (word >> 13) == 7 ? short_rs2 : (word & 0xe003) == 0x8002 ? rd | short_rs2 : rd;
        else
            named |= (is_store ? 0 : rd) | (is_upper ? 0 : rs1) |
                     (is_store || opcode == 0x33 || opcode == 0x2f ? rs2 : 0);
    }
    return named;
}

static bool is_same(const struct run *a, const struct run *b, const struct window *window)
{
    const uint32_t temporaries = UINT32_C(1) << 6 | UINT32_C(1) << 29 | UINT32_C(1) << 30 | UINT32_C(1) << 31;
    uint32_t left_out = temporaries & ~named_registers(window);
    if (a->exit_pc != b->exit_pc || memcmp(a->data, b->data, sizeof a->data) != 0)
        return false;
    for (int i = 1; i < 32; i++)
        if (!(left_out >> i & 1) && a->x[i] != b->x[i])
            return false;
    return true;
}

static void show(const struct window *window, const struct rdf_relocated *moved, uint64_t trampoline,
                 const struct run *a, const struct run *b)
{
    char text[96];
    struct rdf_span codes[] = {{window->bytes, window->len_bytes}, {moved->code, moved->len_bytes}};
    for (int k = 0; k < 2; k++)
        for (size_t off = 0, len; off < codes[k].len_bytes; off += len) {
            uint64_t addr = (k ? trampoline : WINDOW) + off;
            len = arch->format(rdf_span_slice(codes[k], off, codes[k].len_bytes - off), addr, text,
                               sizeof text);
            printf("# %" PRIx64 "  %s\n", addr, text);
            len = len ? len : 2;
        }
    printf("# leaves to %" PRIx64 " and %" PRIx64 "\n", a->exit_pc, b->exit_pc);
    for (int i = 1; i < 32; i++)
        if (a->x[i] != b->x[i])
            printf("# x%d %" PRIx64 " and %" PRIx64 "\n", i, a->x[i], b->x[i]);
}

static uint64_t any_trampoline(void)
{
    switch (below(4)) {
    case 0: return WINDOW + 0x20000 + below(0x100) * 2;
    case 1: return WINDOW + 0x1000000 + below(0x100) * 2;
    case 2: return WINDOW - 0x70000000 + below(0x100) * 2;
    default: return WINDOW + 0x300000000 + below(0x100) * 2;
    }
}

int main(int argc, char **argv)
{
    unsigned long count = 1000, refused = 0, given_up = 0, failed = 0, same = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--count"))
            count = strtoul(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seed"))
            chance_state = strtoull(argv[i + 1], NULL, 0);
    }
    for (unsigned long n = 0; n < count && failed < 5; n++) {
        static struct window window;
        static struct run original, relocated;
        struct rdf_relocated moved;
        struct rdf_error err;
        uint64_t x[32], trampoline = any_trampoline();
        make_window(&window);
        for (int i = 1; i < 32; i++)
            x[i] = below(4) ? any() : below(4);
        x[SP] = DATA + 2048;
        x[S0] = DATA + 4096;
        struct rdf_relocate_request request = {.window = {window.bytes, window.len_bytes},
                                               .window_addr = WINDOW,
                                               .patched_start = WINDOW,
                                               .patched_end = WINDOW + 2,
                                               .trampoline_addr = trampoline};
        if (arch->relocate(&request, &moved, &err) != REDEFINE_OK) {
            refused++;
            continue;
        }
        bool both = run_code(&original, &window, NULL, trampoline, x);
        both = both && run_code(&relocated, &window, &moved, trampoline, x);
        if (!both) {
            given_up++;
        } else if (is_same(&original, &relocated, &window)) {
            same++;
        } else {
            failed++;
            show(&window, &moved, trampoline, &original, &relocated);
        }
    }
    printf("1..1\n%sok 1 - %lu windows the same, %lu refused, %lu given up\n",
           failed || same < count / 2 ? "not " : "", same, refused, given_up);
    return failed || same < count / 2;
}
