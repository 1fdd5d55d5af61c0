/* SPDX-License-Identifier: MIT
 *
 * Memory near code: trampolines and relays, and the slots that relays jump through.
 *
 * One mapping serves thousands of redefinitions. A chunk is code (read, execute) followed by slots
 * (read, write), so that no page is ever writable and executable. Code is added by a write through the
 * system, the same way as to any other code; where the system refuses that, each commit gets a fresh
 * chunk that is written first and made executable afterwards (RDF_NEAR_FRESH).
 * Chunks are private mappings: a forked child gets its own copy, never the parent's to change.
 */
#ifndef RDF_CORE_NEAR_H
#define RDF_CORE_NEAR_H

#include "arch/arch.h"
#include "os/os.h"

struct rdf_near_chunk {
    uint64_t code_addr;
    uint32_t code_bytes;
    uint32_t code_used;
    uint64_t slot_addr;
    uint32_t slot_count;
    uint32_t slot_used;
    bool fresh; /* still writable and not executable: belongs to the commit under way */
    bool full;  /* was fresh once: nothing can be added any more */
};

enum { RDF_NEAR_CHUNKS_MAX = 1024 };

enum rdf_near_mode { RDF_NEAR_UNKNOWN, RDF_NEAR_WRITTEN, RDF_NEAR_FRESH };

struct rdf_near {
    struct rdf_space *space;
    const struct rdf_arch *arch;
    const struct rdf_page_source *pages;
    uint64_t frame_call_addr; /* rdf_arch_frame_call; 0: nothing that is planned here is ever run */
    enum rdf_near_mode mode;
    bool is_refused; /* the last fill failed in a way that fresh chunks avoid: mode says so now */
    size_t chunk_count;
    struct rdf_near_chunk chunk[RDF_NEAR_CHUNKS_MAX];
};

/* A place for one redefinition. */
struct rdf_near_place {
    size_t chunk;
    uint64_t code_addr;
    uint32_t code_bytes;
    uint64_t slot_addr;
};

/* What to go back to when a commit fails. */
struct rdf_near_mark {
    size_t chunk_count;
    uint32_t code_used[RDF_NEAR_CHUNKS_MAX];
    uint32_t slot_used[RDF_NEAR_CHUNKS_MAX];
};

/* Reserve `code_bytes` of code and one slot from which the entry jump at `addr` is within reach, both
 * ways,. Maps a new chunk when needed.
 * Errors: REDEFINE_ENOMEM  no free addresses within reach, or the system has no memory
 *         REDEFINE_EDENIED the system does not let us have executable memory */
redefine_status rdf_near_reserve(struct rdf_near *near, const struct rdf_maps *maps, uint64_t addr,
                                 uint32_t code_bytes, struct rdf_near_place *ret, struct rdf_error *err);

/* Give back what a place has too much; only the latest place of its chunk. */
void rdf_near_shrink(struct rdf_near *near, struct rdf_near_place *place, uint32_t code_bytes);

/* Fill places of one chunk, which lie side by side, in one go. Not live code: nothing jumps there yet. */
redefine_status rdf_near_fill(struct rdf_near *near, size_t chunk, uint64_t addr, const void *code,
                              size_t len_bytes, struct rdf_error *err);

/* The slot in place, or null where the space has no views. */
uint64_t *rdf_near_slot(const struct rdf_near *near, uint64_t slot_addr);

/* A slot is data in this space: one aligned store, at any time. */
int rdf_near_set_slot(struct rdf_near *near, uint64_t slot_addr, uint64_t value);

void rdf_near_take_mark(const struct rdf_near *near, struct rdf_near_mark *ret);

/* Make what was filled since the mark executable; on failure take everything back to the mark. */
redefine_status rdf_near_seal(struct rdf_near *near, const struct rdf_near_mark *mark, struct rdf_error *err);
void rdf_near_rollback(struct rdf_near *near, const struct rdf_near_mark *mark);

#endif
