/* SPDX-License-Identifier: MIT
 *
 * The records of one commit while it is under way: what the files that carry it out know of each other.
 */
#ifndef RDF_CORE_COMMIT_H
#define RDF_CORE_COMMIT_H

#include "core/engine.h"

/* A function that the commit touches, with the stack of layers it will have. */
struct touched {
    struct touched *next;
    struct rdf_redef *redef;
    struct rdf_near_place place; /* of a new one: where its code goes … */
    const uint8_t *code;         /* … and what it is; null: known already */
    uint32_t code_bytes;
    struct rdf_layer *top;
    size_t layer_count;
    bool was_active;
    bool is_left_out;
    uint64_t direct_to;   /* as it will be: see struct rdf_redef */
    uint64_t branched_to; /* see struct rdf_taken */
    uint64_t counter_addr;
    const struct rdf_change *change; /* the last one that added a layer */
};

struct alias {
    struct alias *next;
    uint64_t addr;
    struct rdf_redef *redef;
};

struct commit {
    struct rdf_engine *engine;
    struct rdf_error *err;
    struct rdf_arena arena;    /* for the time of the commit */
    struct rdf_images *images; /* the engine's snapshot */
    struct rdf_table *fresh;   /* entry → redef of the new ones */
    struct rdf_table *index;   /* entry → touched, by address of its redef's key */
    struct touched *first, **last;
    struct alias *alias;
    size_t new_count, alias_count, layer_count;
};

/* commit.c */
redefine_status rdf_commit_no_memory(struct commit *commit);
/* Whether the function was not in the registry before this commit. */
bool rdf_commit_is_new(const struct commit *commit, const struct rdf_redef *redef);

/* branches.c: for each new function the first of its bytes to be overwritten, behind the entry, that
 * something else leads to: touched->branched_to. */
redefine_status rdf_commit_find_branches(struct commit *commit);

#endif
