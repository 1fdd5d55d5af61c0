/* SPDX-License-Identifier: MIT
 *
 * Stop every thread of this process, run a function, let them go.
 *
 * A thread cannot trace its own process, so the work is done by a helper: a task that shares our memory
 * and files but is a process of its own. It needs no program and no library, and nobody hears of it:
 * it has no exit signal, and wait() finds it only when asked for clones.
 *
 *   1. The caller blocks its signals: no handler of the program runs on it until step 9.
 *   2. It maps a stack and tables, and opens /proc/self/task.
 *   3. It makes the helper and sleeps until the helper has ended, however that comes about.
 *   4. The helper dies when the caller's thread dies (exit_group, execve, SIGKILL elsewhere).
 *   5. It SEIZEs every thread that /proc/PID/task lists while they run on, INTERRUPTs them, and only then
 *      waits for each: the stops overlap. If one does not stop soon, the others go on until it has. Threads
 * can be made meanwhile; it lists again until one whole pass finds none that is new while all known ones
 * stand still. Threads that end meanwhile are dropped. The caller is seized too, because memory can be
 * written with force only through a thread that is attached and has not ended; it is not interrupted, for it
 * sleeps in step 3.
 *   6. It reads the registers and calls `body`.
 *   7. It detaches from every thread, with the signal, if any, in whose delivery the thread was stopped.
 *   8. It ends. The kernel would detach from what is left: so death at any point leaves nothing
 *      stopped. (PTRACE_O_EXITKILL is what must never be set.)
 *   9. The caller cleans up. If body said -EAGAIN, it sleeps a little and goes to 2 until its patience ends
 *      (patience.h).
 *
 * A signal is taken from a thread only by waiting for it: waitid looks with WNOWAIT, so that a signal
 * survives a helper that is killed between its stop and step 7.
 *
 * If ptrace is refused with EPERM, the caller retries once with what can be granted: PR_SET_DUMPABLE,
 * and under Yama (ptrace_scope 1) PR_SET_PTRACER. Dumpable is put back; the kernel forgets the tracer
 * when it ends, but a tracer which the program had named before is forgotten too.
 *
 * The helper has the caller's thread pointer without being that thread, and the program may be in the
 * middle of redefining libc: raw system calls only, no thread-local storage, no calls that compilers
 * make up. Build with -fno-stack-protector -fno-sanitize=all -fno-tree-loop-distribute-patterns;
 * RDF_RAW says the first two of them again, function by function.
 */
#include "os/linux/stop.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

static RDF_RAW int prepare(struct rdf_stop *stop)
{
    enum { LINKS_OF_ITSELF = 2, SPARE = 64 };
    stop->task_fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stop->task_fd < 0)
        return rdf_stop_fail(stop, "open /proc/self/task", stop->task_fd, 0);

    /* A /proc of another pid namespace lists other numbers than ptrace takes. */
    char wanted[RDF_PATH_BYTES];
    char is[RDF_PATH_BYTES];
    rdf_task_path(wanted, stop->pid, stop->caller_tid, "");
    long len = rdf_sys(SYS_readlinkat, AT_FDCWD, "/proc/thread-self", is, sizeof is);
    const char *expected = wanted + sizeof "/proc/" - 1;
    for (long i = 0; i < len; i++)
        if (is[i] != expected[i])
            return rdf_stop_fail(stop, "/proc belongs to another pid namespace", -EXDEV, 0);

    size_t page_bytes = rdf_os_page_bytes();
    stop->region_bytes = page_bytes + STACK_BYTES + LISTING_BYTES + SEEN_BYTES;
    long got = rdf_sys(SYS_mmap, 0, stop->region_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (rdf_sys_failed(got))
        return rdf_stop_fail(stop, "mmap", (int)got, 0);
    stop->region = (uint8_t *)got;
    (void)rdf_sys(SYS_mprotect, stop->region, page_bytes, PROT_NONE);
    stop->stack_top = stop->region + page_bytes + STACK_BYTES;
    stop->listing = stop->stack_top;
    stop->seen = stop->listing + LISTING_BYTES;

    struct stat about;
    if (rdf_sys(SYS_fstat, stop->task_fd, &about))
        about.st_nlink = LINKS_OF_ITSELF;
    int err = rdf_stop_table_grow(stop, 2 * about.st_nlink + SPARE);
    return err ? rdf_stop_fail(stop, "mmap", err, 0) : 0;
}

