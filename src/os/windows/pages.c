/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/windows/room.h"

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    rdf_address at = NULL;
    SIZE_T len = len_bytes;
    NTSTATUS status = NtAllocateVirtualMemory(RDF_THIS_PROCESS, &at, 0, &len, MEM_RESERVE | MEM_COMMIT,
                                              PAGE_READWRITE);
    return NT_SUCCESS(status) ? at : NULL;
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx, (void)len_bytes;
    SIZE_T whole = 0;
    if (pages)
        (void)NtFreeVirtualMemory(RDF_THIS_PROCESS, &pages, &whole, MEM_RELEASE);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages};

/* Of x86-64, the only CPU this room is built for. */
size_t rdf_os_page_bytes(void)
{
    return 4096;
}

/* The allocation granularity, 64 KiB on every Windows there has been. */
size_t rdf_os_map_align_bytes(void)
{
    return 64 * 1024;
}
