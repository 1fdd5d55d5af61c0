/* SPDX-License-Identifier: MIT
 *
 * The helper task that stops the other threads: steps 4 to 8 of stop.c. Raw system calls only, no
 * thread-local storage, see there.
 */
#include "base/bytes.h"
#include "os/linux/stop.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/ptrace.h>
#include <linux/wait.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* ---- tables ---- */

RDF_RAW int rdf_stop_table_grow(struct rdf_stop *stop, size_t room)
{
    const size_t one_bytes = sizeof(struct rdf_tracee) + sizeof(struct rdf_thread);
    const int prot = PROT_READ | PROT_WRITE;
    long got = rdf_sys(SYS_mmap, 0, room * one_bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rdf_sys_failed(got))
        return (int)got;
    struct rdf_thread *thread = (struct rdf_thread *)got;
    struct rdf_tracee *tracee = (struct rdf_tracee *)(thread + room);
    rdf_bytes_copy(tracee, stop->tracee, stop->count * sizeof *tracee);
    if (stop->table)
        (void)rdf_sys(SYS_munmap, stop->table, stop->room * one_bytes);
    stop->table = thread;
    stop->thread = thread;
    stop->tracee = tracee;
    stop->room = room;
    return 0;
}

static RDF_RAW bool seen(const struct rdf_stop *stop, int tid)
{
    return stop->seen[tid / 8] >> tid % 8 & 1;
}

static RDF_RAW void see(struct rdf_stop *stop, int tid, bool on)
{
    uint8_t bit = (uint8_t)(1u << tid % 8);
    stop->seen[tid / 8] = on ? stop->seen[tid / 8] | bit : stop->seen[tid / 8] & (uint8_t)~bit;
}

/* ---- what /proc says of one thread ---- */

/* Whether the thread will never run the program's code again. A main thread that has ended stays
 * listed, as a zombie, as long as the process lives; no wait reports it and no ptrace reaches it. */
static RDF_RAW bool has_ended(struct rdf_stop *stop, int tid, struct rdf_task *ret)
{
    rdf_task_look(&stop->open_fd, stop->pid, tid, ret);
    return ret->state == 0 || ret->state == 'Z' || ret->state == 'X' || ret->state == 'x';
}

static RDF_RAW bool has_other_tracer(struct rdf_stop *stop, int tid)
{
    char text[RDF_STATUS_BYTES];
    uint64_t tracer = 0;
    return rdf_task_read(&stop->open_fd, stop->pid, tid, "status", text, sizeof text) > 0 &&
           rdf_task_number(text, "TracerPid:", 10, &tracer) && tracer != 0;
}

/* ---- step 5: seize, interrupt, wait ---- */

/* The caller sleeps anyway. */
static RDF_RAW bool is_awaited(const struct rdf_stop *stop, const struct rdf_tracee *tracee)
{
    return !tracee->stopped && !tracee->gone && tracee->tid != stop->caller_tid;
}

/* Fails only for a thread that has ended, which the wait will find. */
static RDF_RAW void interrupt(const struct rdf_stop *stop, const struct rdf_tracee *tracee)
{
    if (is_awaited(stop, tracee))
        (void)rdf_sys(SYS_ptrace, PTRACE_INTERRUPT, tracee->tid, 0, 0);
}

static RDF_RAW int seize(struct rdf_stop *stop, int tid, bool *ret_fresh)
{
    if (tid <= 0 || tid >= TID_LIMIT)
        return rdf_stop_fail(stop, "read /proc/self/task", -EOVERFLOW, tid);
    if (seen(stop, tid) || rdf_task_is_worker(&stop->open_fd, stop->pid, tid))
        return 0;
    if (stop->count == stop->room) {
        int err = rdf_stop_table_grow(stop, stop->room * 2);
        if (err)
            return rdf_stop_fail(stop, "mmap", err, 0);
    }
    int err = (int)rdf_sys(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0);
    struct rdf_task task;
    if (err == -ESRCH || (err && has_ended(stop, tid, &task)))
        return 0;
    /* It waits for us, traced or not: the command does that in a process that is stopped (os/borrow.h). */
    if (err == -EPERM && tid == stop->caller_tid && has_other_tracer(stop, tid))
        return 0;
    if (err == -EPERM && has_other_tracer(stop, tid))
        return rdf_stop_fail(stop, "ptrace seize: another process traces this thread", -EBUSY, tid);
    if (err)
        return rdf_stop_fail(stop, "ptrace seize", err, tid);
    see(stop, tid, true);
    struct rdf_tracee *tracee = &stop->tracee[stop->count++];
    *tracee = (struct rdf_tracee){.tid = tid};
    *ret_fresh = true;
    if (stop->began_ns)
        interrupt(stop, tracee);
    return 0;
}

