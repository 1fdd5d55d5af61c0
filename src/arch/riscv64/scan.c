/* SPDX-License-Identifier: MIT
 *
 * Branches found by their form alone: an instruction may begin at any parcel.
 */
#include "arch/riscv64/riscv64.h"

void rdf_riscv64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                               void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx)
{
    struct rdf_rv_insn insn;
    for (size_t off = addr % RDF_RV_PARCEL_BYTES; off + RDF_RV_PARCEL_BYTES <= code.len_bytes;
         off += RDF_RV_PARCEL_BYTES) {
        struct rdf_span rest = {code.data + off, code.len_bytes - off};
        if (!rdf_riscv64_read(rest, &insn))
            continue;
        bool is_jump = insn.form == RDF_RV_JAL && rdf_riscv64_rd(insn.word) == RDF_RV_ZERO;
        if (!is_jump && insn.form != RDF_RV_BRANCH && insn.form != RDF_RV_C_J && insn.form != RDF_RV_C_BRANCH)
            continue;
        uint64_t target = addr + off + (uint64_t)rdf_riscv64_displacement(&insn);
        if (rdf_byte_set_has(set, target))
            visit(ctx, addr + off, target);
    }
}

/* A c.jr or a jalr that is no return: any function may have one, and decoding tells sooner than a search. */
bool rdf_riscv64_may_compute_jump(struct rdf_span code)
{
    (void)code;
    return true;
}
