/* SPDX-License-Identifier: MIT
 *
 * Must not compile: a scope with another type. */
#include <redefine/redefine.h>

int target(int value);
int replacement(char value);

int main(void)
{
    REDEFINE_SCOPED(target, replacement);
    return 0;
}
