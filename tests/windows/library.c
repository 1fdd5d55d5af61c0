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
    DWORD (*volatile exported)
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

/* ---- entries ---- */

#define FUNCTION(name, body) \
    ".text\n.p2align 4\n.globl " #name "\n.def " #name "; .scl 2; .type 32; .endef\n" #name ":\n" body

int in_a_loop(int rounds);
int far_data(void);
int of_two_bytes(void);
int hot_patch(void);
int behind_it(void);
__asm__(FUNCTION(in_a_loop, "1: decl %ecx\njnz 1b\nmovl $7, %eax\nret\nint3\nint3\nint3\nint3\nint3\nint3\n")
            FUNCTION(far_data, "movl far_data_value(%rip), %eax\nret\nint3\nint3\n")
                FUNCTION(of_two_bytes, "movb $9, %al\nret\n")
                    FUNCTION(hot_patch, ".byte 0x48, 0x8d, 0xa4, 0x24, 0, 0, 0, 0\nmovl $11, %eax\nret\n")
                        FUNCTION(behind_it,
                                 "movl $13, %eax\nret\n") ".data\nfar_data_value: .long 41\n.text\n");

static int forty(int rounds)
{
    return rounds + 40;
}

static int minus_one(void)
{
    return -1;
}

static void entries(void)
{
    struct live_world before;
    live_world_take(&before);
    CHECK_OK(redefine(in_a_loop, forty));
    CHECK_INT(in_a_loop(2), 42);
    CHECK_INT(redefine_original(in_a_loop)(100), 7);
    CHECK_OK(redefine(far_data, minus_one));
    CHECK_INT(far_data(), -1);
    CHECK_INT(redefine_original(far_data)(), 41);
    CHECK_OK(redefine(hot_patch, minus_one));
    CHECK_INT(hot_patch(), -1);
    CHECK_INT(redefine_original(hot_patch)(), 11);
    CHECK_OK(redefine(of_two_bytes, minus_one));
    CHECK_INT(of_two_bytes(), -1);
    CHECK_INT((char)redefine_original(of_two_bytes)(), 9);
    CHECK_INT(behind_it(), 13);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(in_a_loop(2), 7);
    CHECK_INT(hot_patch() + far_data() + behind_it(), 11 + 41 + 13);
    CHECK_WORLD(before);
}

static int without_room_called(void)
{
    return 99;
}

/* Three bytes with neighbours right beside: only a trap fits. */
int without_room(void);
__asm__(
    ".text\n.p2align 4\n.rept 200\nincl %eax\n.endr\nret\n"
    ".globl without_room\n.def without_room; .scl 2; .type 32; .endef\nwithout_room:\nxorl %eax, %eax\nret\n"
    ".globl beside\n.def beside; .scl 2; .type 32; .endef\nbeside:\nmovl $21, %eax\n.rept 200\nincl "
    "%eax\n.endr\nret\n");
int beside(void);

static void by_a_trap(void)
{
    CHECK_INT(beside(), 221);
    CHECK_OK(redefine(without_room, without_room_called));
    CHECK_INT(without_room(), 99);
    CHECK_INT(redefine_original(without_room)(), 0);
    CHECK_INT(beside(), 221);
    CHECK_OK(redefine_restore(without_room));
    CHECK_INT(without_room(), 0);
}

/* ---- threads ---- */

static volatile LONG stopping;
static volatile LONG64 calls, wrong;

static DWORD WINAPI caller(void *unused)
{
    (void)unused;
    while (!stopping) {
        int sum = add(20, 3);
        if (sum != 23 && sum != 1023)
            InterlockedIncrement64(&wrong);
        /* A function whose window is many instructions. */
        int value = in_a_loop(3);
        if (value != 7 && value != 43)
            InterlockedIncrement64(&wrong);
        InterlockedIncrement64(&calls);
    }
    return 0;
}

static void under_load(void)
{
    enum { CALLERS = 4, ROUNDS = 100 };
    struct live_world before;
    live_world_take(&before);
    HANDLE thread[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        thread[i] = CreateThread(NULL, 0, caller, NULL, 0, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(redefine(add, add_more));
        CHECK_OK(redefine(in_a_loop, forty));
        CHECK_OK(redefine_restore(add));
        CHECK_OK(redefine_restore(in_a_loop));
    }
    stopping = 1;
    WaitForMultipleObjects(CALLERS, thread, TRUE, INFINITE);
    CHECK_INT(wrong, 0);
    CHECK(calls > ROUNDS);
    printf("# %lld calls while %d redefinitions and as many restores\n", (long long)calls, 2 * ROUNDS);
    CHECK_WORLD(before);
}

static DWORD WINAPI changer(void *name)
{
    for (int i = 0; i < 100; i++) {
        if (name) {
            CHECK_OK(redefine(add, add_more));
            CHECK_OK(redefine_restore(add));
        } else {
            CHECK_OK(redefine(twice, twice_more));
            CHECK_OK(redefine_restore(twice));
        }
    }
    return 0;
}

static void two_change_at_once(void)
{
    HANDLE thread[2] = {CreateThread(NULL, 0, changer, &data, 0, NULL),
                        CreateThread(NULL, 0, changer, NULL, 0, NULL)};
    WaitForMultipleObjects(2, thread, TRUE, INFINITE);
    CHECK_INT(add(1, 2) + twice(2), 7);
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
        {"entries: loops, data near the code, hot-patch, two bytes", entries},
        {"a trap, where nothing else fits", by_a_trap},
        {"four threads call while one redefines and restores", under_load},
        {"two threads redefine at once", two_change_at_once},
    };
    return live_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
