/* SPDX-License-Identifier: MIT
 *
 * Entries that were made to be patched: -fpatchable-function-entry=N,M, XRay's sled, the two bytes of hot
 * patching. sleds_landing.c is the same with landing pads (-fcf-protection).
 */
#include "live.h"

#if defined(__x86_64__)

#ifdef LANDING
#define PAD "endbr64\n"
#else
#define PAD ""
#endif

#define PATCHABLE(n, m)                                                                                   \
    __attribute__((noinline, noclone, patchable_function_entry(n, m))) int ENTRY_ABI patchable_##n##_##m( \
        int x);                                                                                           \
    int ENTRY_ABI patchable_##n##_##m(int x)                                                              \
    {                                                                                                     \
        __asm__ volatile("");                                                                             \
        return x * 3 + n * 100 + m;                                                                       \
    }

PATCHABLE(1, 0)
PATCHABLE(1, 1)
PATCHABLE(2, 0)
PATCHABLE(2, 2)
PATCHABLE(4, 0)
PATCHABLE(5, 0)
PATCHABLE(5, 5)
PATCHABLE(7, 2)
PATCHABLE(16, 0)
PATCHABLE(16, 8)
PATCHABLE(64, 32)
PATCHABLE(200, 0)
PATCHABLE(255, 20)

/* xray_ret: where a function is left, XRay has ret and ten bytes of no-operation. */
#define XRAY_ENTRY ".byte 0xeb, 9, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 2, 0, 0\n"
__asm__(".text\n" FUNCTION_MACROS ".balign 16, 0x90\n"
        "fn xray\n" PAD XRAY_ENTRY "lea 5(%rdi,%rdi,2), %eax\nret\n"
        ".byte 0x2e,0x66,0x0f,0x1f,0x84,0,0,2,0,0\nend xray\n"
        "fn xray_alone\n" PAD XRAY_ENTRY "ret\nend xray_alone\n"
        ".fill 5, 1, 0xcc\n"
        "fn hot_patch\n" PAD ".byte 0x8b, 0xff\nlea 5(%rdi,%rdi,2), %eax\nret\nend hot_patch\n"
        ".fill 5, 1, 0xcc\n"
        "fn hot_patch_short\n" PAD ".byte 0x8b, 0xff\nxchg %eax, %edi\nret\nend hot_patch_short\n"
        ".fill 5, 1, 0x90\n"
        "fn two_bytes\n" PAD ".byte 0x66, 0x90\nxchg %eax, %edi\nret\nend two_bytes\n"
        "fn long_nops\n" PAD ".byte 0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n.byte 0x0f,0x1f,0x40,0\n"
        "lea 5(%rdi,%rdi,2), %eax\nret\nend long_nops\n"
        "fn loop_into_sled\n" PAD "1: nop\nnop\nnop\nnop\nnop\nadd $-1, %edi\njns 1b\nmov %edi, %eax\n"
        "ret\nend loop_into_sled\n"
        "fn behind\n" PAD "lea 7(%rdi), %eax\nret\nend behind\n");
typedef int ENTRY_ABI sled_type(int x);
sled_type xray, xray_alone, hot_patch, hot_patch_short, two_bytes, long_nops, loop_into_sled, behind;

static int ENTRY_ABI replacement(int x)
{
    return 7000 + x;
}

static const char sled[] = "jump over a sled of no-operations";
static const char entry[] = "entry jump";
#ifdef LANDING /* which gives room */
static const char crowded[] = "entry jump";
#else
static const char crowded[] = "short jump into padding";
#endif

