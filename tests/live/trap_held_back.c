/* SPDX-License-Identifier: MIT
 *
 * A function that only a trap fits, and someone who holds SIGTRAP back: the kernel ends a process for such a
 * trap, so that it is refused, naming the thread, and works when nobody does so any more.
 */
#include "entries.h"
#include "live.h"

#include <pthread.h>
#include <stdatomic.h>

long by_trap(long);
__asm__(".text\n.p2align 6\n" FUNCTION(before_trap, ENTRY_CROWD)
            FUNCTION(by_trap, ENTRY_SHORT_JUMP("by_trap_body")) FUNCTION(by_trap_body, ENTRY_SHORT_SUM)
                FUNCTION(behind_trap, ENTRY_CROWD));

static long replacement(long value)
{
    return redefine_original(by_trap)(value) + 1000;
}

static atomic_int other_tid;
static atomic_bool stop;

static void *holds_back(void *ctx)
{
    sigset_t all;
    sigfillset(&all);
    CHECK(!pthread_sigmask(SIG_BLOCK, &all, NULL));
    other_tid = (int)syscall(SYS_gettid);
    while (!stop)
        CHECK_INT(by_trap(1), 4);
    return ctx;
}

static void works(void)
{
    CHECK_OK(redefine(by_trap, replacement));
    if (!strstr(redefine_describe(ADDRESS(by_trap)), "trap"))
        live_skip("on this CPU the function needs no trap");
    CHECK_INT(by_trap(1), 1004);
    CHECK_OK(redefine_restore(by_trap));
}

static void is_refused(const char *why)
{
    live_world_take(&live_before);
    CHECK_STATUS(redefine(by_trap, replacement), REDEFINE_EBUSY);
    CHECK_SAYS(why);
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK_INT(by_trap(1), 4);
}

static void a_thread_blocks_it(void)
{
    live_needs_stopped_threads();
    works();
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, holds_back, NULL));
    while (!other_tid)
        usleep(100);
    char who[64];
    snprintf(who, sizeof who, "thread %d is in the way (it blocks SIGTRAP", (int)other_tid);
    is_refused(who);
    stop = true;
    CHECK(!pthread_join(thread, NULL));
    works();
}

static void on_signal(int signal)
{
    (void)signal;
    CHECK_INT(by_trap(1), 4);
}

static void a_handler_blocks_it(void)
{
    works();
    struct sigaction action = {.sa_handler = on_signal}, none = {.sa_handler = SIG_DFL};
    sigfillset(&action.sa_mask);
    CHECK(!sigaction(SIGUSR1, &action, NULL));
    is_refused("a signal's handler blocks SIGTRAP while it runs");
    CHECK(!raise(SIGUSR1));
    CHECK(!sigaction(SIGUSR1, &none, NULL));
    works();
}

int main(void)
{
    static const struct live_case cases[] = {
        {"a thread blocks SIGTRAP", a_thread_blocks_it, 0},
        {"a signal's handler blocks SIGTRAP", a_handler_blocks_it, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
