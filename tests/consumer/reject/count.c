/* SPDX-License-Identifier: MIT
 *
 * Must not compile: one argument too few. */
#include <redefine/redefine.h>

int target(int value, int other);
int replacement(int value);

int main(void)
{
    return (int)redefine(target, replacement);
}
