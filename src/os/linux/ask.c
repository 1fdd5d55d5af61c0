/* SPDX-License-Identifier: MIT
 *
 * Where is each thread? Asked without stopping any, for a process that may not trace itself.
 *
 * A thread of one's own process may always be looked at in /proc:
 *   1. One that waits in the system: `syscall` tells its PC and stack pointer. It is shown to `look`, and
 * counts when it has not run meanwhile (the same line, the same number of context switches).
 *   2. One that runs ("running") gets a signal, and its handler shows the interrupted context to `look`. The
 *      handler returns at once; nobody waits for anybody.
 * Again and again, until a whole pass over /proc/self/task finds only threads for which `look` has said true.
 *
 * The signal is a real time signal that has no handler, so that no two of them are merged and none of the
 * program's is mistaken for ours. Not SIGTRAP: a thread that has one pending does not get the trap it hits
 * next.
 *
 * A question can be answered late, even after we have given up: it names a place in a table that is never
 * unmapped, and a number that is used once. The handler goes away when every question has arrived.
 */
#include "os/linux/action.h"
#include "os/linux/room.h"
#include "os/linux/stop.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- questions ---- */

enum { ASKED, LOOKING, OUT, NOT_OUT, WITHDRAWN, STATES = 8 };
enum { CHUNK_QUESTIONS = 4096, CHUNKS = TID_LIMIT / CHUNK_QUESTIONS, QUESTION_CODE = -57 };

struct question {
    uint64_t state; /* number * STATES + state */
};

/* For the life of the process; more parts than the first only for thousands of threads. */
static struct question first_chunk[CHUNK_QUESTIONS];
static struct question *chunk[CHUNKS] = {first_chunk};
static uint64_t last_number;
static uint64_t sent, arrived;
static struct rdf_action former;
static int asking_signal; /* 0: no handler is installed */
static rdf_look *current_look;
static void *current_ctx;

static struct question *question_at(size_t index)
{
    return &chunk[index / CHUNK_QUESTIONS][index % CHUNK_QUESTIONS];
}

/* A question carries its place and its number in one word. */
static uint64_t ticket_of(size_t index, uint64_t number)
{
    return number * TID_LIMIT + index;
}

static bool change_state(struct question *question, uint64_t number, unsigned from, unsigned to)
{
    uint64_t expected = number * STATES + from;
    return __atomic_compare_exchange_n(&question->state, &expected, number * STATES + to, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void answer(uint64_t ticket, void *context)
{
    struct question *question = question_at((size_t)(ticket % TID_LIMIT));
    uint64_t number = ticket / TID_LIMIT;
    if (!change_state(question, number, ASKED, LOOKING))
        return;
    uint64_t pc = rdf_context_pc(context);
    struct rdf_thread thread = {.tid = (int)rdf_sys(SYS_gettid), .pc = pc, .sp = rdf_context_sp(context)};
    bool is_out = current_look(&thread, true, current_ctx);
    if (is_out && thread.pc != pc)
        rdf_trap_continue(context, thread.pc);
    __atomic_store_n(&question->state, number * STATES + (is_out ? OUT : NOT_OUT), __ATOMIC_RELEASE);
}

static void on_question(int signal, siginfo_t *info, void *context)
{
    if (info->si_code == QUESTION_CODE && info->si_pid == rdf_sys(SYS_getpid)) {
        answer((uint64_t)(uintptr_t)info->si_value.sival_ptr, context);
        __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    } else if (rdf_action_is_handler(&former)) {
        rdf_action_call(&former, signal, info, context);
    }
}

/* Ours stays from an earlier time when a question of then has not arrived. */
static int begin_asking(const char **ret_step)
{
    struct rdf_action action;
    if (asking_signal && rdf_action_set(asking_signal, NULL, &action) == 0 &&
        action.handler == (uintptr_t)on_question)
        return 0;
    enum { FIRST_OF_PROGRAMS = 35 }; /* those before are libc's own */
    for (int signal = RDF_SIGNALS; signal >= FIRST_OF_PROGRAMS; signal--) {
        if (rdf_action_set(signal, NULL, &action) < 0 || action.handler != (uintptr_t)SIG_DFL)
            continue;
        struct rdf_action ours = rdf_action_of(on_question);
        int err = rdf_action_set(signal, &ours, &former);
        *ret_step = err ? "rt_sigaction" : "";
        asking_signal = err ? 0 : signal;
        return err;
    }
    *ret_step = "no real time signal is free to ask running threads with";
    return -EBUSY;
}

static void end_asking(void)
{
    if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) != sent)
        return;
    (void)rdf_action_set(asking_signal, &former, NULL);
    asking_signal = 0;
}