static RDF_RAW void finish(struct rdf_stop *stop)
{
    if (stop->task_fd >= 0)
        (void)rdf_sys(SYS_close, stop->task_fd);
    if (stop->mem_fd >= 0)
        (void)rdf_sys(SYS_close, stop->mem_fd);
    if (stop->open_fd >= 0)
        (void)rdf_sys(SYS_close, stop->open_fd);
    if (stop->table)
        (void)rdf_sys(SYS_munmap, stop->table, stop->room * (sizeof *stop->tracee + sizeof *stop->thread));
    if (stop->region)
        (void)rdf_sys(SYS_munmap, stop->region, stop->region_bytes);
}

/* Until the helper has ended; returns the signal that ended it, 0 also when that is not known. Somebody else
 * may collect it (a wait for all clones in another thread) or the call may be denied: `alive`, cleared by the
 * kernel when the helper lets go of our memory, is what allows us to return. */
static RDF_RAW int await_helper(struct rdf_stop *stop, int helper)
{
    enum { SIGNAL_OF_STATUS = 0x7f };
    int status = 0;
    while (rdf_sys(SYS_wait4, helper, &status, __WALL, 0) == -EINTR)
        ;
    uint32_t alive;
    while ((alive = __atomic_load_n(&stop->alive, __ATOMIC_ACQUIRE)) != 0)
        (void)rdf_sys(SYS_futex, &stop->alive, FUTEX_WAIT, alive, 0);
    return status & SIGNAL_OF_STATUS;
}

/* Steps 2 to 8. 0 when body has run to its end. */
static RDF_RAW int attempt(struct rdf_stop *stop, bool name_tracer)
{
    enum { SET_PTRACER = 0x59616d61 };
    int err = prepare(stop);
    if (!err) {
        stop->alive = 1;
        stop->go = !name_tracer;
        const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED | CLONE_CHILD_CLEARTID;
        long helper = rdf_clone_onto(flags, stop->stack_top, &stop->alive, rdf_stop_help, stop);
        if (rdf_sys_failed(helper)) {
            err = rdf_stop_fail(stop, "clone", (int)helper, 0);
        } else {
            if (name_tracer) {
                (void)rdf_sys(SYS_prctl, SET_PTRACER, helper);
                __atomic_store_n(&stop->go, 1, __ATOMIC_RELEASE);
                (void)rdf_sys(SYS_futex, &stop->go, FUTEX_WAKE_PRIVATE, 1);
            }
            int killed_by = await_helper(stop, (int)helper);
            if (name_tracer)
                (void)rdf_sys(SYS_prctl, SET_PTRACER, 0);
            err = stop->report.err;
            /* seccomp, and it does not refuse the call but ends who makes it: denied all the same. */
            if (!err && killed_by == SIGSYS && stop->phase == BEFORE_BODY)
                err = rdf_stop_fail(stop, "the helper was killed by seccomp", -EPERM, 0);
            if (!err && stop->phase != AFTER_BODY)
                err = rdf_stop_fail(stop, "the helper was killed", -EOWNERDEAD, 0);
            stop->report.body_began = err && stop->phase == IN_BODY;
        }
    }
    finish(stop);
    return err;
}

static RDF_RAW bool yama_asks_for_a_tracer(void)
{
    char scope = 0;
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    (void)rdf_sys(SYS_read, fd, &scope, 1);
    (void)rdf_sys(SYS_close, fd);
    return scope == '1';
}

/* What the caller may grant its helper, when ptrace has been refused. */
struct grant {
    bool tracer;   /* name it with PR_SET_PTRACER */
    bool dumpable; /* set, to be put back */
};

static RDF_RAW bool grant_more(struct grant *grant)
{
    enum { GET_DUMPABLE = 3, SET_DUMPABLE = 4 };
    struct grant before = *grant;
    if (!grant->dumpable && rdf_sys(SYS_prctl, GET_DUMPABLE) != 1)
        grant->dumpable = rdf_sys(SYS_prctl, SET_DUMPABLE, 1) == 0;
    if (!grant->tracer)
        grant->tracer = yama_asks_for_a_tracer();
    return grant->dumpable != before.dumpable || grant->tracer != before.tracer;
}

