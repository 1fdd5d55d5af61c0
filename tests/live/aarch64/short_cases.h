/* SPDX-License-Identifier: MIT
 *
 * The entries of short.c as 64-bit Arm has them. Each CPU's file has `near_before` (the first byte of all),
 * `no_code`, `crowded1`, `call` and `cases`.
 */
#ifndef TESTS_LIVE_SHORT_CASES_H
#define TESTS_LIVE_SHORT_CASES_H

/* Every body returns something in w0 that depends on w0 alone. */
__asm__(".text\n" FUNCTION_MACROS ".balign 256\n"
        "fn near_before\n mov w0, #100\n ret\n end near_before\n"
        "fn no_code\n .fill 2, 4, 0x02000000\n end no_code\n"
        "fn crowded1\n ret\n end crowded1\n"
        "fn crowded2\n b near_before\n end crowded2\n"
        "fn crowded3\n bti c\n ret\n end crowded3\n"
        "fn sled\n nop\n nop\n add w0, w0, #2\n ret\n end sled\n"
        "fn sled_bti\n bti c\n nop\n nop\n add w0, w0, #3\n ret\n end sled_bti\n"
        "fn signed_pad\n paciasp\n stp x29, x30, [sp, #-16]!\n mov x29, sp\n add w0, w0, #4\n"
        " ldp x29, x30, [sp], #16\n autiasp\n ret\n end signed_pad\n"
        "fn signed_only\n paciasp\n autiasp\n ret\n end signed_only\n"
        "fn loop_to_entry\n sub w0, w0, #3\n cmp w0, #0\n b.gt loop_to_entry\n ret\n end loop_to_entry\n"
        "fn loop_into\n mov w1, #3\n 1: add w0, w0, #1\n sub w1, w1, #1\n cbnz w1, 1b\n ret\n end loop_into\n"
        "fn loop_far\n sub w0, w0, #3\n .fill 300, 4, 0xd503201f\n tbnz w0, #31, 1f\n b loop_far\n 1: ret\n"
        "end loop_far\n"
        "fn reads_behind\n ldr w0, 1f\n ret\n 1: .word 77\n end reads_behind\n"
        "fn where\n adr x0, 1f\n ldr w0, [x0]\n ret\n 1: .word 78\n end where\n"
        "fn tests_bit\n tbnz w0, #0, 1f\n mov w0, #20\n ret\n 1: mov w0, #21\n ret\n end tests_bit\n"
        "fn compares\n cbz w0, 1f\n mov w0, #22\n ret\n 1: mov w0, #23\n ret\n end compares\n"
        "fn jumps\n b 1f\n mov w0, #24\n ret\n 1: mov w0, #25\n ret\n end jumps\n"
        ".purgem fn\n.purgem end\n");

#define DECLARE(name) extern int ENTRY_ABI name(int);
DECLARE(near_before)
DECLARE(no_code)
DECLARE(crowded1)
DECLARE(crowded2)
DECLARE(crowded3)
DECLARE(sled)
DECLARE(sled_bti)
DECLARE(signed_pad)
DECLARE(signed_only)
DECLARE(loop_to_entry)
DECLARE(loop_into)
DECLARE(loop_far)
DECLARE(reads_behind)
DECLARE(where)
DECLARE(tests_bit)
DECLARE(compares)
DECLARE(jumps)

static int call(int(ENTRY_ABI *function)(int), int argument)
{
    return function(argument);
}

static const struct short_case cases[] = {
    {"one instruction, crowded", crowded1, 5, "entry jump", crowded2, 100},
    {"one jump, crowded", crowded2, 100, "entry jump", crowded1, 5},
    {"a landing pad and one instruction", crowded3, 5, "entry jump", crowded2, 100},
    {"a sled", sled, 7, "jump over a sled of no-operations", sled_bti, 8},
    {"a sled behind a landing pad", sled_bti, 8, "jump over a sled of no-operations", sled, 7},
    {"a landing pad that signs", signed_pad, 9, "entry jump", signed_only, 5},
    {"a landing pad that signs, and the return", signed_only, 5, "entry jump", signed_pad, 9},
    {"a loop whose head is the entry", loop_to_entry, -1, "entry jump", loop_into, 8},
    {"a loop to behind the entry", loop_into, 8, "entry jump", loop_far, -1},
    {"a loop to the entry from far", loop_far, -1, "entry jump", loop_into, 8},
    {"ldr of a literal", reads_behind, 77, "entry jump", where, 78},
    {"adr", where, 78, "entry jump", reads_behind, 77},
    {"tbnz", tests_bit, 21, "entry jump", compares, 22},
    {"cbz", compares, 22, "entry jump", jumps, 25},
    {"b", jumps, 25, "entry jump", compares, 22},
};

#endif
