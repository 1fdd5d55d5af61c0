/* SPDX-License-Identifier: MIT
 *
 * Preloaded into a program by coverage.c: tries the program's own functions before it begins, and ends it.
 */
#include "cover.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void cover_program(void)
{
    _exit(cover(NULL, program_invocation_short_name, getenv("COVERAGE_REFUSED") != NULL) ? 0 : 1);
}