/* ---- one time of asking ---- */

/* What is known of a thread: 0 nothing, KNOWN_OUT, or 1 + the index of its question. */
enum { KNOWN_OUT = TID_LIMIT + 1 };

struct asking {
    rdf_look *look;
    void *ctx;
    struct rdf_stop_report *report;
    int pid;
    int caller_tid;
    uint32_t *known;  /* by thread id */
    uint64_t *number; /* of the question, by its index; lies in the same mapping */
    size_t questions;
};

/* Where a thread waits, and how often it has run until then. */
struct waiting {
    int64_t call; /* -1: it was interrupted, by a fault or a stop */
    uint64_t argument[6];
    uint64_t pc;
    uint64_t sp;
    uint64_t switches;
};

enum standing { RUNS, WAITS, ENDED };

static const char *number_at(const char *at, uint64_t *ret)
{
    *ret = 0;
    if (at[0] == '0' && at[1] == 'x')
        at += 2;
    for (;; at++) {
        unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
                         : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a') + 10
                                                    : 16;
        if (digit == 16)
            return at;
        *ret = *ret * 16 + digit;
    }
}

/* "-1 SP PC", "NR six arguments SP PC" or "running" (fs/proc/base.c). */
static enum standing read_standing(const struct asking *asking, int tid, struct waiting *ret)
{
    enum { FIELDS_MAX = 8 };
    char text[RDF_STATUS_BYTES];
    long len = rdf_task_read(NULL, asking->pid, tid, "syscall", text, sizeof text);
    if (len == -ENOENT || len == -ESRCH || len == 0)
        return ENDED;
    if (len < 0 || text[0] == 'r')
        return RUNS; /* or it cannot be seen: then it is asked */
    ret->call = text[0] == '-' ? -1 : 0;
    const char *at = text;
    if (ret->call == 0)
        for (; *at >= '0' && *at <= '9'; at++)
            ret->call = ret->call * 10 + (*at - '0');
    else
        at += 2;
    uint64_t field[FIELDS_MAX];
    size_t count = 0;
    while (*at == ' ' && count < FIELDS_MAX)
        at = number_at(at + 1, &field[count++]);
    if (count < 2)
        return RUNS;
    ret->sp = field[count - 2];
    ret->pc = field[count - 1];
    for (size_t i = 0; i < FIELDS_MAX - 2; i++)
        ret->argument[i] = count == FIELDS_MAX ? field[i] : 0;
    if (ret->pc == 0)
        return ENDED; /* or it has never run the program's code yet */
    uint64_t voluntary, other;
    if (rdf_task_read(NULL, asking->pid, tid, "status", text, sizeof text) <= 0 ||
        !rdf_task_number(text, "voluntary_ctxt_switches:", 10, &voluntary) ||
        !rdf_task_number(text, "nonvoluntary_ctxt_switches:", 10, &other))
        return ENDED;
    ret->switches = voluntary + other;
    return WAITS;
}

static bool is_same(const struct waiting *a, const struct waiting *b)
{
    return a->call == b->call && a->pc == b->pc && a->sp == b->sp && a->switches == b->switches;
}

/* Its child, which is no thread of ours, runs in our memory until it has called exec. */
static bool may_be_vfork(const struct waiting *waiting)
{
    return waiting->call == SYS_clone || waiting->call == SYS_clone3 ||
           (RDF_SYS_VFORK >= 0 && waiting->call == RDF_SYS_VFORK);
}

/* The instruction that it executes next is the one behind the call, or the call again. */
static bool is_out_while_waiting(const struct asking *asking, int tid, struct waiting *waiting)
{
    uint32_t restart_bytes = waiting->call >= 0 ? RDF_SYSCALL_BYTES : 0;
    struct rdf_thread thread = {.tid = tid,
                                .restart_bytes = restart_bytes,
                                .pc = waiting->pc - restart_bytes,
                                .sp = waiting->sp};
    struct waiting now;
    return !may_be_vfork(waiting) && asking->look(&thread, false, asking->ctx) &&
           read_standing(asking, tid, &now) == WAITS && is_same(waiting, &now);
}

