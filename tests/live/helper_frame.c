/* SPDX-License-Identifier: MIT
 *
 * For gdb.sh: main calls outer calls keeps calls twice, which is redefined; keeps relies on what it knows of
 * twice (gcc -fipa-ra), so that a frame lies between it and the replacement.
 */
#include <redefine/redefine.h>

#include <stdio.h>

#define APART __attribute__((noinline, noclone, optimize("O2")))

APART static long twice(long x)
{
    return x + x;
}

__attribute__((noipa)) static void inner(void)
{
    __asm__ volatile("");
}

__attribute__((noipa)) static long replacement(long x)
{
    inner();
    return x * 2 + 100;
}

APART static long keeps(long a, long b, long c)
{
    return twice(a) * b + c;
}

__attribute__((noipa)) static long outer(long a, long b, long c)
{
    long result = keeps(a, b, c);
    __asm__ volatile("" : "+r"(result));
    return result;
}

int main(void)
{
    if (redefine(twice, replacement) != REDEFINE_OK) {
        printf("refused: %s\n", redefine_explain());
        return 1;
    }
    printf("result %ld\n", outer(3, 5, 7));
    return outer(3, 5, 7) == 537 ? 0 : 1;
}
