/* SPDX-License-Identifier: MIT
 *
 * What every instruction of 16 or 32 bits is, as far as moving it is concerned.
 */
#include "arch/riscv64/riscv64.h"

/* "RV32/64G Instruction Set Listings": opcode bits 6:2. Custom and reserved ones may be branches, for all
 * that is known, and so is what they do elsewhere. */
static enum rdf_rv_form form_of_word(uint32_t word)
{
    unsigned funct3 = rdf_riscv64_bits(word, 14, 12);
    switch (word & 0x7f) {
    case 0x17: return rdf_riscv64_rd(word) ? RDF_RV_AUIPC : RDF_RV_LANDING;
    case 0x63: return funct3 == 2 || funct3 == 3 ? RDF_RV_UNKNOWN : RDF_RV_BRANCH;
    case 0x67: return funct3 ? RDF_RV_UNKNOWN : RDF_RV_JALR;
    case 0x6f: return RDF_RV_JAL;
    case 0x73:
        if (word == 0x00000073)
            return RDF_RV_ECALL;
        if (word == 0x00100073)
            return RDF_RV_TRAP;
        /* unimp (a write to the read-only cycle), sret, mret */
        if (word == 0xc0001073 || word == 0x10200073 || word == 0x30200073)
            return RDF_RV_STOP;
        return RDF_RV_PLAIN;
    case 0x13: return word == 0x13 ? RDF_RV_NOP : RDF_RV_PLAIN;
    case 0x03: /* load, store: integer, floating point, vector */
    case 0x07:
    case 0x23:
    case 0x27:
    case 0x0f: /* fences, cache blocks */
    case 0x1b: /* op-imm-32, op, op-32, lui */
    case 0x33:
    case 0x37:
    case 0x3b:
    case 0x2f: /* atomics */
    case 0x43: /* floating point */
    case 0x47:
    case 0x4b:
    case 0x4f:
    case 0x53:
    case 0x57: /* vector, vector crypto */
    case 0x77: return RDF_RV_PLAIN;
    default: return RDF_RV_UNKNOWN;
    }
}

/* "RVC Instruction Set Listings" */
static enum rdf_rv_form form_of_parcel(uint32_t parcel)
{
    unsigned funct3 = rdf_riscv64_bits(parcel, 15, 13);
    switch ((parcel & 3) << 3 | funct3) {
    case 0: return rdf_riscv64_bits(parcel, 12, 5) ? RDF_RV_PLAIN : RDF_RV_UNKNOWN; /* 0 is never one */
    case 8 + 0: return rdf_riscv64_rd(parcel) ? RDF_RV_PLAIN : RDF_RV_NOP;
    case 8 + 1: return rdf_riscv64_rd(parcel) ? RDF_RV_PLAIN : RDF_RV_UNKNOWN; /* c.addiw */
    case 8 + 5: return RDF_RV_C_J;
    case 8 + 6:
    case 8 + 7: return RDF_RV_C_BRANCH;
    case 16 + 4:
        if (rdf_riscv64_bits(parcel, 6, 2))
            return RDF_RV_PLAIN; /* c.mv, c.add */
        if (!rdf_riscv64_rd(parcel))
            return parcel >> 12 & 1 ? RDF_RV_TRAP : RDF_RV_UNKNOWN;
        return parcel >> 12 & 1 ? RDF_RV_C_JALR : RDF_RV_C_JR;
    default: return RDF_RV_PLAIN;
    }
}

bool rdf_riscv64_read(struct rdf_span code, struct rdf_rv_insn *ret)
{
    uint8_t low, high;
    uint32_t word;
    if (!rdf_span_u8(code, 0, &low) || !rdf_span_u8(code, 1, &high))
        return false;
    struct rdf_rv_insn insn = {.word = (uint32_t)low | (uint32_t)high << 8, .len_bytes = RDF_RV_PARCEL_BYTES};
    if ((low & 3) != 3) {
        insn.form = form_of_parcel(insn.word);
    } else if ((low & 0x1c) == 0x1c || !rdf_span_u32(code, 0, &word)) {
        return false; /* longer than four bytes, or cut off */
    } else {
        insn.word = word;
        insn.len_bytes = RDF_RV_WORD_BYTES;
        insn.form = form_of_word(word);
    }
    if (insn.form == RDF_RV_UNKNOWN)
        return false;
    *ret = insn;
    return true;
}

/* --- displacements ---------------------------------------------------------------------------- */

