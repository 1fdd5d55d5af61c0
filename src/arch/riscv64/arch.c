/* SPDX-License-Identifier: MIT */
#include "arch/riscv64/riscv64.h"

enum { ELF_MACHINE_RISCV = 243, C_J_REACH_BYTES = 2048 };

const struct rdf_arch rdf_arch_riscv64 = {
    .name = "riscv64",
    .elf_machine = ELF_MACHINE_RISCV,
    .insn_align_bytes = RDF_RV_PARCEL_BYTES,
    .insn_bytes_max = RDF_RV_WORD_BYTES,
    .jump_bytes = RDF_RV_JUMP_BYTES,
    /* auipc and a signed remainder reach [from - 2^31 - 2^11, from + 2^31 - 2^11); the contract counts from
     * the jump's end. */
    .jump_reach_back = INT64_C(0x80000000),
    .jump_reach_ahead = INT64_C(0x80000000) - 0x800 - 2 * RDF_RV_JUMP_BYTES,
    .short_jump_bytes = RDF_RV_PARCEL_BYTES,
    .short_jump_reach = C_J_REACH_BYTES - 2 * RDF_RV_PARCEL_BYTES,
    .trap_bytes = RDF_RV_PARCEL_BYTES,
    .trap = {0x02, 0x90}, /* c.ebreak */
    .decode = rdf_riscv64_decode,
    .scan_branches = rdf_riscv64_scan_branches,
    .scan_references = rdf_riscv64_scan_references,
    .may_compute_jump = rdf_riscv64_may_compute_jump,
    .registers = rdf_riscv64_registers,
    .register_name = rdf_riscv64_register_name,
    .call_clobbered = RDF_RISCV64_CALL_CLOBBERED,
    .argument_regs = RDF_RISCV64_ARGUMENTS,
    .given_regs = RDF_RISCV64_ARGUMENTS,
    .result_regs = RDF_RISCV64_RESULTS,
    .vector_regs = UINT64_C(0xffffffff) << 32,
    .plain_regs = RDF_RISCV64_CALL_CLOBBERED & ~(UINT64_C(1) << RDF_RV_T6), /* emit_jump_aside changes it */
    .format = rdf_riscv64_format,
    .relocate = rdf_riscv64_relocate,
    .emit_jump = rdf_riscv64_emit_jump,
    .emit_jump_aside = rdf_riscv64_emit_jump_aside,
    .read_jump = rdf_riscv64_read_jump,
    .emit_short_jump = rdf_riscv64_emit_short_jump,
    .retarget = rdf_riscv64_retarget,
    .context_pc = 0,
    .context_sp = 2,
    .may_swap = rdf_riscv64_may_swap,
    .emit_count = rdf_riscv64_emit_count,
    .emit_select = rdf_riscv64_emit_select,
    .emit_slot_jump = rdf_riscv64_emit_slot_jump,
    .emit_preserve = rdf_riscv64_emit_preserve,
};
