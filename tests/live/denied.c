/* SPDX-License-Identifier: MIT
 *
 * Several threads, and ptrace denied in each way there is: then it is done without a stop, or refused, with
 * the thread that is in the way and what it is doing. And one thread, which pays nothing for the others.
 */
#include "deny.h"
#include "entries.h"

#include <dirent.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/resource.h>

long target(long value);
__asm__(".text\n.p2align 6\n" FUNCTION(target, ENTRY_STEPS) ".p2align 6\n");

static long replacement(long value)
{
    return redefine_original(target)(value) + 100;
}

static atomic_bool stop;

static void *calls(void *ctx)
{
    while (!stop) {
        long is = target(1);
        CHECK(is == 2 || is == 102);
    }
    return ctx;
}

static pthread_t start(void *(*body)(void *ctx), void *ctx)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, body, ctx));
    return thread;
}

static void start_callers(void)
{
    (void)start(calls, NULL);
    (void)start(calls, NULL);
    live_threads(3);
}

#define CHECK_REPORTS(part)                                                                       \
    do {                                                                                          \
        if (!strstr(redefine_report(), part))                                                     \
            live_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", redefine_report(), part); \
    } while (0)

static void works_by(const char *layer, const char *method)
{
    struct sigaction now;
    live_world_take(&live_before);
    for (int round = 0; round < 3; round++) {
        CHECK_OK(redefine(target, replacement));
        CHECK_REPORTS(layer);
        CHECK_REPORTS(method);
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
        CHECK_REPORTS(layer);
        CHECK_INT(target(1), 2);
    }
    CHECK_WORLD(&live_before, &live_now, false);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        CHECK(!sigaction(signal, NULL, &now) && now.sa_handler == SIG_DFL);
}

static void is_refused(const char *why)
{
    struct sigaction before, now;
    CHECK(!sigaction(SIGTRAP, NULL, &before));
    live_world_take(&live_before);
    redefine_status status = redefine(target, replacement);
    CHECK(status == REDEFINE_EBUSY || status == REDEFINE_EDENIED);
    CHECK_SAYS(why);
    CHECK_SAYS("nothing was changed");
    CHECK_INT(target(1), 2);
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK(!sigaction(SIGTRAP, NULL, &now));
    CHECK(before.sa_handler == now.sa_handler);
}

/* Where no thread can be stopped: by traps, or not at all. */
static void works_unstopped(const char *method)
{
    if (ENTRY_TRAPS)
        works_by("L3: ", method);
    else
        is_refused("this CPU has no short trap");
}

static void works_stopped_or_not(bool denied)
{
    if (denied)
        works_unstopped("written by ");
    else
        works_by("L2: ", "written by ");
}

static void needs_traps(void)
{
    if (!ENTRY_TRAPS)
        live_skip("this CPU has no traps for that: each change is refused");
}

#define RULES(...)                                         \
    static const struct live_rule rules[] = {__VA_ARGS__}; \
    live_deny(rules, LIVE_COUNT(rules))

/* ---- the ways to deny ---- */

static void seccomp_eperm(void)
{
    RULES(DENY(ptrace, EPERM));
    start_callers();
    works_unstopped("written by /proc/self/mem");
}

static void seccomp_enosys(void)
{
    RULES(DENY(ptrace, ENOSYS));
    start_callers();
    works_unstopped("written by /proc/self/mem");
}

/* A filter that ends who breaks it, as systemd's does unless told otherwise, ends the helper alone. */
static void seccomp_kills(void)
{
    const struct rlimit no_core = {0, 0};
    CHECK(!setrlimit(RLIMIT_CORE, &no_core));
    RULES(DENY(ptrace, LIVE_KILLS));
    start_callers();
    works_unstopped("written by /proc/self/mem");
}

static void no_helper(void)
{
    /* clone with flags that make no thread: the helper's */
    RULES({SYS_clone, EPERM, 0, CLONE_THREAD, 0});
    start_callers();
    works_unstopped("written by /proc/self/mem");
}

static void no_process_vm(void)
{
    RULES(DENY(ptrace, EPERM), DENY(process_vm_readv, EPERM));
    start_callers();
    works_unstopped("written by /proc/self/mem");
}

static void no_self_mem(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    RULES(DENY(ptrace, EPERM));
    start_callers();
    works_unstopped("written by mprotect (writable and executable for that moment)");
}

static void no_way_to_write(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    start_callers();
    RULES(DENY(ptrace, EPERM), DENY_WRITABLE(EACCES));
    is_refused("could not be stopped");
}

static void no_membarrier(void)
{
    RULES(DENY(ptrace, EPERM), DENY(membarrier, ENOSYS));
    start_callers();
    is_refused("membarrier: ENOSYS");
}

static void as_nobody(void)
{
    if (setresuid(65534, 65534, 65534))
        live_skip("setresuid: %s", strerror(errno));
    start_callers();
    CHECK_STATUS(redefine(target, replacement), ENTRY_TRAPS ? REDEFINE_OK : REDEFINE_EDENIED);
    if (ENTRY_TRAPS)
        CHECK_REPORTS("L3: ");
}

/* 3 would be for root too; both only where this kernel has Yama. Who has given up root cannot put it back. */
static void yama(void)
{
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        live_skip("/proc/sys/kernel/yama/ptrace_scope: %s", strerror(errno));
    char before = '0';
    CHECK(read(fd, &before, 1) == 1);
    if (before == '3' || pwrite(fd, "2", 1, 0) != 1)
        live_skip("ptrace_scope cannot be set to 2: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        as_nobody();
        fflush(NULL);
        _exit(0);
    }
    bool timed_out;
    int status = live_wait(child, live_limit_s * test_slowdown() / 2, &timed_out);
    CHECK(pwrite(fd, &before, 1, 0) == 1);
    CHECK(!timed_out && WIFEXITED(status));
    _exit(WEXITSTATUS(status));
}

/* The helper is granted what only a named tracer may. */
static void yama_asks_for_a_name(void)
{
    char scope = 0;
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &scope, 1) != 1 || scope != '1')
        live_skip("there is no Yama here whose ptrace_scope is 1");
    if (setresuid(65534, 65534, 65534))
        live_skip("setresuid: %s", strerror(errno));
    start_callers();
    works_by("L2: ", "written by ");
}

