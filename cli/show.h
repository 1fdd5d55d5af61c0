/* SPDX-License-Identifier: MIT
 *
 * What is shown of any plan, whoever made it.
 */
#ifndef RDF_CLI_SHOW_H
#define RDF_CLI_SHOW_H

#include "core/plan.h"
#include "disassembly.h"
#include "target.h"

struct cli_shown {
    const char *name;
    const struct rdf_function *function; /* whose entry is changed */
    struct rdf_span code;                /* of it */
    const char *strategy;
    uint64_t displaced_end; /* behind the instructions that do not run there any more */
    struct rdf_edit edit;   /* at the entry */
    const struct rdf_edit *extra;
    size_t extra_count;
    uint64_t relay_addr, trampoline_addr;
    struct rdf_span relay, trampoline;
};

/* Name, object, bounds and strategy. */
void cli_show_head(const struct cli_view *view, const struct cli_shown *shown);
void cli_show_json(const struct cli_view *view, const struct cli_shown *shown);

/* go.c: the plan of the Go package for the function at `entry`. Errors: as rdf_go_judge_plan */
redefine_status cli_go_show(const struct cli_view *view, struct cli_target *target, const char *name,
                            uint64_t entry, bool is_json, struct rdf_error *err);

#endif
