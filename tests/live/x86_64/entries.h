/* SPDX-License-Identifier: MIT
 *
 * Bodies of functions whose first bytes are hard to overwrite, as x86-64 has them. Each CPU's file has the
 * same names; what a body is for stands where it is used.
 */
#ifndef TESTS_LIVE_ENTRIES_H
#define TESTS_LIVE_ENTRIES_H

/* Of glibc's memcpy: its version, and the one before that, where there is one. */
#define ENTRY_MEMCPY_VERSION "GLIBC_2.14"
#define ENTRY_MEMCPY_FORMER  "GLIBC_2.2.5"

/* What the vDSO exports: clock_gettime, and the others. */
#define ENTRY_VDSO_CLOCK "[vdso]!__vdso_clock_gettime"
#define ENTRY_VDSO_OTHERS \
    "[vdso]!__vdso_time", "[vdso]!__vdso_gettimeofday", "[vdso]!__vdso_getcpu", "[vdso]!time"

#define ENTRY_PADDING ", 0xcc"

/* int (void) → 42; at least five bytes, the first instruction is as long as a jump */
#define ENTRY_LONG "movl $42, %eax\nnop\nnop\nnop\nret\n"
/* int (void) → 0; as few bytes as the CPU needs for that: three here */
#define ENTRY_SHORT "xorl %eax, %eax\nret\n"
/* int (int n) → n + 150; no padding for a short jump to find */
#define ENTRY_PLUS_150   "movl %edi, %eax\n.rept 150\nincl %eax\n.endr\nret\n"
#define ENTRY_JUMP(goal) "jmp " goal "\n"
/* int (int n) → 3 * (n + 1) */
#define ENTRY_GOAL "leal 1(%rdi), %eax\nimull $3, %eax, %eax\nret\n"
/* int (void) → the number, in at most 16 bytes */
#define ENTRY_NUMBER(number) "movl $" number ", %eax\nret\n"
/* int (void) → 12; begins ENTRY_STRADDLES_OFF bytes into a page: across its end, where the CPU allows that */
#define ENTRY_STRADDLES "movl $11, %eax\naddl $1, %eax\nret\n"
enum { ENTRY_STRADDLES_OFF = 4094 };
#define ENTRY_STRADDLES_SKIP ".skip 4093, 0xcc\nnop\n"

/* long (long n) → 3 * n + 1, all of them: */
/* One instruction of ten bytes: nobody can stand inside. */
#define ENTRY_ONE_LONG "movabsq $1, %rax\nleaq (%rdi,%rdi,2), %rcx\naddq %rcx, %rax\nret\n"
/* Twelve instructions of one byte: somebody stands at each of them. */
#define ENTRY_NOPS ".rept 12\nnop\n.endr\nleaq 1(%rdi,%rdi,2), %rax\nret\n"
/* Six bytes. */
#define ENTRY_SHORT_SUM "leaq 1(%rdi,%rdi,2), %rax\nret\n"
/* The entry is a loop's head (it counts in the upper half of its argument) … */
#define ENTRY_LOOP_TO_ENTRY(name) \
    "btcq $63, %rdi\njnc " name "\nbtrq $63, %rdi\nleaq 1(%rdi,%rdi,2), %rax\nret\n"
/* … what is right behind the jump is … */
#define ENTRY_LOOP_BEHIND "movl $3, %ecx\n1: decl %ecx\njnz 1b\nleaq 1(%rdi,%rdi,2), %rax\nret\n"
/* … and what the jump overwrites, other than its first byte. */
#define ENTRY_LOOP_INTO "movb $3, %cl\n1: nop\ndecb %cl\njnz 1b\nleaq 1(%rdi,%rdi,2), %rax\nret\n"
#define ENTRY_TRIPLE    "leaq (%rdi,%rdi,2), %rax\nret\n" /* 3 * n */
/* Begins with a call of what returns 3 * n. */
#define ENTRY_CALL(callee) "call " callee "\naddq $1, %rax\nret\n"
#define ENTRY_SHORT_FIRST  "nop\nnop\nnop\nleaq (%rdi,%rdi,2), %rax\naddq $1, %rax\nret\n"
/* A jump of as few bytes as there is, how it is redefined where padding is near, and where there is none:
 * between two of ENTRY_CROWD. */
#define ENTRY_SHORT_JUMP(goal)   "jmp " goal "\n"
#define ENTRY_SHORT_JUMP_NEAR    "short jump into padding"
#define ENTRY_SHORT_JUMP_CROWDED "trap"
#define ENTRY_CROWD              ".fill 140, 1, 0x99\nret\n"
/* How far the places are apart at which an instruction can start. */
enum { ENTRY_ALIGN = 1 };
#define ENTRY_ALIGN_TEXT "1"

/* int (int n) → n + 1, in at most 16 bytes */
#define ENTRY_PLUS_ONE "pushq %rbx\nmovl %edi, %ebx\nleal 1(%rbx), %eax\npopq %rbx\nret\n"
/* long (long n) → n + 1; the jump overwrites several instructions, so that a thread may stand between them */
#define ENTRY_STEPS "pushq %rdi\npopq %rax\nnop\nincq %rax\nret\n"
/* int (const int *p) → *p; the instruction that reads is not the first of those */
#define ENTRY_READS "xchgw %ax, %ax\nmovl (%rdi), %eax\nnop\nnop\nnop\nret\n"
/* void (unsigned long *sum, unsigned n): adds one to the sum n times, in a loop that leads into the
 * overwritten bytes */
#define ENTRY_LINGERS "nop\n1: incq (%rdi)\ndecl %esi\njnz 1b\nret\n"
/* long (long n) → n + 1; begins with one instruction that one store may exchange under running threads */
#define ENTRY_ONE_STORE "leaq 1(,%rdi,1), %rax\nret\n"
/* … and one that not on every CPU */
#define ENTRY_ONE_PLAIN "leaq 1(,%rdi,1), %rax\nret\n"
/* Whether there is one on this CPU, whether traps serve where threads cannot be stopped, and a trap. */
enum { ENTRY_STORES = 1, ENTRY_TRAPS = 1 };
#define ENTRY_TRAP "int3"

/* int (int n) → n + 1, in a page that mprotect can guard against jumps past landing pads; 0: none here is */
#define ENTRY_GUARDED "endbr64\nleal 1(%rdi), %eax\nret\n"
enum { ENTRY_PROT_GUARD = 0 };

/* int (int n), with unwind information: a call as near to the entry as an aligned stack allows, → its result
 * plus 5 … */
#define ENTRY_EARLY_CALL(callee)                                              \
    "pushq %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\ncall " callee \
    "\nmovl %eax, %ebx\naddl $5, %ebx\nmovl %ebx, %eax\npopq %rbx\n.cfi_def_cfa_offset 8\nret\n"
/* … and a call that is the very first instruction, → its result plus 7, through a function that puts right
 * what is not as a call wants it: the stack, 8 bytes off below it. */
#define ENTRY_PUT_RIGHT(callee) \
    "subq $16, %rsp\n.cfi_def_cfa_offset 24\ncall " callee "\naddq $16, %rsp\n.cfi_def_cfa_offset 8\nret\n"
#define ENTRY_FIRST_CALL(through) "call " through "\naddl $7, %eax\nret\n"

#endif
