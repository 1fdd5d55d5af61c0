/* SPDX-License-Identifier: MIT
 *
 * Jumps, and the addresses that far forms need.
 */
#include "arch/riscv64/riscv64.h"

#define AUIPC  UINT32_C(0x17)
#define LUI    UINT32_C(0x37)
#define ADDIW  UINT32_C(0x1b)
#define SLLI   UINT32_C(0x1013)
#define ADD    UINT32_C(0x33)
#define LD     UINT32_C(0x3003)
#define C_J    UINT32_C(0xa001)
#define AMOADD UINT32_C(0x0000302f) /* amoadd.d */

static int64_t distance(uint64_t from, uint64_t to)
{
    return (int64_t)(to - from); /* addresses wrap, and so does the PC */
}

/* The twelve low bits, signed, as immediates are. */
static int32_t low12(uint64_t value)
{
    return (int32_t)((uint32_t)value << 20) >> 20;
}

bool rdf_riscv64_split(int64_t to, unsigned rd, uint32_t *ret_auipc, int32_t *ret_low)
{
    int32_t low = low12((uint64_t)to);
    int64_t high = (int64_t)((uint64_t)to - (uint64_t)(int64_t)low);
    if (high < INT32_MIN || high > INT32_MAX)
        return false;
    *ret_auipc = (uint32_t)high | rd << 7 | AUIPC;
    *ret_low = low;
    return true;
}

/* From the front: what a lui and an addiw can make, then twelve bits more with each slli and addi. */
static size_t load_constant(uint32_t ret_words[RDF_RV_VALUE_WORDS_MAX], unsigned rd, uint64_t value)
{
    struct {
        unsigned shift;
        int32_t low;
    } step[3];
    size_t steps = 0, count = 0;
    int64_t left = (int64_t)value;
    while (left < INT32_MIN || left > INT32_MAX) {
        int32_t low = low12((uint64_t)left);
        uint64_t high = (uint64_t)left - (uint64_t)(int64_t)low;
        unsigned shift = (unsigned)__builtin_ctzll(high);
        step[steps].shift = shift;
        step[steps++].low = low;
        left = (int64_t)high >> shift;
    }
    int32_t low = low12((uint64_t)left);
    uint32_t high = (uint32_t)left - (uint32_t)low;
    if (high)
        ret_words[count++] = high | rd << 7 | LUI;
    /* addiw: lui of 0x80000 is negative, and the sum wraps into what was meant. */
    if (low || !high)
        ret_words[count++] = high ? (uint32_t)low << 20 | rd << 15 | rd << 7 | ADDIW
                                  : rdf_riscv64_addi(rd, RDF_RV_ZERO, low);
    while (steps-- > 0) {
        ret_words[count++] = step[steps].shift << 20 | rd << 15 | rd << 7 | SLLI;
        if (step[steps].low)
            ret_words[count++] = rdf_riscv64_addi(rd, rd, step[steps].low);
    }
    return count;
}

size_t rdf_riscv64_materialise(uint32_t ret_words[RDF_RV_VALUE_WORDS_MAX], unsigned rd, uint64_t value,
                               uint64_t pc)
{
    uint32_t auipc;
    int32_t low;
    if (!rdf_riscv64_split(distance(pc, value), rd, &auipc, &low))
        return load_constant(ret_words, rd, value);
    ret_words[0] = auipc;
    if (low)
        ret_words[1] = rdf_riscv64_addi(rd, rd, low);
    return low ? 2 : 1;
}

/* Always both words: the bytes at an entry must suffice for any target. */
static size_t emit_jump_by(uint8_t ret_code[RDF_JUMP_BYTES_MAX], unsigned reg, uint64_t from, uint64_t to)
{
    uint32_t auipc;
    int32_t low;
    if (!rdf_riscv64_split(distance(from, to), reg, &auipc, &low))
        return 0;
    rdf_riscv64_put(ret_code, auipc);
    rdf_riscv64_put(ret_code + RDF_RV_WORD_BYTES, rdf_riscv64_jalr(RDF_RV_ZERO, reg, low));
    return RDF_RV_JUMP_BYTES;
}

size_t rdf_riscv64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    return emit_jump_by(ret_code, RDF_RV_T1, from, to);
}

/* Of the temporaries that may be changed here compilers take t1 first and t6 last. */
size_t rdf_riscv64_emit_jump_aside(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    return emit_jump_by(ret_code, RDF_RV_T6, from, to);
}

size_t rdf_riscv64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr)
{
    uint32_t auipc;
    int32_t low;
    if (!rdf_riscv64_split(distance(from, slot_addr), RDF_RV_T1, &auipc, &low))
        return 0;
    rdf_riscv64_put(ret_code, auipc);
    rdf_riscv64_put(ret_code + 4, (uint32_t)low << 20 | RDF_RV_T1 << 15 | RDF_RV_T1 << 7 | LD);
    rdf_riscv64_put(ret_code + 8, rdf_riscv64_jalr(RDF_RV_ZERO, RDF_RV_T1, 0));
    return 3 * RDF_RV_WORD_BYTES;
}

