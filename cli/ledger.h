/* SPDX-License-Identifier: MIT
 *
 * What is redefined in a process, read from the agent's ledger (agent/ledger.h) while the process runs on.
 */
#ifndef RDF_CLI_LEDGER_H
#define RDF_CLI_LEDGER_H

#include "process.h"

/* Prints it to standard output. False: a sentence has been said. */
bool cli_ledger_print(const struct cli_process *process, bool json);

/* Whether a file redefines something there; "": whether any does. False: it cannot be read, and that has been
 * said. */
bool cli_ledger_has(const struct cli_process *process, const char *path, bool *ret);

/* Whether the agent that is in the process, if any, is the one that this command would load: a second one
 * knew nothing of what the first has changed. */
bool cli_ledger_has_our_agent(const struct cli_process *process);

#endif
