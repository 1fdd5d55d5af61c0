/* SPDX-License-Identifier: MIT
 *
 * Many redefinitions, and the same ones again and again: what they take of memory, that the cost of one does
 * not grow with their number, and that nothing is left behind. How long they take is told, and for
 * bench/changes.c to measure.
 */
#include "entries.h"
#include "live.h"

#include <pthread.h>
#include <time.h>

enum { MANY = 10000, FUNCTION_BYTES = 16 };

__asm__(".text\n" UNNAMED_MACROS ".balign 4096\n.globl many\nmany:\n"
        ".rept 40000\nunnamed\n.balign 16\n" ENTRY_PLUS_ONE ".balign 16\nend_unnamed\n.endr\n");
extern char many[];

static void *function(size_t index)
{
    return many + index * FUNCTION_BYTES;
}

static int call(size_t index, int value)
{
    return ((int(ENTRY_ABI *)(int))(uintptr_t)function(index))(value);
}

static int ENTRY_ABI plus_two(int value)
{
    return value + 2;
}

static int ENTRY_ABI plus_three(int value)
{
    return value + 3;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Ready to be measured: text read, tables of the program read, one of everything there. */
static void warm_up(char *saved, size_t count)
{
    memcpy(saved, many, count * FUNCTION_BYTES);
    for (int i = 0; i < 2; i++) {
        redefine_batch *batch = redefine_batch_new();
        for (size_t j = 0; j < 40; j++)
            CHECK_OK(redefine_batch_add(batch, function(count + j), ADDRESS(plus_two)));
        CHECK_OK(redefine_batch_commit(batch));
        redefine_batch_free(batch);
    }
}

static void redefine_many(size_t from, size_t count)
{
    redefine_batch *batch = redefine_batch_new();
    for (size_t i = from; i < from + count; i++)
        CHECK_OK(redefine_batch_add(batch, function(i), ADDRESS(plus_two)));
    CHECK_OK(redefine_batch_commit(batch));
    redefine_batch_free(batch);
}

/* What times are compared with: as many writes, each by itself. */
static void write_each(void)
{
    static char page[4096];
    for (int i = 0; i < MANY; i++)
        CHECK(live_poke(page, "abcde", 5));
}

static void ten_thousand_take_128_bytes_each(void)
{
    static char saved[MANY * FUNCTION_BYTES];
    warm_up(saved, MANY);
    long before = live_own_bytes();
    double start = cpu_ms();
    redefine_many(0, MANY);
    double ms = cpu_ms() - start;
    long grown = live_own_bytes() - before;
    start = cpu_ms();
    write_each();
    printf("# %d: %.1f ms of CPU, %.2f of what so many writes take; %.2f MB\n", MANY, ms,
           ms / (cpu_ms() - start), (double)grown / 1e6);
    /* Pages of text that were written are private now: that is the kernel's price, not ours. */
    if (live_emulated()) /* what is measured is the emulator's memory too */
        grown = 0;
    if ((grown - (long)sizeof saved) / MANY > 128)
        live_fail(__FILE__, __LINE__, "%ld bytes each", (grown - (long)sizeof saved) / MANY);
    if (grown > 1500000)
        live_fail(__FILE__, __LINE__, "%ld bytes in all", grown);
    for (size_t i = 0; i < MANY; i++)
        CHECK_INT(call(i, 1), 3);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(memcmp(saved, many, sizeof saved), 0);
}

/* The last of many costs what the first did: no list is searched. Of each only the best of some is taken, for
 * others run here too. */
static void the_last_costs_what_the_first_did(void)
{
    enum { PART = 2000, PARTS = 20 };
    double ms[PARTS];
    double early = 1e9, late = 1e9;
    for (size_t i = 0; i < PARTS; i++) {
        double start = cpu_ms();
        redefine_many(i * PART, PART);
        ms[i] = cpu_ms() - start;
    }
    for (size_t i = 1; i < 8; i++)
        early = ms[i] < early ? ms[i] : early;
    for (size_t i = PARTS - 7; i < PARTS; i++)
        late = ms[i] < late ? ms[i] : late;
    if (late > 3 * early)
        live_fail(__FILE__, __LINE__, "%d took %.1f ms at first and %.1f ms in the end", PART, early, late);
    for (size_t i = 0; i < PART * PARTS; i++)
        CHECK_INT(call(i, 1), 3);
}

/* ---- again and again ---- */

/* `SOAK_TOGGLES` in make soak. */
static void toggling_takes_no_memory(void)
{
    live_skip_where_emulated("what is measured is the emulator's memory too");
    enum { WARM = 500 };
    const char *asked = getenv("SOAK_TOGGLES");
    unsigned long rounds = asked ? strtoul(asked, NULL, 10) : LIVE_ROUNDS(3000);
    long before = 0;
    for (unsigned long i = 0; i < rounds + WARM; i++) {
        size_t which = i % 3;
        if (i == WARM) /* tables have been read, and put in order */
            before = live_own_bytes();
        CHECK_OK(redefine_func(function(which), ADDRESS(i % 2 ? plus_two : plus_three)));
        CHECK_INT(call(which, 1), i % 2 ? 3 : 4);
        CHECK_OK(redefine_func_restore(function(which)));
        CHECK_INT(call(which, 1), 2);
    }
    if (live_own_bytes() - before > 16 * 4096)
        live_fail(__FILE__, __LINE__, "%ld bytes more after %lu rounds", live_own_bytes() - before, rounds);
}

/* ---- by one store ---- */

static volatile bool stop;
static volatile long wrong;

static void *call_all_the_time(void *unused)
{
    while (!stop) {
        int result = call(0, 1);
        wrong += result != 3 && result != 4;
    }
    return unused;
}

/* A replacement replaced: seen by all at once, wherever it is done, and no lock is needed for it. */
static void a_replacement_is_replaced_at_any_time(void)
{
    live_needs_stopped_threads();
    pthread_t thread[2];
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_two)));
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_three)));
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&thread[i], NULL, call_all_the_time, NULL), 0);
    for (int i = 0; i < LIVE_ROUNDS(100000); i++) {
        CHECK_OK(redefine_func(function(0), ADDRESS(i % 2 ? plus_two : plus_three)));
        CHECK_INT(call(0, 1), i % 2 ? 3 : 4);
        CHECK(redefine_func_replacement(function(0)) == ADDRESS(i % 2 ? plus_two : plus_three));
    }
    stop = true;
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_join(thread[i], NULL), 0);
    CHECK_INT(wrong, 0);
    CHECK_OK(redefine_func_restore(function(0)));
    CHECK_INT(call(0, 1), 2);
    CHECK(redefine_func_replacement(function(0)) == NULL);
    /* What is wrong is wrong at any time. */
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_two)));
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_three)));
    CHECK_STATUS(redefine_func(function(0), function(0)), REDEFINE_EINVAL);
    void *gone = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED);
    CHECK_OK(redefine_func(function(0), gone));
    CHECK_INT(munmap(gone, 4096), 0);
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_three)));
    CHECK_STATUS(redefine_func(function(0), gone), REDEFINE_EINVAL);
    CHECK_INT(call(0, 1), 4);
}

