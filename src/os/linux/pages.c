/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <sys/mman.h>

/* The thread sanitizer hears only of what the C library maps and unmaps: one thread's arena would race with
 * the former one at the same address. */
#ifdef __SANITIZE_THREAD__
static long map(size_t len_bytes)
{
    void *pages = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? -ENOMEM : (long)(uintptr_t)pages;
}

static void unmap(uintptr_t start, size_t len_bytes)
{
    (void)munmap((void *)start, len_bytes);
}
#else
static long map(size_t len_bytes)
{
    return rdf_sys(SYS_mmap, 0, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void unmap(uintptr_t start, size_t len_bytes)
{
    (void)rdf_sys(SYS_munmap, start, len_bytes);
}
#endif

/* Below each piece lies a page that cannot be read. The records of a commit hold addresses of the code that
 * it changes, and a stack that seems to hold them too is waited for: one that lies right below, and of whose
 * end nothing is known, must not seem to go on here. */
static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    size_t guard_bytes = rdf_os_page_bytes();
    long result = map(len_bytes + guard_bytes);
    if (rdf_sys_failed(result))
        return NULL;
    if (rdf_sys(SYS_mprotect, result, guard_bytes, PROT_NONE) != 0) {
        unmap((uintptr_t)result, len_bytes + guard_bytes);
        return NULL;
    }
    return (void *)(result + (long)guard_bytes);
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    size_t guard_bytes = rdf_os_page_bytes();
    if (pages)
        unmap((uintptr_t)pages - guard_bytes, len_bytes + guard_bytes);
}

/* Since Linux 5.14; elsewhere each page comes with its first write. */
static void touch_pages(void *ctx, void *pages, size_t len_bytes)
{
    enum { POPULATE_WRITE = 23 };
    (void)ctx;
    (void)rdf_sys(SYS_madvise, pages, len_bytes, POPULATE_WRITE);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages, .touch = touch_pages};

/* sysconf and getauxval are the program's to redefine. madvise of no bytes changes nothing and says
 * EINVAL exactly when its address is no multiple of the page size. */
size_t rdf_os_page_bytes(void)
{
    enum { SMALLEST = 4096, LARGEST = 65536 };
    static size_t known;
    size_t page_bytes = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (page_bytes)
        return page_bytes;
    page_bytes = SMALLEST;
    while (page_bytes < LARGEST && rdf_sys(SYS_madvise, page_bytes, 0, MADV_NORMAL) == -EINVAL)
        page_bytes *= 2;
    __atomic_store_n(&known, page_bytes, __ATOMIC_RELAXED);
    return page_bytes;
}

size_t rdf_os_map_align_bytes(void)
{
    return rdf_os_page_bytes();
}
