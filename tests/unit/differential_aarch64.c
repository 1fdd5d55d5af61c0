/* SPDX-License-Identifier: MIT
 *
 * Windows run twice in an emulator: as they are, until control leaves them, and relocated, until it
 * leaves the trampoline. Both must end at the same address with the same registers, flags and memory,
 * and must have passed the same instructions in the same order (as `pcs` tells them apart).
 *
 *     differential_aarch64 [--count N] [--seed S] [ELF…]
 *
 * N windows are made up; of each ELF file (aarch64, little-endian) every function in .dynsym gives the
 * windows of its first 4, 8 and 16 bytes. Prints TAP.
 *
 * x16 and x17 are compared too, except one that the original left as it was in a window that needed a
 * far form or made an indirect call: there the relocated code may use it, as any veneer may.
 */
#include "arch/arch.h"
#include "support/entries.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

enum {
    CHUNK_BYTES = 16384,
    STEPS_MAX = 300, /* a window that loops longer is given up */
    WRITES_MAX = 4096,
    CHUNKS_MAX = 500,        /* unicorn stops at 4096 mappings */
    CASES_PER_ENGINE = 1000, /* then its translations and mappings are thrown away */
    /* Each case has fresh addresses, so that no translation is stale. A made-up window lies at the front
     * of its slot; trampolines are where a slot has its middle; branches elsewhere go to a slot's end. */
    SLOT_BYTES = 4096,
    SLOT_END_OFF = 0xf00,
    TRAMPOLINE_BYTES = RDF_TRAMPOLINE_BYTES_MAX,
    SHOWN_FAILURES_MAX = 10,
};

#define WINDOW_AREA UINT64_C(0x5555550000)
#define ELF_AREA    UINT64_C(0x4000000000)
#define DATA_AREA   UINT64_C(0x6000000000)
#define STACK_TOP   UINT64_C(0x6100008000)

static const struct rdf_arch *const arch = &rdf_arch_aarch64;

/* --- chance ----------------------------------------------------------------------------------- */

static uint64_t chance_state;

static uint64_t mix(uint64_t value) /* splitmix64's finalizer */
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* What a fuzzer decides, as long as it lasts: every choice is a number out of eight bytes. */
static struct rdf_span chosen;

static uint64_t any(void)
{
    uint64_t value = chance_state += UINT64_C(0x9e3779b97f4a7c15);
    if (rdf_span_u64(chosen, 0, &value))
        chosen = rdf_span_slice(chosen, 8, chosen.len_bytes - 8);
    return mix(value);
}

static unsigned below(unsigned limit)
{
    return (unsigned)(any() % limit);
}

/* --- the machine ------------------------------------------------------------------------------ */

struct state {
    uint64_t x[31], sp, nzcv;
    uint64_t q[32][2];
};

struct write_note {
    uint64_t addr;
    unsigned len_bytes;
    uint8_t before[16], after[16];
};

/* What one run did. */
struct run {
    uint64_t area_addr;
    size_t area_bytes;
    bool is_original; /* the area is the window: see has_left */
    uint64_t exit_pc, last_pc;
    bool has_exit, is_endless, has_trap;
    unsigned trap;
    struct state state;
    unsigned steps;
    uint16_t trace[STEPS_MAX]; /* offsets in the area */
    struct write_note writes[WRITES_MAX];
    size_t write_count;
};

static uc_engine *engine;
static unsigned chunk_count; /* of memory, in this engine */
static unsigned slot_count;  /* used up in this engine */
static struct run *current;
static const uint8_t *elf_image; /* what ELF_AREA shows */
static size_t elf_image_bytes;

static void must(uc_err error, const char *what)
{
    if (error != UC_ERR_OK) {
        printf("Bail out! %s: %s\n", what, uc_strerror(error));
        exit(1);
    }
}

/* Some movn, movz or movk: the emulator translates past the end of a window, and unicorn 2.0.1 aborts
 * the process over some words that are no instruction. */
static uint32_t harmless_word(uint64_t addr)
{
    static const uint32_t opcodes[6] = {0x12800000, 0x52800000, 0x72800000,
                                        0x92800000, 0xd2800000, 0xf2800000};
    uint64_t value = mix(addr + 1);
    return opcodes[value % 6] | (value >> 32 & 0x3fffff);
}

