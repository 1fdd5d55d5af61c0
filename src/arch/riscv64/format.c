/* SPDX-License-Identifier: MIT
 *
 * The text of an instruction.
 */
#include "arch/riscv64/riscv64.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

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
    if (!rd && rdf_riscv64_is_link(rs1) && !off && rs1 == RDF_RV_RA)
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
    int imm = (int)rdf_riscv64_extend((parcel >> 12 & 1) << 5 | rdf_riscv64_bits(parcel, 6, 2), 6);
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
            (int)rdf_riscv64_extend((parcel >> 12 & 1) << 9 | rdf_riscv64_bits(parcel, 4, 3) << 7 |
                                        (parcel >> 5 & 1) << 6 | (parcel >> 2 & 1) << 5 |
                                        (parcel >> 6 & 1) << 4,
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
