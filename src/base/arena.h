/* SPDX-License-Identifier: MIT
 *
 * Memory for the records of one operation: taken piece by piece, given back all at once.
 *
 * The engine never calls malloc: a program may have redefined it, and a thread that is stopped may
 * hold its lock. An arena takes whole chunks from a source that the caller names (pages of the
 * operating system; in tests a source that fails the Nth time).
 */
#ifndef RDF_BASE_ARENA_H
#define RDF_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct rdf_page_source {
    void *(*get)(void *ctx, size_t len_bytes); /* zeroed, page aligned; null when there is none */
    void (*put)(void *ctx, void *pages, size_t len_bytes);
    void *ctx;
    /* All of them will be written to soon: cheaper together than one after the other. Null: nothing to do. */
    void (*touch)(void *ctx, void *pages, size_t len_bytes);
    bool takes_zeroed; /* what is put back is to be zero again, as what get gave */
};

struct rdf_arena {
    const struct rdf_page_source *source;
    struct rdf_arena_chunk *chunk; /* newest first */
    size_t used_bytes;             /* of the newest chunk */
};

void rdf_arena_init(struct rdf_arena *arena, const struct rdf_page_source *source);

/* Zeroed memory, aligned for any object; null when the source has no more. */
void *rdf_arena_alloc(struct rdf_arena *arena, size_t len_bytes);

/* The same, aligned for words of 8 bytes: where many small records must not waste what lies between them. */
void *rdf_arena_alloc_words(struct rdf_arena *arena, size_t len_bytes);

/* A copy of `text` (at most `len` bytes of it) with a terminating NUL; null when out of memory. */
char *rdf_arena_copy(struct rdf_arena *arena, const char *text, size_t len_bytes);

/* A point to go back to: everything allocated since is given back. */
struct rdf_arena_mark {
    struct rdf_arena_chunk *chunk;
    size_t used_bytes;
};
struct rdf_arena_mark rdf_arena_take_mark(const struct rdf_arena *arena);
void rdf_arena_rollback(struct rdf_arena *arena, struct rdf_arena_mark mark);

/* Gives back everything that was allocated; one chunk is kept for what comes. */
void rdf_arena_empty(struct rdf_arena *arena);

/* What it has taken from its source. */
size_t rdf_arena_bytes(const struct rdf_arena *arena);

/* Gives every chunk back. The arena may be used again. */
void rdf_arena_free(struct rdf_arena *arena);

#endif
