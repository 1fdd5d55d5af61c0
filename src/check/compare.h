/* SPDX-License-Identifier: MIT */
#ifndef RDF_CHECK_COMPARE_H
#define RDF_CHECK_COMPARE_H

#include "check/check.h"
#include "debug/debug.h"

/* Add a hazard for each difference between two functions' types that a call would notice. */
redefine_status rdf_check_compare(const struct rdf_type *target, const struct rdf_type *replacement,
                                  struct rdf_arena *arena, struct rdf_report *report, struct rdf_error *err);

bool rdf_type_is_signed(const struct rdf_type *type); /* a base type */

#endif
