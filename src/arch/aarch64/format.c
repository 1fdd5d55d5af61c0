/* SPDX-License-Identifier: MIT
 *
 * The text of a word: of those that decode.c names, and of plain ones on integers and addresses.
 */
#include "arch/aarch64/aarch64.h"

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

/* x0…x30, w0…w30; 31 is sp or the zero register, as the operand says. */
static void say_gpr(struct text *text, bool wide, unsigned reg, bool is_sp)
{
    if (reg == RDF_AARCH64_ZR)
        say(text, "%s", is_sp ? (wide ? "sp" : "wsp") : (wide ? "xzr" : "wzr"));
    else
        say(text, "%c%u", wide ? 'x' : 'w', reg);
}

static const char *const cond_names[16] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
                                           "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};

/* cb<cc>, cbb<cc>, cbh<cc>: FEAT_CMPBR. Two conditions mean something else before a number. */
static void say_compare_branch(struct text *text, uint32_t word, uint64_t target)
{
    static const char *const by_register[8] = {"gt", "ge", "hi", "hs", "", "", "eq", "ne"};
    static const char *const by_number[8] = {"gt", "lt", "hi", "lo", "", "", "eq", "ne"};
    bool wide = word >> 31, is_number = word >> 24 & 1;
    unsigned cond = rdf_aarch64_bits(word, 23, 21);
    say(text, "%s ", (is_number ? by_number : by_register)[cond]);
    say_gpr(text, wide, rdf_aarch64_bits(word, 4, 0), false);
    say(text, ", ");
    if (is_number)
        say(text, "#%u", rdf_aarch64_bits(word, 20, 15));
    else
        say_gpr(text, wide, rdf_aarch64_bits(word, 20, 16), false);
    say(text, ", 0x%" PRIx64, target);
}

static void say_special(struct text *text, const struct rdf_aarch64_row *row, uint32_t word, uint64_t addr)
{
    uint64_t named = rdf_aarch64_named_address(row->form, word, addr);
    unsigned rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5);
    bool wide = word >> 31;
    say(text, "%s", row->name);
    switch (row->form) {
    case RDF_A64_B:
    case RDF_A64_BL: say(text, " 0x%" PRIx64, named); break;
    case RDF_A64_B_COND: say(text, "%s 0x%" PRIx64, cond_names[word & 15], named); break;
    case RDF_A64_CBZ:
        say(text, " ");
        say_gpr(text, wide, rd, false);
        say(text, ", 0x%" PRIx64, named);
        break;
    case RDF_A64_CMP_B: say_compare_branch(text, word, named); break;
    case RDF_A64_TBZ:
        say(text, " ");
        say_gpr(text, wide, rd, false);
        say(text, ", #%u, 0x%" PRIx64, wide * 32 + rdf_aarch64_bits(word, 23, 19), named);
        break;
    case RDF_A64_BR:
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH:
        say(text, " ");
        say_gpr(text, true, rn, false);
        if (word & UINT32_C(0x01000000)) { /* braa, brab, blraa, blrab: the modifier */
            say(text, ", ");
            say_gpr(text, true, rd, true);
        }
        break;
    case RDF_A64_RET:
        if (rn != RDF_AARCH64_X30 && !(word & 0x800))
            say(text, " x%u", rn);
        break;
    case RDF_A64_ADR:
    case RDF_A64_ADRP:
    case RDF_A64_LDRSW:
        say(text, " ");
        say_gpr(text, true, rd, false);
        say(text, ", 0x%" PRIx64, named);
        break;
    case RDF_A64_LDR:
        say(text, " ");
        say_gpr(text, word >> 30 & 1, rd, false);
        say(text, ", 0x%" PRIx64, named);
        break;
    case RDF_A64_LDR_FP: say(text, " %c%u, 0x%" PRIx64, "sdq"[word >> 30], rd, named); break;
    case RDF_A64_PRFM: say(text, " #0x%x, 0x%" PRIx64, rd, named); break;
    case RDF_A64_PC_SIGN:
    case RDF_A64_PC_SIGN_RET: /* a label up to 65535 words back */
        if (row->mask == 0xffe0001f)
            say(text, " 0x%" PRIx64, addr - 4 * (uint64_t)rdf_aarch64_bits(word, 20, 5));
        break;
    case RDF_A64_SVC:
    case RDF_A64_BRK: say(text, " #0x%x", rdf_aarch64_bits(word, 20, 5)); break;
    case RDF_A64_HALT: say(text, " #0x%x", word >> 16 ? rdf_aarch64_bits(word, 20, 5) : word); break;
    default: break;
    }
}

