/* SPDX-License-Identifier: MIT
 *
 * For gdb.sh: main calls outer calls target, which is redefined; the replacement calls the original, and that
 * calls inner.
 */
#include <redefine/redefine.h>

#include <stdio.h>
#include <string.h>

#define TARGET __attribute__((noipa))

void *trampoline; /* where the debugger shall stop, too */

TARGET int inner(int value)
{
    __asm__ volatile("" : "+r"(value));
    return value;
}

TARGET int target(int value)
{
    int kept = inner(value + 1);
    __asm__ volatile("" : "+r"(kept));
    return kept + 1;
}

TARGET int replacement(int value)
{
    int kept = redefine_original(target)(value);
    __asm__ volatile("" : "+r"(kept));
    return kept + 100;
}

TARGET int outer(int value)
{
    int kept = target(value);
    __asm__ volatile("" : "+r"(kept));
    return kept;
}

TARGET void ready(void)
{
    __asm__ volatile("");
}

int main(void)
{
    if (redefine(target, replacement) != REDEFINE_OK) {
        printf("refused: %s\n", redefine_explain());
        ready();
        printf("result %d\n", outer(1));
        return outer(1) == 3 ? 0 : 1;
    }
    trampoline = redefine_func_original((void *)(uintptr_t)target);
    ready();
    int result = outer(1);
    printf("result %d\n", result);
    return result == 103 && redefine_restore(target) == REDEFINE_OK && outer(1) == 3 ? 0 : 1;
}
