/* SPDX-License-Identifier: MIT
 *
 * Damaged debug data, and a damaged index of it, must give answers or sentences: no crash, no read outside of
 * the file, no endless loop, no memory out of proportion. A function's type compared with itself never
 * differs.
 *
 * The first 16 bytes of the input choose what is asked; the rest is the file, which is also every other file
 * that it names.
 */
#include "check/clone.h"
#include "check/compare.h"
#include "check/sites.h"
#include "debug/index.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHOICE_BYTES = 16, KEEP_BYTES = 96 << 20, TYPES_ASKED = 6 };

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

struct file {
    struct rdf_span span;
    bool is_everywhere;
    size_t open;
};

static int open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    struct file *file = space->os;
    (void)dev, (void)ino;
    if (strcmp(path, "/fuzzed") != 0 && !file->is_everywhere)
        return -ENOENT;
    file->open++;
    *ret = file->span;
    return 0;
}

static void close_file(struct rdf_space *space, struct rdf_span span)
{
    struct file *file = space->os;
    (void)span;
    file->open--;
}

static size_t pages_bytes;

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    if (len_bytes > KEEP_BYTES - pages_bytes)
        return NULL;
    void *pages = NULL;
    if (posix_memalign(&pages, 4096, len_bytes) != 0)
        return NULL;
    memset(pages, 0, len_bytes);
    pages_bytes += len_bytes;
    return pages;
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    pages_bytes -= len_bytes;
    free(pages);
}

static const struct rdf_page_source source = {.get = get_pages, .put = put_pages};

static bool count_site(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    (void)is_self;
    *(uint64_t *)ctx += site->line;
    return true;
}

/* Everything that can be asked of an index. */
static void ask_index(const struct rdf_debug_index *index)
{
    for (uint32_t i = 0; i < index->function_count && i < 64; i++) {
        const struct rdf_debug_function *function = &index->function[i];
        uint64_t lines = 0;
        uint32_t first;
        (void)strlen(index->text + function->name);
        (void)strlen(index->text + function->decl_file);
        rdf_check_each_site(index, function, count_site, &lines);
        uint32_t count = rdf_debug_index_named(index, index->text + function->name, &first);
        require(first + count <= index->function_count);
    }
    for (uint32_t i = 0; i < index->entry_count && i < 64; i++)
        require(rdf_debug_index_at(index, index->entry[i].addr) != NULL);
}

static void ask_type(struct rdf_debug *debug, const struct rdf_debug_function *function,
                     struct rdf_arena *arena)
{
    struct rdf_error err = {0};
    const struct rdf_type *type = NULL;
    struct rdf_report report = {0};
    if (rdf_debug_type(debug, function, &type, &err) != REDEFINE_OK) {
        require(!type && err.sentence[0]);
        return;
    }
    /* A type fits itself; that its function is called in a way of the compiler's own is another matter. */
    if (rdf_check_compare(type, type, arena, &report, &err) == REDEFINE_OK)
        require(report.hazard_count == type->is_nocall);
}

/* Two bodies, and whether a replacement of one would do for the other; it would for the body itself, if
 * anything is known of its parameters. */
static void ask_bodies(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t addr,
                       uint64_t other_addr, struct rdf_arena *arena)
{
    struct rdf_error err = {0};
    struct rdf_debug_body body, other;
    struct rdf_clone clone = {.name = "clone"};
    if (rdf_debug_body(debug, index, addr, &body, &err) != REDEFINE_OK) {
        require(err.sentence[0]);
        return;
    }
    rdf_clone_compare(&body, &body, NULL, &clone, arena);
    require(clone.fit == RDF_CLONE_FITS || clone.fit == RDF_CLONE_UNTOLD);
    rdf_clone_place(index, addr, other_addr, &clone, arena);
    if (rdf_debug_body(debug, index, other_addr, &other, &err) == REDEFINE_OK)
        rdf_clone_compare(&body, &other, NULL, &clone, arena);
}

static void ask_line(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t start,
                     uint8_t off)
{
    const char *file = NULL;
    uint32_t line = 0;
    if (rdf_debug_line(debug, index, start, start + off, &file, &line))
        require(line && strlen(file) < SIZE_MAX);
    else
        require(!file && !line);
}

/* The same index with some of its bytes changed, and its sum made right again. */
static void ask_damaged_index(const struct rdf_debug_index *index, const uint8_t *choice)
{
    size_t bytes = index->blob.len_bytes;
    uint8_t *copy = malloc(bytes);
    struct rdf_span key = {choice, 4};
    struct rdf_debug_index damaged;
    if (!copy)
        return;
    memcpy(copy, index->blob.data, bytes);
    for (int i = 0; i < 4; i++) {
        size_t at = (size_t)(choice[4 + i] | choice[8 + i] << 8) % bytes;
        copy[at] ^= choice[12];
    }
    rdf_index_seal((struct rdf_span){copy, bytes}, key);
    if (rdf_debug_index_from((struct rdf_span){copy, bytes}, key, &damaged))
        ask_index(&damaged);
    free(copy);
}

static void ask(struct rdf_debug *debug, const uint8_t *choice, struct rdf_arena *arena)
{
    struct rdf_debug_index index;
    struct rdf_error err = {0};
    if (rdf_debug_build_index(debug, &source, (struct rdf_span){choice, 4}, &index, &err) != REDEFINE_OK) {
        require(err.sentence[0]);
        return;
    }
    struct rdf_debug_index again;
    require(rdf_debug_index_from(index.blob, (struct rdf_span){choice, 4}, &again));
    ask_index(&index);
    for (uint32_t i = 0; i < index.function_count && i < TYPES_ASKED; i++)
        ask_type(debug, &index.function[(i * 7u + choice[1]) % index.function_count], arena);
    for (uint32_t i = 0; i < index.entry_count && i < TYPES_ASKED; i++)
        ask_bodies(debug, &index, index.entry[(i * 5u + choice[2]) % index.entry_count].addr,
                   index.entry[(i * 3u + choice[3]) % index.entry_count].addr, arena);
    for (uint32_t i = 0; i < index.entry_count && i < TYPES_ASKED; i++)
        ask_line(debug, &index, index.entry[i].addr, choice[4 + i % 4]);
    ask_damaged_index(&index, choice);
    put_pages(NULL, (void *)(uintptr_t)index.blob.data, index.blob.len_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rdf_space_ops ops = {.open_file = open_file, .close_file = close_file};
    if (size < CHOICE_BYTES)
        return 0;
    struct file file = {.span = {data + CHOICE_BYTES, size - CHOICE_BYTES}, .is_everywhere = data[0] & 1};
    struct rdf_space space = {.ops = &ops, .os = &file};
    struct rdf_arena arena;
    struct rdf_debug *debug = NULL;
    struct rdf_error err = {0};
    rdf_arena_init(&arena, &source);
    if (rdf_debug_open(&space, &arena, "/fuzzed", 0, 0, data[0] & 2 ? RDF_DEBUG_ANYWHERE : RDF_DEBUG_INSIDE,
                       &debug, &err) == REDEFINE_OK) {
        ask(debug, data, &arena);
        rdf_debug_close(debug);
    } else {
        require(!debug && err.sentence[0]);
    }
    require(file.open == 0);
    rdf_arena_free(&arena);
    require(pages_bytes == 0);
    return 0;
}
