/* SPDX-License-Identifier: MIT
 *
 * What two runs of differential_x86_64.c left behind, compared: memory, registers, flags, and where they
 * went.
 */
#ifndef TESTS_UNIT_DIFFERENTIAL_X86_64_COMPARE_H
#define TESTS_UNIT_DIFFERENTIAL_X86_64_COMPARE_H

#include "unit/differential_x86_64_machine.h"

#include <Zydis/Zydis.h>

static struct region *region_of(struct machine *m, const struct write *write, size_t *ret_off)
{
    struct region *const regions[] = {&m->image, &m->data};

    for (size_t i = 0; i < 2; i++) {
        *ret_off = (size_t)(write->addr - regions[i]->addr);
        if (write->addr >= regions[i]->addr && *ret_off <= regions[i]->len_bytes - write->len_bytes)
            return regions[i];
    }
    return NULL;
}

/* What the run wrote becomes what is expected of the next one; live memory is as before the run. */
static void memory_expect(struct machine *m)
{
    for (size_t i = 0; i < m->write_count; i++) {
        size_t off, len = m->writes[i].len_bytes;
        struct region *region = region_of(m, &m->writes[i], &off);
        if (region)
            memcpy(region->expected + off, region->live + off, len);
    }
    for (size_t i = 0; i < m->write_count; i++) {
        size_t off, len = m->writes[i].len_bytes;
        struct region *region = region_of(m, &m->writes[i], &off);
        if (region)
            memcpy(region->live + off, region->pristine + off, len);
    }
}

/* The first address at which live memory is not what is expected, 0 when all is; then makes everything
 * that either run wrote as it was in the beginning. */
static uint64_t memory_compare(struct machine *m)
{
    uint64_t differs_at = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < m->write_count; i++) {
            size_t off, len = m->writes[i].len_bytes;
            struct region *region = region_of(m, &m->writes[i], &off);
            if (!region)
                continue;
            if (pass == 0 && !differs_at && memcmp(region->live + off, region->expected + off, len) != 0)
                differs_at = m->writes[i].addr;
            if (pass == 1) {
                memcpy(region->live + off, region->pristine + off, len);
                memcpy(region->expected + off, region->pristine + off, len);
            }
        }
    m->write_count = 0;
    return differs_at;
}

struct window {
    uint64_t addr;
    struct rdf_span code;
    uint64_t trampoline_addr;
    struct rdf_relocated relocated;
};

static uint64_t old_pc_of(const struct window *window, uint64_t pc)
{
    uint64_t old = window->addr;

    for (size_t i = 0; i < window->relocated.pc_count; i++)
        if (window->relocated.pcs[i].new_off <= pc - window->trampoline_addr)
            old = window->addr + window->relocated.pcs[i].old_off;
    return old;
}

/* `call next; pop rbx; jmp rbx` goes to where the window was. No relocation can know what a register will
 * hold; a direct branch that did so would be a mistake, and is not excused here. */
static bool is_computed_entry(const struct window *window, const struct outcome *relocated)
{
    struct rdf_span code = {window->relocated.code, window->relocated.len_bytes};
    uint64_t off = relocated->last_pc - window->trampoline_addr;
    struct rdf_insn insn;

    if (relocated->end != END_LEFT || relocated->pc - window->addr >= window->code.len_bytes ||
        off >= code.len_bytes ||
        !rdf_arch_x86_64.decode(rdf_span_slice(code, off, code.len_bytes - off), relocated->last_pc, &insn))
        return false;
    return insn.flow == RDF_FLOW_RETURN || (insn.flow == RDF_FLOW_JUMP_INDIRECT && !insn.has_ref);
}

/* A call through memory that lies where the call itself pushes: the relocated form has pushed before it
 * reads. With rsp as the base it is refused; through another register nobody can know. A documented limit. */
static bool is_slot_read(const struct window *window, const struct outcome *original, uint64_t read_at)
{
    struct rdf_insn insn;
    uint64_t off = original->last_pc - window->addr;

    return off < window->code.len_bytes &&
           rdf_arch_x86_64.decode(rdf_span_slice(window->code, off, window->code.len_bytes - off),
                                  original->last_pc, &insn) &&
           insn.flow == RDF_FLOW_CALL_INDIRECT && read_at - (original->state.gpr[4] - 7) < 15;
}

/* unicorn 2.0.1 sometimes leaves wrong flags after an instruction that changes memory and flags, depending
 * on the code around: sar qword ptr [rdx-0x70], cl of 0x7ffd00009a20 by 40 gave CF 0, and bit 39 is 1. xchg
 * with memory is as bad. */
static bool has_unsure_result(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
    if (!(insn->cpu_flags && (insn->cpu_flags->modified | insn->cpu_flags->undefined)) &&
        insn->mnemonic != ZYDIS_MNEMONIC_XCHG)
        return false;
    for (int i = 0; i < insn->operand_count; i++)
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            return true;
    return false;
}

/* The flags whose value says nothing after this code: those, and what the manual leaves undefined, which
 * the emulator makes from whatever it last had (SDM vol. 1, appendix A). */
static uint64_t unsure_flags(struct rdf_span code)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t mask = 0;

    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (size_t off = 0; off < code.len_bytes; off += insn.length) {
        if (ZYAN_FAILED(
                ZydisDecoderDecodeFull(&decoder, code.data + off, code.len_bytes - off, &insn, operands)))
            return mask;
        if (has_unsure_result(&insn, operands))
            mask |= FLAGS;
        else if (insn.cpu_flags)
            mask |= insn.cpu_flags->undefined;
    }
    return mask;
}

static const char FLAGS_DIFFER[] = "flags";

/* Null when both did the same, else what differs. */
static const char *difference(const struct window *window, const struct outcome *a, const struct outcome *b)
{
    struct rdf_insn insn = {.flow = RDF_FLOW_NEXT};
    uint64_t off = a->pc - window->addr;

    if (a->end != b->end)
        return "one left and the other did not";
    if (a->end == END_LEFT && a->pc != b->pc)
        return "they go to different addresses";
    if (a->interrupt != b->interrupt)
        return "different interrupts";
    if (a->end == END_FAULT) {
        if (old_pc_of(window, b->pc) != a->pc)
            return "different instructions fault";
        /* A call whose target cannot be read has already pushed when its relocated form faults. */
        struct rdf_span rest = rdf_span_slice(window->code, off, window->code.len_bytes - off);
        (void)rdf_arch_x86_64.decode(rest, a->pc, &insn);
        if (insn.flow == RDF_FLOW_CALL_INDIRECT)
            return NULL;
        if (a->error != b->error)
            return "they fault differently";
    }
    if (memcmp(a->state.gpr, b->state.gpr, sizeof a->state.gpr) != 0)
        return "general registers";
    if (a->state.flags != b->state.flags)
        return FLAGS_DIFFER;
    if (memcmp(a->state.xmm, b->state.xmm, sizeof a->state.xmm) != 0)
        return "xmm registers";
    return NULL;
}

#endif
