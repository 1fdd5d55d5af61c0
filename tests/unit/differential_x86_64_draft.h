/* SPDX-License-Identifier: MIT
 *
 * Windows that differential_x86_64.c makes up: branches, calls, RIP-relative operands and plain instructions.
 */
#ifndef TESTS_UNIT_DIFFERENTIAL_X86_64_DRAFT_H
#define TESTS_UNIT_DIFFERENTIAL_X86_64_DRAFT_H

#include "unit/differential_x86_64_machine.h"

#include <Zydis/Zydis.h>

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

#endif
