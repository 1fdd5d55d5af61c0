/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/bsd/room.h"

#include <sys/mman.h>

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    int64_t at = rdf_sys(SYS_mmap, NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1,
                         (off_t)0);
    return at < 0 ? NULL : (void *)(uintptr_t)at;
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    if (pages)
        (void)rdf_sys(SYS_munmap, pages, len_bytes);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages};

/* Of every CPU that has a room in src/arch and runs FreeBSD. */
size_t rdf_os_page_bytes(void)
{
    return 4096;
}

size_t rdf_os_map_align_bytes(void)
{
    return rdf_os_page_bytes();
}
