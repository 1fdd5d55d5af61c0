/* SPDX-License-Identifier: MIT
 *
 * The table of this process, and the small rest: threads counted, files, resolvers, the lock.
 */
#include "os/linux/room.h"
#include "os/alone.h"
#include "os/linux/syscall.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#if defined(__has_include)
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
#endif
#endif
#ifndef ANNOTATE_HAPPENS_AFTER
#define ANNOTATE_HAPPENS_BEFORE(lock) ((void)(lock))
#define ANNOTATE_HAPPENS_AFTER(lock)  ((void)(lock))
#endif

size_t rdf_decimal(char *to, uint64_t value)
{
    size_t len = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10)
        len++;
    to[len] = 0;
    for (size_t i = len; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return len;
}

static char *put_text(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    *to = 0;
    return to;
}

void rdf_task_path(char *to, int pid, int tid, const char *name)
{
    to = put_text(to, "/proc/");
    to += rdf_decimal(to, (uint64_t)pid);
    to = put_text(to, "/task/");
    to += rdf_decimal(to, (uint64_t)tid);
    to = put_text(to, "/");
    (void)put_text(to, name);
}

/* getauxval is the program's to redefine. */
uint64_t rdf_auxv(uint64_t type)
{
    enum { GET_AUXV = 0x41555856, ENTRIES = 64 }; /* prctl PR_GET_AUXV, since Linux 6.4 */
    uint64_t auxv[ENTRIES][2];
    long len_bytes = rdf_sys(SYS_prctl, GET_AUXV, auxv, sizeof auxv, 0, 0);
    if (rdf_sys_failed(len_bytes)) {
        int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return 0;
        len_bytes = rdf_sys(SYS_read, fd, auxv, sizeof auxv);
        (void)rdf_sys(SYS_close, fd);
    }
    for (long i = 0; i < ENTRIES && (i + 1) * (long)sizeof auxv[0] <= len_bytes && auxv[i][0]; i++)
        if (auxv[i][0] == type)
            return auxv[i][1];
    return 0;
}

/* ---- threads ---- */

/* glibc 2.32 and later: false for ever once a thread was made. Blind to threads made by clone(). */
extern char __libc_single_threaded __attribute__((weak));

/* The kernel says how many threads there are in the link count of the directory that lists them
 * (proc_task_getattr), at the price of one call. An emulator has threads of its own, which never run
 * the program's code: it is told by having no ptrace, and there libc's word is better. */
static bool has_other_threads(struct rdf_space *space)
{
    (void)space;
    enum { LINKS_OF_ITSELF = 2, PTRACE_PEEKTEXT_ = 1 };
    struct stat about;
    long err = rdf_sys(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &about, 0);
    if (!err && about.st_nlink == LINKS_OF_ITSELF + 1)
        return false;
    bool libc_says_single = &__libc_single_threaded && __libc_single_threaded;
    if (!libc_says_single)
        return true;
    bool emulated = rdf_sys(SYS_ptrace, PTRACE_PEEKTEXT_, 0, 0, 0) == -ENOSYS;
    return !emulated && !err && about.st_nlink > LINKS_OF_ITSELF + 1;
}

/* ---- resolvers and files ---- */

static uint64_t call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    (void)space;
    return rdf_call_ifunc(resolver_addr);
}

static bool ends_with(const char *text, const char *tail)
{
    size_t text_len = 0;
    size_t tail_len = 0;
    while (text[text_len])
        text_len++;
    while (tail[tail_len])
        tail_len++;
    if (tail_len > text_len)
        return false;
    for (size_t i = 0; i < tail_len; i++)
        if (text[text_len - tail_len + i] != tail[i])
            return false;
    return true;
}

/* Devices are not compared when inodes are equal: btrfs and overlayfs report one number in stat and
 * another in /proc/PID/maps. */
static int map_file(int fd, uint64_t ino, struct rdf_span *ret)
{
    struct stat about;
    int err = (int)rdf_sys(SYS_fstat, fd, &about);
    if (err)
        return err;
    if (ino && about.st_ino != ino)
        return -ESTALE;
    if (!S_ISREG(about.st_mode) || about.st_size <= 0)
        return -ENOEXEC;
    long got = rdf_sys(SYS_mmap, 0, about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (rdf_sys_failed(got))
        return (int)got;
    *ret = (struct rdf_span){(const uint8_t *)got, (size_t)about.st_size};
    return 0;
}

static int open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    (void)space;
    (void)dev;
    /* O_NONBLOCK: a name may lead to a pipe that nobody writes. */
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool is_gone = fd == -ENOENT && ino && ends_with(path, " (deleted)");
    if (is_gone) /* the program's own is still there, under this name */
        fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return is_gone ? -ESTALE : fd;
    int err = map_file(fd, ino, ret);
    (void)rdf_sys(SYS_close, fd);
    return err;
}