/* A process that has given up root is not dumpable: the library grants itself what it needs. */
static void not_dumpable(void)
{
    if (setresuid(65534, 65534, 65534))
        live_skip("setresuid: %s", strerror(errno));
    CHECK(!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    start_callers();
    works_by("L2: ", "written by ");
    CHECK_INT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
}

static void not_dumpable_no_ptrace(void)
{
    if (setresuid(65534, 65534, 65534))
        live_skip("setresuid: %s", strerror(errno));
    CHECK(!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    RULES(DENY(ptrace, EPERM));
    start_callers();
    works_unstopped("written by ");
}

/* ---- a debugger ---- */

static int ready[2];

/* Traces the thread until the pipe is closed, and passes every signal on. */
static pid_t trace(pid_t tid)
{
    CHECK(!pipe(ready));
    pid_t tracer = fork();
    if (tracer == 0) {
        char sign = ptrace(PTRACE_SEIZE, tid, 0, 0) ? 'n' : 'y';
        (void)!write(ready[1], &sign, 1);
        for (int status; waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status);)
            (void)ptrace(PTRACE_CONT, tid, 0, WSTOPSIG(status));
        _exit(0);
    }
    char sign = 0;
    CHECK(read(ready[0], &sign, 1) == 1);
    if (sign != 'y') {
        kill(tracer, SIGKILL);
        live_skip("no thread can be traced here");
    }
    return tracer;
}

static _Atomic pid_t traced_tid;

static void *tells_its_tid(void *ctx)
{
    traced_tid = gettid();
    return calls(ctx);
}

static void debugger_of_one_thread(void)
{
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    start_callers();
    (void)start(tells_its_tid, NULL);
    while (!traced_tid)
        usleep(100);
    pid_t tracer = trace(traced_tid);
    char who[64];
    snprintf(who, sizeof who, "traced by process %d", (int)tracer);
    is_refused(who);
    snprintf(who, sizeof who, "thread %d ", (int)traced_tid);
    CHECK_SAYS(who);
    kill(tracer, SIGKILL);
    CHECK(waitpid(tracer, NULL, 0) == tracer);
    works_by("L2: ", "written by ");
}

/* As a debugger does it: every thread. */
static pid_t trace_all(void)
{
    CHECK(!pipe(ready));
    pid_t parent = getpid();
    pid_t tracer = fork();
    if (tracer == 0) {
        char path[64], sign = 'y';
        snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
        DIR *tasks = opendir(path);
        for (struct dirent *task; tasks && (task = readdir(tasks));)
            if (task->d_name[0] != '.' && ptrace(PTRACE_SEIZE, atoi(task->d_name), 0, PTRACE_O_TRACECLONE))
                sign = 'n';
        (void)!write(ready[1], &sign, 1);
        pid_t tid;
        for (int status; (tid = waitpid(-1, &status, __WALL)) > 0;)
            if (WIFSTOPPED(status))
                (void)ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status));
        _exit(0);
    }
    char sign = 0;
    CHECK(read(ready[0], &sign, 1) == 1);
    if (sign != 'y') {
        kill(tracer, SIGKILL);
        live_skip("threads cannot be traced here");
    }
    return tracer;
}

