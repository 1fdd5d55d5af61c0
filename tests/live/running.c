/* SPDX-License-Identifier: MIT
 *
 * A function that is redefined and restored while it is running on this very stack: by itself, by what it
 * calls, by its replacement, by a signal handler; with a return address in the bytes that are displaced.
 */
#include "live.h"

static int (*step)(int);

TARGET int running(int x)
{
    int inner = x > 0 ? step(x - 1) : 0;
    return inner * 10 + x;
}

static int shorter(int x)
{
    return -x;
}

static int redefines(int x)
{
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(shorter)));
    CHECK_INT(running(7), -7);
    return x;
}

static int restores(int x)
{
    CHECK_OK(redefine_func_restore(ADDRESS(running)));
    step = redefines;
    return x;
}

static int toggles(int x)
{
    for (int i = 0; i < 20; i++) {
        CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(shorter)));
        CHECK_INT(running(3), -3);
        CHECK_OK(redefine_func_restore(ADDRESS(running)));
        CHECK_INT(running(0), 0);
    }
    return x;
}

static void from_its_callee(void)
{
    step = redefines;
    CHECK_INT(running(3), 2 * 10 + 3);
    CHECK_INT(running(3), -3);
    CHECK_OK(redefine_func_restore(ADDRESS(running)));
    step = toggles;
    CHECK_INT(running(3), 23);
    CHECK_INT(running(3), 23);
    /* Its original is what runs when it is restored below it. */
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(shorter)));
    step = restores;
    CHECK_INT(((int (*)(int))redefine_func_original(ADDRESS(running)))(3), 23);
    CHECK_INT(running(3), 23);
    CHECK_INT(running(3), -3);
}

static int in_recursion(int x)
{
    if (x == 3)
        CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(shorter)));
    return running(x);
}

static void from_the_depth_of_a_recursion(void)
{
    step = in_recursion;
    CHECK_INT(running(6), ((-3 * 10 + 4) * 10 + 5) * 10 + 6);
    CHECK_INT(running(6), -6);
}

static int second(int x)
{
    return x + 5000;
}

static int replaces_itself(int x)
{
    int (*original)(int) = (int (*)(int))redefine_func_original(ADDRESS(running));
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(second)));
    CHECK_INT(running(1), 5001);
    step = shorter;
    return original(x);
}

static int restores_itself(int x)
{
    int (*original)(int) = (int (*)(int))redefine_func_original(ADDRESS(running));
    CHECK_OK(redefine_func_restore(ADDRESS(running)));
    step = shorter;
    CHECK_INT(running(2), -1 * 10 + 2);
    CHECK(redefine_func_original(ADDRESS(running)) == ADDRESS(running) ||
          (int (*)(int))redefine_func_original(ADDRESS(running)) == original);
    return original(x) + 1;
}

static void from_its_replacement(void)
{
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(replaces_itself)));
    CHECK_INT(running(3), -2 * 10 + 3);
    CHECK_INT(running(3), 5003);
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(restores_itself)));
    CHECK_INT(running(3), -2 * 10 + 4);
    CHECK_INT(running(3), -2 * 10 + 3);
}

static volatile int handled;

static void handler(int number)
{
    (void)number;
    handled = handled + 1;
    CHECK_INT(running(0), handled % 2 ? 0 : 5000);
}

static int raises(int x)
{
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(redefine_func(ADDRESS(running), ADDRESS(second)));
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_OK(redefine_func_restore(ADDRESS(running)));
    return x;
}

static void with_signals_between(void)
{
    CHECK(signal(SIGUSR1, handler) != SIG_ERR);
    step = raises;
    for (int i = 0; i < 10; i++)
        CHECK_INT(running(3), 23);
    CHECK_INT(handled, 20);
}

/* ---- by itself ---- */

TARGET int by_itself(int x)
{
    int sum = x;
    if (x > 0)
        CHECK_OK(redefine_func(ADDRESS(by_itself), ADDRESS(shorter)));
    if (x < 0)
        CHECK_OK(redefine_func_restore(ADDRESS(by_itself)));
    for (volatile int i = 0; i < 10; i = i + 1)
        sum += i;
    return sum;
}

static void from_its_own_body(void)
{
    for (int round = 0; round < 5; round++) {
        CHECK_INT(by_itself(3), 48);
        CHECK_INT(by_itself(3), -3);
        int (*original)(int) = (int (*)(int))redefine_func_original(ADDRESS(by_itself));
        CHECK_INT(original(0), 45);
        CHECK_INT(original(3), 48); /* which redefines it again, as it is */
        CHECK_INT(by_itself(3), -3);
        CHECK_INT(original(-3), 42); /* which restores it */
        CHECK_INT(by_itself(0), 45);
    }
}

#if defined(__x86_64__)
/* ---- with a return address in its first bytes ---- */

/* A call so early that a jump at the entry would lie where it returns to: whatever is done instead, a call
 * under way must come back. */
