/* SPDX-License-Identifier: MIT
 *
 * How the command tells the preloaded agent what to do: environment variables, since nothing else passes
 * through an exec into a program that knows nothing of us. In processes that are not to be patched the agent
 * takes them away before the program looks.
 */
#ifndef RDF_AGENT_REQUEST_H
#define RDF_AGENT_REQUEST_H

/* What to do, in order. Items end with ITEM; fields of an item are separated by FIELD:
 *     count  FIELD path FIELD glob [FIELD glob]…     (the file of src/agent/count.h)
 *     patch  FIELD path [FIELD name FIELD clone]…
 *     name   FIELD path FIELD symbol FIELD name [FIELD clone]…      (--replace NAME=P.so:SYMBOL)
 * and of an errand in a program that runs (os/errand.h), beside patch and name:
 *     verbose
 *     restore  FIELD path                               (everything of that file; "": of all)
 * A clone gets the replacement that the patch has for the name. */
#define RDF_REQUEST_ENV   "REDEFINE_REQUEST"
#define RDF_REQUEST_ITEM  '\036'
#define RDF_REQUEST_FIELD '\037'
enum { RDF_REQUEST_GLOBS_MAX = 64 };

/* The process that was started: it stays patched through every exec that it makes itself (a wrapper script
 * becomes the program in the end); what it starts in other processes only with RDF_FLAG_FOLLOW. */
#define RDF_REQUEST_PID_ENV "REDEFINE_PID"

/* A letter each. */
#define RDF_REQUEST_FLAGS_ENV "REDEFINE_FLAGS"
enum {
    RDF_FLAG_FOLLOW = 'f',
    RDF_FLAG_VERBOSE = 'v',
    RDF_FLAG_FIRST = '1', /* the program that the command names; the agent makes it RDF_FLAG_LATER */
    RDF_FLAG_LATER = '2',
};

enum { RDF_EXIT_OWN_FAILURE = 125 };

#endif
