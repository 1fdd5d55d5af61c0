/* SPDX-License-Identifier: MIT
 *
 * The index: one flat piece of memory, which a file can hold as it is. From a file nothing in it is believed
 * before every number was compared with what it must be below.
 */
#include "base/order.h"
#include "debug/index.h"

/* Another number whenever the same debug data gives another index. */
static const char magic[8] = "rdfidx6";

/* Of everything behind the sum itself: a file that was changed by accident, not by intent. */
static uint64_t sum_of(struct rdf_span blob)
{
    uint64_t sum = UINT64_C(0x6a09e667f3bcc908);
    for (size_t off = offsetof(struct index_head, total_bytes); off + 8 <= blob.len_bytes; off += 8) {
        uint64_t word;
        __builtin_memcpy(&word, blob.data + off, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    return sum;
}

/* The sizes follow from the counts: each part begins where the former ends. */
static uint64_t layout(const struct index_head *head, uint64_t *ret_entry, uint64_t *ret_site,
                       uint64_t *ret_text)
{
    uint64_t off = sizeof *head + (uint64_t)head->function_count * sizeof(struct rdf_debug_function);
    *ret_entry = off;
    off += (uint64_t)head->entry_count * sizeof(struct rdf_debug_entry);
    *ret_site = off;
    off += (uint64_t)head->site_count * sizeof(struct rdf_debug_site);
    *ret_text = off;
    return (off + head->text_bytes + 7) & ~UINT64_C(7);
}

uint64_t rdf_index_bytes(const struct index_head *head)
{
    uint64_t entry, site, text;
    return layout(head, &entry, &site, &text);
}

void rdf_index_view(struct rdf_span blob, struct rdf_debug_index *ret)
{
    const struct index_head *head = (const void *)blob.data;
    uint64_t entry, site, text;
    (void)layout(head, &entry, &site, &text);
    *ret = (struct rdf_debug_index){.blob = blob,
                                    .function = (const void *)(blob.data + sizeof *head),
                                    .entry = (const void *)(blob.data + entry),
                                    .site = (const void *)(blob.data + site),
                                    .text = (const char *)(blob.data + text),
                                    .function_count = head->function_count,
                                    .entry_count = head->entry_count,
                                    .site_count = head->site_count,
                                    .text_bytes = head->text_bytes};
}

void rdf_index_seal(struct rdf_span blob, struct rdf_span key)
{
    struct index_head *head = (struct index_head *)(uintptr_t)blob.data;
    rdf_bytes_copy(head->magic, magic, sizeof magic);
    head->total_bytes = blob.len_bytes;
    head->key_bytes = (uint32_t)(key.len_bytes < INDEX_KEY_BYTES_MAX ? key.len_bytes : INDEX_KEY_BYTES_MAX);
    rdf_bytes_copy(head->key, key.data, head->key_bytes);
    if (head->key_bytes)
        head->sum = sum_of(blob);
}

/* ---- Checking what came from a file ---- */

static bool functions_hold(const struct rdf_debug_index *index)
{
    for (uint32_t i = 0; i < index->function_count; i++) {
        const struct rdf_debug_function *function = &index->function[i];
        if (function->name >= index->text_bytes || function->plain >= index->text_bytes ||
            function->decl_file >= index->text_bytes || function->first_site > index->site_count ||
            function->site_count > index->site_count - function->first_site)
            return false;
    }
    return true;
}

static bool entries_hold(const struct rdf_debug_index *index)
{
    for (uint32_t i = 0; i < index->entry_count; i++)
        if (index->entry[i].function >= index->function_count ||
            (i && index->entry[i].addr < index->entry[i - 1].addr))
            return false;
    return true;
}

static bool sites_hold(const struct rdf_debug_index *index)
{
    for (uint32_t i = 0; i < index->site_count; i++) {
        const struct rdf_debug_site *site = &index->site[i];
        if (site->caller >= index->function_count || site->via >= index->function_count ||
            site->file >= index->text_bytes)
            return false;
    }
    return true;
}

bool rdf_debug_index_from(struct rdf_span blob, struct rdf_span key, struct rdf_debug_index *ret)
{
    const struct index_head *head = (const void *)blob.data;
    struct rdf_debug_index index;
    if (blob.len_bytes < sizeof *head || (uintptr_t)blob.data % 8 != 0 ||
        !rdf_bytes_equal(head->magic, magic, sizeof magic) || head->total_bytes != blob.len_bytes ||
        rdf_index_bytes(head) != blob.len_bytes || key.len_bytes > INDEX_KEY_BYTES_MAX ||
        head->key_bytes != key.len_bytes || !rdf_bytes_equal(head->key, key.data, key.len_bytes) ||
        head->sum != sum_of(blob) || head->text_bytes == 0)
        return false;
    rdf_index_view(blob, &index);
    if (index.text[index.text_bytes - 1] != '\0' || !functions_hold(&index) || !entries_hold(&index) ||
        !sites_hold(&index))
        return false;
    *ret = index;
    return true;
}

void rdf_debug_index_move(struct rdf_debug_index *index, uint8_t *to)
{
    struct rdf_span blob = {to, index->blob.len_bytes};
    __builtin_memcpy(to, index->blob.data, blob.len_bytes);
    rdf_index_view(blob, index);
}

/* ---- Searching ---- */

const struct rdf_debug_entry *rdf_index_entry(const struct rdf_debug_index *index, uint64_t addr)
{
    size_t i = RDF_FIRST_FROM(index->entry, index->entry_count, addr, addr);
    return i < index->entry_count && index->entry[i].addr == addr ? &index->entry[i] : NULL;
}

const struct rdf_debug_function *rdf_debug_index_at(const struct rdf_debug_index *index, uint64_t addr)
{
    const struct rdf_debug_entry *entry = rdf_index_entry(index, addr);
    return entry ? &index->function[entry->function] : NULL;
}

int rdf_index_compare(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

uint32_t rdf_debug_index_named(const struct rdf_debug_index *index, const char *name, uint32_t *ret_first)
{
    uint32_t low = 0, high = index->function_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rdf_index_compare(index->text + index->function[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_first = low;
    while (low < index->function_count &&
           rdf_index_compare(index->text + index->function[low].name, name) == 0)
        low++;
    return low - *ret_first;
}