__asm__(".text\n.type narrow,@function\nnarrow:\n.cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\ncall *%rdi\npop %rbx\n.cfi_adjust_cfa_offset "
        "-8\nret\nnop\nnop\nnop\n"
        ".cfi_endproc\n.size narrow, .-narrow\n");
extern int narrow(int (*callback)(void));

static int callback(void)
{
    return 11;
}

static int other_narrow(int (*called)(void))
{
    return called() + 1;
}

static int under_way(void)
{
    CHECK_OK(redefine_func(ADDRESS(narrow), ADDRESS(other_narrow)));
    CHECK_INT(narrow(callback), 12);
    return 13;
}

static int under_way_again(void)
{
    CHECK_OK(redefine_func_restore(ADDRESS(narrow)));
    CHECK_INT(narrow(callback), 11);
    return 14;
}

static void returning_to_the_first_bytes(void)
{
    CHECK_INT(narrow(under_way), 13);
    CHECK_INT(narrow(callback), 12);
    CHECK_INT(((int (*)(int (*)(void)))redefine_func_original(ADDRESS(narrow)))(callback), 11);
    CHECK_INT(narrow(under_way_again), 15);
    CHECK_INT(narrow(callback), 11);
}
/* The same in a loop, whose branch leads back into them: what is left of the window behind the jump, or the
 * hop that lies there, may be where the call under way returns to. */
__asm__(".text\n.type looping,@function\nlooping:\n.cfi_startproc\n"
        "push %rbp\n.cfi_adjust_cfa_offset 8\nmov %rdi, %rbp\n1: call *%rbp\ntest %eax, %eax\njnz 1b\n"
        "lea 100(%rax), %eax\npop %rbp\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n"
        ".size looping, .-looping\n.fill 16, 1, 0xcc\n"
        /* the call is the second instruction of the loop, behind the entry jump */
        ".type looping_later,@function\nlooping_later:\n.cfi_startproc\n"
        "push %rbp\n.cfi_adjust_cfa_offset 8\nmov %rdi, %rbp\n1: xor %eax, %eax\ncall *%rbp\n"
        "test %eax, %eax\njnz 1b\n"
        "lea 100(%rax), %eax\npop %rbp\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n"
        ".size looping_later, .-looping_later\n.fill 16, 1, 0xcc\n");
extern int looping(int (*callback)(void));
extern int looping_later(int (*callback)(void));

static int (*loop)(int (*called)(void));
static int rounds_left;

static int next_round(void)
{
    return rounds_left-- > 0;
}

/* One round redefines it, the next restores it. */
static int changing_round(void)
{
    int left = rounds_left--;
    if (left % 2)
        CHECK_OK(redefine_func(ADDRESS(loop), ADDRESS(other_narrow)));
    else
        CHECK_OK(redefine_func_restore(ADDRESS(loop)));
    return left > 0;
}

static void returning_into_a_loop(void)
{
    static int (*const loops[])(int (*called)(void)) = {looping, looping_later};
    for (size_t i = 0; i < LIVE_COUNT(loops); i++) {
        loop = loops[i];
        rounds_left = 5;
        CHECK_INT(loop(next_round), 100);
        rounds_left = 21;
        CHECK_INT(loop(changing_round), 100);
        CHECK_INT(rounds_left, -1);
        CHECK_OK(redefine_func(ADDRESS(loop), ADDRESS(other_narrow)));
        rounds_left = 5;
        CHECK_INT(((int (*)(int (*)(void)))redefine_func_original(ADDRESS(loop)))(next_round), 100);
        CHECK_INT(rounds_left, -1);
        CHECK_INT(loop(callback), 12);
        CHECK_OK(redefine_func_restore(ADDRESS(loop)));
        /* Called through the original, which is then restored below it. */
        CHECK_OK(redefine_func(ADDRESS(loop), ADDRESS(other_narrow)));
        int (*original)(int (*called)(void)) = (int (*)(int (*)(void)))redefine_func_original(ADDRESS(loop));
        rounds_left = 20;
        CHECK_INT(original(changing_round), 100);
        rounds_left = 5;
        CHECK_INT(loop(next_round), 100);
    }
}
#else
static void returning_into_a_loop(void)
{
    live_skip("written for x86-64");
}

static void returning_to_the_first_bytes(void)
{
    live_skip("written for x86-64");
}
#endif

int main(void)
{
    static const struct live_case cases[] = {
        {"redefined and restored by itself", from_its_own_body, 0},
        {"redefined and restored from its callee", from_its_callee, 0},
        {"redefined in the depth of a recursion", from_the_depth_of_a_recursion, 0},
        {"redefined and restored from its replacement", from_its_replacement, 0},
        {"signal handlers call it meanwhile", with_signals_between, 0},
        {"a call in its first bytes comes back", returning_to_the_first_bytes, 0},
        {"a call in a loop into its first bytes comes back", returning_into_a_loop, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
