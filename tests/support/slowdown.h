/* SPDX-License-Identifier: MIT
 *
 * How many times slower than a machine of its own the tests are told to take this one for: limits of time
 * grow with it. TEST_SLOWDOWN in the environment (tools/guest.sh); else 1.
 */
#ifndef TESTS_SUPPORT_SLOWDOWN_H
#define TESTS_SUPPORT_SLOWDOWN_H

#include <stdlib.h>

static inline unsigned test_slowdown(void)
{
    const char *asked = getenv("TEST_SLOWDOWN");
    unsigned long times = asked ? strtoul(asked, NULL, 10) : 1;
    return times > 0 && times <= 100 ? (unsigned)times : 1;
}

#endif
