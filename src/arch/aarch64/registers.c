/* SPDX-License-Identifier: MIT
 *
 * Which registers a word reads and writes, of those that a call may change. By the classes of C4.1: where a
 * class has many forms, everything that any of them reads is told, and no more written than is.
 */
#include "arch/aarch64/aarch64.h"

enum { SP = 31 };

/* Register fields of a word, as bits. 31 is the stack pointer or the zero register. */
static uint64_t gpr(uint32_t word, unsigned low)
{
    unsigned reg = rdf_aarch64_bits(word, low + 4, low);
    return reg == SP ? 0 : UINT64_C(1) << reg;
}

static uint64_t vec(uint32_t word, unsigned low)
{
    return UINT64_C(1) << (32 + rdf_aarch64_bits(word, low + 4, low));
}

static void writes(struct rdf_register_use *use, uint64_t bits)
{
    use->writes |= bits;
    use->kills |= bits;
}

/* C4.1.92 */
static void use_immediate(uint32_t word, struct rdf_register_use *use)
{
    unsigned class = rdf_aarch64_bits(word, 25, 23);
    bool is_add = class == 2, is_logic = class == 4, is_move = class == 5, is_bitfield = class == 6;
    if (class > 1 && !(is_move && word >> 29 != 3 && word >> 29 != 7)) /* movk keeps the rest */
        use->reads |= is_move ? gpr(word, 0) : gpr(word, 5);
    if (class == 7)
        use->reads |= gpr(word, 16);
    if (is_bitfield)
        use->reads |= gpr(word, 0);
    writes(use, gpr(word, 0));
    bool may_be_sp = (is_add && !(word >> 29 & 1)) || (is_logic && (word >> 29 & 3) != 3);
    use->sp_lost = may_be_sp && rdf_aarch64_bits(word, 4, 0) == SP;
}

/* C4.1.93 */
static void use_branch(uint32_t word, enum rdf_aarch64_form form, struct rdf_register_use *use)
{
    switch (form) {
    case RDF_A64_CBZ:
    case RDF_A64_TBZ: use->reads |= gpr(word, 0); break;
    case RDF_A64_CMP_B: use->reads |= gpr(word, 0) | gpr(word, 16); break;
    case RDF_A64_BR:
    case RDF_A64_RET: use->reads |= gpr(word, 5); break;
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH: use->reads |= gpr(word, 5) | gpr(word, 0); break;
    case RDF_A64_SVC:
        use->reads |= UINT64_C(0x1ff);
        writes(use, 1);
        break;
    default:
        if ((word & 0xfff00000) == 0xd5300000) /* mrs */
            writes(use, gpr(word, 0));
        else if ((word & 0xffc00000) == 0xd5000000)
            use->reads |= gpr(word, 0);
        break;
    }
    if (form == RDF_A64_BL || form == RDF_A64_BLR || form == RDF_A64_BLR_AUTH || form == RDF_A64_BLR_AUTH_Z)
        writes(use, UINT64_C(1) << RDF_AARCH64_X30);
}

/* C4.1.96: exclusives, compare and swap: bits 29:24 are 001000. */
static void use_exclusive(uint32_t word, struct rdf_register_use *use)
{
    bool is_load = word >> 22 & 1, is_pair = word >> 21 & 1, is_ordered = word >> 23 & 1;
    use->reads |= gpr(word, 5);
    if (is_ordered && is_pair) { /* cas */
        use->reads |= gpr(word, 0) | gpr(word, 16);
        writes(use, gpr(word, 16));
    } else if (is_load) {
        writes(use, gpr(word, 0) | (is_pair ? gpr(word, 10) : 0));
    } else {
        use->reads |= gpr(word, 0) | (is_pair ? gpr(word, 10) : 0);
        if (!is_ordered)
            writes(use, gpr(word, 16)); /* whether it was stored */
    }
}

