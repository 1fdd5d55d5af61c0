/* SPDX-License-Identifier: MIT
 *
 * The entries of short.c as x86-64 has them. Each CPU's file has `near_before` (the first byte of all),
 * `no_code`, `crowded1`, `call` and `cases`.
 */
#ifndef TESTS_LIVE_SHORT_CASES_H
#define TESTS_LIVE_SHORT_CASES_H

/* Every body leaves its argument alone in rdi and returns something in eax, or leaves eax as it was (`call`
 * below sets it to 7, so that bodies of one byte can be told). */
__asm__(".text\n" FUNCTION_MACROS ".balign 256\n"
        "fn no_code\n .fill 8, 1, 0x06\n end no_code\n"
        /* neighbours right behind each other, no padding anywhere within reach of a short jump */
        "fn near_before\n mov $100, %eax\n ret\n .fill 140, 1, 0x99\n end near_before\n"
        "fn crowded1\n ret\n end crowded1\n"
        "fn crowded2\n xchg %eax, %edi\n ret\n end crowded2\n"
        "fn crowded3\n mov %edi, %eax\n ret\n end crowded3\n"
        "fn crowded4\n lea (%rdi), %eax\n ret\n end crowded4\n"
        "fn near_behind\n mov $200, %eax\n ret\n .fill 140, 1, 0x99\n end near_behind\n"
        /* room for a long jump lies somewhere near */
        ".balign 64, 0xcc\n"
        "fn hop2\n xchg %eax, %edi\n ret\n end hop2\n"
        "fn hop_behind\n mov $300, %eax\n ret\n end hop_behind\n"
        ".balign 32, 0xcc\n"
        "fn padded1_nop\n ret\n end padded1_nop\n .fill 15, 1, 0x90\n"
        "fn padded3_int3\n mov %edi, %eax\n ret\n end padded3_int3\n .fill 13, 1, 0xcc\n"
        "fn padded4_long_nop\n lea (%rdi), %eax\n ret\n end padded4_long_nop\n"
        " .byte 0x66,0x0f,0x1f,0x44,0,0\n"
        "fn sled\n .fill 5, 1, 0x90\n mov %edi, %eax\n ret\n end sled\n"
        "fn sled_endbr\n endbr64\n .byte 0x0f,0x1f,0x44,0,0\n mov %edi, %eax\n ret\n end sled_endbr\n"
        "fn endbr_ret\n endbr64\n ret\n end endbr_ret\n"
        "fn endbr_ret_behind\n mov $400, %eax\n ret\n end endbr_ret_behind\n"
        /* the loop's head is the entry: eax = 7 + edi */
        "fn loop_near\n add $1, %eax\n dec %edi\n jnz loop_near\n ret\n end loop_near\n"
        "fn loop_into\n mov %edi, %ecx\n 1: add $1, %eax\n dec %ecx\n jnz 1b\n ret\n end loop_into\n"
        /* the loop's head is in the first bytes and a call is in the loop, which returns behind them */
        "fn loop_call\n push %rbx\n mov %rdi, %rbx\n 1: call 2f\n dec %ebx\n jnz 1b\n pop %rbx\n ret\n"
        "2: add $1, %eax\n ret\n end loop_call\n .fill 16, 1, 0xcc\n"
        /* a jump table that leads into the first bytes */
        "fn loop_table\n xor %edx, %edx\n 1: add $1, %eax\n dec %edi\n jz 2f\n jmp *3f(%rip)\n 2: ret\n"
        "end loop_table\n .fill 16, 1, 0xcc\n"
        ".section .data.rel.ro,\"aw\"\n.balign 8\n3: .quad 1b\n.text\n"
        /* the same: a hop lies behind the entry jump, or in padding */
        "fn loop_hop\n push %rbx\n mov %rdi, %rbx\n 1: add $1, %eax\n add $0, %eax\n call 2f\n dec %ebx\n"
        " jnz 1b\n pop %rbx\n ret\n 2: ret\n end loop_hop\n"
        "fn loop_hop_entry\n add $1, %eax\n add $0, %eax\n call 2f\n dec %edi\n jrcxz loop_hop_entry\n"
        " jnz loop_hop_entry\n ret\n 2: mov $1, %ecx\n ret\n end loop_hop_entry\n .fill 16, 1, 0xcc\n"
        "fn loop_many\n mov %edi, %ecx\n 1: add $1, %eax\n .fill 200, 1, 0x90\n dec %ecx\n jz 2f\n"
        " cmp $1, %ecx\n je 1b\n cmp $2, %ecx\n je 1b\n cmp $3, %ecx\n je 1b\n cmp $4, %ecx\n je 1b\n"
        " cmp $5, %ecx\n je 1b\n jmp 1b\n 2: ret\n end loop_many\n"
        /* position-independent tables: into the first bytes, and to the entry itself */
        "fn loop_offsets\n xor %edx, %edx\n 1: add $1, %eax\n dec %edi\n jz 2f\n lea 3f(%rip), %rdx\n"
        " movslq 4(%rdx), %rcx\n add %rdx, %rcx\n jmp *%rcx\n 2: ret\n end loop_offsets\n"
        ".fill 16, 1, 0xcc\n"
        ".section .rodata\n.balign 4\n3: .long 2b-3b, 1b-3b, 2b-3b\n.text\n"
        "fn entry_offsets\n add $1, %eax\n dec %edi\n jz 2f\n lea 3f(%rip), %rdx\n"
        " movslq 4(%rdx), %rcx\n add %rdx, %rcx\n jmp *%rcx\n 2: ret\n end entry_offsets\n"
        ".fill 16, 1, 0xcc\n"
        ".section .rodata\n.balign 4\n3: .long 2b-3b, entry_offsets-3b\n.text\n"
        "fn loop_far\n mov %edi, %ecx\n 1: add $1, %eax\n .fill 200, 1, 0x90\n dec %ecx\n jnz 1b\n ret\n"
        "end loop_far\n"
        "fn loop_far_entry\n add $1, %eax\n .fill 300, 1, 0x90\n dec %edi\n jnz loop_far_entry\n ret\n"
        "end loop_far_entry\n");

