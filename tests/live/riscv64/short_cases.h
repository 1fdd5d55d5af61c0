/* SPDX-License-Identifier: MIT
 *
 * The entries of short.c as 64-bit RISC-V has them; see the other CPUs'.
 */
#ifndef TESTS_LIVE_SHORT_CASES_H
#define TESTS_LIVE_SHORT_CASES_H

/* Every body returns something in a0 that depends on a0 alone. Unrelaxed: bytes are what they say. */
__asm__(".text\n.option push\n.option norelax\n" FUNCTION_MACROS ".balign 256\n"
        "fn near_before\n li a0, 100\n ret\n .fill 1200, 2, 0x8082\n end near_before\n"
        "fn no_code\n .fill 4, 2, 0\n end no_code\n"
        "fn crowded1\n ret\n end crowded1\n"
        "fn crowded2\n addi a0, a0, 1\n ret\n end crowded2\n"
        "fn crowded3\n .option push\n .option norvc\n addi a0, a0, 2\n .option pop\n ret\n end crowded3\n"
        "fn near_behind\n li a0, 15\n ret\n .fill 1200, 2, 0x8082\n end near_behind\n"
        "fn hop2\n addi a0, a0, 3\n ret\n end hop2\n"
        "fn hop_behind\n li a0, 16\n ret\n end hop_behind\n"
        " .fill 8, 2, 0x0001\n"
        "fn padded\n addi a0, a0, 4\n ret\n end padded\n .fill 8, 2, 0x0001\n"
        "fn sled\n nop\n nop\n nop\n nop\n addi a0, a0, 5\n ret\n end sled\n"
        "fn sled_lpad\n .word 0x00000017\n nop\n nop\n nop\n nop\n addi a0, a0, 6\n ret\n end sled_lpad\n"
        "fn loop_to_entry\n addiw a0, a0, -3\n bgtz a0, loop_to_entry\n nop\n nop\n ret\n"
        "end loop_to_entry\n"
        "fn loop_into\n li a1, 3\n 1: addiw a0, a0, 1\n addi a1, a1, -1\n bnez a1, 1b\n ret\n nop\n"
        "end loop_into\n"
        "fn pair\n 1: auipc a1, %pcrel_hi(2f)\n nop\n lw a0, %pcrel_lo(1b)(a1)\n ret\n 2: .word 77\n"
        "end pair\n"
        "fn pair_split\n nop\n nop\n 1: auipc a1, %pcrel_hi(2f)\n lw a0, %pcrel_lo(1b)(a1)\n ret\n"
        "2: .word 78\n"
        "end pair_split\n"
        "fn tail\n 1: auipc t1, %pcrel_hi(near_behind)\n jr %pcrel_lo(1b)(t1)\n end tail\n"
        "fn compares\n beqz a0, 1f\n nop\n nop\n nop\n li a0, 22\n ret\n 1: li a0, 23\n ret\n"
        "end compares\n"
        "fn compares_two\n .option push\n .option norvc\n blt zero, a0, 1f\n nop\n .option pop\n"
        "li a0, 24\n ret\n"
        " 1: li a0, 25\n ret\n end compares_two\n"
        "fn jumps\n j 1f\n nop\n nop\n nop\n li a0, 26\n ret\n 1: li a0, 27\n ret\n end jumps\n"
        "fn saves\n addi sp, sp, -16\n sd ra, 8(sp)\n .word 0x00000013\n call near_behind\n ld ra, 8(sp)\n"
        " addi sp, sp, 16\n addi a0, a0, 1\n ret\n end saves\n"
        "fn temps\n li t1, 1\n li t4, 2\n add a0, a0, t1\n add a0, a0, t4\n add a0, a0, t1\n ret\n"
        "end temps\n"
        ".purgem fn\n.purgem end\n.option pop\n");

#define DECLARE(name) extern int ENTRY_ABI name(int);
DECLARE(near_before)
DECLARE(no_code)
DECLARE(crowded1)
DECLARE(crowded2)
DECLARE(crowded3)
DECLARE(near_behind)
DECLARE(hop2)
DECLARE(hop_behind)
DECLARE(padded)
DECLARE(sled)
DECLARE(sled_lpad)
DECLARE(loop_to_entry)
DECLARE(loop_into)
DECLARE(pair)
DECLARE(pair_split)
DECLARE(tail)
DECLARE(compares)
DECLARE(compares_two)
DECLARE(jumps)
DECLARE(saves)
DECLARE(temps)

static int call(int(ENTRY_ABI *function)(int), int argument)
{
    return function(argument);
}

static const struct short_case cases[] = {
    {"two bytes, crowded", crowded1, 5, "trap", crowded2, 6},
    {"four bytes, crowded", crowded2, 6, "trap", crowded3, 7},
    {"six bytes, crowded, a long one first", crowded3, 7, "trap", crowded2, 6},
    {"four bytes, room nearby", hop2, 8, "short jump into padding", hop_behind, 16},
    {"four bytes, nops behind", padded, 9, "entry jump with its tail in padding", sled, 10},
    {"a sled", sled, 10, "jump over a sled of no-operations", padded, 9},
    {"a sled behind a landing pad", sled_lpad, 11, "jump over a sled of no-operations", sled, 10},
    {"a loop whose head is the entry", loop_to_entry, -1, "entry jump", loop_into, 8},
    {"a loop to behind the entry", loop_into, 8, "entry jump", loop_to_entry, -1},
    {"auipc and a load, both displaced", pair, 77, "entry jump", pair_split, 78},
    {"auipc, and its load behind the window", pair_split, 78, "entry jump", pair, 77},
    {"a tail call", tail, 15, "entry jump", compares, 22},
    {"c.beqz", compares, 22, "entry jump", jumps, 27},
    {"blt", compares_two, 25, "entry jump", jumps, 27},
    {"c.j", jumps, 27, "entry jump", compares, 22},
    {"a call behind a frame", saves, 16, "entry jump", jumps, 27},
    {"temporaries that the window uses", temps, 9, "entry jump", jumps, 27},
};

#endif
