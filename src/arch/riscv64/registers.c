/* SPDX-License-Identifier: MIT
 *
 * Which registers an instruction reads and writes, of those that a call may change: integers and floating
 * point. Of vector registers nothing is told. By opcode, as in decode.c.
 */
#include "arch/riscv64/riscv64.h"

enum { SP = 2, S0 = 8, FP_BASE = 32, C_LOW = 8 /* the first register that three bits name */ };

/* Register fields, as bits; x0 is none. */
static uint64_t x_of(unsigned reg)
{
    return reg == RDF_RV_ZERO ? 0 : UINT64_C(1) << reg;
}

static uint64_t f_of(unsigned reg)
{
    return UINT64_C(1) << (FP_BASE + reg);
}

static void writes(struct rdf_register_use *use, uint64_t bits)
{
    use->writes |= bits;
    use->kills |= bits;
}

static void use_stack(struct rdf_register_use *use, unsigned base, int64_t off)
{
    use->has_stack = base == SP;
    use->has_frame = base == S0;
    use->stack_off = off;
}

/* rd = rs1 + imm: also how the stack and frame pointers move */
static void use_sum(struct rdf_register_use *use, unsigned rd, unsigned rs1, int64_t imm)
{
    use->reads |= x_of(rs1);
    writes(use, x_of(rd));
    if (rd == SP) {
        use->sp_lost = rs1 != SP;
        use->sp_change = imm;
    } else if (rd == S0 && rs1 == SP) {
        use->sets_frame = true;
        use->frame_off = imm;
    } else {
        use_stack(use, rs1, imm);
    }
}

/* ---- Words of four bytes ---- */

/* "F" extension, "Floating-point conversion and move": funct7 without its format says between what. */
static void use_float(uint32_t word, struct rdf_register_use *use)
{
    unsigned op = word >> 27, rd = rdf_riscv64_rd(word), rs1 = rdf_riscv64_rs1(word);
    bool has_two = op <= 5 || op == 0x14;                  /* add … min and max; comparisons */
    bool is_from_x = op == 0x1a || op == 0x1e;             /* fcvt.d.l, fmv.d.x */
    bool is_to_x = op == 0x14 || op == 0x18 || op == 0x1c; /* feq, fcvt.l.d, fmv.x.d */
    use->reads |= is_from_x ? x_of(rs1) : f_of(rs1);
    use->reads |= has_two ? f_of(rdf_riscv64_bits(word, 24, 20)) : 0;
    writes(use, is_to_x ? x_of(rd) : f_of(rd));
}

/* "V" extension, "Vector Instruction Formats": scalars that it takes, or gives */
static void use_vector(uint32_t word, struct rdf_register_use *use)
{
    enum { OPFVV = 1, OPMVV = 2, OPIVX = 4, OPFVF = 5, OPMVX = 6, VSET = 7, UNARY = 0x10 };
    unsigned funct3 = rdf_riscv64_bits(word, 14, 12), rd = rdf_riscv64_rd(word);
    uint64_t rs1 = x_of(rdf_riscv64_rs1(word));
    if (funct3 == VSET) {
        use->reads |= word >> 30 == 3 ? 0 : rs1;                                            /* vsetivli */
        use->reads |= word >> 30 == 2 ? x_of(rdf_riscv64_bits(word, 24, 20)) : UINT64_C(0); /* vsetvl */
        writes(use, x_of(rd));
    }
    if (funct3 == OPIVX || funct3 == OPMVX)
        use->reads |= rs1;
    if (funct3 == OPFVF)
        use->reads |= f_of(rdf_riscv64_rs1(word));
    if (word >> 26 == UNARY && (funct3 == OPMVV || funct3 == OPFVV)) /* vmv.x.s, vfmv.f.s */
        use->writes |= funct3 == OPMVV ? x_of(rd) : f_of(rd);
}

static void use_atomic(uint32_t word, struct rdf_register_use *use)
{
    enum { AMOCAS = 5 }; /* Zacas: compares with rd; of 128 bits, with pairs */
    unsigned rd = rdf_riscv64_rd(word), rs2 = rdf_riscv64_bits(word, 24, 20);
    use->reads |= x_of(rdf_riscv64_rs1(word)) | x_of(rs2);
    if (word >> 27 == AMOCAS) {
        use->reads |= x_of(rd) | x_of(rd | 1) | x_of(rs2 | 1);
        use->writes |= x_of(rd) | x_of(rd | 1);
    } else {
        writes(use, x_of(rd));
    }
}

static void use_system(uint32_t word, enum rdf_rv_form form, struct rdf_register_use *use)
{
    unsigned funct3 = rdf_riscv64_bits(word, 14, 12);
    if (form == RDF_RV_ECALL) {
        use->reads |= RDF_RISCV64_A0_TO_A7;
        writes(use, x_of(RDF_RV_A0));
    } else if (funct3) {
        use->reads |= funct3 < 4 ? x_of(rdf_riscv64_rs1(word)) : 0;
        writes(use, x_of(rdf_riscv64_rd(word)));
    }
}

