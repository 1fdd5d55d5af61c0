/* SPDX-License-Identifier: MIT
 *
 * Entries that are hard to overwrite: loops, data near the code, hot-patch entries, two bytes.
 */
#include "live.h"

#define FUNCTION(name, body) \
    ".text\n.p2align 4\n.globl " #name "\n.def " #name "; .scl 2; .type 32; .endef\n" #name ":\n" body

int in_a_loop(int rounds);
int far_data(void);
int of_two_bytes(void);
int hot_patch(void);
int behind_it(void);
__asm__(FUNCTION(in_a_loop, "1: decl %ecx\njnz 1b\nmovl $7, %eax\nret\nint3\nint3\nint3\nint3\nint3\nint3\n")
            FUNCTION(far_data, "movl far_data_value(%rip), %eax\nret\nint3\nint3\n")
                FUNCTION(of_two_bytes, "movb $9, %al\nret\n")
                    FUNCTION(hot_patch, ".byte 0x48, 0x8d, 0xa4, 0x24, 0, 0, 0, 0\nmovl $11, %eax\nret\n")
                        FUNCTION(behind_it,
                                 "movl $13, %eax\nret\n") ".data\nfar_data_value: .long 41\n.text\n");

static int forty(int rounds)
{
    return rounds + 40;
}

static int minus_one(void)
{
    return -1;
}

static void entries(void)
{
    struct live_world before;
    live_world_take(&before);
    CHECK_OK(redefine(in_a_loop, forty));
    CHECK_INT(in_a_loop(2), 42);
    CHECK_INT(redefine_original(in_a_loop)(100), 7);
    CHECK_OK(redefine(far_data, minus_one));
    CHECK_INT(far_data(), -1);
    CHECK_INT(redefine_original(far_data)(), 41);
    CHECK_OK(redefine(hot_patch, minus_one));
    CHECK_INT(hot_patch(), -1);
    CHECK_INT(redefine_original(hot_patch)(), 11);
    CHECK_OK(redefine(of_two_bytes, minus_one));
    CHECK_INT(of_two_bytes(), -1);
    CHECK_INT((char)redefine_original(of_two_bytes)(), 9);
    CHECK_INT(behind_it(), 13);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(in_a_loop(2), 7);
    CHECK_INT(hot_patch() + far_data() + behind_it(), 11 + 41 + 13);
    CHECK_WORLD(before);
}

static int without_room_called(void)
{
    return 99;
}

/* Three bytes with neighbours right beside: only a trap fits. */
int without_room(void);
__asm__(
    ".text\n.p2align 4\n.rept 200\nincl %eax\n.endr\nret\n"
    ".globl without_room\n.def without_room; .scl 2; .type 32; .endef\nwithout_room:\nxorl %eax, %eax\nret\n"
    ".globl beside\n.def beside; .scl 2; .type 32; .endef\nbeside:\nmovl $21, %eax\n.rept 200\nincl "
    "%eax\n.endr\nret\n");
int beside(void);

static void by_a_trap(void)
{
    CHECK_INT(beside(), 221);
    CHECK_OK(redefine(without_room, without_room_called));
    CHECK_INT(without_room(), 99);
    CHECK_INT(redefine_original(without_room)(), 0);
    CHECK_INT(beside(), 221);
    CHECK_OK(redefine_restore(without_room));
    CHECK_INT(without_room(), 0);
}

int main(int argc, char **argv)
{
    static const struct live_case cases[] = {
        {"loops, data near the code, hot-patch, two bytes", entries},
        {"a trap, where nothing else fits", by_a_trap},
    };
    return live_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
