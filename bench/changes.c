/* SPDX-License-Identifier: MIT
 *
 * What it costs to redefine and restore: one function at a time, 10,000 in one batch, ten such batches one
 * after the other, a replacement replaced; and the memory that stays. The control is the least that any way
 * must do: open /proc/self/mem, write, close.
 */
#include "bench.h"

#include <redefine/apply.h>
#include <redefine/redefine.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FUNCTIONS = 10000, BATCHES = 10, FUNCTION_BYTES = 16 };

/* Each has bounds of its own, so each is a function to the unwind table. */
__asm__(
    ".text\n.balign 64\n.globl many\nmany:\n.rept 100000\n.cfi_startproc\n.balign 16\n"
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

/* As the page tables have it: statm's number may be off by what each CPU has counted for itself. */
static long resident_bytes(void)
{
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && kilobytes < 0 && fgets(line, sizeof line, file))
        (void)sscanf(line, "Rss: %ld kB", &kilobytes);
    if (!file || kilobytes < 0)
        exit(1);
    fclose(file);
    return kilobytes * 1024;
}

/* What the process itself ran: on a busy machine the time until the end says more of the others. */
static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double commit_ms(redefine_batch *batch)
{
    double start = cpu_ms();
    must(redefine_batch_commit(batch));
    return cpu_ms() - start;
}

static void add_all(redefine_batch *batch, uint64_t from)
{
    for (uint64_t i = from; i < from + FUNCTIONS; i++)
        must(redefine_batch_add(batch, function(i), (void *)(uintptr_t)other));
}

/* 100,000 in one process, by 10,000, of which the first have been redefined before: what the last batch costs
 * against the second. */
static void batch_after_batch(void)
{
    static char saved[BATCHES * FUNCTIONS * FUNCTION_BYTES];
    memcpy(saved, many, sizeof saved);
    long before = resident_bytes();
    double ms[BATCHES];
    for (uint64_t i = 0; i < BATCHES; i++) {
        redefine_batch *batch = redefine_batch_new();
        add_all(batch, i * FUNCTIONS);
        ms[i] = commit_ms(batch);
        redefine_batch_free(batch);
    }
    long copied = (long)sizeof saved / BATCHES * (BATCHES - 1);
    long grown = resident_bytes() - before - copied;
    double start = cpu_ms();
    must(redefine_restore_all());
    printf("%d by batches of %d: the second %.1f ms, the last %.1f ms; %.0f bytes each; all restored in %.1f "
           "ms\n",
           BATCHES * FUNCTIONS, FUNCTIONS, ms[1], ms[BATCHES - 1],
           (double)grown / ((BATCHES - 1) * FUNCTIONS), cpu_ms() - start);
    if (memcmp(saved, many, sizeof saved) != 0)
        exit(1);
}

/* For how long the other threads stood still, as the library itself says. */
static unsigned stopped_us(const void *target)
{
    const char *text = strstr(redefine_describe((void *)(uintptr_t)target), "stopped for ");
    return text ? (unsigned)strtoul(text + strlen("stopped for "), NULL, 10) : 0;
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static int ascending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* "best 1.2, median 3.4" */
static const char *summary(double *value, size_t count)
{
    static char text[4][64];
    static unsigned turn;
    qsort(value, count, sizeof *value, ascending);
    char *out = text[turn++ % 4];
    (void)snprintf(out, sizeof text[0], "best %.2f, median %.2f", value[0], value[count / 2]);
    return out;
}

/* The first batch of a process, which makes every record and trampoline: each in a child of its own. In the
 * same children the control: as many writes through /proc/self/mem, one for each function. */
static void first_batches(void)
{
    enum { CHILDREN = 21 };
    double first[CHILDREN], restore[CHILDREN], ratio[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        int end[2];
        double ms[3];
        if (pipe(end) != 0)
            exit(1);
        pid_t child = fork();
        if (child == 0) {
            redefine_batch *batch = redefine_batch_new();
            add_all(batch, 0);
            ms[0] = commit_ms(batch);
            for (uint64_t k = 0; k < FUNCTIONS; k++)
                must(redefine_batch_restore(batch, function(k)));
            ms[1] = commit_ms(batch);
            double start = cpu_ms();
            write_twice(NULL, FUNCTIONS / 2);
            ms[2] = cpu_ms() - start;
            _exit(write(end[1], ms, sizeof ms) != sizeof ms);
        }
        if (child < 0 || read(end[0], ms, sizeof ms) != sizeof ms)
            exit(1);
        (void)waitpid(child, NULL, 0);
        close(end[0]);
        close(end[1]);
        first[i] = ms[0];
        restore[i] = ms[1];
        ratio[i] = ms[0] / ms[2];
    }
    printf("%d in the first batch of a process, %d processes, ms of CPU: %s", FUNCTIONS, CHILDREN,
           summary(first, CHILDREN));
    printf("; restored: %s; against one write through /proc/self/mem for each: %s\n",
           summary(restore, CHILDREN), summary(ratio, CHILDREN));
}

enum { THREADS = 4 };

static void start_threads(void)
{
    pthread_t thread;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL) != 0)
            exit(1);
}

/* The first stop of a process, in a child of its own each, whose text is still its file's. */
static void first_stops(void)
{
    enum { CHILDREN = 21 };
    double stop_us[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        int end[2];
        if (pipe(end) != 0)
            exit(1);
        pid_t child = fork();
        if (child == 0) {
            redefine_batch *batch = redefine_batch_new();
            start_threads();
            add_all(batch, 0);
            must(redefine_batch_commit(batch));
            double us = stopped_us(many);
            _exit(write(end[1], &us, sizeof us) != sizeof us);
        }
        if (child < 0 || read(end[0], &stop_us[i], sizeof stop_us[i]) != sizeof stop_us[i])
            exit(1);
        (void)waitpid(child, NULL, 0);
        close(end[0]);
        close(end[1]);
    }
    printf("with %d threads more, the first batch of a process, which stand still for so many us: %s\n",
           THREADS, summary(stop_us, CHILDREN));
}

static void with_threads(int rounds)
{
    enum { ROUNDS_MAX = 64 };
    double stop_us[ROUNDS_MAX], restore_us[ROUNDS_MAX];
    start_threads();
    redefine_batch *batch = redefine_batch_new();
    for (int round = 0; round < rounds; round++) {
        add_all(batch, 0);
        must(redefine_batch_commit(batch));
        stop_us[round] = stopped_us(many);
        must(redefine_restore_all());
        restore_us[round] = stopped_us(many);
    }
    redefine_batch_free(batch);
    printf("with %d threads more, which stand still for so many us: %s", THREADS,
           summary(stop_us, (size_t)rounds));
    printf("; for the restore: %s\n", summary(restore_us, (size_t)rounds));
}

static void many_at_once(int rounds)
{
    redefine_batch *batch = redefine_batch_new();
    double first_ms = 0, best_ms = 1e9, best_restore_ms = 1e9;
    static char saved[FUNCTIONS * FUNCTION_BYTES];
    memcpy(saved, many, sizeof saved);
    long before = resident_bytes(); /* reading all of it has mapped it in */
    for (int round = 0; round < rounds; round++) {
        add_all(batch, 0);
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
        (double)(resident_bytes() - before - copied) / FUNCTIONS);
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
    bench_run(bench, variants, 200, 20);
    bench_print(bench, variants);
    must(redefine_restore_all());
    first_batches();
    first_stops();
    many_at_once(5);
    batch_after_batch();
    with_threads(40);
    return 0;
}
