/* SPDX-License-Identifier: MIT
 *
 * For nopie.sh, which builds it with -no-pie: there the address of a function of a library is the address of
 * the program's own PLT stub, and small addresses leave little room for trampolines below.
 */
#include "live.h"

#include <time.h>

static int abs_plus(int value)
{
    return redefine_original(abs)(value) + 100;
}

static time_t time_plus(time_t *out)
{
    (void)out;
    return redefine_original(time)(NULL) + 1000000;
}

static size_t strlen_more(const char *text)
{
    return redefine_original(strlen)(text) + 100;
}

TARGET int own(int value)
{
    __asm__ volatile("");
    return value + 1;
}

static int own_more(int value)
{
    return redefine_original(own)(value) + 100;
}

static bool in_program(void *addr)
{
    static struct live_maps maps;
    live_maps_read(&maps);
    const struct live_map *is = live_maps_find(&maps, (uint64_t)(uintptr_t)addr);
    const struct live_map *program = live_maps_find(&maps, (uint64_t)(uintptr_t)own);
    return is && program && !strcmp(is->path, program->path);
}

static int (*volatile call_abs)(int) = abs;
static time_t (*volatile call_time)(time_t *) = time;
static size_t (*volatile call_strlen)(const char *) = strlen;

static void stub_is_followed(void)
{
    if (!in_program(ADDRESS(abs)))
        live_fail(__FILE__, __LINE__, "abs is at %p: no stub of the program; was it built with -no-pie?",
                  ADDRESS(abs));
    void *real = NULL;
    CHECK_OK(redefine_find("libc.so.6!abs", &real));
    CHECK(!in_program(real));
    live_world_take(&live_before);
    CHECK_OK(redefine(abs, abs_plus));
    CHECK_INT(call_abs(-3), 103);
    CHECK_INT(((int (*)(int))(uintptr_t)real)(-3), 103); /* whoever calls it, by whatever way */
    CHECK(redefine_func_original(ADDRESS(abs)) == redefine_func_original(real));
    CHECK_OK(redefine_func_restore(real)); /* both names mean the same function */
    CHECK_INT(call_abs(-3), 3);
    CHECK_OK(redefine_func(real, ADDRESS(abs_plus)));
    CHECK_INT(call_abs(-3), 103);
    CHECK_OK(redefine_restore(abs));
    CHECK_INT(call_abs(-3), 3);
    /* The function, under its two names, is no replacement for itself. */
    CHECK_STATUS(redefine_func(ADDRESS(abs), real), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func(real, ADDRESS(abs)), REDEFINE_EINVAL);
    CHECK_WORLD(&live_before, &live_now, false);
}

static void stub_of_an_ifunc_is_followed(void)
{
    CHECK(in_program(ADDRESS(time)));
    time_t now = call_time(NULL);
    CHECK_OK(redefine(time, time_plus));
    CHECK(call_time(NULL) >= now + 1000000);
    CHECK_OK(redefine_restore(time));
    CHECK(call_time(NULL) < now + 1000000);
    CHECK_OK(redefine(strlen, strlen_more));
    size_t len = call_strlen("four");
    CHECK_OK(redefine_restore(strlen));
    CHECK_INT(len, 104);
}

static void own_function(void)
{
    CHECK((uintptr_t)own < UINT64_C(0x80000000));
    CHECK_OK(redefine(own, own_more));
    CHECK_INT(own(1), 102);
    CHECK_OK(redefine_restore(own));
    CHECK_INT(own(1), 2);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"the address of a PLT stub means the function", stub_is_followed, 0},
        {"a stub that leads to an IFUNC", stub_of_an_ifunc_is_followed, 0},
        {"a function at a low address", own_function, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
