/* SPDX-License-Identifier: MIT
 *
 * What the files of src/os/windows know of each other, and of the system: its native calls, one floor below
 * kernel32. They are what every library of the system ends in, they take no lock of the process, and a
 * program that redefines VirtualProtect or Sleep does not redefine them.
 *
 * Source: the Windows Driver Kit's documentation of the Zw routines, where there is one; wine's ntdll.
 */
#ifndef RDF_OS_WINDOWS_ROOM_H
#define RDF_OS_WINDOWS_ROOM_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winternl.h>

#include "os/os.h"

/* ---- ntdll ---- */

#define RDF_THIS_PROCESS ((HANDLE)(LONG_PTR)-1)
#define RDF_THIS_THREAD  ((HANDLE)(LONG_PTR)-2)

typedef PVOID rdf_address;

/* Declared as imported, so that their addresses are their own and not those of thunks in this object. */
NTSYSAPI NTSTATUS NTAPI NtAllocateVirtualMemory(HANDLE process, rdf_address *at, ULONG_PTR zero_bits,
                                                SIZE_T *len_bytes, ULONG type, ULONG prot);
NTSYSAPI NTSTATUS NTAPI NtFreeVirtualMemory(HANDLE process, rdf_address *at, SIZE_T *len_bytes, ULONG type);
NTSYSAPI NTSTATUS NTAPI NtProtectVirtualMemory(HANDLE process, rdf_address *at, SIZE_T *len_bytes, ULONG prot,
                                               ULONG *ret_former);
NTSYSAPI NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE process, const void *at, int what, void *ret,
                                             SIZE_T ret_bytes, SIZE_T *ret_used);
NTSYSAPI NTSTATUS NTAPI NtReadVirtualMemory(HANDLE process, const void *at, void *ret, SIZE_T len_bytes,
                                            SIZE_T *ret_done);
NTSYSAPI NTSTATUS NTAPI NtFlushInstructionCache(HANDLE process, const void *at, SIZE_T len_bytes);
NTSYSAPI NTSTATUS NTAPI NtCreateSection(HANDLE *ret, ACCESS_MASK access, const OBJECT_ATTRIBUTES *attributes,
                                        const LARGE_INTEGER *len_bytes, ULONG prot, ULONG kind, HANDLE file);
NTSYSAPI NTSTATUS NTAPI NtMapViewOfSection(HANDLE section, HANDLE process, rdf_address *at,
                                           ULONG_PTR zero_bits, SIZE_T commit_bytes, LARGE_INTEGER *off,
                                           SIZE_T *len_bytes, int inherit, ULONG type, ULONG prot);
NTSYSAPI NTSTATUS NTAPI NtUnmapViewOfSection(HANDLE process, void *at);
NTSYSAPI NTSTATUS NTAPI NtGetNextThread(HANDLE process, HANDLE thread, ACCESS_MASK access, ULONG attributes,
                                        ULONG flags, HANDLE *ret);
NTSYSAPI NTSTATUS NTAPI NtSuspendThread(HANDLE thread, ULONG *ret_count);
NTSYSAPI NTSTATUS NTAPI NtResumeThread(HANDLE thread, ULONG *ret_count);
NTSYSAPI NTSTATUS NTAPI NtGetContextThread(HANDLE thread, CONTEXT *ret);
NTSYSAPI NTSTATUS NTAPI NtSetContextThread(HANDLE thread, const CONTEXT *context);
NTSYSAPI NTSTATUS NTAPI NtOpenThread(HANDLE *ret, ACCESS_MASK access, const OBJECT_ATTRIBUTES *attributes,
                                     const CLIENT_ID *id);
NTSYSAPI NTSTATUS NTAPI NtDelayExecution(BOOLEAN alertable, const LARGE_INTEGER *timeout);
NTSYSAPI NTSTATUS NTAPI NtQueryPerformanceCounter(LARGE_INTEGER *ret, LARGE_INTEGER *ret_per_second);
NTSYSAPI NTSTATUS NTAPI NtDuplicateObject(HANDLE from_process, HANDLE from, HANDLE to_process, HANDLE *ret,
                                          ACCESS_MASK access, ULONG attributes, ULONG options);
NTSYSAPI NTSTATUS NTAPI RtlUnicodeToUTF8N(char *ret, ULONG ret_bytes, ULONG *ret_used, const WCHAR *text,
                                          ULONG text_bytes);
NTSYSAPI NTSTATUS NTAPI RtlUTF8ToUnicodeN(WCHAR *ret, ULONG ret_bytes, ULONG *ret_used, const char *text,
                                          ULONG text_bytes);
NTSYSAPI PVOID NTAPI RtlAddVectoredExceptionHandler(ULONG first, PVECTORED_EXCEPTION_HANDLER handler);
NTSYSAPI ULONG NTAPI RtlRemoveVectoredExceptionHandler(PVOID handle);

NTSYSAPI NTSTATUS NTAPI NtClose(HANDLE handle);
NTSYSAPI NTSTATUS NTAPI NtQueryInformationThread(HANDLE thread, THREADINFOCLASS what, void *ret,
                                                 ULONG ret_bytes, ULONG *ret_used);

enum { RDF_QUERY_MEMORY_BASIC, RDF_QUERY_MEMORY_WORKING_SET, RDF_QUERY_MEMORY_FILENAME };

/* The negative errno value that says the same. */
int rdf_errno_of(NTSTATUS status);

/* Hundreds of nanoseconds from now on; the system counts that backwards. */
void rdf_nap(int64_t time_100ns);

/* PAGE_… as rdf_prot bits, and the other way round. */
uint8_t rdf_prot_of(ULONG page);
ULONG rdf_page_of(uint8_t prot);

/* maps.c */
int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret);
int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret);

uint64_t rdf_local_end_of_map(struct rdf_space *space, uint64_t addr);

/* memory.c */
int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes);
const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes);

/* stop.c */
bool rdf_local_has_other_threads(struct rdf_space *space);
int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report);

/* trap.c */
int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx);

#endif
