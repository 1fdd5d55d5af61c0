/* SPDX-License-Identifier: MIT
 *
 * Memory of this process: read, map, protect, and the four ways to change a byte of code.
 *
 * What the ways can do (each tried by tests/unit/os_linux_memory.c; kernels 6.18 and valgrind 3.19):
 *   TRACER_MEM, TRACER_POKE, SELF_MEM write with FOLL_FORCE: any page the process could make writable
 *   by mprotect, and also the vDSO and mseal'ed text, for which mprotect fails. The page becomes a
 *   private copy; its protection is not touched and is never writable. Private hugetlb text is written
 *   on 6.18; other kernels may answer EFAULT.
 *   SELF_MEM stops working on text where the kernel's PROC_MEM_FORCE_PTRACE is the default (EIO or
 *   EFAULT); the tracer's ways do not. A write through a file of /proc is not atomic beyond one byte.
 *   Where an emulator goes on executing what was there before (qemu-user up to 7.2), it is refused: ENOTSUP.
 *   PROTECT stores with the CPU: whole aligned words of 8 bytes, each at once.
 */
#include "base/bytes.h"
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/ptrace.h>
#include <sys/mman.h>
#include <sys/uio.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#if defined(__has_include)
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
#endif
#endif
#ifndef VALGRIND_HG_DISABLE_CHECKING
#define VALGRIND_HG_DISABLE_CHECKING(addr, len) ((void)(addr), (void)(len))
#endif
#ifndef VALGRIND_DISCARD_TRANSLATIONS
#define VALGRIND_DISCARD_TRANSLATIONS(addr, len) ((void)(addr), (void)(len))
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

/* Newer than the oldest headers we build with. */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
enum { SET_VMA = 0x53564d41, SET_VMA_ANON_NAME = 0 };

/* ---- read ---- */

static RDF_RAW int read_by_vm_readv(uint64_t addr, uint8_t *ret_bytes, size_t len_bytes)
{
    long pid = rdf_sys(SYS_getpid);
    size_t done = 0;
    while (done < len_bytes) {
        struct iovec local = {ret_bytes + done, len_bytes - done};
        struct iovec remote = {(void *)(uintptr_t)(addr + done), len_bytes - done};
        long got = rdf_sys(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0);
        if (got <= 0)
            return got == 0 ? -EFAULT : (int)got;
        done += (size_t)got;
    }
    return 0;
}

/* write() to a pipe checks its source like any system call does: EFAULT, no signal. */
static RDF_RAW int read_by_pipe(uint64_t addr, uint8_t *ret_bytes, size_t len_bytes)
{
    enum { PIPE_ROOM = 4096 }; /* the least a pipe holds */
    int fd[2];
    int err = (int)rdf_sys(SYS_pipe2, fd, O_CLOEXEC | O_NONBLOCK);
    if (err)
        return err;
    size_t done = 0;
    while (done < len_bytes && !err) {
        size_t part = len_bytes - done < PIPE_ROOM ? len_bytes - done : PIPE_ROOM;
        long put = rdf_sys(SYS_write, fd[1], addr + done, part);
        if (put == -EINTR)
            continue;
        long got = put > 0 ? rdf_sys(SYS_read, fd[0], ret_bytes + done, put) : put;
        if (got <= 0)
            err = got == 0 ? -EFAULT : (int)got;
        else
            done += (size_t)got;
    }
    (void)rdf_sys(SYS_close, fd[0]);
    (void)rdf_sys(SYS_close, fd[1]);
    return err;
}

/* Also reads pages of PROT_NONE, which the other two refuse: hence the last. */
static RDF_RAW int read_by_self_mem(uint64_t addr, uint8_t *ret_bytes, size_t len_bytes)
{
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    int err = 0;
    for (size_t done = 0; done < len_bytes && !err;) {
        long got = rdf_sys(SYS_pread64, fd, ret_bytes + done, len_bytes - done, addr + done);
        if (got <= 0)
            err = got == 0 || got == -EIO || got == -EINVAL ? -EFAULT : (int)got; /* EINVAL: negative */
        else
            done += (size_t)got;
    }
    (void)rdf_sys(SYS_close, fd);
    return err;
}

