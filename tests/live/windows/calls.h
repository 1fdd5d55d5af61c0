/* SPDX-License-Identifier: MIT
 *
 * For owners.c: what an engine might call on Windows. Each system has a file of this name.
 */
#ifndef TESTS_LIVE_CALLS_H
#define TESTS_LIVE_CALLS_H

/* What this system adds to LIBRARY. */
#define SYSTEM(X)                                                                                       \
    X(void *, VirtualAlloc, (void *at, SIZE_T len, DWORD type, DWORD page), (at, len, type, page))      \
    X(BOOL, VirtualFree, (void *at, SIZE_T len, DWORD type), (at, len, type))                           \
    X(BOOL, VirtualProtect, (void *at, SIZE_T len, DWORD page, DWORD *former), (at, len, page, former)) \
    X(SIZE_T, VirtualQuery, (const void *at, MEMORY_BASIC_INFORMATION *to, SIZE_T len), (at, to, len))  \
    X(BOOL, FlushInstructionCache, (HANDLE process, const void *at, SIZE_T len), (process, at, len))    \
    X(void, Sleep, (DWORD ms), (ms))                                                                    \
    X(void, EnterCriticalSection, (CRITICAL_SECTION * section), (section))                              \
    X(void, LeaveCriticalSection, (CRITICAL_SECTION * section), (section))                              \
    X(DWORD, SuspendThread, (HANDLE thread), (thread))                                                  \
    X(DWORD, ResumeThread, (HANDLE thread), (thread))                                                   \
    X(BOOL, GetThreadContext, (HANDLE thread, CONTEXT * to), (thread, to))                              \
    X(BOOL, SetThreadContext, (HANDLE thread, const CONTEXT *from), (thread, from))                     \
    X(DWORD, GetCurrentThreadId, (void), ())                                                            \
    X(void *, TlsGetValue, (DWORD index), (index))                                                      \
    X(BOOL, CloseHandle, (HANDLE handle), (handle))

/* Those that the C library has are parts of this program. */
#define VARIADIC(X)

static DWORD WINAPI suspended(void *unused)
{
    (void)unused;
    return 0;
}

/* So that each of these is called at least once. */
static void work_the_system(void)
{
    DWORD former;
    MEMORY_BASIC_INFORMATION region;
    CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
    void *page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READONLY);
    CHECK(VirtualProtect(page, 4096, PAGE_READWRITE, &former) && former == PAGE_READONLY);
    CHECK(VirtualQuery(page, &region, sizeof region) && region.Protect == PAGE_READWRITE);
    CHECK(FlushInstructionCache(GetCurrentProcess(), page, 4096) && VirtualFree(page, 0, MEM_RELEASE));
    CRITICAL_SECTION section;
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    HANDLE thread = CreateThread(NULL, 0, suspended, NULL, CREATE_SUSPENDED, NULL);
    CHECK(thread && SuspendThread(thread) == 1 && ResumeThread(thread) == 2);
    CHECK(GetThreadContext(thread, &context) && SetThreadContext(thread, &context));
    CHECK(ResumeThread(thread) == 1 && WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
    CHECK(CloseHandle(thread) && GetCurrentThreadId());
    (void)TlsGetValue(0);
    Sleep(0);
}

/* Replacements that do none of their functions' work. */
static void *no_pages(void *at, SIZE_T len, DWORD type, DWORD page)
{
    (void)at, (void)len, (void)type, (void)page;
    return NULL;
}

static BOOL no_protection(void *at, SIZE_T len, DWORD page, DWORD *former)
{
    (void)at, (void)len, (void)page, (void)former;
    return FALSE;
}

static void no_lock(CRITICAL_SECTION *section)
{
    (void)section;
}

static void no_sleep(DWORD ms)
{
    (void)ms;
}

static DWORD no_stop(HANDLE thread)
{
    (void)thread;
    return (DWORD)-1;
}

/* It would pack the list anew each time it is run: */
/* clang-format off */
#define NOTHING(X)                                                                       \
    X(VirtualAlloc, no_pages)                                                            \
    X(VirtualProtect, no_protection) X(Sleep, no_sleep) X(EnterCriticalSection, no_lock) \
        X(LeaveCriticalSection, no_lock) X(SuspendThread, no_stop)
/* clang-format on */

#endif