/* Memory exists everywhere; what nobody wrote is a function of its address. */
static bool make_chunk(uint64_t addr)
{
    static uint32_t chunk[CHUNK_BYTES / 4];
    uint64_t base = addr & ~(uint64_t)(CHUNK_BYTES - 1);
    for (size_t i = 0; i < CHUNK_BYTES / 4; i++)
        chunk[i] = harmless_word(base + i * 4);
    if (base - ELF_AREA < elf_image_bytes) {
        size_t left = elf_image_bytes - (size_t)(base - ELF_AREA);
        memcpy(chunk, elf_image + (base - ELF_AREA), left < CHUNK_BYTES ? left : CHUNK_BYTES);
    }
    chunk_count++;
    return uc_mem_map(engine, base, CHUNK_BYTES, UC_PROT_ALL) == UC_ERR_OK &&
           uc_mem_write(engine, base, chunk, CHUNK_BYTES) == UC_ERR_OK;
}

static void poke(uint64_t addr, const void *bytes, size_t len_bytes)
{
    for (uint64_t page = addr & ~(uint64_t)(CHUNK_BYTES - 1); page < addr + len_bytes; page += CHUNK_BYTES) {
        uint8_t probe;
        if (uc_mem_read(engine, page, &probe, 1) != UC_ERR_OK && !make_chunk(page))
            must(UC_ERR_NOMEM, "map");
    }
    must(uc_mem_write(engine, addr, bytes, len_bytes), "write");
    /* An earlier window may have gone there: what the emulator made of the old bytes has to be forgotten. */
    must(uc_ctl_remove_cache(engine, addr, addr + len_bytes), "remove_cache");
}

static bool on_unmapped(uc_engine *uc, uc_mem_type type, uint64_t addr, int len_bytes, int64_t value,
                        void *ctx)
{
    (void)uc, (void)type, (void)value, (void)ctx;
    uint64_t last = addr + (unsigned)(len_bytes ? len_bytes : 1) - 1;
    bool is_made = make_chunk(addr);
    if ((last ^ addr) & ~(uint64_t)(CHUNK_BYTES - 1))
        (void)make_chunk(last);
    return is_made;
}

static void on_write(uc_engine *uc, uc_mem_type type, uint64_t addr, int len_bytes, int64_t value, void *ctx)
{
    (void)type, (void)value, (void)ctx;
    if (current->write_count == WRITES_MAX)
        return;
    struct write_note *note = &current->writes[current->write_count++];
    memset(note, 0, sizeof *note);
    note->addr = addr;
    note->len_bytes = len_bytes > 16 ? 16 : (unsigned)len_bytes;
    if (uc_mem_read(uc, addr, note->before, note->len_bytes) != UC_ERR_OK &&
        on_unmapped(uc, type, addr, len_bytes, 0, ctx))
        (void)uc_mem_read(uc, addr, note->before, note->len_bytes);
}

/* An indirect branch into the window, and a call of its entry, leave for the function as it now is. */
static bool has_left(const struct run *run, uint64_t pc)
{
    if (pc - run->area_addr >= run->area_bytes)
        return true;
    struct rdf_insn insn;
    uint8_t bytes[4];
    if (!run->is_original || !run->steps || uc_mem_read(engine, run->last_pc, bytes, 4) != UC_ERR_OK ||
        !arch->decode((struct rdf_span){bytes, 4}, run->last_pc, &insn))
        return false;
    switch (insn.flow) {
    case RDF_FLOW_CALL: return pc == run->area_addr && insn.target != run->last_pc + 4;
    case RDF_FLOW_CALL_INDIRECT:
    case RDF_FLOW_JUMP_INDIRECT:
    case RDF_FLOW_RETURN: return true;
    default: return false;
    }
}

static void on_code(uc_engine *uc, uint64_t pc, uint32_t len_bytes, void *ctx)
{
    (void)len_bytes, (void)ctx;
    if (current->has_exit || current->is_endless)
        return;
    if (has_left(current, pc)) {
        current->exit_pc = pc;
        current->has_exit = true;
        (void)uc_emu_stop(uc);
    } else if (current->steps == STEPS_MAX) {
        current->is_endless = true;
        (void)uc_emu_stop(uc);
    } else {
        current->trace[current->steps++] = (uint16_t)(pc - current->area_addr);
        current->last_pc = pc;
    }
}

static void on_interrupt(uc_engine *uc, uint32_t number, void *ctx)
{
    (void)ctx;
    current->has_trap = true;
    current->trap = number;
    (void)uc_emu_stop(uc);
}

