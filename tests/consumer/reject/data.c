/* SPDX-License-Identifier: MIT
 *
 * Must not compile: a variable is not a function. */
#include <redefine/redefine.h>

extern int target;
int replacement(int value);

int main(void)
{
    return (int)redefine(target, replacement);
}
