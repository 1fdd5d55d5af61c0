/* SPDX-License-Identifier: MIT
 *
 * A patch file of someone else's; also valid C++. */
#include <redefine/patch.h>

#include <time.h>

static time_t five_pm(time_t *out)
{
    time_t now = REDEFINE_ORIGINAL(five_pm)(out);
    now = now - now % 86400 + 17 * 3600;
    if (out)
        *out = now;
    return now;
}

REDEFINE_PATCH("time", five_pm);
