/* SPDX-License-Identifier: MIT
 *
 * A line on the terminal that says how far something has come; also the command's.
 */
#ifndef RDF_AGENT_PROGRESS_H
#define RDF_AGENT_PROGRESS_H

#include <stddef.h>

/* A rdf_progress_tell, and a redefine_progress: shown on standard error when that is a terminal and a second
 * has passed since the first call; with done == total it is wiped away. */
void rdf_agent_show_progress(void *ctx, const char *what, size_t done, size_t total);

#endif