static void use_memory(uint32_t word, enum rdf_aarch64_form form, struct rdf_register_use *use)
{
    bool is_vector = word >> 26 & 1;
    unsigned opc = rdf_aarch64_bits(word, 23, 22);
    uint64_t data = is_vector ? vec(word, 0) : gpr(word, 0);
    if (form == RDF_A64_LDR || form == RDF_A64_LDRSW || form == RDF_A64_LDR_FP) {
        writes(use, data);
        return;
    }
    if (form == RDF_A64_PRFM)
        return;
    if ((word & 0x3f000000) == 0x08000000) {
        use_exclusive(word, use);
        return;
    }
    bool is_pair = (word & 0x3a000000) == 0x28000000, is_writeback;
    use->reads |= gpr(word, 5);
    if (is_pair) {
        data |= is_vector ? vec(word, 10) : gpr(word, 10);
        is_writeback = word >> 23 & 1;
    } else if ((word & 0x3a000000) == 0x38000000) {
        is_writeback = !(word >> 24 & 1) && !(word >> 21 & 1) && word >> 10 & 1;
        bool is_indexed = !(word >> 24 & 1) && word >> 21 & 1;
        use->reads |= is_indexed ? gpr(word, 16) : 0;
        if (is_indexed && !rdf_aarch64_bits(word, 11, 10)) { /* atomic: Rs in, Rt out */
            writes(use, gpr(word, 0));
            return;
        }
    } else { /* ld1 … st4, tags and the like: as many registers as there may be */
        use->reads |= is_vector ? vec(word, 0) | vec(word + 1, 0) | vec(word + 2, 0) | vec(word + 3, 0)
                                : data;
        if (word >> 22 & 1)
            use->writes |= data;
        if (word >> 23 & 1)
            use->writes |= gpr(word, 5);
        return;
    }
    bool is_load = is_pair ? opc & 1 : is_vector ? opc & 1 : opc != 0;
    bool is_prefetch = !is_pair && !is_vector && word >> 30 == 3 && opc == 2;
    if (is_load && !is_prefetch)
        writes(use, data);
    else if (!is_prefetch)
        use->reads |= data;
    if (is_writeback && rdf_aarch64_bits(word, 9, 5) != SP)
        use->writes |= gpr(word, 5);
}

/* C4.1.94 */
static void use_register(uint32_t word, struct rdf_register_use *use)
{
    bool is_conditional_compare = (word & 0x1fe00000) == 0x1a400000;
    use->reads |= gpr(word, 5) | gpr(word, 16);
    if ((word & 0x1f000000) == 0x1b000000)
        use->reads |= gpr(word, 10);
    if (!is_conditional_compare)
        writes(use, gpr(word, 0));
}

/* C4.1.95. Scalar forms clear the rest of their register; of the others it is not told apart which keep
 * some of it. */
static void use_vector(uint32_t word, struct rdf_register_use *use)
{
    bool is_scalar_fp = (word & 0x5f000000) == 0x1e000000;
    use->reads |= vec(word, 5) | vec(word, 16);
    if (is_scalar_fp && word >> 21 & 1 && !rdf_aarch64_bits(word, 15, 10)) { /* to and from integers */
        unsigned opcode = rdf_aarch64_bits(word, 18, 16);
        bool is_to_vector = opcode == 2 || opcode == 3 || opcode == 7;
        use->reads = is_to_vector ? gpr(word, 5) | vec(word, 0) : vec(word, 5);
        writes(use, is_to_vector ? 0 : gpr(word, 0));
        if (is_to_vector && rdf_aarch64_bits(word, 20, 19) == 1) /* fmov v.d[1] keeps the lower half */
            use->writes |= vec(word, 0);
        else if (is_to_vector)
            writes(use, vec(word, 0));
        return;
    }
    if (is_scalar_fp && !(word >> 21 & 1)) { /* fixed-point */
        bool is_to_vector = !(word >> 18 & 1) && word >> 17 & 1;
        use->reads = is_to_vector ? gpr(word, 5) : vec(word, 5);
        writes(use, is_to_vector ? vec(word, 0) : gpr(word, 0));
        return;
    }
    if (is_scalar_fp && rdf_aarch64_bits(word, 13, 10) == 8) /* fcmp */
        return;
    if (is_scalar_fp && rdf_aarch64_bits(word, 11, 10) == 1) /* fccmp */
        return;
    if ((word & 0xbfe08400) == 0x0e000400) { /* dup, ins, umov, smov of an element */
        unsigned opcode = rdf_aarch64_bits(word, 14, 11);
        if (opcode == 5 || opcode == 7) {
            writes(use, gpr(word, 0));
            return;
        }
        use->reads |= gpr(word, 5);
    }
    if (is_scalar_fp || (word & 0x5f000000) == 0x1f000000) {
        use->reads |= (word & 0x5f000000) == 0x1f000000 ? vec(word, 10) : 0;
        writes(use, vec(word, 0));
        return;
    }
    bool is_movi = (word & 0x9ff80400) == 0x0f000400 && (rdf_aarch64_bits(word, 15, 12) & 9) != 1;
    if (is_movi) {
        use->reads = 0;
        writes(use, vec(word, 0));
        return;
    }
    use->reads |= vec(word, 0);
    use->writes |= vec(word, 0);
}

