/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_GATE_H
#define RDF_CLI_GATE_H

#include <stdbool.h>

/* Whether a program may be started with these patches (items of a request, agent/request.h), as far as the
 * debug data inside of its objects and of the patches tells: false when a replacement has another signature
 * or another layout of what it is given, and that has been said. Copies that will not be replaced are
 * warned of. */
bool cli_gate(const char *program, const char *items);

#endif
