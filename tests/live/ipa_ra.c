/* SPDX-License-Identifier: MIT
 *
 * Callers that rely on what the compiler saw of a function (gcc -fipa-ra): compiled with -O2, with a naive
 * jump and with redefine. A replacement changes every register that a call may change, and wants its stack
 * aligned.
 */
#include "live.h"

#include <redefine/redefine.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CHANGE_ALL                                                                                       \
    __asm__ volatile("mov $-1, %%rcx; mov %%rcx, %%rdx; mov %%rcx, %%rsi; mov %%rcx, %%rdi;"             \
                     "mov %%rcx, %%r8; mov %%rcx, %%r9; mov %%rcx, %%r10; mov %%rcx, %%r11;"             \
                     "pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1; pcmpeqd %%xmm2, %%xmm2;"           \
                     "pcmpeqd %%xmm3, %%xmm3; pcmpeqd %%xmm4, %%xmm4; pcmpeqd %%xmm5, %%xmm5;"           \
                     "pcmpeqd %%xmm6, %%xmm6; pcmpeqd %%xmm7, %%xmm7" ::                                 \
                         : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", \
                           "xmm3", "xmm4", "xmm5", "xmm6", "xmm7")
enum { CAN_NAIVELY = 1 };
#elif defined(__riscv)
#define CHANGE_ALL                                                                                       \
    __asm__ volatile("li a1, -1; mv a2, a1; mv a3, a1; mv a4, a1; mv a5, a1; mv a6, a1; mv a7, a1;"      \
                     "mv t0, a1; mv t1, a1; mv t2, a1; mv t3, a1; mv t4, a1; mv t5, a1; mv t6, a1;"      \
                     "fmv.d.x fa1, zero; fmv.d.x fa2, zero; fmv.d.x ft0, zero; fmv.d.x fa5, zero" ::     \
                         : "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "t4", "t5", \
                           "t6", "fa1", "fa2", "ft0", "fa5")
enum { CAN_NAIVELY = 0 };
#else
#define CHANGE_ALL                                                                                         \
    __asm__ volatile("mov x1, -1; mov x2, x1; mov x3, x1; mov x4, x1; mov x5, x1; mov x6, x1; mov x7, x1;" \
                     "movi v1.2d, 0; movi v2.2d, 0; movi v3.2d, 0" ::                                      \
                         : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "v1", "v2", "v3")
enum { CAN_NAIVELY = 0 };
#endif

#define APART  __attribute__((noinline, noclone, optimize("O2")))
#define CALLER __attribute__((noinline, noclone, optimize("O2")))

static volatile long total;
static volatile int is_unaligned;

static long twice(long x) __asm__("ipa_ra_twice");
APART static long twice(long x)
{
    return x + x;
}
APART static void count(void)
{
    total++;
}
APART static double doubled(double x)
{
    return x + x;
}
/* Two calls down: what its own caller keeps goes through it. */
APART static long twice_and_one(long x)
{
    return twice(x) + 1;
}

/* Two of its arguments lie on the stack. */
APART static long eight(long a, long b, long c, long d, long e, long f, long g, long h)
{
    return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8;
}
CALLER static long keeps_with_stack(long n, long g, long h)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += eight(i, i, i, i, i, i, g, h);
    return sum;
}

CALLER static long keeps_integers(long n, long k)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += twice(i) ^ k;
    return sum;
}
CALLER static long keeps_arguments(long a, long b, long c)
{
    count();
    return a * b + c;
}
/* gcc 12 relies on nothing on riscv64. By hand, as it would: in t1, too, which jumps use. */
#if defined(__riscv)
long keeps_by_hand(long a, long b);
__asm__(".text\n.p2align 2\n.globl keeps_by_hand\n.type keeps_by_hand, @function\n"
        "keeps_by_hand:\n"
        "addi sp, sp, -16\nsd ra, 8(sp)\n"
        "mv t1, a1\nmv a5, a1\nmv t4, a1\nfmv.d.x ft0, a1\n"
        "call ipa_ra_twice\n"
        "add a0, a0, t1\nadd a0, a0, a5\nadd a0, a0, t4\nfmv.x.d a1, ft0\nadd a0, a0, a1\n"
        "ld ra, 8(sp)\naddi sp, sp, 16\nret\n"
        ".size keeps_by_hand, .-keeps_by_hand\n");
#else
CALLER static long keeps_by_hand(long a, long b)
{
    return twice(a) + 4 * b;
}
#endif
CALLER static double keeps_a_double(double a, double b)
{
    return doubled(a) * b;
}
CALLER static long keeps_through(long a, long b)
{
    return twice_and_one(a) * b;
}

/* ---- The replacements ---- */

