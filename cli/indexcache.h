/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_INDEXCACHE_H
#define RDF_CLI_INDEXCACHE_H

#include "api/judge.h"
#include "target.h"

/* The index that was kept for this build-id, in memory that rdf_os_pages gives back; false: none. */
bool cli_index_load(struct rdf_span build_id, struct rdf_debug_index *ret);

/* Keep an index that was built with the key of its build-id. That it cannot be kept is no failure. */
void cli_index_store(struct rdf_span build_id, const struct rdf_debug_index *index);

/* Who judges a target's functions, with that cache; `where` its debug data may lie. Free with rdf_judge_free.
 */
struct rdf_judge cli_judge_of(struct cli_target *target, enum rdf_debug_where where);

#endif
