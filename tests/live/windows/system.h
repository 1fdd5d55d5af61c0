/* SPDX-License-Identifier: MIT
 *
 * What the live tests ask of Windows: a child for each case, and looks at this process. Each system has a
 * file of this name with the same functions; live.h includes it. And the few calls of POSIX that those tests
 * make which are not about the system.
 */
#ifndef TESTS_LIVE_SYSTEM_H
#define TESTS_LIVE_SYSTEM_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <psapi.h>
#include <signal.h>
#include <sys/types.h>

/* A function in assembler, with an entry in .pdata; what depends on the CPU is in <cpu>/entries.h. */
#define FUNCTION(name, body)                                                                        \
    ".globl " #name "\n.def " #name "; .scl 2; .type 32; .endef\n.seh_proc " #name "\n" #name ":\n" \
    ".seh_endprologue\n" body ".seh_endproc\n"

/* The same for short_cases.h, as macros of the assembler. */
#define FUNCTION_MACROS                                                                        \
    ".macro fn name\n.globl \\name\n.def \\name; .scl 2; .type 32; .endef\n.seh_proc \\name\n" \
    "\\name:\n.seh_endprologue\n.endm\n.macro end name\n.seh_endproc\n.endm\n"

/* Functions without a name, for a loop of the assembler: between `unnamed` and `end_unnamed`. */
#define UNNAMED_MACROS                                                                 \
    ".macro unnamed\n.seh_proc .Lunnamed\\@\n.Lunnamed\\@:\n.seh_endprologue\n.endm\n" \
    ".macro end_unnamed\n.seh_endproc\n.endm\n"

/* They are written for the calls of the other systems. */
#define ENTRY_ABI __attribute__((sysv_abi))

/* ---- calls of POSIX ---- */

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20 };
#define MAP_FAILED ((void *)-1)

static inline DWORD live_page_of(int prot)
{
    static const DWORD page[] = {PAGE_NOACCESS,          PAGE_READONLY,         PAGE_READWRITE,
                                 PAGE_READWRITE,         PAGE_EXECUTE,          PAGE_EXECUTE_READ,
                                 PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_READWRITE};
    return page[prot & 7];
}

static inline void *mmap(void *at, size_t len_bytes, int prot, int flags, int fd, off_t off)
{
    (void)flags, (void)fd, (void)off;
    void *pages = VirtualAlloc(at, len_bytes, MEM_RESERVE | MEM_COMMIT, live_page_of(prot));
    return pages ? pages : MAP_FAILED;
}

static inline int munmap(void *at, size_t len_bytes)
{
    (void)len_bytes;
    return VirtualFree(at, 0, MEM_RELEASE) ? 0 : -1;
}

static inline int mprotect(void *at, size_t len_bytes, int prot)
{
    DWORD former;
    return VirtualProtect(at, len_bytes, live_page_of(prot), &former) ? 0 : -1;
}

/* What a case does with a child that shares its past cannot be tried. */
static inline int live_fork(void)
{
    live_skip("there is no fork on Windows");
}

#define WIFSIGNALED(status) ((status) != 0)
#define WTERMSIG(status)    (status)

static inline int waitpid(int pid, int *ret_status, int flags)
{
    (void)pid, (void)ret_status, (void)flags;
    return live_fork();
}

/* ---- cases ---- */

#define LIVE_DEATH "exception 0x%x"

/* How much of a test that does one thing again and again is enough: under wine each stop of the world is a
 * hundred messages to a server. */
#define LIVE_ROUNDS(count) (((count) + 9) / 10)
enum { LIVE_SLOWER = 4 }; /* limits of time grow with it */

/* The memory that this process has for itself. Threads that have been joined are still being taken down. */
static inline long live_own_bytes(void)
{
    Sleep(200);
    PROCESS_MEMORY_COUNTERS_EX about;
    about.cb = sizeof about;
    CHECK(GetProcessMemoryInfo(GetCurrentProcess(), (PROCESS_MEMORY_COUNTERS *)&about, sizeof about));
    return (long)about.PrivateUsage;
}

/* Of the whole process: a leak shows. */
static inline unsigned long live_mapped_pages(void)
{
    unsigned long pages = 0;
    MEMORY_BASIC_INFORMATION region;
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region);
         at = (uint8_t *)region.BaseAddress + region.RegionSize)
        pages += region.State == MEM_FREE ? 0 : (unsigned long)(region.RegionSize / 4096);
    return pages;
}

static inline bool live_under_valgrind(void)
{
    return false;
}

static inline bool live_emulated(void)
{
    return false;
}

static inline void live_skip_where_emulated(const char *why)
{
    (void)why;
}

static inline void live_needs_stopped_threads(void)
{
}

/* There is no fork: the child is this program again, which is told by its environment which of the cases it
 * comes to is the one to run. */
#define LIVE_CHILD "LIVE_CHILD"

