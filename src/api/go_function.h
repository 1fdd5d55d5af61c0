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
    struct rdf_pc_pair pcs[RDF_GO_POINTS_MAX]; /* instructions that begin inside the edit */
    size_t pc_count;
    uint64_t goroutines_addr; /* not 0: a goroutine can be parked at one of them; see go/parked.h */
    bool is_generic;
    bool is_active, becomes_active;
    uint64_t replacement;                     /* for everyone; 0: the original */
    size_t goroutine_count, dictionary_count; /* choices that are in force */
    size_t goroutine_room, dictionary_room;
};

/* Null: it was never redefined. */
struct rdf_go_function *rdf_api_go_find(uint64_t entry);

/* Find a place for the code of a function that was never redefined, and remember it. Changes no code that
 * runs. `g` is the calling goroutine's record. Errors: as rdf_shape_place; REDEFINE_EUNSUPPORTED, ESHORT: no
 * way in fits */
redefine_status rdf_api_go_add(struct rdf_engine *engine, const struct rdf_go_abi *abi,
                               const struct rdf_go_target *target, uint64_t g, uint64_t caller_sp,
                               struct rdf_go_function **ret, struct rdf_error *err);

/* Let `closure` be in force for a goroutine, for the users of the target's dictionary, or for everyone; 0:
 * the original. All or nothing. Errors: as rdf_shape_switch */
redefine_status rdf_api_go_change(struct rdf_engine *engine, struct rdf_go_function *function,
                                  const struct rdf_go_target *target, uint64_t goid, uint64_t closure,
                                  uint64_t caller_sp, struct rdf_error *err);

#endif
