/* SPDX-License-Identifier: MIT
 *
 * The contract of <redefine/redefine.h> on Windows: functions of the program and of the system's libraries.
 */
#include "live.h"

TARGET int add(int a, int b)
{
    __asm__ volatile("");
    return a + b;
}

TARGET int twice(int a)
{
    __asm__ volatile("");
    return 2 * a;
}

TARGET static int hidden(int a)
{
    __asm__ volatile("");
    return a - 1;
}

static int add_more(int a, int b)
{
    return redefine_original(add)(a, b) + 1000;
}

static int add_yet_more(int a, int b)
{
    return redefine_original(add)(a, b) + 5000;
}

static int twice_more(int a)
{
    return redefine_original(twice)(a) + 3000;
}

static void typed(void)
{
    struct live_world before;
    live_world_take(&before);
    CHECK_OK(redefine(add, add_more));
    CHECK_INT(add(1, 2), 1003);
    CHECK_INT(redefine_original(add)(1, 2), 3);
    CHECK_OK(redefine(add, add_yet_more));
    CHECK_INT(add(1, 2), 5003);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(add(1, 2), 3);
    CHECK(redefine_original(add) == add);
    CHECK_OK(redefine_restore(add));
    CHECK_WORLD(before);
}

static void scoped(void)
{
    {
        REDEFINE_SCOPED(twice, twice_more);
        CHECK_INT(twice(4), 3008);
    }
    CHECK_INT(twice(4), 8);
}

static void batch(void)
{
    struct live_world before;
    live_world_take(&before);
    redefine_batch *batch = redefine_batch_new();
    CHECK_OK(redefine_batch_add(batch, ADDRESS(add), ADDRESS(add_more)));
    CHECK_OK(redefine_batch_add(batch, ADDRESS(twice), ADDRESS(twice_more)));
    CHECK_OK(redefine_batch_commit(batch));
    redefine_batch_free(batch);
    CHECK_INT(add(1, 1) + twice(1), 1002 + 3002);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(add(1, 1) + twice(1), 4);

    /* One that cannot be, so none is. */
    batch = redefine_batch_new();
    CHECK_OK(redefine_batch_add(batch, ADDRESS(add), ADDRESS(add_more)));
    (void)redefine_batch_add(batch, ADDRESS(&before), ADDRESS(twice_more));
    CHECK(redefine_batch_commit(batch) != REDEFINE_OK);
    redefine_batch_free(batch);
    CHECK_INT(add(1, 1), 2);
    CHECK_WORLD(before);
}

static int data = 1;

static void refusals(void)
{
    struct live_world before;
    live_world_take(&before);
    CHECK_STATUS(redefine_func(NULL, ADDRESS(add_more)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func(ADDRESS(add), ADDRESS(add)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func(&data, ADDRESS(add)), REDEFINE_EINVAL);
    CHECK_SAYS("is data");
    CHECK_STATUS(redefine_func((uint8_t *)ADDRESS(add_more) + 1, ADDRESS(add)), REDEFINE_EINVAL);
    CHECK_SAYS("bytes inside add_more");
    CHECK_STATUS(redefine_func((void *)(uintptr_t)0x1000, ADDRESS(add)), REDEFINE_EINVAL);
    CHECK_SAYS("not mapped");
    CHECK_WORLD(before);
}

/* ---- the system's functions ---- */

static DWORD WINAPI five(void)
{
    return 5;
}

static DWORD WINAPI one_later(void)
{
    return redefine_original(GetTickCount)() + 1000000;
}

static void of_the_system(void)
{
    struct live_world before;
    live_world_take(&before);
    DWORD now = GetTickCount();
    CHECK_OK(redefine(GetTickCount, five));
    CHECK_INT(GetTickCount(), 5);
    CHECK(redefine_original(GetTickCount)() >= now);
    /* The program's own stub and the library's export are one function. */
    DWORD(*volatile exported)
    (void) = (DWORD(*)(void))(uintptr_t)GetProcAddress(GetModuleHandleA("kernel32.dll"), "GetTickCount");
    CHECK_INT(exported(), 5);
    CHECK_OK(redefine(GetTickCount, one_later));
    CHECK(GetTickCount() >= now + 1000000);
    CHECK_OK(redefine_restore(GetTickCount));
    CHECK(GetTickCount() >= now && GetTickCount() < now + 1000000);
    CHECK_WORLD(before);
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

static BOOL WINAPI never_protect(void *at, SIZE_T len_bytes, DWORD prot, DWORD *former)
{
    (void)at, (void)len_bytes, (void)prot, (void)former;
    return FALSE;
}

static void WINAPI never_sleep(DWORD time_ms)
{
    (void)time_ms;
}

/* What a library like this one is made of, redefined: it uses what lies below. */
static void what_engines_use(void)
{
    CHECK_OK(redefine(VirtualProtect, never_protect));
    CHECK_OK(redefine(Sleep, never_sleep));
    CHECK_OK(redefine(add, add_more));
    CHECK_INT(add(1, 2), 1003);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(add(1, 2), 3);
}

/* ---- for one thread ---- */

static DWORD WINAPI with_its_own(void *sum)
{
    CHECK_OK(redefine_for_thread(add, add_more));
    *(int *)sum = add(1, 2);
    return 0;
}

static void for_one_thread(void)
{
    int sum = 0;
    WaitForSingleObject(CreateThread(NULL, 0, with_its_own, &sum, 0, NULL), INFINITE);
    CHECK_INT(sum, 1003);
    CHECK_INT(add(1, 2), 3);
    CHECK_OK(redefine_for_thread(add, add_yet_more));
    CHECK_INT(add(1, 2), 5003);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(add(1, 2), 3);
}

/* ---- names ---- */

static void names(void)
{
    void *addr = NULL;
    CHECK_OK(redefine_find("add", &addr));
    CHECK(addr == ADDRESS(add));
    CHECK_OK(redefine_find("hidden@library.c", &addr));
    CHECK(addr == ADDRESS(hidden) && hidden(3) == 2);
    void *exported = ADDRESS(GetProcAddress(GetModuleHandleA("kernel32.dll"), "GetTickCount"));
    CHECK_OK(redefine_find("GetTickCount", &addr));
    CHECK(addr == exported);
    CHECK_OK(redefine_find("kernel32!GetTickCount", &addr));
    CHECK(addr == exported);
    CHECK_OK(redefine_find("KERNEL32.dll!GetTickCount", &addr));
    CHECK_STATUS(redefine_find("GetTickCoumt", &addr), REDEFINE_ENOTFOUND);
    CHECK_SAYS("GetTickCount");
    CHECK_STATUS(redefine_find("no_such.dll!GetTickCount", &addr), REDEFINE_ENOTFOUND);
    CHECK_SAYS("no_such.dll");
}

int main(int argc, char **argv)
{
    static const struct live_case cases[] = {
        {"a function of the program, there and back", typed},
        {"scoped", scoped},
        {"batches: all or nothing", batch},
        {"what cannot be is refused with the reason", refusals},
        {"a function of kernel32", of_the_system},
        {"arguments on the stack, behind the shadow space", stack_arguments},
        {"functions that such engines use themselves", what_engines_use},
        {"names", names},
        {"for one thread", for_one_thread},
    };
    return live_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