/* add, adds, sub, subs (immediate), with the names mov, cmp, cmn where Arm prefers them (C6.2.4). */
static void say_add_immediate(struct text *text, uint32_t word)
{
    bool wide = word >> 31, is_sub = word >> 30 & 1, sets_flags = word >> 29 & 1;
    unsigned rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5);
    unsigned imm = rdf_aarch64_bits(word, 21, 10), shifted = word >> 22 & 1;
    bool is_move = !is_sub && !sets_flags && !imm && !shifted && (rd == 31 || rn == 31);
    bool is_compare = sets_flags && rd == 31;
    if (is_move)
        say(text, "mov ");
    else if (is_compare)
        say(text, "%s ", is_sub ? "cmp" : "cmn");
    else
        say(text, "%s%s ", is_sub ? "sub" : "add", sets_flags ? "s" : "");
    if (!is_compare) {
        say_gpr(text, wide, rd, !sets_flags);
        say(text, ", ");
    }
    say_gpr(text, wide, rn, true);
    if (!is_move)
        say(text, ", #0x%x%s", imm, shifted ? ", lsl #12" : "");
}

/* ldp, stp of W, X, S, D, Q registers: C4.1.96, post-index, offset and pre-index. */
static void say_pair(struct text *text, uint32_t word)
{
    unsigned opc = word >> 30, mode = rdf_aarch64_bits(word, 24, 23);
    bool is_fp = word >> 26 & 1;
    unsigned scale = is_fp ? 4U << opc : 4U << (opc >> 1);
    int offset = (int)rdf_aarch64_bits(word, 21, 15);
    offset = (offset - (offset & 64 ? 128 : 0)) * (int)scale;
    unsigned regs[2] = {rdf_aarch64_bits(word, 4, 0), rdf_aarch64_bits(word, 14, 10)};
    say(text, "%s ", word >> 22 & 1 ? "ldp" : "stp");
    for (unsigned i = 0; i < 2; i++) {
        if (is_fp)
            say(text, "%c%u", "sdq"[opc], regs[i]);
        else
            say_gpr(text, opc == 2, regs[i], false);
        say(text, ", ");
    }
    say(text, "[");
    say_gpr(text, true, rdf_aarch64_bits(word, 9, 5), true);
    if (mode == 1)
        say(text, "], #%d", offset);
    else if (mode == 2 && !offset)
        say(text, "]");
    else
        say(text, ", #%d]%s", offset, mode == 3 ? "!" : "");
}

/* ---- C4.1.95 and C4.1.92: data processing. The names are those that Arm prefers (C6.2). ---- */

/* One more operand, behind a comma if it is not the first. */
static void say_reg(struct text *text, const char *before, bool wide, unsigned reg)
{
    say(text, "%s", before);
    say_gpr(text, wide, reg, false);
}

/* The name, then Rd, Rn and Rm, without those that are told not to be. */
enum { WITHOUT_RD = 1, WITHOUT_RN = 2 };

static void say_three(struct text *text, uint32_t word, const char *name, unsigned without)
{
    bool wide = word >> 31;
    say(text, "%s ", name);
    if (!(without & WITHOUT_RD))
        say_reg(text, "", wide, rdf_aarch64_bits(word, 4, 0));
    if (!(without & WITHOUT_RN))
        say_reg(text, without & WITHOUT_RD ? "" : ", ", wide, rdf_aarch64_bits(word, 9, 5));
    say_reg(text, ", ", wide, rdf_aarch64_bits(word, 20, 16));
}

