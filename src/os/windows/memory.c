/* SPDX-License-Identifier: MIT
 *
 * Memory of this process: read, map, protect, and the two ways to change a byte of code.
 *
 *   SELF_MEM  what rdf_local_map mapped for code is mapped twice, once to be executed and once, elsewhere, to
 * be written: a store into the second. Nothing else can be written that way. PROTECT   stores with the CPU,
 * whole aligned words of 8 bytes, each at once. The caller has made the page writable; where it belongs to an
 * image, the system gives this process its own copy of it then.
 *
 * There is no tracer: a process may suspend its own threads (stop.c).
 */
#include "base/bytes.h"
#include "os/windows/room.h"

#include <errno.h>

/* ---- protections ---- */

uint8_t rdf_prot_of(ULONG page)
{
    if (page & (PAGE_GUARD | PAGE_NOACCESS))
        return 0;
    switch (page & 0xff) {
    case PAGE_READONLY: return RDF_PROT_READ;
    case PAGE_READWRITE:
    case PAGE_WRITECOPY: return RDF_PROT_READ | RDF_PROT_WRITE;
    case PAGE_EXECUTE: return RDF_PROT_EXEC;
    case PAGE_EXECUTE_READ: return RDF_PROT_READ | RDF_PROT_EXEC;
    case PAGE_EXECUTE_READWRITE:
    case PAGE_EXECUTE_WRITECOPY: return RDF_PROT_READ | RDF_PROT_WRITE | RDF_PROT_EXEC;
    }
    return 0;
}

/* Nothing is writable without being readable on this CPU. */
ULONG rdf_page_of(uint8_t prot)
{
    if (prot & RDF_PROT_EXEC)
        return prot & RDF_PROT_WRITE  ? PAGE_EXECUTE_READWRITE
               : prot & RDF_PROT_READ ? PAGE_EXECUTE_READ
                                      : PAGE_EXECUTE;
    return prot & RDF_PROT_WRITE ? PAGE_READWRITE : prot & RDF_PROT_READ ? PAGE_READONLY : PAGE_NOACCESS;
}

/* ---- read ---- */

int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    (void)space;
    SIZE_T done = 0;
    NTSTATUS status = NtReadVirtualMemory(RDF_THIS_PROCESS, (const void *)(uintptr_t)addr, ret_bytes,
                                          len_bytes, &done);
    return NT_SUCCESS(status) && done == len_bytes ? 0 : -EFAULT;
}

const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space, (void)len_bytes;
    return (const void *)(uintptr_t)addr;
}

/* ---- code that is mapped twice ---- */

struct twice {
    uint64_t code_addr; /* 0: free */
    uint64_t len_bytes;
    uint8_t *writable;
};

/* More than the core ever has at a time (RDF_NEAR_CHUNKS_MAX): under the engine's lock. */
enum { TWICE_MAX = 2048 };
static struct twice twice[TWICE_MAX];

static struct twice *twice_at(uint64_t addr, uint64_t len_bytes)
{
    for (size_t i = 0; i < TWICE_MAX; i++)
        if (twice[i].code_addr && addr >= twice[i].code_addr &&
            addr + len_bytes <= twice[i].code_addr + twice[i].len_bytes)
            return &twice[i];
    return NULL;
}

static NTSTATUS map_view(HANDLE section, rdf_address *at, SIZE_T len_bytes, ULONG page)
{
    enum { VIEW_UNMAP = 2 }; /* a child does not get it */
    LARGE_INTEGER off = {.QuadPart = 0};
    return NtMapViewOfSection(section, RDF_THIS_PROCESS, at, 0, 0, &off, &len_bytes, VIEW_UNMAP, 0, page);
}

static NTSTATUS map_twice(struct twice *ret, uint64_t addr, size_t len_bytes)
{
    HANDLE section;
    LARGE_INTEGER len = {.QuadPart = (LONGLONG)len_bytes};
    NTSTATUS status = NtCreateSection(&section, SECTION_MAP_READ | SECTION_MAP_WRITE | SECTION_MAP_EXECUTE,
                                      NULL, &len, PAGE_EXECUTE_READWRITE, SEC_COMMIT, NULL);
    if (!NT_SUCCESS(status))
        return status;
    rdf_address code = (rdf_address)(uintptr_t)addr;
    rdf_address writable = NULL;
    status = map_view(section, &code, len_bytes, PAGE_EXECUTE_READ);
    if (NT_SUCCESS(status)) {
        status = map_view(section, &writable, len_bytes, PAGE_READWRITE);
        if (!NT_SUCCESS(status))
            (void)NtUnmapViewOfSection(RDF_THIS_PROCESS, code);
    }
    (void)NtClose(section);
    if (NT_SUCCESS(status))
        *ret = (struct twice){addr, len_bytes, writable};
    return status;
}

