/* SPDX-License-Identifier: MIT
 *
 * Jumps, and the addresses that far forms need.
 */
#include "arch/aarch64/aarch64.h"

#define B_WORD        UINT32_C(0x14000000)
#define LDR_X_LITERAL UINT32_C(0x58000000)
#define ADR_WORD      UINT32_C(0x10000000)
#define ADRP_WORD     UINT32_C(0x90000000)
#define STR_X         UINT32_C(0xf9000000) /* str Xt, [Xn] */
#define MOVZ_X        UINT32_C(0xd2800000)
#define MOVK_X        UINT32_C(0xf2800000)
#define MRS_TPIDR     UINT32_C(0xd53bd040) /* mrs Xt, tpidr_el0 */
#define ADD_SHIFTED   UINT32_C(0x91400000) /* add Xd, Xn, #imm12, lsl #12 */
#define CBZ_X         UINT32_C(0xb4000000)

static int64_t distance(uint64_t from, uint64_t to)
{
    return (int64_t)(to - from); /* addresses wrap, and so does the PC (C6.2.11) */
}

static int64_t page_distance(uint64_t from, uint64_t to)
{
    return distance(from & ~UINT64_C(0xfff), to & ~UINT64_C(0xfff));
}

/* movz for the first 16-bit piece that is not zero, movk for the others. */
static size_t move_wide(uint32_t ret_words[4], unsigned rd, uint64_t value)
{
    size_t count = 0;
    for (unsigned half = 0; half < 4; half++) {
        uint32_t piece = (value >> 16 * half) & 0xffff;
        if (!piece)
            continue;
        uint32_t opcode = count ? MOVK_X : MOVZ_X;
        ret_words[count++] = opcode | half << 21 | piece << 5 | rd;
    }
    if (!count)
        ret_words[count++] = MOVZ_X | rd;
    return count;
}

size_t rdf_aarch64_materialise(uint32_t ret_words[4], unsigned rd, uint64_t value, uint64_t pc)
{
    uint32_t near = ADR_WORD | rd;
    if (rdf_aarch64_set_displacement(RDF_A64_ADR, &near, distance(pc, value))) {
        ret_words[0] = near;
        return 1;
    }
    size_t count = move_wide(ret_words, rd, value);
    uint32_t page = ADRP_WORD | rd;
    unsigned low = value & 0xfff;
    if (count > (low ? 2U : 1U) &&
        rdf_aarch64_set_displacement(RDF_A64_ADRP, &page, page_distance(pc, value))) {
        count = 0;
        ret_words[count++] = page;
        if (low)
            ret_words[count++] = rdf_aarch64_add(rd, rd, low);
    }
    return count;
}

size_t rdf_aarch64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    uint32_t word = B_WORD;
    if (!rdf_aarch64_set_displacement(RDF_A64_B, &word, distance(from, to)))
        return 0;
    rdf_aarch64_put(ret_code, word);
    return RDF_AARCH64_WORD_BYTES;
}

size_t rdf_aarch64_load(uint32_t ret_words[2], unsigned rt, uint64_t pc, uint64_t addr)
{
    uint32_t literal = LDR_X_LITERAL | rt;
    uint32_t page = ADRP_WORD | rt;
    if (rdf_aarch64_set_displacement(RDF_A64_LDR, &literal, distance(pc, addr))) {
        ret_words[0] = literal;
        return 1;
    }
    if (addr % 8 || !rdf_aarch64_set_displacement(RDF_A64_ADRP, &page, page_distance(pc, addr)))
        return 0;
    ret_words[0] = page;
    ret_words[1] = rdf_aarch64_ldr(rt, rt, addr & 0xfff);
    return 2;
}

/* x16, and br, so that the replacement may begin with `bti c` or paciasp: they accept a jump through
 * x16 or x17 as a call (D8.4.2, BTYPE 0b01). */
size_t rdf_aarch64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr)
{
    uint32_t words[3];
    size_t count = rdf_aarch64_load(words, RDF_AARCH64_X16, from, slot_addr);
    if (!count)
        return 0;
    words[count++] = rdf_aarch64_br(RDF_AARCH64_X16);
    for (size_t i = 0; i < count; i++)
        rdf_aarch64_put(ret_code + i * RDF_AARCH64_WORD_BYTES, words[i]);
    return count * RDF_AARCH64_WORD_BYTES;
}

