/* SPDX-License-Identifier: MIT
 *
 * Have the agent in a process that runs do something: a thread there is borrowed, makes another one, and that
 * one carries the request out.
 */
#ifndef RDF_CLI_ERRAND_H
#define RDF_CLI_ERRAND_H

#include "process.h"

/* The items of `request` (agent/request.h). `what` is how sentences call it: "attach". What the agent has to
 * say is said. True: it is done. */
bool cli_errand_run(const struct cli_process *process, const char *what, const char *agent,
                    const char *request);

#endif