static const struct sled_case {
    const char *name;
    sled_type *function;
    const char *expected;
    bool has_no_result; /* eax is as it was */
} cases[] = {
    {"-fpatchable-function-entry=1", patchable_1_0, entry, false},
    {"-fpatchable-function-entry=1,1", patchable_1_1, entry, false},
    {"-fpatchable-function-entry=2", patchable_2_0, entry, false},
    {"-fpatchable-function-entry=2,2", patchable_2_2, entry, false},
    {"-fpatchable-function-entry=4", patchable_4_0, entry, false},
    {"-fpatchable-function-entry=5", patchable_5_0, sled, false},
    {"-fpatchable-function-entry=5,5", patchable_5_5, entry, false},
    {"-fpatchable-function-entry=7,2", patchable_7_2, sled, false},
    {"-fpatchable-function-entry=16", patchable_16_0, sled, false},
    {"-fpatchable-function-entry=16,8", patchable_16_8, sled, false},
    {"-fpatchable-function-entry=64,32", patchable_64_32, sled, false},
    {"-fpatchable-function-entry=200", patchable_200_0, sled, false},
    {"-fpatchable-function-entry=255,20", patchable_255_20, sled, false},
    {"XRay's sled", xray, entry, false},
    {"XRay's sled and nothing else", xray_alone, entry, true},
    {"mov edi, edi", hot_patch, entry, false},
    {"mov edi, edi and three bytes", hot_patch_short, entry, false},
    {"two bytes of no-operation, three of code", two_bytes, crowded, false},
    {"long no-operations", long_nops, sled, false},
    {"a loop into the sled", loop_into_sled, entry, false},
};

/* GCC's __builtin_return_address is no help: what an indirect call leaves in eax is asked for. */
static int call(sled_type *function, int x)
{
    int result = 99;
    __asm__ volatile("sub $128, %%rsp\n\tcall *%[function]\n\tadd $128, %%rsp"
                     : "+a"(result), "+D"(x)
                     : [function] "r"(function)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
    return result;
}

static const struct sled_case *current;

static void try_sled(void)
{
    sled_type *function = current->function;
    int was[] = {call(function, 0), call(function, 12)};
    CHECK(!current->has_no_result || (was[0] == 99 && was[1] == 99));
    live_world_take(&live_before);
    CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(replacement)));
    const char *how = redefine_describe(ADDRESS(function));
    if (strncmp(how, current->expected, strlen(current->expected)) != 0)
        live_fail(__FILE__, __LINE__, "%s; not %s", how, current->expected);
    sled_type *original = (sled_type *)(uintptr_t)redefine_func_original(ADDRESS(function));
    for (int round = 0; round < 3; round++) {
        CHECK_INT(call(function, 12), 7012);
        CHECK_INT(call(original, 0), was[0]);
        CHECK_INT(call(original, 12), was[1]);
        for (size_t i = 0; i < LIVE_COUNT(cases); i++)
            if (cases[i].function != function)
                CHECK(call(cases[i].function, 12) != 7012);
        CHECK_INT(behind(1), 8);
        CHECK_OK(redefine_func_restore(ADDRESS(function)));
        CHECK_WORLD(&live_before, &live_now, false);
        CHECK_INT(call(function, 12), was[1]);
        CHECK_INT(call(original, 12), was[1]);
        CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(replacement)));
    }
}

static void all_of_them(void)
{
    int was[LIVE_COUNT(cases)];
    for (size_t i = 0; i < LIVE_COUNT(cases); i++)
        was[i] = call(cases[i].function, 12);
    for (int round = 0; round < 3; round++) {
        redefine_batch *batch = redefine_batch_new();
        for (size_t i = 0; i < LIVE_COUNT(cases); i++)
            CHECK_OK(redefine_batch_add(batch, ADDRESS(cases[i].function), ADDRESS(replacement)));
        CHECK_OK(redefine_batch_commit(batch));
        redefine_batch_free(batch);
        for (size_t i = 0; i < LIVE_COUNT(cases); i++) {
            CHECK_INT(call(cases[i].function, 12), 7012);
            CHECK_INT(call((sled_type *)(uintptr_t)redefine_func_original(ADDRESS(cases[i].function)), 12),
                      was[i]);
        }
        CHECK_OK(redefine_restore_all());
        if (round == 0) /* the engine's own mappings are there from now on */
            live_world_take(&live_before);
    }
    CHECK_WORLD(&live_before, &live_now, false);
}

int main(void)
{
    bool ok = true;
    size_t count = LIVE_COUNT(cases);
    printf("1..%zu\n", count + 1);
    for (size_t i = 0; i < count; i++) {
        current = &cases[i];
        ok = live_run(i + 1, &(struct live_case){cases[i].name, try_sled, 0}) && ok;
    }
    ok = live_run(count + 1, &(struct live_case){"all of them in one batch", all_of_them, 0}) && ok;
    return ok ? 0 : 1;
}

#else

int main(void)
{
    printf("1..1\nok 1 - sleds # SKIP written for x86-64\n");
    return 0;
}

#endif
