/* SPDX-License-Identifier: MIT
 *
 * The table of this process, and the small rest: files, resolvers, the lock.
 */
#include "os/alone.h"
#include "os/lock.h"
#include "os/bsd/room.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

/* The least that a user is given (sys/amd64/include/vmparam.h, VM_MAXUSER_ADDRESS_LA48); arm64 has twice
 * that. */
uint64_t rdf_os_address_end(void)
{
    return UINT64_C(0x7ffffffff000);
}

/* libc, for its __syscall. */
uint64_t rdf_os_called_code(void)
{
    return (uint64_t)(uintptr_t)&__syscall;
}

bool rdf_os_calls(uint64_t entry)
{
    return entry == rdf_os_called_code();
}

/* ---- resolvers and files ---- */

/* The loader tells resolvers what the CPU can do, in arguments that differ from CPU to CPU
 * (libexec/rtld-elf): asked without them they would name another function than the one that runs. */
static uint64_t call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    (void)space, (void)resolver_addr;
    return 0;
}

static int map_file(int fd, uint64_t ino, struct rdf_span *ret)
{
    struct stat about;
    int64_t status = rdf_sys(SYS_fstat, fd, &about);
    if (status < 0)
        return (int)status;
    if (ino && about.st_ino != ino)
        return -ESTALE;
    if (!S_ISREG(about.st_mode) || about.st_size <= 0)
        return -ENOEXEC;
    int64_t at = rdf_sys(SYS_mmap, NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, (off_t)0);
    if (at < 0)
        return (int)at;
    *ret = (struct rdf_span){(const uint8_t *)(uintptr_t)at, (size_t)about.st_size};
    return 0;
}

static int open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    (void)space, (void)dev;
    /* O_NONBLOCK: a name may lead to a pipe that nobody writes. */
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fd;
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

static void nap(void)
{
    static const struct timespec time = {0, 1000 * 1000};
    (void)rdf_sys(SYS_nanosleep, &time, NULL);
}

bool rdf_os_lock(struct rdf_os_lock *lock)
{
    return rdf_lock_by_naps(lock, nap);
}

void rdf_os_unlock(struct rdf_os_lock *lock)
{
    __atomic_store_n(&lock->state, 0, __ATOMIC_RELEASE);
}

/* ---- a process of one thread ---- */

/* With every signal blocked no handler of this thread runs, and there is no other thread. */
static int with_signals_held(struct rdf_space *space, rdf_stopped_body *body, void *ctx, int *ret_body)
{
    (void)space;
    sigset_t all, former;
    (void)sigfillset(&all);
    int64_t status = rdf_sys(SYS_sigprocmask, SIG_SETMASK, &all, &former);
    if (status < 0)
        return (int)status;
    *ret_body = rdf_call_alone(body, ctx);
    (void)rdf_sys(SYS_sigprocmask, SIG_SETMASK, &former, NULL);
    return 0;
}

/* ---- the table ---- */

static const struct rdf_space_ops local_ops = {
    .maps = rdf_local_maps,
    .read = rdf_local_read,
    .view = rdf_local_view,
    .map = rdf_local_map,
    .unmap = rdf_local_unmap,
    .protect = rdf_local_protect,
    .write = rdf_local_write,
    .has_other_threads = rdf_local_has_other_threads,
    .with_world_stopped = rdf_local_with_world_stopped,
    .with_signals_held = with_signals_held,
    .catch_traps = rdf_local_catch_traps,
    .call_resolver = call_resolver,
    .open_file = open_file,
    .close_file = close_file,
};

void rdf_os_local_space(struct rdf_space *ret)
{
    *ret = (struct rdf_space){.ops = &local_ops};
}