RDF_RAW int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    (void)space;
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    /* Any other answer than EFAULT is a sandbox, an emulator or an old kernel speaking. */
    int err = read_by_vm_readv(addr, ret_bytes, len_bytes);
    if (err && err != -EFAULT)
        err = read_by_pipe(addr, ret_bytes, len_bytes);
    if (err && err != -EFAULT)
        err = read_by_self_mem(addr, ret_bytes, len_bytes);
    return err;
}

const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    (void)len_bytes;
    return (const void *)(uintptr_t)addr;
}

/* ---- map, unmap, protect ---- */

static bool is_self_mem_stale(void);

static RDF_RAW int system_prot(uint8_t prot)
{
    return (prot & RDF_PROT_READ ? PROT_READ : 0) | (prot & RDF_PROT_WRITE ? PROT_WRITE : 0) |
           (prot & RDF_PROT_EXEC ? PROT_EXEC : 0);
}

int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    long got = rdf_sys(SYS_mmap, addr, len_bytes, system_prot(prot),
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (rdf_sys_failed(got))
        return (int)got;
    /* Before Linux 4.17 the flag is unknown and the address is only a wish. */
    if ((uint64_t)got != addr) {
        (void)rdf_sys(SYS_munmap, got, len_bytes);
        return -EEXIST;
    }
    (void)rdf_sys(SYS_prctl, SET_VMA, SET_VMA_ANON_NAME, addr, len_bytes, "redefine");
    /* Slots: words that any code reads while any other stores one. */
    VALGRIND_HG_DISABLE_CHECKING(addr, len_bytes);
    return 0;
}

int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    return (int)rdf_sys(SYS_munmap, addr, len_bytes);
}

RDF_RAW int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    /* An emulator that has to be written to in this way tells of its own mappings. */
    unsigned guard = RDF_PROT_GUARD && !is_self_mem_stale() ? rdf_local_guard(addr) : 0;
    return (int)rdf_sys(SYS_mprotect, addr, len_bytes, system_prot(prot) | (int)guard);
}

/* ---- write ---- */

static RDF_RAW int write_by_fd(int fd, uint64_t addr, const uint8_t *bytes, size_t len_bytes,
                               size_t *ret_done)
{
    while (*ret_done < len_bytes) {
        long put = rdf_sys(SYS_pwrite64, fd, bytes + *ret_done, len_bytes - *ret_done, addr + *ret_done);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? -EIO : (int)put;
        *ret_done += (size_t)put;
    }
    return 0;
}

static RDF_RAW int write_own_memory(uint64_t addr, const uint8_t *bytes, size_t len_bytes, size_t *ret_done)
{
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return fd;
    int err = write_by_fd(fd, addr, bytes, len_bytes, ret_done);
    (void)rdf_sys(SYS_close, fd);
    return err;
}

/* Whether code that was executed, then written through /proc/self/mem, is executed as it was: tried once.
 * What cannot be tried is believed to be right; the bytes are read back in any case. */
static RDF_RAW bool executes_stale_code(void)
{
    static const uint8_t before[] = RDF_CODE_RETURNS_1;
    static const uint8_t after[] = RDF_CODE_RETURNS_2;
    const size_t page_bytes = rdf_os_page_bytes();
    long page = rdf_sys(SYS_mmap, 0, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rdf_sys_failed(page))
        return false;
    int (*code)(void) = (int (*)(void))page;
    size_t done = 0;
    bool is_stale = false;
    rdf_bytes_copy((void *)page, before, sizeof before);
    if (rdf_sys(SYS_mprotect, page, page_bytes, PROT_READ | PROT_EXEC) == 0) {
        rdf_flush_icache((uint64_t)page, sizeof before);
        bool was_right = code() == 1;
        if (was_right && write_own_memory((uint64_t)page, after, sizeof after, &done) == 0) {
            rdf_flush_icache((uint64_t)page, sizeof after);
            is_stale = code() == 1;
        }
    }
    (void)rdf_sys(SYS_munmap, page, page_bytes);
    return is_stale;
}