static void open_engine(void)
{
    const struct {
        int type;
        void *callback;
    } hooks[] = {
        {UC_HOOK_MEM_UNMAPPED, __extension__(void *) on_unmapped},
        {UC_HOOK_MEM_WRITE, __extension__(void *) on_write},
        {UC_HOOK_CODE, __extension__(void *) on_code},
        {UC_HOOK_INTR, __extension__(void *) on_interrupt},
    };
    uc_hook handle;
    if (engine)
        (void)uc_close(engine);
    must(uc_open(UC_ARCH_ARM64, UC_MODE_ARM, &engine), "open");
    must(uc_ctl_set_cpu_model(engine, UC_CPU_ARM64_MAX), "cpu model");
    chunk_count = slot_count = 0;
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
        must(uc_hook_add(engine, &handle, hooks[i].type, hooks[i].callback, NULL, 1, 0), "hook");
}

/* The number of the next case in this engine, or in a new one when this is worn. */
static unsigned next_slot(void)
{
    if (!engine || slot_count == CASES_PER_ENGINE || chunk_count > CHUNKS_MAX)
        open_engine();
    return slot_count++;
}

enum { REGISTER_COUNT = 31 + 2 + 32 };

static void name_registers(int ret_ids[REGISTER_COUNT], void *ret_places[REGISTER_COUNT], struct state *state)
{
    for (int i = 0; i < 31; i++) {
        ret_ids[i] = i < 29 ? UC_ARM64_REG_X0 + i : i == 29 ? UC_ARM64_REG_X29 : UC_ARM64_REG_X30;
        ret_places[i] = &state->x[i];
    }
    ret_ids[31] = UC_ARM64_REG_SP;
    ret_places[31] = &state->sp;
    ret_ids[32] = UC_ARM64_REG_NZCV;
    ret_places[32] = &state->nzcv;
    for (int i = 0; i < 32; i++) {
        ret_ids[33 + i] = UC_ARM64_REG_Q0 + i;
        ret_places[33 + i] = state->q[i];
    }
}

static void execute(struct run *run, const struct state *start)
{
    int ids[REGISTER_COUNT];
    void *places[REGISTER_COUNT];
    run->state = *start;
    name_registers(ids, places, &run->state);
    must(uc_reg_write_batch(engine, ids, places, REGISTER_COUNT), "set registers");
    current = run;
    uc_err error = uc_emu_start(engine, run->area_addr, UINT64_MAX, 0, 0);
    if (error != UC_ERR_OK && !run->has_exit && !run->has_trap) {
        run->has_trap = true;
        run->trap = 1000 + (unsigned)error;
    }
    must(uc_reg_read_batch(engine, ids, places, REGISTER_COUNT), "get registers");
    run->state.nzcv &= UINT64_C(0xf0000000);
    for (size_t i = 0; i < run->write_count; i++) {
        struct write_note *note = &run->writes[i];
        (void)uc_mem_read(engine, note->addr, note->after, note->len_bytes);
    }
    for (size_t i = run->write_count; i-- > 0;)
        (void)uc_mem_write(engine, run->writes[i].addr, run->writes[i].before, run->writes[i].len_bytes);
}

/* --- one comparison --------------------------------------------------------------------------- */

enum verdict {
    EQUAL,
    DIFFERENT,
    REFUSED_UNSUPPORTED,
    REFUSED_NOMEM,
    SKIPPED_ENDLESS,
    SKIPPED_UNKNOWN,
    SKIPPED_FAULT,
    VERDICT_COUNT
};

static const char *const verdict_names[VERDICT_COUNT] = {
    "equal",
    "different",
    "refused: EUNSUPPORTED",
    "refused: ENOMEM",
    "skipped: does not leave the window in 300 steps",
    "skipped: the emulator does not know an instruction",
    "skipped: the original faults in the emulator",
};

struct tally {
    unsigned long counts[VERDICT_COUNT];
    unsigned long traps;
    unsigned shown;
};

