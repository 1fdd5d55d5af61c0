/* SPDX-License-Identifier: MIT
 *
 * The table of this process, and the small rest: errors translated, files, the lock.
 */
#include "os/alone.h"
#include "os/lock.h"
#include "os/darwin/room.h"

#include <errno.h>
#include <fcntl.h>
#include <mach/vm_param.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int rdf_errno_of(kern_return_t result)
{
    switch (result) {
    case KERN_SUCCESS: return 0;
    case KERN_PROTECTION_FAILURE: return -EACCES;
    case KERN_INVALID_ADDRESS: return -EFAULT;
    case KERN_NO_SPACE:
    case KERN_RESOURCE_SHORTAGE: return -ENOMEM;
    case KERN_INVALID_ARGUMENT: return -EINVAL;
    case KERN_NO_ACCESS:
    case KERN_CODESIGN_ERROR:
    case KERN_DENIED: return -EPERM;
    case KERN_TERMINATED:
    case MACH_SEND_INVALID_DEST: return -ESRCH;
    case KERN_NOT_SUPPORTED: return -ENOSYS;
    default: return -EIO;
    }
}

/* The end of what a process is given here; the kernel may give this one less, and refuses what lies behind.
 */
uint64_t rdf_os_address_end(void)
{
    return MACH_VM_MAX_ADDRESS;
}

/* libsystem_kernel. */
uint64_t rdf_os_called_code(void)
{
    return (uint64_t)(uintptr_t)&mach_vm_protect;
}

bool rdf_os_calls(uint64_t entry)
{
#define CALL(function) (uint64_t)(uintptr_t) & function
    const uint64_t called[] = {CALL(mach_vm_allocate),     CALL(mach_vm_deallocate),
                               CALL(mach_vm_protect),      CALL(mach_vm_read_overwrite),
                               CALL(mach_vm_remap),        CALL(mach_vm_region_recurse),
                               CALL(mach_port_deallocate), CALL(task_threads),
                               CALL(thread_get_state),     CALL(thread_set_state),
                               CALL(thread_suspend),       CALL(thread_resume),
                               CALL(thread_info),          CALL(thread_switch)};
#undef CALL
    for (size_t i = 0; i < sizeof called / sizeof *called; i++)
        if (called[i] == entry)
            return true;
    return false;
}

/* ---- files ---- */

static int map_file(int fd, uint64_t ino, struct rdf_span *ret)
{
    struct stat about;
    if (fstat(fd, &about) < 0)
        return -errno;
    if (ino && about.st_ino != ino)
        return -ESTALE;
    if (!S_ISREG(about.st_mode) || about.st_size <= 0)
        return -ENOEXEC;
    void *at = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret = (struct rdf_span){at, (size_t)about.st_size};
    return 0;
}

static int open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    (void)space, (void)dev;
    /* O_NONBLOCK: a name may lead to a pipe that nobody writes. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int err = map_file(fd, ino, ret);
    (void)close(fd);
    return err;
}

static void close_file(struct rdf_space *space, struct rdf_span file)
{
    (void)space;
    if (file.data)
        (void)munmap((void *)(uintptr_t)file.data, file.len_bytes);
}

/* The resolvers of this format are not followed: src/image/macho/tables.c leaves them out. */
static uint64_t call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    (void)space, (void)resolver_addr;
    return 0;
}

/* ---- the lock ---- */

static void nap(void)
{
    enum { TIME_MS = 1 };
    (void)thread_switch(MACH_PORT_NULL, SWITCH_OPTION_WAIT, TIME_MS);
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
    if (sigprocmask(SIG_SETMASK, &all, &former) < 0)
        return -errno;
    *ret_body = rdf_call_alone(body, ctx);
    (void)sigprocmask(SIG_SETMASK, &former, NULL);
    return 0;
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
