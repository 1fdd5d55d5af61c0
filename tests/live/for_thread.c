/* SPDX-License-Identifier: MIT
 *
 * Redefinitions for one thread: parallel tests do not see each other's, others see none; what is redefined
 * for all lies beneath; threads come and go without leaving anything behind.
 */
#include "live.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = LIVE_ROUNDS(300) };

TARGET int number(int value)
{
    __asm__ volatile("");
    return value + 1;
}

TARGET int other_number(int value)
{
    __asm__ volatile("");
    return value - 1;
}

/* Eight replacements, one for each thread. */
#define REPLACEMENT(n)                                      \
    static int thousands_##n(int value)                     \
    {                                                       \
        return redefine_original(number)(value) + (n)*1000; \
    }
REPLACEMENT(1)
REPLACEMENT(2)
REPLACEMENT(3)
REPLACEMENT(4)
REPLACEMENT(5)
REPLACEMENT(6)
REPLACEMENT(7)
REPLACEMENT(8)

static int (*const own[THREADS])(int) = {thousands_1, thousands_2, thousands_3, thousands_4,
                                         thousands_5, thousands_6, thousands_7, thousands_8};

static int for_all(int value)
{
    return value + 70;
}

static int for_all_too(int value)
{
    return value + 80;
}

/* ---- one thread ---- */

static void *call_number(void *argument)
{
    return (void *)(intptr_t)number((int)(intptr_t)argument);
}

/* What another thread gets. Once there has been one, each change asks for a stop. */
static int elsewhere(int value)
{
    live_needs_stopped_threads();
    pthread_t thread;
    void *result;
    CHECK_INT(pthread_create(&thread, NULL, call_number, (void *)(intptr_t)value), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    return (int)(intptr_t)result;
}

static void others_do_not_see_it(void)
{
    uint8_t before[16];
    memcpy(before, ADDRESS(number), sizeof before);
    CHECK_OK(redefine_for_thread(number, thousands_1));
    CHECK_INT(number(1), 1002);
    CHECK_INT(elsewhere(1), 2);
    CHECK(redefine_func_replacement(ADDRESS(number)) == NULL);
    CHECK_OK(redefine_for_thread(number, thousands_2));
    CHECK_INT(number(1), 2002);
    CHECK_INT(elsewhere(1), 2);
    CHECK_OK(redefine_restore(number));
    CHECK_INT(number(1), 2);
    CHECK_INT(memcmp(before, ADDRESS(number), sizeof before), 0);
    CHECK_OK(redefine_restore(number));
    CHECK_OK(redefine_func_restore_for_thread(ADDRESS(number)));
}

static void it_lies_above_what_all_see(void)
{
    for (int order = 0; order < 2; order++) {
        if (order)
            CHECK_OK(redefine_for_thread(number, thousands_1));
        CHECK_OK(redefine(number, for_all));
        if (!order)
            CHECK_OK(redefine_for_thread(number, thousands_1));
        CHECK_INT(number(1), 1002); /* its original is the first one */
        CHECK_INT(elsewhere(1), 71);
        CHECK(redefine_func_replacement(ADDRESS(number)) == ADDRESS(for_all));
        CHECK_OK(redefine(number, for_all_too));
        CHECK_INT(number(1), 1002);
        CHECK_INT(elsewhere(1), 81);
        /* First its own, then the one for all. */
        CHECK_OK(redefine_restore(number));
        CHECK_INT(number(1), 81);
        CHECK_OK(redefine_restore(number));
        CHECK_INT(number(1), 2);
        CHECK_INT(elsewhere(1), 2);
    }
}

/* By turns: what this one redefines, the one before it did not, and the other way round. */
static void *redefine_and_end(void *argument)
{
    size_t which = (size_t)(intptr_t)argument;
    CHECK_INT(number(1), 2);
    if (which % 2) {
        CHECK_OK(redefine_for_thread(other_number, for_all));
        CHECK_INT(number(1), 2);
        CHECK_INT(other_number(1), 71);
    } else {
        CHECK_OK(redefine_func_for_thread(ADDRESS(number), ADDRESS(own[which % THREADS])));
        CHECK_INT(number(1), 2 + 1000 * ((int)(which % THREADS) + 1));
        CHECK_INT(other_number(1), 0);
    }
    return NULL;
}

static void what_all_see_comes_off_beneath(void)
{
    CHECK_OK(redefine(number, for_all));
    CHECK_OK(redefine(number, for_all_too)); /* through the relay */
    CHECK_OK(redefine_for_thread(number, thousands_1));
    redefine_batch *batch = redefine_batch_new();
    CHECK_OK(redefine_batch_restore(batch, ADDRESS(number)));
    CHECK_OK(redefine_batch_add(batch, ADDRESS(other_number), ADDRESS(for_all)));
    CHECK_OK(redefine_batch_commit(batch));
    CHECK_INT(number(1), 1002);
    CHECK_INT(elsewhere(1), 2);
    CHECK_INT(other_number(1), 71);
    CHECK_OK(redefine_for_thread(other_number, thousands_1));
    CHECK_OK(redefine_restore_all());
    CHECK_INT(number(1), 2);
    CHECK_INT(other_number(1), 0);
    CHECK_INT(elsewhere(1), 2);
    /* Nothing of it comes back with another thread's. */
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, redefine_and_end, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(number(1), 2);
    redefine_batch_free(batch);
}

static void errors_change_nothing(void)
{
    static int data;
    void *gone = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED && munmap(gone, 4096) == 0);
    CHECK_STATUS(redefine_func_for_thread(NULL, ADDRESS(for_all)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), NULL), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), &data), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), gone), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), ADDRESS(number)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(&data, ADDRESS(for_all)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_restore_for_thread(NULL), REDEFINE_EINVAL);
    CHECK_INT(number(1), 2);
    CHECK_OK(redefine_for_thread(number, thousands_1));
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), gone), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_for_thread(ADDRESS(number), ADDRESS(number)), REDEFINE_EINVAL);
    CHECK_INT(number(1), 1002);
}