static const char *difference(const struct run *old, const struct run *new, const struct rdf_relocated *moved,
                              bool may_use_ip, const struct state *start)
{
    static char text[160];
    if (old->has_trap != new->has_trap || old->trap != new->trap)
        return snprintf(text, sizeof text, "trap %d/%u against %d/%u", old->has_trap, old->trap,
                        new->has_trap, new->trap),
               text;
    if (old->has_exit != new->has_exit || old->exit_pc != new->exit_pc)
        return snprintf(text, sizeof text, "exit at 0x%" PRIx64 " against 0x%" PRIx64, old->exit_pc,
                        new->exit_pc),
               text;
    for (unsigned i = 0; i < 31; i++) {
        bool is_free = may_use_ip && (i == 16 || i == 17) && old->state.x[i] == start->x[i];
        if (old->state.x[i] != new->state.x[i] && !is_free)
            return snprintf(text, sizeof text, "x%u 0x%" PRIx64 " against 0x%" PRIx64, i, old->state.x[i],
                            new->state.x[i]),
                   text;
    }
    if (old->state.sp != new->state.sp)
        return "sp";
    if (old->state.nzcv != new->state.nzcv)
        return "flags";
    if (memcmp(old->state.q, new->state.q, sizeof old->state.q) != 0)
        return "a vector register";
    if (old->write_count != new->write_count)
        return "the number of writes";
    for (size_t i = 0; i < old->write_count; i++)
        if (memcmp(&old->writes[i], &new->writes[i], sizeof old->writes[i]) != 0)
            return snprintf(text, sizeof text, "write %zu, to 0x%" PRIx64, i, old->writes[i].addr), text;
    unsigned passed = 0;
    for (unsigned i = 0; i < new->steps; i++)
        for (size_t p = 0; p < moved->pc_count; p++) {
            if (moved->pcs[p].new_off != new->trace[i])
                continue;
            if (passed == old->steps || old->trace[passed] != moved->pcs[p].old_off)
                return snprintf(text, sizeof text, "pcs: step %u is not +%x", passed, moved->pcs[p].old_off),
                       text;
            passed++;
        }
    return passed == old->steps ? NULL : "pcs: fewer steps";
}

static void show_code(const char *title, const uint8_t *code, size_t len_bytes, uint64_t addr)
{
    printf("#   %s\n", title);
    for (size_t off = 0; off < len_bytes; off += 4) {
        char text[96];
        (void)arch->format((struct rdf_span){code + off, 4}, addr + off, text, sizeof text);
        printf("#     0x%" PRIx64 "  %02x %02x %02x %02x  %s\n", addr + off, code[off], code[off + 1],
               code[off + 2], code[off + 3], text);
    }
}

/* In windows that call, or whose code is far from home, x16 and x17 are the trampoline's to use. */
static bool needs_scratch(const struct rdf_relocate_request *request)
{
    int64_t gap = (int64_t)(request->trampoline_addr - request->window_addr);
    bool is_far = gap > 100 * 1024 * 1024 || gap < -100 * 1024 * 1024;
    for (size_t off = 0; off < request->window.len_bytes; off += 4) {
        struct rdf_insn insn;
        if (!arch->decode(rdf_span_slice(request->window, off, 4), request->window_addr + off, &insn))
            return true;
        int64_t reach = (int64_t)(insn.target - request->trampoline_addr);
        is_far |= insn.has_target && (reach > 127 * 1024 * 1024 || reach < -127 * 1024 * 1024);
        is_far |= insn.flow == RDF_FLOW_CALL_INDIRECT;
        if (insn.has_ref && insn.ref_is_load) { /* a vector literal beyond 1 MiB */
            int64_t literal = (int64_t)(insn.ref - request->trampoline_addr);
            is_far |= literal > 1000 * 1024 || literal < -1000 * 1024;
        }
    }
    return is_far;
}

static bool has_unknown_trap(const struct run *run, const struct rdf_relocate_request *request)
{
    uint64_t off = run->last_pc - request->window_addr;
    uint32_t word = 0;
    if (!run->has_trap || (run->trap != 1 && run->trap != 1000 + UC_ERR_INSN_INVALID)) /* EXCP_UDEF */
        return false;
    return !rdf_span_u32(request->window, off, &word) || word >> 16;
}

static enum verdict compare(const struct rdf_relocate_request *request, const struct state *start,
                            struct tally *tally, const char *name)
{
    static struct run old, new;
    struct rdf_relocated moved;
    struct rdf_error err = {.status = REDEFINE_OK};
    redefine_status status = arch->relocate(request, &moved, &err);
    if (status != REDEFINE_OK)
        return status == REDEFINE_ENOMEM ? REFUSED_NOMEM : REFUSED_UNSUPPORTED;

