/* SPDX-License-Identifier: MIT
 *
 * How long threads are waited for: what counts is their time, not the machine's.
 */
#include "os/linux/patience.h"
#include "os_linux_stop.h"

#include <sched.h>
#include <sys/resource.h>

/* ---- what counts, by a clock of the test's own ---- */

enum { DEADLINE_MS = 1000, NAP_MS = 5 };

static struct rdf_patience patience;
static uint64_t clock_ns;

static void begin(void)
{
    clock_ns = 77;
    rdf_patience_begin(&patience, DEADLINE_MS, clock_ns);
}

/* After how many milliseconds it is over, looked at every so often; the thread runs once every so often. */
static unsigned over_after_ms(char state, unsigned look_ms, unsigned run_ms)
{
    begin();
    struct rdf_task task = {.tid = 5, .state = state};
    for (unsigned ms = look_ms;; ms += look_ms) {
        clock_ns += look_ms * NS_PER_MS;
        task.ran_ticks += run_ms && ms % run_ms == 0;
        if (!rdf_patience_look(&patience, clock_ns, &task))
            return ms;
    }
}

static void what_counts(void **state)
{
    (void)state;
    assert_int_equal(over_after_ms('D', NAP_MS, 0), DEADLINE_MS);
    assert_int_equal(over_after_ms('S', NAP_MS, 0), DEADLINE_MS);
    assert_int_equal(over_after_ms('?', NAP_MS, 0), DEADLINE_MS);
    /* It never gets a CPU; now and then; all the time, which is known from the second look on. */
    assert_int_equal(over_after_ms('R', NAP_MS, 0), RDF_PATIENCE_TIMES * DEADLINE_MS);
    assert_in_range(over_after_ms('R', NAP_MS, 2 * RDF_GAP_MS), 3 * DEADLINE_MS / 2, 5 * DEADLINE_MS / 2);
    assert_int_equal(over_after_ms('R', NAP_MS, NAP_MS), DEADLINE_MS + NAP_MS);
    /* The one who waits comes late, again and again. */
    assert_int_equal(over_after_ms('D', 10 * RDF_GAP_MS, 0), 10 * DEADLINE_MS);
    assert_int_equal(over_after_ms('R', 10 * RDF_GAP_MS, 0), 10 * RDF_PATIENCE_TIMES * DEADLINE_MS);
}

static void what_others_stand_still_counts(void **state)
{
    (void)state;
    begin();
    struct rdf_task starved = {.tid = 5, .state = 'R'};
    assert_true(rdf_patience_look(&patience, clock_ns += NAP_MS * NS_PER_MS, &starved));
    rdf_patience_held(&patience, clock_ns += 10 * DEADLINE_MS * NS_PER_MS, (DEADLINE_MS - 1) * NS_PER_MS);
    assert_true(rdf_patience_look(&patience, clock_ns += NAP_MS * NS_PER_MS, &starved));
    rdf_patience_held(&patience, clock_ns += NS_PER_MS, NS_PER_MS);
    assert_false(rdf_patience_look(&patience, clock_ns += NS_PER_MS, &starved));
}

static void whose_time_counts(void **state)
{
    (void)state;
    struct rdf_task nobody = {.state = '?'}, starved = {.tid = 5, .state = 'R'},
                    stuck = {.tid = 6, .state = 'D'};
    assert_true(rdf_task_counts_rather(&starved, &nobody));
    assert_true(rdf_task_counts_rather(&stuck, &starved));
    assert_false(rdf_task_counts_rather(&starved, &starved));
    assert_false(rdf_task_counts_rather(&starved, &stuck));
    begin();
    assert_true(rdf_patience_look(&patience, clock_ns += NAP_MS * NS_PER_MS, &starved));
    struct rdf_task other = {.tid = 7, .state = 'R'};
    assert_true(rdf_patience_look(&patience, clock_ns += NAP_MS * NS_PER_MS, &other));
    rdf_patience_begin(&patience, UINT64_MAX, clock_ns); /* no end in sight */
    assert_true(rdf_patience_look(&patience, clock_ns + NS_PER_MS, &stuck));
}

static void what_stat_says(void **state)
{
    (void)state;
    char before[16];
    int tid = (int)syscall(SYS_gettid);
    struct rdf_task task;
    assert_int_equal(prctl(PR_GET_NAME, before), 0);
    assert_int_equal(prctl(PR_SET_NAME, ") Z 1 2 3 (4) "), 0);
    rdf_task_look(NULL, getpid(), tid, &task);
    assert_int_equal(task.tid, tid);
    assert_int_equal(task.state, 'R');
    uint64_t ran_ticks = task.ran_ticks;
    for (double from = now_us(); task.ran_ticks < ran_ticks + 20;) {
        assert_true(now_us() < from + 60e6);
        rdf_task_look(NULL, getpid(), tid, &task);
    }
    assert_int_equal(prctl(PR_SET_NAME, before), 0);
    rdf_task_look(NULL, getpid(), 1, &task); /* no thread of this process */
    assert_int_equal(task.state, 0);
}

