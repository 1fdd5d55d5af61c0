/* SPDX-License-Identifier: MIT
 *
 * What is in the counters' file. The counted programs may have written anything into it, and may still do so:
 * every number is read once and compared with its bounds.
 */
#include "count.h"

#include "cli.h"

#include "agent/count.h"

#include <stdlib.h>
#include <string.h>

/* The text at `at`, if it is one of that kind and ends; *ret_other: what it refers to. */
static const char *text_at(const struct rdf_count_file *file, uint32_t at, uint32_t kind, uint32_t *ret_other)
{
    uint64_t used = __atomic_load_n(&file->text_bytes, __ATOMIC_ACQUIRE);
    used = used < sizeof file->text ? used : sizeof file->text;
    if (at < RDF_COUNT_TEXT_ALIGN || at % RDF_COUNT_TEXT_ALIGN || at + sizeof(struct rdf_count_text) >= used)
        return NULL;
    const struct rdf_count_text *text = (const struct rdf_count_text *)(const void *)(file->text + at);
    size_t room = used - at - sizeof *text;
    if (__atomic_load_n(&text->kind, __ATOMIC_ACQUIRE) != kind || !memchr(text->text, '\0', room))
        return NULL;
    *ret_other = __atomic_load_n(&text->other, __ATOMIC_RELAXED);
    return text->text;
}

/* One entry of the file, before those of the same text are summed. */
struct entry {
    uint32_t at;
    uint64_t calls;
};

static int compare_entries(const void *a, const void *b)
{
    uint32_t left = ((const struct entry *)a)->at;
    uint32_t right = ((const struct entry *)b)->at;
    return (left > right) - (left < right);
}

static int compare_rows(const void *a, const void *b)
{
    const struct cli_count_row *left = a;
    const struct cli_count_row *right = b;
    if (left->calls != right->calls)
        return left->calls < right->calls ? 1 : -1;
    int names = strcmp(left->name, right->name);
    return names ? names : strcmp(left->object, right->object);
}

static int compare_refusals(const void *a, const void *b)
{
    const struct cli_count_refusal *left = a;
    const struct cli_count_refusal *right = b;
    int reasons = strcmp(left->reason, right->reason);
    return reasons ? reasons : strcmp(left->name, right->name);
}

static void add(const struct rdf_count_file *file, const struct entry *entry, struct cli_count_result *ret)
{
    uint32_t other, nothing;
    const char *name = text_at(file, entry->at, RDF_COUNT_FUNCTION, &other);
    const char *object = name ? text_at(file, other, RDF_COUNT_OBJECT, &nothing) : NULL;
    if (object) {
        ret->row[ret->row_count++] = (struct cli_count_row){.name = name,
                                                            .object = object,
                                                            .calls = entry->calls};
        ret->called_count += entry->calls != 0;
        ret->calls += entry->calls;
        return;
    }
    name = text_at(file, entry->at, RDF_COUNT_REFUSED, &other);
    const char *reason = name ? text_at(file, other, RDF_COUNT_REASON, &nothing) : NULL;
    if (reason)
        ret->refusal[ret->refusal_count++] = (struct cli_count_refusal){.name = name, .reason = reason};
}

bool cli_count_read(const struct rdf_count_file *file, struct cli_count_result *ret)
{
    uint64_t used = __atomic_load_n(&file->entries, __ATOMIC_ACQUIRE);
    size_t count = used < RDF_COUNT_ENTRIES_MAX ? (size_t)used : RDF_COUNT_ENTRIES_MAX;
    struct entry *entry = calloc(count + 1, sizeof *entry);
    *ret = (struct cli_count_result){.lost = __atomic_load_n(&file->lost, __ATOMIC_RELAXED)};
    ret->row = calloc(count + 1, sizeof *ret->row);
    ret->refusal = calloc(count + 1, sizeof *ret->refusal);
    if (!entry || !ret->row || !ret->refusal) {
        cli_say("no memory for the report of %zu counters", count);
        free(entry);
        cli_count_result_free(ret);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        entry[i] = (struct entry){.at = __atomic_load_n(&file->text_of[i], __ATOMIC_ACQUIRE),
                                  .calls = __atomic_load_n(&file->calls[i], __ATOMIC_RELAXED)};
    qsort(entry, count, sizeof *entry, compare_entries);
    for (size_t i = 0; i < count; i++)
        if (i + 1 < count && entry[i].at == entry[i + 1].at)
            entry[i + 1].calls += entry[i].calls;
        else
            add(file, &entry[i], ret);
    qsort(ret->row, ret->row_count, sizeof *ret->row, compare_rows);
    qsort(ret->refusal, ret->refusal_count, sizeof *ret->refusal, compare_refusals);
    free(entry);
    return true;
}

void cli_count_result_free(struct cli_count_result *result)
{
    free(result->row);
    free(result->refusal);
}