    memset(&old, 0, offsetof(struct run, trace));
    memset(&new, 0, offsetof(struct run, trace));
    old.write_count = new.write_count = 0;
    old.area_addr = request->window_addr;
    old.area_bytes = request->window.len_bytes;
    old.is_original = true;
    new.area_addr = request->trampoline_addr;
    new.area_bytes = moved.len_bytes;
    poke(request->window_addr, request->window.data, request->window.len_bytes);
    poke(request->trampoline_addr, moved.code, moved.len_bytes);
    execute(&old, start);
    if (old.is_endless)
        return SKIPPED_ENDLESS;
    if (has_unknown_trap(&old, request))
        return SKIPPED_UNKNOWN;
    if (old.has_trap && old.trap >= 1000)
        return SKIPPED_FAULT;
    /* From here on the entry jump is there; nothing may read or run those bytes. */
    uint8_t jump[RDF_WINDOW_BYTES_MAX];
    memset(jump, 0xdf, sizeof jump);
    poke(request->patched_start, jump, (size_t)(request->patched_end - request->patched_start));
    execute(&new, start);
    poke(request->window_addr, request->window.data, request->window.len_bytes);

    tally->traps += old.has_trap;
    const char *what = difference(&old, &new, &moved, needs_scratch(request), start);
    if (!what)
        return EQUAL;
    if (tally->shown++ < SHOWN_FAILURES_MAX) {
        printf("# %s: %s\n", name, what);
        show_code("window", request->window.data, request->window.len_bytes, request->window_addr);
        show_code("relocated", moved.code, moved.len_bytes, request->trampoline_addr);
    }
    return DIFFERENT;
}

/* Pointers into memory that is there, small numbers, others; always something that a load can use. */
static void shake(struct state *state)
{
    for (unsigned i = 0; i < 31; i++) {
        unsigned kind = below(4);
        state->x[i] = kind == 0 ? below(64) : kind == 1 ? any() >> 30 : DATA_AREA + below(0x8000) / 16 * 16;
    }
    state->x[19] = DATA_AREA + 0x2000 + below(64) * 16; /* the made-up loads and stores use these two */
    state->x[20] = DATA_AREA + 0x6000 + below(64) * 16;
    state->sp = STACK_TOP - below(64) * 16;
    state->nzcv = (uint64_t)below(16) << 28;
    for (unsigned i = 0; i < 32; i++)
        state->q[i][0] = any(), state->q[i][1] = any();
}

/* --- made-up windows -------------------------------------------------------------------------- */

/* Where trampolines are: beside the window, at the edges of what a branch reaches, and far away. */
static uint64_t trampoline_area(unsigned kind)
{
    static const int64_t gaps[] = {
        INT64_C(0),
        -INT64_C(0x10000),
        INT64_C(0x8000),
        INT64_C(0xfe000),
        -INT64_C(0xff000),
        INT64_C(0x200000),
        INT64_C(0x7f00000),
        -INT64_C(0x7f00000),
        INT64_C(0x9000000),
        INT64_C(0x7fff0000),
        INT64_C(0x100000000),
        INT64_C(0x2000000000),
        -INT64_C(0x5000000000),
    };
    kind %= sizeof gaps / sizeof gaps[0];
    return WINDOW_AREA + (uint64_t)gaps[kind] + (kind + 1) * TRAMPOLINE_BYTES;
}

static uint32_t ip_or_low(void) /* a register that windows compute in; sometimes x16, x17 or x30 */
{
    unsigned pick = below(20);
    return pick == 0 ? 16 : pick == 1 ? 17 : pick == 2 ? 30 : pick == 3 ? 31 : below(15);
}

