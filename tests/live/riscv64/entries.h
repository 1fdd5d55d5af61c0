/* SPDX-License-Identifier: MIT
 *
 * Bodies of functions whose first bytes are hard to overwrite, as 64-bit RISC-V has them; see the other
 * CPUs'.
 */
#ifndef TESTS_LIVE_ENTRIES_H
#define TESTS_LIVE_ENTRIES_H

/* Of glibc's memcpy: its version, and the one before that, where there is one. */
#define ENTRY_MEMCPY_VERSION "GLIBC_2.27"
#define ENTRY_MEMCPY_FORMER  "GLIBC_2.27"

#define ENTRY_VDSO_CLOCK  "[vdso]!__vdso_clock_gettime"
#define ENTRY_VDSO_OTHERS "[vdso]!__vdso_gettimeofday", "[vdso]!__vdso_getcpu"

#define ENTRY_PADDING ""

#define ENTRY_LONG           ".option push\n.option norvc\nli a0, 42\nnop\nret\n.option pop\n"
#define ENTRY_SHORT          "li a0, 0\nret\n"
#define ENTRY_PLUS_150       ".rept 150\naddiw a0, a0, 1\n.endr\nret\n"
#define ENTRY_JUMP(goal)     "tail " goal "\n"
#define ENTRY_GOAL           "addiw a0, a0, 1\nslliw a1, a0, 1\naddw a0, a0, a1\nret\n"
#define ENTRY_NUMBER(number) "li a0, " number "\nret\n"
#define ENTRY_STRADDLES      "li a0, 11\naddi a0, a0, 1\nret\n"
enum { ENTRY_STRADDLES_OFF = 4094 };
#define ENTRY_STRADDLES_SKIP ".skip 4092\nc.nop\n"

#define ENTRY_ONE_LONG  "1: auipc t4, 0\naddi t4, t4, 8\n" ENTRY_SHORT_SUM
#define ENTRY_NOPS      ".rept 12\nc.nop\n.endr\n" ENTRY_SHORT_SUM
#define ENTRY_SHORT_SUM "slli a1, a0, 1\nadd a0, a0, a1\naddi a0, a0, 1\nret\n"
#define ENTRY_LOOP_TO_ENTRY(name) \
    "li a1, 1\nslli a1, a1, 63\nxor a0, a0, a1\nbltz a0, " name "\n" ENTRY_SHORT_SUM
#define ENTRY_LOOP_BEHIND "li a2, 3\nnop\nnop\nnop\n1: addi a2, a2, -1\nbnez a2, 1b\n" ENTRY_SHORT_SUM
#define ENTRY_LOOP_INTO   "li a2, 3\n1: nop\naddi a2, a2, -1\nbnez a2, 1b\n" ENTRY_SHORT_SUM
#define ENTRY_TRIPLE      "slli a1, a0, 1\nadd a0, a0, a1\nret\n"
/* a3: the callee leaves it alone, as its text shows. */
#define ENTRY_CALL(callee)       "mv a3, ra\ncall " callee "\naddi a0, a0, 1\njr a3\n"
#define ENTRY_SHORT_FIRST        "c.nop\nc.nop\nc.nop\n" ENTRY_SHORT_SUM
#define ENTRY_SHORT_JUMP(goal)   "c.j " goal "\n"
#define ENTRY_SHORT_JUMP_NEAR    "short jump into padding"
#define ENTRY_SHORT_JUMP_CROWDED "trap"
#define ENTRY_CROWD              ".rept 1100\nc.addi a0, 1\n.endr\nret\n"
enum { ENTRY_ALIGN = 2 };
#define ENTRY_ALIGN_TEXT "2"

#define ENTRY_PLUS_ONE "c.nop\nc.nop\nc.nop\naddiw a0, a0, 1\nret\n"
#define ENTRY_STEPS    "c.nop\nc.nop\nc.nop\nc.addi a0, 1\nret\n"
#define ENTRY_READS    "c.nop\nlw a0, 0(a0)\nc.nop\nret\n"
#define ENTRY_LINGERS \
    "c.nop\n1: ld a2, 0(a0)\naddi a2, a2, 1\nsd a2, 0(a0)\naddiw a1, a1, -1\nbnez a1, 1b\nret\n"
#define ENTRY_ONE_STORE "nop\naddi a0, a0, 1\nret\n"
#define ENTRY_ONE_PLAIN "addi a0, a0, 1\nnop\nret\n"
enum { ENTRY_STORES = 0, ENTRY_TRAPS = 0 };
#define ENTRY_TRAP "c.ebreak"

#define ENTRY_GUARDED "nop\nnop\naddiw a0, a0, 1\nret\n"
enum { ENTRY_PROT_GUARD = 0 };

#define ENTRY_FRAME              "addi sp, sp, -16\n.cfi_def_cfa_offset 16\nsd ra, 8(sp)\n.cfi_offset 1, -8\n"
#define ENTRY_FRAME_END          "ld ra, 8(sp)\n.cfi_restore 1\naddi sp, sp, 16\n.cfi_def_cfa_offset 0\nret\n"
#define ENTRY_EARLY_CALL(callee) ENTRY_FRAME "call " callee "\naddiw a0, a0, 5\n" ENTRY_FRAME_END
#define ENTRY_PUT_RIGHT(callee)  ENTRY_FRAME "call " callee "\n" ENTRY_FRAME_END
/* No call can come first: where it would return to has to be kept. As early as can be, then. */
#define ENTRY_FIRST_CALL(through) ENTRY_FRAME "call " through "\naddiw a0, a0, 7\n" ENTRY_FRAME_END

#endif