struct directory_entry { /* linux_dirent64 */
    uint64_t ino;
    int64_t off;
    uint16_t len_bytes;
    uint8_t type;
    char name[];
};

/* One pass. A listing can be cut short by a thread that ends while it is the one being listed; the
 * number of threads, which the kernel tells as the directory's link count less two, shows that. */
static RDF_RAW int seize_pass(struct rdf_stop *stop, bool *ret_fresh, bool *ret_whole)
{
    enum { LINKS_OF_ITSELF = 2 };
    size_t listed = 0;
    long got = rdf_sys(SYS_lseek, stop->task_fd, 0, SEEK_SET);
    while (got >= 0 && (got = rdf_sys(SYS_getdents64, stop->task_fd, stop->listing, LISTING_BYTES)) > 0) {
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const struct directory_entry *)(stop->listing + at);
            at += entry->len_bytes;
            int tid = 0;
            for (const char *digit = entry->name; *digit >= '0' && *digit <= '9'; digit++)
                tid = tid * 10 + (*digit - '0');
            if (tid == 0)
                continue; /* . and .. */
            listed++;
            int err = seize(stop, tid, ret_fresh);
            if (err)
                return err;
        }
    }
    if (got < 0)
        return rdf_stop_fail(stop, "read /proc/self/task", (int)got, 0);
    struct stat about;
    if (rdf_sys(SYS_fstat, stop->task_fd, &about))
        about.st_nlink = 0;
    *ret_whole = about.st_nlink <= LINKS_OF_ITSELF || about.st_nlink - LINKS_OF_ITSELF == listed;
    return 0;
}

/* Looks once; true when there is nothing more to wait for. */
static RDF_RAW bool settle(struct rdf_stop *stop, struct rdf_tracee *tracee)
{
    siginfo_t info;
    info.si_pid = 0;
    const int any_stop_or_end = WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL;
    long err = rdf_sys(SYS_waitid, P_PID, tracee->tid, &info, any_stop_or_end, 0);
    if (!err && info.si_pid == 0)
        return false;
    if (!err && (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED)) {
        /* An event (our interruption, a group stop) is told in the second byte; none: a signal is
         * being delivered. */
        tracee->signal = info.si_status >> 8 ? 0 : info.si_status & 0x7f;
        tracee->stopped = true;
        return true;
    }
    if (!err) {
        int status;
        (void)rdf_sys(SYS_wait4, tracee->tid, &status, __WALL | WNOHANG, 0);
    }
    tracee->gone = true;
    see(stop, tracee->tid, false); /* the kernel may give the number to a new thread now */
    return true;
}

enum { LONGEST_NAP_MS = 5 };

/* Every stop of a traced thread sends the helper SIGCHLD, which it has blocked: a wait with a timeout
 * that needs no handler. The naps are only for a main thread that ended, which nothing announces. */
static RDF_RAW int wait_for(struct rdf_stop *stop, struct rdf_tracee *tracee)
{
    const uint64_t longest_nap_ns = LONGEST_NAP_MS * NS_PER_MS;
    const uint64_t sigchld = UINT64_C(1) << (SIGCHLD - 1);
    while (!settle(stop, tracee)) {
        uint64_t now = rdf_stop_now_ns();
        if (now >= stop->deadline_ns)
            return rdf_stop_fail(stop, "ptrace interrupt", -ETIMEDOUT, tracee->tid);
        uint64_t left = stop->deadline_ns - now;
        struct timespec nap = rdf_stop_timespec(left < longest_nap_ns ? left : longest_nap_ns);
        long got = rdf_sys(SYS_rt_sigtimedwait, &sigchld, 0, &nap, SIGNAL_SET_BYTES);
        struct rdf_task task;
        if (got != SIGCHLD && has_ended(stop, tracee->tid, &task)) {
            tracee->gone = true; /* still listed: still seen */
            return 0;
        }
    }
    return 0;
}

static RDF_RAW int wait_for_all(struct rdf_stop *stop)
{
    int err = 0;
    for (size_t i = 0; i < stop->count && !err; i++) {
        struct rdf_tracee *tracee = &stop->tracee[i];
        if (is_awaited(stop, tracee))
            err = wait_for(stop, tracee);
    }
    return err;
}

/* The first pass attaches to threads that run on: what has to be asked about each keeps none of them waiting.
 */