static int ask(struct asking *asking, int tid)
{
    size_t index = asking->questions;
    if (index == TID_LIMIT)
        return -EOVERFLOW;
    if (!chunk[index / CHUNK_QUESTIONS]) {
        long got = rdf_sys(SYS_mmap, 0, CHUNK_QUESTIONS * sizeof(struct question), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (rdf_sys_failed(got))
            return (int)got;
        chunk[index / CHUNK_QUESTIONS] = (struct question *)got;
    }
    uint64_t number = ++last_number;
    asking->questions++;
    asking->number[index] = number;
    asking->known[tid] = (uint32_t)index + 1;
    __atomic_store_n(&question_at(index)->state, number * STATES + ASKED, __ATOMIC_RELEASE);
    siginfo_t info = {.si_signo = asking_signal, .si_code = QUESTION_CODE};
    info.si_pid = asking->pid;
    info.si_value.sival_ptr = (void *)(uintptr_t)ticket_of(index, number);
    sent++;
    long err = rdf_sys(SYS_rt_tgsigqueueinfo, asking->pid, tid, asking_signal, &info);
    if (!err)
        return 0;
    sent--;
    (void)change_state(question_at(index), number, ASKED, WITHDRAWN);
    asking->known[tid] = 0;
    return err == -ESRCH || err == -EAGAIN ? 0 : (int)err; /* it has ended; too many signals are queued */
}

/* Whether the thread is known to be out now; *ret_err when it cannot even be asked. */
static bool settle(struct asking *asking, int tid, int *ret_err)
{
    uint32_t *known = &asking->known[tid];
    if (*known == KNOWN_OUT)
        return true;
    struct question *question = *known ? question_at(*known - 1) : NULL;
    uint64_t number = question ? asking->number[*known - 1] : 0;
    unsigned state = question ? (unsigned)(__atomic_load_n(&question->state, __ATOMIC_ACQUIRE) % STATES)
                              : NOT_OUT;
    if (state == OUT || state == NOT_OUT)
        *known = state == OUT ? KNOWN_OUT : 0;
    if (state == OUT || state == LOOKING)
        return state == OUT;
    struct waiting waiting;
    enum standing standing = read_standing(asking, tid, &waiting);
    if (standing == RUNS && !*known)
        *ret_err = ask(asking, tid);
    if (standing == RUNS || (standing == WAITS && !is_out_while_waiting(asking, tid, &waiting)))
        return false;
    if (*known && !change_state(question, number, ASKED, WITHDRAWN))
        return false; /* it is answering right now */
    if (*known && standing == ENDED)
        sent--; /* nobody will hear it */
    *known = KNOWN_OUT;
    return true;
}

/* ---- passes over the threads ---- */

/* Calls `each` for every thread but the caller and the kernel's. 0, or what went wrong. *ret_awaited: with
 * which thread, or else of whom it was not true yet and whose time counts (tid 0: it is the list). */
static int for_each_thread(int pid, int caller_tid, bool (*each)(void *ctx, int tid, int *ret_err), void *ctx,
                           bool *ret_all, struct rdf_task *ret_awaited)
{
    enum { LINKS_OF_ITSELF = 2 };
    struct directory_entry { /* linux_dirent64 */
        uint64_t ino;
        int64_t off;
        uint16_t len_bytes;
        uint8_t type;
        char name[];
    };
    _Alignas(uint64_t) uint8_t listing[4096];
    *ret_all = true;
    *ret_awaited = (struct rdf_task){.state = '?'};
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    size_t listed = 0;
    int err = 0;
    long got;
    while (!err && (got = rdf_sys(SYS_getdents64, fd, listing, sizeof listing)) > 0) {
        for (long at = 0; at < got && !err;) {
            const struct directory_entry *entry = (const struct directory_entry *)(listing + at);
            at += entry->len_bytes;
            int tid = 0;
            for (const char *digit = entry->name; *digit >= '0' && *digit <= '9'; digit++)
                tid = tid * 10 + (*digit - '0');
            listed += tid != 0;
            if (tid == 0 || tid == caller_tid || tid >= TID_LIMIT || rdf_task_is_worker(NULL, pid, tid))
                continue;
            if (each(ctx, tid, &err))
                continue;
            struct rdf_task task;
            rdf_task_look(NULL, pid, tid, &task);
            *ret_all = false;
            if (err || rdf_task_counts_rather(&task, ret_awaited))
                *ret_awaited = task;
        }
    }
    if (!err && got < 0)
        err = (int)got;
    /* A listing can be cut short by a thread that ends meanwhile: the link count tells. */
    struct stat about;
    if (rdf_sys(SYS_fstat, fd, &about) == 0 && about.st_nlink > LINKS_OF_ITSELF &&
        about.st_nlink - LINKS_OF_ITSELF != listed)
        *ret_all = false;
    (void)rdf_sys(SYS_close, fd);
    return err;
}

/* Passes until `each` was true of all, in one pass. */
static int until_all(uint64_t deadline_ms, const char *step, bool (*each)(void *ctx, int tid, int *ret_err),
                     void *ctx, struct rdf_stop_report *report)
{
    const uint64_t longest_pause_ns = 2 * NS_PER_MS;
    int pid = (int)rdf_sys(SYS_getpid);
    int caller_tid = (int)rdf_sys(SYS_gettid);
    struct rdf_patience patience;
    rdf_patience_begin(&patience, deadline_ms, rdf_stop_now_ns());
    for (uint64_t pause_ns = 20 * 1000;; pause_ns = pause_ns < longest_pause_ns ? 2 * pause_ns : pause_ns) {
        bool all;
        struct rdf_task awaited;
        int err = for_each_thread(pid, caller_tid, each, ctx, &all, &awaited);
        if (!err && all)
            return 0;
        if (!err && !rdf_patience_look(&patience, rdf_stop_now_ns(), &awaited))
            err = -ETIMEDOUT;
        if (err) {
            report->err = err;
            report->blocking_tid = awaited.tid;
            if (!report->step || !report->step[0])
                report->step = step;
            return err;
        }
        struct timespec pause = rdf_stop_timespec(pause_ns);
        (void)rdf_sys(SYS_nanosleep, &pause, 0);
    }
}

static bool settle_one(void *ctx, int tid, int *ret_err)
{
    struct asking *asking = ctx;
    bool is_out = settle(asking, tid, ret_err);
    asking->report->thread_count += is_out;
    return is_out;
}

/* Who is looking now will have finished soon; who has not begun will not begin. */
static void withdraw(struct asking *asking)
{
    for (size_t i = 0; i < asking->questions; i++) {
        struct question *question = question_at(i);
        uint64_t number = asking->number[i];
        (void)change_state(question, number, ASKED, WITHDRAWN);
        while (__atomic_load_n(&question->state, __ATOMIC_ACQUIRE) == number * STATES + LOOKING) {
            struct timespec pause = rdf_stop_timespec(50 * 1000);
            (void)rdf_sys(SYS_nanosleep, &pause, 0);
        }
    }
}

/* Signals whose handler was interrupted hold what it holds: none runs while this thread changes code. */
static uint64_t hold_signals(uint64_t set)
{
    uint64_t before = 0;
    (void)rdf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &set, &before, SIGNAL_SET_BYTES);
    return before;
}

