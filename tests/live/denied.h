/* SPDX-License-Identifier: MIT
 *
 * For tests of changes that several threads run through while ptrace is denied, or something else is in the
 * way: done on which layer, or refused with which reason.
 */
#ifndef TESTS_LIVE_DENIED_H
#define TESTS_LIVE_DENIED_H

#include "deny.h"
#include "entries.h"

#include <stdatomic.h>

long target(long value);
__asm__(".text\n.p2align 6\n" FUNCTION(target, ENTRY_STEPS) ".p2align 6\n");

static long replacement(long value)
{
    return redefine_original(target)(value) + 100;
}

static atomic_bool stop;

static void *calls(void *ctx)
{
    while (!stop) {
        long is = target(1);
        CHECK(is == 2 || is == 102);
    }
    return ctx;
}

static pthread_t start(void *(*body)(void *ctx), void *ctx)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, body, ctx));
    return thread;
}

static void start_callers(void)
{
    (void)start(calls, NULL);
    (void)start(calls, NULL);
    live_threads(3);
}

#define CHECK_REPORTS(part)                                                                       \
    do {                                                                                          \
        if (!strstr(redefine_report(), part))                                                     \
            live_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", redefine_report(), part); \
    } while (0)

static void works_by(const char *layer, const char *method)
{
    struct sigaction now;
    live_world_take(&live_before);
    for (int round = 0; round < 3; round++) {
        CHECK_OK(redefine(target, replacement));
        CHECK_REPORTS(layer);
        CHECK_REPORTS(method);
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
        CHECK_REPORTS(layer);
        CHECK_INT(target(1), 2);
    }
    CHECK_WORLD(&live_before, &live_now, false);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        CHECK(!sigaction(signal, NULL, &now) && now.sa_handler == SIG_DFL);
}

static void is_refused(const char *why)
{
    struct sigaction before, now;
    CHECK(!sigaction(SIGTRAP, NULL, &before));
    live_world_take(&live_before);
    redefine_status status = redefine(target, replacement);
    CHECK(status == REDEFINE_EBUSY || status == REDEFINE_EDENIED);
    CHECK_SAYS(why);
    CHECK_SAYS("nothing was changed");
    CHECK_INT(target(1), 2);
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK(!sigaction(SIGTRAP, NULL, &now));
    CHECK(before.sa_handler == now.sa_handler);
}

/* Where no thread can be stopped: by traps, or not at all. */
static void works_unstopped(const char *method)
{
    if (ENTRY_TRAPS)
        works_by("L3: ", method);
    else
        is_refused("this CPU has no short trap");
}

static void works_stopped_or_not(bool denied)
{
    if (denied)
        works_unstopped("written by ");
    else
        works_by("L2: ", "written by ");
}

#define RULES(...)                                         \
    static const struct live_rule rules[] = {__VA_ARGS__}; \
    live_deny(rules, LIVE_COUNT(rules))

#endif
