/* SPDX-License-Identifier: MIT
 *
 * The verdict on Go functions: what the Go package would say if it were asked to redefine them. Go's own
 * tables take the place of debug data: every program has them, stripped or not.
 */
#ifndef RDF_API_GO_JUDGE_H
#define RDF_API_GO_JUDGE_H

#include "api/go_plan.h"
#include "api/judge.h"

/* The Go convention of the images' CPU; null: it is not known in this build. */
const struct rdf_go_abi *rdf_go_abi_of(const struct rdf_images *images);

/* The function at `entry` as the package would enter it: of an assembly function the wrapper that Go code
 * calls. Errors: as rdf_go_target, rdf_go_target_begin and rdf_go_plan_way */
redefine_status rdf_go_judge_plan(struct rdf_images *images, uint64_t entry, struct rdf_go_plan *ret,
                                  struct rdf_error *err);

/* The verdicts on Go functions of one module, which ascend by start. */
redefine_status rdf_go_judge_functions(struct rdf_judge *judge, const struct rdf_function *const *function,
                                       size_t count, struct rdf_report *const *ret, struct rdf_error *err);

/* The verdict on a function that was inlined wherever it is called, and has no code.
 * REDEFINE_ENOTFOUND  there is none of that name */
redefine_status rdf_go_judge_inlined(struct rdf_judge *judge, const char *name, struct rdf_report *ret,
                                     struct rdf_error *err);

#endif
