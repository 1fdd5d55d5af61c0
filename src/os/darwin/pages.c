/* SPDX-License-Identifier: MIT
 *
 * Pages of this process for the engine's own records.
 */
#include "os/darwin/room.h"

/* Below each piece lies a page that cannot be read, as os.h wants it. */
static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    mach_vm_address_t at = 0;
    if (mach_vm_allocate(mach_task_self(), &at, len_bytes + vm_page_size, VM_FLAGS_ANYWHERE) != KERN_SUCCESS)
        return NULL;
    if (mach_vm_protect(mach_task_self(), at, vm_page_size, FALSE, VM_PROT_NONE) != KERN_SUCCESS) {
        (void)mach_vm_deallocate(mach_task_self(), at, len_bytes + vm_page_size);
        return NULL;
    }
    return (void *)(uintptr_t)(at + vm_page_size);
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    if (pages)
        (void)mach_vm_deallocate(mach_task_self(), (mach_vm_address_t)(uintptr_t)pages - vm_page_size,
                                 len_bytes + vm_page_size);
}

const struct rdf_page_source rdf_os_pages = {.get = get_pages, .put = put_pages};

/* 16 KiB on Apple silicon; 4 KiB on Intel, and for what is translated from it. */
size_t rdf_os_page_bytes(void)
{
    return vm_page_size;
}

size_t rdf_os_map_align_bytes(void)
{
    return vm_page_size;
}
