/* SPDX-License-Identifier: MIT
 *
 * Several threads, one of which cannot be stopped, or cannot be kept away by a trap: it is waited for, or the
 * change is refused, and the sentence names it and says what it is doing.
 */
#include "denied.h"

#include <dirent.h>

static void needs_traps(void)
{
    if (!ENTRY_TRAPS)
        live_skip("this CPU has no traps for that: each change is refused");
}

/* ---- a debugger ---- */

static int ready[2];

/* The tracer, once it has said that it is one. */
static pid_t when_ready(pid_t tracer)
{
    char sign = 0;
    CHECK(read(ready[0], &sign, 1) == 1);
    if (sign != 'y') {
        kill(tracer, SIGKILL);
        live_skip("no thread can be traced here");
    }
    return tracer;
}

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
    return when_ready(tracer);
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
    return when_ready(tracer);
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
    stack.ss_flags = SS_DISABLE; /* a sanitizer gives back the one that a thread ends with */
    CHECK(!sigaltstack(&stack, NULL));
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

int main(void)
{
    static const struct live_case cases[] = {
        {"a debugger traces one thread", debugger_of_one_thread, 0},
        {"a debugger traces all threads", debugger_of_all_stopped, 0},
        {"a debugger traces all threads, and no ptrace", debugger_of_all_unstopped, 0},
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
    };
    return live_main(cases, LIVE_COUNT(cases));
}
