/* SPDX-License-Identifier: MIT
 *
 * Must not compile: an argument of another type. */
#include <redefine/redefine.h>

int target(int value);
int replacement(long value);

int main(void)
{
    return (int)redefine(target, replacement);
}
