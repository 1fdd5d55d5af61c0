/* SPDX-License-Identifier: MIT
 *
 * What every instruction of 16 or 32 bits is, as far as moving it is concerned.
 */
#include "arch/riscv64/riscv64.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

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

static int64_t extend(uint32_t value, unsigned bits)
{
    return (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
}

int64_t rdf_riscv64_displacement(const struct rdf_rv_insn *insn)
{
    uint32_t word = insn->word;
    switch (insn->form) {
    case RDF_RV_AUIPC: return (int64_t)(int32_t)(word & 0xfffff000);
    case RDF_RV_JAL:
        return extend((word >> 31) << 20 | rdf_riscv64_bits(word, 19, 12) << 12 | (word >> 20 & 1) << 11 |
                          rdf_riscv64_bits(word, 30, 21) << 1,
                      21);
    case RDF_RV_BRANCH:
        return extend((word >> 31) << 12 | (word >> 7 & 1) << 11 | rdf_riscv64_bits(word, 30, 25) << 5 |
                          rdf_riscv64_bits(word, 11, 8) << 1,
                      13);
    case RDF_RV_C_J:
        return extend((word >> 12 & 1) << 11 | (word >> 8 & 1) << 10 | rdf_riscv64_bits(word, 10, 9) << 8 |
                          (word >> 6 & 1) << 7 | (word >> 7 & 1) << 6 | (word >> 2 & 1) << 5 |
                          (word >> 11 & 1) << 4 | rdf_riscv64_bits(word, 5, 3) << 1,
                      12);
    case RDF_RV_C_BRANCH:
        return extend((word >> 12 & 1) << 8 | rdf_riscv64_bits(word, 6, 5) << 6 | (word >> 2 & 1) << 5 |
                          rdf_riscv64_bits(word, 11, 10) << 3 | rdf_riscv64_bits(word, 4, 3) << 1,
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

/* "Jump instructions": which registers a link goes to, and comes back through. */
static bool is_link(unsigned reg)
{
    return reg == RDF_RV_RA || reg == RDF_RV_T0;
}

static enum rdf_flow flow_of(const struct rdf_rv_insn *insn)
{
    uint32_t word = insn->word;
    switch (insn->form) {
    case RDF_RV_JAL: return rdf_riscv64_rd(word) ? RDF_FLOW_CALL : RDF_FLOW_JUMP;
    case RDF_RV_JALR:
        if (rdf_riscv64_rd(word))
            return RDF_FLOW_CALL_INDIRECT;
        return is_link(rdf_riscv64_rs1(word)) && !(word >> 20) ? RDF_FLOW_RETURN : RDF_FLOW_JUMP_INDIRECT;
    case RDF_RV_C_J: return RDF_FLOW_JUMP;
    case RDF_RV_BRANCH:
    case RDF_RV_C_BRANCH: return RDF_FLOW_BRANCH;
    case RDF_RV_C_JR: return is_link(rdf_riscv64_rd(word)) ? RDF_FLOW_RETURN : RDF_FLOW_JUMP_INDIRECT;
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

/* --- text ------------------------------------------------------------------------------------- */

struct text {
    char *out;
    size_t bytes, used;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = text->used < text->bytes ? text->bytes - text->used : 0;
    int len = vsnprintf(room ? text->out + text->used : NULL, room, format, args);
    va_end(args);
    if (len > 0)
        text->used += (size_t)len;
}

static const char *const regs[32] = {"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
                                     "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
                                     "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};

static void say_jalr(struct text *text, unsigned rd, unsigned rs1, int off)
{
    if (!rd && is_link(rs1) && !off && rs1 == RDF_RV_RA)
        say(text, "ret");
    else if (!rd && !off)
        say(text, "jr %s", regs[rs1]);
    else if (rd == RDF_RV_RA && !off)
        say(text, "jalr %s", regs[rs1]);
    else
        say(text, "jalr %s, %d(%s)", regs[rd], off, regs[rs1]);
}

/* The commonest plain words of a prologue; the others are shown as what they are. */
static bool say_word(struct text *text, uint32_t word)
{
    static const char *const loads[8] = {"lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", NULL};
    static const char *const stores[8] = {"sb", "sh", "sw", "sd"};
    const char *rd = regs[rdf_riscv64_rd(word)], *rs1 = regs[rdf_riscv64_rs1(word)];
    const char *rs2 = regs[rdf_riscv64_bits(word, 24, 20)];
    unsigned funct3 = rdf_riscv64_bits(word, 14, 12);
    int imm = (int32_t)word >> 20;
    int store_off = ((int32_t)word >> 25) * 32 + (int)rdf_riscv64_rd(word);
    if ((word & 0x7f) == 0x13 && funct3 == 0)
        say(text, "addi %s, %s, %d", rd, rs1, imm);
    else if ((word & 0x7f) == 0x1b && funct3 == 0)
        say(text, "addiw %s, %s, %d", rd, rs1, imm);
    else if ((word & 0xfe00707f) == 0x33)
        say(text, "add %s, %s, %s", rd, rs1, rs2);
    else if ((word & 0x7f) == 0x37)
        say(text, "lui %s, 0x%x", rd, word >> 12);
    else if ((word & 0x7f) == 0x03 && loads[funct3])
        say(text, "%s %s, %d(%s)", loads[funct3], rd, imm, rs1);
    else if ((word & 0x7f) == 0x23 && stores[funct3])
        say(text, "%s %s, %d(%s)", stores[funct3], rs2, store_off, rs1);
    else
        return false;
    return true;
}

static bool say_parcel(struct text *text, uint32_t parcel)
{
    const char *rd = regs[rdf_riscv64_rd(parcel)], *rs2 = regs[rdf_riscv64_bits(parcel, 6, 2)];
    int imm = (int)extend((parcel >> 12 & 1) << 5 | rdf_riscv64_bits(parcel, 6, 2), 6);
    switch (parcel & 0xe003) {
    case 0x0001: say(text, "c.addi %s, %d", rd, imm); return true;
    case 0x2001: say(text, "c.addiw %s, %d", rd, imm); return true;
    case 0x4001: say(text, "c.li %s, %d", rd, imm); return true;
    case 0x8002: say(text, "c.%s %s, %s", parcel >> 12 & 1 ? "add" : "mv", rd, rs2); return true;
    case 0xe002:
        say(text, "c.sdsp %s, %u(sp)", rs2,
            rdf_riscv64_bits(parcel, 12, 10) << 3 | rdf_riscv64_bits(parcel, 9, 7) << 6);
        return true;
    case 0x6001:
        if (rdf_riscv64_rd(parcel) != 2)
            return false;
        say(text, "c.addi16sp sp, %d",
            (int)extend((parcel >> 12 & 1) << 9 | rdf_riscv64_bits(parcel, 4, 3) << 7 |
                            (parcel >> 5 & 1) << 6 | (parcel >> 2 & 1) << 5 | (parcel >> 6 & 1) << 4,
                        10));
        return true;
    default: return false;
    }
}

static void say_insn(struct text *text, const struct rdf_rv_insn *insn, uint64_t addr)
{
    static const char *const conditions[8] = {"beq", "bne", "", "", "blt", "bge", "bltu", "bgeu"};
    uint32_t word = insn->word;
    unsigned rd = rdf_riscv64_rd(word), rs1 = rdf_riscv64_rs1(word);
    uint64_t named = addr + (uint64_t)rdf_riscv64_displacement(insn);
    bool is_short = insn->len_bytes == RDF_RV_PARCEL_BYTES;
    switch (insn->form) {
    case RDF_RV_AUIPC: say(text, "auipc %s, 0x%x # 0x%" PRIx64, regs[rd], word >> 12, named); return;
    case RDF_RV_JAL: say(text, rd ? "jal %s, 0x%" PRIx64 : "j %.0s0x%" PRIx64, regs[rd], named); return;
    case RDF_RV_JALR: say_jalr(text, rd, rs1, (int32_t)word >> 20); return;
    case RDF_RV_BRANCH:
        say(text, "%s %s, %s, 0x%" PRIx64, conditions[rdf_riscv64_bits(word, 14, 12)], regs[rs1],
            regs[rdf_riscv64_bits(word, 24, 20)], named);
        return;
    case RDF_RV_C_J: say(text, "c.j 0x%" PRIx64, named); return;
    case RDF_RV_C_BRANCH:
        say(text, "c.%s %s, 0x%" PRIx64, word >> 13 & 1 ? "bnez" : "beqz",
            regs[8 + rdf_riscv64_bits(word, 9, 7)], named);
        return;
    case RDF_RV_C_JR: say(text, rd == RDF_RV_RA ? "ret" : "c.jr %s", regs[rd]); return;
    case RDF_RV_C_JALR: say(text, "c.jalr %s", regs[rd]); return;
    case RDF_RV_ECALL: say(text, "ecall"); return;
    case RDF_RV_TRAP: say(text, is_short ? "c.ebreak" : "ebreak"); return;
    case RDF_RV_STOP: say(text, word == 0xc0001073 ? "unimp" : word >> 29 ? "mret" : "sret"); return;
    case RDF_RV_NOP: say(text, is_short ? "c.nop" : "nop"); return;
    case RDF_RV_LANDING: say(text, "lpad 0x%x", word >> 12); return;
    default: break;
    }
    if (is_short ? !say_parcel(text, word) : !say_word(text, word))
        say(text, is_short ? ".half 0x%04" PRIx32 : ".word 0x%08" PRIx32, word);
}

size_t rdf_riscv64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes)
{
    struct text text = {ret_text, text_bytes, 0};
    struct rdf_rv_insn insn;
    if (addr % RDF_RV_PARCEL_BYTES || !rdf_riscv64_read(code, &insn)) {
        say(&text, "(bad)");
        return 0;
    }
    say_insn(&text, &insn, addr);
    return insn.len_bytes;
}