/* c.j; its offset is scattered over bits 12:2 ("C" extension, CJ format). */
size_t rdf_riscv64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    int64_t off = distance(from, to);
    if (off < -2048 || off > 2046 || off % RDF_RV_PARCEL_BYTES)
        return 0;
    uint32_t bits = (uint32_t)off;
    uint32_t word = C_J | (bits >> 11 & 1) << 12 | (bits >> 4 & 1) << 11 | (bits >> 8 & 3) << 9 |
                    (bits >> 10 & 1) << 8 | (bits >> 6 & 1) << 7 | (bits >> 7 & 1) << 6 |
                    (bits >> 1 & 7) << 3 | (bits >> 5 & 1) << 2;
    ret_code[0] = (uint8_t)word;
    ret_code[1] = (uint8_t)(word >> 8);
    return RDF_RV_PARCEL_BYTES;
}

/* Only jal: what the others reach is displaced together with them. */
size_t rdf_riscv64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                            uint64_t to)
{
    struct rdf_rv_insn insn;
    uint32_t word;
    if (!rdf_riscv64_read(code, &insn) || insn.form != RDF_RV_JAL ||
        !rdf_riscv64_set_jal(rdf_riscv64_rd(insn.word), distance(addr, to), &word))
        return 0;
    rdf_riscv64_put(ret_code, word);
    return RDF_RV_WORD_BYTES;
}

/* What a hart fetches of code that another one stores is not said before its fence.i (Zifencei); that fetches
 * are whole is the extension Ziccif, which not every hart has, and a jump of ours is two instructions anyway.
 */
bool rdf_riscv64_may_swap(struct rdf_span before, struct rdf_span after)
{
    (void)before, (void)after;
    return false;
}

/* t1 and t4 belong to nobody at an entry. */
size_t rdf_riscv64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr)
{
    uint32_t words[RDF_RV_VALUE_WORDS_MAX + 2];
    size_t count = load_constant(words, RDF_RV_T1, counter_addr);
    words[count++] = rdf_riscv64_addi(RDF_RV_T4, RDF_RV_ZERO, 1);
    words[count++] = RDF_RV_T4 << 20 | RDF_RV_T1 << 15 | AMOADD;
    for (size_t i = 0; i < count; i++)
        rdf_riscv64_put(ret_code + i * RDF_RV_WORD_BYTES, words[i]);
    return count * RDF_RV_WORD_BYTES;
}

/* ld t1, off(base), for any offset of 31 bits; t4 on the way. Returns how many words. */
static size_t load_at(uint32_t ret_words[3], unsigned base, int32_t off)
{
    int32_t low = low12((uint64_t)(int64_t)off);
    uint32_t high = (uint32_t)off - (uint32_t)low;
    size_t count = 0;
    if (high) {
        ret_words[count++] = high | RDF_RV_T4 << 7 | LUI;
        ret_words[count++] = base << 20 | RDF_RV_T4 << 15 | RDF_RV_T4 << 7 | ADD;
        base = RDF_RV_T4;
    }
    ret_words[count++] = (uint32_t)low << 20 | base << 15 | RDF_RV_T1 << 7 | LD;
    return count;
}

/* The word lies at a small distance from tp (variant I of TLS). */
size_t rdf_riscv64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                               struct rdf_thread_word word, uint32_t index, uint64_t slot_addr)
{
    enum { TP = 4, OFF_MAX = 0x7ffff000, BEQZ_T1 = RDF_RV_T1 << 15 | 0x63 };
    uint32_t words[10], entry[3];
    if (word.off < -OFF_MAX || word.off > OFF_MAX || index > OFF_MAX / 8)
        return 0;
    size_t entry_words = load_at(entry, RDF_RV_T1, (int32_t)(8 * index));
    size_t count = load_at(words, TP, (int32_t)word.off);
    /* Both to the slot jump: behind the entry's load, the other branch and the jump. */
    (void)rdf_riscv64_set_branch(BEQZ_T1, (int64_t)(entry_words + 3) * RDF_RV_WORD_BYTES, &words[count++]);
    for (size_t i = 0; i < entry_words; i++)
        words[count++] = entry[i];
    (void)rdf_riscv64_set_branch(BEQZ_T1, 2 * RDF_RV_WORD_BYTES, &words[count++]);
    words[count++] = rdf_riscv64_jalr(RDF_RV_ZERO, RDF_RV_T1, 0);
    for (size_t i = 0; i < count; i++)
        rdf_riscv64_put(ret_code + i * RDF_RV_WORD_BYTES, words[i]);
    size_t len = count * RDF_RV_WORD_BYTES;
    size_t slot_jump = rdf_riscv64_emit_slot_jump(ret_code + len, from + len, slot_addr);
    return slot_jump ? len + slot_jump : 0;
}