/* add, sub and the logical ones, of a shifted register */
static void say_shifted(struct text *text, uint32_t word)
{
    static const char *const sums[4] = {"add", "adds", "sub", "subs"};
    static const char *const logic[8] = {"and", "bic", "orr", "orn", "eor", "eon", "ands", "bics"};
    static const char *const shifts[4] = {"lsl", "lsr", "asr", "ror"};
    bool is_sum = word >> 24 & 1;
    unsigned op = word >> 29 & 3, rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5);
    unsigned amount = rdf_aarch64_bits(word, 15, 10), kind = word >> 22 & 3;
    const char *name = is_sum ? sums[op] : logic[op * 2 + (word >> 21 & 1)];
    bool is_compare = rd == RDF_AARCH64_ZR && (is_sum ? op & 1 : op == 3 && !(word >> 21 & 1));
    bool is_negation = !is_compare && rn == RDF_AARCH64_ZR && (is_sum ? op >= 2 : op == 1 && word >> 21 & 1);
    if (is_compare)
        name = !is_sum ? "tst" : op == 1 ? "cmn" : "cmp";
    else if (is_negation)
        name = !is_sum ? "mvn" : op == 2 ? "neg" : "negs";
    else if (!is_sum && op == 1 && rn == RDF_AARCH64_ZR && !amount && !kind)
        name = "mov", is_negation = true;
    say_three(text, word, name, is_compare ? WITHOUT_RD : is_negation ? WITHOUT_RN : 0);
    if (amount || kind)
        say(text, ", %s #%u", shifts[kind], amount);
}

/* add, sub of an extended register, where sp may be an operand */
static void say_extended(struct text *text, uint32_t word)
{
    static const char *const extends[8] = {"uxtb", "uxth", "uxtw", "uxtx", "sxtb", "sxth", "sxtw", "sxtx"};
    bool wide = word >> 31, sets_flags = word >> 29 & 1, is_sub = word >> 30 & 1;
    unsigned rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5);
    unsigned option = rdf_aarch64_bits(word, 15, 13), amount = rdf_aarch64_bits(word, 12, 10);
    bool is_compare = sets_flags && rd == RDF_AARCH64_ZR;
    bool is_shift = option == 2u + wide && (rn == RDF_AARCH64_ZR || (!sets_flags && rd == RDF_AARCH64_ZR));
    if (is_compare) {
        say(text, "%s ", is_sub ? "cmp" : "cmn");
    } else {
        say(text, "%s%s ", is_sub ? "sub" : "add", sets_flags ? "s" : "");
        say_gpr(text, wide, rd, !sets_flags);
        say(text, ", ");
    }
    say_gpr(text, wide, rn, true);
    say_reg(text, ", ", wide && (option & 3) == 3, rdf_aarch64_bits(word, 20, 16));
    if (!is_shift || amount)
        say(text, ", %s", is_shift ? "lsl" : extends[option]);
    if (amount)
        say(text, " #%u", amount);
}

/* DecodeBitMasks: an element of 2 to 64 bits with `ones` ones, rotated, repeated. False: reserved. */
static bool logical_immediate(uint32_t word, uint64_t *ret)
{
    unsigned imms = rdf_aarch64_bits(word, 15, 10), immr = rdf_aarch64_bits(word, 21, 16), bits = 64;
    if (!(word >> 22 & 1))
        for (bits = 32; bits > 1 && imms & bits; bits /= 2)
            ;
    unsigned ones = (imms & (bits - 1)) + 1, turn = immr & (bits - 1);
    if (bits < 2 || ones == bits || (!(word >> 31) && bits == 64))
        return false;
    uint64_t element = (UINT64_C(1) << ones) - 1, mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    if (turn)
        element = (element >> turn | element << (bits - turn)) & mask;
    for (; bits < 64; bits *= 2)
        element |= element << bits;
    *ret = word >> 31 ? element : element & UINT32_MAX;
    return true;
}

static bool say_logical_immediate(struct text *text, uint32_t word)
{
    static const char *const names[4] = {"and", "orr", "eor", "ands"};
    bool wide = word >> 31;
    unsigned op = word >> 29 & 3, rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5);
    uint64_t value;
    if (!logical_immediate(word, &value))
        return false;
    bool is_test = op == 3 && rd == RDF_AARCH64_ZR, is_move = op == 1 && rn == RDF_AARCH64_ZR;
    say(text, "%s ", is_test ? "tst" : is_move ? "mov" : names[op]);
    if (!is_test)
        say_gpr(text, wide, rd, op != 3);
    if (!is_move)
        say_reg(text, is_test ? "" : ", ", wide, rn);
    say(text, ", #0x%" PRIx64, value);
    return true;
}

