/* SPDX-License-Identifier: MIT */
#include "arch/aarch64/aarch64.h"

enum { B_REACH_BYTES = 128 * 1024 * 1024, ELF_MACHINE_AARCH64 = 183 };

const struct rdf_arch rdf_arch_aarch64 = {
    .name = "aarch64",
    .elf_machine = ELF_MACHINE_AARCH64,
    .insn_align_bytes = RDF_AARCH64_WORD_BYTES,
    .insn_bytes_max = RDF_AARCH64_WORD_BYTES,
    .jump_bytes = RDF_AARCH64_WORD_BYTES,
    /* b reaches [from - 128 MiB, from + 128 MiB - 4]; the contract counts from the jump's end. */
    .jump_reach_back = B_REACH_BYTES + RDF_AARCH64_WORD_BYTES,
    .jump_reach_ahead = B_REACH_BYTES - 2 * RDF_AARCH64_WORD_BYTES,
    .landing_bytes = RDF_AARCH64_WORD_BYTES,
    .landing = RDF_AARCH64_BTI_C,
    .context_stack_bytes = 416,
    .decode = rdf_aarch64_decode,
    .scan_branches = rdf_aarch64_scan_branches,
    .may_compute_jump = rdf_aarch64_may_compute_jump,
    .scan_references = rdf_aarch64_scan_references,
    .registers = rdf_aarch64_registers,
    .register_name = rdf_aarch64_register_name,
    .call_clobbered = RDF_AARCH64_CALL_CLOBBERED,
    .argument_regs = RDF_AARCH64_ARGUMENTS,
    .given_regs = RDF_AARCH64_ARGUMENTS,
    .result_regs = RDF_AARCH64_RESULTS,
    .vector_regs = UINT64_C(0xffffffff) << 32,
    .plain_regs = RDF_AARCH64_CALL_CLOBBERED,
    .entry_misalign = 0,
    .format = rdf_aarch64_format,
    .relocate = rdf_aarch64_relocate,
    .emit_jump = rdf_aarch64_emit_jump,
    .emit_short_jump = rdf_aarch64_emit_short_jump,
    .retarget = rdf_aarch64_retarget,
    .context_pc = 1,
    .context_sp = 0,
    .may_swap = rdf_aarch64_may_swap,
    .emit_count = rdf_aarch64_emit_count,
    .emit_slot_jump = rdf_aarch64_emit_slot_jump,
    .emit_select = rdf_aarch64_emit_select,
    .emit_preserve = rdf_aarch64_emit_preserve,
};
