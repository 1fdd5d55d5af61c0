/* SPDX-License-Identifier: MIT
 *
 * Threads call while others redefine and restore, for a bounded time: entries that are hard to change under
 * somebody's feet, at hard places. Every call gives the right result, none is lost, and nobody crashes.
 *
 * threads.c does it where threads can be stopped, threads_unstopped.c where they cannot. With REDEFINE_SOAK=N
 * in the environment each case toggles N times.
 */
#ifndef TESTS_LIVE_THREADS_H
#define TESTS_LIVE_THREADS_H

#include "entries.h"
#include "live.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { CALLERS_MAX = 4, MS_EACH = 120 };

/* Called by each case first: denies what is to be denied. And what the library must report then. */
static void (*threads_prepare)(void);
static const char *threads_layer;
static size_t threads_callers; /* without a stop each change waits until all have been scheduled */

typedef long ENTRY_ABI target_type(long);

/* The fixtures return 3 * n + 1, whatever they look like: entries.h says what each is for. */
#define FIXTURE(name, body) \
    target_type name;       \
    __asm__(".text\n.p2align 6\n" FUNCTION(name, body))

FIXTURE(one_long, ENTRY_ONE_LONG);
FIXTURE(nops, ENTRY_NOPS);
FIXTURE(loop_to_entry, ENTRY_LOOP_TO_ENTRY("loop_to_entry"));
FIXTURE(loop_behind_window, ENTRY_LOOP_BEHIND);
FIXTURE(loop_into_window, ENTRY_LOOP_INTO);
FIXTURE(called_first, ENTRY_TRIPLE);
FIXTURE(calls_first, ENTRY_CALL("called_first"));

/* The next byte is another function. */
target_type short_sum;
target_type behind_short_sum;
__asm__(".text\n.p2align 6\n" FUNCTION(short_sum, ENTRY_SHORT_SUM)
            FUNCTION(behind_short_sum, ENTRY_ONE_LONG));

/* Entries at each offset in a cache line at which there can be one. */
__asm__(".text\n" UNNAMED_MACROS ".p2align 6\n.globl straddling\nstraddling:\n"
        ".rept 64 / " ENTRY_ALIGN_TEXT "\nunnamed\n1: " ENTRY_SHORT_FIRST
        "end_unnamed\n.skip 64 + " ENTRY_ALIGN_TEXT " - (. - 1b)" ENTRY_PADDING "\n.endr\n");
extern const char straddling[];
enum { STRADDLING_BYTES = 64 + ENTRY_ALIGN, OFFSETS = 64 / ENTRY_ALIGN };

/* As few bytes as a jump has: room for a short jump into padding that is near; or no padding, and, where a
 * jump of one's own is longer, only a trap fits. */
target_type into_padding;
__asm__(".text\n.p2align 6\n" FUNCTION(into_padding, ENTRY_SHORT_JUMP("into_padding_body"))
            FUNCTION(into_padding_body, ENTRY_SHORT_SUM) ".skip 24" ENTRY_PADDING "\n");
target_type by_trap;
__asm__(".text\n.p2align 6\n" FUNCTION(before_trap, ENTRY_CROWD)
            FUNCTION(by_trap, ENTRY_SHORT_JUMP("by_trap_body")) FUNCTION(by_trap_body, ENTRY_SHORT_SUM)
                FUNCTION(behind_trap, ENTRY_CROWD));

/* ---- callers ---- */

static _Atomic(target_type *) target;
static _Atomic(target_type *) original; /* kept by those who ask for it */
static atomic_bool stop;
static atomic_ulong calls, replaced, replaced_seen;

static long right(long n)
{
    return 3 * n + 1;
}

static long ENTRY_ABI replacement(long n)
{
    replaced++;
    return 3 * n + 1 + 1000000;
}

static long ENTRY_ABI replacement_with_original(long n)
{
    replaced++;
    target_type *function = target;
    return redefine_original(function)(n) + 1000000;
}

/* Whether it was the replacement that answered. */
static bool check_result(target_type *function, long n, long is)
{
    if (is != right(n) && is != right(n) + 1000000)
        live_fail(__FILE__, __LINE__, "%p(%ld) is %ld, not %ld or %ld", ADDRESS(function), n, is, right(n),
                  right(n) + 1000000);
    return is != right(n);
}

