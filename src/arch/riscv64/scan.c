/* SPDX-License-Identifier: MIT
 *
 * Branches, calls and other references found by their form alone: an instruction may begin at any parcel.
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
        if (insn.form != RDF_RV_JAL && insn.form != RDF_RV_BRANCH && insn.form != RDF_RV_C_J &&
            insn.form != RDF_RV_C_BRANCH)
            continue;
        uint64_t target = addr + off + (uint64_t)rdf_riscv64_displacement(&insn);
        if (rdf_byte_set_has(set, target))
            visit(ctx, addr + off, target);
    }
}

/* What an auipc begins: a jalr or addi that takes its register adds the rest. */
static bool read_far(struct rdf_span code, uint64_t addr, uint64_t *ret_target, enum rdf_reference *ret_kind)
{
    struct rdf_rv_insn auipc, low;
    if (!rdf_riscv64_read(code, &auipc) || auipc.form != RDF_RV_AUIPC ||
        code.len_bytes < 2 * RDF_RV_WORD_BYTES ||
        !rdf_riscv64_read((struct rdf_span){code.data + RDF_RV_WORD_BYTES,
                                            code.len_bytes - RDF_RV_WORD_BYTES},
                          &low) ||
        low.len_bytes != RDF_RV_WORD_BYTES || rdf_riscv64_rs1(low.word) != rdf_riscv64_rd(auipc.word))
        return false;
    bool is_addi = (low.word & 0x707f) == rdf_riscv64_addi(0, 0, 0);
    if (low.form != RDF_RV_JALR && !is_addi)
        return false;
    bool is_call = !is_addi && rdf_riscv64_rd(low.word) != RDF_RV_ZERO;
    *ret_target = addr + (uint64_t)rdf_riscv64_displacement(&auipc) +
                  (uint64_t)(int64_t)((int32_t)low.word >> 20);
    *ret_kind = is_addi ? RDF_REFERENCE_VALUE : is_call ? RDF_REFERENCE_CALL : RDF_REFERENCE_JUMP;
    return true;
}

bool rdf_riscv64_read_jump(struct rdf_span code, uint64_t addr, uint8_t *ret_first_bytes,
                           uint64_t *ret_target)
{
    uint64_t target;
    enum rdf_reference kind;
    if (!read_far(code, addr, &target, &kind) || kind != RDF_REFERENCE_JUMP)
        return false;
    *ret_first_bytes = RDF_RV_WORD_BYTES;
    *ret_target = target;
    return true;
}

static bool read_near(struct rdf_span code, uint64_t addr, uint64_t *ret_target, enum rdf_reference *ret_kind)
{
    struct rdf_rv_insn insn;
    if (!rdf_riscv64_read(code, &insn) || (insn.form != RDF_RV_JAL && insn.form != RDF_RV_BRANCH &&
                                           insn.form != RDF_RV_C_J && insn.form != RDF_RV_C_BRANCH))
        return false;
    bool is_call = insn.form == RDF_RV_JAL && rdf_riscv64_rd(insn.word) != RDF_RV_ZERO;
    *ret_target = addr + (uint64_t)rdf_riscv64_displacement(&insn);
    *ret_kind = is_call ? RDF_REFERENCE_CALL : RDF_REFERENCE_JUMP;
    return true;
}

void rdf_riscv64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                 void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                               enum rdf_reference kind),
                                 void *ctx)
{
    for (size_t off = addr % RDF_RV_PARCEL_BYTES; off + RDF_RV_PARCEL_BYTES <= code.len_bytes;
         off += RDF_RV_PARCEL_BYTES) {
        struct rdf_span rest = {code.data + off, code.len_bytes - off};
        uint64_t target;
        enum rdf_reference kind;
        if (read_near(rest, addr + off, &target, &kind) && rdf_byte_set_has(set, target))
            visit(ctx, addr + off, target, kind);
        /* The second of the two is what calls, jumps or has the address. */
        if (read_far(rest, addr + off, &target, &kind) && rdf_byte_set_has(set, target))
            visit(ctx, addr + off + RDF_RV_WORD_BYTES, target, kind);
        if (rdf_span_u64(code, off, &target) && rdf_byte_set_has(set, target))
            visit(ctx, addr + off, target, RDF_REFERENCE_VALUE);
    }
}

/* A c.jr or a jalr that is no return: any function may have one, and decoding tells sooner than a search. */
bool rdf_riscv64_may_compute_jump(struct rdf_span code)
{
    (void)code;
    return true;
}
