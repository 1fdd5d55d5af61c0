/* SPDX-License-Identifier: MIT
 *
 * What can refuse to be stopped, and what can refuse to stop: nothing is changed then, and it is said who it
 * was.
 */
#include "os_linux_stop.h"

/* ---- threads that cannot be stopped ---- */

static volatile int vfork_tid;
static volatile unsigned vfork_ms;
static void *in_vfork(void *unused)
{
    vfork_tid = (int)syscall(SYS_gettid);
    pid_t child = vfork();
    if (child == 0) {
        struct timespec nap = {vfork_ms / 1000, (long)(vfork_ms % 1000) * 1000000};
        syscall(SYS_nanosleep, &nap, NULL);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    awake++;
    return unused;
}

static void vfork_parent(void)
{
    pthread_t thread, other;
    const unsigned slow = test_slowdown();
    vfork_ms = 1500 * slow;
    start(&thread, in_vfork, NULL);
    start(&other, busy, (void *)&progress[0]);
    usleep(50 * 1000);
    struct rdf_stop_report report;
    int ret = -1;
    CHECK_EQUAL(space.ops->with_world_stopped(&space, 300 * slow, nothing, NULL, &ret, &report), -ETIMEDOUT);
    CHECK_EQUAL(awake, 0); /* the child lives five times as long */
    CHECK_EQUAL(report.blocking_tid, vfork_tid);
    CHECK_EQUAL(report.err, -ETIMEDOUT);
    CHECK(strcmp(report.step, "ptrace interrupt") == 0);
    CHECK_EQUAL(ret, -1);
    check_progress(&progress[0]);
    /* With more time it becomes possible as soon as the child is gone. */
    CHECK_EQUAL(space.ops->with_world_stopped(&space, 5000 * slow, nothing, NULL, &ret, &report), 0);
    CHECK_EQUAL(ret, 0);
    pthread_join(thread, NULL);
    CHECK_EQUAL(awake, 1);
    enough = true;
    pthread_join(other, NULL);
}

static void other_tracer(void)
{
    pthread_t thread, other;
    start(&thread, is_traced, (void *)&progress[0]);
    start(&other, busy, (void *)&progress[1]);
    while (!traced_tid)
        usleep(1000);
    int ready[2], leave[2];
    CHECK(pipe(ready) == 0 && pipe(leave) == 0);
    pid_t parent = getpid();
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    pid_t tracer = fork();
    if (tracer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char byte = ptrace(PTRACE_SEIZE, traced_tid, 0, 0) ? 'n' : 'y';
        (void)!write(ready[1], &byte, 1);
        (void)!read(leave[0], &byte, 1);
        _exit(0);
    }
    char byte;
    CHECK_EQUAL(read(ready[0], &byte, 1), 1);
    if (byte != 'y')
        SKIP_CHILD("a child may not trace its parent here");
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(nothing, NULL, &report), -EBUSY);
    CHECK_EQUAL(report.blocking_tid, traced_tid);
    CHECK(strncmp(report.step, "ptrace seize", 12) == 0);
    CHECK_EQUAL(getpid(), parent);
    check_progress(&progress[0]);
    check_progress(&progress[1]);
    CHECK_EQUAL(write(leave[1], "x", 1), 1);
    waitpid(tracer, NULL, 0);
    CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    _exit(0);
}

static void denied(int nr, int err, const char *step)
{
    pthread_t thread;
    start(&thread, busy, (void *)&progress[0]);
    deny(nr, err);
    struct rdf_stop_report report;
    int got = stop_world(nothing, NULL, &report);
    if (!step) {
        CHECK_EQUAL(got, 0);
        return;
    }
    CHECK_EQUAL(got, -err);
    CHECK_EQUAL(report.err, -err);
    CHECK(strncmp(report.step, step, strlen(step)) == 0);
    CHECK(!report.body_began);
    check_progress(&progress[0]);
}

static void denied_ptrace(void)
{
    denied(SYS_ptrace, EPERM, "ptrace seize");
}

static void denied_ptrace_nosys(void)
{
    denied(SYS_ptrace, ENOSYS, "ptrace seize");
}

static void denied_clone(void)
{
    denied(SYS_clone, EPERM, "clone");
}

static void denied_getdents(void)
{
    denied(SYS_getdents64, EACCES, "read /proc/self/task");
}

static void denied_open(void)
{
    denied(SYS_openat, EACCES, "open /proc/self/task");
}

static void denied_wait(void)
{
    denied(SYS_wait4, EPERM, NULL); /* the helper's end is seen all the same */
}

/* As an ordinary user that is not dumpable: ptrace is refused until dumpable is set, and put back. */
static void not_dumpable(void)
{
    if (geteuid() == 0)
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK_EQUAL(prctl(PR_SET_DUMPABLE, 0), 0);
    pthread_t thread;
    start(&thread, busy, (void *)&progress[0]);
    struct rdf_stop_report report;
    struct seen seen = {0};
    int got = stop_world(look, &seen, &report);
    CHECK_EQUAL(got, 17);
    CHECK_EQUAL(seen.threads, 1);
    CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 0);
}

int main(int argc, char **argv)
{
    static const struct stop_case cases[] = {
        {"vfork_parent", vfork_parent, 30},   {"other_tracer", other_tracer, 30},
        {"denied_ptrace", denied_ptrace, 10}, {"denied_ptrace_nosys", denied_ptrace_nosys, 10},
        {"denied_clone", denied_clone, 10},   {"denied_getdents", denied_getdents, 10},
        {"denied_open", denied_open, 10},     {"denied_wait", denied_wait, 10},
        {"not_dumpable", not_dumpable, 10},
    };
    return stop_main("os_linux_stop_refused", cases, sizeof cases / sizeof *cases, argc, argv);
}
