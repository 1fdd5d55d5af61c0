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

#include "base/arena.h"
#include "core/plan.h"

/* One owner's redefinition of a function. */
struct rdf_layer {
    struct rdf_layer *below;
    const void *owner; /* null: the in-process calls; else what identifies a patch file */
    uint64_t replacement;
    uint64_t replacement_end; /* behind the replacement's last byte, where that is known; else 0 */
    void (**original)(void);  /* where the owner reads its original; null: it asks */
};

struct rdf_redef {
    struct rdf_window window;
    struct rdf_edit edit; /* old_bytes → new_bytes, the jump to the relay, while it is in force … */
    uint64_t
        direct_to; /* … unless the jump leads straight to this replacement, within reach; 0: it does not */
    const struct rdf_edit *extra; /* more of them: padding, branches */
    size_t extra_count;
    uint64_t relay_addr;
    uint64_t trampoline_addr;
    uint64_t slot_addr;
    const struct rdf_pc_pair *pcs;
    size_t pc_count;
    struct rdf_layer *top;   /* the newest layer; null: not redefined now */
    uint64_t asked_original; /* what redefine_func_original answers; 0: not redefined */
    uint64_t asked_replacement;
    uint64_t last_replacement; /* of the in-process calls, also after a restore; [start, end) */
    uint64_t last_replacement_end;
    enum rdf_write_method method;
};

/* Addresses → redefs; open addressing. */
struct rdf_table;

/* A table with room for `count` entries, copying what `from` (or null) has. Null: no memory. */
struct rdf_table *rdf_table_new(struct rdf_arena *arena, const struct rdf_table *from, size_t count);
void rdf_table_insert(struct rdf_table *table, uint64_t key, struct rdf_redef *redef);
struct rdf_redef *rdf_table_find(const struct rdf_table *table, uint64_t key);

struct rdf_registry {
    struct rdf_arena arena;
    struct rdf_table *table;   /* published; older ones stay mapped for readers that are late */
    struct rdf_table *pending; /* the bigger one that a commit under way will publish */
    struct rdf_layer *spare_layers;
    struct rdf_redef **redef;
    size_t count;
    size_t capacity;
};

void rdf_registry_init(struct rdf_registry *registry, const struct rdf_page_source *pages);

/* The redef known under `addr`: its entry, or another address that was followed to it. Or null. */
struct rdf_redef *rdf_registry_find(const struct rdf_registry *registry, uint64_t addr);

struct rdf_registry_mark {
    struct rdf_registry registry;
    struct rdf_arena_mark arena;
};
void rdf_registry_take_mark(const struct rdf_registry *registry, struct rdf_registry_mark *ret);
void rdf_registry_rollback(struct rdf_registry *registry, const struct rdf_registry_mark *mark);

/* Make sure that adding so many keys, redefs and layers cannot fail. False: no memory. */
bool rdf_registry_reserve(struct rdf_registry *registry, size_t keys, size_t redefs, size_t layers);

void rdf_registry_add(struct rdf_registry *registry, struct rdf_redef *redef);
void rdf_registry_add_alias(struct rdf_registry *registry, uint64_t addr, struct rdf_redef *redef);
struct rdf_layer *rdf_registry_take_layer(struct rdf_registry *registry);
void rdf_registry_give_layer(struct rdf_registry *registry, struct rdf_layer *layer);

/* Readers see what was added. */
void rdf_registry_publish(struct rdf_registry *registry);

#endif