static uint32_t plain_word(void)
{
    uint32_t rd = ip_or_low(), rn = below(15), rm = ip_or_low(), sf = (uint32_t)below(2) << 31;
    switch (below(16)) {
    case 0: return UINT32_C(0x0b000000) | sf | below(2) << 30 | below(2) << 29 | rm << 16 | rn << 5 | rd;
    case 1: return UINT32_C(0x0a000000) | sf | below(4) << 29 | rm << 16 | rn << 5 | rd;
    case 2: return UINT32_C(0x11000000) | sf | below(2) << 30 | 1U << 29 | below(4096) << 10 | rn << 5 | rd;
    case 3: return UINT32_C(0xd2800000) | below(4) << 21 | below(65536) << 5 | rd;
    case 4: return UINT32_C(0xf2800000) | below(4) << 21 | below(65536) << 5 | rd;
    case 5: return UINT32_C(0x9b000000) | rm << 16 | below(15) << 10 | rn << 5 | rd;
    case 6: return UINT32_C(0x9a800000) | rm << 16 | below(16) << 12 | below(2) << 10 | rn << 5 | rd;
    case 7: return UINT32_C(0xf9400000) | below(64) << 10 | (19 + below(2)) << 5 | rd;   /* ldr */
    case 8: return UINT32_C(0xf9000000) | below(64) << 10 | (19 + below(2)) << 5 | rd;   /* str */
    case 9: return UINT32_C(0xa9800000) | 0x7eU << 15 | 30U << 10 | 31U << 5 | 29;       /* stp, pre-index */
    case 10: return UINT32_C(0xa8c00000) | 2U << 15 | rn << 10 | 31U << 5 | (rn + 1);    /* ldp, post-index */
    case 11: return UINT32_C(0x1e602800) | below(32) << 16 | below(32) << 5 | below(32); /* fadd d */
    case 12: return UINT32_C(0x9e670000) | rn << 5 | below(32);                          /* fmov d, x */
    case 13: return UINT32_C(0xd53b4200) | rd;                                           /* mrs nzcv */
    case 14: return UINT32_C(0x885f7c00) | 19U << 5 | below(15);                         /* ldxr w */
    default: return UINT32_C(0xf8200000) | below(15) << 16 | 20U << 5 | below(15);       /* ldadd */
    }
}

/* A distance in words from instruction `index`: within the window, or to a place outside, inside
 * `bits`, that no window ever lies at. */
static int32_t distance_words(unsigned index, unsigned count, uint64_t window_addr, unsigned bits)
{
    if (below(3) == 0)
        return (int32_t)below(count + 1) - (int32_t)index;
    int32_t reach = INT32_C(1) << (bits - 1);
    int32_t words = (int32_t)(any() % (2 * (uint64_t)reach)) - reach;
    uint64_t target = window_addr + index * 4 + (uint64_t)((int64_t)words * 4);
    words += ((int32_t)(SLOT_END_OFF + target % 0x100) - (int32_t)(target % SLOT_BYTES)) / 4;
    return words >= reach ? words - SLOT_BYTES / 4 : words;
}

static uint32_t field(int32_t value, unsigned bits, unsigned low)
{
    return ((uint32_t)value & ((UINT32_C(1) << bits) - 1)) << low;
}

static uint32_t branch_word(unsigned index, unsigned count, uint64_t window_addr, bool is_last)
{
    int32_t imm26 = distance_words(index, count, window_addr, 26);
    int32_t imm19 = distance_words(index, count, window_addr, 19);
    int32_t imm14 = distance_words(index, count, window_addr, 14);
    uint32_t rt = below(10) ? below(15) : 16 + below(2);
    uint32_t call = is_last || below(4) == 0;
    switch (below(14)) {
    case 0: return UINT32_C(0x14000000) | field(imm26, 26, 0);
    case 1:
    case 2:
    case 3: return UINT32_C(0x54000000) | field(imm19, 19, 5) | below(16);
    case 4:
    case 5:
        return UINT32_C(0x34000000) | (uint32_t)below(2) << 31 | below(2) << 24 | field(imm19, 19, 5) | rt;
    case 6:
    case 7:
        return UINT32_C(0x36000000) | (uint32_t)below(2) << 31 | below(2) << 24 | below(32) << 19 |
               field(imm14, 14, 5) | rt;
    case 8: return call ? UINT32_C(0x94000000) | field(imm26, 26, 0) : UINT32_C(0xd503201f);
    case 9: return UINT32_C(0x94000001); /* bl to the next instruction */
    case 10: return call ? UINT32_C(0xd63f0000) | ip_or_low() % 31 << 5 : UINT32_C(0xd503245f);
    case 11: /* blraa, blrab, with no keys enabled; the modifier is sometimes x30 */
        return call ? UINT32_C(0xd73f0800) | below(2) << 10 | ip_or_low() % 31 << 5 | ip_or_low()
                    : UINT32_C(0xd503233f);
    case 12: return UINT32_C(0xd61f0000) | ip_or_low() % 31 << 5;
    default: return below(2) ? UINT32_C(0xd65f03c0) : UINT32_C(0xd65f0000) | rt << 5;
    }
}