static void debugger_of_all(bool denied)
{
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    start_callers();
    pid_t tracer = trace_all();
    if (denied) {
        RULES(DENY(ptrace, EPERM));
    }
    char who[64];
    snprintf(who, sizeof who, "traced by process %d", (int)tracer);
    is_refused(who);
    kill(tracer, SIGKILL);
    CHECK(waitpid(tracer, NULL, 0) == tracer);
    works_stopped_or_not(denied);
}

static void debugger_of_all_stopped(void)
{
    debugger_of_all(false);
}

static void debugger_of_all_unstopped(void)
{
    debugger_of_all(true);
}

/* ---- threads of the kernel ---- */

static size_t task_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    size_t count = 0;
    for (struct dirent *task; (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* A read of an empty pipe that a worker waits in; the workers are listed as threads of this process. */
static int read_ends[2];
static struct io_uring_params ring_params;
static char *ring_queue; /* both queues */

static void start_workers(unsigned flags)
{
    static char byte;
    ring_params = (struct io_uring_params){.flags = flags, .sq_thread_idle = 60000};
    int ring = (int)syscall(SYS_io_uring_setup, 4, &ring_params);
    if (ring < 0)
        live_skip("io_uring_setup: %s", strerror(errno));
    CHECK(ring_params.features & IORING_FEAT_SINGLE_MMAP && !pipe(read_ends));
    const int prot = PROT_READ | PROT_WRITE;
    ring_queue = mmap(NULL, 4096, prot, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, 4096, prot, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    CHECK(ring_queue != MAP_FAILED && entry != MAP_FAILED);
    *entry =
        (struct io_uring_sqe){.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = read_ends[0], .len = 1};
    entry->addr = (uint64_t)(uintptr_t)&byte;
    *(uint32_t *)(ring_queue + ring_params.sq_off.array) = 0;
    __atomic_store_n((uint32_t *)(ring_queue + ring_params.sq_off.tail), 1, __ATOMIC_RELEASE);
    CHECK(syscall(SYS_io_uring_enter, ring, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) >= 0);
    size_t tasks = flags & IORING_SETUP_SQPOLL ? 3 : 2; /* the poller hands the read to a worker */
    for (int wait = 0; task_count() < tasks; wait++) {
        CHECK(wait < 5000);
        usleep(1000);
    }
}

/* It was not interrupted meanwhile. */
static void check_read_goes_on(void)
{
    const uint32_t *tail = (const uint32_t *)(ring_queue + ring_params.cq_off.tail);
    CHECK_INT(__atomic_load_n(tail, __ATOMIC_ACQUIRE), 0);
    CHECK(write(read_ends[1], "x", 1) == 1);
    for (int wait = 0; __atomic_load_n(tail, __ATOMIC_ACQUIRE) == 0; wait++) {
        CHECK(wait < 5000);
        usleep(1000);
    }
    CHECK_INT(((const struct io_uring_cqe *)(ring_queue + ring_params.cq_off.cqes))->res, 1);
}

static void workers(bool denied, bool alone, unsigned flags)
{
    if (denied) {
        RULES(DENY(ptrace, EPERM));
    }
    start_workers(flags);
    if (!alone)
        start_callers();
    works_stopped_or_not(denied);
    check_read_goes_on();
}

static void workers_stopped(void)
{
    workers(false, false, 0);
}

static void workers_unstopped(void)
{
    workers(true, false, 0);
}

static void poller_stopped(void)
{
    workers(false, false, IORING_SETUP_SQPOLL);
}

static void poller_unstopped(void)
{
    workers(true, false, IORING_SETUP_SQPOLL);
}

static void workers_alone(void)
{
    workers(false, true, 0);
}

/* ---- one store ---- */

long one_instruction(long value);
__asm__(".text\n.p2align 6\n" FUNCTION(one_instruction, ENTRY_ONE_STORE) ".p2align 6\n");

long one_plain(long value);
__asm__(".text\n.p2align 6\n" FUNCTION(one_plain, ENTRY_ONE_PLAIN) ".p2align 6\n");

static long more(long value)
{
    return value + 101;
}

static void *calls_one(void *ctx)
{
    while (!stop) {
        long is = one_instruction(1);
        CHECK(is == 2 || is == 102);
    }
    return ctx;
}

/* qemu 7.2 drops its translation before it stores, so another emulated CPU may translate the old instruction
 * once more in between, and keep it for good: cache maintenance is nothing to it. Asked for by TEST_ONE_CPU.
 *
 * It is not our order that lets it: the CPU that stored runs the old instruction too, behind its own DC CVAU,
 * DSB, IC IVAU, DSB, ISB (syscall_aarch64.h), which no CPU may (Arm ARM B2.4.4), before others are made to
 * synchronize by membarrier. A program of that order and nothing else, two threads calling what the third
 * stores into, was wrong in 22 and in 38 of a hundred calls with two emulated CPUs, and never with one. */
static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    if (getenv("TEST_ONE_CPU"))
        CHECK(!sched_setaffinity(0, sizeof one, &one));
}

static void works_by_store(void)
{
    stay_on_one_cpu();
    (void)start(calls_one, NULL);
    (void)start(calls_one, NULL);
    live_world_take(&live_before);
    for (int round = 0; round < 200; round++) {
        CHECK_OK(redefine(one_instruction, more));
        CHECK_REPORTS("L1: ");
        CHECK_INT(one_instruction(1), 102);
        CHECK_OK(redefine_restore(one_instruction));
        CHECK_REPORTS("L1: ");
        CHECK_INT(one_instruction(1), 2);
    }
    CHECK_WORLD(&live_before, &live_now, false);
}

static void needs_stores(void)
{
    if (!ENTRY_STORES)
        live_skip("this CPU has no instruction that may be exchanged under running threads");
}

static void own_writable_code(void)
{
    needs_stores();
    RULES(DENY(ptrace, EPERM));
    void *page = (void *)((uintptr_t)one_instruction & ~UINT64_C(4095));
    if (mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
        live_skip("writable code: %s", strerror(errno));
    works_by_store();
}

/* Where there are no traps to do it with: the page is made writable for that moment. */
static void code_as_it_is(void)
{
    needs_stores();
    if (ENTRY_TRAPS)
        live_skip("on this CPU it is done by traps");
    RULES(DENY(ptrace, EPERM));
    works_by_store();
    CHECK_OK(redefine(one_instruction, more));
    CHECK_REPORTS("written by mprotect (writable and executable for that moment)");
}

static void code_that_cannot_be_written(void)
{
    needs_stores();
    if (ENTRY_TRAPS)
        live_skip("on this CPU it is done by traps");
    (void)start(calls_one, NULL); /* which makes its stack writable */
    RULES(DENY(ptrace, EPERM), DENY_WRITABLE(EACCES));
    live_world_take(&live_before);
    CHECK_STATUS(redefine(one_instruction, more), REDEFINE_EDENIED);
    CHECK_SAYS("mprotect: EACCES");
    CHECK_SAYS("nothing was changed");
    CHECK_INT(one_instruction(1), 2);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* What the architecture does not let be exchanged while it is executed. */
static void other_writable_code(void)
{
    if (ENTRY_TRAPS)
        live_skip("on this CPU every instruction may be");
    RULES(DENY(ptrace, EPERM));
    void *page = (void *)((uintptr_t)one_plain & ~UINT64_C(4095));
    if (mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
        live_skip("writable code: %s", strerror(errno));
    (void)start(calls_one, NULL);
    CHECK_STATUS(redefine(one_plain, more), REDEFINE_EDENIED);
    CHECK_SAYS("exchanged under running threads");
    CHECK_INT(one_plain(1), 2);
}

/* ---- threads in the way ---- */

static void *blocks_everything(void *ctx)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    traced_tid = gettid();
    int signal;
    sigwait(&all, &signal);
    return ctx;
}

static void *blocks_and_spins(void *ctx)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    traced_tid = gettid();
    while (!stop)
        ;
    return ctx;
}

static void a_thread_blocks_traps_and_runs(void)
{
    needs_traps();
    RULES(DENY(ptrace, EPERM));
    start_callers();
    (void)start(blocks_and_spins, NULL);
    while (!traced_tid)
        usleep(100);
    is_refused("it blocks SIGTRAP; running, "); /* every signal blocked; musl leaves out its own three */
}

static void a_thread_blocks_traps(void)
{
    needs_traps();
    RULES(DENY(ptrace, EPERM));
    start_callers();
    (void)start(blocks_everything, NULL);
    while (!traced_tid)
        usleep(100);
    usleep(1000);
    char who[128];
    snprintf(who, sizeof who,
             "it blocks SIGTRAP, or may do so when this call returns; asleep in system call %d",
             SYS_rt_sigtimedwait);
    is_refused(who);
    snprintf(who, sizeof who, "thread %d ", (int)traced_tid);
    CHECK_SAYS(who);
}

static void handles(int signal)
{
    (void)signal;
}

static void a_handler_blocks_traps(void)
{
    needs_traps();
    RULES(DENY(ptrace, EPERM));
    struct sigaction action = {.sa_handler = handles};
    sigfillset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    start_callers();
    is_refused("handler blocks SIGTRAP");
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    works_unstopped("written by ");
}

#ifdef SYS_vfork
enum { VFORK_CALL = SYS_vfork };
#else
enum { VFORK_CALL = SYS_clone };
#endif

static void *is_vfork_parent(void *ms)
{
    traced_tid = gettid();
    pid_t child = vfork();
    if (child == 0) {
        struct timespec nap = {(long)(uintptr_t)ms / 1000, (long)(uintptr_t)ms % 1000 * 1000000};
        syscall(SYS_nanosleep, &nap, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return NULL;
}

static void vfork_parent(bool denied, uintptr_t ms)
{
    if (denied) {
        RULES(DENY(ptrace, EPERM));
    }
    start_callers();
    (void)start(is_vfork_parent, (void *)ms);
    while (!traced_tid)
        usleep(100);
    usleep(20000);
}

static void a_vfork_parent(void)
{
    needs_traps();
    vfork_parent(true, 500);
    works_unstopped("written by ");
}

static void a_vfork_parent_for_long(void)
{
    needs_traps();
    vfork_parent(true, 10000);
    is_refused("made by vfork or posix_spawn, still runs in this memory; in a sleep that nothing interrupts");
}

static void a_vfork_parent_for_long_stopped(void)
{
    vfork_parent(false, 10000);
    char who[64];
    snprintf(who, sizeof who, "in a sleep that nothing interrupts in system call %d", VFORK_CALL);
    is_refused(who);
    snprintf(who, sizeof who, "thread %d ", (int)traced_tid);
    CHECK_SAYS(who);
}

/* Handlers on alternate stacks, which interrupt the function again and again; and signals that programs use.
 */
static void calls_from_handler(int signal)
{
    (void)signal;
    long is = target(1);
    CHECK(is == 2 || is == 102);
}

static void *is_interrupted(void *ctx)
{
    static _Thread_local char area[1 << 16];
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    CHECK(!sigaltstack(&stack, NULL));
    return calls(ctx);
}

static void *interrupts(void *thread)
{
    while (!stop) {
        pthread_kill(*(pthread_t *)thread, SIGRTMAX);
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        usleep(50);
    }
    return NULL;
}

static void alternate_stacks(bool denied)
{
    static pthread_t thread;
    if (denied) {
        RULES(DENY(ptrace, EPERM));
    }
    struct sigaction action = {.sa_handler = calls_from_handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMAX, &action, NULL);
    thread = start(is_interrupted, NULL);
    (void)start(interrupts, &thread);
    for (int round = 0; round < 30; round++) {
        CHECK_OK(redefine(target, replacement));
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
    }
}

static void alternate_stacks_stopped(void)
{
    live_needs_stopped_threads();
    alternate_stacks(false);
}

static void alternate_stacks_unstopped(void)
{
    needs_traps();
    alternate_stacks(true);
}

/* Two signals at once, the second on an alternate stack: what the first interrupted is on the other one. */
int reads(const int *from);
__asm__(".text\n.p2align 6\n" FUNCTION(reads, ENTRY_READS) ".p2align 6\n");

static int reads_more(const int *from)
{
    return redefine_original(reads)(from) + 100;
}

static void *unreadable;
static atomic_bool is_below, may_return;

static void on_second_signal(int signal)
{
    (void)signal;
    is_below = true;
    while (!may_return)
        usleep(100);
}

static void on_fault(int signal)
{
    (void)signal;
    (void)raise(SIGUSR1);
    CHECK(!mprotect(unreadable, 4096, PROT_READ));
}

static void *faults_inside(void *ctx)
{
    static char area[1 << 16];
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    CHECK(!sigaltstack(&stack, NULL));
    CHECK_INT(reads(unreadable), 0);
    return ctx;
}

static void two_signals(bool denied)
{
    if (denied) {
        RULES(DENY(ptrace, EPERM));
    }
    unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(unreadable != MAP_FAILED);
    struct sigaction second = {.sa_handler = on_second_signal, .sa_flags = SA_ONSTACK};
    struct sigaction fault = {.sa_handler = on_fault};
    CHECK(!sigaction(SIGUSR1, &second, NULL) && !sigaction(SIGSEGV, &fault, NULL));
    pthread_t thread = start(faults_inside, NULL);
    while (!is_below)
        usleep(100);
    CHECK_STATUS(redefine(reads, reads_more), REDEFINE_EBUSY);
    may_return = true;
    CHECK(!pthread_join(thread, NULL));
    CHECK_OK(redefine(reads, reads_more));
    CHECK_INT(reads(unreadable), 100);
}

static void two_signals_stopped(void)
{
    live_needs_stopped_threads();
#if defined(__riscv)
    live_skip(
        "no flags tell a context there, and other stacks than the one in use are not searched (limits.md)");
#endif
    two_signals(false);
}

static void two_signals_unstopped(void)
{
    needs_traps();
    two_signals(true);
}

/* The program catches SIGTRAP itself: its own traps stay its own. */
static atomic_uint own_traps;

static void on_own_trap(int signal)
{
    (void)signal;
    own_traps++;
}

static void *traps(void *ctx)
{
    while (!stop) {
        __asm__ volatile(ENTRY_TRAP);
        usleep(20);
    }
    return ctx;
}

static void own_handler_of_traps(void)
{
    needs_traps();
    RULES(DENY(ptrace, EPERM));
    struct sigaction action = {.sa_handler = on_own_trap};
    sigaction(SIGTRAP, &action, NULL);
    (void)start(traps, NULL);
    start_callers();
    works_unstopped("written by ");
    unsigned before = own_traps;
    usleep(20000);
    CHECK(own_traps > before);
}

/* ---- one thread ---- */

static void one_thread_pays_nothing(void)
{
    static const int nrs[] = {SYS_clone,
                              SYS_clone3,
                              SYS_ptrace,
#ifdef SYS_fork
                              SYS_fork,
                              SYS_vfork,
#endif
                              SYS_kill,
                              SYS_tkill,
                              SYS_tgkill,
                              SYS_rt_sigqueueinfo,
                              SYS_rt_tgsigqueueinfo,
                              SYS_process_vm_writev,
                              SYS_rt_sigaction};
    struct sock_filter code[2 * LIVE_COUNT(nrs) + 2];
    unsigned short at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < LIVE_COUNT(nrs); i++) {
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nrs[i], 0, 1);
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {at, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
        live_skip("seccomp: %s", strerror(errno));
    for (int round = 0; round < 3; round++) {
        CHECK_OK(redefine(target, replacement));
        CHECK_REPORTS("L0: ");
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
    }
}

int main(void)
{
    static const struct live_case cases[] = {
        {"seccomp: ptrace is EPERM", seccomp_eperm, 0},
        {"seccomp: ptrace is ENOSYS", seccomp_enosys, 0},
        {"seccomp: who calls ptrace is ended", seccomp_kills, 0},
        {"seccomp: no helper can be made", no_helper, 0},
        {"seccomp: neither ptrace nor process_vm_readv", no_process_vm, 0},
        {"no ptrace, and /proc/self/mem refuses", no_self_mem, 0},
        {"no ptrace, and no way to write", no_way_to_write, 0},
        {"no ptrace, and no membarrier", no_membarrier, 0},
        {"Yama: only root may trace", yama, 0},
        {"Yama: only children and who is named may be traced", yama_asks_for_a_name, 0},
        {"not dumpable", not_dumpable, 0},
        {"not dumpable, and no ptrace", not_dumpable_no_ptrace, 0},
        {"a debugger traces one thread", debugger_of_one_thread, 0},
        {"a debugger traces all threads", debugger_of_all_stopped, 0},
        {"a debugger traces all threads, and no ptrace", debugger_of_all_unstopped, 0},
        {"a worker of io_uring, stopped", workers_stopped, 0},
        {"a worker of io_uring, not stopped", workers_unstopped, 0},
        {"a worker of io_uring and no other thread", workers_alone, 0},
        {"a poller of io_uring, stopped", poller_stopped, 0},
        {"a poller of io_uring, not stopped", poller_unstopped, 0},
        {"code that the program can write: one store", own_writable_code, 0},
        {"code that it cannot: one store", code_as_it_is, 0},
        {"code that nobody can write", code_that_cannot_be_written, 0},
        {"an instruction that one store may not replace", other_writable_code, 0},
        {"a thread waits for every signal", a_thread_blocks_traps, 0},
        {"a thread blocks every signal", a_thread_blocks_traps_and_runs, 0},
        {"a handler blocks every signal", a_handler_blocks_traps, 0},
        {"a vfork parent is waited for", a_vfork_parent, 0},
        {"a vfork parent for too long", a_vfork_parent_for_long, 0},
        {"a vfork parent for too long, with ptrace", a_vfork_parent_for_long_stopped, 0},
        {"alternate stacks, stopped", alternate_stacks_stopped, 0},
        {"alternate stacks, not stopped", alternate_stacks_unstopped, 0},
        {"an alternate stack above an interrupted one, stopped", two_signals_stopped, 0},
        {"an alternate stack above an interrupted one, not stopped", two_signals_unstopped, 0},
        {"the program's own traps", own_handler_of_traps, 0},
        {"one thread pays nothing", one_thread_pays_nothing, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
