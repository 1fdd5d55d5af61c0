/* SPDX-License-Identifier: MIT
 *
 * Must not compile: variadic against not variadic. */
#include <redefine/redefine.h>

int target(const char *format, ...);
int replacement(const char *format);

int main(void)
{
    return (int)redefine(target, replacement);
}
