/* SPDX-License-Identifier: MIT */
#include "arch/x86_64/x86_64.h"

/* Zydis has no constant to initialise a decoder with. Setting one up stores four words, so each call
 * makes its own and the room stays free of state. */
static bool decoder_init(ZydisDecoder *decoder)
{
    return ZYAN_SUCCESS(ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
}

bool rdf_x86_64_read(struct rdf_span code, ZydisDecodedInstruction *ret)
{
    ZydisDecoder decoder;

    return code.data && decoder_init(&decoder) &&
           ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, ZYAN_NULL, code.data, code.len_bytes, ret));
}

/* Whether the disp32 of `insn` counts from the instruction's end. */
static bool is_rip_relative(const ZydisDecodedInstruction *insn)
{
    /* SDM vol. 2, 2.2.1.6: in 64-bit mode mod 00 with r/m 101 and a disp32. The width tells the
     * instructions apart that ignore mod and have no memory operand (mov to and from CR and DR). */
    return (insn->attributes & ZYDIS_ATTRIB_HAS_MODRM) && insn->raw.modrm.mod == 0 &&
           insn->raw.modrm.rm == 5 && insn->raw.disp.size == 32;
}

bool rdf_x86_64_is_cut_to_16_bits(const ZydisDecodedInstruction *insn)
{
    bool rex_w = (insn->attributes & ZYDIS_ATTRIB_HAS_REX) && insn->raw.rex.W;

    return (insn->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) && !rex_w &&
           insn->mnemonic != ZYDIS_MNEMONIC_XBEGIN;
}

static enum rdf_flow flow_of(const ZydisDecodedInstruction *insn)
{
    bool is_direct = insn->raw.imm[0].is_relative;

    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT: return RDF_FLOW_STOP;
    case ZYDIS_MNEMONIC_UIRET: return RDF_FLOW_RETURN;
    case ZYDIS_MNEMONIC_INT: return RDF_FLOW_SYSCALL; /* int 0x80; the others trap and come back too */
    case ZYDIS_MNEMONIC_XABORT: return RDF_FLOW_NEXT; /* does nothing outside of a transaction */
    default: break;
    }
    switch (insn->meta.category) {
    case ZYDIS_CATEGORY_UNCOND_BR: return is_direct ? RDF_FLOW_JUMP : RDF_FLOW_JUMP_INDIRECT;
    case ZYDIS_CATEGORY_COND_BR: return is_direct ? RDF_FLOW_BRANCH : RDF_FLOW_NEXT; /* xend is here too */
    case ZYDIS_CATEGORY_CALL: return is_direct ? RDF_FLOW_CALL : RDF_FLOW_CALL_INDIRECT;
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_SYSRET: return RDF_FLOW_RETURN;
    case ZYDIS_CATEGORY_SYSCALL: return RDF_FLOW_SYSCALL;
    default: return RDF_FLOW_NEXT;
    }
}

static enum rdf_insn_role role_of(const ZydisDecodedInstruction *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ENDBR64: return RDF_ROLE_LANDING;
    case ZYDIS_MNEMONIC_ENDBR32: /* 64-bit code does not land there: SDM vol. 1, 17.3.1 */
    case ZYDIS_MNEMONIC_NOP: return RDF_ROLE_NOP;
    case ZYDIS_MNEMONIC_INT3: return RDF_ROLE_TRAP;
    default: return RDF_ROLE_PLAIN;
    }
}

struct rdf_insn rdf_x86_64_describe(const ZydisDecodedInstruction *insn, uint64_t addr)
{
    struct rdf_insn ret = {
        .addr = addr,
        .len_bytes = insn->length,
        .flow = flow_of(insn),
        .role = role_of(insn),
    };
    uint64_t end = addr + insn->length;

    if (insn->raw.imm[0].is_relative) {
        ret.has_target = true;
        ret.target = end + insn->raw.imm[0].value.u;
    } else if (is_rip_relative(insn) && ret.role != RDF_ROLE_NOP) {
        ret.has_ref = true;
        ret.ref_is_load = insn->mnemonic != ZYDIS_MNEMONIC_LEA;
        ret.ref = end + (uint64_t)insn->raw.disp.value;
        if (insn->address_width == 32) /* 67: SDM vol. 2, 2.2.1.6: EIP + disp32, zero-extended */
            ret.ref = (uint32_t)ret.ref;
    }
    ret.is_copied = ret.flow == RDF_FLOW_NEXT && !ret.has_target && !ret.has_ref &&
                    insn->mnemonic != ZYDIS_MNEMONIC_RSM;
    return ret;
}

bool rdf_x86_64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret)
{
    ZydisDecodedInstruction insn;

    if (!rdf_x86_64_read(code, &insn))
        return false;
    *ret = rdf_x86_64_describe(&insn, addr);
    return true;
}
