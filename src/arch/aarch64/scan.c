/* SPDX-License-Identifier: MIT
 *
 * Branches found by their form alone: every word of code is an instruction.
 */
#include "arch/aarch64/aarch64.h"

void rdf_aarch64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                               void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx)
{
    uint32_t word;
    for (uint64_t off = 0; rdf_span_u32(code, off, &word); off += RDF_AARCH64_WORD_BYTES) {
        enum rdf_aarch64_form form = rdf_aarch64_form_of(word);
        if (form != RDF_A64_B && form != RDF_A64_B_COND && form != RDF_A64_CBZ && form != RDF_A64_TBZ &&
            form != RDF_A64_CMP_B)
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
