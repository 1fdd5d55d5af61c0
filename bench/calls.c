/* SPDX-License-Identifier: MIT
 *
 * What a redirected call, a call of the original and a counted call cost, against hand-written jumps.
 *
 * Every function here is the same five-byte `mov eax, edi+…; ret` kind of leaf, so that only the way to it
 * differs.
 */
#include "bench.h"

#include <redefine/apply.h>
#include <redefine/redefine.h>

#include <sys/mman.h>

/* Controls by hand. Each function has a cache line of its own, as the engine's targets have in the worst
 * case. */
__asm__(".text\n"
        ".macro leaf name\n.balign 64\n.globl \\name\n.type \\name,@function\n\\name:\n.cfi_startproc\n"
        " lea 1(%rdi), %eax\n lea 1(%rax), %eax\n ret\n.cfi_endproc\n.size \\name, .-\\name\n.endm\n"
        "leaf plain\nleaf replaced\nleaf near_target\nleaf far_target\nleaf counted_target\nleaf "
        "original_target\n"
        ".balign 64\n.globl by_jump\nby_jump: jmp replaced\n"
        ".balign 64\n.globl by_slot\nby_slot: jmp 1f\n.balign 64\n1: jmp *slot(%rip)\n"
        /* what a trampoline is at best: a copy of the window that jumps back behind it */
        ".balign 64\n nop; nop; nop; nop; nop\n2: ret\n"
        ".balign 64\n.globl copy\ncopy: lea 1(%rdi), %eax\n lea 1(%rax), %eax\n jmp 2b\n"
        ".data\n.balign 8\n.globl slot\nslot: .quad replaced\n.text\n");

extern int plain(int), replaced(int), near_target(int), far_target(int), counted_target(int),
    original_target(int);
extern int by_jump(int), by_slot(int), copy(int);
extern void *slot;

/* Beyond the reach of a direct jump: the same leaf in a mapping of its own. */
static int (*make_far(void))(int)
{
    static const uint8_t leaf[] = {0x8d, 0x47, 0x01, 0x8d, 0x40, 0x01, 0xc3};
    void *where = (void *)((uintptr_t)plain ^ (UINT64_C(1) << 44));
    uint8_t *page = mmap(where, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        exit(1);
    __builtin_memcpy(page, leaf, sizeof leaf);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0)
        exit(1);
    return (int (*)(int))(uintptr_t)page;
}

/* A chain of dependent calls through a pointer that the compiler cannot see through. */
static void call_many(void *ctx, uint64_t count)
{
    int (*volatile * where)(int) = ctx;
    int (*function)(int) = *where;
    int value = 0;
    for (uint64_t i = 0; i < count; i++)
        value = function(value);
    __asm__ volatile("" : : "r"(value));
}

static uint64_t cell;

static uint64_t *one_counter(void *ctx, const char *object, const char *name)
{
    (void)ctx, (void)object, (void)name;
    return &cell;
}

static void not_counted(void *ctx, const char *name, const char *why)
{
    (void)ctx;
    fprintf(stderr, "bench: %s cannot be counted: %s\n", name, why);
    exit(1);
}

static void must(redefine_status status)
{
    if (status != REDEFINE_OK) {
        fprintf(stderr, "bench: %s\n", redefine_explain());
        exit(1);
    }
}

int main(void)
{
    int (*far)(int) = make_far();
    static int (*volatile target[9])(int);
    must(redefine(near_target, replaced));
    must(redefine_func((void *)(uintptr_t)far_target, (void *)(uintptr_t)far));
    must(redefine(original_target, replaced));
    must(redefine_count("counted_target", one_counter, not_counted, NULL));
    int (*const functions[])(int) = {
        plain,         by_jump, near_target, by_slot, far_target, copy, redefine_original(original_target),
        counted_target};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        target[i] = functions[i];
    struct bench bench[] = {
        {"a call", NULL, call_many, (void *)&target[0], 0},
        {"through a bare jmp", NULL, call_many, (void *)&target[1], 0},
        {"redirected, replacement within reach", "through a bare jmp", call_many, (void *)&target[2], 0},
        {"through a jmp and a jmp *slot", NULL, call_many, (void *)&target[3], 0},
        {"redirected, replacement out of reach", "through a jmp and a jmp *slot", call_many,
         (void *)&target[4], 0},
        {"a copy and a jmp back", NULL, call_many, (void *)&target[5], 0},
        {"the original", "a copy and a jmp back", call_many, (void *)&target[6], 0},
        {"counted", "a call", call_many, (void *)&target[7], 0},
    };
    size_t variants = sizeof bench / sizeof bench[0];
    bench_run(bench, variants, 60, 2000000);
    bench_print(bench, variants);
    printf("a counted call costs %.2f ns more than a call; %llu calls counted\n",
           bench_ns(bench, variants, "counted") - bench_ns(bench, variants, "a call"),
           (unsigned long long)cell);
    return 0;
}
