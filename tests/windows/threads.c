/* SPDX-License-Identifier: MIT
 *
 * Threads call while others redefine and restore.
 */
#include "live.h"

TARGET int add(int a, int b)
{
    __asm__ volatile("");
    return a + b;
}

static int add_more(int a, int b)
{
    return redefine_original(add)(a, b) + 1000;
}

TARGET int twice(int a)
{
    __asm__ volatile("");
    return 2 * a;
}

static int twice_more(int a)
{
    return redefine_original(twice)(a) + 3000;
}

/* Its window is a loop and what follows it. */
int counted_down(int rounds);
__asm__(".text\n.p2align 4\n.globl counted_down\n.def counted_down; .scl 2; .type 32; .endef\ncounted_down:\n"
        "1: decl %ecx\njnz 1b\nmovl $7, %eax\nret\nint3\nint3\nint3\nint3\nint3\nint3\n");

static int forty_more(int rounds)
{
    return rounds + 40;
}

static volatile LONG stopping;
static volatile LONG64 calls, wrong;

static DWORD WINAPI caller(void *unused)
{
    (void)unused;
    while (!stopping) {
        int sum = add(20, 3);
        if (sum != 23 && sum != 1023)
            InterlockedIncrement64(&wrong);
        /* A function whose window is many instructions. */
        int value = counted_down(3);
        if (value != 7 && value != 43)
            InterlockedIncrement64(&wrong);
        InterlockedIncrement64(&calls);
    }
    return 0;
}

static void under_load(void)
{
    enum { CALLERS = 4, ROUNDS = 100 };
    struct live_world before;
    live_world_take(&before);
    HANDLE thread[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        thread[i] = CreateThread(NULL, 0, caller, NULL, 0, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(redefine(add, add_more));
        CHECK_OK(redefine(counted_down, forty_more));
        CHECK_OK(redefine_restore(add));
        CHECK_OK(redefine_restore(counted_down));
    }
    stopping = 1;
    WaitForMultipleObjects(CALLERS, thread, TRUE, INFINITE);
    CHECK_INT(wrong, 0);
    CHECK(calls > ROUNDS);
    printf("# %lld calls while %d redefinitions and as many restores\n", (long long)calls, 2 * ROUNDS);
    CHECK_WORLD(before);
}

static DWORD WINAPI changer(void *of_add)
{
    for (int i = 0; i < 100; i++) {
        if (of_add) {
            CHECK_OK(redefine(add, add_more));
            CHECK_OK(redefine_restore(add));
        } else {
            CHECK_OK(redefine(twice, twice_more));
            CHECK_OK(redefine_restore(twice));
        }
    }
    return 0;
}

static void two_change_at_once(void)
{
    HANDLE thread[2] = {CreateThread(NULL, 0, changer, ADDRESS(add), 0, NULL),
                        CreateThread(NULL, 0, changer, NULL, 0, NULL)};
    WaitForMultipleObjects(2, thread, TRUE, INFINITE);
    CHECK_INT(add(1, 2) + twice(2), 7);
}

int main(int argc, char **argv)
{
    static const struct live_case cases[] = {
        {"four threads call while one redefines and restores", under_load},
        {"two threads redefine at once", two_change_at_once},
    };
    return live_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