/* Every instruction is as long as the jump: nothing shorter is ever needed, nor is a trap. */
size_t rdf_aarch64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    (void)ret_code, (void)from, (void)to;
    return 0;
}

size_t rdf_aarch64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                            uint64_t to)
{
    uint32_t word;
    if (!rdf_span_u32(code, 0, &word))
        return 0;
    enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
    bool is_branch = form == RDF_A64_B || form == RDF_A64_BL || form == RDF_A64_B_COND ||
                     form == RDF_A64_CBZ || form == RDF_A64_TBZ || form == RDF_A64_CMP_B;
    if (!is_branch || !rdf_aarch64_set_displacement(form, &word, distance(addr, to)))
        return 0;
    rdf_aarch64_put(ret_code, word);
    return RDF_AARCH64_WORD_BYTES;
}

/* "Concurrent modification and execution of instructions" (Arm ARM B2.2.5) allows it where both are of this
 * list; what is executed in the place of any other may be neither the old one nor the new one. */
static bool is_swappable(struct rdf_span code)
{
    uint32_t word;
    if (code.len_bytes != RDF_AARCH64_WORD_BYTES || !rdf_span_u32(code, 0, &word))
        return false;
    enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
    return form == RDF_A64_B || form == RDF_A64_BL || form == RDF_A64_BRK || form == RDF_A64_NOP ||
           form == RDF_A64_SVC;
}

bool rdf_aarch64_may_swap(struct rdf_span before, struct rdf_span after)
{
    return is_swappable(before) && is_swappable(after);
}

/* x16 and x17 belong to nobody at an entry. */
size_t rdf_aarch64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr)
{
    uint32_t words[RDF_COUNT_BYTES_MAX / RDF_AARCH64_WORD_BYTES];
    size_t count = move_wide(words, RDF_AARCH64_X16, counter_addr);
    words[count++] = rdf_aarch64_ldr(RDF_AARCH64_X17, RDF_AARCH64_X16, 0);
    words[count++] = rdf_aarch64_add(RDF_AARCH64_X17, RDF_AARCH64_X17, 1);
    words[count++] = STR_X | RDF_AARCH64_X16 << 5 | RDF_AARCH64_X17;
    for (size_t i = 0; i < count; i++)
        rdf_aarch64_put(ret_code + i * RDF_AARCH64_WORD_BYTES, words[i]);
    return count * RDF_AARCH64_WORD_BYTES;
}

/* The word lies at a small distance behind the thread pointer (variant I of TLS). */
size_t rdf_aarch64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                               struct rdf_thread_word word, uint32_t index, uint64_t slot_addr)
{
    enum { PAGE = 4096, ENTRIES_MAX = 4096, x16 = RDF_AARCH64_X16 };
    uint32_t words[8];
    size_t count = 0;
    if (word.is_from_other || word.off < 0 || word.off % 8 || word.off >= (int64_t)PAGE * PAGE ||
        index >= ENTRIES_MAX)
        return 0;
    uint32_t pages = (uint32_t)(word.off / PAGE);
    words[count++] = MRS_TPIDR | x16;
    if (pages)
        words[count++] = ADD_SHIFTED | pages << 10 | x16 << 5 | x16;
    words[count++] = rdf_aarch64_ldr(x16, x16, (unsigned)(word.off % PAGE));
    words[count++] = CBZ_X | 4 << 5 | x16; /* to the slot jump: four words on */
    words[count++] = rdf_aarch64_ldr(x16, x16, 8 * index);
    words[count++] = CBZ_X | 2 << 5 | x16;
    words[count++] = rdf_aarch64_br(x16);
    for (size_t i = 0; i < count; i++)
        rdf_aarch64_put(ret_code + i * RDF_AARCH64_WORD_BYTES, words[i]);
    size_t len = count * RDF_AARCH64_WORD_BYTES;
    size_t slot_jump = rdf_aarch64_emit_slot_jump(ret_code + len, from + len, slot_addr);
    return slot_jump ? len + slot_jump : 0;
}