static RDF_RAW int hold_all(struct rdf_stop *stop)
{
    bool fresh = false;
    bool whole = false;
    int err = seize_pass(stop, &fresh, &whole);
    uint64_t left_ns = stop->patience->counted_left_ns;
    stop->began_ns = rdf_stop_now_ns();
    stop->deadline_ns = stop->began_ns + (stop->hold_ns < left_ns ? stop->hold_ns : left_ns);
    for (size_t i = 0; i < stop->count && !err; i++)
        interrupt(stop, &stop->tracee[i]);
    for (bool waits = true; !err; waits = !fresh) {
        fresh = false;
        if (waits)
            err = wait_for_all(stop);
        if (!err)
            err = seize_pass(stop, &fresh, &whole);
        if (!err && waits && !fresh && whole)
            return 0;
        if (!err && rdf_stop_now_ns() >= stop->deadline_ns)
            err = rdf_stop_fail(stop, "ptrace seize: new threads until the deadline", -ETIMEDOUT, 0);
    }
    return err;
}

/* Those who stand still go on, and are strangers again. Who is awaited stays interrupted. */
static RDF_RAW void let_go(struct rdf_stop *stop)
{
    size_t kept = 0;
    for (size_t i = 0; i < stop->count; i++) {
        struct rdf_tracee *tracee = &stop->tracee[i];
        if (tracee->stopped) {
            (void)rdf_sys(SYS_ptrace, PTRACE_DETACH, tracee->tid, 0, tracee->signal);
            see(stop, tracee->tid, false);
        } else {
            stop->tracee[kept++] = *tracee;
        }
    }
    stop->count = kept;
    if (stop->began_ns) {
        uint64_t now = rdf_stop_now_ns();
        uint64_t until_ns = now < stop->deadline_ns ? now : stop->deadline_ns;
        stop->report.stopped_ns = now - stop->began_ns;
        rdf_patience_held(stop->patience, now, until_ns - stop->began_ns);
    }
    stop->began_ns = 0;
}

/* One look at those who are awaited. True: one of them has stopped or ended, or there is none. Else *ret is
 * the one whose time counts. */
static RDF_RAW bool has_moved(struct rdf_stop *stop, struct rdf_task *ret)
{
    for (size_t i = 0; i < stop->count; i++) {
        struct rdf_tracee *tracee = &stop->tracee[i];
        struct rdf_task task;
        if (!is_awaited(stop, tracee))
            continue;
        if (settle(stop, tracee))
            return true;
        if (has_ended(stop, tracee->tid, &task)) {
            tracee->gone = true;
            return true;
        }
        if (rdf_task_counts_rather(&task, ret))
            *ret = task;
    }
    return ret->tid == 0;
}

/* False: in vain. */
static RDF_RAW bool await_one(struct rdf_stop *stop)
{
    const struct timespec nap = {0, LONGEST_NAP_MS * NS_PER_MS};
    for (;;) {
        (void)rdf_sys(SYS_nanosleep, &nap, 0);
        struct rdf_task awaited = {.state = '?'};
        bool moved = has_moved(stop, &awaited);
        if (!moved)
            stop->report.blocking_tid = awaited.tid;
        if (!rdf_patience_look(stop->patience, rdf_stop_now_ns(), &awaited))
            return false;
        if (moved)
            return true;
    }
}

/* Nobody stands still for who does not come: it stops as soon as it gets a CPU, or wakes, and only then the
 * others are stopped again. */
static RDF_RAW int stop_all(struct rdf_stop *stop)
{
    int err;
    while ((err = hold_all(stop)) == -ETIMEDOUT) {
        let_go(stop);
        if (!await_one(stop))
            break;
        stop->hold_ns *= 2;
        (void)rdf_stop_fail(stop, "", 0, 0);
    }
    return err;
}

/* ---- step 6 ---- */

static RDF_RAW int get_regs(int tid, rdf_regs *regs)
{
    struct iovec part = {regs, sizeof *regs};
    return (int)rdf_sys(SYS_ptrace, PTRACE_GETREGSET, tid, NT_PRSTATUS, &part);
}

static RDF_RAW int set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    struct rdf_stop *stop = world->os;
    int tid =
        stop->thread[index].tid; /* its pc stays what it was: who moves threads may have to move them back */
    rdf_regs regs;
    int err = get_regs(tid, &regs);
    if (err)
        return err;
    rdf_regs_set_pc(&regs, pc + rdf_regs_restart_bytes(&regs));
    struct iovec part = {&regs, sizeof regs};
    return (int)rdf_sys(SYS_ptrace, PTRACE_SETREGSET, tid, NT_PRSTATUS, &part);
}

