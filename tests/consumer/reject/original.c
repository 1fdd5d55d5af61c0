/* SPDX-License-Identifier: MIT
 *
 * Must not compile: the original called with what target does not take. */
#include <redefine/redefine.h>

int target(int value);

int main(void)
{
    return redefine_original(target)(1, 2);
}
