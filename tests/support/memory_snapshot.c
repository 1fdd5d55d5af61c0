/* SPDX-License-Identifier: MIT
 *
 * An operating system in memory, before and after.
 */
#include "support/memory_os.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

struct memory_snapshot {
    struct memory_region region[MEMORY_REGIONS_MAX];
    size_t region_count;
    struct rdf_thread thread[MEMORY_THREADS_MAX];
    struct {
        uint64_t start, end;
    } ignored[MEMORY_REGIONS_MAX];
    size_t ignored_count;
};

struct memory_snapshot *memory_os_take(const struct memory_os *os)
{
    struct memory_snapshot *snapshot = calloc(1, sizeof *snapshot);
    snapshot->region_count = os->region_count;
    memcpy(snapshot->thread, os->thread, sizeof os->thread);
    for (size_t i = 0; i < os->region_count; i++) {
        const struct memory_region *from = &os->region[i];
        struct memory_region *to = &snapshot->region[i];
        size_t len = from->end - from->start;
        *to = *from;
        to->bytes = malloc(len);
        to->prot = malloc(len / PAGE);
        memcpy(to->bytes, from->bytes, len);
        memcpy(to->prot, from->prot, len / PAGE);
    }
    return snapshot;
}

void memory_snapshot_free(struct memory_snapshot *snapshot)
{
    for (size_t i = 0; snapshot && i < snapshot->region_count; i++) {
        free(snapshot->region[i].bytes);
        free(snapshot->region[i].prot);
    }
    free(snapshot);
}

void memory_snapshot_ignore(struct memory_snapshot *snapshot, uint64_t start, uint64_t end)
{
    if (snapshot->ignored_count == MEMORY_REGIONS_MAX) {
        fprintf(stderr, "# memory_snapshot: too many ranges ignored\n");
        abort();
    }
    snapshot->ignored[snapshot->ignored_count].start = start;
    snapshot->ignored[snapshot->ignored_count++].end = end;
}

static bool is_ignored(const struct memory_snapshot *snapshot, uint64_t addr)
{
    for (size_t i = 0; i < snapshot->ignored_count; i++)
        if (addr >= snapshot->ignored[i].start && addr < snapshot->ignored[i].end)
            return true;
    return false;
}

const char *memory_os_difference(const struct memory_os *os, const struct memory_snapshot *snapshot)
{
    static char text[160];
    for (size_t i = 0; i < os->region_count || i < snapshot->region_count; i++) {
        const struct memory_region *now = i < os->region_count ? &os->region[i] : NULL;
        const struct memory_region *then = i < snapshot->region_count ? &snapshot->region[i] : NULL;
        if (!now || !then || now->start != then->start || now->end != then->end) {
            (void)snprintf(text, sizeof text, "mappings differ: 0x%" PRIx64 " now, 0x%" PRIx64 " before",
                           now ? now->start : 0, then ? then->start : 0);
            return text;
        }
        size_t len = now->end - now->start;
        for (size_t page = 0; page < len / PAGE; page++)
            if (now->prot[page] != then->prot[page]) {
                (void)snprintf(text, sizeof text, "the page at 0x%" PRIx64 " has protection %d, had %d",
                               now->start + page * PAGE, now->prot[page], then->prot[page]);
                return text;
            }
        if (memcmp(now->bytes, then->bytes, len) == 0)
            continue;
        for (size_t off = 0; off < len; off++)
            if (now->bytes[off] != then->bytes[off] && !is_ignored(snapshot, now->start + off)) {
                (void)snprintf(text, sizeof text, "the byte at 0x%" PRIx64 " is %02x, was %02x",
                               now->start + off, now->bytes[off], then->bytes[off]);
                return text;
            }
    }
    for (size_t i = 0; i < os->thread_count; i++)
        if (os->thread[i].pc != snapshot->thread[i].pc) {
            (void)snprintf(text, sizeof text, "thread %d is at 0x%" PRIx64 ", was at 0x%" PRIx64,
                           os->thread[i].tid, os->thread[i].pc, snapshot->thread[i].pc);
            return text;
        }
    return NULL;
}