int64_t rdf_riscv64_displacement(const struct rdf_rv_insn *insn)
{
    uint32_t word = insn->word;
    switch (insn->form) {
    case RDF_RV_AUIPC: return (int64_t)(int32_t)(word & 0xfffff000);
    case RDF_RV_JAL:
        return rdf_riscv64_extend((word >> 31) << 20 | rdf_riscv64_bits(word, 19, 12) << 12 |
                                      (word >> 20 & 1) << 11 | rdf_riscv64_bits(word, 30, 21) << 1,
                                  21);
    case RDF_RV_BRANCH:
        return rdf_riscv64_extend((word >> 31) << 12 | (word >> 7 & 1) << 11 |
                                      rdf_riscv64_bits(word, 30, 25) << 5 |
                                      rdf_riscv64_bits(word, 11, 8) << 1,
                                  13);
    case RDF_RV_C_J:
        return rdf_riscv64_extend((word >> 12 & 1) << 11 | (word >> 8 & 1) << 10 |
                                      rdf_riscv64_bits(word, 10, 9) << 8 | (word >> 6 & 1) << 7 |
                                      (word >> 7 & 1) << 6 | (word >> 2 & 1) << 5 | (word >> 11 & 1) << 4 |
                                      rdf_riscv64_bits(word, 5, 3) << 1,
                                  12);
    case RDF_RV_C_BRANCH:
        return rdf_riscv64_extend((word >> 12 & 1) << 8 | rdf_riscv64_bits(word, 6, 5) << 6 |
                                      (word >> 2 & 1) << 5 | rdf_riscv64_bits(word, 11, 10) << 3 |
                                      rdf_riscv64_bits(word, 4, 3) << 1,
                                  9);
    default: return 0;
    }
}

bool rdf_riscv64_set_jal(unsigned rd, int64_t displacement, uint32_t *ret)
{
    if (displacement < -0x100000 || displacement > 0xffffe || displacement % RDF_RV_PARCEL_BYTES)
        return false;
    uint32_t bits = (uint32_t)displacement;
    *ret = (bits >> 20 & 1) << 31 | (bits >> 1 & 0x3ff) << 21 | (bits >> 11 & 1) << 20 | (bits & 0xff000) |
           rd << 7 | 0x6f;
    return true;
}

bool rdf_riscv64_set_branch(uint32_t word, int64_t displacement, uint32_t *ret)
{
    if (displacement < -0x1000 || displacement > 0xffe || displacement % RDF_RV_PARCEL_BYTES)
        return false;
    uint32_t bits = (uint32_t)displacement;
    *ret = (word & 0x01fff07f) | (bits >> 12 & 1) << 31 | (bits >> 5 & 0x3f) << 25 | (bits >> 1 & 0xf) << 8 |
           (bits >> 11 & 1) << 7;
    return true;
}

/* --- the record ------------------------------------------------------------------------------- */

static enum rdf_flow flow_of(const struct rdf_rv_insn *insn)
{
    uint32_t word = insn->word;
    switch (insn->form) {
    case RDF_RV_JAL: return rdf_riscv64_rd(word) ? RDF_FLOW_CALL : RDF_FLOW_JUMP;
    case RDF_RV_JALR:
        if (rdf_riscv64_rd(word))
            return RDF_FLOW_CALL_INDIRECT;
        return rdf_riscv64_is_link(rdf_riscv64_rs1(word)) && !(word >> 20) ? RDF_FLOW_RETURN
                                                                           : RDF_FLOW_JUMP_INDIRECT;
    case RDF_RV_C_J: return RDF_FLOW_JUMP;
    case RDF_RV_BRANCH:
    case RDF_RV_C_BRANCH: return RDF_FLOW_BRANCH;
    case RDF_RV_C_JR:
        return rdf_riscv64_is_link(rdf_riscv64_rd(word)) ? RDF_FLOW_RETURN : RDF_FLOW_JUMP_INDIRECT;
    case RDF_RV_C_JALR: return RDF_FLOW_CALL_INDIRECT;
    case RDF_RV_ECALL: return RDF_FLOW_SYSCALL;
    case RDF_RV_TRAP:
    case RDF_RV_STOP: return RDF_FLOW_STOP;
    default: return RDF_FLOW_NEXT;
    }
}

static enum rdf_insn_role role_of(enum rdf_rv_form form)
{
    switch (form) {
    case RDF_RV_NOP: return RDF_ROLE_NOP;
    case RDF_RV_TRAP: return RDF_ROLE_TRAP;
    case RDF_RV_LANDING: return RDF_ROLE_LANDING;
    default: return RDF_ROLE_PLAIN;
    }
}

bool rdf_riscv64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret)
{
    struct rdf_rv_insn read;
    if (addr % RDF_RV_PARCEL_BYTES || !rdf_riscv64_read(code, &read))
        return false;
    uint64_t named = addr + (uint64_t)rdf_riscv64_displacement(&read);
    struct rdf_insn insn = {.addr = addr,
                            .len_bytes = read.len_bytes,
                            .flow = flow_of(&read),
                            .role = role_of(read.form)};
    if (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH || insn.flow == RDF_FLOW_CALL) {
        insn.has_target = true;
        insn.target = named;
    } else if (read.form == RDF_RV_AUIPC) {
        insn.has_ref = true;
        insn.ref = named;
    }
    *ret = insn;
    return true;
}
