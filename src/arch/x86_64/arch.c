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
    .decode = rdf_x86_64_decode,
    .scan_branches = rdf_x86_64_scan_branches,
    .may_compute_jump = rdf_x86_64_may_compute_jump,
    .format = rdf_x86_64_format,
    .relocate = rdf_x86_64_relocate,
    .emit_jump = rdf_x86_64_emit_jump,
    .emit_short_jump = rdf_x86_64_emit_short_jump,
    .retarget = rdf_x86_64_retarget,
    .emit_count = rdf_x86_64_emit_count,
    .emit_slot_jump = rdf_x86_64_emit_slot_jump,
    .emit_select = rdf_x86_64_emit_select,
};
