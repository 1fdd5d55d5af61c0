/* SPDX-License-Identifier: MIT
 *
 * A thread of another process makes a new one there, on an errand, and goes on as if nothing had been.
 *
 * The borrowed thread does no more than pthread_create: what takes long, waits for locks or runs other
 * people's code (loading the agent and a patch, stopping threads) is done by the new thread, while nobody
 * traces anybody. So it may stand anywhere but inside of what pthread_create needs: memory allocation and the
 * loader (cli/safeplace.c).
 *
 * At every moment of it this process may be killed. The kernel then lets go of the thread, which continues
 * with the registers that it happens to have; so each set of registers that it is ever given leads back by
 * itself, through rt_sigreturn and a frame with everything that it had:
 *
 *   1. It is seized and interrupted. Its registers, its extended state and its signal mask are read.
 *   2. A frame is written below its stack's red zone, where a signal's would be. It is sent to `syscall; ret`
 *      in libc, for mmap; the return leads to libc's own rt_sigreturn and that frame. Signals are held back
 * from here on: the frame has the former mask.
 *   3. Behind that system call it is stopped again. The new region gets a second frame, a stack, the code and
 *      the errand; a second such call makes the page of the code executable.
 *   4. It is sent to that code, which keeps errno, calls pthread_create and ends in rt_sigreturn.
 *   5. At the entry of that system call it is stopped once more, the call is skipped, and it is put back from
 * here, which is better: an interrupted call that the kernel keeps the rest of (nanosleep) can then be
 * continued. The kernel decides about restarts only where it looks for signals, so it is interrupted again
 * for that; what follows the skipped call is a jump to it, should nobody be there any more.
 *
 * The region is unmapped by the new thread in the end, when it has been told that nobody else needs it.
 */
#include "os/borrow.h"

#include "os/clock.h"
#include "os/linux/borrow_x86_64.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool rdf_borrow_is_known(void)
{
    return true;
}

enum {
    STACK_BYTES = 128 * 1024,
    CALL_MS = 5000, /* for pthread_create */
    MASK_BYTES = 8,
    SYSCALL_STOP = SIGTRAP | 0x80, /* PTRACE_O_TRACESYSGOOD */
};

/* How it stands still. */
enum standing { RUNNING, STOPPED, BEFORE_CALL, BEHIND_CALL, ENDED };

struct rdf_borrowed {
    int pid, tid, mem_fd;
    enum standing standing;
    bool is_group_stopped;
    bool is_changed; /* it has other registers than its own */
    bool in_call;    /* of two stops for a system call the next is the second */
    int kept_tid;
    borrow_regs regs;
    uint64_t mask;
    size_t extended_len;
    uint8_t extended[EXTENDED_BYTES_MAX] __attribute__((aligned(64)));
};

/* ---- waiting ---- */

static void nap(void)
{
    const struct timespec short_time = {0, 100 * 1000};
    (void)nanosleep(&short_time, NULL);
}

/* The next stop of a thread; -ETIMEDOUT; -ESRCH: it has ended. */
static int await(int tid, uint64_t deadline_ms, int *ret_status)
{
    for (;;) {
        pid_t got = waitpid(tid, ret_status, __WALL | WNOHANG);
        if (got == tid)
            return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
        if (got < 0 && errno != EINTR)
            return -ESRCH;
        if (rdf_now_ms() >= deadline_ms)
            return -ETIMEDOUT;
        nap();
    }
}

static bool is_event(int status, int event)
{
    return status >> 16 == event;
}

