/* SPDX-License-Identifier: MIT */
#include "arch/x86_64/x86_64.h"

const struct rdf_arch rdf_arch_x86_64 = {
    .name = "x86_64",
    .elf_machine = 62, /* EM_X86_64 */
    .insn_align_bytes = 1,
    .insn_bytes_max = RDF_X86_64_INSN_BYTES_MAX,
    .jump_bytes = RDF_X86_64_REL32_BYTES,
    .jump_reach_back = INT64_C(0x80000000),
    .jump_reach_ahead = INT64_C(0x7fffffff),
    .short_jump_bytes = RDF_X86_64_REL8_BYTES,
    .short_jump_reach = INT8_MAX,
    .trap_bytes = 1,
    .trap = {0xcc}, /* int3 */
    .context_stack_bytes = 144,
    .decode = rdf_x86_64_decode,
    .scan_branches = rdf_x86_64_scan_branches,
    .may_compute_jump = rdf_x86_64_may_compute_jump,
    .scan_references = rdf_x86_64_scan_references,
    .registers = rdf_x86_64_registers,
    .register_name = rdf_x86_64_register_name,
    .call_clobbered = RDF_X86_64_CALL_CLOBBERED,
    .argument_regs = RDF_X86_64_ARGUMENTS,
    .given_regs = RDF_X86_64_ARGUMENTS & ~UINT64_C(1), /* al only counts vector registers */
    .result_regs = RDF_X86_64_RESULTS,
    .variadic_reg = 1, /* al */
    .vector_regs = UINT64_C(0xffffffff) << 16,
    .plain_regs = RDF_X86_64_CALL_CLOBBERED & 0xffffffff,
    .entry_misalign = 8, /* 3.2.2: aligned before the call pushes the return address */
    .format = rdf_x86_64_format,
    .relocate = rdf_x86_64_relocate,
    .emit_jump = rdf_x86_64_emit_jump,
    .emit_short_jump = rdf_x86_64_emit_short_jump,
    .retarget = rdf_x86_64_retarget,
    .context_pc = 1,
    .context_sp = 0,
    .context_flags = 2, /* bit 1 of RFLAGS */
    .may_swap = rdf_x86_64_may_swap,
    .emit_count = rdf_x86_64_emit_count,
    .emit_slot_jump = rdf_x86_64_emit_slot_jump,
    .emit_select = rdf_x86_64_emit_select,
    .emit_preserve = rdf_x86_64_emit_preserve,
};
