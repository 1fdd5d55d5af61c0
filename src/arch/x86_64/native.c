/* SPDX-License-Identifier: MIT
 *
 * Apart from arch.c, so that a build for another CPU can take this room along without being of it.
 *
 * The frame that preserve.c makes goes here for its call. It is the only code of ours, apart from functions,
 * that is on a stack while others run; and code that was made has no tables. So it is assembled, for the sake
 * of the directives: every unwinder, debugger and profiler finds the caller behind the frame by this object's
 * own tables, and nothing has to be registered with any of them.
 *
 *     [rbp + 8] return address · [rbp] caller's rbp · [rbp - 8] whom to call · [rbp - 16] where to go then
 */
#include "arch/arch.h"

__asm__(".text\n"
        ".p2align 4\n"
        "rdf_frame_call:\n"
        ".cfi_startproc\n"
        ".cfi_def_cfa %rbp, 16\n"
        ".cfi_offset %rbp, -16\n"
        "endbr64\n"
        "call *-8(%rbp)\n"
        "jmp *-16(%rbp)\n"
        ".cfi_endproc\n");

extern const uint8_t frame_call[] __asm__("rdf_frame_call") __attribute__((visibility("hidden")));

uint64_t rdf_arch_frame_call(void)
{
    return (uint64_t)(uintptr_t)frame_call;
}

const struct rdf_arch *rdf_arch_native(void)
{
    return &rdf_arch_x86_64;
}
