/* SPDX-License-Identifier: MIT
 *
 * One engine per address space: resolve → inspect → plan → stop → write → publish → report.
 */
#ifndef RDF_CORE_ENGINE_H
#define RDF_CORE_ENGINE_H

#include "core/near.h"
#include "core/registry.h"
#include "core/snapshot.h"
#include "core/write.h"

enum rdf_change_kind {
    RDF_CHANGE_REDEFINE,
    RDF_CHANGE_RESTORE,
    RDF_CHANGE_SELECT, /* each thread goes its own way; `replacement` is one of them, and only looked at */
    RDF_CHANGE_COUNT,  /* send every call through the original, counted; only what was never redefined */
};

/* The owner of the layer that each thread chooses its way in. It lies above all others. */
extern const char rdf_threads;

struct rdf_change {
    enum rdf_change_kind kind;
    uint64_t target; /* as the caller named it: a stub and an IFUNC are followed */
    uint64_t replacement;
    const void *owner;       /* whose layer: null for the in-process calls */
    void (**original)(void); /* filled before the first call of the replacement; may be null */
    uint64_t counter_addr;   /* RDF_CHANGE_COUNT: 8 bytes that stay mapped */
    /* Told why this change cannot be made, which then does not fail the commit; null: it does. */
    void (*refused)(const struct rdf_change *change, const struct rdf_error *why);
    void *refused_ctx;
};

/* A replacement that a commit has looked at, in an object that stays. */
struct rdf_known {
    uint64_t addr;
    uint32_t len_bytes; /* as in struct rdf_layer */
};

enum { RDF_KNOWN = 64 };

struct commit;

struct rdf_engine {
    struct rdf_space *space;
    const struct rdf_arch *arch;
    const struct rdf_page_source *pages;
    const struct rdf_page_source *snapshot_pages;
    unsigned write_methods; /* bit per rdf_write_method */
    struct rdf_os_lock lock;
    struct rdf_near near;
    struct rdf_registry registry;
    bool catches_traps; /* the handler of traps is ours */
    struct rdf_snapshot snapshot;
    bool is_stale; /* the commit that has just failed found the snapshot wrong: it is dropped now */
    struct rdf_detours *detours; /* around what is being changed while threads run; null: nothing */
    bool keeps_code; /* the commit that has just failed left trampolines that a thread may be in */
    struct rdf_stop_report last_stop;
    /* How code was last changed, if it has been: */
    enum rdf_safety last_safety;
    enum rdf_write_method last_method;
    size_t last_edits;
    struct commit
        *under_way;   /* null: none. One that the next commit finds was left by a fork, to its child */
    uint32_t commits; /* begun and ended: odd while one is under way */
    struct rdf_known known[RDF_KNOWN];
    struct rdf_thread_word thread_word; /* see arch->emit_select */
};

/* Zeroed memory is an engine without a space; this gives it one. */
void rdf_engine_init(struct rdf_engine *engine, struct rdf_space *space, const struct rdf_arch *arch,
                     const struct rdf_page_source *pages, const struct rdf_page_source *snapshot_pages);

/* Carry out all changes in their order, or none. `caller_sp` is where the calling thread entered the
 * engine (0 when the space is not this process): its stack is searched from there.
 * The caller holds engine->lock. Errors: see redefine_func. */
redefine_status rdf_engine_commit(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                  uint64_t caller_sp, struct rdf_error *err);

/* What a fork left of another thread's commit is taken back or finished, before the registry is gone through:
 * a commit does it too. The caller holds engine->lock. */
void rdf_engine_recover(struct rdf_engine *engine);

/* The redef that an address stands for: looked up, else followed and looked up. Null when there is none.
 * The caller holds engine->lock. */
struct rdf_redef *rdf_engine_find(struct rdf_engine *engine, uint64_t target);

/* swap.c: redefine what is redefined already by one store, without a lock; may be called at any time, also
 * from a signal handler. False: not done, or a commit came in between; then it is for rdf_engine_commit. */
bool rdf_engine_swap(struct rdf_engine *engine, uint64_t target, uint64_t replacement);

/* Remember a replacement that is no stub and lies in an object that stays; ask for one. */
void rdf_engine_know(struct rdf_engine *engine, uint64_t replacement, uint32_t len_bytes);
bool rdf_engine_knows(struct rdf_engine *engine, uint64_t replacement, uint32_t *ret_len_bytes);

/* The replacement of the in-process calls that is in force; 0: none. Needs no lock. */
uint64_t rdf_engine_replacement(struct rdf_engine *engine, const struct rdf_redef *redef);

/* Bring the record up to what was stored since. */
void rdf_engine_catch_up(struct rdf_engine *engine, struct rdf_redef *redef);

#endif