static bool is_stop_signal(int signal)
{
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static int ask(const struct rdf_borrowed *borrowed, int request, long signal)
{
    return ptrace(request, borrowed->tid, 0, signal) < 0 ? -errno : 0;
}

/* The thread that was made, which the kernel traces at once: what it starts itself is not to be. */
static void keep(struct rdf_borrowed *borrowed)
{
    unsigned long made = 0;
    if (ptrace(PTRACE_GETEVENTMSG, borrowed->tid, 0, &made) == 0)
        borrowed->kept_tid = (int)made;
}

/* Let it run, however often it stops for something else, until it has an event of ours (`event`) or is at one
 * end of a system call. */
static int run_on(struct rdf_borrowed *borrowed, int how, uint64_t deadline_ms)
{
    long signal = 0;
    for (;;) {
        int status;
        int err = ask(borrowed, how, signal);
        if (!err)
            err = await(borrowed->tid, deadline_ms, &status);
        if (err) {
            borrowed->standing = err == -ESRCH ? ENDED : RUNNING;
            return err;
        }
        signal = 0;
        if (WSTOPSIG(status) == SYSCALL_STOP) {
            borrowed->standing = borrowed->in_call ? BEHIND_CALL : BEFORE_CALL;
            borrowed->in_call = !borrowed->in_call;
            return 0;
        }
        if (is_event(status, PTRACE_EVENT_CLONE)) {
            keep(borrowed);
        } else if (is_event(status, PTRACE_EVENT_STOP)) {
            borrowed->is_group_stopped = is_stop_signal(WSTOPSIG(status));
            borrowed->standing = STOPPED;
            if (how == PTRACE_CONT)
                return 0;
        } else if (is_stop_signal(WSTOPSIG(status))) {
            signal = WSTOPSIG(status); /* the whole process stops, this thread with it in the end */
        } else {
            borrowed->standing = STOPPED;
            return -EFAULT; /* what cannot be held back: the code has faulted */
        }
    }
}

/* ---- registers and memory ---- */

static int get_regs(const struct rdf_borrowed *borrowed, borrow_regs *ret)
{
    struct iovec part = {ret, sizeof *ret};
    return ptrace(PTRACE_GETREGSET, borrowed->tid, NT_PRSTATUS, &part) < 0 ? -errno : 0;
}

static int set_regs(const struct rdf_borrowed *borrowed, borrow_regs *regs)
{
    struct iovec part = {regs, sizeof *regs};
    return ptrace(PTRACE_SETREGSET, borrowed->tid, NT_PRSTATUS, &part) < 0 ? -errno : 0;
}

static int set_extended(const struct rdf_borrowed *borrowed, const uint8_t *extended)
{
    struct iovec part = {(void *)(uintptr_t)extended, borrowed->extended_len};
    return ptrace(PTRACE_SETREGSET, borrowed->tid, NT_X86_XSTATE, &part) < 0 ? -errno : 0;
}

static int set_mask(const struct rdf_borrowed *borrowed, uint64_t mask)
{
    return ptrace(PTRACE_SETSIGMASK, borrowed->tid, MASK_BYTES, &mask) < 0 ? -errno : 0;
}

static int put(const struct rdf_borrowed *borrowed, uint64_t addr, const void *bytes, size_t len_bytes)
{
    ssize_t done = pwrite(borrowed->mem_fd, bytes, len_bytes, (off_t)addr);
    return done == (ssize_t)len_bytes ? 0 : done < 0 ? -errno : -EFAULT;
}

static int read_state(struct rdf_borrowed *borrowed)
{
    struct iovec part = {borrowed->extended, sizeof borrowed->extended};
    int err = get_regs(borrowed, &borrowed->regs);
    if (!err && ptrace(PTRACE_GETREGSET, borrowed->tid, NT_X86_XSTATE, &part) < 0)
        err = -errno;
    borrowed->extended_len = part.iov_len;
    if (!err && ptrace(PTRACE_GETSIGMASK, borrowed->tid, MASK_BYTES, &borrowed->mask) < 0)
        err = -errno;
    return err;
}

/* Whether it stands in a critical section of rseq. The kernel would have it begin again, but looks where the
 * thread is when it runs on, which would be elsewhere. */
static bool is_in_sequence(const struct rdf_borrowed *borrowed)
{
    struct __ptrace_rseq_configuration known;
    struct {
        uint32_t version, flags;
        uint64_t start, len_bytes, abort;
    } section;
    uint64_t at = 0;
    enum { SECTION_OFF = 8 }; /* struct rseq */
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, borrowed->tid, sizeof known, &known) != (long)sizeof known ||
        pread(borrowed->mem_fd, &at, sizeof at, (off_t)(known.rseq_abi_pointer + SECTION_OFF)) != sizeof at ||
        !at || pread(borrowed->mem_fd, &section, sizeof section, (off_t)at) != sizeof section)
        return false;
    return regs_pc(&borrowed->regs) - section.start < section.len_bytes;
}

/* ---- step 1 ---- */