static void close_file(struct rdf_space *space, struct rdf_span file)
{
    (void)space;
    if (file.data)
        (void)rdf_sys(SYS_munmap, file.data, file.len_bytes);
}

/* ---- the lock ---- */

/* `state` is 0 or the thread id of the owner, so that one compare-and-swap both takes the lock and
 * says who has it; the top bit says that someone waits. An owner that is no thread of this process
 * is the thread that held the lock when fork copied its memory, or has ended: nobody will unlock. */
static const uint32_t someone_waits = UINT32_C(1) << 31;

static bool replace(uint32_t *state, uint32_t old, uint32_t new)
{
    return __atomic_compare_exchange_n(state, &old, new, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool take(struct rdf_os_lock *lock)
{
    uint32_t self = (uint32_t)rdf_sys(SYS_gettid);
    if (replace(&lock->state, 0, self))
        return true;
    for (;;) {
        uint32_t state = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);
        uint32_t owner = state & ~someone_waits;
        if (owner == self)
            return false;
        bool nobody = owner == 0 || rdf_sys(SYS_tgkill, rdf_sys(SYS_getpid), owner, 0) == -ESRCH;
        if (nobody) {
            /* Others may be waiting beside us: keep the bit, or the next unlock forgets them. */
            if (replace(&lock->state, state, self | someone_waits))
                return true;
            continue;
        }
        if (state == owner && !replace(&lock->state, state, owner | someone_waits))
            continue;
        /* Not for ever: an owner that ends without unlocking wakes nobody. */
        struct timespec nap = {0, 50 * 1000 * 1000};
        (void)rdf_sys(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, owner | someone_waits, &nap);
    }
}

/* helgrind knows no locks but those of the C library. */
bool rdf_os_lock(struct rdf_os_lock *lock)
{
    bool is_taken = take(lock);
    if (is_taken)
        ANNOTATE_HAPPENS_AFTER(lock);
    return is_taken;
}

void rdf_os_unlock(struct rdf_os_lock *lock)
{
    ANNOTATE_HAPPENS_BEFORE(lock);
    uint32_t was = __atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE);
    if (was & someone_waits)
        (void)rdf_sys(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1);
}

/* ---- a process of one thread ---- */

/* With every signal blocked no handler of this thread runs, and there is no other thread. */
static int with_signals_held(struct rdf_space *space, rdf_stopped_body *body, void *ctx, int *ret_body)
{
    (void)space;
    uint64_t all = ~UINT64_C(0);
    uint64_t former;
    long status = rdf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &former, sizeof former);
    if (status < 0)
        return (int)status;
    *ret_body = rdf_call_alone(body, ctx);
    (void)rdf_sys(SYS_rt_sigprocmask, SIG_SETMASK, &former, NULL, sizeof former);
    return 0;
}

uint64_t rdf_os_address_end(void)
{
    return UINT64_C(1) << RDF_ADDRESS_BITS;
}

/* The kernel itself. */
uint64_t rdf_os_called_code(void)
{
    return 0;
}

bool rdf_os_calls(uint64_t entry)
{
    (void)entry;
    return false;
}

/* ---- the table ---- */

static const struct rdf_space_ops local_ops = {
    .maps = rdf_local_maps,
    .maps_at = rdf_local_maps_at,
    .read = rdf_local_read,
    .view = rdf_local_view,
    .map = rdf_local_map,
    .unmap = rdf_local_unmap,
    .protect = rdf_local_protect,
    .write = rdf_local_write,
    .own_pages = rdf_local_own_pages,
    .has_other_threads = has_other_threads,
    .with_world_stopped = rdf_local_with_world_stopped,
    .with_signals_held = with_signals_held,
    .catch_traps = rdf_local_catch_traps,
    .sync_cores = rdf_local_sync_cores,
    .check_traps = rdf_local_check_traps,
    .ask_threads = rdf_local_ask_threads,
    .describe_thread = rdf_local_describe_thread,
    .call_resolver = call_resolver,
    .open_file = open_file,
    .close_file = close_file,
};

void rdf_os_local_space(struct rdf_space *ret)
{
    *ret = (struct rdf_space){.ops = &local_ops};
}