static void *caller(void *seed)
{
    unsigned long count = 0, answered = 0;
    for (long n = (long)(uintptr_t)seed; !stop; n = (n * 5 + 1) & 0xfff) {
        target_type *function = target;
        target_type *asked = original;
        answered += check_result(function, n, function(n));
        if ((n & 7) == 0 && asked)
            CHECK_INT(asked(n), right(n));
        count++;
    }
    calls += count;
    replaced_seen += answered;
    return NULL;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Busy is an answer, when a thread does not leave in time; anything else is not. */
static bool done(redefine_status status)
{
    if (status != REDEFINE_OK && status != REDEFINE_EBUSY)
        live_fail(__FILE__, __LINE__, "%s: %s", redefine_strerror(status), redefine_explain());
    return status == REDEFINE_OK;
}

static unsigned long soak_toggles(void)
{
    const char *text = getenv("REDEFINE_SOAK");
    return text ? strtoul(text, NULL, 10) : 0;
}

static bool is_reported(void)
{
    if (strncmp(redefine_report(), threads_layer, strlen(threads_layer)) == 0)
        return true;
    printf("# %s\n", redefine_report());
    return false;
}

static void toggle_for(target_type *function, target_type *with, long ms, unsigned long least)
{
    pthread_t thread[CALLERS_MAX];
    target = function;
    original = NULL;
    stop = false;
    calls = replaced = replaced_seen = 0;
    live_world_take(&live_before);
    for (uintptr_t i = 0; i < threads_callers; i++)
        CHECK(!pthread_create(&thread[i], NULL, caller, (void *)(i * 1000 + 1)));
    unsigned long toggles = 0, busy = 0, pages = 0;
    unsigned long wanted = soak_toggles();
    long end_ms = now_ms() + ms;
    do {
        if (toggles == wanted / 8)
            pages = live_mapped_pages();
        bool is_in = done(redefine_func(ADDRESS(function), ADDRESS(with)));
        busy += !is_in;
        if (is_in) {
            long n = toggles & 0xfff;
            CHECK_INT(function(n), right(n) + 1000000);
            replaced_seen++;
            CHECK(is_reported());
            target_type *asked = redefine_original((target_type *)function);
            CHECK_INT(asked(n), right(n));
            original = asked;
            while (!done(redefine_func_restore(ADDRESS(function))))
                busy++;
            CHECK_INT(function(n), right(n));
        }
        toggles++;
    } while (wanted ? toggles < wanted : now_ms() < end_ms || toggles < least);
    if (wanted)
        CHECK_INT(live_mapped_pages(), pages);
    stop = true;
    for (size_t i = 0; i < threads_callers; i++)
        pthread_join(thread[i], NULL);
    printf("%p: %lu times there and back, %lu busy, %lu calls, %lu of them replaced\n", ADDRESS(function),
           toggles, busy, calls, replaced);
    CHECK(toggles > busy);
    CHECK_INT(replaced_seen, replaced); /* no call is lost, and none is made twice */
    live_world_take(&live_now);
    for (size_t i = 0; i < live_before.page_count; i++)
        CHECK(live_before.page_hash[i] == live_now.page_hash[i]);
    CHECK_INT(live_before.fd_count, live_now.fd_count);
}

static void toggle_both(target_type *function)
{
    toggle_for(function, replacement, MS_EACH, 2);
    toggle_for(function, replacement_with_original, MS_EACH, 2);
}

static void one_long_instruction(void)
{
    toggle_both(one_long);
}

static void many_short_instructions(void)
{
    toggle_both(nops);
}

static void short_function(void)
{
    toggle_both(short_sum);
    CHECK_INT(behind_short_sum(2), 7);
}

static void loops(void)
{
    toggle_both(loop_to_entry);
    toggle_both(loop_into_window);
    toggle_both(loop_behind_window);
}

static void begins_with_call(void)
{
    toggle_both(calls_first);
}

static void cache_lines(void)
{
    for (size_t i = 0; i < OFFSETS; i++) {
        target_type *function = (target_type *)(uintptr_t)(straddling + i * STRADDLING_BYTES);
        CHECK_INT((uintptr_t)function % 64, i * ENTRY_ALIGN);
        toggle_for(function, i % 2 ? replacement : replacement_with_original, MS_EACH / 10, 1);
    }
}

static void check_strategy(target_type *function, const char *strategy)
{
    CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(replacement)));
    if (strncmp(redefine_describe(ADDRESS(function)), strategy, strlen(strategy)) != 0)
        live_fail(__FILE__, __LINE__, "not by %s: %s", strategy, redefine_describe(ADDRESS(function)));
    CHECK_OK(redefine_func_restore(ADDRESS(function)));
}

static void through_padding(void)
{
    check_strategy(into_padding, ENTRY_SHORT_JUMP_NEAR);
    toggle_both(into_padding);
}