static void note_alignment(void)
{
    char place __attribute__((aligned(16)));
    char *volatile at = &place;
    is_unaligned |= ((uintptr_t)__builtin_frame_address(0) & 15) != 0 || ((uintptr_t)at & 15) != 0;
}
__attribute__((noinline)) static long my_twice(long x)
{
    long result = x * 2;
    note_alignment();
    CHANGE_ALL;
    return result;
}
__attribute__((noinline)) static void my_count(void)
{
    total += 100;
    note_alignment();
    CHANGE_ALL;
}
__attribute__((noinline)) static long my_eight(long a, long b, long c, long d, long e, long f, long g, long h)
{
    long volatile result = redefine_original(eight)(a, b, c, d, e, f, g, h);
    note_alignment();
    CHANGE_ALL;
    return result;
}
__attribute__((noinline)) static long my_other_twice(long x)
{
    return my_twice(x);
}
__attribute__((noinline)) static double my_doubled(double x)
{
    double volatile result = x * 2;
    note_alignment();
    CHANGE_ALL;
    return result;
}

/* ---- The two ways ---- */

static int all_right(void)
{
    long expected = 0;
    for (long i = 0; i < 50; i++)
        expected += (2 * i) ^ 12345;
    is_unaligned = 0;
    long integers = keeps_integers(50, 12345), arguments = keeps_arguments(3, 5, 7);
    double real = keeps_a_double(1.5, 4);
    long through = keeps_through(21, 1000), stack = keeps_with_stack(3, 100, 1000);
    long by_hand = keeps_by_hand(3, 1000);
    if (integers != expected || arguments != 22 || real != 12 || through != 43000 || stack != 26163 ||
        by_hand != 4006 || is_unaligned)
        printf("# %ld (%ld), %ld (22), %g (12), %ld (43000), %ld (26163), %ld (4006)%s\n", integers, expected,
               arguments, real, through, stack, by_hand, is_unaligned ? ", the stack was not aligned" : "");
    return integers == expected && arguments == 22 && real == 12 && through == 43000 && stack == 26163 &&
           by_hand == 4006 && !is_unaligned;
}

/* What many tools do: a jump over the first bytes, and that is all. */
static void jump_naively(void *target, void *replacement)
{
    uint8_t *at = target;
    long page = sysconf(_SC_PAGESIZE);
    int32_t distance = (int32_t)((uintptr_t)replacement - (uintptr_t)at - 5);
    (void)mprotect((void *)((uintptr_t)at & -(uintptr_t)page), 2 * (size_t)page,
                   PROT_READ | PROT_WRITE | PROT_EXEC);
    if (memcmp(at, "\xf3\x0f\x1e\xfa", 4) == 0) {
        at += 4;
        distance -= 4;
    }
    at[0] = 0xe9;
    memcpy(at + 1, &distance, 4);
}

/* In a child: 0 all right, 1 wrong results, 2 a crash or no end. */
static int naively(void)
{
    fflush(stdout);
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        alarm(2); /* a loop whose counter is gone may never end */
        jump_naively((void *)(uintptr_t)twice, (void *)(uintptr_t)my_twice);
        jump_naively((void *)(uintptr_t)count, (void *)(uintptr_t)my_count);
        jump_naively((void *)(uintptr_t)doubled, (void *)(uintptr_t)my_doubled);
        int right = all_right();
        fflush(stdout);
        _exit(!right);
    }
    (void)waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 2 : WEXITSTATUS(status);
}

int main(void)
{
    int number = 0, failed = 0;
#define RESULT(condition, name)                                        \
    do {                                                               \
        int is_ok = (condition);                                       \
        failed |= !is_ok;                                              \
        printf("%sok %d - %s\n", is_ok ? "" : "not ", ++number, name); \
    } while (0)

    RESULT(all_right(), "unchanged");
    if (!CAN_NAIVELY)
        printf("ok %d - a naive jump # SKIP it is written for x86-64\n", ++number);
    else if (!__builtin_strcmp(__VERSION__, "") || strstr(__VERSION__, "lang"))
        printf("ok %d - a naive jump # SKIP clang relies on no more than the ABI\n", ++number);
    else
        RESULT(naively() != 0, "a naive jump breaks the callers");
    int ok = redefine(twice, my_twice) == REDEFINE_OK && redefine(count, my_count) == REDEFINE_OK &&
             redefine(doubled, my_doubled) == REDEFINE_OK && redefine(eight, my_eight) == REDEFINE_OK;
    if (!ok)
        printf("# %s\n", redefine_explain());
    RESULT(ok, "all of them can be redefined");
    long before = total;
    RESULT(all_right(), "the callers find what they kept");
    RESULT(total == before + 100, "the replacement was called");
    RESULT(redefine_original(twice)(4) == 8, "the original can be called");
    RESULT(redefine(twice, my_other_twice) == REDEFINE_OK && all_right(),
           "another replacement, the same frame");
    before = total;
    redefine_original(count)();
    RESULT(total == before + 1, "… the one that sets nothing, too");
    RESULT(redefine_restore_all() == REDEFINE_OK && all_right(), "restored");
    printf("1..%d\n", number);
    return failed;
}
