/* SPDX-License-Identifier: MIT
 *
 * Memory of this process: read, map, protect, and the two ways to change a byte of code.
 *
 *   SELF_MEM  new pages with the changed bytes are put in the place of the old ones by one mach_vm_remap: who
 *             executes them meanwhile has either. They are never writable and executable.
 *   PROTECT   stores with the CPU, whole aligned words of 8 bytes, each at once. The caller has made the page
 *             writable, which makes it this process' own copy.
 *
 * There is no tracer: a process may suspend its own threads (stop.c). Where every page of code must be signed
 * (hardened run time) both are refused beforehand: the kernel would end the process when the page is
 * executed. docs/limits.md tells more, with the places in XNU.
 */
#include "base/bytes.h"
#include "os/darwin/room.h"

#include <errno.h>
#include <libkern/OSCacheControl.h>
#include <sys/types.h>

/* ---- code signing: bsd/sys/codesign.h, osfmk/kern/cs_blobs.h ---- */

int csops(pid_t pid, unsigned int what, void *ret, size_t ret_bytes);

static bool is_signed_code_only(void)
{
    enum { THIS_PROCESS = 0, STATUS = 0, ENFORCEMENT = 0x1000 };
    uint32_t flags = 0;
    return csops(THIS_PROCESS, STATUS, &flags, sizeof flags) == 0 && (flags & ENFORCEMENT);
}

/* ---- read ---- */

int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    (void)space;
    mach_vm_size_t done = 0;
    kern_return_t result = mach_vm_read_overwrite(mach_task_self(), addr, len_bytes,
                                                  (mach_vm_address_t)(uintptr_t)ret_bytes, &done);
    return result == KERN_SUCCESS && done == len_bytes ? 0 : -EFAULT;
}

const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space, (void)len_bytes;
    return (const void *)(uintptr_t)addr;
}

/* ---- map, unmap, protect ---- */

static vm_prot_t system_prot(uint8_t prot)
{
    return (prot & RDF_PROT_READ ? VM_PROT_READ : 0) | (prot & RDF_PROT_WRITE ? VM_PROT_WRITE : 0) |
           (prot & RDF_PROT_EXEC ? VM_PROT_EXECUTE : 0);
}

/* At a fixed address without leave to overwrite, what is there already stays. */
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    if ((prot & RDF_PROT_EXEC) && is_signed_code_only())
        return -EPERM;
    mach_vm_address_t at = addr;
    kern_return_t result = mach_vm_allocate(mach_task_self(), &at, len_bytes, VM_FLAGS_FIXED);
    if (result == KERN_NO_SPACE)
        return -EEXIST;
    if (result != KERN_SUCCESS)
        return rdf_errno_of(result);
    result = mach_vm_protect(mach_task_self(), at, len_bytes, FALSE, system_prot(prot));
    if (result != KERN_SUCCESS)
        (void)mach_vm_deallocate(mach_task_self(), at, len_bytes);
    return rdf_errno_of(result);
}

int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    return rdf_errno_of(mach_vm_deallocate(mach_task_self(), addr, len_bytes));
}

/* The most that an image's code may ever get leaves out writing; as a private copy it may have it. */
int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    kern_return_t result = mach_vm_protect(mach_task_self(), addr, len_bytes, FALSE, system_prot(prot));
    if (result == KERN_PROTECTION_FAILURE && (prot & RDF_PROT_WRITE) && !is_signed_code_only())
        result = mach_vm_protect(mach_task_self(), addr, len_bytes, FALSE, system_prot(prot) | VM_PROT_COPY);
    return rdf_errno_of(result);
}

/* ---- write ---- */

/* `copy` holds what is to be at [start, start+len), and goes there whole. */
static kern_return_t put_in_place(mach_vm_address_t start, mach_vm_size_t len_bytes, mach_vm_address_t copy,
                                  vm_prot_t prot)
{
    const boolean_t own_copy = TRUE; /* a child of fork then has its own as well */
    vm_prot_t now, most;
    kern_return_t result = mach_vm_protect(mach_task_self(), copy, len_bytes, FALSE, prot);
    if (result != KERN_SUCCESS)
        return result;
    sys_icache_invalidate((void *)(uintptr_t)copy, len_bytes);
    return mach_vm_remap(mach_task_self(), &start, len_bytes, 0, VM_FLAGS_FIXED | VM_FLAGS_OVERWRITE,
                         mach_task_self(), copy, own_copy, &now, &most, VM_INHERIT_COPY);
}

/* All of it lies in one region that nobody can write to meanwhile. */
static int write_by_remap(uint64_t addr, const void *bytes, size_t len_bytes)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t start = addr / page * page;
    uint64_t end = (addr + len_bytes + page - 1) / page * page;
    struct rdf_region region;
    if (!rdf_region_from(start, &region) || region.start > start)
        return -EFAULT;
    if (region.end < end || (region.info.protection & VM_PROT_WRITE) || is_signed_code_only())
        return -EACCES;
    mach_vm_address_t copy = 0;
    kern_return_t result = mach_vm_allocate(mach_task_self(), &copy, end - start, VM_FLAGS_ANYWHERE);
    if (result != KERN_SUCCESS)
        return rdf_errno_of(result);
    int err = rdf_local_read(NULL, start, (void *)(uintptr_t)copy, (size_t)(end - start));
    if (!err) {
        rdf_bytes_copy((uint8_t *)(uintptr_t)copy + (addr - start), bytes, len_bytes);
        err = rdf_errno_of(put_in_place(start, end - start, copy, region.info.protection));
    }
    (void)mach_vm_deallocate(mach_task_self(), copy, end - start);
    return err;
}

int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes)
{
    (void)space, (void)world;
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    int err = 0;
    if (method == RDF_WRITE_SELF_MEM)
        err = write_by_remap(addr, bytes, len_bytes);
    else if (method == RDF_WRITE_PROTECT)
        rdf_bytes_store((uint8_t *)(uintptr_t)addr, bytes, len_bytes);
    else
        err = -EINVAL;
    if (!err)
        sys_icache_invalidate((void *)(uintptr_t)addr, len_bytes);
    return err;
}

const char *rdf_write_method_name(enum rdf_write_method method)
{
    switch (method) {
    case RDF_WRITE_SELF_MEM: return "mach_vm_remap";
    case RDF_WRITE_PROTECT: return "mach_vm_protect";
    case RDF_WRITE_TRACER_MEM:
    case RDF_WRITE_TRACER_POKE:
    case RDF_WRITE_METHODS: break;
    }
    return "none";
}
