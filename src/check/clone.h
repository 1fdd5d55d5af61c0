/* SPDX-License-Identifier: MIT */
#ifndef RDF_CHECK_CLONE_H
#define RDF_CHECK_CLONE_H

#include "check/facts.h"
#include "debug/debug.h"

/* Whether the clone is one of the function that begins at `base` (an address of the file) at all, as far as
 * the index tells: sets its fit to RDF_CLONE_OTHER when it is another function. */
void rdf_clone_place(const struct rdf_debug_index *index, uint64_t base, uint64_t addr,
                     struct rdf_clone *clone, struct rdf_arena *arena);

/* Whether the clone takes the parameters of its base, by what debug data says of the two bodies. `type`: of
 * the function; may be null. Texts come from `arena`. */
void rdf_clone_compare(const struct rdf_debug_body *base, const struct rdf_debug_body *body,
                       const struct rdf_type *type, struct rdf_clone *clone, struct rdf_arena *arena);

#endif