/* Memory named from sp or x29 on, in the forms that compilers use for arguments; sums that are addresses. */
static void use_frame(uint32_t word, struct rdf_register_use *use)
{
    unsigned rn = rdf_aarch64_bits(word, 9, 5);
    bool is_add = (word & 0xff800000) == 0x91000000, is_sub = (word & 0xff800000) == 0xd1000000;
    bool is_unsigned = (word & 0x3b000000) == 0x39000000, is_pair = (word & 0x3a000000) == 0x28000000;
    bool is_other = (word & 0x3b000000) == 0x38000000;
    unsigned rd = rdf_aarch64_bits(word, 4, 0), mode = rdf_aarch64_bits(word, 24, 23);
    int64_t imm = (int64_t)rdf_aarch64_bits(word, 21, 10) << (word >> 22 & 1 ? 12 : 0);
    int64_t pair = ((int64_t)rdf_aarch64_bits(word, 21, 15) ^ 64) - 64;
    pair *= word >> 26 & 1 ? 4 << (word >> 30) : 4 << (word >> 31);
    int64_t unscaled = ((int64_t)rdf_aarch64_bits(word, 20, 12) ^ 256) - 256;
    if (rn != SP && rn != 29)
        return;
    if ((is_add || is_sub) && rd == SP) {
        use->sp_lost = rn != SP;
        use->sp_change = is_add ? imm : -imm;
        return;
    }
    use->sets_frame = is_add && rd == 29 && rn == SP;
    if (!is_add && !is_unsigned && !is_pair && !is_other)
        return;
    bool is_written_back = (is_pair && (mode & 1)) || (is_other && !(word >> 21 & 1) && word >> 10 & 1);
    if (is_written_back && rn == SP)
        use->sp_change = is_pair ? pair : unscaled;
    use->has_stack = rn == SP && !is_written_back;
    use->has_frame = rn == 29 && !is_written_back;
    unsigned scale = word >> 26 & 1 && word >> 23 & 1 ? 4 : word >> 30;
    use->stack_off = is_add     ? imm
                     : is_pair  ? pair
                     : is_other ? unscaled
                                : (int64_t)rdf_aarch64_bits(word, 21, 10) << scale;
}

bool rdf_aarch64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                           struct rdf_register_use *ret)
{
    struct rdf_register_use use = {0};
    struct rdf_insn described;
    uint32_t word = 0;
    if (!rdf_aarch64_decode(code, addr, &described) || !rdf_span_u32(code, 0, &word))
        return false;
    *ret_insn = described;
    enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
    switch (rdf_aarch64_bits(word, 28, 25)) {
    case 8:
    case 9: use_immediate(word, &use); break;
    case 10:
    case 11: use_branch(word, form, &use); break;
    case 4:
    case 6:
    case 12:
    case 14: use_memory(word, form, &use); break;
    case 5:
    case 13: use_register(word, &use); break;
    case 7:
    case 15: use_vector(word, &use); break;
    default: use.reads = RDF_AARCH64_CALL_CLOBBERED; break; /* SVE, SME */
    }
    use_frame(word, &use);
    use.vector_bytes = (use.reads | use.writes) >> 32 ? 16 : 0;
    use.reads &= RDF_AARCH64_CALL_CLOBBERED;
    use.writes &= RDF_AARCH64_CALL_CLOBBERED;
    use.kills &= RDF_AARCH64_CALL_CLOBBERED;
    *ret = use;
    return true;
}

const char *rdf_aarch64_register_name(unsigned number)
{
    static const char *const names[64] = {
        "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10", "x11", "x12",
        "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
        "x26", "x27", "x28", "x29", "x30", NULL,  "v0",  "v1",  "v2",  "v3",  "v4",  "v5",  "v6",
        "v7",  "v8",  "v9",  "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
        "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
    };
    return number < 64 ? names[number] : NULL;
}
