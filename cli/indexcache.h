/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_INDEXCACHE_H
#define RDF_CLI_INDEXCACHE_H

#include "api/judge.h"
#include "target.h"

/* Who judges a target's functions, with that cache; `where` its debug data may lie. Free with rdf_judge_free.
 */
struct rdf_judge cli_judge_of(struct cli_target *target, enum rdf_debug_where where);

#endif
