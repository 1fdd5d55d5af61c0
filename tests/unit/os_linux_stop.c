/* SPDX-License-Identifier: MIT
 *
 * Stopping the world: threads that run, sleep, come and go.
 */
#include "os_linux_stop.h"

#include <linux/futex.h>
#include <poll.h>

static void busy_threads(size_t count)
{
    pthread_t thread[MOST_BUSY];
    for (size_t i = 0; i < count; i++)
        start(&thread[i], busy, (void *)&progress[i]);
    const int rounds = count > 20 ? 10 : 100;
    double took = 0, still = 0, most = 0;
    for (int i = 0; i < rounds; i++) {
        struct seen seen = {0};
        struct rdf_stop_report report;
        if (i % 10 == 0) {
            CHECK_EQUAL(stop_world(look, &seen, &report), 17);
            CHECK(!seen.moved);
            CHECK_EQUAL(seen.threads, count);
            CHECK_EQUAL(seen.calls, 1);
        }
        double from = now_us();
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
        double one = now_us() - from;
        CHECK_EQUAL(report.thread_count, count);
        CHECK_EQUAL(report.err, 0);
        took += one;
        still += (double)report.stopped_ns / 1e3;
        most = one > most ? one : most;
    }
    printf("# %zu busy threads: %.0f us a stop, world still %.0f us; the longest %.0f us\n", count,
           took / rounds, still / rounds, most);
    for (size_t i = 0; i < count; i++)
        check_progress(&progress[i]);
    enough = true;
    for (size_t i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
}

static void no_other_thread(void)
{
    struct seen seen = {0};
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(look, &seen, &report), 17);
    CHECK_EQUAL(seen.threads, 0);
}

static void busy_8(void)
{
    busy_threads(8);
}

static void busy_100(void)
{
    busy_threads(100);
}

/* ---- threads that sleep in the kernel ---- */

static uint32_t futex_word;

static void *in_read(void *unused)
{
    char byte;
    wrong += read(pipe_end[0], &byte, 1) != 1;
    awake++;
    return unused;
}

static void *in_nanosleep(void *unused)
{
    unsigned slow = test_slowdown();
    struct timespec nap = {slow, 0}, rest;
    double from = now_us();
    wrong += nanosleep(&nap, &rest) != 0;
    double took = now_us() - from;
    wrong += took < 0.99e6 * slow || took > 1.9e6 * slow;
    awake++;
    return unused;
}

static void *in_futex(void *unused)
{
    wrong += syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL) != 0;
    awake++;
    return unused;
}

static void *in_poll(void *unused)
{
    struct pollfd one = {pipe_end[0], POLLPRI, 0};
    wrong += poll(&one, 1, 1000 * (int)test_slowdown()) != 0;
    awake++;
    return unused;
}

static void *in_sigwait(void *unused)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    int sig = 0;
    wrong += sigwait(&set, &sig) != 0 || sig != SIGUSR2; /* glibc restarts rt_sigtimedwait on EINTR */
    awake++;
    return unused;
}

static void *in_mutex(void *mutex)
{
    wrong += pthread_mutex_lock(mutex) != 0;
    awake++;
    pthread_mutex_unlock(mutex);
    return NULL;
}

static void sleeping_threads(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    CHECK_EQUAL(pipe(pipe_end), 0);
    void *(*const run[])(void *) = {in_read, in_nanosleep, in_futex, in_poll, in_sigwait, in_mutex};
    enum { KINDS = sizeof run / sizeof *run };
    pthread_t thread[KINDS];
    for (int i = 0; i < KINDS; i++)
        start(&thread[i], run[i], &mutex);
    usleep(50 * 1000);
    for (int i = 0; i < 100; i++) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
        CHECK_EQUAL(report.thread_count, KINDS);
        usleep(1000);
    }
    CHECK_EQUAL(awake, 0);
    CHECK_EQUAL(write(pipe_end[1], "x", 1), 1);
    futex_word = 1;
    syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL);
    pthread_kill(thread[4], SIGUSR2);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < KINDS; i++)
        pthread_join(thread[i], NULL);
    CHECK_EQUAL(awake, KINDS);
    CHECK_EQUAL(wrong, 0);
}

/* ---- threads that come and go ---- */

static void *ends_at_once(void *unused)
{
    return unused;
}

static void *makes_threads(void *unused)
{
    while (!enough) {
        pthread_t thread;
        start(&thread, ends_at_once, NULL);
        progress[0]++;
        pthread_join(thread, NULL);
    }
    return unused;
}

