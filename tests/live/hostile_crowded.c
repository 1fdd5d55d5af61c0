/* SPDX-License-Identifier: MIT
 *
 * The hostile entries again, without padding anywhere: what needs a short jump elsewhere gets a trap here.
 */
#ifndef CROWDED
#define CROWDED
#endif
#include "hostile.c"
