/* SPDX-License-Identifier: MIT
 *
 * Compiled only where the library itself runs on this CPU.
 *
 * The frame that preserve.c makes goes here for its call: x86_64/native.c says why. `bti c` also takes the
 * jump by x17 that leads here.
 *
 *     [x29 + 8] return address · [x29] caller's x29 · [x29 - 8] where to go then
 */
#include "arch/arch.h"

__asm__(".text\n"
        ".p2align 4\n"
        "rdf_frame_call:\n"
        ".cfi_startproc\n"
        ".cfi_def_cfa x29, 16\n"
        ".cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n"
        "hint #34\n" /* bti c */
        "blr x16\n"
        "ldur x16, [x29, #-8]\n"
        "br x16\n"
        ".cfi_endproc\n");

extern const uint8_t frame_call[] __asm__("rdf_frame_call") __attribute__((visibility("hidden")));

uint64_t rdf_arch_frame_call(void)
{
    return (uint64_t)(uintptr_t)frame_call;
}

const struct rdf_arch *rdf_arch_native(void)
{
    return &rdf_arch_aarch64;
}
