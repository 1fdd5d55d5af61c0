/* SPDX-License-Identifier: MIT */
#ifndef TESTS_COVERAGE_COVER_H
#define TESTS_COVERAGE_COVER_H

#include <stdbool.h>

/* Try every exported function of a library, or (null) of the program itself, and print the table under
 * `title`. False when anything was wrong. */
bool cover(const char *object, const char *title, bool tell_refused);

#endif