static RDF_RAW int read_registers(struct rdf_stop *stop)
{
    size_t count = 0;
    for (size_t i = 0; i < stop->count; i++) {
        struct rdf_tracee *tracee = &stop->tracee[i];
        if (!tracee->stopped || tracee->tid == stop->caller_tid)
            continue;
        rdf_regs regs;
        int err = get_regs(tracee->tid, &regs);
        if (err == -ESRCH)
            continue; /* SIGKILL resumes even a stopped thread, and the whole process goes with it */
        if (err)
            return rdf_stop_fail(stop, "ptrace getregset", err, tracee->tid);
        uint32_t restart_bytes = rdf_regs_restart_bytes(&regs);
        stop->thread[count++] = (struct rdf_thread){.tid = tracee->tid,
                                                    .restart_bytes = restart_bytes,
                                                    .pc = rdf_regs_pc(&regs) - restart_bytes,
                                                    .sp = rdf_regs_sp(&regs)};
    }
    stop->world.thread = stop->thread;
    stop->world.thread_count = count;
    stop->world.set_pc = set_pc;
    stop->world.os = stop;
    stop->report.thread_count = count;
    return 0;
}

RDF_RAW int rdf_stop_mem_fd(struct rdf_world *world)
{
    struct rdf_stop *stop = world->os;
    if (stop->mem_fd < 0) {
        char path[RDF_PATH_BYTES];
        rdf_task_path(path, stop->pid, stop->caller_tid, "mem");
        int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return fd;
        stop->mem_fd = fd;
    }
    return stop->mem_fd;
}

/* Any thread will do, but it must be stopped; without another one, the caller is. */
RDF_RAW int rdf_stop_poke_tid(struct rdf_world *world)
{
    struct rdf_stop *stop = world->os;
    struct rdf_tracee *caller = NULL;
    for (size_t i = 0; i < stop->count; i++) {
        if (stop->tracee[i].stopped)
            return stop->tracee[i].tid;
        if (stop->tracee[i].tid == stop->caller_tid)
            caller = &stop->tracee[i];
    }
    if (!caller)
        return -ESRCH;
    struct rdf_stop_report report = stop->report;
    /* It has a time of its own, not what the others left of theirs. */
    stop->deadline_ns = rdf_stop_now_ns() + RDF_PATIENCE_TIMES * 1000 * NS_PER_MS;
    (void)rdf_sys(SYS_ptrace, PTRACE_INTERRUPT, caller->tid, 0, 0);
    int err = wait_for(stop, caller);
    stop->report = report; /* what fails here is the write, not the stop */
    return err ? err : caller->tid;
}

/* ---- the helper ---- */

/* The world stands still until the helper has had its turns: with more busy threads than CPUs it would
 * wait a time slice of theirs for each. Real time where that is allowed; else, since Linux 6.12, the
 * shortest slice, which lets a task that wakes run before others with longer ones. */
static RDF_RAW void ask_for_cpu(void)
{
    enum { FIFO = 1, LOWEST_PRIORITY = 1 };
    const int priority = LOWEST_PRIORITY;
    if (rdf_sys(SYS_sched_setscheduler, 0, FIFO, &priority) == 0)
        return;
    struct { /* sched_attr of Linux 3.14 */
        uint32_t len_bytes, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } attr;
    if (rdf_sys(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 && attr.policy == 0) {
        attr.runtime_ns = 100 * 1000;
        (void)rdf_sys(SYS_sched_setattr, 0, &attr, 0);
    }
}

static RDF_RAW void become_helper(struct rdf_stop *stop)
{
    enum { SET_PDEATHSIG = 1 };
    (void)rdf_sys(SYS_prctl, SET_PDEATHSIG, SIGKILL);
    ask_for_cpu();
    /* Its own table of handlers (no CLONE_SIGHAND). All zero: SIG_DFL, no flags. With SIG_IGN or
     * SA_NOCLDSTOP, which the program may have set, stops would not be announced. */
    uint64_t default_action[8];
    for (size_t i = 0; i < 8; i++)
        ((volatile uint64_t *)default_action)[i] = 0;
    (void)rdf_sys(SYS_rt_sigaction, SIGCHLD, default_action, 0, SIGNAL_SET_BYTES);
    while (__atomic_load_n(&stop->go, __ATOMIC_ACQUIRE) == 0)
        (void)rdf_sys(SYS_futex, &stop->go, FUTEX_WAIT_PRIVATE, 0, 0);
}

RDF_RAW int rdf_stop_help(void *ctx)
{
    struct rdf_stop *stop = ctx;
    become_helper(stop);
    /* Another parent: the caller died before the death signal was set. None (0): the program has asked
     * for its children to live in another pid namespace, where our thread ids mean nothing. */
    if (rdf_sys(SYS_getppid) != stop->pid)
        return rdf_stop_fail(stop, "clone: the helper is in another pid namespace", -ESRCH, 0);
    int err = stop_all(stop);
    if (!err)
        err = read_registers(stop);
    if (!err) {
        __atomic_store_n(&stop->phase, IN_BODY, __ATOMIC_RELEASE);
        stop->ret_body = stop->body(&stop->world, stop->ctx);
        __atomic_store_n(&stop->phase, AFTER_BODY, __ATOMIC_RELEASE);
    }
    let_go(stop);
    return 0;
}
