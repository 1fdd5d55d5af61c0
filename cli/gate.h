/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_GATE_H
#define RDF_CLI_GATE_H

#include <stdbool.h>
#include <sys/types.h>

struct cli_gate_question {
    const char *program; /* its path */
    pid_t pid;           /* not 0: the objects of this process, instead */
    const char *refusal; /* the end of a sentence that refuses */
    const char *items;   /* of the request (agent/request.h): patches, and names with what replaces them */
    bool takes_clones;   /* clones that take the same parameters are to be redefined too */
    bool is_forced;      /* nothing is refused */
};

/* Whether a program may get these patches, as far as the debug data of its objects and of the
 * patches tells: null when a replacement has another signature or another layout of what it is given, or
 * would be called by nobody, and that has been said. Copies and clones that will not be replaced are warned
 * of. Else a new string: the items, with the clones that are taken along. */
char *cli_gate(const struct cli_gate_question *question);

#endif
