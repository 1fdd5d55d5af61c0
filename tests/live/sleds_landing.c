/* SPDX-License-Identifier: MIT
 *
 * The sleds again, behind landing pads: the pad stays the first instruction that runs.
 */
#define LANDING
#include "sleds.c"
