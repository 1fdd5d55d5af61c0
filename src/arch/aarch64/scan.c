/* SPDX-License-Identifier: MIT
 *
 * Branches and other references found by their form alone: every word of code is an instruction.
 */
#include "arch/aarch64/aarch64.h"

static bool is_branch(enum rdf_aarch64_form form)
{
    return form == RDF_A64_B || form == RDF_A64_B_COND || form == RDF_A64_CBZ || form == RDF_A64_TBZ ||
           form == RDF_A64_CMP_B;
}

void rdf_aarch64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                               void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx)
{
    uint32_t word;
    for (uint64_t off = 0; rdf_span_u32(code, off, &word); off += RDF_AARCH64_WORD_BYTES) {
        enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
        if (!is_branch(form) && form != RDF_A64_BL)
            continue;
        uint64_t target = rdf_aarch64_named_address(form, word, addr + off);
        if (rdf_byte_set_has(set, target))
            visit(ctx, addr + off, target);
    }
}

bool rdf_aarch64_may_compute_jump(struct rdf_span code)
{
    (void)code;
    return true; /* the entry jump is one instruction: no table leads behind it, and nobody asks */
}

/* add Xd, Xn, #imm12, the second half of what adrp begins. */
static bool is_add_to_page(uint32_t word)
{
    return (word & 0xffc00000) == 0x91000000;
}

void rdf_aarch64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                 void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                               enum rdf_reference kind),
                                 void *ctx)
{
    uint64_t page[32] = {0}; /* what each register had from its last adrp, in the order of the code */
    uint32_t word, high;
    for (uint64_t off = 0; rdf_span_u32(code, off, &word); off += RDF_AARCH64_WORD_BYTES) {
        uint64_t value = rdf_span_u32(code, off + 4, &high) ? word | (uint64_t)high << 32 : 0;
        if (rdf_byte_set_has(set, value)) /* among literals */
            visit(ctx, addr + off, value, RDF_REFERENCE_VALUE);
        if (is_add_to_page(word)) {
            value = page[rdf_aarch64_bits(word, 9, 5)];
            if (value && rdf_byte_set_has(set, value + rdf_aarch64_bits(word, 21, 10)))
                visit(ctx, addr + off, value + rdf_aarch64_bits(word, 21, 10), RDF_REFERENCE_VALUE);
            continue;
        }
        enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
        if (form == RDF_A64_ADRP)
            page[rdf_aarch64_bits(word, 4, 0)] = rdf_aarch64_named_address(form, word, addr + off);
        if (form != RDF_A64_BL && form != RDF_A64_ADR && !is_branch(form))
            continue;
        value = rdf_aarch64_named_address(form, word, addr + off);
        if (rdf_byte_set_has(set, value))
            visit(ctx, addr + off, value,
                  form == RDF_A64_BL    ? RDF_REFERENCE_CALL
                  : form == RDF_A64_ADR ? RDF_REFERENCE_VALUE
                                        : RDF_REFERENCE_JUMP);
    }
}
