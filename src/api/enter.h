/* SPDX-License-Identifier: MIT
 *
 * The engine of this process, for the files of this folder.
 */
#ifndef RDF_API_ENTER_H
#define RDF_API_ENTER_H

#include "core/engine.h"

/* The engine, locked, until rdf_api_leave. On failure *err says why, and nothing is locked. */
redefine_status rdf_api_enter(struct rdf_engine **ret_engine, struct rdf_error *err);
void rdf_api_leave(void);

#endif