/* ---- a thread that gets no CPU ---- */

enum { HOGS = 8, STARVED_MS = 2500, SLOT_MS = 100, SLOTS = 1000 };

static volatile bool ran_in[SLOTS];
static double slots_from_us;

/* Keeps a record of when it ran, at once where that is allowed, however busy the machine is. */
static void *watch(void *unused)
{
    const struct sched_param param = {.sched_priority = 1};
    (void)sched_setscheduler(0, SCHED_FIFO, &param);
    while (!enough) {
        size_t slot = (size_t)((now_us() - slots_from_us) / (SLOT_MS * 1000));
        if (slot < SLOTS)
            ran_in[slot] = true;
        usleep(1000);
    }
    return unused;
}

static size_t slots_run(double until_us)
{
    size_t run = 0;
    for (size_t i = 0; i < SLOTS && slots_from_us + (double)((i + 1) * SLOT_MS) * 1000 < until_us; i++)
        run += ran_in[i];
    return run;
}

static void pin_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK_EQUAL(sched_setaffinity(0, sizeof set, &set), 0);
}

static int hogged_cpu;
static void *is_starved(void *unused)
{
    pin_to(hogged_cpu);
    const struct sched_param param = {0};
    CHECK_EQUAL(sched_setscheduler(0, SCHED_IDLE, &param), 0);
    return is_traced((void *)&progress[0]) ? NULL : unused;
}

/* A machine that is busy otherwise would starve it on. */
static void end_of_starving(double at_us)
{
    if (fork() != 0)
        return;
    const struct sched_param param = {0};
    while (now_us() < at_us)
        usleep(1000);
    (void)sched_setscheduler(traced_tid, SCHED_OTHER, &param);
    _exit(0);
}

static void hog(double until_us)
{
    if (fork() != 0)
        return;
    pin_to(hogged_cpu);
    (void)setpriority(PRIO_PROCESS, 0, -20); /* more yet, where that is allowed */
    while (now_us() < until_us)
        ;
    _exit(0);
}

/* A thread that is ready to run, and does not for a while: the others of its CPU weigh 341 times as much
 * each. */
static void starve(pthread_t *starved, pthread_t *watcher)
{
    hogged_cpu = sched_getcpu();
    start(starved, is_starved, NULL);
    check_progress(&progress[0]);
    double until_us = now_us() + STARVED_MS * 1000;
    for (int i = 0; i < HOGS; i++)
        hog(until_us);
    end_of_starving(until_us);
    start(watcher, watch, NULL);
    usleep(200 * 1000);
    uint64_t was = progress[0];
    usleep(200 * 1000);
    if (progress[0] != was)
        SKIP_CHILD("the thread runs: this scheduler lets nobody starve");
    slots_from_us = now_us();
}

static void end_starving(pthread_t starved, pthread_t watcher)
{
    enough = true;
    pthread_join(starved, NULL);
    pthread_join(watcher, NULL);
    while (wait(NULL) > 0)
        ;
}

static void starved_is_stopped(void)
{
    pthread_t starved, watcher;
    starve(&starved, &watcher);
    struct rdf_stop_report report;
    int ret = -1;
    int err = space.ops->with_world_stopped(&space, DEADLINE_MS, nothing, NULL, &ret, &report);
    double until_us = now_us();
    printf("# after %.0f ms: %d, %s; the other ran in %zu tenths of a second\n",
           (until_us - slots_from_us) / 1000, err, report.step, slots_run(until_us));
    CHECK_EQUAL(err, 0);
    CHECK_EQUAL(ret, 0);
    CHECK_EQUAL(report.thread_count, 2);
    CHECK_EQUAL(report.err, 0);
    if (until_us < slots_from_us + DEADLINE_MS * 1000)
        SKIP_CHILD("the thread got a CPU before the deadline: other processes ended its starving");
    /* Nobody stood still for it. */
    CHECK(report.stopped_ns < STARVED_MS * NS_PER_MS / 2);
    CHECK(slots_run(until_us) > STARVED_MS / SLOT_MS / 3);
    end_starving(starved, watcher);
}

static bool is_out(struct rdf_thread *thread, bool can_move, void *ctx)
{
    (void)thread, (void)can_move, (void)ctx;
    return true;
}