int rdf_borrow(int pid, int tid, unsigned timeout_ms, struct rdf_borrowed **ret)
{
    char path[64];
    int status, err = 0;
    struct rdf_borrowed *borrowed = aligned_alloc(64, (sizeof *borrowed + 63) / 64 * 64);
    if (!borrowed)
        return -ENOMEM;
    memset(borrowed, 0, sizeof *borrowed);
    *borrowed = (struct rdf_borrowed){.pid = pid, .tid = tid, .mem_fd = -1};
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/mem", pid, tid);
    borrowed->mem_fd = open(path, O_RDWR | O_CLOEXEC);
    if (borrowed->mem_fd < 0)
        err = errno == ENOENT ? -ESRCH : -errno;
    if (!err)
        err = ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0 ? -errno : 0;
    if (!err && (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0))
        err = -errno;
    long signal = 0;
    while (!err && (err = await(tid, rdf_now_ms() + timeout_ms, &status)) == 0 &&
           !is_event(status, PTRACE_EVENT_STOP)) {
        signal = WSTOPSIG(status); /* one that was just being delivered goes first */
        err = ask(borrowed, PTRACE_CONT, signal);
    }
    if (!err) {
        borrowed->standing = STOPPED;
        borrowed->is_group_stopped = is_stop_signal(WSTOPSIG(status));
        err = read_state(borrowed);
        if (err)
            (void)ask(borrowed, PTRACE_DETACH, 0);
    }
    if (!err) {
        *ret = borrowed;
        return 0;
    }
    if (borrowed->mem_fd >= 0)
        close(borrowed->mem_fd);
    free(borrowed);
    return err;
}

struct rdf_borrow_place rdf_borrow_place(const struct rdf_borrowed *borrowed)
{
    return (struct rdf_borrow_place){.syscall = regs_syscall(&borrowed->regs),
                                     .pc = regs_pc(&borrowed->regs),
                                     .sp = regs_sp(&borrowed->regs),
                                     .thread_pointer = regs_thread_pointer(&borrowed->regs),
                                     .is_group_stopped = borrowed->is_group_stopped,
                                     .is_restartable = is_in_sequence(borrowed)};
}

/* ---- steps 2 and 3 ---- */

size_t rdf_borrow_sigreturn(const uint8_t **ret)
{
    *ret = sigreturn_code;
    return sizeof sigreturn_code;
}

/* Where `wanted` lies in code of the process; 0: nowhere. */
static uint64_t find_code(const struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order,
                          const uint8_t *wanted, size_t wanted_len)
{
    uint64_t found = 0;
    for (size_t i = 0; !found && i < order->code_count; i++) {
        size_t len = (size_t)(order->code[i].end - order->code[i].start);
        uint8_t *code = malloc(len);
        ssize_t got = code ? pread(borrowed->mem_fd, code, len, (off_t)order->code[i].start) : -1;
        const uint8_t *at = got > 0 ? memmem(code, (size_t)got, wanted, wanted_len) : NULL;
        if (at)
            found = order->code[i].start + (uint64_t)(at - code);
        free(code);
    }
    return found;
}

/* A frame that leads back, and, below it, the address of what takes it; returns where the latter lies, 0 when
 * it cannot be written. */
static uint64_t put_frame(const struct rdf_borrowed *borrowed, uint64_t addr, uint64_t sigreturn)
{
    enum { ALIGN = 64 };
    struct {
        uint8_t unused[ALIGN - sizeof(uint64_t)];
        uint64_t sigreturn;
        uint8_t frame[FRAME_BYTES(EXTENDED_BYTES_MAX)];
    } *all = calloc(1, sizeof *all);
    if (!all)
        return 0;
    all->sigreturn = sigreturn;
    size_t len = frame_make(all->frame, addr, &borrowed->regs, borrowed->mask, borrowed->extended,
                            borrowed->extended_len);
    int err = put(borrowed, addr - ALIGN, all, len + ALIGN);
    free(all);
    return err ? 0 : addr - sizeof(uint64_t);
}

/* One system call, that returns to what `sp` points to. */
static int call_system(struct rdf_borrowed *borrowed, uint64_t at, uint64_t sp, long nr,
                       const uint64_t arg[6], long *ret)
{
    borrow_regs regs = borrowed->regs;
    regs_syscall_at(&regs, at, sp, nr, arg);
    int err = set_regs(borrowed, &regs);
    borrowed->is_changed |= !err;
    if (!err)
        err = set_mask(borrowed, ~UINT64_C(0));
    uint64_t deadline_ms = rdf_now_ms() + CALL_MS;
    if (!err)
        err = run_on(borrowed, PTRACE_SYSCALL, deadline_ms);
    if (!err)
        err = run_on(borrowed, PTRACE_SYSCALL, deadline_ms);
    if (!err)
        err = get_regs(borrowed, &regs);
    *ret = regs_result(&regs);
    if (!err && *ret < 0 && *ret > -4096)
        err = (int)*ret;
    return err;
}

