/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <sys/mman.h>

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    long result = rdf_sys(SYS_mmap, 0, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return rdf_sys_failed(result) ? NULL : (void *)result;
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    if (pages)
        (void)rdf_sys(SYS_munmap, pages, len_bytes);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages};

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
