/* SPDX-License-Identifier: MIT
 *
 * A batch of ten thousand functions of which the last one cannot be redefined: nothing of the others has
 * changed, nor has anything else of the process. Refused when it is resolved, and at the last moment, by a
 * thread that a signal has interrupted in the last one's first bytes; on each layer.
 */
#include "deny.h"
#include "entries.h"

enum { COUNT = 10000, FUNCTION_BYTES = 16, DEADLINE_CASE_S = 120 };

typedef int function_type(int);

__asm__(".text\n.p2align 12\n.globl functions\nfunctions:\n"
        ".rept 10000\n.cfi_startproc\n" ENTRY_PLUS_ONE ".cfi_endproc\n.p2align 4" ENTRY_PADDING "\n.endr\n");
extern const char functions[];

int reads(const int *from);
__asm__(".text\n.p2align 6\n" FUNCTION(reads, ENTRY_READS) ".p2align 6\n");

static function_type *function(size_t index)
{
    return (function_type *)(uintptr_t)(functions + index * FUNCTION_BYTES);
}

static int replacement(int value)
{
    return value + 100;
}

static int data;

static volatile bool stays;

/* The interrupted context lies on the stack, and will be gone back to. */
static void stay(int signal)
{
    (void)signal;
    stays = true;
    for (;;)
        pause();
}

static void *is_in_the_way(void *ctx)
{
    signal(SIGSEGV, stay);
    (void)reads(NULL);
    return ctx;
}

static redefine_status commit_all(void *last)
{
    redefine_batch *batch = redefine_batch_new();
    CHECK(batch);
    for (size_t i = 0; i < COUNT; i++)
        CHECK_OK(redefine_batch_add(batch, ADDRESS(function(i)), ADDRESS(replacement)));
    if (last)
        CHECK_OK(redefine_batch_add(batch, last, ADDRESS(replacement)));
    redefine_status status = redefine_batch_commit(batch);
    redefine_batch_free(batch);
    return status;
}

static void handles(int signal)
{
    (void)signal;
    live_fail(__FILE__, __LINE__, "a signal that was blocked has been delivered");
}

struct signals {
    struct sigaction action[65];
    sigset_t pending;
};

static void take_signals(struct signals *ret)
{
    memset(ret, 0, sizeof *ret);
    for (int signal = 1; signal < 65; signal++)
        (void)sigaction(signal, NULL, &ret->action[signal]);
    CHECK(!sigpending(&ret->pending));
}

static void check_signals(const struct signals *before)
{
    static struct signals now;
    take_signals(&now);
    for (int signal = 1; signal < 65; signal++) {
        if (before->action[signal].sa_handler != now.action[signal].sa_handler)
            live_fail(__FILE__, __LINE__, "the handler of signal %d is another one", signal);
        CHECK_INT(sigismember(&before->pending, signal), sigismember(&now.pending, signal));
    }
}

static void nothing_changes(void *last)
{
    static struct signals signals;
    sigset_t set;
    CHECK_INT(function(COUNT - 1)(1), 2);
    signal(SIGUSR1, handles);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL) && !raise(SIGUSR1));
    take_signals(&signals);
    live_world_take(&live_before);
    redefine_status status = commit_all(last);
    if (status == REDEFINE_OK || status == REDEFINE_EROLLBACK)
        live_fail(__FILE__, __LINE__, "status %d: %s", status, redefine_explain());
    CHECK_WORLD(&live_before, &live_now, true);
    check_signals(&signals);
    for (size_t i = 0; i < COUNT; i++)
        CHECK_INT(function(i)((int)i), (int)i + 1);
    CHECK_OK(commit_all(NULL));
    for (size_t i = 0; i < COUNT; i++)
        CHECK_INT(function(i)((int)i), (int)i + 100);
    CHECK_OK(redefine_restore_all());
    CHECK_WORLD(&live_before, &live_now, false);
}

static void stay_in_the_way(void)
{
    pthread_t thread;
    live_threads(3);
    CHECK(!pthread_create(&thread, NULL, is_in_the_way, NULL));
    while (!stays)
        usleep(100);
    usleep(1000);
}

static void deny_ptrace(void)
{
    static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
}

static void last_is_data(void)
{
    nothing_changes(&data);
}

static void last_is_data_threads(void)
{
    live_threads(3);
    nothing_changes(&data);
}

static void last_is_in_use(void)
{
    stay_in_the_way();
    nothing_changes(ADDRESS(reads));
}

static void last_is_in_use_unstopped(void)
{
    if (!ENTRY_TRAPS)
        live_skip("this CPU has no traps for that: each change is refused");
    stay_in_the_way();
    deny_ptrace();
    nothing_changes(ADDRESS(reads));
}

int main(void)
{
    static const struct live_case cases[] = {
        {"one thread, the last is data", last_is_data, DEADLINE_CASE_S},
        {"four threads, the last is data", last_is_data_threads, DEADLINE_CASE_S},
        {"a thread is inside the last", last_is_in_use, DEADLINE_CASE_S},
        {"the same without ptrace", last_is_in_use_unstopped, DEADLINE_CASE_S},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
