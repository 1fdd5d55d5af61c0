/* SPDX-License-Identifier: MIT
 *
 * Must not compile: another type of result. */
#include <redefine/redefine.h>

int target(int value);
void replacement(int value);

int main(void)
{
    return (int)redefine(target, replacement);
}
