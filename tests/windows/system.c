/* SPDX-License-Identifier: MIT
 *
 * Functions of the system's libraries: of kernel32 by each way that leads to them, of ntdll, on whose pages
 * this library's own calls lie, and names.
 */
#include "live.h"

static DWORD WINAPI five(void)
{
    return 5;
}

static DWORD WINAPI one_later(void)
{
    return redefine_original(GetTickCount)() + 1000000;
}

static void *exported(const char *library, const char *name)
{
    void *found = ADDRESS(GetProcAddress(GetModuleHandleA(library), name));
    CHECK(found);
    return found;
}

static void of_kernel32(void)
{
    live_world_take(&live_before);
    DWORD now = GetTickCount();
    CHECK_OK(redefine(GetTickCount, five));
    CHECK_INT(GetTickCount(), 5);
    CHECK(redefine_original(GetTickCount)() >= now);
    DWORD (*volatile by_export)(void) = (DWORD(*)(void))(uintptr_t)exported("kernel32.dll", "GetTickCount");
    CHECK_INT(by_export(), 5);
    CHECK_OK(redefine(GetTickCount, one_later));
    CHECK(GetTickCount() >= now + 1000000);
    CHECK_OK(redefine_restore(GetTickCount));
    CHECK(GetTickCount() >= now && GetTickCount() < now + 1000000);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* An import thunk, and a jump of an incremental link to it: what is meant is what they lead to. */
DWORD thunk(void);
DWORD link_jump(void);
__asm__(".text\n.p2align 4\n.globl thunk\n.def thunk; .scl 2; .type 32; .endef\n"
        "thunk: jmp *__imp_GetTickCount(%rip)\n.p2align 4, 0xcc\n"
        ".globl link_jump\n.def link_jump; .scl 2; .type 32; .endef\n"
        "link_jump: .byte 0xe9\n.long thunk - . - 4\n.byte 0xe9\n.long thunk - . - 4\n.p2align 4, 0xcc\n");

static void through_stubs(void)
{
    DWORD (*const stubs[])(void) = {thunk, link_jump};
    live_world_take(&live_before);
    for (size_t i = 0; i < LIVE_COUNT(stubs); i++) {
        CHECK_OK(redefine_func(ADDRESS(stubs[i]), ADDRESS(five)));
        CHECK_INT(GetTickCount(), 5);
        CHECK_INT(stubs[i](), 5);
        CHECK(redefine_func_replacement(exported("kernel32.dll", "GetTickCount")) == ADDRESS(five));
        CHECK_OK(redefine_func_restore(ADDRESS(stubs[i])));
        CHECK(GetTickCount() != 5 && stubs[i]() != 5);
    }
    CHECK_WORLD(&live_before, &live_now, false);
}

static HANDLE WINAPI no_file(const char *path, DWORD access, DWORD share, SECURITY_ATTRIBUTES *security,
                             DWORD how, DWORD traits, HANDLE other)
{
    if (strcmp(path, "C:\\nowhere") != 0)
        return redefine_original(CreateFileA)(path, access, share, security, how, traits, other);
    SetLastError(ERROR_DISK_FULL);
    return INVALID_HANDLE_VALUE;
}

/* Seven arguments: three of them behind the caller's shadow space, which a relay must leave where it is. */
static void stack_arguments(void)
{
    CHECK_OK(redefine(CreateFileA, no_file));
    CHECK(CreateFileA("C:\\nowhere", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE);
    CHECK_INT(GetLastError(), ERROR_DISK_FULL);
    char path[MAX_PATH];
    GetModuleFileNameA(NULL, path, sizeof path);
    HANDLE file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(file != INVALID_HANDLE_VALUE);
    CloseHandle(file);
    CHECK_OK(redefine_restore(CreateFileA));
}

/* A callee may use the 32 bytes above its return address as it likes: the code that chooses by thread, and
 * calls on the way, must have room of its own for that. */
__attribute__((noipa)) static long long of_seven(long long a, long long b, long long c, long long d,
                                                 long long e, long long f, long long g)
{
    __asm__ volatile("");
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g;
}

static long long of_seven_more(long long a, long long b, long long c, long long d, long long e, long long f,
                               long long g)
{
    return redefine_original(of_seven)(a, b, c, d, e, f, g) + 1000;
}

static DWORD WINAPI call_of_seven(void *result)
{
    *(long long *)result = of_seven(1, 2, 3, 4, 5, 6, 7);
    return 0;
}

static void stack_arguments_for_one_thread(void)
{
    long long elsewhere = 0;
    CHECK_OK(redefine_for_thread(of_seven, of_seven_more));
    CHECK_INT(of_seven(1, 2, 3, 4, 5, 6, 7), 1140);
    WaitForSingleObject(CreateThread(NULL, 0, call_of_seven, &elsewhere, 0, NULL), INFINITE);
    CHECK_INT(elsewhere, 140);
    CHECK_OK(redefine_restore(of_seven));
    CHECK_INT(of_seven(1, 2, 3, 4, 5, 6, 7), 140);
}

/* ---- ntdll ---- */

static long hits;
typedef LONG WINAPI version_type(void *about);
static version_type *real_version;

static LONG WINAPI counted_version(void *about)
{
    hits++;
    return real_version(about);
}

/* Their pages hold what this library calls to make pages writable: they must stay executable. */
static void of_ntdll(void)
{
    /* Nobody calls them meanwhile: this is the only thread. */
    static const char *const names[] = {"NtCreateFile", "NtQuerySystemTime", "NtOpenFile", "NtSetEvent",
                                        "NtCreateThreadEx"};
    live_world_take(&live_before);
    for (size_t i = 0; i < LIVE_COUNT(names); i++) {
        void *function = exported("ntdll.dll", names[i]);
        CHECK_OK(redefine_func(function, ADDRESS(five)));
        CHECK_OK(redefine_func_restore(function));
    }
    real_version = (version_type *)(uintptr_t)exported("ntdll.dll", "RtlGetVersion");
    void *target = ADDRESS(real_version);
    CHECK_OK(redefine_func(target, ADDRESS(counted_version)));
    real_version = (version_type *)(uintptr_t)redefine_func_original(target);
    OSVERSIONINFOW about = {.dwOSVersionInfoSize = sizeof about};
    CHECK_INT(((version_type *)(uintptr_t)target)(&about), 0);
    CHECK(hits == 1 && about.dwMajorVersion >= 5);
    CHECK_OK(redefine_func_restore(target));
    CHECK_WORLD(&live_before, &live_now, false);
}

static void what_this_library_calls(void)
{
    static const char *const names[] = {"NtProtectVirtualMemory", "NtSuspendThread", "NtClose",
                                        "NtFlushInstructionCache"};
    live_world_take(&live_before);
    for (size_t i = 0; i < LIVE_COUNT(names); i++) {
        CHECK_STATUS(redefine_func(exported("ntdll.dll", names[i]), ADDRESS(five)), REDEFINE_EUNSUPPORTED);
        CHECK_SAYS("is what this library itself calls");
    }
    CHECK_WORLD(&live_before, &live_now, false);
}

/* ---- names ---- */

__attribute__((noipa)) int own(int a);
int own(int a)
{
    __asm__ volatile("");
    return a + 1;
}

__attribute__((noipa)) static int hidden(int a)
{
    __asm__ volatile("");
    return a - 1;
}

static void names(void)
{
    void *addr = NULL;
    CHECK_OK(redefine_find("own", &addr));
    CHECK(addr == ADDRESS(own) && own(1) == 2);
    CHECK_OK(redefine_find("hidden@system.c", &addr));
    CHECK(addr == ADDRESS(hidden) && hidden(3) == 2);
    CHECK_OK(redefine_find("GetTickCount", &addr));
    CHECK(addr == exported("kernel32.dll", "GetTickCount"));
    CHECK_OK(redefine_find("kernel32!GetTickCount", &addr));
    CHECK(addr == exported("kernel32.dll", "GetTickCount"));
    CHECK_OK(redefine_find("KERNEL32.dll!GetTickCount", &addr));
    CHECK_STATUS(redefine_find("GetTickCoumt", &addr), REDEFINE_ENOTFOUND);
    CHECK_SAYS("GetTickCount");
    CHECK_STATUS(redefine_find("no_such.dll!GetTickCount", &addr), REDEFINE_ENOTFOUND);
    CHECK_SAYS("no_such.dll");
}

/* ---- threads ---- */

static DWORD WINAPI until(void *event)
{
    return WaitForSingleObject(event, INFINITE);
}

/* What is said speaks of this system. */
static void reports(void)
{
    HANDLE event = CreateEventA(NULL, TRUE, FALSE, NULL);
    HANDLE thread = CreateThread(NULL, 0, until, event, 0, NULL);
    CHECK(event && thread);
    CHECK_OK(redefine(own, hidden));
    CHECK(strstr(redefine_report(), "L2: other threads were stopped by SuspendThread (1 of them, "));
    CHECK(strstr(redefine_report(), "written by VirtualProtect"));
    CHECK(strstr(redefine_describe(ADDRESS(own)), "by VirtualProtect with 1 other threads stopped"));
    CHECK_OK(redefine_restore(own));
    CHECK(SetEvent(event) && WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
    CHECK(CloseHandle(thread) && CloseHandle(event));
    CHECK_OK(redefine(own, hidden));
    CHECK(strstr(redefine_report(), "L0: no other thread"));
    CHECK_OK(redefine_restore(own));
}

int main(void)
{
    static const struct live_case cases[] = {
        {"a function of kernel32", of_kernel32, 0},
        {"an import thunk and a jump to it are followed", through_stubs, 0},
        {"arguments on the stack, behind the shadow space", stack_arguments, 0},
        {"the same for one thread", stack_arguments_for_one_thread, 0},
        {"functions of ntdll, beside those that this library calls", of_ntdll, 0},
        {"what this library itself calls is refused", what_this_library_calls, 0},
        {"names: of the program, of libraries, suggestions", names, 0},
        {"how threads were stopped and code was written", reports, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