/* ---- map, unmap, protect ---- */

int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    MEMORY_BASIC_INFORMATION region;
    SIZE_T used;
    rdf_address at = (rdf_address)(uintptr_t)addr;
    SIZE_T len = len_bytes;
    NTSTATUS status;
    /* What the system answers to a place that is taken is also what it answers to one out of range. */
    if (NT_SUCCESS(NtQueryVirtualMemory(RDF_THIS_PROCESS, at, RDF_QUERY_MEMORY_BASIC, &region, sizeof region,
                                        &used)) &&
        (region.State != MEM_FREE ||
         (uint64_t)(uintptr_t)region.BaseAddress + region.RegionSize < addr + len))
        return -EEXIST;
    if (prot & RDF_PROT_EXEC) {
        struct twice *unused = NULL;
        for (size_t i = 0; i < TWICE_MAX && !unused; i++)
            unused = twice[i].code_addr ? NULL : &twice[i];
        if (!unused)
            return -ENOMEM;
        status = map_twice(unused, addr, len_bytes);
    } else {
        status = NtAllocateVirtualMemory(RDF_THIS_PROCESS, &at, 0, &len, MEM_RESERVE | MEM_COMMIT,
                                         rdf_page_of(prot));
    }
    return rdf_errno_of(status);
}

/* One mapping of ours: a view of code, or plain pages. */
static int unmap_one(uint64_t addr)
{
    struct twice *both = twice_at(addr, 1);
    rdf_address at = (rdf_address)(uintptr_t)addr;
    SIZE_T whole = 0;
    if (!both)
        return rdf_errno_of(NtFreeVirtualMemory(RDF_THIS_PROCESS, &at, &whole, MEM_RELEASE));
    NTSTATUS status = NtUnmapViewOfSection(RDF_THIS_PROCESS, at);
    if (!NT_SUCCESS(status))
        return rdf_errno_of(status);
    (void)NtUnmapViewOfSection(RDF_THIS_PROCESS, both->writable);
    *both = (struct twice){0};
    return 0;
}

/* Mappings are given back whole, so the end of one is where the next begins. */
int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space;
    for (uint64_t at = addr; at < addr + len_bytes;) {
        MEMORY_BASIC_INFORMATION region;
        SIZE_T used;
        NTSTATUS status = NtQueryVirtualMemory(RDF_THIS_PROCESS, (const void *)(uintptr_t)at,
                                               RDF_QUERY_MEMORY_BASIC, &region, sizeof region, &used);
        int err = NT_SUCCESS(status) ? 0 : rdf_errno_of(status);
        if (!err && region.State != MEM_FREE)
            err = unmap_one(at);
        if (err)
            return err;
        at = (uint64_t)(uintptr_t)region.BaseAddress + region.RegionSize;
    }
    return 0;
}

int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot)
{
    (void)space;
    rdf_address at = (rdf_address)(uintptr_t)addr;
    SIZE_T len = len_bytes;
    ULONG former;
    return rdf_errno_of(NtProtectVirtualMemory(RDF_THIS_PROCESS, &at, &len, rdf_page_of(prot), &former));
}

/* ---- write ---- */

int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes)
{
    (void)space, (void)world;
    if (len_bytes > UINT64_MAX - addr)
        return -EFAULT;
    if (method == RDF_WRITE_SELF_MEM) {
        const struct twice *both = twice_at(addr, len_bytes);
        if (!both)
            return -EACCES;
        rdf_bytes_store((uint8_t *)both->writable + (addr - both->code_addr), bytes, len_bytes);
    } else if (method == RDF_WRITE_PROTECT) {
        rdf_bytes_store((uint8_t *)(uintptr_t)addr, bytes, len_bytes);
    } else {
        return -EINVAL;
    }
    (void)NtFlushInstructionCache(RDF_THIS_PROCESS, (const void *)(uintptr_t)addr, len_bytes);
    return 0;
}

const char *rdf_write_method_name(enum rdf_write_method method)
{
    switch (method) {
    case RDF_WRITE_SELF_MEM: return "a second view";
    case RDF_WRITE_PROTECT: return "VirtualProtect";
    case RDF_WRITE_TRACER_MEM:
    case RDF_WRITE_TRACER_POKE:
    case RDF_WRITE_METHODS: break;
    }
    return "none";
}