static void starved_is_asked(void)
{
    pthread_t starved, watcher;
    starve(&starved, &watcher);
    struct rdf_stop_report report;
    int err = space.ops->ask_threads(&space, DEADLINE_MS, is_out, NULL, &report);
    printf("# after %.0f ms: %d, %s\n", (now_us() - slots_from_us) / 1000, err, report.step);
    CHECK_EQUAL(err, 0);
    CHECK_EQUAL(report.err, 0);
    CHECK_EQUAL(report.step[0], 0); /* what it is about is said by who asks, when it fails */
    end_starving(starved, watcher);
}

/* ---- a thread that cannot be stopped ---- */

static volatile int vfork_tid;
static volatile unsigned vfork_ms;
static void *in_vfork(void *unused)
{
    vfork_tid = (int)syscall(SYS_gettid);
    if (vfork() == 0) {
        struct timespec nap = {vfork_ms / 1000, (long)(vfork_ms % 1000) * 1000000};
        syscall(SYS_nanosleep, &nap, NULL);
        _exit(0);
    }
    return unused;
}

static void begin_vfork(pthread_t *thread, unsigned ms)
{
    vfork_ms = ms * test_slowdown();
    start(thread, in_vfork, NULL);
    while (!vfork_tid)
        usleep(1000);
    usleep(20 * 1000);
    slots_from_us = now_us();
}

static void nobody_waits_for_the_stuck(void)
{
    pthread_t stuck, watcher;
    begin_vfork(&stuck, 2 * DEADLINE_MS);
    start(&watcher, watch, NULL);
    struct rdf_stop_report report;
    int ret = -1;
    CHECK_EQUAL(space.ops->with_world_stopped(&space, DEADLINE_MS, nothing, NULL, &ret, &report), -ETIMEDOUT);
    CHECK_EQUAL(report.blocking_tid, vfork_tid);
    CHECK(strcmp(report.step, "ptrace interrupt") == 0);
    double until_us = now_us();
    printf("# refused after %.0f ms, the other ran in %zu tenths of a second\n",
           (until_us - slots_from_us) / 1000, slots_run(until_us));
    CHECK(slots_run(until_us) > DEADLINE_MS / SLOT_MS / 3);
    enough = true;
    pthread_join(stuck, NULL);
    pthread_join(watcher, NULL);
}

/* Another process stops the helper: what passes then is nobody's time. */
static void stop_helper_a_while(int caller_tid, int ready)
{
    enum { WAIT_MS = 800, STOPPED_MS = 3000 };
    char path[96], children[256];
    pid_t helper = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)getppid(), caller_tid);
    CHECK_EQUAL(write(ready, "x", 1), 1);
    while (!helper) {
        usleep(1000);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            _exit(CHILD_SKIPPED);
        children[read(fd, children, sizeof children - 1)] = 0;
        close(fd);
        char *end = children;
        do
            helper = (pid_t)strtol(end, &end, 10);
        while (helper == getpid());
    }
    usleep(WAIT_MS * 1000);
    CHECK_EQUAL(kill(helper, SIGSTOP), 0);
    usleep(STOPPED_MS * 1000);
    CHECK_EQUAL(kill(helper, SIGCONT), 0);
    _exit(0);
}

static void helper_that_does_not_run(void)
{
    enum { STUCK_MS = 4500 };
    pthread_t stuck;
    int ready[2], status = 0;
    char byte;
    CHECK_EQUAL(pipe(ready), 0);
    int caller_tid = (int)syscall(SYS_gettid);
    pid_t other = fork();
    if (other == 0)
        stop_helper_a_while(caller_tid, ready[1]);
    CHECK_EQUAL(read(ready[0], &byte, 1), 1);
    begin_vfork(&stuck, STUCK_MS);
    struct rdf_stop_report report;
    int ret = -1;
    int err = space.ops->with_world_stopped(&space, 3 * DEADLINE_MS, nothing, NULL, &ret, &report);
    printf("# after %.0f ms: %d, %s\n", (now_us() - slots_from_us) / 1000, err, report.step);
    CHECK_EQUAL(waitpid(other, &status, 0), other);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIPPED)
        SKIP_CHILD("/proc does not list children here");
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(err, 0);
    CHECK_EQUAL(ret, 0);
    pthread_join(stuck, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest counting[] = {
        cmocka_unit_test(what_counts),
        cmocka_unit_test(what_others_stand_still_counts),
        cmocka_unit_test(whose_time_counts),
        cmocka_unit_test(what_stat_says),
    };
    static const struct stop_case cases[] = {
        {"starved_is_stopped", starved_is_stopped, 60},
        {"starved_is_asked", starved_is_asked, 60},
        {"nobody_waits_for_the_stuck", nobody_waits_for_the_stuck, 30},
        {"helper_that_does_not_run", helper_that_does_not_run, 60},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = argc < 2 ? cmocka_run_group_tests_name("os_linux_patience", counting, NULL, NULL) : 0;
    return stop_main("os_linux_patience_kept", cases, sizeof cases / sizeof *cases, argc, argv) + failed;
}
