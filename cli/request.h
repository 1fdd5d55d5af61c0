/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_REQUEST_H
#define RDF_CLI_REQUEST_H

#include "cli.h"

#include <stdio.h>
#include <sys/types.h>

/* The patches that the arguments name, as items of agent/request.h. */
struct cli_request {
    FILE *out; /* writes into `text`, until cli_request_end */
    char *text;
    size_t text_bytes;
    size_t patches;
    bool verbose;
    bool force;
    bool clones;
};

bool cli_request_begin(struct cli_request *request);
bool cli_request_end(struct cli_request *request);
void cli_request_free(struct cli_request *request);

/* --patch P.so and --replace NAME=P.so:SYMBOL. False: a sentence has been said. */
bool cli_request_patch(struct cli_request *request, const char *name);
bool cli_request_replace(struct cli_request *request, const char *text);

/* Whether the patches fit what they redefine in a program (its path) or, when there is one, in a process; the
 * clones that go with it are added to the request. `refusal` ends the sentences that say why not. */
bool cli_request_pass(struct cli_request *request, const char *path, pid_t pid, const char *refusal);

/* Whether the agent can get into the program; says why not, and `otherwise`. */
bool cli_check_program(const char *name, const struct cli_program *program, const char *otherwise);

/* The agent's path: beside the command in a build directory, else where it is installed. Null: it has been
 * said. */
char *cli_find_agent(void);

#endif
