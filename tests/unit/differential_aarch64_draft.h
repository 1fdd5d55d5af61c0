/* SPDX-License-Identifier: MIT
 *
 * Windows that differential_aarch64.c makes up: branches, addresses, plain instructions, and what is none.
 */
#ifndef TESTS_UNIT_DIFFERENTIAL_AARCH64_DRAFT_H
#define TESTS_UNIT_DIFFERENTIAL_AARCH64_DRAFT_H

#include "unit/differential_aarch64_machine.h"

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

#endif
