/* SPDX-License-Identifier: MIT
 *
 * A program in memory with an engine at work on it, and a model of what it must look like: who has
 * redefined what, in which order. Tests change both and compare.
 */
#ifndef TESTS_SUPPORT_PROGRAM_H
#define TESTS_SUPPORT_PROGRAM_H

#include "core/engine.h"
#include "support/memory_os.h"

enum {
    PROGRAM_TARGETS = 44,
    PROGRAM_REPLACEMENTS = 48,
    PROGRAM_OWNERS = 4, /* number 0: the in-process calls */
    PROGRAM_ALIASES = 4,
    PROGRAM_FUNCTIONS = PROGRAM_TARGETS + PROGRAM_REPLACEMENTS + PROGRAM_ALIASES,
};

struct model_layer {
    int owner;
    uint64_t replacement;
};

struct model_function {
    struct model_layer layer[PROGRAM_OWNERS]; /* the bottom first */
    size_t count;
    uint64_t trampoline; /* where it was first; 0: never redefined */
};

struct program {
    struct memory_os *os;
    struct rdf_engine *engine;
    uint64_t target[PROGRAM_TARGETS];
    uint64_t replacement[PROGRAM_REPLACEMENTS];
    uint64_t alias[PROGRAM_ALIASES]; /* IFUNCs; memory_os.resolver_answer says of what */
    struct model_function model[PROGRAM_TARGETS];
    void (*original[PROGRAM_TARGETS][PROGRAM_OWNERS])(void); /* where each owner reads its original */
    struct rdf_error err;                                    /* of the last commit */
};

struct program *program_new(const struct rdf_arch *arch);
/* The same, and the engine's snapshots come from memory_os too: then none is kept between commits. */
struct program *program_new_forgetful(const struct rdf_arch *arch);
void program_free(struct program *program);

/* The changes of a batch; `target` and `replacement` are indices. */
struct batch {
    struct rdf_change change[4 * PROGRAM_TARGETS];
    int owner[4 * PROGRAM_TARGETS];
    int target[4 * PROGRAM_TARGETS];
    size_t count;
};

void batch_redefine(struct program *program, struct batch *batch, int target, int replacement, int owner);
void batch_restore(struct program *program, struct batch *batch, int target, int owner);
/* Take off whatever the model says is there. */
void batch_restore_everything(struct program *program, struct batch *batch);

/* Carry the batch out; the model follows when that says REDEFINE_OK. */
redefine_status program_commit(struct program *program, const struct batch *batch);

/* The same, for one change, which must succeed. */
void program_redefine(struct program *program, int target, int replacement, int owner);
void program_restore(struct program *program, int target, int owner);

/* Where a call of `addr` arrives: at the function itself, or through jump, relay and slot. */
uint64_t program_runs(const struct program *program, uint64_t addr);

/* Compare what is there with the model: what runs, each original, what is asked, the registry; and the
 * rules of memory_os. Fails the test with a sentence. */
void program_check(const struct program *program);

/* Everything is as it was before the first redefinition, but for trampolines. */
void program_check_pristine(const struct program *program);

/* All that the engine knows, and all originals, as text: free it. */
char *program_describe(const struct program *program);

/* Snapshot that leaves out what no redefinition uses: free memory of chunks. */
struct memory_snapshot *program_take(const struct program *program);

#endif
