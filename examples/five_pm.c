/* SPDX-License-Identifier: MIT
 *
 * A patch file: whatever clock a program asks, it is 5 PM of the day it really is.
 *
 *     cc -shared -fPIC $(pkg-config --cflags redefine) -o five_pm.so five_pm.c
 *     redefine run --patch five_pm.so -- date
 */
#include <redefine/patch.h>

#include <sys/time.h>
#include <time.h>

/* 17:00:00 local time on the day of `now`. */
static time_t five_o_clock(time_t now)
{
    struct tm day;
    localtime_r(&now, &day);
    day.tm_hour = 17;
    day.tm_min = 0;
    day.tm_sec = 0;
    day.tm_isdst = -1;
    return mktime(&day);
}

static time_t five_pm(time_t *out)
{
    time_t now = five_o_clock(REDEFINE_ORIGINAL(five_pm)(NULL));
    if (out)
        *out = now;
    return now;
}
REDEFINE_PATCH("time", five_pm);

/* Only the clock that tells the time of day: the others measure. */
static int five_pm_clock(clockid_t clock, struct timespec *out)
{
    int status = REDEFINE_ORIGINAL(five_pm_clock)(clock, out);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        out->tv_sec = five_o_clock(out->tv_sec);
        out->tv_nsec = 0;
    }
    return status;
}
REDEFINE_PATCH("clock_gettime", five_pm_clock);

static int five_pm_timeval(struct timeval *out, void *zone)
{
    int status = REDEFINE_ORIGINAL(five_pm_timeval)(out, zone);
    if (status == 0 && out) {
        out->tv_sec = five_o_clock(out->tv_sec);
        out->tv_usec = 0;
    }
    return status;
}
REDEFINE_PATCH("gettimeofday", five_pm_timeval);