int rdf_local_ask_threads(struct rdf_space *space, uint64_t deadline_ms, rdf_look *look, void *ctx,
                          struct rdf_stop_report *ret_report)
{
    (void)space;
    const size_t known_bytes = (size_t)TID_LIMIT * sizeof(uint32_t);
    const size_t number_bytes = (size_t)TID_LIMIT * sizeof(uint64_t);
    *ret_report = (struct rdf_stop_report){.step = ""};
    struct asking asking = {.look = look,
                            .ctx = ctx,
                            .report = ret_report,
                            .pid = (int)rdf_sys(SYS_getpid),
                            .caller_tid = (int)rdf_sys(SYS_gettid)};
    long got = rdf_sys(SYS_mmap, 0, known_bytes + number_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (rdf_sys_failed(got)) {
        ret_report->step = "mmap";
        return ret_report->err = (int)got;
    }
    asking.number = (uint64_t *)got;
    asking.known = (uint32_t *)(asking.number + TID_LIMIT);
    uint64_t signals = hold_signals(~UINT64_C(0));
    current_look = look;
    current_ctx = ctx;
    int err = begin_asking(&ret_report->step);
    ret_report->err = err;
    if (!err) {
        err = until_all(deadline_ms, "asking where it is", settle_one, &asking, ret_report);
        withdraw(&asking);
        end_asking();
    }
    (void)hold_signals(signals);
    (void)rdf_sys(SYS_munmap, got, known_bytes + number_bytes);
    return err;
}

/* ---- can everybody take a trap? ---- */

/* Calls that unblock signals for their own time, and which argument says so: what is blocked otherwise, and
 * will be when they return, is shown by nothing. */
static bool may_hide_mask(const struct waiting *waiting)
{
    static const struct {
        int64_t call;
        unsigned argument;
    } calls[] = {
        {SYS_rt_sigsuspend, 0}, {SYS_ppoll, 3},        {SYS_pselect6, 5},
        {SYS_epoll_pwait, 4},   {SYS_epoll_pwait2, 4},
    };
    const uint64_t trap = UINT64_C(1) << (SIGTRAP - 1);
    uint64_t set;
    if (waiting->call == SYS_rt_sigtimedwait) /* it waits for what it blocks */
        return rdf_local_read(NULL, waiting->argument[0], &set, sizeof set) < 0 || (set & trap);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (waiting->call == calls[i].call && waiting->argument[calls[i].argument])
            return true;
    return false;
}

static bool takes_traps(void *ctx, int tid, int *ret_err)
{
    const struct asking *asking = ctx;
    const uint64_t trap = UINT64_C(1) << (SIGTRAP - 1);
    char text[RDF_STATUS_BYTES];
    uint64_t blocked = 0;
    long len = rdf_task_read(NULL, asking->pid, tid, "status", text, sizeof text);
    if (len <= 0)
        return len == -ENOENT || len == -ESRCH || len == 0;
    const char *step = NULL;
    struct waiting waiting;
    uint64_t tracer;
    if (rdf_task_number(text, "TracerPid:", 10, &tracer) && tracer) {
        /* A debugger keeps what it does not know. */
        step = "another process traces it and would be the one to get the traps";
        *ret_err = -EBUSY;
    } else if (!rdf_task_number(text, "SigBlk:", 16, &blocked) || blocked & trap) {
        step = "it blocks SIGTRAP";
    } else if (read_standing(asking, tid, &waiting) == WAITS) {
        if (may_be_vfork(&waiting))
            step = "its child, made by vfork or posix_spawn, still runs in this memory";
        else if (may_hide_mask(&waiting))
            step = "it blocks SIGTRAP, or may do so when this call returns";
    }
    if (step)
        asking->report->step = step;
    return !step;
}

/* While such a handler runs, a trap is held back, and that ends the process. */
static int handlers_take_traps(struct rdf_stop_report *report)
{
    const uint64_t trap = UINT64_C(1) << (SIGTRAP - 1);
    for (int signal = 1; signal <= RDF_SIGNALS; signal++) {
        struct rdf_action action = {.handler = (uintptr_t)SIG_DFL};
        if (signal == SIGTRAP || rdf_action_set(signal, NULL, &action) < 0 ||
            !rdf_action_is_handler(&action) || !(action.mask & trap))
            continue;
        report->step = "a signal's handler blocks SIGTRAP while it runs";
        return report->err = -EBUSY;
    }
    return 0;
}

int rdf_local_check_traps(struct rdf_space *space, uint64_t deadline_ms, struct rdf_stop_report *ret_report)
{
    *ret_report = (struct rdf_stop_report){.step = ""};
    struct asking asking = {.pid = (int)rdf_sys(SYS_getpid), .report = ret_report};
    int err = handlers_take_traps(ret_report);
    /* Alone it may still have an emulator's threads, which block everything and take no part. */
    if (!err && space->ops->has_other_threads(space))
        err = until_all(deadline_ms, "", takes_traps, &asking, ret_report);
    if (!err)
        ret_report->step = "";
    return err;
}
