/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>

struct rdf_arena_chunk {
    struct rdf_arena_chunk *older;
    size_t len_bytes;
    size_t touched_bytes; /* so far the source has been told of what will be used */
};

/* tests/unit/commit.c takes every piece from the source by itself, so that each can be refused. */
#ifndef RDF_ARENA_CHUNK_BYTES
#define RDF_ARENA_CHUNK_BYTES (256 * 1024)
#endif

enum { CHUNK_BYTES = RDF_ARENA_CHUNK_BYTES, TOUCH_BYTES = 32 * 1024, ALIGN = alignof(max_align_t) };

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static const size_t header_bytes = (sizeof(struct rdf_arena_chunk) + ALIGN - 1) / ALIGN * ALIGN;

void rdf_arena_init(struct rdf_arena *arena, const struct rdf_page_source *source)
{
    *arena = (struct rdf_arena){.source = source};
}

static int add_chunk(struct rdf_arena *arena, size_t len_bytes)
{
    size_t chunk_bytes = round_up(header_bytes + len_bytes, CHUNK_BYTES);
    struct rdf_arena_chunk *chunk = arena->source->get(arena->source->ctx, chunk_bytes);
    if (!chunk)
        return 0;
    chunk->touched_bytes = arena->chunk ? 0 : TOUCH_BYTES; /* most arenas need no more */
    chunk->older = arena->chunk;
    chunk->len_bytes = chunk_bytes;
    arena->chunk = chunk;
    arena->used_bytes = header_bytes;
    return 1;
}

/* Up to `end` of the newest chunk, and what comes next. */
static void touch(const struct rdf_arena *arena, size_t end)
{
    struct rdf_arena_chunk *chunk = arena->chunk;
    size_t from = chunk->touched_bytes;
    size_t to = round_up(end, TOUCH_BYTES);
    chunk->touched_bytes = to < chunk->len_bytes ? to : chunk->len_bytes;
    if (arena->source->touch && from < chunk->touched_bytes)
        arena->source->touch(arena->source->ctx, (char *)chunk + from, chunk->touched_bytes - from);
}

static void *take(struct rdf_arena *arena, size_t len_bytes, size_t align)
{
    if (len_bytes > SIZE_MAX / 4)
        return NULL;
    size_t len = len_bytes ? len_bytes : 1;
    size_t at = round_up(arena->used_bytes, align);
    if (!arena->chunk || at > arena->chunk->len_bytes || arena->chunk->len_bytes - at < len) {
        if (!add_chunk(arena, len))
            return NULL;
        at = arena->used_bytes;
    }
    arena->used_bytes = at + len;
    if (arena->used_bytes > arena->chunk->touched_bytes)
        touch(arena, arena->used_bytes);
    return (char *)arena->chunk + at;
}

void *rdf_arena_alloc(struct rdf_arena *arena, size_t len_bytes)
{
    return take(arena, len_bytes, ALIGN);
}

void *rdf_arena_alloc_words(struct rdf_arena *arena, size_t len_bytes)
{
    return take(arena, len_bytes, sizeof(uint64_t));
}

char *rdf_arena_copy(struct rdf_arena *arena, const char *text, size_t len_bytes)
{
    char *copy = rdf_arena_alloc(arena, len_bytes + 1);
    for (size_t i = 0; copy && i < len_bytes; i++)
        copy[i] = text[i];
    return copy;
}

struct rdf_arena_mark rdf_arena_take_mark(const struct rdf_arena *arena)
{
    return (struct rdf_arena_mark){arena->chunk, arena->used_bytes};
}

void rdf_arena_empty(struct rdf_arena *arena)
{
    struct rdf_arena_mark mark = {arena->chunk, header_bytes};
    while (mark.chunk && mark.chunk->older)
        mark.chunk = mark.chunk->older;
    if (mark.chunk)
        rdf_arena_rollback(arena, mark);
}

static void zero(void *bytes, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        ((char *)bytes)[i] = 0;
}

void rdf_arena_rollback(struct rdf_arena *arena, struct rdf_arena_mark mark)
{
    size_t used_bytes = arena->used_bytes;
    while (arena->chunk != mark.chunk) {
        struct rdf_arena_chunk *newest = arena->chunk;
        struct rdf_arena_chunk *older = newest->older;
        size_t len_bytes = newest->len_bytes;
        size_t zero_bytes = arena->source->takes_zeroed ? used_bytes : 0;
        /* First, and in this order: a fork may copy what is here. */
        used_bytes = older ? older->len_bytes : 0;
        __atomic_store_n(&arena->used_bytes, used_bytes, __ATOMIC_RELAXED);
        __atomic_store_n(&arena->chunk, older, __ATOMIC_RELEASE);
        zero(newest, 0, zero_bytes);
        arena->source->put(arena->source->ctx, newest, len_bytes);
    }
    /* Memory is handed out zeroed: what is given back must be zero again. */
    zero(arena->chunk, mark.used_bytes, used_bytes);
    arena->used_bytes = mark.used_bytes;
}

size_t rdf_arena_bytes(const struct rdf_arena *arena)
{
    size_t bytes = 0;
    for (const struct rdf_arena_chunk *chunk = arena->chunk; chunk; chunk = chunk->older)
        bytes += chunk->len_bytes;
    return bytes;
}

void rdf_arena_free(struct rdf_arena *arena)
{
    rdf_arena_rollback(arena, (struct rdf_arena_mark){NULL, 0});
}
