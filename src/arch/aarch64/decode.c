/* SPDX-License-Identifier: MIT
 *
 * What every 32-bit word is, as far as moving it is concerned. One table for the forms that matter;
 * behind it the top-level classes of C4.1, so that each word ends in exactly one row.
 */
#include "arch/aarch64/aarch64.h"

static const struct rdf_aarch64_row rows[] = {
    /* C4.1.1 reserved */
    {0xffff0000, 0x00000000, RDF_A64_HALT, "udf"},
    /* C4.1.93 branches, exceptions, system: immediate branches */
    {0xfc000000, 0x14000000, RDF_A64_B, "b"},
    {0xfc000000, 0x94000000, RDF_A64_BL, "bl"},
    {0xff000010, 0x54000000, RDF_A64_B_COND, "b."},
    {0xff000010, 0x54000010, RDF_A64_B_COND, "bc."},
    {0x7f000000, 0x34000000, RDF_A64_CBZ, "cbz"},
    {0x7f000000, 0x35000000, RDF_A64_CBZ, "cbnz"},
    {0x7f000000, 0x36000000, RDF_A64_TBZ, "tbz"},
    {0x7f000000, 0x37000000, RDF_A64_TBZ, "tbnz"},
    {0x7ec00000, 0x74800000, RDF_A64_UNALLOCATED, NULL}, /* conditions 4 and 5 */
    {0x7f00c000, 0x74000000, RDF_A64_CMP_B, "cb"},
    {0xff00c000, 0x74008000, RDF_A64_CMP_B, "cbb"},
    {0xff00c000, 0x7400c000, RDF_A64_CMP_B, "cbh"},
    {0x7f004000, 0x75000000, RDF_A64_CMP_B, "cb"}, /* with a number */
    /* branches to a register */
    {0xfffffc1f, 0xd61f0000, RDF_A64_BR, "br"},
    {0xfffffc1f, 0xd61f081f, RDF_A64_BR, "braaz"},
    {0xfffffc1f, 0xd61f0c1f, RDF_A64_BR, "brabz"},
    {0xfffffc00, 0xd71f0800, RDF_A64_BR, "braa"},
    {0xfffffc00, 0xd71f0c00, RDF_A64_BR, "brab"},
    {0xfffffc1f, 0xd63f0000, RDF_A64_BLR, "blr"},
    {0xfffffc1f, 0xd63f081f, RDF_A64_BLR_AUTH_Z, "blraaz"},
    {0xfffffc1f, 0xd63f0c1f, RDF_A64_BLR_AUTH_Z, "blrabz"},
    {0xfffffc00, 0xd73f0800, RDF_A64_BLR_AUTH, "blraa"},
    {0xfffffc00, 0xd73f0c00, RDF_A64_BLR_AUTH, "blrab"},
    {0xfffffc1f, 0xd65f0000, RDF_A64_RET, "ret"},
    {0xffffffff, 0xd65f0bff, RDF_A64_RET, "retaa"},
    {0xffffffff, 0xd65f0fff, RDF_A64_RET, "retab"},
    {0xfffffbe0, 0xd65f0be0, RDF_A64_RET, NULL}, /* reta*sppcr Xm: the signing PC is in a register */
    {0xffffffff, 0xd69f03e0, RDF_A64_ERET, "eret"},
    {0xffffffff, 0xd69f0bff, RDF_A64_ERET, "eretaa"},
    {0xffffffff, 0xd69f0fff, RDF_A64_ERET, "eretab"},
    {0xffffffff, 0xd6bf03e0, RDF_A64_ERET, "drps"},
    {0xffe0001f, 0x5500001f, RDF_A64_PC_SIGN_RET, "retaasppc"},
    {0xffe0001f, 0x5520001f, RDF_A64_PC_SIGN_RET, "retabsppc"},
    /* exceptions */
    {0xffe0001f, 0xd4000001, RDF_A64_SVC, "svc"},
    {0xffe0001f, 0xd4000002, RDF_A64_SVC, "hvc"},
    {0xffe0001f, 0xd4000003, RDF_A64_SVC, "smc"},
    {0xffe0001f, 0xd4200000, RDF_A64_BRK, "brk"},
    {0xffe0001f, 0xd4400000, RDF_A64_HALT, "hlt"},
    {0xffe0001f, 0xd4600000, RDF_A64_HALT, "tcancel"},
    {0xffe0001f, 0xd4a00001, RDF_A64_HALT, "dcps1"},
    {0xffe0001f, 0xd4a00002, RDF_A64_HALT, "dcps2"},
    {0xffe0001f, 0xd4a00003, RDF_A64_HALT, "dcps3"},
    /* hints */
    {0xffffffff, 0xd503201f, RDF_A64_NOP, "nop"},
    {0xffffffff, 0xd503203f, RDF_A64_PLAIN, "yield"},
    {0xffffffff, 0xd503241f, RDF_A64_PLAIN, "bti"}, /* accepts no jump: not a landing pad */
    {0xffffffff, 0xd503245f, RDF_A64_LANDING, "bti c"},
    {0xffffffff, 0xd503249f, RDF_A64_LANDING, "bti j"},
    {0xffffffff, 0xd50324df, RDF_A64_LANDING, "bti jc"},
    {0xffffffff, 0xd503233f, RDF_A64_SIGN_LANDING, "paciasp"},
    {0xffffffff, 0xd503237f, RDF_A64_SIGN_LANDING, "pacibsp"},
    {0xffffffff, 0xd50323bf, RDF_A64_PLAIN, "autiasp"},
    {0xffffffff, 0xd50323ff, RDF_A64_PLAIN, "autibsp"},
    {0xffffffff, 0xd50324ff, RDF_A64_PC_SIGN, "pacm"},
    /* system instructions and registers, hints and barriers; their 128-bit forms */
    {0xffc00000, 0xd5000000, RDF_A64_PLAIN, NULL},
    {0xffc00000, 0xd5400000, RDF_A64_PLAIN, NULL},
    {0x1c000000, 0x14000000, RDF_A64_UNALLOCATED, NULL}, /* the rest of the class */
    /* C4.1.92 data processing, immediate */
    {0x9f000000, 0x10000000, RDF_A64_ADR, "adr"},
    {0x9f000000, 0x90000000, RDF_A64_ADRP, "adrp"},
    {0xffe0001f, 0xf380001f, RDF_A64_PC_SIGN, "autiasppc"},
    {0xffe0001f, 0xf3a0001f, RDF_A64_PC_SIGN, "autibsppc"},
    {0x1c000000, 0x10000000, RDF_A64_PLAIN, NULL},
    /* C4.1.94 data processing, register */
    {0xffffffff, 0xdac183fe, RDF_A64_PC_SIGN, "pacnbiasppc"},
    {0xffffffff, 0xdac187fe, RDF_A64_PC_SIGN, "pacnbibsppc"},
    {0xffffffff, 0xdac1a3fe, RDF_A64_PC_SIGN_LANDING, "paciasppc"},
    {0xffffffff, 0xdac1a7fe, RDF_A64_PC_SIGN_LANDING, "pacibsppc"},
    {0x0e000000, 0x0a000000, RDF_A64_PLAIN, NULL},
    /* C4.1.96 loads and stores: the literal ones */
    {0xbf000000, 0x18000000, RDF_A64_LDR, "ldr"},
    {0xff000000, 0x98000000, RDF_A64_LDRSW, "ldrsw"},
    {0xff000000, 0xd8000000, RDF_A64_PRFM, "prfm"},
    {0xff000000, 0x1c000000, RDF_A64_LDR_FP, "ldr"},
    {0xff000000, 0x5c000000, RDF_A64_LDR_FP, "ldr"},
    {0xff000000, 0x9c000000, RDF_A64_LDR_FP, "ldr"},
    {0xff000000, 0xdc000000, RDF_A64_UNALLOCATED, NULL},
    {0x0a000000, 0x08000000, RDF_A64_PLAIN, NULL},
    /* C4.1.95 SIMD and floating point; SVE; SME. All else is reserved. */
    {0x0e000000, 0x0e000000, RDF_A64_PLAIN, NULL},
    {0x1e000000, 0x04000000, RDF_A64_PLAIN, NULL},
    {0x9e000000, 0x80000000, RDF_A64_PLAIN, NULL},
    {0x00000000, 0x00000000, RDF_A64_UNALLOCATED, NULL},
};

