/* SPDX-License-Identifier: MIT
 *
 * The Go functions of this process that were redefined, for the files of this folder. The caller holds the
 * engine's lock.
 */
#ifndef RDF_API_GO_FUNCTION_H
#define RDF_API_GO_FUNCTION_H

#include "core/shape.h"
#include "go/parked.h"
#include "go/target.h"

/* One function that was redefined, for good: its code may be entered for as long as the program runs. */
struct rdf_go_function {
    struct rdf_go_function *next;
    uint64_t entry;
    struct rdf_go_record *record;
    struct rdf_go_code code;
    struct rdf_edit edit;
    struct rdf_edit call; /* of an instantiation's own function: its call of the shape's; no bytes: none … */
    struct rdf_go_wrapper wrapper;  /* … and what it was */
    struct rdf_go_function **other; /* … and the other bodies that its dictionary reaches: go/target.h */
    size_t other_count;
    uint64_t body;                             /* of one that may be entered behind its check; else 0 */
    struct rdf_pc_pair pcs[RDF_GO_POINTS_MAX]; /* instructions that begin inside the edit */
    size_t pc_count;
    uint64_t goroutines_addr; /* not 0: a goroutine can be parked at one of them; see go/parked.h */
    bool is_generic;
    bool is_active;
    uint64_t dictionary;    /* of a generic one: the first, which its relay knows … */
    uint8_t position;       /* … and where it looks for it */
    uint64_t replacement;   /* for everyone; 0: the original */
    size_t in_force;        /* how many replacements, all goroutines' and dictionaries' together … */
    size_t goroutine_count; /* … and those of goroutines */
};

/* Null: it was never redefined. */
struct rdf_go_function *rdf_api_go_find(uint64_t entry);

struct rdf_go_adding {
    const struct rdf_go_abi *abi;
    const struct rdf_go_target *target;
    uint64_t g;        /* the calling goroutine's record */
    uint8_t registers; /* as in struct rdf_go_emit */
};

/* Of an instantiation's own functions the one that was redefined (Go 1.19 makes one wherever a func value is
 * asked for); null: none. */
struct rdf_go_function *rdf_api_go_find_own(uint64_t shape, uint64_t dictionary);

/* Find a place for the code of a function that was never redefined, and remember it. Changes no code that
 * runs. Errors: as rdf_shape_place; REDEFINE_EUNSUPPORTED, ESHORT: no way in fits */
redefine_status rdf_api_go_add(struct rdf_engine *engine, const struct rdf_go_adding *adding,
                               struct rdf_go_function **ret, struct rdf_error *err);

/* Of the other bodies that were found, those that calls with the target's dictionary can go to: added where
 * they were not yet. `ret` has room for all. Errors: as rdf_api_go_add, with a sentence that says which body
 */
redefine_status rdf_api_go_others(struct rdf_engine *engine, const struct rdf_go_adding *adding,
                                  const struct rdf_go_function *shape, const struct rdf_go_others *others,
                                  struct rdf_go_function **ret, size_t *ret_count, struct rdf_error *err);

/* REDEFINE_EUNSUPPORTED: the relay of a generic function looks for dictionaries elsewhere. */
redefine_status rdf_api_go_fits(const struct rdf_go_function *function, const struct rdf_go_target *target,
                                struct rdf_error *err);

/* The function of an instantiation's own calls the original of its shape's, as long as it is redefined. */
struct rdf_go_leading {
    const struct rdf_go_abi *abi;
    const struct rdf_go_wrapper *wrapper;
    const struct rdf_go_function *shape;
    struct rdf_go_function *const *other; /* copied */
    size_t other_count;
};
redefine_status rdf_api_go_lead(struct rdf_engine *engine, const struct rdf_go_leading *leading,
                                struct rdf_go_function *own, struct rdf_error *err);

struct rdf_go_change {
    struct rdf_go_function *function;
    /* Of a generic one: the instantiation's, which gets the same, as its other bodies do; else null. */
    struct rdf_go_function *own;
    uint64_t dictionary;
    uint64_t goid;    /* 0: for everyone */
    uint64_t closure; /* 0: the original */
};

/* Let `closure` be in force for a goroutine, or everyone, and of a generic function for the users of the
 * dictionary. All or nothing. Errors: as rdf_shape_switch */
redefine_status rdf_api_go_change(struct rdf_engine *engine, const struct rdf_go_change *change,
                                  uint64_t caller_sp, struct rdf_error *err);

#endif
