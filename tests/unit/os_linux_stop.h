/* SPDX-License-Identifier: MIT
 *
 * What the tests of stopping the world share: threads, bodies, and how their cases are run.
 */
#ifndef TESTS_UNIT_OS_LINUX_STOP_H
#define TESTS_UNIT_OS_LINUX_STOP_H

#include "os/linux/syscall.h"
#include "os_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

__attribute__((unused)) static struct rdf_space space;

__attribute__((unused)) static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

__attribute__((unused)) static void start(pthread_t *thread, void *(*run)(void *), void *ctx)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    CHECK_EQUAL(pthread_create(thread, &attr, run, ctx), 0);
}

/* ---- bodies; they run in the helper, so they only record ---- */

enum { MOST_BUSY = 128 };
__attribute__((unused)) static volatile uint64_t progress[MOST_BUSY];
__attribute__((unused)) static volatile bool enough;

struct seen {
    size_t threads;
    int thread_tid[MOST_BUSY];
    bool moved; /* a thread made progress while the world stood still */
    long calls;
};

/* Looks twice, a while apart, whether anybody runs. */
__attribute__((unused)) static int look(struct rdf_world *world, void *ctx)
{
    struct seen *seen = ctx;
    uint64_t before = 0;
    uint64_t after = 0;
    for (int i = 0; i < MOST_BUSY; i++)
        before += progress[i];
    for (volatile int wait = 0; wait < 200000; wait++)
        ;
    for (int i = 0; i < MOST_BUSY; i++)
        after += progress[i];
    seen->moved = before != after;
    seen->threads = world->thread_count;
    for (size_t i = 0; i < world->thread_count && i < MOST_BUSY; i++)
        seen->thread_tid[i] = world->thread[i].tid;
    seen->calls++;
    return 17;
}

__attribute__((unused)) static int nothing(struct rdf_world *world, void *ctx)
{
    (void)world;
    (void)ctx;
    return 0;
}

__attribute__((unused)) static int stop_world(rdf_stopped_body *body, void *ctx,
                                              struct rdf_stop_report *report)
{
    int ret = -12345;
    int err = space.ops->with_world_stopped(&space, 20000, body, ctx, &ret, report);
    if (err)
        CHECK_EQUAL(ret, -12345);
    return err ? err : ret;
}

__attribute__((unused)) static void *busy(void *ctx)
{
    volatile uint64_t *mine = ctx;
    while (!enough)
        ++*mine;
    return NULL;
}

__attribute__((unused)) static int pipe_end[2];
static volatile int awake; /* how many have returned from their call */
static volatile int wrong; /* with a result that no one caused */

__attribute__((unused)) static volatile int traced_tid;
__attribute__((unused)) static void *is_traced(void *ctx)
{
    traced_tid = (int)syscall(SYS_gettid);
    return busy(ctx);
}

/* It goes on: 20 s without are not slow but left stopped. */
__attribute__((unused)) static void check_progress(const volatile uint64_t *at)
{
    uint64_t was = *at;
    for (int wait = 0; *at == was; wait++) {
        CHECK(wait < 2000);
        usleep(10 * 1000);
    }
}

/* ---- cases ---- */

static void valgrind_is_told(void)
{
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(nothing, NULL, &report), -ENOSYS);
    CHECK(strstr(report.step, "valgrind") != NULL);
}

struct stop_case {
    const char *name;
    void (*run)(void);
    unsigned limit_s;
};

static void run_stop_case(void **state)
{
    const struct stop_case *stop_case = *state;
    in_child(RUNNING_ON_VALGRIND ? valgrind_is_told : stop_case->run, stop_case->limit_s);
}

/* With an argument only the case of that name. */
static int stop_main(const char *group, const struct stop_case *cases, size_t count, int argc, char **argv)
{
#if defined(__SANITIZE_THREAD__)
    (void)group, (void)cases, (void)count, (void)argc, (void)argv, (void)run_stop_case;
    puts("1..0 # SKIP ThreadSanitizer adds a thread to every count, and the tests race on purpose");
    return 0;
#endif
    if (ptrace(PTRACE_PEEKTEXT, 0, NULL, NULL) == -1 && errno == ENOSYS) {
        puts("1..0 # SKIP there is no ptrace here (an emulator), and all of it needs that");
        return 0;
    }
    rdf_os_local_space(&space);
    enum { CASES_MAX = 32 };
    static struct CMUnitTest tests[CASES_MAX];
    size_t chosen = 0;
    for (size_t i = 0; i < count && chosen < CASES_MAX; i++)
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0)
            tests[chosen++] = (struct CMUnitTest){.name = cases[i].name,
                                                  .test_func = run_stop_case,
                                                  .initial_state = (void *)(uintptr_t)&cases[i]};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return _cmocka_run_group_tests(group, tests, chosen, NULL, NULL);
}

#endif
