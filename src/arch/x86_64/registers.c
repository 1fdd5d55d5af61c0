/* SPDX-License-Identifier: MIT
 *
 * Which registers an instruction reads and writes, of those that a call may change.
 */
#include "arch/x86_64/x86_64.h"

enum { VECTOR_BASE = 16, MASK_BASE = 48 };

/* The bit of a register: the widest one that holds it. 0: none of those that are told of. */
static uint64_t bit_of(ZydisRegister reg)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    ZyanI8 id = ZydisRegisterGetId(whole == ZYDIS_REGISTER_NONE ? reg : whole);
    if (id < 0)
        return 0;
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return id < 16 ? UINT64_C(1) << id : 0;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM: return UINT64_C(1) << (VECTOR_BASE + id);
    case ZYDIS_REGCLASS_MASK: return UINT64_C(1) << (MASK_BASE + id);
    default: return 0;
    }
}

static bool is_vector(ZydisRegister reg)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    return class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM || class == ZYDIS_REGCLASS_ZMM;
}

/* A write of 32 bits clears the upper half (SDM vol. 1, 3.4.1.1); one of 8 or 16 leaves the rest. Of a vector
 * register only its first 16 bytes count: nothing keeps the upper ones of a register whose lower ones change.
 */
static bool is_whole(const ZydisDecodedOperand *operand)
{
    return operand->size >= (is_vector(operand->reg.value) ? 128 : 32) ||
           ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_MASK;
}

static void use_operand(const ZydisDecodedOperand *operand, struct rdf_register_use *use)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY)
        use->reads |= bit_of(operand->mem.base) | bit_of(operand->mem.index);
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return;
    uint64_t bit = bit_of(operand->reg.value);
    if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
        use->reads |= bit;
    if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        use->writes |= bit;
    if (operand->actions == ZYDIS_OPERAND_ACTION_WRITE && is_whole(operand))
        use->kills |= bit;
    if (is_vector(operand->reg.value) && operand->size / 8 > use->vector_bytes)
        use->vector_bytes = operand->size / 8;
}

/* xor r, r and its like: what was in r does not matter. */
static bool is_zeroing(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operand)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
    case ZYDIS_MNEMONIC_XORPD:
    case ZYDIS_MNEMONIC_PCMPEQD: break;
    case ZYDIS_MNEMONIC_VPXOR:
    case ZYDIS_MNEMONIC_VXORPS:
    case ZYDIS_MNEMONIC_VXORPD: operand++; break;
    default: return false;
    }
    return operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           operand[0].reg.value == operand[1].reg.value && is_whole(&operand[0]);
}

static void use_stack_pointer(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operand,
                              struct rdf_register_use *use)
{
    bool is_named = operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                    operand[0].reg.value == ZYDIS_REGISTER_RSP &&
                    operand[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool is_number = insn->operand_count_visible > 1 && operand[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

    switch (insn->meta.category) {
    case ZYDIS_CATEGORY_PUSH: use->sp_change = -(int64_t)(insn->operand_width / 8); return;
    case ZYDIS_CATEGORY_POP:
        use->sp_change = insn->operand_width / 8;
        use->sp_lost = is_named;
        return;
    default: break;
    }
    use->sp_lost = insn->mnemonic == ZYDIS_MNEMONIC_LEAVE || insn->mnemonic == ZYDIS_MNEMONIC_ENTER;
    if (!is_named)
        return;
    if (is_number && insn->mnemonic == ZYDIS_MNEMONIC_SUB)
        use->sp_change = -operand[1].imm.value.s;
    else if (is_number && insn->mnemonic == ZYDIS_MNEMONIC_ADD)
        use->sp_change = operand[1].imm.value.s;
    else if (is_number && insn->mnemonic == ZYDIS_MNEMONIC_AND)
        use->sp_aligned = operand[1].imm.value.s % 16 == 0;
    else
        use->sp_lost = true;
}

/* Memory that an operand names from rsp or rbp on; what push, call and the like do by themselves is none. */
static void use_frame(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands,
                      struct rdf_register_use *use)
{
    use->sets_frame = insn->mnemonic == ZYDIS_MNEMONIC_MOV &&
                      operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                      operands[0].reg.value == ZYDIS_REGISTER_RBP &&
                      operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                      operands[1].reg.value == ZYDIS_REGISTER_RSP;
    for (unsigned i = 0; i < insn->operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        use->has_stack |= operand->mem.base == ZYDIS_REGISTER_RSP;
        use->has_frame |= operand->mem.base == ZYDIS_REGISTER_RBP;
        use->stack_off = operand->mem.disp.value;
    }
}

bool rdf_x86_64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                          struct rdf_register_use *ret)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    struct rdf_register_use use = {0};

    if (!code.data ||
        ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code.data, code.len_bytes, &insn, operands)))
        return false;
    *ret_insn = rdf_x86_64_describe(&insn, addr);
    if (insn.mnemonic == ZYDIS_MNEMONIC_NOP) {
        *ret = use; /* its operand is none */
        return true;
    }
    bool is_string = insn.meta.category == ZYDIS_CATEGORY_STRINGOP ||
                     insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    for (unsigned i = 0; i < insn.operand_count; i++) {
        use_operand(&operands[i], &use);
        if (is_string && operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            use.writes |= bit_of(operands[i].mem.base); /* advances */
    }
    if (is_zeroing(&insn, operands)) {
        use.reads = 0;
        use.kills |= use.writes;
    }
    if (insn.operand_count > 0)
        use_stack_pointer(&insn, operands, &use);
    if (insn.operand_count_visible > 0)
        use_frame(&insn, operands, &use);
    use.reads &= RDF_X86_64_CALL_CLOBBERED;
    use.writes &= RDF_X86_64_CALL_CLOBBERED;
    use.kills &= RDF_X86_64_CALL_CLOBBERED;
    *ret = use;
    return true;
}

const char *rdf_x86_64_register_name(unsigned number)
{
    if (number < VECTOR_BASE)
        return ZydisRegisterGetString((ZydisRegister)(ZYDIS_REGISTER_RAX + number));
    if (number < MASK_BASE)
        return ZydisRegisterGetString((ZydisRegister)(ZYDIS_REGISTER_XMM0 + number - VECTOR_BASE));
    return number < MASK_BASE + 8
               ? ZydisRegisterGetString((ZydisRegister)(ZYDIS_REGISTER_K0 + number - MASK_BASE))
               : NULL;
}