#define DECLARE(name) extern int ENTRY_ABI name(int);
DECLARE(no_code)
DECLARE(near_before)
DECLARE(crowded1)
DECLARE(crowded2)
DECLARE(crowded3)
DECLARE(crowded4)
DECLARE(near_behind)
DECLARE(hop2)
DECLARE(hop_behind)
DECLARE(padded1_nop)
DECLARE(padded3_int3)
DECLARE(padded4_long_nop)
DECLARE(sled)
DECLARE(sled_endbr)
DECLARE(endbr_ret)
DECLARE(endbr_ret_behind)
DECLARE(loop_near)
DECLARE(loop_into)
DECLARE(loop_call)
DECLARE(loop_table)
DECLARE(loop_hop)
DECLARE(loop_hop_entry)
DECLARE(loop_many)
DECLARE(loop_offsets)
DECLARE(entry_offsets)
DECLARE(loop_far)
DECLARE(loop_far_entry)

/* Calls with 7 in eax and `argument` in edi. */
__attribute__((noinline)) static int call(int(ENTRY_ABI *function)(int), int argument)
{
    int result = 7;
    __asm__ volatile("sub $128, %%rsp\n\tcall *%[function]\n\tadd $128, %%rsp"
                     : "+a"(result), "+D"(argument)
                     : [function] "r"(function)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

#define ENTRY_OF_A_TABLE entry_offsets

static const struct short_case cases[] = {
    {"one byte, crowded", crowded1, 7, "trap", crowded2, 5},
    {"two bytes, crowded", crowded2, 5, "trap", crowded3, 5},
    {"three bytes, crowded", crowded3, 5, "trap", crowded4, 5},
    {"four bytes, crowded", crowded4, 5, "trap", near_behind, 200},
    {"two bytes, room nearby", hop2, 5, "short jump into padding", hop_behind, 300},
    {"one byte, nops behind", padded1_nop, 7, "entry jump with its tail in padding", padded3_int3, 5},
    {"three bytes, int3 behind", padded3_int3, 5, "entry jump with its tail in padding", padded1_nop, 7},
    {"four bytes, a long nop behind", padded4_long_nop, 5, "entry jump with its tail in padding", sled, 5},
    {"a sled", sled, 5, "jump over a sled of no-operations", sled_endbr, 5},
    {"a sled behind endbr64", sled_endbr, 5, "jump over a sled of no-operations", sled, 5},
    {"endbr64 and ret, crowded", endbr_ret, 7, "entry jump", endbr_ret_behind, 400},
    {"a loop whose head is the entry", loop_near, 12, "entry jump", loop_into, 12},
    {"a loop into the first bytes", loop_into, 12, "entry jump", loop_near, 12},
    {"a loop over a call", loop_call, 12, "entry jump", loop_near, 12},
    {"a loop over a call farther down", loop_hop, 12, "entry jump", loop_near, 12},
    {"loops to the entry over a call", loop_hop_entry, 12, "entry jump", loop_near, 12},
    {"many loops into the first bytes", loop_many, 12, "entry jump", loop_near, 12},
    {"a loop through a table of offsets", loop_offsets, 12, "short jump into padding", loop_near, 12},
    {"a loop through a jump table", loop_table, 12, "short jump into padding", loop_near, 12},
    {"a loop into the first bytes from far", loop_far, 12, "entry jump", loop_near, 12},
    {"a loop to the entry from far", loop_far_entry, 12, "entry jump", loop_near, 12},
};

#endif