static void by_traps(void)
{
#if defined(__SANITIZE_THREAD__)
    live_skip(
        "the thread sanitizer has a thread of its own that blocks SIGTRAP, and no trap is put in its way");
#endif
    check_strategy(by_trap, ENTRY_SHORT_JUMP_CROWDED);
    toggle_both(by_trap);
}

/* ---- several that change ---- */

static void *changer(void *function)
{
    long end_ms = now_ms() + 4 * MS_EACH;
    target_type *mine = (target_type *)(uintptr_t)function;
    for (unsigned i = 0; now_ms() < end_ms || i < 3; i++) {
        (void)done(redefine_func(function, ADDRESS(replacement)));
        check_result(mine, i, mine(i));
        check_result(mine, i, redefine_original(mine)(i));
        while (!done(redefine_func_restore(function)))
            ;
    }
    return NULL;
}

static void change_at_once(target_type *const *functions, size_t count)
{
    pthread_t thread[8];
    target = functions[0];
    for (size_t i = 0; i < count; i++)
        CHECK(!pthread_create(&thread[i], NULL, changer, ADDRESS(functions[i])));
    for (size_t i = 0; i < count; i++)
        CHECK(!pthread_join(thread[i], NULL));
    CHECK_OK(redefine_restore_all());
    for (size_t i = 0; i < count; i++)
        CHECK_INT(functions[i](5), right(5));
}

static void different_functions(void)
{
    static target_type *const functions[] = {one_long, nops, short_sum, into_padding};
    change_at_once(functions, LIVE_COUNT(functions));
}

static void the_same_function(void)
{
    static target_type *const functions[] = {nops, nops, nops, nops};
    change_at_once(functions, LIVE_COUNT(functions));
}

/* Threads begin and end all the time meanwhile. */
static void *short_lived(void *ctx)
{
    target_type *function = target;
    check_result(function, 7, function(7));
    return ctx;
}

static void *maker(void *ctx)
{
    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_lived, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return ctx;
}

static void threads_come_and_go(void)
{
    pthread_t thread[2];
    target = nops;
    for (size_t i = 0; i < LIVE_COUNT(thread); i++)
        CHECK(!pthread_create(&thread[i], NULL, maker, NULL));
    long end_ms = now_ms() + 4 * MS_EACH;
    for (unsigned i = 0; now_ms() < end_ms || i < 3; i++) {
        (void)done(redefine_func(ADDRESS(nops), ADDRESS(replacement_with_original)));
        while (!done(redefine_func_restore(ADDRESS(nops))))
            ;
    }
    stop = true;
    for (size_t i = 0; i < LIVE_COUNT(thread); i++)
        CHECK(!pthread_join(thread[i], NULL));
    CHECK_INT(nops(3), right(3));
}

/* ---- the cases ---- */

#define PREPARED(name)                \
    static void prepared_##name(void) \
    {                                 \
        threads_prepare();            \
        name();                       \
    }
PREPARED(one_long_instruction)
PREPARED(many_short_instructions)
PREPARED(short_function)
PREPARED(loops)
PREPARED(begins_with_call)
PREPARED(cache_lines)
PREPARED(through_padding)
PREPARED(by_traps)
PREPARED(different_functions)
PREPARED(the_same_function)
PREPARED(threads_come_and_go)

static int threads_main(const char *layer, size_t callers, void (*prepare)(void))
{
    threads_callers = soak_toggles() ? 2 : callers; /* or a million changes wait for turns of theirs */
    enum { SOAK_LIMIT_S = 6 * 3600 };
    threads_layer = layer;
    threads_prepare = prepare;
    struct live_case cases[] = {
        {"an entry of one long instruction", prepared_one_long_instruction, 0},
        {"an entry of many short instructions", prepared_many_short_instructions, 0},
        {"a short function", prepared_short_function, 0},
        {"loops into the first bytes", prepared_loops, 0},
        {"an entry that is a call", prepared_begins_with_call, 0},
        {"entries across cache lines, at each offset", prepared_cache_lines, 0},
        {"a short jump into padding", prepared_through_padding, 0},
        {"a trap", prepared_by_traps, 0},
        {"several threads redefine different functions", prepared_different_functions, 0},
        {"several threads redefine the same function", prepared_the_same_function, 0},
        {"threads come and go", prepared_threads_come_and_go, 0},
    };
    for (size_t i = 0; soak_toggles() && i < LIVE_COUNT(cases); i++)
        cases[i].limit_s = SOAK_LIMIT_S;
    return live_main(cases, LIVE_COUNT(cases));
}

#endif
