/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_BODILESS_H
#define RDF_CLI_BODILESS_H

#include "api/judge.h"

/* The verdict on a function of the program whose name led to no code, `why_not` being what the search for it
 * gave: every call was inlined, or only clones are left. REDEFINE_ENOTFOUND: nobody knows it. */
redefine_status cli_bodiless_judge(struct rdf_judge *judge, const char *name, redefine_status why_not,
                                   struct rdf_report *ret, struct rdf_error *err);

#endif