static void use_word(uint32_t word, enum rdf_rv_form form, struct rdf_register_use *use)
{
    unsigned rd = rdf_riscv64_rd(word), rs1 = rdf_riscv64_rs1(word), rs2 = rdf_riscv64_bits(word, 24, 20);
    unsigned funct3 = rdf_riscv64_bits(word, 14, 12);
    bool is_scalar = funct3 >= 1 && funct3 <= 4; /* of loads and stores of floating point and vectors */
    int64_t imm = (int32_t)word >> 20, store_off = (int64_t)((int32_t)word >> 25) * 32 + rd;
    switch (word & 0x7f) {
    case 0x03:
        use->reads |= x_of(rs1);
        writes(use, x_of(rd));
        use_stack(use, rs1, imm);
        break;
    case 0x07:
        use->reads |= x_of(rs1) | (is_scalar ? 0 : x_of(rs2));
        writes(use, is_scalar ? f_of(rd) : 0);
        use_stack(use, rs1, is_scalar ? imm : 0);
        break;
    case 0x23:
        use->reads |= x_of(rs1) | x_of(rs2);
        use_stack(use, rs1, store_off);
        break;
    case 0x27:
        use->reads |= x_of(rs1) | (is_scalar ? f_of(rs2) : x_of(rs2));
        use_stack(use, rs1, is_scalar ? store_off : 0);
        break;
    case 0x0f: use->reads |= funct3 == 2 ? x_of(rs1) : 0; break; /* cbo */
    case 0x13:
        if (funct3 == 0) {
            use_sum(use, rd, rs1, imm);
            break;
        } /* fall through */
    case 0x1b:
        use->reads |= x_of(rs1);
        writes(use, x_of(rd));
        break;
    case 0x33:
    case 0x3b:
        use->reads |= x_of(rs1) | x_of(rs2);
        writes(use, x_of(rd));
        break;
    case 0x63: use->reads |= x_of(rs1) | x_of(rs2); break;
    case 0x67: use->reads |= x_of(rs1); /* fall through */
    case 0x17:
    case 0x37:
    case 0x6f: writes(use, x_of(rd)); break;
    case 0x2f: use_atomic(word, use); break;
    case 0x43:
    case 0x47:
    case 0x4b:
    case 0x4f:
        use->reads |= f_of(rs1) | f_of(rs2) | f_of(word >> 27);
        writes(use, f_of(rd));
        break;
    case 0x53: use_float(word, use); break;
    case 0x57: use_vector(word, use); break;
    case 0x73: use_system(word, form, use); break;
    default: break; /* of vectors alone */
    }
}

/* ---- Parcels of two ---- */

static int64_t extend6(uint32_t parcel)
{
    return (int64_t)((rdf_riscv64_bits(parcel, 6, 2) | (parcel >> 12 & 1) << 5) ^ 32) - 32;
}

/* "C" extension, "Load and Store": one of eight registers from, or to, another's memory */
static void use_short_memory(uint32_t parcel, struct rdf_register_use *use)
{
    unsigned data = C_LOW + rdf_riscv64_bits(parcel, 4, 2), base = C_LOW + rdf_riscv64_bits(parcel, 9, 7);
    unsigned funct3 = rdf_riscv64_bits(parcel, 15, 13);
    bool is_float = funct3 == 1 || funct3 == 5, is_word = funct3 == 2 || funct3 == 6;
    bool is_byte = funct3 == 4; /* Zcb */
    bool is_store = is_byte ? parcel >> 11 & 1 : funct3 > 4;
    uint64_t bit = is_float ? f_of(data) : x_of(data);
    unsigned off = rdf_riscv64_bits(parcel, 12, 10) << 3;
    off |= is_word ? (parcel >> 6 & 1) << 2 | (parcel >> 5 & 1) << 6 : rdf_riscv64_bits(parcel, 6, 5) << 6;
    use->reads |= x_of(base) | (is_store ? bit : 0);
    writes(use, is_store ? 0 : bit);
    use_stack(use, base, is_byte ? rdf_riscv64_bits(parcel, 6, 5) : off);
}

/* The same from the stack pointer on, of any register. */
static void use_stack_memory(uint32_t parcel, struct rdf_register_use *use)
{
    unsigned funct3 = rdf_riscv64_bits(parcel, 15, 13);
    bool is_store = funct3 > 4, is_float = funct3 == 1 || funct3 == 5, is_word = funct3 == 2 || funct3 == 6;
    unsigned data = is_store ? rdf_riscv64_bits(parcel, 6, 2) : rdf_riscv64_rd(parcel);
    uint64_t bit = is_float ? f_of(data) : x_of(data);
    unsigned low = is_store ? rdf_riscv64_bits(parcel, 12, 7)
                            : (parcel >> 12 & 1) << 5 | rdf_riscv64_bits(parcel, 6, 2);
    /* The bits that would name a part of the data hold those above the field. */
    unsigned off = is_word ? (low & 0x3c) | (low & 3) << 6 : (low & 0x38) | (low & 7) << 6;
    use->reads |= is_store ? bit : 0;
    writes(use, is_store ? 0 : bit);
    use_stack(use, SP, off);
}