static void thread_storm(void)
{
    enum { MAKERS = 4 };
    pthread_t thread[MAKERS];
    for (int i = 0; i < MAKERS; i++)
        start(&thread[i], makes_threads, NULL);
    double took = 0;
    for (int i = 0; i < 100; i++) {
        struct seen seen = {0};
        struct rdf_stop_report report;
        double from = now_us();
        CHECK_EQUAL(stop_world(look, &seen, &report), 17);
        took += now_us() - from;
        CHECK(!seen.moved);
        CHECK(seen.threads >= MAKERS && seen.threads <= 3 * MAKERS);
    }
    printf("# %llu threads made by %d threads during 100 stops of %.0f us\n", (unsigned long long)progress[0],
           MAKERS, took / 100);
    enough = true;
    for (int i = 0; i < MAKERS; i++)
        pthread_join(thread[i], NULL);
}

static void main_thread_ended_part(void)
{
    pthread_t thread;
    start(&thread, busy, (void *)&progress[0]);
    usleep(50 * 1000);
    for (int i = 0; i < 20; i++) {
        struct seen seen = {0};
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(look, &seen, &report), 17);
        CHECK_EQUAL(seen.threads, 1);
        CHECK(!seen.moved);
    }
    _exit(0);
}

static void *without_main_thread(void *unused)
{
    main_thread_ended_part();
    return unused;
}

/* Not by pthread_exit: in a child of fork musl 1.2.3 keeps a lock then, and no thread is made any more. */
static void main_thread_ended(void)
{
    pthread_t thread;
    start(&thread, without_main_thread, NULL);
    syscall(SYS_exit, 0);
}

/* ---- body that asks to be called again ---- */

static int again(struct rdf_world *world, void *ctx)
{
    int *left = ctx;
    if (*left == 0)
        return 5;
    --*left;
    world->blocking_tid = world->thread_count ? world->thread[0].tid : -1;
    return -EAGAIN;
}

static void body_asks_again(void)
{
    pthread_t thread;
    start(&thread, is_traced, (void *)&progress[0]);
    while (!traced_tid)
        usleep(1000);
    int left = 5;
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(again, &left, &report), 5);
    CHECK_EQUAL(left, 0);
    /* It is asked until the deadline: how often, depends on who else wants the CPU. */
    enum { EVER = 1000000 };
    left = EVER;
    int ret = -1;
    for (uint64_t deadline_ms = 100; left >= EVER - 3; deadline_ms *= 2) {
        left = EVER;
        CHECK_EQUAL(space.ops->with_world_stopped(&space, deadline_ms, again, &left, &ret, &report),
                    -ETIMEDOUT);
        CHECK(left == EVER || report.blocking_tid == traced_tid);
        CHECK_EQUAL(ret, -1);
    }
}

/* ---- two at once; a fork in between ---- */

static volatile bool others_ok = true;
static void *stops_too(void *unused)
{
    for (int i = 0; i < 50; i++) {
        struct rdf_stop_report report;
        int ret;
        int err = space.ops->with_world_stopped(&space, 5000, nothing, NULL, &ret, &report);
        /* Both helpers attach; each may find a thread of its world taken: refused by name, not a hang. */
        if (err && err != -EBUSY && err != -ETIMEDOUT && err != -EPERM)
            others_ok = false;
    }
    return unused;
}

static void two_at_once(void)
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        start(&thread[i], stops_too, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    CHECK(others_ok);
}

static void *forks(void *unused)
{
    while (!enough) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        int status;
        if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
            wrong++;
        progress[0] += child > 0;
    }
    return unused;
}

static void forks_meanwhile(void)
{
    pthread_t thread;
    start(&thread, forks, NULL);
    for (int i = 0; i < 50 || progress[0] <= 10; i++) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    }
    enough = true;
    pthread_join(thread, NULL);
    CHECK_EQUAL(wrong, 0);
}

int main(int argc, char **argv)
{
    static const struct stop_case cases[] = {
        {"no_other_thread", no_other_thread, 10},
        {"busy_8", busy_8, 60},
        {"busy_100", busy_100, 120},
        {"sleeping_threads", sleeping_threads, 30},
        {"thread_storm", thread_storm, 120},
        {"main_thread_ended", main_thread_ended, 30},
        {"body_asks_again", body_asks_again, 120},
        {"two_at_once", two_at_once, 120},
        {"forks_meanwhile", forks_meanwhile, 120},
    };
    return stop_main("os_linux_stop", cases, sizeof cases / sizeof *cases, argc, argv);
}
