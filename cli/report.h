/* SPDX-License-Identifier: MIT
 *
 * What `check` found, for people and for programs.
 */
#ifndef RDF_CLI_REPORT_H
#define RDF_CLI_REPORT_H

#include "check/check.h"

#include <stdio.h>

/* A function with its hazards, one a line. Names come from files: nothing in them speaks to the terminal. */
void cli_report_print(FILE *out, const struct rdf_report *report, bool colour);

/* All of them as JSON, schema 1, in one line. False: no memory, or it could not be written. */
bool cli_report_json(FILE *out, const struct rdf_report *report, size_t count);

#endif