static uint32_t address_word(unsigned index, unsigned count, uint64_t window_addr)
{
    uint32_t rd = ip_or_low(), vd = below(32);
    uint32_t imm19 = field(distance_words(index, count, window_addr, 19), 19, 5);
    switch (below(10)) {
    case 0:
    case 1: return UINT32_C(0x10000000) | below(4) << 29 | imm19 | rd;
    case 2:
    case 3: return UINT32_C(0x90000000) | below(4) << 29 | field((int32_t)any(), 19, 5) | rd;
    case 4: return UINT32_C(0x18000000) | imm19 | rd;
    case 5: return UINT32_C(0x58000000) | imm19 | rd;
    case 6: return UINT32_C(0x98000000) | imm19 | rd;
    case 7: return UINT32_C(0xd8000000) | imm19 | below(32);
    default: return UINT32_C(0x1c000000) | (uint32_t)below(3) << 30 | imm19 | vd;
    }
}

static uint32_t other_word(void)
{
    switch (below(8)) {
    case 0: return UINT32_C(0xd4000001);                     /* svc */
    case 1: return UINT32_C(0xd4200000) | below(65536) << 5; /* brk */
    case 2: return below(65536);                             /* udf */
    case 3: return UINT32_C(0xd503241f) | below(4) << 6;     /* bti */
    case 4: return UINT32_C(0xd503233f);                     /* paciasp */
    case 5: return UINT32_C(0xd503201f);                     /* nop */
    case 6: return UINT32_C(0xd503211f);                     /* pacia1716 */
    default: return UINT32_C(0xd5033bbf);                    /* dmb ish */
    }
}

static size_t make_window(uint8_t ret_bytes[RDF_WINDOW_BYTES_MAX], uint64_t window_addr)
{
    unsigned count = below(3) == 0 ? 1 : 1 + below(below(4) ? 6 : RDF_WINDOW_BYTES_MAX / 4);
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = below(count == 1 ? 12 : 20);
        uint32_t word = kind < 5    ? branch_word(i, count, window_addr, i + 1 == count)
                        : kind < 9  ? address_word(i, count, window_addr)
                        : kind < 10 ? other_word()
                                    : plain_word();
        for (unsigned b = 0; b < 4; b++)
            ret_bytes[i * 4 + b] = (uint8_t)(word >> 8 * b);
    }
    return count * 4;
}

static enum verdict try_made_up(struct tally *tally, const char *name)
{
    unsigned slot = next_slot();
    uint8_t bytes[RDF_WINDOW_BYTES_MAX];
    uint64_t window_addr = WINDOW_AREA + slot * SLOT_BYTES + below(6) * 4;
    size_t len_bytes = make_window(bytes, window_addr);
    struct rdf_relocate_request request = {
        .window = {bytes, len_bytes},
        .window_addr = window_addr,
        .patched_start = window_addr,
        .patched_end = window_addr + (below(2) ? 4 : len_bytes),
        .trampoline_addr = trampoline_area(below(1000)) + slot * SLOT_BYTES,
    };
    struct state start;
    shake(&start);
    return compare(&request, &start, tally, name);
}

#ifndef RDF_DIFFERENTIAL_FUZZ

static int report(const char *title, const struct tally *tally)
{
    static int number;
    unsigned long total = 0;
    for (int i = 0; i < VERDICT_COUNT; i++)
        total += tally->counts[i];
    bool is_ok = tally->counts[DIFFERENT] == 0 && tally->counts[EQUAL] > 0;
    printf("%s %d - %s: %lu windows, %lu equal (%lu of them up to a trap), %lu different\n",
           is_ok ? "ok" : "not ok", ++number, title, total, tally->counts[EQUAL], tally->traps,
           tally->counts[DIFFERENT]);
    for (int i = REFUSED_UNSUPPORTED; i < VERDICT_COUNT; i++)
        if (tally->counts[i])
            printf("#   %lu %s\n", tally->counts[i], verdict_names[i]);
    return is_ok ? 0 : 1;
}

static int run_made_up(unsigned long count)
{
    struct tally tally = {{0}, 0, 0};
    for (unsigned long i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "window %lu", i);
        tally.counts[try_made_up(&tally, name)]++;
    }
    return report("made-up windows", &tally);
}

/* --- windows of real functions ---------------------------------------------------------------- */

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t len = 0, got;
    if (!file)
        return NULL;
    do {
        uint8_t *grown = realloc(bytes, len + 65536);
        if (!grown)
            break;
        bytes = grown;
        got = fread(bytes + len, 1, 65536, file);
        len += got;
    } while (got);
    fclose(file);
    *ret_len = len;
    return bytes;
}

