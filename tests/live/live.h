/* SPDX-License-Identifier: MIT
 *
 * For the live tests: every case is a child process, because a crash is a result and because what one case
 * does to the process must not be seen by the next. And what a process looks like from outside: its code, its
 * mappings, its descriptors, so that a test can say "nothing changed" and mean all of it.
 *
 * Nothing here allocates or calls stdio between two looks: a test compares mappings.
 */
#ifndef TESTS_LIVE_LIVE_H
#define TESTS_LIVE_LIVE_H

#include "../support/slowdown.h"

#include <redefine/redefine.h>
#include <redefine/apply.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A function that callers really call, and of which they know nothing but its type: they must not have
 * derived from its body which registers it leaves alone (-fipa-ra), for the replacement is another body. */
#if defined(__GNUC__) && !defined(__clang__)
#define TARGET __attribute__((noipa))
#else
#define TARGET __attribute__((noinline))
#endif

#define ADDRESS(function) ((void *)(uintptr_t)(function))

#define LIVE_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- cases ---- */

/* `skipped` begins the first line of a child that skips; what follows is the reason. */
enum { LIVE_SKIPPED = 77 };
static const unsigned live_limit_s = 60;

#define CHECK(condition)                                               \
    do {                                                               \
        if (!(condition))                                              \
            live_fail(__FILE__, __LINE__, "not true: %s", #condition); \
    } while (0)

#define CHECK_INT(is, wanted)                                                         \
    do {                                                                              \
        long long is_ = (long long)(is), wanted_ = (long long)(wanted);               \
        if (is_ != wanted_)                                                           \
            live_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #is, is_, wanted_); \
    } while (0)

/* The status of a call of the library; the sentence is shown when it is another one than expected. */
#define CHECK_STATUS(is, wanted)                                                                 \
    do {                                                                                         \
        int status_ = (int)(is);                                                                 \
        if (status_ != (int)(wanted))                                                            \
            live_fail(__FILE__, __LINE__, "%s is %d (%s), not %s: %s", #is, status_,             \
                      redefine_strerror((redefine_status)status_), #wanted, redefine_explain()); \
    } while (0)

#define CHECK_OK(is) CHECK_STATUS(is, REDEFINE_OK)

/* The sentence of the last failure holds `part`. */
#define CHECK_SAYS(part)                                                                           \
    do {                                                                                           \
        if (!strstr(redefine_explain(), part))                                                     \
            live_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", redefine_explain(), part); \
    } while (0)

__attribute__((unused, noreturn, format(printf, 3, 4))) static void live_fail(const char *file, int line,
                                                                              const char *format, ...)
{
    const char *base = strrchr(file, '/');
    printf("# %s:%d: ", base ? base + 1 : file, line);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(NULL);
    _exit(1);
}

/* Ends the case: it cannot be tried here. */
__attribute__((unused, noreturn, format(printf, 1, 2))) static void live_skip(const char *format, ...)
{
    printf("skipped: ");
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(NULL);
    _exit(LIVE_SKIPPED);
}

struct live_case {
    const char *name;
    void (*body)(void);
    unsigned limit_s; /* 0: live_limit_s */
};

/* How a child ended: its exit status, else what it died of. */
struct live_end {
    bool exited, timed_out;
    int status;
};

/* What is mapped where. */
enum { LIVE_MAPS_MAX = 1024, LIVE_PAGES_MAX = 32 * 1024, LIVE_MAPS_TEXT = 256 * 1024 };

struct live_map {
    uint64_t start, end;
    char prot[5]; /* rwxp */
    char path[96];
};

struct live_maps {
    size_t count;
    struct live_map map[LIVE_MAPS_MAX];
};

#include "system.h"

/* ---- cases, run ---- */

__attribute__((unused)) static bool live_run(size_t number, const struct live_case *test)
{
    char *text;
    unsigned limit_s = (test->limit_s ? test->limit_s : live_limit_s) * test_slowdown() * LIVE_SLOWER;
    struct live_end end = live_child(number, test, limit_s, &text);
    bool skipped = end.exited && end.status == LIVE_SKIPPED;
    bool ok = end.exited && (end.status == 0 || skipped);
    printf("%sok %zu - %s", ok ? "" : "not ", number, test->name);
    char *reason = skipped ? strstr(text, "skipped: ") : NULL;
    if (skipped)
        printf(" # SKIP %s", reason ? reason + sizeof "skipped: " - 1 : "no reason given\n");
    else
        printf("\n");
    if (end.timed_out)
        printf("# took longer than %u s\n", limit_s);
    else if (!end.exited)
        printf("# ended by " LIVE_DEATH "\n", (unsigned)end.status);
    if (!skipped)
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            printf("%s%s\n", line[0] == '#' ? "" : "# ", line);
    fflush(stdout);
    return ok;
}

__attribute__((unused)) static int live_main(const struct live_case *test, size_t count)
{
    bool ok = true;
    const char *only = getenv("CASE"); /* by hand: only the cases whose name holds this */
    size_t chosen = 0;
    for (size_t i = 0; i < count; i++)
        chosen += !only || strstr(test[i].name, only);
    printf("1..%zu\n", chosen);
    chosen = 0;
    for (size_t i = 0; i < count; i++)
        if (!only || strstr(test[i].name, only))
            ok = live_run(++chosen, &test[i]) && ok;
    return ok ? 0 : 1;
}

/* ---- what a process looks like ---- */

__attribute__((unused)) static const struct live_map *live_maps_find(const struct live_maps *maps,
                                                                     uint64_t addr)
{
    for (size_t i = 0; i < maps->count; i++)
        if (addr >= maps->map[i].start && addr < maps->map[i].end)
            return &maps->map[i];
    return NULL;
}

/* No page is ever writable and executable. */
__attribute__((unused)) static const struct live_map *live_maps_writable_code(const struct live_maps *maps)
{
    for (size_t i = 0; i < maps->count; i++)
        if (maps->map[i].prot[1] == 'w' && maps->map[i].prot[2] == 'x')
            return &maps->map[i];
    return NULL;
}

/* The same goes for the sanitizers' run time. */
__attribute__((unused)) static bool live_shares_process(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return live_under_valgrind();
#endif
}

/* Everything that a change could leave behind. */
struct live_world {
    struct live_maps maps;
    size_t page_count;
    uint64_t page_addr[LIVE_PAGES_MAX]; /* of readable code, in files and the vDSO */
    uint64_t page_hash[LIVE_PAGES_MAX];
    unsigned fd_count;
    uint64_t blocked; /* a bit for each signal */
};

__attribute__((unused, no_sanitize("address"))) static uint64_t live_hash(uint64_t addr)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)addr;
    for (size_t i = 0; i < 4096 / 8; i++)
        hash = (hash ^ word[i]) * UINT64_C(0x100000001b3);
    return hash;
}

__attribute__((unused)) static void live_world_take(struct live_world *ret)
{
    live_maps_read(&ret->maps);
    ret->page_count = 0;
    for (size_t i = 0; i < ret->maps.count; i++) {
        const struct live_map *map = &ret->maps.map[i];
        for (uint64_t page = map->start;
             live_map_has_code(map) && page < map->end && ret->page_count < LIVE_PAGES_MAX; page += 4096) {
            ret->page_addr[ret->page_count] = page;
            ret->page_hash[ret->page_count++] = live_hash(page);
        }
    }
    ret->fd_count = live_fd_count();
    ret->blocked = live_blocked();
}
/* Where the first difference is; null: code, descriptors, signals and the protection of everything that was
 * mapped are as before. With `same_mappings` also nothing else is mapped. */
__attribute__((unused)) static const char *
live_world_difference(const struct live_world *before, const struct live_world *now, bool same_mappings)
{
    static char text[512];
    if (before->page_count != now->page_count) {
        snprintf(text, sizeof text, "%zu pages of code, then %zu", before->page_count, now->page_count);
        return text;
    }
    for (size_t i = 0; i < before->page_count; i++)
        if (before->page_addr[i] != now->page_addr[i] || before->page_hash[i] != now->page_hash[i]) {
            const struct live_map *map = live_maps_find(&now->maps, before->page_addr[i]);
            snprintf(text, sizeof text, "code at %#llx (%s) is another",
                     (unsigned long long)before->page_addr[i], map ? map->path : "unmapped");
            return text;
        }
    if (before->fd_count != now->fd_count) {
        snprintf(text, sizeof text, "%u descriptors, then %u", before->fd_count, now->fd_count);
        return text;
    }
    if (before->blocked != now->blocked) {
        snprintf(text, sizeof text, "the blocked signals were %#llx and are %#llx",
                 (unsigned long long)before->blocked, (unsigned long long)now->blocked);
        return text;
    }
    if (live_shares_process())
        return NULL;
    for (size_t i = 0; i < before->maps.count; i++) {
        const struct live_map *map = &before->maps.map[i];
        if (!strcmp(map->path, "[stack]")) /* it grows */
            continue;
        for (uint64_t at = map->start; at < map->end;) {
            const struct live_map *is = live_maps_find(&now->maps, at);
            /* What the engine remembers between calls is forgotten when one fails. */
            if (!is && !map->path[0] && !strcmp(map->prot, "rw-p"))
                break;
            if (!is || strcmp(is->prot, map->prot) != 0) {
                snprintf(text, sizeof text, "%#llx (%s) was %s and is %s", (unsigned long long)at, map->path,
                         map->prot, is ? is->prot : "unmapped");
                return text;
            }
            at = is->end;
        }
    }
    for (size_t i = 0; same_mappings && i < now->maps.count; i++) {
        const struct live_map *map = &now->maps.map[i];
        for (uint64_t at = map->start; at < map->end && !live_map_grows(map);) {
            const struct live_map *was = live_maps_find(&before->maps, at);
            if (!was) {
                snprintf(text, sizeof text, "%#llx-%#llx %s %s is new", (unsigned long long)map->start,
                         (unsigned long long)map->end, map->prot, map->path);
                return text;
            }
            at = was->end;
        }
    }
    return NULL;
}

#define CHECK_WORLD(before, now, same_mappings)                                      \
    do {                                                                             \
        live_world_take(now);                                                        \
        const char *difference_ = live_world_difference(before, now, same_mappings); \
        if (difference_)                                                             \
            live_fail(__FILE__, __LINE__, "not as before: %s", difference_);         \
    } while (0)

__attribute__((unused)) static struct live_world live_before, live_now;

#endif
