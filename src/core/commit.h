/* SPDX-License-Identifier: MIT
 *
 * The records of one commit while it is under way: what the files that carry it out know of each other.
 */
#ifndef RDF_CORE_COMMIT_H
#define RDF_CORE_COMMIT_H

#include "core/engine.h"

/* A function that the commit touches, with the stack of layers it will have. What is gone through while the
 * world stands still comes first. */
struct touched {
    uint64_t entry;
    struct touched *next;
    struct rdf_redef *redef; /* null: new, and not planned yet */
    struct rdf_layer *top;
    uint32_t edits; /* to be made */
    bool was_active;
    bool is_new;    /* was not in the registry, or only as something else that was mapped there */
    bool is_direct; /* as it will be: see struct rdf_redef */
    bool is_data;   /* the next change of replacement may be one of data alone: see swap.c */
    bool is_called; /* directly, by what else is in its object */
    bool is_left_out;
    struct rdf_layer first;       /* room for one of the layers */
    struct rdf_function function; /* of a new one; the rest is told by its record once there is one */
    uint64_t patched_start; /* of a new one: what will be overwritten, and what is left of a displaced … */
    uint64_t patched_end;   /* … loop, which must not run either: nothing else may lead there */
    uint64_t branched_to;   /* see struct rdf_taken */
    const struct rdf_reliance *reliance; /* what its relay has to keep; null: nothing */
    uint64_t counter_addr;
    const struct rdf_change *change; /* the last one that added a layer */
};

/* A record that is in use, or owners that read their originals: not looked for among all that are touched
 * while the world stands still. */
struct late {
    struct rdf_redef *redef;
    const struct touched *touched; /* null: nothing is left of the redefinition */
};

/* Another address of a touched function; kept in the registry's arena. */
struct alias {
    struct alias *next;
    struct touched *touched;
    struct rdf_alias *known;
};

/* Lies in its own arena: in a child of fork the stacks of the other threads are nobody's. */
struct commit {
    struct rdf_engine *engine;
    struct rdf_error *err;
    struct rdf_arena arena;    /* for the time of the commit */
    struct rdf_images *images; /* the engine's snapshot */
    struct rdf_table *index;   /* entry, and padding, → touched */
    struct touched *first, **last;
    struct late *late; /* what can change only while the world stands still */
    size_t touched_count, late_count;
    struct alias *alias;
    size_t new_count, alias_count;
    /* What check_replacement found last: many functions of a batch may have one replacement. */
    uint64_t replacement, replacement_runs;
    uint32_t replacement_bytes;
    /* Per chunk the code of this commit, as far as it is known, from where the commit began to fill it. */
    uint8_t **staged;
    struct rdf_arena one;    /* what belongs to the function that is being planned */
    struct rdf_write *write; /* null: it has not come to that */
    /* What was there before, to go back to. */
    const struct rdf_near_mark *mark;
    struct rdf_registry_mark registry_mark;
    bool caught_traps;
};

/* inspect.c: where the handler of traps continues, 0 when the trap is none of ours; `ctx` is the engine. */
uint64_t rdf_commit_where_from_trap(void *ctx, uint64_t addr);

static inline redefine_status rdf_commit_no_memory(struct commit *commit)
{
    return rdf_fail(commit->err, REDEFINE_ENOMEM, "no memory for the records of this change");
}

/* commit.c */
redefine_status rdf_commit_note_alias(struct commit *commit, uint64_t addr, struct touched *touched);
/* A change that need not succeed: its reason is noted and the commit goes on without it. */
bool rdf_commit_leave_out(struct commit *commit, const struct rdf_change *change);

static inline struct touched *rdf_commit_find(const struct commit *commit, uint64_t entry)
{
    return rdf_table_find(commit->index, entry);
}

/* resolve.c: which function each change means, and what its stack of layers will be. */
redefine_status rdf_commit_resolve(struct commit *commit, const struct rdf_change *change, size_t count);

/* inspect.c: windows, trampolines and edits of the functions that are new, one after the other; of each only
 * its record and its code is kept. */
redefine_status rdf_commit_inspect(struct commit *commit);

/* Where the code of this commit for a place is put together, zeroed. Null: no memory. */
uint8_t *rdf_commit_stage(struct commit *commit, const struct rdf_near_place *place);

/* select.c: the code that selects by thread for a function; made when it has none yet. */
redefine_status rdf_commit_select(struct commit *commit, uint64_t entry, const struct rdf_selector **ret);

/* branches.c: for each new function the first of its bytes to be overwritten, behind the entry, that
 * something else leads to: touched->branched_to; and whether anything calls it: touched->is_called. */
redefine_status rdf_commit_find_branches(struct commit *commit);

/* preserve.c: what callers of the new functions rely on beyond the ABI: touched->reliance. */
redefine_status rdf_commit_find_reliance(struct commit *commit);

/* edits.c: every edit that takes the functions from what they are to what they will be, or none. */
redefine_status rdf_commit_write(struct commit *commit, uint64_t caller_sp);

/* publish.c: what can be set before anything leads there; and the rest, in the stopped world (`ctx` is the
 * commit): only stores. */
redefine_status rdf_commit_prepare(struct commit *commit);
size_t rdf_commit_layers(const struct commit *commit);
void rdf_commit_publish(void *ctx);

#endif
