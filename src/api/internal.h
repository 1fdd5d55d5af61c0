/* SPDX-License-Identifier: MIT
 *
 * What the files of the API share.
 */
#ifndef RDF_API_INTERNAL_H
#define RDF_API_INTERNAL_H

#include "base/error.h"

/* Keep a failure as this thread's last one, for redefine_explain; returns its status. */
redefine_status rdf_api_keep(const struct rdf_error *err);

/* REDEFINE_EINVAL with that sentence, kept. */
redefine_status rdf_api_refuse(const char *sentence);

#endif