/* sbfm, bfm, ubfm, by what they do */
static bool say_bitfield(struct text *text, uint32_t word)
{
    static const char *const extends[2][3] = {{"sxtb", "sxth", "sxtw"}, {"uxtb", "uxth", NULL}};
    static const char *const extracts[3] = {"sbfx", "bfxil", "ubfx"}, *const inserts[3] = {"sbfiz", "bfi",
                                                                                           "ubfiz"};
    bool wide = word >> 31;
    unsigned op = word >> 29 & 3, r = rdf_aarch64_bits(word, 21, 16), s = rdf_aarch64_bits(word, 15, 10);
    unsigned rd = rdf_aarch64_bits(word, 4, 0), rn = rdf_aarch64_bits(word, 9, 5), size = wide ? 64 : 32;
    if (op == 3 || (word >> 22 & 1) != wide || r >= size || s >= size)
        return false;
    unsigned extend = s == 7 ? 0 : s == 15 ? 1 : 2;
    bool is_extend = op != 1 && !r && (s == 7 || s == 15 || (s == 31 && wide && !op)) && (!op || !wide);
    bool is_left = op == 2 && s + 1 == r, is_right = op != 1 && s == size - 1;
    const char *name = is_extend  ? extends[op / 2][extend]
                       : is_left  ? "lsl"
                       : is_right ? (op ? "lsr" : "asr")
                       : s < r    ? (op == 1 && rn == RDF_AARCH64_ZR ? "bfc" : inserts[op])
                                  : extracts[op];
    bool is_clear = name[0] == 'b' && name[2] == 'c';
    say(text, "%s ", name);
    say_gpr(text, wide, rd, false);
    if (!is_clear)
        say_reg(text, ", ", wide && !is_extend, rn);
    if (is_left || (is_right && !is_extend))
        say(text, ", #%u", is_left ? size - 1 - s : r);
    else if (!is_extend)
        say(text, ", #%u, #%u", s < r ? size - r : r, s < r ? s + 1 : s - r + 1);
    return true;
}

/* csel, csinc, csinv, csneg */
static void say_select(struct text *text, uint32_t word)
{
    static const char *const names[4] = {"csel", "csinc", "csinv", "csneg"};
    static const char *const same[4] = {"", "cinc", "cinv", "cneg"}, *const none[4] = {"", "cset", "csetm",
                                                                                       ""};
    unsigned op = (word >> 30 & 1) << 1 | (word >> 10 & 1), cond = rdf_aarch64_bits(word, 15, 12);
    unsigned rn = rdf_aarch64_bits(word, 9, 5), rm = rdf_aarch64_bits(word, 20, 16);
    bool is_same = op && rn == rm && cond < 14, is_none = is_same && rn == RDF_AARCH64_ZR && op != 3;
    is_same &= rn != RDF_AARCH64_ZR || op == 3;
    say(text, "%s ", is_none ? none[op] : is_same ? same[op] : names[op]);
    say_gpr(text, word >> 31, rdf_aarch64_bits(word, 4, 0), false);
    if (!is_none)
        say_reg(text, ", ", word >> 31, rn);
    if (!is_none && !is_same)
        say_reg(text, ", ", word >> 31, rm);
    say(text, ", %s", cond_names[is_none || is_same ? cond ^ 1 : cond]);
}

/* ccmp, ccmn */
static void say_conditional_compare(struct text *text, uint32_t word)
{
    unsigned operand = rdf_aarch64_bits(word, 20, 16);
    say(text, "%s ", word >> 30 & 1 ? "ccmp" : "ccmn");
    say_gpr(text, word >> 31, rdf_aarch64_bits(word, 9, 5), false);
    if (word >> 11 & 1)
        say(text, ", #0x%x", operand);
    else
        say_reg(text, ", ", word >> 31, operand);
    say(text, ", #0x%x, %s", word & 15, cond_names[rdf_aarch64_bits(word, 15, 12)]);
}

/* Of one or two sources. */
static bool say_few_sources(struct text *text, uint32_t word)
{
    static const char *const two[16] = {[2] = "udiv", "sdiv", [8] = "lsl", "lsr", "asr", "ror"};
    static const char *const one[8] = {"rbit", "rev16", "rev32", "rev", "clz", "cls"};
    bool wide = word >> 31;
    unsigned op = rdf_aarch64_bits(word, 15, 10);
    if (word >> 29 & 1 || op > 15)
        return false;
    if (!(word >> 30 & 1)) {
        if (two[op])
            say_three(text, word, two[op], 0);
        return two[op] != NULL;
    }
    if (rdf_aarch64_bits(word, 20, 16) || op > 5 || (op == 3 && !wide))
        return false;
    say(text, "%s ", op == 2 && !wide ? "rev" : one[op]);
    say_gpr(text, wide, rdf_aarch64_bits(word, 4, 0), false);
    say_reg(text, ", ", wide, rdf_aarch64_bits(word, 9, 5));
    return true;
}

