/* SPDX-License-Identifier: MIT
 *
 * Bodies of functions whose first bytes are hard to overwrite, as 64-bit Arm has them; see the other CPUs'.
 */
#ifndef TESTS_LIVE_ENTRIES_H
#define TESTS_LIVE_ENTRIES_H

/* Of glibc's memcpy: its version, and the one before that, where there is one. */
#define ENTRY_MEMCPY_VERSION "GLIBC_2.17"
#define ENTRY_MEMCPY_FORMER  "GLIBC_2.17"

#define ENTRY_VDSO_CLOCK  "[vdso]!__kernel_clock_gettime"
#define ENTRY_VDSO_OTHERS "[vdso]!__kernel_gettimeofday", "[vdso]!__kernel_clock_getres"

#define ENTRY_PADDING ""

#define ENTRY_LONG           "mov w0, #42\nnop\nret\n"
#define ENTRY_SHORT          "mov w0, #0\nret\n"
#define ENTRY_PLUS_150       ".rept 150\nadd w0, w0, #1\n.endr\nret\n"
#define ENTRY_JUMP(goal)     "b " goal "\n"
#define ENTRY_GOAL           "add w0, w0, #1\nadd w0, w0, w0, lsl #1\nret\n"
#define ENTRY_NUMBER(number) "mov w0, #" number "\nret\n"
/* An instruction never lies on two pages. */
#define ENTRY_STRADDLES "mov w0, #11\nadd w0, w0, #1\nret\n"
enum { ENTRY_STRADDLES_OFF = 4092 };
#define ENTRY_STRADDLES_SKIP ".skip 4088\nnop\n"

#define ENTRY_ONE_LONG  "adrp x1, .\nadd x0, x0, x0, lsl #1\nadd x0, x0, #1\nret\n"
#define ENTRY_NOPS      ".rept 12\nnop\n.endr\nadd x0, x0, x0, lsl #1\nadd x0, x0, #1\nret\n"
#define ENTRY_SHORT_SUM "add x0, x0, x0, lsl #1\nadd x0, x0, #1\nret\n"
#define ENTRY_LOOP_TO_ENTRY(name) \
    "eor x0, x0, #(1 << 63)\ntbnz x0, #63, " name "\nadd x0, x0, x0, lsl #1\nadd x0, x0, #1\nret\n"
#define ENTRY_LOOP_BEHIND "mov w1, #3\n1: sub w1, w1, #1\ncbnz w1, 1b\n" ENTRY_SHORT_SUM
#define ENTRY_LOOP_INTO   "mov w1, #3\n1: nop\nsub w1, w1, #1\ncbnz w1, 1b\n" ENTRY_SHORT_SUM
#define ENTRY_TRIPLE      "add x0, x0, x0, lsl #1\nret\n"
/* x9: the callee leaves it alone, as its text shows. */
#define ENTRY_CALL(callee) "mov x9, x30\nbl " callee "\nadd x0, x0, #1\nret x9\n"
#define ENTRY_SHORT_FIRST  "nop\nnop\nnop\nadd x0, x0, x0, lsl #1\nadd x0, x0, #1\nret\n"
/* The entry jump is as short. */
#define ENTRY_SHORT_JUMP(goal)   "b " goal "\n"
#define ENTRY_SHORT_JUMP_NEAR    "entry jump"
#define ENTRY_SHORT_JUMP_CROWDED "entry jump"
#define ENTRY_CROWD              ENTRY_PLUS_150
enum { ENTRY_ALIGN = 4 };
#define ENTRY_ALIGN_TEXT "4"

#define ENTRY_PLUS_ONE "nop\nadd w0, w0, #1\nret\n"
/* A landing pad that signs is replaced by another one and the jump: two instructions. */
#define ENTRY_STEPS "paciasp\nadd x0, x0, #1\nautiasp\nret\n"
#define ENTRY_READS "paciasp\nldr w0, [x0]\nautiasp\nret\n"
#define ENTRY_LINGERS \
    "paciasp\n1: ldr x2, [x0]\nadd x2, x2, #1\nstr x2, [x0]\nsubs w1, w1, #1\nb.ne 1b\nautiasp\nret\n"
#define ENTRY_ONE_STORE "nop\nadd x0, x0, #1\nret\n"
#define ENTRY_ONE_PLAIN "add x0, x0, #1\nret\n"
enum { ENTRY_STORES = 1, ENTRY_TRAPS = 0 };
#define ENTRY_TRAP "brk #0"

#define ENTRY_GUARDED "bti c\nadd w0, w0, #1\nret\n"
enum { ENTRY_PROT_GUARD = 0x10 }; /* PROT_BTI */

#define ENTRY_FRAME \
    "stp x29, x30, [sp, #-16]!\n.cfi_def_cfa_offset 16\n.cfi_offset 29, -16\n.cfi_offset 30, -8\n"
#define ENTRY_FRAME_END \
    "ldp x29, x30, [sp], #16\n.cfi_restore 29\n.cfi_restore 30\n.cfi_def_cfa_offset 0\nret\n"
#define ENTRY_EARLY_CALL(callee) ENTRY_FRAME "bl " callee "\nadd w0, w0, #5\n" ENTRY_FRAME_END
#define ENTRY_PUT_RIGHT(callee)  ENTRY_FRAME "bl " callee "\n" ENTRY_FRAME_END
/* No call can come first: where it would return to has to be kept. As early as can be, then. */
#define ENTRY_FIRST_CALL(through) ENTRY_FRAME "bl " through "\nadd w0, w0, #7\n" ENTRY_FRAME_END

#endif