/* 2, "only root", was given by the kernel and can be asked for by nobody: 0 is the stricter one left. */
static RDF_RAW void grant_withdraw(const struct grant *grant)
{
    enum { SET_DUMPABLE = 4 };
    if (grant->dumpable)
        (void)rdf_sys(SYS_prctl, SET_DUMPABLE, 0);
}

/* While one thread cannot be stopped the others stand still for nothing: the first time is short, the next
 * ones are twice as long each. Thousands of threads need theirs. */
static RDF_RAW int attempts(struct rdf_stop *stop, rdf_stopped_body *body, void *ctx, uint64_t deadline_ms)
{
    const uint64_t longest_pause_ns = 50 * NS_PER_MS;
    uint64_t hold_ns = 100 * NS_PER_MS;
    uint64_t pause_ns = NS_PER_MS;
    struct rdf_patience patience;
    struct grant grant = {false, false};
    bool is_over = false;
    bool body_waited = false;
    int body_tid = 0;
    int pid = (int)rdf_sys(SYS_getpid);
    int tid = (int)rdf_sys(SYS_gettid);
    int err;
    rdf_patience_begin(&patience, deadline_ms, rdf_stop_now_ns());
    for (;;) {
        *stop = (struct rdf_stop){.body = body,
                                  .ctx = ctx,
                                  .patience = &patience,
                                  .hold_ns = hold_ns,
                                  .pid = pid,
                                  .caller_tid = tid,
                                  .task_fd = -1,
                                  .mem_fd = -1,
                                  .open_fd = -1,
                                  .report = {.step = ""}};
        err = attempt(stop, grant.tracer);
        if (err == -EPERM && grant_more(&grant))
            continue;
        hold_ns = stop->hold_ns;
        bool body_waits = !err && stop->ret_body == -EAGAIN;
        if (body_waits)
            body_tid = stop->world.blocking_tid;
        /* The last attempt may not have come to ask body: then its former answer stands. */
        if (!body_waits && !(err == -ETIMEDOUT && body_waited && !stop->report.blocking_tid))
            break;
        body_waited = true;
        if (err || is_over) {
            err = rdf_stop_fail(stop, "waiting for a thread to leave the code", -ETIMEDOUT, body_tid);
            break;
        }
        struct timespec pause = rdf_stop_timespec(pause_ns);
        (void)rdf_sys(SYS_nanosleep, &pause, 0);
        pause_ns = pause_ns * 2 < longest_pause_ns ? pause_ns * 2 : longest_pause_ns;
        struct rdf_task awaited = {.state = '?'};
        if (body_tid > 0)
            rdf_task_look(NULL, pid, body_tid, &awaited);
        is_over = !rdf_patience_look(&patience, rdf_stop_now_ns(), &awaited);
    }
    grant_withdraw(&grant);
    return err;
}

RDF_RAW int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms,
                                         rdf_stopped_body *body, void *ctx, int *ret_body,
                                         struct rdf_stop_report *ret_report)
{
    (void)space;
    struct rdf_stop stop;
    stop.report = (struct rdf_stop_report){.step = ""};
    int err;
    if (RUNNING_ON_VALGRIND) {
        err = rdf_stop_fail(&stop, "valgrind: threads cannot be stopped", -ENOSYS, 0);
    } else {
        rdf_local_write_prepare();
        const uint64_t every_signal = ~UINT64_C(0);
        uint64_t signals;
        err = (int)rdf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &every_signal, &signals, SIGNAL_SET_BYTES);
        if (err) {
            (void)rdf_stop_fail(&stop, "block signals", err, 0);
        } else {
            err = attempts(&stop, body, ctx, deadline_ms);
            (void)rdf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &signals, 0, SIGNAL_SET_BYTES);
        }
    }
    *ret_report = stop.report;
    if (!err)
        *ret_body = stop.ret_body;
    return err;
}

const char *rdf_stop_name(void)
{
    return "ptrace";
}