/* The loadable segments at their places, relative to ELF_AREA. */
static bool lay_out(const uint8_t *file, size_t len, uint8_t **ret_image, size_t *ret_bytes)
{
    const Elf64_Ehdr *header = (const void *)file;
    if (len < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_machine != EM_AARCH64 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr) > len)
        return false;
    const Elf64_Phdr *segments = (const void *)(file + header->e_phoff);
    size_t end = 0;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_vaddr + segments[i].p_memsz > end)
            end = segments[i].p_vaddr + segments[i].p_memsz;
    if (!end || end > (size_t)1 << 30)
        return false;
    uint8_t *image = calloc(1, end);
    if (!image)
        return false;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset + segments[i].p_filesz <= len)
            memcpy(image + segments[i].p_vaddr, file + segments[i].p_offset, segments[i].p_filesz);
    *ret_image = image;
    *ret_bytes = end;
    return true;
}

/* Windows of one, two and four instructions, each for a trampoline at one of three distances. */
static void run_function(uint64_t off, uint64_t size, struct tally *tally)
{
    static const unsigned window_bytes[] = {4, 8, 16};
    const uint64_t behind = ELF_AREA + (elf_image_bytes / (1 << 20) << 20);
    const uint64_t areas[] = {behind + (UINT64_C(16) << 20), behind + (UINT64_C(1) << 30),
                              UINT64_C(0x7000000000)};
    for (size_t w = 0; w < 3; w++) {
        if (window_bytes[w] > size || off + window_bytes[w] > elf_image_bytes)
            break;
        unsigned slot = next_slot();
        uint64_t addr = ELF_AREA + off;
        struct rdf_relocate_request request = {
            .window = {elf_image + off, window_bytes[w]},
            .window_addr = addr,
            .patched_start = addr,
            .patched_end = addr + 4,
            .trampoline_addr = areas[below(3)] + slot * TRAMPOLINE_BYTES,
        };
        struct state start;
        char name[64];
        shake(&start);
        (void)snprintf(name, sizeof name, "function at +0x%" PRIx64 ", %u bytes", off, window_bytes[w]);
        tally->counts[compare(&request, &start, tally, name)]++;
    }
}

static int run_elf(const char *path, unsigned long *functions)
{
    struct tally tally = {{0}, 0, 0};
    size_t file_len = 0, count = 0;
    uint8_t *file = read_file(path, &file_len), *image = NULL;
    struct entry *entry = file ? entries_of(file, file_len, &count) : NULL;
    char title[512];
    if (!entry || !lay_out(file, file_len, &image, &elf_image_bytes)) {
        printf("not ok - %s: no aarch64 ELF file with functions\n", path);
        free(entry), free(file), free(image);
        return 1;
    }
    elf_image = image;
    open_engine(); /* an old one has other bytes at ELF_AREA */
    for (size_t i = 0; i < count; i++)
        if (entry[i].addr % 4 == 0) {
            ++*functions;
            run_function(entry[i].addr, entry[i].size_bytes, &tally);
        }
    (void)snprintf(title, sizeof title, "%s, %zu functions", path, count);
    int failed = report(title, &tally);
    elf_image = NULL;
    elf_image_bytes = 0;
    free(entry), free(image), free(file);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned long count = 10000;
    uint64_t seed = 1;
    unsigned long functions = 0;
    int first_file = 1, failed = 0;
    while (first_file + 1 < argc && argv[first_file][0] == '-') {
        if (strcmp(argv[first_file], "--count") == 0)
            count = strtoul(argv[first_file + 1], NULL, 0);
        else if (strcmp(argv[first_file], "--seed") == 0)
            seed = strtoull(argv[first_file + 1], NULL, 0);
        else
            break;
        first_file += 2;
    }
    if (first_file < argc && argv[first_file][0] == '-') {
        fprintf(stderr, "usage: %s [--count N] [--seed S] [ELF…]\n", argv[0]);
        return 2;
    }
    printf("TAP version 13\n1..%d\n# seed %" PRIu64 "\n", (count > 0) + argc - first_file, seed);
    chance_state = seed;
    if (count)
        failed |= run_made_up(count);
    for (int i = first_file; i < argc; i++)
        failed |= run_elf(argv[i], &functions);
    printf("# aarch64: %lu entries of libraries and programs, %lu generated\n", functions, count);
    (void)uc_close(engine);
    return failed;
}

#endif
