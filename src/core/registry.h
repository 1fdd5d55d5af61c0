/* SPDX-License-Identifier: MIT
 *
 * What is redefined. A function enters the registry with its first redefinition and stays: its trampoline
 * may be called for as long as the code is mapped, and the next redefinition reuses it.
 *
 * Looking up takes no lock, so that a replacement may ask for its original at any moment, from a signal
 * handler too. Adding is done under the engine's lock, in two steps: reserve what is needed, which may
 * fail and be rolled back; add, which cannot fail.
 */
#ifndef RDF_CORE_REGISTRY_H
#define RDF_CORE_REGISTRY_H

#include "core/redef.h"

/* Addresses → records that begin with their address; open addressing. */
struct rdf_table;

/* Another address of a record. */
struct rdf_alias {
    uint64_t addr;
    void *record;
};

/* A table with room for `count` entries, copying what `from` (or null) has. Null: no memory. */
struct rdf_table *rdf_table_new(struct rdf_arena *arena, const struct rdf_table *from, size_t count);

/* Room for `more` entries: the table itself, or a bigger copy from `arena`. Null: no memory. */
struct rdf_table *rdf_table_grow(struct rdf_arena *arena, struct rdf_table *table, size_t more);

/* The address will soon be looked for or inserted: its places lie anywhere, and get into the cache meanwhile.
 */
void rdf_table_expect(const struct rdf_table *table, uint64_t addr);

/* In place of what is known by that address. Returns whether a record (not an alias) was. */
bool rdf_table_insert(struct rdf_table *table, void *record);
bool rdf_table_insert_alias(struct rdf_table *table, struct rdf_alias *alias);

/* The record known by the address, its own or an alias. Or null. */
void *rdf_table_find(const struct rdf_table *table, uint64_t addr);

/* The next record known by an address in [*at, end), which then is behind it. Null: there is none. For who
 * holds the engine's lock. */
void *rdf_table_find_within(const struct rdf_table *table, uint64_t *at, uint64_t end);

/* The next record (no alias) from place *at on, which begins at 0; null behind the last. */
void *rdf_table_next(const struct rdf_table *table, size_t *at);

struct rdf_registry {
    struct rdf_arena arena;
    struct rdf_table *table;   /* entry, and alias, → redef */
    struct rdf_table *pending; /* bigger; becomes `table` when it is published */
    struct rdf_layer *spare_layers;
    size_t count;                   /* redefs */
    struct rdf_selector *selectors; /* one for each function that was ever redefined for a thread */
};

void rdf_registry_init(struct rdf_registry *registry, const struct rdf_page_source *pages);

/* The redef known under `addr`: its entry, or another address that was followed to it. Or null. */
struct rdf_redef *rdf_registry_find(const struct rdf_registry *registry, uint64_t addr);

/* Null: the function was never redefined for a thread. */
const struct rdf_selector *rdf_registry_selector(const struct rdf_registry *registry, uint64_t entry);

struct rdf_registry_mark {
    struct rdf_registry registry;
    struct rdf_arena_mark arena;
};
void rdf_registry_take_mark(const struct rdf_registry *registry, struct rdf_registry_mark *ret);
void rdf_registry_rollback(struct rdf_registry *registry, const struct rdf_registry_mark *mark);
/* After a change that is neither made nor taken back: what was added and never published is not there. */
void rdf_registry_abandon(struct rdf_registry *registry, const struct rdf_registry_mark *mark);

/* Make sure that adding so many keys and layers cannot fail. False: no memory. */
bool rdf_registry_reserve(struct rdf_registry *registry, size_t keys, size_t layers);

void rdf_registry_add(struct rdf_registry *registry, struct rdf_redef *redef);
void rdf_registry_add_alias(struct rdf_registry *registry, struct rdf_alias *alias);
struct rdf_layer *rdf_registry_take_layer(struct rdf_registry *registry);
void rdf_registry_give_layer(struct rdf_registry *registry, struct rdf_layer *layer);

/* Readers see what was added. */
void rdf_registry_publish(struct rdf_registry *registry);

#endif
