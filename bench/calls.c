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

#include <pthread.h>
#include <sys/mman.h>

/* Each function has a cache line of its own, as the engine's targets have in the worst case. What is a
 * control has the jump that the engine would write; what it leads to lies, as the engine's code does, in
 * pages of its own near the program: where code lies decides what a jump costs as much as what it does. */
__asm__(
    ".text\n"
    ".macro begin name\n.balign 64\n.globl \\name\n.type \\name,@function\n\\name:\n.cfi_startproc\n.endm\n"
    ".macro end name\n.cfi_endproc\n.size \\name, .-\\name\n.endm\n"
    ".macro leaf name\nbegin \\name\n lea 1(%rdi), %eax\n lea 1(%rax), %eax\n ret\nend \\name\n.endm\n"
    ".macro jumper name to\nbegin \\name\n jmp \\to\n .byte 0xcc\n ret\nend \\name\n.endm\n"
    "leaf plain\nleaf replaced\nleaf near_target\nleaf far_target\nleaf counted_target\n"
    "leaf original_target\nleaf thread_target\nleaf hand_original\n"
    "jumper by_jump replaced\njumper by_slot hand_relay\n"
    /* the same by hand: relay, slot, trampoline */
    ".section .hand,\"ax\",@progbits\n.balign 4096\nhand_relay: jmp *hand_slot(%rip)\n.balign 16\n"
    ".skip 8\n.globl hand_trampoline\nhand_trampoline: lea 1(%rdi), %eax\n lea 1(%rax), %eax\n"
    " jmp hand_original + 6\n"
    ".data\n.balign 4096\n.globl hand_slot\nhand_slot: .quad replaced\n.balign 4096\n.text\n");

extern int plain(int), replaced(int), near_target(int), far_target(int), counted_target(int),
    original_target(int), thread_target(int);
extern int by_jump(int), by_slot(int), hand_trampoline(int);
extern void *hand_slot;

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

static uint64_t *one_counter(void *ctx, const char *object, const char *name, const char *readable)
{
    (void)ctx, (void)object, (void)name, (void)readable;
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

/* It ends, and what it redefined stays until somebody redefines again. */
static void *redefine_for_itself(void *unused)
{
    must(redefine_for_thread(thread_target, replaced));
    return unused;
}

int main(void)
{
    int (*far)(int) = make_far();
    static int (*volatile target[10])(int);
    hand_slot = (void *)(uintptr_t)far;
    must(redefine(near_target, replaced));
    must(redefine_func((void *)(uintptr_t)far_target, (void *)(uintptr_t)far));
    must(redefine(original_target, replaced));
    pthread_t thread;
    if (pthread_create(&thread, NULL, redefine_for_itself, NULL) != 0 || pthread_join(thread, NULL) != 0)
        exit(1);
    must(redefine_count("counted_target", one_counter, not_counted, NULL));
    int (*const functions[])(int) = {plain,
                                     by_jump,
                                     near_target,
                                     by_slot,
                                     far_target,
                                     hand_trampoline,
                                     redefine_original(original_target),
                                     counted_target,
                                     thread_target};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        target[i] = functions[i];
    struct bench bench[] = {
        {"a call", NULL, call_many, (void *)&target[0], 0},
        {"through a bare jmp", NULL, call_many, (void *)&target[1], 0},
        {"redirected, replacement within reach", "through a bare jmp", call_many, (void *)&target[2], 0},
        {"through a jmp and a jmp *slot", NULL, call_many, (void *)&target[3], 0},
        {"redirected, replacement out of reach", "through a jmp and a jmp *slot", call_many,
         (void *)&target[4], 0},
        {"a copy of the window and a jmp back", NULL, call_many, (void *)&target[5], 0},
        {"the original", "a copy of the window and a jmp back", call_many, (void *)&target[6], 0},
        {"counted", "a call", call_many, (void *)&target[7], 0},
        {"redefined for another thread", "a copy of the window and a jmp back", call_many, (void *)&target[8],
         0},
    };
    size_t variants = sizeof bench / sizeof bench[0];
    /* Rounds shorter than a time slice: on a busy machine some are not disturbed. */
    bench_run(bench, variants, 4000, 20000);
    bench_print(bench, variants);
    printf("a counted call costs %.2f ns more than a call; %llu calls counted\n",
           bench_ns(bench, variants, "counted") - bench_ns(bench, variants, "a call"),
           (unsigned long long)cell);
    printf("one that another thread has redefined for itself: %.2f ns more than a call\n",
           bench_ns(bench, variants, "redefined for another thread") - bench_ns(bench, variants, "a call"));
    return 0;
}