/* madd and its like */
static bool say_multiply(struct text *text, uint32_t word)
{
    static const char *const sums[8] = {"madd", "smaddl", NULL, NULL, NULL, "umaddl"};
    static const char *const differences[8] = {"msub", "smsubl", NULL, NULL, NULL, "umsubl"};
    static const char *const products[8] = {"mul", "smull", "smulh", NULL, NULL, "umull", "umulh"};
    static const char *const negated[8] = {"mneg", "smnegl", NULL, NULL, NULL, "umnegl"};
    unsigned op = rdf_aarch64_bits(word, 23, 21), ra = rdf_aarch64_bits(word, 14, 10);
    bool is_sub = word >> 15 & 1, wide = word >> 31, has_ra = ra != RDF_AARCH64_ZR;
    const char *name = (has_ra ? (is_sub ? differences : sums) : is_sub ? negated : products)[op];
    if (!name || word >> 29 & 3 || (op && !wide))
        return false;
    bool wide_sources = op == 0 ? wide : op == 2 || op == 6;
    say(text, "%s ", name);
    say_gpr(text, wide, rdf_aarch64_bits(word, 4, 0), false);
    say_reg(text, ", ", wide_sources, rdf_aarch64_bits(word, 9, 5));
    say_reg(text, ", ", wide_sources, rdf_aarch64_bits(word, 20, 16));
    if (has_ra)
        say_reg(text, ", ", wide, ra);
    return true;
}

/* mrs, msr: C5.2. Those that programs use have names. */
static bool say_system_register(struct text *text, uint32_t word)
{
    static const struct {
        uint16_t number; /* op0 to op2: bits 20 to 5 */
        const char *name;
    } known[] = {{0xde82, "tpidr_el0"},
                 {0xda20, "fpcr"},
                 {0xda21, "fpsr"},
                 {0xd801, "ctr_el0"},
                 {0xd807, "dczid_el0"}};
    bool is_read = word >> 21 & 1;
    unsigned number = rdf_aarch64_bits(word, 20, 5);
    char name[24];
    (void)snprintf(name, sizeof name, "s%u_%u_c%u_c%u_%u", 2 + (number >> 14 & 1), number >> 11 & 7,
                   number >> 7 & 15, number >> 3 & 15, number & 7);
    const char *shown = name;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].number == number)
            shown = known[i].name;
    if (is_read)
        say(text, "mrs ");
    else
        say(text, "msr %s, ", shown);
    say_gpr(text, true, rdf_aarch64_bits(word, 4, 0), false);
    if (is_read)
        say(text, ", %s", shown);
    return true;
}

static bool say_data(struct text *text, uint32_t word)
{
    if ((word & 0x1f000000) == 0x0a000000 || (word & 0x1f200000) == 0x0b000000) {
        if (!(word >> 31) && word >> 15 & 1)
            return false;
        say_shifted(text, word);
    } else if ((word & 0x1fe00000) == 0x0b200000 && rdf_aarch64_bits(word, 12, 10) <= 4) {
        say_extended(text, word);
    } else if ((word & 0x1f800000) == 0x12000000) {
        return say_logical_immediate(text, word);
    } else if ((word & 0x1f800000) == 0x13000000) {
        return say_bitfield(text, word);
    } else if ((word & 0x3fe00800) == 0x1a800000) {
        say_select(text, word);
    } else if ((word & 0x3fe00410) == 0x3a400000) {
        say_conditional_compare(text, word);
    } else if ((word & 0x1fe00000) == 0x1ac00000) {
        return say_few_sources(text, word);
    } else if ((word & 0x1f000000) == 0x1b000000) {
        return say_multiply(text, word);
    } else if ((word & 0xffd00000) == 0xd5100000) {
        return say_system_register(text, word);
    } else {
        return false;
    }
    return true;
}

/* ---- C4.1.96: loads and stores of one register ---- */