static void *restore_and_redefine(void *unused)
{
    while (!stop) {
        CHECK_OK(redefine_func_restore(function(0)));
        CHECK_OK(redefine_func(function(0), ADDRESS(plus_two)));
    }
    return unused;
}

/* Stores against commits: after a redefinition that nobody took back, it is in force. */
static void stores_and_commits_at_once(void)
{
    live_needs_stopped_threads();
    pthread_t thread;
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_two)));
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_three)));
    CHECK_INT(pthread_create(&thread, NULL, restore_and_redefine, NULL), 0);
    for (int i = 0; i < LIVE_ROUNDS(20000); i++)
        CHECK_OK(redefine_func(function(0), ADDRESS(i % 2 ? plus_two : plus_three)));
    stop = true;
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(redefine_func(function(0), ADDRESS(plus_three)));
    CHECK_INT(call(0, 1), 4);
    CHECK_OK(redefine_func_restore(function(0)));
    CHECK_INT(call(0, 1), 2);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"10,000 take at most 128 bytes each", ten_thousand_take_128_bytes_each, 0},
        {"the last costs what the first did", the_last_costs_what_the_first_did, 0},
        {"toggling takes no memory", toggling_takes_no_memory, 36000},
        {"a replacement is replaced at any time", a_replacement_is_replaced_at_any_time, 0},
        {"stores and commits at once", stores_and_commits_at_once, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
