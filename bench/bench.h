/* SPDX-License-Identifier: MIT
 *
 * Measuring: every variant runs in turn, many rounds, and the best round of each counts: what disturbs a
 * round can only make it slower. Ratios against a control of the same run travel; times do not.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BENCH_VARIANTS_MAX = 16 };

struct bench {
    const char *name;
    const char *control; /* the variant that this one is compared with; null: it is a control */
    void (*run)(void *ctx, uint64_t count);
    void *ctx;
    double best_ns;
};

static inline double bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline void bench_run(struct bench *bench, size_t variants, int rounds, uint64_t count)
{
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < variants; i++) {
            double start = bench_now_ns();
            bench[i].run(bench[i].ctx, count);
            double each = (bench_now_ns() - start) / (double)count;
            if (round == 0 || each < bench[i].best_ns)
                bench[i].best_ns = each;
        }
}

static inline double bench_ns(const struct bench *bench, size_t variants, const char *name)
{
    for (size_t i = 0; i < variants; i++)
        if (__builtin_strcmp(bench[i].name, name) == 0)
            return bench[i].best_ns;
    fprintf(stderr, "bench: there is no variant %s\n", name);
    exit(1);
}

/* A table, and the same as data for the plot when BENCH_DATA names a file. */
static inline void bench_print(const struct bench *bench, size_t variants)
{
    const char *path = getenv("BENCH_DATA");
    FILE *data = path ? fopen(path, "w") : NULL;
    printf("%-58s %9s  %s\n", "", "ns each", "ratio to its control");
    for (size_t i = 0; i < variants; i++) {
        printf("%-58s %9.2f", bench[i].name, bench[i].best_ns);
        if (bench[i].control)
            printf("  %.3f of \"%s\"", bench[i].best_ns / bench_ns(bench, variants, bench[i].control),
                   bench[i].control);
        printf("\n");
        if (data)
            fprintf(data, "\"%s\" %.4f %.4f\n", bench[i].name, bench[i].best_ns,
                    bench[i].control ? bench[i].best_ns / bench_ns(bench, variants, bench[i].control) : 1.0);
    }
    if (data)
        fclose(data);
}

#endif