const struct rdf_aarch64_row *rdf_aarch64_row_of(uint32_t word)
{
    const struct rdf_aarch64_row *row = rows;
    while ((word & row->mask) != row->value)
        row++;
    return row;
}

enum rdf_aarch64_form rdf_aarch64_form_of(uint32_t word)
{
    return rdf_aarch64_row_of(word)->form;
}

/* Where a form keeps its displacement: `bits` of it from bit `low`, counting units of `unit_bytes`. */
struct field {
    unsigned low, bits;
    int64_t unit_bytes;
};

static struct field displacement_field(enum rdf_aarch64_form form)
{
    switch (form) {
    case RDF_A64_B:
    case RDF_A64_BL: return (struct field){0, 26, 4};
    case RDF_A64_B_COND:
    case RDF_A64_CBZ:
    case RDF_A64_LDR:
    case RDF_A64_LDRSW:
    case RDF_A64_LDR_FP:
    case RDF_A64_PRFM: return (struct field){5, 19, 4};
    case RDF_A64_TBZ: return (struct field){5, 14, 4};
    case RDF_A64_CMP_B: return (struct field){5, 9, 4};
    case RDF_A64_ADR: return (struct field){5, 21, 1}; /* its two low bits are bits 30:29 */
    case RDF_A64_ADRP: return (struct field){5, 21, 4096};
    default: return (struct field){0, 0, 1};
    }
}

