/* SPDX-License-Identifier: MIT
 *
 * What the agent's parts share.
 */
#ifndef RDF_AGENT_AGENT_H
#define RDF_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>

/* A line on standard error, in one write. */
void rdf_agent_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether `object`, a path as the mappings have it, is this agent. */
bool rdf_agent_is_self(const char *object);

/* Count the calls of every function that one of the patterns names, into the file at `path`. False: it has
 * been said why, and nothing is counted. `is_first`: the program is the one that the command named, so it
 * must not be silent. */
bool rdf_agent_count(const char *path, const char *const *glob, size_t glob_count, bool is_first);

#endif