/* Only an emulator has reason to be asked: it is told by not knowing a call of Linux 3.2, which some
 * sandboxes take away as well. */
static RDF_RAW bool is_self_mem_stale(void)
{
    enum { UNKNOWN, FRESH, STALE };
    static int known;
    int state = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (state == UNKNOWN) {
        bool is_known = rdf_sys(SYS_process_vm_readv, rdf_sys(SYS_getpid), 0, 0, 0, 0, 0) != -ENOSYS;
        state = !is_known && executes_stale_code() ? STALE : FRESH;
        __atomic_store_n(&known, state, __ATOMIC_RELAXED);
    }
    return state == STALE;
}

static RDF_RAW int write_self_mem(uint64_t addr, const uint8_t *bytes, size_t len_bytes, size_t *ret_done)
{
    return is_self_mem_stale() ? -ENOTSUP : write_own_memory(addr, bytes, len_bytes, ret_done);
}

static RDF_RAW int write_tracer_mem(struct rdf_world *world, uint64_t addr, const uint8_t *bytes,
                                    size_t len_bytes, size_t *ret_done)
{
    int fd = rdf_stop_mem_fd(world);
    return fd < 0 ? fd : write_by_fd(fd, addr, bytes, len_bytes, ret_done);
}

/* What fits into 8 bytes of one page is stored by one call, for this task may be killed between two. */
static RDF_RAW int write_poke(struct rdf_world *world, uint64_t addr, const uint8_t *bytes, size_t len_bytes,
                              size_t *ret_done)
{
    int tid = rdf_stop_poke_tid(world);
    if (tid < 0)
        return tid;
    while (*ret_done < len_bytes) {
        union {
            uint64_t word;
            uint8_t byte[8];
        } merged;
        uint64_t at = addr + *ret_done;
        uint64_t last_in_page = (at | (rdf_os_page_bytes() - 1)) + 1 - sizeof merged;
        uint64_t word_addr = at < last_in_page ? at : last_in_page;
        size_t room = (size_t)(word_addr + sizeof merged - at);
        size_t part = len_bytes - *ret_done < room ? len_bytes - *ret_done : room;
        long err = rdf_sys(SYS_ptrace, PTRACE_PEEKTEXT, tid, word_addr, &merged.word);
        rdf_bytes_copy(merged.byte + (at - word_addr), bytes + *ret_done, part);
        if (!err)
            err = rdf_sys(SYS_ptrace, PTRACE_POKETEXT, tid, word_addr, merged.word);
        if (err)
            return err == -EIO ? -EFAULT : (int)err;
        *ret_done += part;
    }
    return 0;
}

/* The part of [addr, addr+len) that lies in the aligned 8 bytes around `addr`. */
static RDF_RAW size_t part_of_word(uint64_t addr, size_t len_bytes)
{
    size_t room = sizeof(uint64_t) - addr % sizeof(uint64_t);
    return len_bytes < room ? len_bytes : room;
}

/* Every aligned 8 bytes that hold a changed byte are stored once, whole: an instruction inside one of
 * them is seen as it was or as it will be (Intel SDM vol. 3, 9.1.1; Arm ARM B2.2.1). */
static RDF_RAW int write_store(uint64_t addr, const uint8_t *bytes, size_t len_bytes, size_t *ret_done)
{
    while (*ret_done < len_bytes) {
        uint64_t at = addr + *ret_done;
        uint64_t *word = (uint64_t *)(uintptr_t)(at & ~UINT64_C(7));
        size_t part = part_of_word(at, len_bytes - *ret_done);
        union {
            uint64_t word;
            uint8_t byte[8];
        } merged = {__atomic_load_n(word, __ATOMIC_RELAXED)};
        rdf_bytes_copy(merged.byte + at % 8, bytes + *ret_done, part);
        __atomic_store_n(word, merged.word, __ATOMIC_RELEASE);
        *ret_done += part;
    }
    return 0;
}

