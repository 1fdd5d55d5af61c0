/* SPDX-License-Identifier: MIT
 *
 * Stopping the world: every kind of thread, everything that can refuse, and nothing changed afterwards.
 */
#include "os/linux/syscall.h"
#include "os_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

static struct rdf_space space;

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void start(pthread_t *thread, void *(*run)(void *), void *ctx)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    CHECK_EQUAL(pthread_create(thread, &attr, run, ctx), 0);
}

/* ---- bodies; they run in the helper, so they only record ---- */

enum { MOST_BUSY = 128 };
static volatile uint64_t progress[MOST_BUSY];
static volatile bool enough;

struct seen {
    size_t threads;
    int thread_tid[MOST_BUSY];
    bool moved; /* a thread made progress while the world stood still */
    long calls;
};

/* Looks twice, a while apart, whether anybody runs. */
static int look(struct rdf_world *world, void *ctx)
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

static int nothing(struct rdf_world *world, void *ctx)
{
    (void)world;
    (void)ctx;
    return 0;
}

static int stop_world(rdf_stopped_body *body, void *ctx, struct rdf_stop_report *report)
{
    int ret = -12345;
    int err = space.ops->with_world_stopped(&space, 20000, body, ctx, &ret, report);
    if (err)
        CHECK_EQUAL(ret, -12345);
    return err ? err : ret;
}

static void *busy(void *ctx)
{
    volatile uint64_t *mine = ctx;
    while (!enough)
        ++*mine;
    return NULL;
}

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
    uint64_t was[MOST_BUSY];
    for (size_t i = 0; i < count; i++)
        was[i] = progress[i];
    for (size_t i = 0; i < count; i++)
        for (int wait = 0; progress[i] == was[i]; wait++) {
            CHECK(wait < 2000); /* 20 s: not slow but left stopped */
            usleep(10 * 1000);
        }
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

static int pipe_end[2];
static uint32_t futex_word;
static volatile int awake; /* how many have returned from their call */
static volatile int wrong; /* with a result that no one caused */

static void *in_read(void *unused)
{
    char byte;
    wrong += read(pipe_end[0], &byte, 1) != 1;
    awake++;
    return unused;
}

static void *in_nanosleep(void *unused)
{
    struct timespec nap = {1, 0}, rest;
    double from = now_us();
    wrong += nanosleep(&nap, &rest) != 0;
    double took = now_us() - from;
    wrong += took < 0.99e6 || took > 1.9e6;
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
    wrong += poll(&one, 1, 1000) != 0;
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
    for (int i = 0; i < 300; i++) {
        struct seen seen = {0};
        struct rdf_stop_report report;
        double from = now_us();
        CHECK_EQUAL(stop_world(look, &seen, &report), 17);
        took += now_us() - from;
        CHECK(!seen.moved);
        CHECK(seen.threads >= MAKERS && seen.threads <= 3 * MAKERS);
    }
    printf("# %llu threads made by %d threads during 300 stops of %.0f us\n", (unsigned long long)progress[0],
           MAKERS, took / 300);
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
    vfork_ms = 1500;
    start(&thread, in_vfork, NULL);
    start(&other, busy, (void *)&progress[0]);
    usleep(50 * 1000);
    struct rdf_stop_report report;
    int ret = -1;
    double from = now_us();
    CHECK_EQUAL(space.ops->with_world_stopped(&space, 300, nothing, NULL, &ret, &report), -ETIMEDOUT);
    double took = now_us() - from;
    CHECK(took > 250e3 && took < 600e3);
    CHECK_EQUAL(report.blocking_tid, vfork_tid);
    CHECK_EQUAL(report.err, -ETIMEDOUT);
    CHECK(strcmp(report.step, "ptrace interrupt") == 0);
    CHECK_EQUAL(ret, -1);
    uint64_t was = progress[0];
    usleep(100 * 1000);
    CHECK(progress[0] != was);
    /* With more time it becomes possible as soon as the child is gone. */
    CHECK_EQUAL(space.ops->with_world_stopped(&space, 5000, nothing, NULL, &ret, &report), 0);
    CHECK_EQUAL(ret, 0);
    pthread_join(thread, NULL);
    CHECK_EQUAL(awake, 1);
    enough = true;
    pthread_join(other, NULL);
}

static volatile int traced_tid;
static void *is_traced(void *ctx)
{
    traced_tid = (int)syscall(SYS_gettid);
    return busy(ctx);
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
    uint64_t was = progress[0] + progress[1];
    usleep(50 * 1000);
    CHECK(progress[0] + progress[1] != was);
    CHECK_EQUAL(write(leave[1], "x", 1), 1);
    waitpid(tracer, NULL, 0);
    CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    _exit(0);
}