/* "ldrsb w": the name, and the register it is of. False: none of those that are told. */
static bool say_load_name(struct text *text, uint32_t word, bool is_unscaled)
{
    static const char *const sizes[4] = {"b", "h", "", ""}, *const signs[4] = {"sb", "sh", "sw", NULL};
    unsigned size = word >> 30, opc = rdf_aarch64_bits(word, 23, 22), rt = rdf_aarch64_bits(word, 4, 0);
    bool is_fp = word >> 26 & 1, is_q = is_fp && opc >= 2;
    if (is_q ? size != 0 : !is_fp && opc >= 2 && (size == 3 || (size == 2 && opc == 3)))
        return false;
    bool is_signed = !is_fp && opc >= 2, is_load = opc & 1 || is_signed;
    say(text, "%s%s%s ", is_load ? "ld" : "st", is_unscaled ? "ur" : "r",
        is_fp       ? ""
        : is_signed ? signs[size]
                    : sizes[size]);
    if (is_fp)
        say(text, "%c%u", is_q ? 'q' : "bhsd"[size], rt);
    else
        say_gpr(text, is_signed ? opc == 2 : size == 3, rt, false);
    return true;
}

static bool say_load_store(struct text *text, uint32_t word)
{
    static const char *const extends[8] = {"", "", "uxtw", "lsl", "", "", "sxtw", "sxtx"};
    bool is_indexed = !(word >> 24 & 1) && word >> 21 & 1;
    unsigned mode = rdf_aarch64_bits(word, 11, 10), option = rdf_aarch64_bits(word, 15, 13);
    bool is_q = word >> 26 & 1 && word >> 23 & 1;
    unsigned scale = is_q ? 4 : word >> 30;
    if ((word & 0x3a000000) != 0x38000000 || (is_indexed && (mode != 2 || !(option & 2))) ||
        (!(word >> 24 & 1) && !is_indexed && mode == 2)) /* atomic; ldtr */
        return false;
    bool is_unsigned = word >> 24 & 1;
    if (!say_load_name(text, word, !is_unsigned && !is_indexed && mode == 0))
        return false;
    say(text, ", [");
    say_gpr(text, true, rdf_aarch64_bits(word, 9, 5), true);
    if (is_indexed) {
        say_reg(text, ", ", option & 1, rdf_aarch64_bits(word, 20, 16));
        if (option != 3 || word >> 12 & 1)
            say(text, ", %s", extends[option]);
        if (word >> 12 & 1)
            say(text, " #%u", scale);
        say(text, "]");
        return true;
    }
    int off = is_unsigned ? (int)(rdf_aarch64_bits(word, 21, 10) << scale)
                          : ((int)rdf_aarch64_bits(word, 20, 12) ^ 256) - 256;
    if (!is_unsigned && mode == 1)
        say(text, "], #%d", off);
    else if (off || mode == 3)
        say(text, ", #%d]%s", off, !is_unsigned && mode == 3 ? "!" : "");
    else
        say(text, "]");
    return true;
}

/* Of plain words those on integers and addresses; the others are shown as what they are, words. */
static bool say_plain(struct text *text, uint32_t word)
{
    bool wide = word >> 31;
    unsigned rd = rdf_aarch64_bits(word, 4, 0);
    if ((word & 0x1f800000) == 0x11000000) {
        say_add_immediate(text, word);
    } else if ((word & 0x1f800000) == 0x12800000 && (word >> 29 & 3) != 1 && (wide || !(word >> 22 & 1))) {
        unsigned shift = rdf_aarch64_bits(word, 22, 21) * 16;
        say(text, "%s ", (const char *const[]){"movn", "", "movz", "movk"}[word >> 29 & 3]);
        say_gpr(text, wide, rd, false);
        say(text, ", #0x%x", rdf_aarch64_bits(word, 20, 5));
        if (shift)
            say(text, ", lsl #%u", shift);
    } else if ((word & 0x3a000000) == 0x28000000 && rdf_aarch64_bits(word, 24, 23) &&
               (word >> 30 == 2 || (word >> 26 & 1 ? word >> 30 < 2 : word >> 30 == 0))) {
        say_pair(text, word);
    } else {
        return say_data(text, word) || say_load_store(text, word);
    }
    return true;
}

size_t rdf_aarch64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes)
{
    struct text text = {ret_text, text_bytes, 0};
    struct rdf_insn insn;
    uint32_t word = 0;
    if (!rdf_aarch64_decode(code, addr, &insn) || !rdf_span_u32(code, 0, &word)) {
        say(&text, "(bad)");
        return 0;
    }
    const struct rdf_aarch64_row *row = rdf_aarch64_row_of(word);
    if (row->name)
        say_special(&text, row, word, addr);
    else if (!say_plain(&text, word))
        say(&text, ".word 0x%08" PRIx32, word);
    return insn.len_bytes;
}