static bool has_split_field(enum rdf_aarch64_form form)
{
    return form == RDF_A64_ADR || form == RDF_A64_ADRP;
}

/* The distance in bytes from a PC-relative word to what it names; of adrp, from its page. */
static int64_t displacement_of(enum rdf_aarch64_form form, uint32_t word)
{
    struct field field = displacement_field(form);
    if (!field.bits)
        return 0;
    uint32_t raw;
    if (has_split_field(form))
        raw = rdf_aarch64_bits(word, 23, 5) << 2 | rdf_aarch64_bits(word, 30, 29);
    else
        raw = rdf_aarch64_bits(word, field.low + field.bits - 1, field.low);
    int64_t units = raw;
    if (raw >> (field.bits - 1))
        units -= INT64_C(1) << field.bits;
    return units * field.unit_bytes;
}

uint64_t rdf_aarch64_named_address(enum rdf_aarch64_form form, uint32_t word, uint64_t addr)
{
    uint64_t base = form == RDF_A64_ADRP ? addr & ~UINT64_C(0xfff) : addr;
    return base + (uint64_t)displacement_of(form, word);
}

bool rdf_aarch64_set_displacement(enum rdf_aarch64_form form, uint32_t *word, int64_t displacement)
{
    struct field field = displacement_field(form);
    int64_t limit = (INT64_C(1) << (field.bits - 1)) * field.unit_bytes;
    if (displacement % field.unit_bytes || displacement < -limit || displacement >= limit)
        return false;
    uint32_t mask = (UINT32_C(1) << field.bits) - 1;
    uint32_t raw = (uint32_t)(displacement / field.unit_bytes) & mask;
    if (has_split_field(form))
        *word = (*word & 0x9f00001f) | (raw & 3) << 29 | raw >> 2 << 5;
    else
        *word = (*word & ~(mask << field.low)) | raw << field.low;
    return true;
}

static enum rdf_flow flow_of(enum rdf_aarch64_form form, uint32_t word)
{
    switch (form) {
    case RDF_A64_B: return RDF_FLOW_JUMP;
    case RDF_A64_BL: return RDF_FLOW_CALL;
    case RDF_A64_B_COND: /* al, and nv too, is always (C1.2.4) */
        return rdf_aarch64_bits(word, 3, 0) >= 14 ? RDF_FLOW_JUMP : RDF_FLOW_BRANCH;
    case RDF_A64_CBZ:
    case RDF_A64_TBZ:
    case RDF_A64_CMP_B: return RDF_FLOW_BRANCH;
    case RDF_A64_BR:
    case RDF_A64_ERET: return RDF_FLOW_JUMP_INDIRECT;
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH: return RDF_FLOW_CALL_INDIRECT;
    case RDF_A64_RET:
    case RDF_A64_PC_SIGN_RET: return RDF_FLOW_RETURN;
    case RDF_A64_SVC: return RDF_FLOW_SYSCALL;
    case RDF_A64_BRK:
    case RDF_A64_HALT: return RDF_FLOW_STOP;
    default: return RDF_FLOW_NEXT;
    }
}

static enum rdf_insn_role role_of(enum rdf_aarch64_form form)
{
    switch (form) {
    case RDF_A64_NOP: return RDF_ROLE_NOP;
    case RDF_A64_LANDING: return RDF_ROLE_LANDING;
    case RDF_A64_SIGN_LANDING:
    case RDF_A64_PC_SIGN_LANDING: return RDF_ROLE_LANDING_SIGNS;
    case RDF_A64_BRK: return RDF_ROLE_TRAP;
    default: return RDF_ROLE_PLAIN;
    }
}

bool rdf_aarch64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret)
{
    uint32_t word;
    if (addr % RDF_AARCH64_WORD_BYTES || !rdf_span_u32(code, 0, &word))
        return false;
    enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
    if (form == RDF_A64_UNALLOCATED)
        return false;
    struct rdf_insn insn = {
        .addr = addr,
        .len_bytes = RDF_AARCH64_WORD_BYTES,
        .flow = flow_of(form, word),
        .role = role_of(form),
    };
    if (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH || insn.flow == RDF_FLOW_CALL) {
        insn.has_target = true;
        insn.target = rdf_aarch64_named_address(form, word, addr);
    } else if (displacement_field(form).bits) {
        insn.has_ref = true;
        insn.ref_is_load = !has_split_field(form);
        insn.ref = rdf_aarch64_named_address(form, word, addr);
    }
    *ret = insn;
    return true;
}