struct region {
    uint64_t code, stack_top, frame, errand, bytes;
    uint64_t call; /* in libc */
};

static struct region region_of(size_t request_bytes)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    struct region region = {.code = 0, .stack_top = 2 * page_bytes + STACK_BYTES};
    region.frame = region.stack_top + 64;
    region.errand = (region.frame + FRAME_BYTES(EXTENDED_BYTES_MAX) + 63) / 64 * 64;
    region.bytes = region.errand + sizeof(struct rdf_errand) + request_bytes;
    region.bytes = (region.bytes + page_bytes - 1) / page_bytes * page_bytes;
    return region;
}

static int put_code(const struct rdf_borrowed *borrowed, const struct region *region)
{
    return put(borrowed, region->code, rdf_errand_code, (size_t)(rdf_errand_code_end - rdf_errand_code));
}

static int put_errand(const struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order,
                      const struct region *region)
{
    size_t request_bytes = strlen(order->request) + 1;
    struct rdf_errand *errand = calloc(1, sizeof *errand + request_bytes);
    if (!errand)
        return -ENOMEM;
    errand->version = RDF_ERRAND_VERSION;
    errand->made = -1;
    memcpy(errand->function, order->function, sizeof errand->function);
    errand->start = region->code + (uint64_t)(rdf_errand_code_start - rdf_errand_code);
    errand->region = region->code;
    errand->region_bytes = region->bytes;
    errand->call = region->call;
    (void)snprintf(errand->agent, sizeof errand->agent, "%s", order->agent);
    (void)snprintf(errand->entry, sizeof errand->entry, "%s", order->entry);
    errand->request_bytes = request_bytes;
    memcpy(errand->request, order->request, request_bytes);
    int err = put(borrowed, region->errand, errand, sizeof *errand + request_bytes);
    free(errand);
    return err ? err : put_code(borrowed, region);
}