static void deny(int nr, int err)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        SKIP_CHILD("no seccomp filters here");
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
    uint64_t was = progress[0];
    usleep(50 * 1000);
    CHECK(progress[0] != was);
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

/* ---- moving a thread ---- */

#if defined(__x86_64__)
/* Two loops: `jmp .` at 0, and at 16 code that stores 1 to [rdi] and returns. */
static void pc_is_moved_code(char *code)
{
    static const uint8_t loop[] = {0xeb, 0xfe};
    static const uint8_t leave[] = {0xc7, 0x07, 1, 0, 0, 0, 0xc3};
    memcpy(code, loop, sizeof loop);
    memcpy(code + 16, leave, sizeof leave);
    /* 32: read(0 from rdi..), as a function with the system call right at its end; 64: the same again. */
    static const uint8_t call[] = {0x31, 0xc0, 0x0f, 0x05, 0xc3}; /* xor eax,eax; syscall; ret */
    memcpy(code + 32, call, sizeof call);
    memcpy(code + 64, call, sizeof call);
}

static char *code_page;

static int move(struct rdf_world *world, void *ctx)
{
    int *found = ctx;
    uint64_t from = (uint64_t)(uintptr_t)code_page;
    for (size_t i = 0; i < world->thread_count; i++) {
        if (world->thread[i].pc == from && world->thread[i].restart_bytes == 0) {
            *found += 1;
            if (world->set_pc(world, i, from + 16))
                return 1;
        }
        if (world->thread[i].pc == from + 34 && world->thread[i].restart_bytes == 2) {
            *found += 10;
            if (world->set_pc(world, i, from + 66))
                return 1;
        }
    }
    return 0;
}

static volatile int left_loop;
static void *in_loop(void *unused)
{
    ((void (*)(volatile int *))(uintptr_t)code_page)(&left_loop);
    return unused;
}

static volatile long read_result;
static volatile char read_byte;
static void *in_code_read(void *unused)
{
    long (*read_in_page)(long, volatile char *, long);
    read_in_page = (long (*)(long, volatile char *, long))(uintptr_t)(code_page + 32);
    read_result = read_in_page(pipe_end[0], &read_byte, 1);
    return unused;
}

static void pc_is_moved(void)
{
    code_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pc_is_moved_code(code_page);
    mprotect(code_page, 4096, PROT_READ | PROT_EXEC);
    CHECK_EQUAL(pipe(pipe_end), 0);
    pthread_t thread, reader;
    start(&thread, in_loop, NULL);
    start(&reader, in_code_read, NULL);
    usleep(50 * 1000);
    int found = 0;
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(move, &found, &report), 0);
    CHECK_EQUAL(found, 11);
    pthread_join(thread, NULL);
    CHECK_EQUAL(left_loop, 1);
    /* The old place may be overwritten now: the read goes on in the new one. */
    mprotect(code_page, 4096, PROT_READ | PROT_WRITE);
    memset(code_page + 32, 0xcc, 16);
    mprotect(code_page, 4096, PROT_READ | PROT_EXEC);
    CHECK_EQUAL(write(pipe_end[1], "z", 1), 1);
    pthread_join(reader, NULL);
    CHECK_EQUAL(read_result, 1);
    CHECK_EQUAL(read_byte, 'z');
}
#else
static void pc_is_moved(void)
{
    SKIP_CHILD("code for x86-64 only");
}
#endif

/* ---- writing as the tracer ---- */

struct write_order {
    enum rdf_write_method method;
    uint64_t addr;
    const void *bytes;
    size_t len_bytes;
};

static int write_as_tracer(struct rdf_world *world, void *ctx)
{
    const struct write_order *order = ctx;
    return -space.ops->write(&space, world, order->method, order->addr, order->bytes, order->len_bytes);
}

static int call_at(const void *code)
{
    return ((int (*)(void))(uintptr_t)code)();
}

static const uint8_t returns_1[] = RDF_CODE_RETURNS_1;
static const uint8_t returns_2[] = RDF_CODE_RETURNS_2;

