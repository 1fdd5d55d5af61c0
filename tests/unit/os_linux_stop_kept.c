/* SPDX-License-Identifier: MIT
 *
 * Nothing is lost by a stop and nothing is left of it, also when the helper is killed, or everybody.
 */
#include "os_linux_stop.h"

/* ---- the helper killed at any moment ---- */

static int kill_oneself(struct rdf_world *world, void *ctx)
{
    (void)world;
    (void)ctx;
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); /* libc's syscall() only: sets no errno on success */
    return 0;
}

static volatile int handled;
static void handle(int sig)
{
    (void)sig;
    __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
}

/* Sends itself one signal after the other, so that most stops find it in the delivery of one; each
 * handler must have run when the call returns. */
static void *signals_itself(void *ctx)
{
    volatile uint64_t *mine = ctx;
    while (!enough) {
        int before = __atomic_load_n(&handled, __ATOMIC_RELAXED);
        raise(SIGUSR1);
        if (__atomic_load_n(&handled, __ATOMIC_RELAXED) != before + 1)
            wrong++;
        ++*mine;
    }
    return NULL;
}

static void helper_killed(void)
{
    signal(SIGUSR1, handle);
    pthread_t thread[4];
    start(&thread[0], signals_itself, (void *)&progress[0]);
    for (int i = 1; i < 4; i++)
        start(&thread[i], busy, (void *)&progress[i]);
    for (int i = 0; i < 300; i++) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(kill_oneself, NULL, &report), -EOWNERDEAD);
        CHECK(report.body_began);
        uint64_t was[4];
        for (int j = 0; j < 4; j++)
            was[j] = progress[j];
        for (int j = 0; j < 4; j++)
            for (int wait = 0; progress[j] == was[j]; wait++) {
                CHECK(wait < 10000);
                usleep(1000);
            }
        CHECK_EQUAL(wrong, 0);
    }
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    enough = true;
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    CHECK(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
}

static void own_signals_survive(void)
{
    signal(SIGUSR1, handle);
    pthread_t thread;
    start(&thread, signals_itself, (void *)&progress[0]);
    for (int i = 0; i < 3000; i++) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
        CHECK_EQUAL(wrong, 0);
    }
    enough = true;
    pthread_join(thread, NULL);
    CHECK_EQUAL(wrong, 0);
}

/* The process is killed while the world stands still: no helper survives it. */
static int tell_and_wait(struct rdf_world *world, void *ctx)
{
    (void)world;
    int *shared = ctx;
    *shared = (int)syscall(SYS_getpid);
    /* Bounded: were the helper to survive, it would spin in real time. */
    for (int i = 0; i < 400 && !enough; i++) {
        const struct timespec nap = {0, 10 * 1000 * 1000};
        syscall(SYS_nanosleep, &nap, NULL);
    }
    return 0;
}

static void process_killed(void)
{
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        start(&thread, busy, (void *)&progress[0]);
        struct rdf_stop_report report;
        stop_world(tell_and_wait, shared, &report);
        _exit(0);
    }
    while (!*shared)
        usleep(1000);
    int helper = *shared;
    kill(child, SIGKILL);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(waitpid(helper, &status, __WALL), helper); /* orphaned to us */
    CHECK(WIFSIGNALED(status));
}

/* ---- nothing is lost, nothing has changed ---- */

static void *waits_for_signals(void *unused)
{
    while (!enough) {
        volatile uint64_t *mine = &progress[0];
        ++*mine;
    }
    return unused;
}

static volatile int queued_sum;
static void handle_queued(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    __atomic_add_fetch(&queued_sum, info->si_value.sival_int, __ATOMIC_RELAXED); /* runs in two threads */
}

static void signals_survive(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_sigaction = handle_queued;
    sigaction(SIGRTMIN + 3, &action, NULL);
    pthread_t thread;
    start(&thread, waits_for_signals, NULL);
    pid_t shooter = fork();
    enum { SHOTS = 3000 };
    if (shooter == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 1; i <= SHOTS; i++) {
            union sigval value = {.sival_int = i};
            while (sigqueue(getppid(), SIGRTMIN + 3, value))
                usleep(100);
            if (i % 4 == 0)
                usleep(50);
        }
        _exit(0);
    }
    int status;
    int stops = 0;
    while (waitpid(shooter, &status, WNOHANG) == 0) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
        stops++;
    }
    for (int i = 0; i < 100 && queued_sum != SHOTS * (SHOTS + 1) / 2; i++)
        usleep(10 * 1000);
    printf("# %d signals sent during %d stops\n", SHOTS, stops);
    CHECK_EQUAL(queued_sum, SHOTS * (SHOTS + 1) / 2);
    CHECK(stops > 0);
}

static size_t entries_of(const char *path)
{
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    size_t count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static size_t mapped_bytes(void)
{
    FILE *text = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    CHECK(text && fscanf(text, "%zu", &pages) == 1);
    fclose(text);
    return pages;
}

static volatile int children_told;
static void child_told(int sig)
{
    (void)sig;
    children_told++;
}

static void nothing_changes(void)
{
    struct sigaction action = {.sa_flags = SA_NOCLDSTOP};
    action.sa_handler = child_told;
    sigaction(SIGCHLD, &action, NULL);
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        start(&thread[i], busy, (void *)&progress[i]);
    sigset_t mask, mask_after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    errno = 4321;
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    size_t fds = entries_of("/proc/self/fd");
    size_t tasks = entries_of("/proc/self/task");
    size_t pages = mapped_bytes();
    errno = 4321;
    for (int i = 0; i < 1000; i++)
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    CHECK_EQUAL(errno, 4321);
    CHECK_EQUAL(entries_of("/proc/self/fd"), fds);
    CHECK_EQUAL(entries_of("/proc/self/task"), tasks);
    CHECK_EQUAL(mapped_bytes(), pages);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    CHECK(memcmp(&mask, &mask_after, 8) == 0);
    struct sigaction after;
    sigaction(SIGCHLD, NULL, &after);
    CHECK(after.sa_handler == child_told && (after.sa_flags & SA_NOCLDSTOP));
    CHECK_EQUAL(children_told, 0);
    CHECK(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
    CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 1);
}

int main(int argc, char **argv)
{
    static const struct stop_case cases[] = {
        {"helper_killed", helper_killed, 60},      {"process_killed", process_killed, 30},
        {"signals_survive", signals_survive, 60},  {"own_signals_survive", own_signals_survive, 60},
        {"nothing_changes", nothing_changes, 120},
    };
    return stop_main("os_linux_stop_kept", cases, sizeof cases / sizeof *cases, argc, argv);
}