static RDF_RAW int write_once(struct rdf_world *world, enum rdf_write_method method, uint64_t addr,
                              const uint8_t *bytes, size_t len_bytes, size_t *ret_done)
{
    switch (method) {
    case RDF_WRITE_TRACER_MEM: return write_tracer_mem(world, addr, bytes, len_bytes, ret_done);
    case RDF_WRITE_TRACER_POKE: return write_poke(world, addr, bytes, len_bytes, ret_done);
    case RDF_WRITE_SELF_MEM: return write_self_mem(addr, bytes, len_bytes, ret_done);
    case RDF_WRITE_PROTECT: return write_store(addr, bytes, len_bytes, ret_done);
    case RDF_WRITE_METHODS: break;
    }
    return -EINVAL;
}

/* The kernel's own writes (first three) clean caches themselves (copy_to_user_page); an unneeded
 * second time costs little, and the page is readable or `old` could not have been compared. */
static RDF_RAW void make_visible(uint64_t addr, size_t len_bytes)
{
    rdf_flush_icache(addr, len_bytes);
    /* EPERM: not registered yet. Without the call (old kernel, seccomp) the interrupts that resume a
     * stopped thread are what is left, and they serialize on x86-64 and arm64. */
    if (rdf_sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == -EPERM) {
        rdf_local_write_prepare();
        (void)rdf_sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
    }
    VALGRIND_DISCARD_TRANSLATIONS(addr, len_bytes);
}

RDF_RAW void rdf_local_write_prepare(void)
{
    (void)rdf_sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

int rdf_local_sync_cores(struct rdf_space *space)
{
    (void)space;
    if (RUNNING_ON_VALGRIND)
        return -ENOSYS; /* it runs translations, one thread at a time */
    rdf_local_write_prepare();
    return (int)rdf_sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

RDF_RAW int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                            uint64_t addr, const void *bytes, size_t len_bytes)
{
    (void)space;
    /* The world of with_signals_held has no tracer. */
    bool by_tracer = method == RDF_WRITE_TRACER_MEM || method == RDF_WRITE_TRACER_POKE;
    if ((unsigned)method >= RDF_WRITE_METHODS || (by_tracer && !(world && world->os)))
        return -EINVAL;
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    if (len_bytes == 0)
        return 0;

    /* What was there, so that a write that fails half way can be taken back. */
    uint8_t saved[RDF_WRITE_KEPT_BYTES];
    bool is_kept = len_bytes <= sizeof saved;
    int err = is_kept ? rdf_local_read(NULL, addr, saved, len_bytes) : 0;
    size_t done = 0;
    if (!err)
        err = write_once(world, method, addr, bytes, len_bytes, &done);
    if (err && done && is_kept) {
        size_t undone = 0;
        (void)write_once(world, method, addr, saved, done, &undone);
    }
    if (done)
        make_visible(addr, len_bytes);
    return err;
}

/* The kernel copies each byte from its own place to its own place: nothing lies between reading and writing
 * it but that copy. */
void rdf_local_own_pages(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    const size_t page_bytes = rdf_os_page_bytes();
    const uint64_t end = addr + len_bytes;
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    for (uint64_t at = addr; at < end; at = at / page_bytes * page_bytes + page_bytes)
        if (rdf_sys(SYS_pwrite64, fd, at, 1, at) != 1)
            break;
    (void)rdf_sys(SYS_close, fd);
}

const char *rdf_write_method_name(enum rdf_write_method method)
{
    switch (method) {
    case RDF_WRITE_TRACER_MEM: return "tracer's /proc/PID/mem";
    case RDF_WRITE_TRACER_POKE: return "PTRACE_POKETEXT";
    case RDF_WRITE_SELF_MEM: return "/proc/self/mem";
    case RDF_WRITE_PROTECT: return "mprotect";
    case RDF_WRITE_METHODS: break;
    }
    return "none";
}
