/* SPDX-License-Identifier: MIT
 *
 * For the tests on Windows what tests/live/live.h is for the others: every case is a process of its own,
 * because a crash is a result; and a look at the process from outside, so that "as before" means all of it.
 */
#ifndef TESTS_WINDOWS_LIVE_H
#define TESTS_WINDOWS_LIVE_H

#include <redefine/redefine.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define TARGET __attribute__((noipa))

#define ADDRESS(function) ((void *)(uintptr_t)(function))

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition))                                    \
            live_fail(__LINE__, "not true: %s", #condition); \
    } while (0)

#define CHECK_INT(is, wanted)                                               \
    do {                                                                    \
        long long is_ = (long long)(is), wanted_ = (long long)(wanted);     \
        if (is_ != wanted_)                                                 \
            live_fail(__LINE__, "%s is %lld, not %lld", #is, is_, wanted_); \
    } while (0)

#define CHECK_STATUS(is, wanted)                                                                 \
    do {                                                                                         \
        int status_ = (int)(is);                                                                 \
        if (status_ != (int)(wanted))                                                            \
            live_fail(__LINE__, "%s is %d (%s), not %s: %s", #is, status_,                       \
                      redefine_strerror((redefine_status)status_), #wanted, redefine_explain()); \
    } while (0)

#define CHECK_OK(is) CHECK_STATUS(is, REDEFINE_OK)

#define CHECK_SAYS(part)                                                                 \
    do {                                                                                 \
        if (!strstr(redefine_explain(), part))                                           \
            live_fail(__LINE__, "\"%s\" does not say \"%s\"", redefine_explain(), part); \
    } while (0)

__attribute__((unused, noreturn)) static void live_fail(int line, const char *format, ...)
{
    printf("# line %d: ", line);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(NULL);
    ExitProcess(1);
}

struct live_case {
    const char *name;
    void (*body)(void);
};

enum { LIVE_LIMIT_MS = 60 * 1000 };

/* Its output goes where ours goes: lines that begin with # are comments of the protocol. */
static bool live_run(const char *program, size_t index, const char *name)
{
    char line[1024];
    STARTUPINFOA startup = {.cb = sizeof startup};
    PROCESS_INFORMATION child;
    DWORD code = 1;
    snprintf(line, sizeof line, "\"%s\" %" PRIu64, program, (uint64_t)index);
    fflush(NULL);
    bool began = CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child);
    bool in_time = began && WaitForSingleObject(child.hProcess, LIVE_LIMIT_MS) == WAIT_OBJECT_0;
    if (began && !in_time)
        TerminateProcess(child.hProcess, 1);
    else if (began)
        GetExitCodeProcess(child.hProcess, &code);
    printf("%sok %" PRIu64 " - %s\n", code ? "not " : "", (uint64_t)index + 1, name);
    if (code > 1)
        printf("# ended with 0x%lx\n", code);
    else if (!in_time)
        printf("# %s\n", began ? "took too long" : "could not be started");
    return code == 0;
}

__attribute__((unused)) static int live_main(int argc, char **argv, const struct live_case *test,
                                             size_t count)
{
    if (argc > 1) {
        test[strtoul(argv[1], NULL, 10) % count].body();
        fflush(NULL);
        return 0;
    }
    bool ok = true;
    printf("1..%" PRIu64 "\n", (uint64_t)count);
    for (size_t i = 0; i < count; i++)
        ok = live_run(argv[0], i, test[i].name) && ok;
    return ok ? 0 : 1;
}

/* ---- what a process looks like ---- */

struct live_world {
    uint64_t code_hash; /* of every page of code of every image */
    uint64_t prot_hash; /* of the protection of everything that belongs to an image */
    unsigned writable_code;
};

static uint64_t live_mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x100000001b3);
}

/* A page of code that was written is the process' own from then on, and the system may say so in its type;
 * what counts is what may be done with it. */
__attribute__((unused)) static void live_world_take(struct live_world *ret)
{
    MEMORY_BASIC_INFORMATION region;
    *ret = (struct live_world){.code_hash = UINT64_C(0xcbf29ce484222325)};
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region);
         at = (uint8_t *)region.BaseAddress + region.RegionSize) {
        DWORD prot = region.Protect & 0xff;
        bool is_code = region.State == MEM_COMMIT &&
                       (prot == PAGE_EXECUTE_READ || prot == PAGE_EXECUTE_READWRITE);
        ret->writable_code += is_code && prot != PAGE_EXECUTE_READ;
        if (region.Type != MEM_IMAGE || region.State != MEM_COMMIT)
            continue;
        for (SIZE_T off = 0; is_code && off < region.RegionSize; off += 8)
            ret->code_hash = live_mix(ret->code_hash,
                                      *(volatile uint64_t *)((uint8_t *)region.BaseAddress + off));
        for (SIZE_T off = 0; is_code && off < region.RegionSize; off += 4096)
            ret->prot_hash += live_mix((uintptr_t)region.BaseAddress + off, prot);
    }
}

#define CHECK_WORLD(before)                                                                  \
    do {                                                                                     \
        struct live_world now_;                                                              \
        live_world_take(&now_);                                                              \
        CHECK(now_.code_hash == (before).code_hash && now_.prot_hash == (before).prot_hash); \
        CHECK_INT(now_.writable_code, (before).writable_code);                               \
    } while (0)

#endif
