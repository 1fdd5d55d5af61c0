/* SPDX-License-Identifier: MIT
 *
 * The table of this process, and the small rest: errors translated, files, the lock.
 */
#include "os/alone.h"
#include "os/lock.h"
#include "os/windows/room.h"

#include <errno.h>

/* winternl.h and ntstatus.h each have some of them, and not the same ones in every SDK. */
#define STATUS_LIST(X)                                                                          \
    X(0xC0000017, ENOMEM) /* no memory */                                                       \
    X(0xC000012D, ENOMEM) /* commitment limit */                                                \
    X(0xC0000018, EEXIST) /* conflicting addresses */                                           \
    X(0xC0000022, EACCES) /* access denied */                                                   \
    X(0xC0000061, EPERM)  /* privilege not held */                                              \
    X(0xC0000604, EPERM)  /* dynamic code blocked: the process refuses new executable memory */ \
    X(0xC0000005, EFAULT) /* access violation */                                                \
    X(0x8000000D, EFAULT) /* partial copy */                                                    \
    X(0xC000004B, ESRCH)  /* thread is terminating */                                           \
    X(0xC000000B, ESRCH)  /* invalid client id */                                               \
    X(0xC0000034, ENOENT) /* object name not found */                                           \
    X(0xC0000002, ENOSYS) /* not implemented */                                                 \
    X(0xC000000D, EINVAL) /* invalid parameter */

int rdf_errno_of(NTSTATUS status)
{
    if (NT_SUCCESS(status))
        return 0;
    switch ((uint32_t)status) {
#define STATUS_CASE(number, name) \
    case number: return -name;
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return -EIO;
}

void rdf_nap(int64_t time_100ns)
{
    LARGE_INTEGER timeout = {.QuadPart = -time_100ns};
    (void)NtDelayExecution(FALSE, &timeout);
}

uint64_t rdf_os_address_end(void)
{
    return UINT64_C(0x7fffffff0000);
}

/* ntdll. */
uint64_t rdf_os_called_code(void)
{
    return (uint64_t)(uintptr_t)&NtProtectVirtualMemory;
}

bool rdf_os_calls(uint64_t entry)
{
#define CALL(function) (uint64_t)(uintptr_t) & function
    const uint64_t called[] = {
        CALL(NtAllocateVirtualMemory),
        CALL(NtFreeVirtualMemory),
        CALL(NtProtectVirtualMemory),
        CALL(NtQueryVirtualMemory),
        CALL(NtReadVirtualMemory),
        CALL(NtFlushInstructionCache),
        CALL(NtCreateSection),
        CALL(NtMapViewOfSection),
        CALL(NtUnmapViewOfSection),
        CALL(NtGetNextThread),
        CALL(NtSuspendThread),
        CALL(NtResumeThread),
        CALL(NtGetContextThread),
        CALL(NtSetContextThread),
        CALL(NtOpenThread),
        CALL(NtDelayExecution),
        CALL(NtQueryPerformanceCounter),
        CALL(NtDuplicateObject),
        CALL(NtQueryInformationThread),
        CALL(NtClose),
        CALL(RtlUnicodeToUTF8N),
    };
#undef CALL
    for (size_t i = 0; i < sizeof called / sizeof *called; i++)
        if (called[i] == entry)
            return true;
    return false;
}

/* ---- files ---- */

/* By the path of the system's own, as rdf_local_maps gives it. */
static NTSTATUS open_section(const char *path, HANDLE *ret, uint64_t *ret_bytes)
{
    enum { PATH_CHARS = 1024 };
    WCHAR wide[PATH_CHARS];
    ULONG wide_bytes = 0, len = 0;
    while (path[len])
        len++;
    NTSTATUS status = RtlUTF8ToUnicodeN(wide, sizeof wide, &wide_bytes, path, len);
    UNICODE_STRING name = {(USHORT)wide_bytes, (USHORT)wide_bytes, wide};
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    IO_STATUS_BLOCK io;
    HANDLE file;
    if (NT_SUCCESS(status))
        status = NtOpenFile(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &io,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                            FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE);
    if (!NT_SUCCESS(status))
        return status;
    FILE_STANDARD_INFORMATION about;
    status = NtQueryInformationFile(file, &io, &about, sizeof about, FileStandardInformation);
    if (NT_SUCCESS(status))
        status = NtCreateSection(ret, SECTION_MAP_READ, NULL, NULL, PAGE_READONLY, SEC_COMMIT, file);
    (void)NtClose(file);
    if (NT_SUCCESS(status))
        *ret_bytes = (uint64_t)about.EndOfFile.QuadPart;
    return status;
}

static int open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    (void)space, (void)dev, (void)ino;
    enum { VIEW_UNMAP = 2 };
    HANDLE section;
    uint64_t len_bytes;
    NTSTATUS status = open_section(path, &section, &len_bytes);
    if (!NT_SUCCESS(status))
        return rdf_errno_of(status);
    rdf_address at = NULL;
    SIZE_T view_bytes = 0;
    status = NtMapViewOfSection(section, RDF_THIS_PROCESS, &at, 0, 0, NULL, &view_bytes, VIEW_UNMAP, 0,
                                PAGE_READONLY);
    (void)NtClose(section);
    if (!NT_SUCCESS(status))
        return rdf_errno_of(status);
    *ret = (struct rdf_span){at, (size_t)len_bytes};
    return 0;
}

static void close_file(struct rdf_space *space, struct rdf_span file)
{
    (void)space;
    if (file.data)
        (void)NtUnmapViewOfSection(RDF_THIS_PROCESS, (void *)(uintptr_t)file.data);
}

/* There are no resolvers in this format. */
static uint64_t call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    (void)space, (void)resolver_addr;
    return 0;
}

/* ---- the lock ---- */

static void nap(void)
{
    enum { TIME_100NS = 5 * 1000 };
    rdf_nap(TIME_100NS);
}

bool rdf_os_lock(struct rdf_os_lock *lock)
{
    return rdf_lock_by_naps(lock, nap);
}

void rdf_os_unlock(struct rdf_os_lock *lock)
{
    __atomic_store_n(&lock->state, 0, __ATOMIC_RELEASE);
}

/* ---- a process of one thread ---- */

/* Nothing interrupts a thread here but itself. */
static int with_signals_held(struct rdf_space *space, rdf_stopped_body *body, void *ctx, int *ret_body)
{
    (void)space;
    *ret_body = rdf_call_alone(body, ctx);
    return 0;
}

/* ---- the table ---- */

static const struct rdf_space_ops local_ops = {
    .maps = rdf_local_maps,
    .maps_at = rdf_local_maps_at,
    .read = rdf_local_read,
    .view = rdf_local_view,
    .map = rdf_local_map,
    .unmap = rdf_local_unmap,
    .protect = rdf_local_protect,
    .write = rdf_local_write,
    .has_other_threads = rdf_local_has_other_threads,
    .with_world_stopped = rdf_local_with_world_stopped,
    .with_signals_held = with_signals_held,
    .catch_traps = rdf_local_catch_traps,
    .end_of_map = rdf_local_end_of_map,
    .call_resolver = call_resolver,
    .open_file = open_file,
    .close_file = close_file,
};

void rdf_os_local_space(struct rdf_space *ret)
{
    *ret = (struct rdf_space){.ops = &local_ops};
}