static void tracer_writes(void)
{
    enum { MSEAL = 462 };
    char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area, 8192, PROT_READ | PROT_EXEC);
    bool sealed = syscall(MSEAL, area, 8192, 0) == 0;
    for (int with_threads = 0; with_threads < 2; with_threads++) {
        pthread_t thread;
        if (with_threads)
            start(&thread, busy, (void *)&progress[0]);
        for (int method = RDF_WRITE_TRACER_MEM; method <= RDF_WRITE_SELF_MEM; method++)
            for (size_t off = 4096 - 16; off < 4096 + 8; off += sizeof returns_1 % 4 ? 1 : 4) {
                struct rdf_stop_report report;
                struct write_order order = {(enum rdf_write_method)method, (uint64_t)(uintptr_t)(area + off),
                                            NULL, sizeof returns_1};
                order.bytes = returns_1;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                CHECK_EQUAL(call_at(area + off), 1);
                order.bytes = returns_2;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                CHECK_EQUAL(call_at(area + off), 2);
                uint8_t zero[sizeof returns_1] = {0};
                order.bytes = zero;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                for (size_t i = 0; i < 8192; i++)
                    CHECK_EQUAL(area[i], 0);
            }
    }
    for (int method = RDF_WRITE_TRACER_MEM; method <= RDF_WRITE_TRACER_POKE; method++) {
        struct rdf_stop_report report;
        struct write_order order = {(enum rdf_write_method)method, 8, returns_1, sizeof returns_1};
        CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), EFAULT);
    }
    printf("# the page was %ssealed\n", sealed ? "" : "not ");
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
    left = 1000000;
    int ret = -1;
    CHECK_EQUAL(space.ops->with_world_stopped(&space, 100, again, &left, &ret, &report), -ETIMEDOUT);
    CHECK_EQUAL(report.blocking_tid, traced_tid);
    CHECK(left < 1000000 - 3);
    CHECK_EQUAL(ret, -1);
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
        progress[0]++;
    }
    return unused;
}

static void forks_meanwhile(void)
{
    pthread_t thread;
    start(&thread, forks, NULL);
    for (int i = 0; i < 300; i++) {
        struct rdf_stop_report report;
        CHECK_EQUAL(stop_world(nothing, NULL, &report), 0);
    }
    enough = true;
    pthread_join(thread, NULL);
    CHECK_EQUAL(wrong, 0);
    CHECK(progress[0] > 10);
}

/* ---- the list ---- */

static void valgrind_is_told(void)
{
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(nothing, NULL, &report), -ENOSYS);
    CHECK(strstr(report.step, "valgrind") != NULL);
}

static const struct live_case {
    const char *name;
    void (*run)(void);
    unsigned limit_s;
} live_cases[] = {
    {"no_other_thread", no_other_thread, 10},
    {"busy_8", busy_8, 60},
    {"busy_100", busy_100, 120},
    {"sleeping_threads", sleeping_threads, 30},
    {"thread_storm", thread_storm, 120},
    {"main_thread_ended", main_thread_ended, 30},
    {"vfork_parent", vfork_parent, 30},
    {"other_tracer", other_tracer, 30},
    {"denied_ptrace", denied_ptrace, 10},
    {"denied_ptrace_nosys", denied_ptrace_nosys, 10},
    {"denied_clone", denied_clone, 10},
    {"denied_getdents", denied_getdents, 10},
    {"denied_open", denied_open, 10},
    {"denied_wait", denied_wait, 10},
    {"helper_killed", helper_killed, 60},
    {"process_killed", process_killed, 30},
    {"pc_is_moved", pc_is_moved, 10},
    {"tracer_writes", tracer_writes, 60},
    {"signals_survive", signals_survive, 60},
    {"own_signals_survive", own_signals_survive, 60},
    {"nothing_changes", nothing_changes, 120},
    {"not_dumpable", not_dumpable, 10},
    {"body_asks_again", body_asks_again, 10},
    {"two_at_once", two_at_once, 120},
    {"forks_meanwhile", forks_meanwhile, 60},
};

static void run_live_case(void **state)
{
    const struct live_case *live = *state;
    in_child(RUNNING_ON_VALGRIND ? valgrind_is_told : live->run, live->limit_s);
}

int main(int argc, char **argv)
{
#if defined(__SANITIZE_THREAD__)
    (void)argc, (void)argv;
    puts("1..0 # SKIP ThreadSanitizer adds a thread to every count, and the tests race on purpose");
    return 0;
#endif
    if (ptrace(PTRACE_PEEKTEXT, 0, NULL, NULL) == -1 && errno == ENOSYS) {
        puts("1..0 # SKIP there is no ptrace here (an emulator), and all of it needs that");
        return 0;
    }
    rdf_os_local_space(&space);
    enum { CASES = sizeof live_cases / sizeof *live_cases };
    static struct CMUnitTest tests[CASES];
    size_t count = 0;
    for (size_t i = 0; i < CASES; i++)
        if (argc < 2 || strcmp(argv[1], live_cases[i].name) == 0)
            tests[count++] = (struct CMUnitTest){.name = live_cases[i].name,
                                                 .test_func = run_live_case,
                                                 .initial_state = (void *)(uintptr_t)&live_cases[i]};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return _cmocka_run_group_tests("os_linux_stop", tests, count, NULL, NULL);
}
