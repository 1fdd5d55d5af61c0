/* SPDX-License-Identifier: MIT
 *
 * What it costs to redefine and restore: one function at a time, 10,000 in one batch, a replacement replaced;
 * and the memory that stays. The control is the least that any way must do: open /proc/self/mem, write,
 * close.
 */
#include "bench.h"

#include <redefine/apply.h>
#include <redefine/redefine.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FUNCTIONS = 10000, FUNCTION_BYTES = 16 };

/* Each has bounds of its own, so each is a function to the unwind table. */
__asm__(
    ".text\n.balign 64\n.globl many\nmany:\n.rept 10000\n.cfi_startproc\n.balign 16\n"
    " push %rbx\n mov %edi, %ebx\n lea 1(%rbx), %eax\n pop %rbx\n ret\n.balign 16\n.cfi_endproc\n.endr\n");
extern char many[];

static int other(int value)
{
    return value + 2;
}

static int another(int value)
{
    return value + 3;
}

static void must(redefine_status status)
{
    if (status != REDEFINE_OK) {
        fprintf(stderr, "bench: %s\n", redefine_explain());
        exit(1);
    }
}

static void *function(uint64_t index)
{
    return many + index * FUNCTION_BYTES;
}

static void redefine_and_restore(void *ctx, uint64_t count)
{
    (void)ctx;
    for (uint64_t i = 0; i < count; i++) {
        must(redefine_func(function(7), (void *)(uintptr_t)other));
        must(redefine_func_restore(function(7)));
    }
}

static void replace_replacement(void *ctx, uint64_t count)
{
    (void)ctx;
    for (uint64_t i = 0; i < count; i++)
        must(redefine_func(function(9), (void *)(uintptr_t)(i % 2 ? other : another)));
}

/* The same number of writes as a redefinition and a restore. */
static void write_twice(void *ctx, uint64_t count)
{
    static char page[4096];
    (void)ctx;
    for (uint64_t i = 0; i < 2 * count; i++) {
        int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
        if (fd < 0 || pwrite(fd, "abcde", 5, (off_t)(uintptr_t)page) != 5)
            exit(1);
        close(fd);
    }
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*s %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static double commit_ms(redefine_batch *batch)
{
    double start = bench_now_ns();
    must(redefine_batch_commit(batch));
    return (bench_now_ns() - start) / 1e6;
}

static void many_at_once(int rounds)
{
    redefine_batch *batch = redefine_batch_new();
    double first_ms = 0, best_ms = 1e9, best_restore_ms = 1e9;
    long before = resident_bytes();
    static char saved[FUNCTIONS * FUNCTION_BYTES];
    memcpy(saved, many, sizeof saved);
    long text = resident_bytes(); /* reading all of it maps it in */
    for (int round = 0; round < rounds; round++) {
        for (uint64_t i = 0; i < FUNCTIONS; i++)
            must(redefine_batch_add(batch, function(i), (void *)(uintptr_t)other));
        double ms = commit_ms(batch);
        first_ms = round == 0 ? ms : first_ms;
        best_ms = ms < best_ms ? ms : best_ms;
        for (uint64_t i = 0; i < FUNCTIONS; i++)
            if (((int (*)(int))(uintptr_t)function(i))(1) != 3)
                exit(1);
        for (uint64_t i = 0; i < FUNCTIONS; i++)
            must(redefine_batch_restore(batch, function(i)));
        ms = commit_ms(batch);
        best_restore_ms = ms < best_restore_ms ? ms : best_restore_ms;
        if (memcmp(saved, many, sizeof saved) != 0)
            exit(1);
    }
    redefine_batch_free(batch);
    long copied = sizeof saved; /* pages of text that were written are private now */
    printf("%d in one batch: first %.1f ms, again %.1f ms, restore %.1f ms\n", FUNCTIONS, first_ms, best_ms,
           best_restore_ms);
    printf(
        "resident memory: %+.2f MB, of which %.2f MB are text that became private; %.0f bytes each besides\n",
        (double)(resident_bytes() - before) / 1e6, (double)copied / 1e6,
        (double)(resident_bytes() - text - copied) / FUNCTIONS);
}

int main(void)
{
    must(redefine_func(function(9), (void *)(uintptr_t)other));
    struct bench bench[] = {
        {"two writes through /proc/self/mem, nothing else", NULL, write_twice, NULL, 0},
        {"redefine and restore one function", "two writes through /proc/self/mem, nothing else",
         redefine_and_restore, NULL, 0},
        {"replace a replacement", NULL, replace_replacement, NULL, 0},
    };
    size_t variants = sizeof bench / sizeof bench[0];
    bench_run(bench, variants, 20, 200);
    bench_print(bench, variants);
    must(redefine_restore_all());
    many_at_once(5);
    return 0;
}
