/* SPDX-License-Identifier: MIT
 *
 * Instructions as text, with arrows for the branches among them, at 80 columns.
 */
#ifndef RDF_CLI_DISASSEMBLY_H
#define RDF_CLI_DISASSEMBLY_H

#include "arch/arch.h"

#include <jansson.h>

struct cli_view {
    const struct rdf_arch *arch;
    bool has_colour;
};

/* A terminal's code for a colour, or nothing. */
const char *cli_paint(const struct cli_view *view, const char *code);

/* One instruction: address, bytes (those that do not fit go on in a second line), text, note. Returns its
 * length. */
size_t cli_print_insn(const struct cli_view *view, uint64_t addr, struct rdf_span code, const char *mark,
                      const char *colour, const char *note);

/* Instructions from `start` on, as many as are worth looking at, with arrows; those that begin before
 * `marked_end` are marked. */
void cli_print_code(const struct cli_view *view, uint64_t start, struct rdf_span code, uint64_t marked_end);

/* [{"address", "bytes", "text", "marked", "target"}], all of them; "target" only of branches and calls. */
json_t *cli_json_code(const struct cli_view *view, uint64_t start, struct rdf_span code, uint64_t marked_end);

#endif
