/* SPDX-License-Identifier: MIT
 *
 * An index that was kept in a file, which anybody may have written: what is taken for one answers every
 * question without a read outside of it, and what its head promises is its whole length.
 *
 * The input's first byte says whether its sum, its length and its key are made right first (else the fuzzer
 * would never come past them); the rest is the file.
 */
#include "check/sites.h"
#include "debug/index.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEALED = 1, KEY_BYTES = 20 };

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    void *pages = NULL;
    if (len_bytes > (64 << 20) || posix_memalign(&pages, 4096, len_bytes) != 0)
        return NULL;
    return memset(pages, 0, len_bytes);
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx, (void)len_bytes;
    free(pages);
}

static bool count_site(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    uint64_t *sum = ctx;
    *sum += site->addr + site->line + is_self;
    return true;
}

/* Every number leads to something that is in the file. */
static void ask_function(const struct rdf_debug_index *index, uint32_t number, struct rdf_arena *arena)
{
    const struct rdf_debug_function *function = &index->function[number];
    struct rdf_check_debug debug;
    uint64_t sum = 0;
    uint32_t first;
    sum += strlen(index->text + function->name) + strlen(index->text + function->plain);
    rdf_check_each_site(index, function, count_site, &sum);
    uint32_t count = rdf_debug_index_named(index, index->text + function->name, &first);
    require(first <= index->function_count && count <= index->function_count - first);
    require(rdf_check_sites(index, function, 16, arena, &debug));
    require(debug.inlined_count <= debug.inlined_total);
    for (size_t i = 0; i < debug.inlined_count; i++)
        sum += strlen(debug.inlined[i].caller) + (debug.inlined[i].file ? strlen(debug.inlined[i].file) : 0);
    sum += debug.decl_file ? strlen(debug.decl_file) : 0;
    __asm__ volatile("" : : "r"(sum));
}

static void ask(const struct rdf_debug_index *index)
{
    static const struct rdf_page_source source = {.get = get_pages, .put = put_pages};
    struct rdf_arena arena;
    rdf_arena_init(&arena, &source);
    for (uint32_t i = 0; i < index->function_count && i < 32; i++)
        ask_function(index, i, &arena);
    for (uint32_t i = 0; i < index->entry_count && i < 32; i++) {
        const struct rdf_debug_function *found = rdf_debug_index_at(index, index->entry[i].addr);
        require(found >= index->function && found < index->function + index->function_count);
    }
    rdf_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t id[KEY_BYTES] = "the key of this file";
    struct rdf_span key = {id, sizeof id};
    struct rdf_debug_index index = {0};
    if (size < 1)
        return 0;
    size_t bytes = size - 1;
    uint8_t *copy = malloc(bytes ? bytes : 1);
    require(copy);
    memcpy(copy, data + 1, bytes);
    struct rdf_span blob = {copy, bytes};
    if (data[0] & SEALED && bytes >= sizeof(struct index_head))
        rdf_index_seal(blob, key);
    if (rdf_debug_index_from(blob, key, &index)) {
        require(index.blob.data == copy && index.blob.len_bytes == bytes);
        ask(&index);
    }
    free(copy);
    return 0;
}
