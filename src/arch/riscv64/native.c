/* SPDX-License-Identifier: MIT
 *
 * Compiled only where the library itself runs on this CPU.
 *
 * The frame that preserve.c makes goes here for its call: x86_64/native.c says why.
 *
 *     [s0 - 8] return address · [s0 - 16] caller's s0 · [s0 - 24] where to go then
 */
#include "arch/arch.h"

__asm__(".text\n"
        ".p2align 4\n"
        ".option push\n"
        ".option norvc\n"
        "rdf_frame_call:\n"
        ".cfi_startproc\n"
        ".cfi_def_cfa s0, 0\n"
        ".cfi_offset ra, -8\n"
        ".cfi_offset s0, -16\n"
        "auipc zero, 0\n" /* a landing pad, for CPUs that have such */
        "jalr t1\n"
        "ld t1, -24(s0)\n"
        "jr t1\n"
        ".cfi_endproc\n"
        ".option pop\n");

extern const uint8_t frame_call[] __asm__("rdf_frame_call") __attribute__((visibility("hidden")));

uint64_t rdf_arch_frame_call(void)
{
    return (uint64_t)(uintptr_t)frame_call;
}

const struct rdf_arch *rdf_arch_native(void)
{
    return &rdf_arch_riscv64;
}
