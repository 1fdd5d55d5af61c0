/* SPDX-License-Identifier: MIT
 *
 * A unit test of a function that asks the clock: the tests decide what time it is. The function knows nothing
 * of it, takes no clock as an argument, and is not linked in any special way.
 *
 *     cc -o cmocka_time cmocka_time.c $(pkg-config --cflags --libs redefine cmocka)
 */
#include <redefine/redefine.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <time.h>

/* ---- What is tested ---- */

static const char *greeting(void)
{
    time_t now = time(NULL);
    struct tm day;
    gmtime_r(&now, &day);
    if (day.tm_hour < 12)
        return "Good morning";
    return day.tm_hour < 17 ? "Good afternoon" : "Good evening";
}

/* ---- The tests ---- */

enum { DAY = 86400, HOUR = 3600 };

static time_t at_five_pm(time_t *out)
{
    time_t now = 10000 * DAY + 17 * HOUR;
    if (out)
        *out = now;
    return now;
}

/* cmocka's own values: what `time` says, test by test. */
static time_t mocked(time_t *out)
{
    time_t now = (time_t)mock();
    if (out)
        *out = now;
    return now;
}

/* Until the end of the function, however it is left. (A failed assertion is a longjmp: use a fixture where
 * that matters, as the last test does.) */
static void test_evening_begins_at_five(void **state)
{
    (void)state;
    REDEFINE_SCOPED(time, at_five_pm);
    assert_string_equal(greeting(), "Good evening");
}

static void test_each_hour(void **state)
{
    (void)state;
    REDEFINE_SCOPED(time, mocked);
    will_return(mocked, 0);
    assert_string_equal(greeting(), "Good morning");
    will_return(mocked, 12 * HOUR - 1);
    assert_string_equal(greeting(), "Good morning");
    will_return(mocked, 12 * HOUR);
    assert_string_equal(greeting(), "Good afternoon");
    will_return(mocked, 17 * HOUR - 1);
    assert_string_equal(greeting(), "Good afternoon");
}

static void test_time_is_real_again(void **state)
{
    (void)state;
    time_t now = time(NULL);
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    assert_in_range(now, clock.tv_sec - 2, clock.tv_sec + 2);
}

/* With a fixture: restored also when the test fails. */
static int set_up(void **state)
{
    (void)state;
    return redefine(time, at_five_pm) == REDEFINE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return redefine_restore_all() == REDEFINE_OK ? 0 : -1;
}

static void test_with_a_fixture(void **state)
{
    (void)state;
    assert_string_equal(greeting(), "Good evening");
    assert_int_equal(time(NULL), at_five_pm(NULL));
    assert_int_not_equal(redefine_original(time)(NULL), time(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evening_begins_at_five),
        cmocka_unit_test(test_each_hour),
        cmocka_unit_test(test_time_is_real_again),
        cmocka_unit_test_setup_teardown(test_with_a_fixture, set_up, tear_down),
        cmocka_unit_test(test_time_is_real_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
