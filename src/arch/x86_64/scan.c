/* SPDX-License-Identifier: MIT
 *
 * Branches and other references found without decoding. A branch ends with its displacement, so every four
 * bytes (and every one) are read as if they were one, and only where they lead to a byte that is asked for is
 * the opcode before them looked at. Nothing is missed wherever the instructions begin, and a library is
 * scanned in a millisecond.
 */
#include "arch/x86_64/x86_64.h"

#include <string.h>

/* jmp and call rel32 (e9, e8), jcc rel32 (0f 80..8f) and xbegin (c7 f8): where the opcode before a rel32 at
 * `at` begins, or SIZE_MAX. */
static size_t rel32_opcode(const uint8_t *code, size_t at)
{
    if (at >= 2 && code[at - 2] == 0x0f && (code[at - 1] & 0xf0) == 0x80)
        return at - 2;
    if (at >= 1 && (code[at - 1] & 0xfe) == 0xe8)
        return at - 1;
    if (at >= 2 && code[at - 2] == 0xc7 && code[at - 1] == 0xf8)
        return at - 2;
    return SIZE_MAX;
}

/* jmp rel8 (eb), jcc rel8 (70..7f), loop and jrcxz (e0..e3). */
static bool is_rel8_opcode(uint8_t byte)
{
    return byte == 0xeb || (byte & 0xf0) == 0x70 || (byte & 0xfc) == 0xe0;
}

static uint32_t load32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Whether one of the rel32s that begin in this many bytes leads to one of the `len` bytes of the set: most
 * lead elsewhere, and four are looked at by one instruction. */
enum { STEP_BYTES = 16 };
typedef uint32_t four_words __attribute__((vector_size(16)));
typedef uint64_t two_words __attribute__((vector_size(16)));

static bool step_leads_to(const uint8_t *code, uint32_t base, uint32_t len)
{
    const four_words every_fourth = {0, 4, 8, 12};
    four_words hits = {0};
    for (uint32_t i = 0; i < 4; i++) {
        four_words displacement;
        memcpy(&displacement, code + i, sizeof displacement);
        hits |= (four_words)(displacement + every_fourth + (base + i) < len);
    }
    two_words any = (two_words)hits;
    return (any[0] | any[1]) != 0;
}

void rdf_x86_64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                              void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx)
{
    /* The target as an offset into the set, modulo 2^32: both lie in one object of less than 2 GiB. */
    uint32_t base = (uint32_t)(addr + 4 - set->start);
    uint32_t len = set->len_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)set->len_bytes;

    size_t end = code.len_bytes < 4 ? 0 : code.len_bytes - 3;
    for (size_t at = 0, step_end; at < end; at = step_end) {
        bool is_whole = end - at > STEP_BYTES;
        step_end = is_whole ? at + STEP_BYTES : end;
        if (is_whole && !step_leads_to(code.data + at, base + (uint32_t)at, len))
            continue;
        for (; at < step_end; at++) {
            uint32_t off = base + (uint32_t)at + load32(code.data + at);
            if (off >= len || !(set->bits[off / 8] >> off % 8 & 1))
                continue;
            size_t opcode = rel32_opcode(code.data, at);
            if (opcode != SIZE_MAX)
                visit(ctx, addr + opcode, set->start + off);
        }
    }
    /* Short ones come from nearby. */
    uint64_t low = set->start > addr + 128 ? set->start - 128 - addr : 1;
    uint64_t high = set->start + set->len_bytes + 130 > addr ? set->start + set->len_bytes + 130 - addr : 0;
    for (uint64_t at = low; at < code.len_bytes && at < high; at++) {
        if (!is_rel8_opcode(code.data[at - 1]))
            continue;
        uint64_t target = addr + at + 1 + (uint64_t)(int64_t)(int8_t)code.data[at];
        if (rdf_byte_set_has(set, target))
            visit(ctx, addr + at - 1, target);
    }
}

bool rdf_x86_64_may_compute_jump(struct rdf_span code)
{
    for (size_t at = 0; at + 1 < code.len_bytes; at++)
        if (code.data[at] == 0xff && (code.data[at + 1] & 0xf8) == 0xe0) /* jmp reg */
            return true;
    return false;
}

/* What a displacement at `at` belongs to, by the opcode before it; false: nothing that reaches its target. */
static bool kind_of_rel32(const uint8_t *code, size_t at, enum rdf_reference *ret)
{
    if (at >= 1 && code[at - 1] == 0xe8)
        *ret = RDF_REFERENCE_CALL;
    else if (rel32_opcode(code, at) != SIZE_MAX)
        *ret = RDF_REFERENCE_JUMP;
    else if (at >= 2 && code[at - 2] == 0x8d && (code[at - 1] & 0xc7) == 0x05) /* lea reg, [rip + disp32] */
        *ret = RDF_REFERENCE_VALUE;
    else
        return false;
    return true;
}

void rdf_x86_64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                              enum rdf_reference kind),
                                void *ctx)
{
    uint32_t base = (uint32_t)(addr + 4 - set->start);
    uint32_t start_low = (uint32_t)set->start;
    uint32_t len = set->len_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)set->len_bytes;

    for (size_t at = 0; at + 4 <= code.len_bytes; at++) {
        uint32_t value = load32(code.data + at);
        uint32_t off = base + (uint32_t)at + value;
        enum rdf_reference kind;
        if (off < len && (set->bits[off / 8] >> off % 8 & 1) && kind_of_rel32(code.data, at, &kind))
            visit(ctx, addr + at, set->start + off, kind);
        /* The address itself: 8 bytes anywhere, 4 as the operand of mov, push or cmp. */
        off = value - start_low;
        if (off >= len || !(set->bits[off / 8] >> off % 8 & 1))
            continue;
        uint64_t target = set->start + off;
        bool is_wide = at + 8 <= code.len_bytes && load32(code.data + at + 4) == target >> 32;
        if (is_wide || target >> 32 == 0)
            visit(ctx, addr + at, target, RDF_REFERENCE_VALUE);
    }
}
