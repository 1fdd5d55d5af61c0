/* SPDX-License-Identifier: MIT
 *
 * What the agent's parts share.
 */
#ifndef RDF_AGENT_AGENT_H
#define RDF_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>

struct rdf_errand;

/* What is being done, for the sentences: the start of the program, or an errand in one that runs. */
struct rdf_agent_work {
    struct rdf_errand *errand; /* null: the start; what is said goes to standard error */
    const char *otherwise;     /* what follows from a failure: "date is not started" */
    bool lenient;              /* a program that lacks a function runs without the patch, and says so */
    bool verbose;
};
extern struct rdf_agent_work rdf_agent_work;

/* A line on standard error, in one write; of an errand, in its answer. */
void rdf_agent_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Cuts the string at the next `mark` and returns what lies before it; *rest null at the end. */
char *rdf_agent_cut(char **rest, char mark);

/* Whether `object`, a path as the mappings have it, is this agent. */
bool rdf_agent_is_self(const char *object);

/* Count the calls of every function that one of the patterns names, into the file at `path`. False: it has
 * been said why, and nothing is counted. `is_first`: the program is the one that the command named, so it
 * must not be silent. */
bool rdf_agent_count(const char *path, const char *const *glob, size_t glob_count, bool is_first);

/* patch.c: what an item of a request asks for (agent/request.h), with the fields behind its kind. False: it
 * has been said why; of this item nothing is in force. */
bool rdf_agent_patch(char *fields);   /* patch */
bool rdf_agent_replace(char *fields); /* name */
bool rdf_agent_restore(char *fields); /* restore */

/* Load the file of a patch or a name, of which nothing is in force yet; false as above. */
bool rdf_agent_load(char *fields);

/* Every item of an errand, or of the start, has been done: what it replaces may go. Or one could not be:
 * nothing of it stays. */
bool rdf_agent_keep_all(void);
void rdf_agent_take_all_back(void);

#endif
