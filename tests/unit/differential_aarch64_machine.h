/* SPDX-License-Identifier: MIT
 *
 * The emulated machine of differential_aarch64.c: chance, its memory, its states, one run of one window.
 */
#ifndef TESTS_UNIT_DIFFERENTIAL_AARCH64_MACHINE_H
#define TESTS_UNIT_DIFFERENTIAL_AARCH64_MACHINE_H

#include "arch/arch.h"

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
    uint64_t len_bytes;
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
    note->len_bytes = len_bytes > 16 ? 16 : (uint64_t)len_bytes;
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

#endif
