/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/bsd/room.h"

#include <sys/mman.h>

/* Of every CPU that has a room in src/arch and runs FreeBSD. */
enum { PAGE = 4096 };

/* Below each piece lies a page that cannot be read, as os.h wants it. */
static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    int64_t at = rdf_sys(SYS_mmap, NULL, len_bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1,
                         (off_t)0);
    if (at < 0)
        return NULL;
    if (rdf_sys(SYS_mprotect, at, (size_t)PAGE, PROT_NONE) < 0) {
        (void)rdf_sys(SYS_munmap, at, len_bytes + PAGE);
        return NULL;
    }
    return (void *)(uintptr_t)(at + PAGE);
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    if (pages)
        (void)rdf_sys(SYS_munmap, (uintptr_t)pages - PAGE, len_bytes + PAGE);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages};

size_t rdf_os_page_bytes(void)
{
    return PAGE;
}

size_t rdf_os_map_align_bytes(void)
{
    return rdf_os_page_bytes();
}