/* ---- many threads ---- */

static pthread_barrier_t barrier;

static void *a_test(void *argument)
{
    size_t self = (size_t)(intptr_t)argument;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(redefine_func_for_thread(ADDRESS(number), ADDRESS(own[self])));
        for (int j = 0; j < 50; j++)
            CHECK_INT(number(j), j + 1 + 1000 * ((int)self + 1));
        CHECK_OK(redefine_func_restore_for_thread(ADDRESS(number)));
        for (int j = 0; j < 50; j++)
            CHECK_INT(number(j), j + 1);
    }
    return NULL;
}

static void parallel_tests_do_not_see_each_other(void)
{
    live_needs_stopped_threads();
    uint8_t before[16];
    pthread_t thread[THREADS];
    memcpy(before, ADDRESS(number), sizeof before);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&thread[i], NULL, a_test, (void *)(intptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(thread[i], NULL), 0);
    CHECK_INT(memcmp(before, ADDRESS(number), sizeof before), 0);
}

static void short_threads(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, redefine_and_end, (void *)(intptr_t)i), 0);
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
}

/* `SOAK_THREADS` of them in make soak. */
static void threads_that_end_leave_nothing(void)
{
    live_needs_stopped_threads();
    const char *asked = getenv("SOAK_THREADS");
    short_threads(50);
    long before = live_own_bytes();
    short_threads(asked ? strtoul(asked, NULL, 10) : LIVE_ROUNDS(2000));
    /* A sanitizer keeps what it knows of threads that have ended. */
    if (live_own_bytes() - before > 64 * 4096 && !live_shares_process())
        live_fail(__FILE__, __LINE__, "%ld bytes more", live_own_bytes() - before);
    CHECK_INT(number(1), 2);
}

static void a_forked_child_keeps_its_own(void)
{
    live_needs_stopped_threads();
    CHECK_OK(redefine_for_thread(number, thousands_3));
    pid_t pid = live_fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_INT(number(1), 3002);
        CHECK_INT(elsewhere(1), 2);
        short_threads(20); /* which must not be given the record of this one */
        CHECK_INT(number(1), 3002);
        CHECK_OK(redefine_restore(number));
        CHECK_INT(number(1), 2);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    CHECK_INT(number(1), 3002);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"other threads do not see it", others_do_not_see_it, 0},
        {"it lies above what all see", it_lies_above_what_all_see, 0},
        {"what all see comes off beneath", what_all_see_comes_off_beneath, 0},
        {"errors change nothing", errors_change_nothing, 0},
        {"eight parallel tests do not see each other", parallel_tests_do_not_see_each_other, 0},
        {"threads that end leave nothing", threads_that_end_leave_nothing, 3600},
        {"a forked child keeps its own", a_forked_child_keeps_its_own, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
