/* SPDX-License-Identifier: MIT
 *
 * Memory of this process: read, map, protect, and the one way to change a byte of code.
 *
 *   PROTECT   stores with the CPU, whole aligned words of 8 bytes, each at once. The caller has made the page
 *             writable; a page of a file is this process' own copy then.
 *
 * A process cannot trace itself, and procfs, whose mem file is another way, is not mounted unless someone
 * asks.
 */
#include "base/bytes.h"
#include "os/bsd/room.h"

#include <fcntl.h>
#include <sys/mman.h>

/* ---- read ---- */

/* write() to a pipe checks its source like any system call does: EFAULT, no signal. */
int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    (void)space;
    enum { PIPE_ROOM = 512 }; /* the least a pipe holds (PIPE_BUF) */
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    int fd[2];
    int64_t status = rdf_sys(SYS_pipe2, fd, O_CLOEXEC | O_NONBLOCK);
    if (status < 0)
        return (int)status;
    size_t done = 0;
    while (done < len_bytes && status >= 0) {
        size_t part = len_bytes - done < PIPE_ROOM ? len_bytes - done : PIPE_ROOM;
        status = rdf_sys(SYS_write, fd[1], (const void *)(uintptr_t)(addr + done), part);
        if (status > 0)
            status = rdf_sys(SYS_read, fd[0], (uint8_t *)ret_bytes + done, (size_t)status);
        if (status > 0)
            done += (size_t)status;
        else
            status = status == 0 ? -EFAULT : status == -EINTR ? 0 : status;
    }
    (void)rdf_sys(SYS_close, fd[0]);
    (void)rdf_sys(SYS_close, fd[1]);
    return status < 0 ? (int)status : 0;
}

const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space, (void)len_bytes;
    return (const void *)(uintptr_t)addr;
}

/* ---- map, unmap, protect ---- */

static int system_prot(uint8_t prot)
{
    return (prot & RDF_PROT_READ ? PROT_READ : 0) | (prot & RDF_PROT_WRITE ? PROT_WRITE : 0) |
           (prot & RDF_PROT_EXEC ? PROT_EXEC : 0);
}

/* ENOMEM is what a place that is taken gives (mmap(2), MAP_EXCL), and what there is when there is no memory.
 */
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    int64_t at = rdf_sys(SYS_mmap, (void *)(uintptr_t)addr, len_bytes, system_prot(prot),
                         MAP_PRIVATE | MAP_ANON | MAP_FIXED | MAP_EXCL, -1, (off_t)0);
    return at >= 0 ? 0 : at == -ENOMEM || at == -EINVAL ? -EEXIST : (int)at;
}

int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    return (int)rdf_sys(SYS_munmap, (void *)(uintptr_t)addr, len_bytes);
}

int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    return (int)rdf_sys(SYS_mprotect, (void *)(uintptr_t)addr, len_bytes, system_prot(prot));
}

/* ---- write ---- */

int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes)
{
    (void)space, (void)world;
    if (method != RDF_WRITE_PROTECT)
        return method == RDF_WRITE_SELF_MEM ? -ENOSYS : -EINVAL;
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    char *start = (char *)(uintptr_t)addr;
    rdf_bytes_store((uint8_t *)start, bytes, len_bytes);
    __builtin___clear_cache(start, start + len_bytes);
    return 0;
}

const char *rdf_write_method_name(enum rdf_write_method method)
{
    return method == RDF_WRITE_PROTECT ? "mprotect" : "none";
}