static inline bool live_start(size_t number, HANDLE output, PROCESS_INFORMATION *ret)
{
    char program[MAX_PATH], text[32];
    snprintf(text, sizeof text, "%u", (unsigned)number);
    SetEnvironmentVariableA(LIVE_CHILD, text);
    GetModuleFileNameA(NULL, program, sizeof program);
    STARTUPINFOA startup;
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdOutput = startup.hStdError = output;
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    return CreateProcessA(program, NULL, NULL, NULL, TRUE, 0, NULL, NULL, &startup, ret);
}

static inline struct live_end live_wait(HANDLE process, unsigned limit_s)
{
    enum { EXCEPTIONS = 0x40000000 };
    struct live_end end = {false, false, 0};
    DWORD code = 1;
    end.timed_out = WaitForSingleObject(process, limit_s * 1000) != WAIT_OBJECT_0;
    if (end.timed_out)
        TerminateProcess(process, 1);
    GetExitCodeProcess(process, &code);
    end.exited = !end.timed_out && code < EXCEPTIONS;
    end.status = (int)code;
    return end;
}

/* `test` in a process of its own; *ret_text is what it printed, until the next. */
static inline struct live_end live_child(size_t number, const struct live_case *test, unsigned limit_s,
                                         char **ret_text)
{
    static char text[8192];
    const char *wanted = getenv(LIVE_CHILD);
    struct live_end end = {true, false, 0};
    *ret_text = text;
    text[0] = 0;
    if (wanted && strtoul(wanted, NULL, 10) == number) {
        /* Nothing of what led here. */
        fflush(NULL);
        SetFilePointer(GetStdHandle(STD_OUTPUT_HANDLE), 0, NULL, FILE_BEGIN);
        SetEndOfFile(GetStdHandle(STD_OUTPUT_HANDLE));
        test->body();
        fflush(NULL);
        _exit(0);
    }
    if (wanted)
        return end;
    fflush(NULL);
    char path[MAX_PATH], folder[MAX_PATH];
    GetTempPathA(sizeof folder, folder);
    CHECK(GetTempFileNameA(folder, "out", 0, path));
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE output = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                                &inherited, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    PROCESS_INFORMATION child;
    CHECK(output != INVALID_HANDLE_VALUE && live_start(number, output, &child));
    end = live_wait(child.hProcess, limit_s);
    DWORD len = 0;
    SetFilePointer(output, 0, NULL, FILE_BEGIN);
    (void)ReadFile(output, text, sizeof text - 1, &len, NULL);
    text[len] = 0;
    CloseHandle(output);
    CloseHandle(child.hProcess);
    CloseHandle(child.hThread);
    return end;
}

/* Bytes of code, past every protection; false: refused. */
static inline bool live_poke(void *to, const void *bytes, size_t len_bytes)
{
    DWORD former, between;
    if (!VirtualProtect(to, len_bytes, PAGE_EXECUTE_READWRITE, &former))
        return false;
    memcpy(to, bytes, len_bytes);
    return VirtualProtect(to, len_bytes, former, &between) &&
           FlushInstructionCache(GetCurrentProcess(), to, len_bytes);
}

/* ---- what a process looks like ---- */

/* What belongs to an image or can be executed: of the rest nobody knows whose it is. A page of an image that
 * was written is the process' own from then on, and the system may say so; what may be done with it counts.
 */
static inline void live_maps_read(struct live_maps *ret)
{
    MEMORY_BASIC_INFORMATION region;
    ret->count = 0;
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region) && ret->count < LIVE_MAPS_MAX;
         at = (uint8_t *)region.BaseAddress + region.RegionSize) {
        DWORD page = region.State == MEM_COMMIT ? region.Protect & 0xff : 0;
        bool writes = page &
                      (PAGE_READWRITE | PAGE_WRITECOPY | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY);
        bool executes = page &
                        (PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY);
        bool is_image = region.Type == MEM_IMAGE;
        if (!page || (!is_image && !executes))
            continue;
        struct live_map *map = &ret->map[ret->count++];
        map->start = (uint64_t)(uintptr_t)region.BaseAddress;
        map->end = map->start + region.RegionSize;
        snprintf(map->prot, sizeof map->prot, "%c%c%cp", page == PAGE_NOACCESS ? '-' : 'r',
                 writes ? 'w' : '-', executes ? 'x' : '-');
        snprintf(map->path, sizeof map->path, "%s", is_image ? "an image" : "");
        struct live_map *before = map - 1;
        if (ret->count > 1 && before->end == map->start && !strcmp(before->prot, map->prot) &&
            !strcmp(before->path, map->path)) {
            before->end = map->end;
            ret->count--;
        }
    }
}

static inline bool live_map_has_code(const struct live_map *map)
{
    return map->path[0] && map->prot[0] == 'r' && map->prot[2] == 'x';
}

static inline bool live_map_grows(const struct live_map *map)
{
    (void)map;
    return false;
}

static inline unsigned live_fd_count(void)
{
    DWORD count = 0;
    GetProcessHandleCount(GetCurrentProcess(), &count);
    return count;
}

/* The list of those who handle exceptions is nobody's to read. */
static inline void *live_trap_handler(void)
{
    return NULL;
}

static inline uint64_t live_blocked(void)
{
    return 0;
}

#endif