static void use_short_arithmetic(uint32_t parcel, struct rdf_register_use *use)
{
    unsigned rd = rdf_riscv64_rd(parcel), rs2 = rdf_riscv64_bits(parcel, 6, 2);
    unsigned low = C_LOW + rdf_riscv64_bits(parcel, 9, 7);
    switch ((parcel & 3) << 3 | rdf_riscv64_bits(parcel, 15, 13)) {
    case 0: /* c.addi4spn */
        use_sum(use, C_LOW + rdf_riscv64_bits(parcel, 4, 2), SP,
                rdf_riscv64_bits(parcel, 10, 7) << 6 | rdf_riscv64_bits(parcel, 12, 11) << 4 |
                    (parcel >> 5 & 1) << 3 | (parcel >> 6 & 1) << 2);
        break;
    case 8 + 0: use_sum(use, rd, rd, extend6(parcel)); break; /* c.addi */
    case 8 + 3:
        if (rd == SP) { /* c.addi16sp */
            unsigned off = (parcel >> 12 & 1) << 9 | rdf_riscv64_bits(parcel, 4, 3) << 7 |
                           (parcel >> 5 & 1) << 6 | (parcel >> 2 & 1) << 5 | (parcel >> 6 & 1) << 4;
            use_sum(use, SP, SP, (int64_t)(off ^ 512) - 512);
            break;
        }                                     /* fall through */
    case 8 + 2: writes(use, x_of(rd)); break; /* c.li, c.lui */
    case 8 + 4:
        use->reads |= x_of(low);
        use->reads |= rdf_riscv64_bits(parcel, 11, 10) == 3 ? x_of(C_LOW + rdf_riscv64_bits(parcel, 4, 2))
                                                            : 0;
        writes(use, x_of(low));
        break;
    case 8 + 6:
    case 8 + 7: use->reads |= x_of(low); break; /* c.beqz */
    case 8 + 1:
    case 16 + 0: /* c.addiw, c.slli */
        use->reads |= x_of(rd);
        writes(use, x_of(rd));
        break;
    case 16 + 4: /* c.jr, c.jalr; c.mv, c.add */
        use->reads |= x_of(rs2) | (rs2 && !(parcel >> 12 & 1) ? 0 : x_of(rd));
        writes(use, rs2 ? x_of(rd) : parcel >> 12 & 1 ? x_of(RDF_RV_RA) : 0);
        break;
    default: break;
    }
}

static void use_parcel(uint32_t parcel, struct rdf_register_use *use)
{
    unsigned quadrant = parcel & 3, funct3 = rdf_riscv64_bits(parcel, 15, 13);
    if (quadrant == 0 && funct3)
        use_short_memory(parcel, use);
    else if (quadrant == 2 && funct3 && funct3 != 4)
        use_stack_memory(parcel, use);
    else
        use_short_arithmetic(parcel, use);
}

bool rdf_riscv64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                           struct rdf_register_use *ret)
{
    struct rdf_register_use use = {0};
    struct rdf_rv_insn insn;
    if (!rdf_riscv64_read(code, &insn) || !rdf_riscv64_decode(code, addr, ret_insn))
        return false;
    if (insn.len_bytes == RDF_RV_PARCEL_BYTES)
        use_parcel(insn.word, &use);
    else
        use_word(insn.word, insn.form, &use);
    if (use.writes & x_of(SP) && !use.sp_change)
        use.sp_lost = true;
    use.vector_bytes = (use.reads | use.writes) >> FP_BASE ? 8 : 0;
    use.reads &= RDF_RISCV64_CALL_CLOBBERED;
    use.writes &= RDF_RISCV64_CALL_CLOBBERED;
    use.kills &= RDF_RISCV64_CALL_CLOBBERED;
    *ret = use;
    return true;
}

const char *rdf_riscv64_register_name(unsigned number)
{
    static const char *const names[64] = {
        NULL,  "ra",  "sp",  "gp",  "tp",  "t0",  "t1",   "t2",   "s0",  "s1",  "a0",   "a1",   "a2",
        "a3",  "a4",  "a5",  "a6",  "a7",  "s2",  "s3",   "s4",   "s5",  "s6",  "s7",   "s8",   "s9",
        "s10", "s11", "t3",  "t4",  "t5",  "t6",  "ft0",  "ft1",  "ft2", "ft3", "ft4",  "ft5",  "ft6",
        "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3",  "fa4",  "fa5", "fa6", "fa7",  "fs2",  "fs3",
        "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
    };
    return number < 64 ? names[number] : NULL;
}
