/* SPDX-License-Identifier: MIT
 *
 * A program that has never heard of redefine: says what time it is, in UTC. */
#include <stdio.h>
#include <time.h>

int main(void)
{
    long seconds = (long)(time(NULL) % 86400);
    printf("%02ld:%02ld\n", seconds / 3600, seconds / 60 % 60);
    return 0;
}
