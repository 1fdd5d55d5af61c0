/* SPDX-License-Identifier: MIT
 *
 * A relay that calls, so that it can put back what callers rely on:
 *
 *     addi sp, sp, -16 · sd ra, 8(sp) · sd s0, 0(sp) · addi s0, sp, 16 · addi sp, sp, -n · save… · copy… ·
 *     -24(s0) = back · t4 = frame call · t1 = [slot] · jr t4
 *     back: addi sp, s0, -(16 + n) · restore… · addi sp, s0, -16 · ld s0 · ld ra · addi sp, sp, 16 · ret
 *
 * t1 and t4 are saved by then, or belong to nobody; t6 is what the jumps that lead here change. What makes
 * the call is in native.c.
 */
#include "arch/riscv64/riscv64.h"

enum {
    FRAME_BYTES = 16, /* the return address and the caller's s0 */
    CALL_BYTES = 16,  /* below: where to come back to */
    SP = 2,
    S0 = 8,
    FP_BASE = 32,
    LPAD = 0x17, /* auipc x0, 0: a landing pad (Zicfilp), else nothing */
};

static uint32_t load(unsigned rd, unsigned rs1, int32_t off)
{
    return (uint32_t)off << 20 | rs1 << 15 | rd << 7 | 0x3003;
}

static uint32_t store(unsigned rs2, unsigned rs1, int32_t off)
{
    uint32_t bits = (uint32_t)off;
    return (bits >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | (bits & 0x1f) << 7 | 0x3023;
}

/* ld and sd, fld and fsd differ in one bit of their opcodes. */
static size_t move_all(uint32_t *words, uint64_t registers, bool is_load)
{
    enum { FLOAT = 4 };
    size_t count = 0;
    for (unsigned i = 0; i < 64; i++) {
        if (!(registers >> i & 1))
            continue;
        int32_t off = (int32_t)(8 * count);
        uint32_t word = is_load ? load(i % FP_BASE, SP, off) : store(i % FP_BASE, SP, off);
        words[count++] = word | (i >= FP_BASE ? FLOAT : 0);
    }
    return count;
}

static size_t begin_frame(uint32_t *words, int32_t room)
{
    words[0] = rdf_riscv64_addi(SP, SP, -FRAME_BYTES);
    words[1] = store(RDF_RV_RA, SP, 8);
    words[2] = store(S0, SP, 0);
    words[3] = rdf_riscv64_addi(S0, SP, FRAME_BYTES);
    words[4] = rdf_riscv64_addi(SP, SP, -room);
    return 5;
}

static size_t end_frame(uint32_t *words)
{
    words[0] = rdf_riscv64_addi(SP, S0, -FRAME_BYTES);
    words[1] = load(S0, SP, 0);
    words[2] = load(RDF_RV_RA, SP, 8);
    words[3] = rdf_riscv64_addi(SP, SP, FRAME_BYTES);
    words[4] = rdf_riscv64_jalr(RDF_RV_ZERO, RDF_RV_RA, 0);
    return 5;
}

size_t rdf_riscv64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                 uint64_t call_addr, const struct rdf_keep *keep)
{
    uint32_t words[RDF_PRESERVE_BYTES_MAX / RDF_RV_WORD_BYTES];
    uint64_t registers = keep->registers;
    int32_t copied = (keep->stack_words + 1) / 2 * 16;
    int32_t room = CALL_BYTES + (__builtin_popcountll(registers) * 8 + 15) / 16 * 16;
    uint64_t lost = ~RDF_RISCV64_CALL_CLOBBERED | UINT64_C(1) << RDF_RV_T6;
    size_t count;

    if (keep->stack_words > RDF_STACK_WORDS_MAX || registers & lost)
        return 0;
    count = begin_frame(words, room);
    count += move_all(words + count, registers, false);
    if (copied)
        words[count++] = rdf_riscv64_addi(SP, SP, -copied);
    for (int32_t off = 0; off < copied; off += 8) {
        words[count++] = load(RDF_RV_T1, S0, off);
        words[count++] = store(RDF_RV_T1, SP, off);
    }
    size_t back = count; /* auipc t1, 0; addi t1, t1, …; sd t1, -24(s0) */
    words[count++] = RDF_RV_T1 << 7 | LPAD;
    count++;
    words[count++] = store(RDF_RV_T1, S0, -24);
    count += rdf_riscv64_materialise(words + count, RDF_RV_T4, call_addr, from + count * RDF_RV_WORD_BYTES);
    count += rdf_riscv64_materialise(words + count, RDF_RV_T1, slot_addr, from + count * RDF_RV_WORD_BYTES);
    words[count++] = load(RDF_RV_T1, RDF_RV_T1, 0);
    words[count++] = rdf_riscv64_jalr(RDF_RV_ZERO, RDF_RV_T4, 0);
    words[back + 1] = rdf_riscv64_addi(RDF_RV_T1, RDF_RV_T1, (int32_t)(count - back) * RDF_RV_WORD_BYTES);
    words[count++] = LPAD;
    words[count++] = rdf_riscv64_addi(SP, S0, -(FRAME_BYTES + room));
    count += move_all(words + count, registers, true);
    count += end_frame(words + count);
    for (size_t i = 0; i < count; i++)
        rdf_riscv64_put(ret_code + i * RDF_RV_WORD_BYTES, words[i]);
    return count * RDF_RV_WORD_BYTES;
}