/* Memory of its own for all that follows. */
static int make_region(struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order,
                       struct region *region, const char **ret_step)
{
    uint64_t call = find_code(borrowed, order, syscall_then_return, sizeof syscall_then_return);
    uint64_t sigreturn = find_code(borrowed, order, sigreturn_code, sizeof sigreturn_code);
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t sp = regs_sp(&borrowed->regs);
    long got = 0;
    *ret_step = "look for a system call in its C library";
    if (!call || !sigreturn)
        return -ENOENT;
    *ret_step = "find room on its stack";
    size_t frame_bytes = FRAME_BYTES(borrowed->extended_len);
    if (sp < order->stack_start || sp - order->stack_start < RED_ZONE_BYTES + 2 * frame_bytes)
        return -ENOBUFS;
    uint64_t below = put_frame(borrowed, (sp - RED_ZONE_BYTES - frame_bytes) & ~UINT64_C(63), sigreturn);
    if (!below)
        return -EFAULT;
    *ret_step = "map memory";
    *region = region_of(strlen(order->request) + 1);
    const uint64_t map[6] = {
        0, region->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
    int err = call_system(borrowed, call, below, SYS_mmap, map, &got);
    if (err)
        return err;
    region->call = call;
    region->code += (uint64_t)got;
    region->stack_top += (uint64_t)got;
    region->frame += (uint64_t)got;
    region->errand += (uint64_t)got;
    *ret_step = "write to that memory";
    err = put_errand(borrowed, order, region);
    below = err ? 0 : put_frame(borrowed, region->frame, sigreturn);
    if (!below)
        return err ? err : -EFAULT;
    *ret_step = "make code executable";
    const uint64_t protect[6] = {region->code, page_bytes, PROT_READ | PROT_EXEC};
    err = call_system(borrowed, call, below, SYS_mprotect, protect, &got);
    if (err != -EPERM && err != -EACCES)
        return err;
    /* A process that has given up making memory executable (PR_SET_MDWE) may still map it so; a tracer writes
     * there. */
    const uint64_t again[6] = {region->code,          page_bytes,
                               PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                               (uint64_t)-1,          0};
    err = call_system(borrowed, call, below, SYS_mmap, again, &got);
    return err ? err : put_code(borrowed, region);
}

/* ---- step 4 ---- */

static int make_thread(struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order,
                       const struct region *region)
{
    uint64_t end = region->code + (uint64_t)(rdf_errand_code_sigreturn - rdf_errand_code);
    uint64_t deadline_ms = rdf_now_ms() + CALL_MS;
    uint8_t extended[EXTENDED_BYTES_MAX] __attribute__((aligned(64)));
    borrow_regs regs = borrowed->regs;
    memcpy(extended, borrowed->extended, borrowed->extended_len);
    extended_init(extended, borrowed->extended_len);
    regs_call(&regs, region->code, region->frame, region->errand);
    int err = set_regs(borrowed, &regs);
    if (!err)
        err = set_extended(borrowed, extended);
    if (!err && order->keep_thread &&
        ptrace(PTRACE_SETOPTIONS, borrowed->tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) < 0)
        err = -errno;
    while (!err) {
        err = run_on(borrowed, PTRACE_SYSCALL, deadline_ms);
        if (!err)
            err = get_regs(borrowed, &regs);
        if (!err && borrowed->standing == BEFORE_CALL && regs_pc(&regs) > end &&
            regs_pc(&regs) < region->errand && regs_syscall(&regs) == SYS_rt_sigreturn)
            break;
    }
    int32_t made = -1;
    if (!err && pread(borrowed->mem_fd, &made, sizeof made,
                      (off_t)(region->errand + offsetof(struct rdf_errand, made))) != sizeof made)
        err = -EFAULT;
    return err ? err : -made;
}

int rdf_borrow_send(struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order, uint64_t *ret_errand,
                    int *ret_kept_tid, const char **ret_step)
{
    struct region region;
    int err = make_region(borrowed, order, &region, ret_step);
    if (err)
        return err;
    *ret_step = "make a thread";
    err = make_thread(borrowed, order, &region);
    *ret_errand = region.errand;
    *ret_kept_tid = borrowed->kept_tid;
    return err;
}

/* ---- step 5 ---- */

/* To where the kernel looks for signals, with no instruction executed on the way. */
static int come_to_event(struct rdf_borrowed *borrowed)
{
    uint64_t deadline_ms = rdf_now_ms() + CALL_MS;
    int err = 0;
    if (borrowed->standing == BEFORE_CALL) {
        borrow_regs regs;
        err = get_regs(borrowed, &regs);
        regs_skip_syscall(&regs);
        if (!err)
            err = set_regs(borrowed, &regs);
        if (!err)
            err = run_on(borrowed, PTRACE_SYSCALL, deadline_ms);
    }
    if (!err && borrowed->standing != STOPPED) {
        err = ptrace(PTRACE_INTERRUPT, borrowed->tid, 0, 0) < 0 ? -errno : 0;
        if (!err && borrowed->standing == RUNNING) {
            int status;
            err = await(borrowed->tid, deadline_ms, &status);
            borrowed->standing = STOPPED;
            if (!err && WSTOPSIG(status) == SYSCALL_STOP) { /* it was just about to */
                borrowed->standing = borrowed->in_call ? BEHIND_CALL : BEFORE_CALL;
                borrowed->in_call = !borrowed->in_call;
                return come_to_event(borrowed);
            }
        } else if (!err) {
            err = run_on(borrowed, PTRACE_CONT, deadline_ms);
        }
    }
    return err;
}

int rdf_borrow_give_back(struct rdf_borrowed *borrowed)
{
    int err = borrowed->standing == ENDED ? -ESRCH : 0;
    if (!err && borrowed->is_changed) {
        err = come_to_event(borrowed);
        if (!err)
            err = set_extended(borrowed, borrowed->extended);
        if (!err)
            err = set_mask(borrowed, borrowed->mask);
        if (!err)
            err = set_regs(borrowed, &borrowed->regs);
    }
    if (!err)
        err = ask(borrowed, PTRACE_DETACH, 0);
    close(borrowed->mem_fd);
    free(borrowed);
    return err;
}

/* ---- The thread that was kept ---- */

bool rdf_borrow_drive(int kept_tid)
{
    int status;
    pid_t got = waitpid(kept_tid, &status, __WALL | WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return true;
    if (got < 0 || !WIFSTOPPED(status))
        return false;
    long signal = is_event(status, PTRACE_EVENT_STOP) ? 0 : WSTOPSIG(status);
    (void)ptrace(PTRACE_SETOPTIONS, kept_tid, 0, 0);
    (void)ptrace(PTRACE_CONT, kept_tid, 0, signal);
    return true;
}
