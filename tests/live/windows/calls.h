/* SPDX-License-Identifier: MIT
 *
 * For owners.c: what an engine might call on Windows. Each system has a file of this name.
 */
#ifndef TESTS_LIVE_CALLS_H
#define TESTS_LIVE_CALLS_H

/* Every one of these counts and calls its original. */
#define LIBRARY(X)                                                                                      \
    X(void *, memcpy, (void *to, const void *from, size_t len), (to, from, len))                        \
    X(void *, memmove, (void *to, const void *from, size_t len), (to, from, len))                       \
    X(void *, memset, (void *to, int byte, size_t len), (to, byte, len))                                \
    X(int, memcmp, (const void *a, const void *b, size_t len), (a, b, len))                             \
    X(void *, malloc, (size_t len), (len))                                                              \
    X(void, free, (void *memory), (memory))                                                             \
    X(void *, calloc, (size_t count, size_t len), (count, len))                                         \
    X(void *, realloc, (void *old, size_t len), (old, len))                                             \
    X(size_t, strlen, (const char *text), (text))                                                       \
    X(int, strcmp, (const char *a, const char *b), (a, b))                                              \
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

/* So that each is called at least once. */
static void work_the_library(void)
{
    char text[64];
    DWORD former;
    MEMORY_BASIC_INFORMATION region;
    CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
    void *volatile memory = malloc(10);
    memory = realloc(memory, 1000);
    free(memory);
    memory = calloc(3, 3);
    volatile size_t len = 9;
    memset(memory, 'x', len);
    memcpy(text, memory, len);
    memmove(text + 1, text, len);
    CHECK(memcmp(text, memory, len) == 0);
    text[len] = 0;
    CHECK_INT(strlen(text), len);
    CHECK(strcmp(text, "y") < 0);
    free(memory);
    CHECK(snprintf(text, len * 2, "%d", (int)len) == 1);
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
static void *no_memory(size_t len)
{
    (void)len;
    return NULL;
}

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

static void *no_copy(void *to, const void *from, size_t len)
{
    (void)from, (void)len;
    return to;
}

/* It would pack the list anew each time it is run: */
/* clang-format off */
#define NOTHING(X)                                                                       \
    X(malloc, no_memory)                                                                 \
    X(VirtualAlloc, no_pages)                                                            \
    X(VirtualProtect, no_protection) X(Sleep, no_sleep) X(EnterCriticalSection, no_lock) \
        X(LeaveCriticalSection, no_lock) X(SuspendThread, no_stop) X(memcpy, no_copy)
/* clang-format on */

#endif
