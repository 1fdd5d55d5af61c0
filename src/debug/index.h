/* SPDX-License-Identifier: MIT
 *
 * How the index lies in memory: what scan.c, which makes it, and index.c, which reads it, agree on.
 */
#ifndef RDF_DEBUG_INDEX_H
#define RDF_DEBUG_INDEX_H

#include "debug/internal.h"

enum { INDEX_KEY_BYTES_MAX = 64 };

/* Then come the functions, the entries by address, the sites by function, and the texts. */
struct index_head {
    char magic[8];
    uint64_t sum; /* of what follows */
    uint64_t total_bytes;
    uint32_t function_count, entry_count, site_count, text_bytes;
    uint32_t key_bytes;
    uint32_t reserved;
    uint8_t key[INDEX_KEY_BYTES_MAX];
};

uint64_t rdf_index_bytes(const struct index_head *head);
void rdf_index_view(struct rdf_span blob, struct rdf_debug_index *ret);
void rdf_index_seal(struct rdf_span blob, struct rdf_span key);
/* What begins at `addr`, or null. */
const struct rdf_debug_entry *rdf_index_entry(const struct rdf_debug_index *index, uint64_t addr);
int rdf_index_compare(const char *a, const char *b);

#endif
