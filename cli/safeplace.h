/* SPDX-License-Identifier: MIT
 *
 * Where a thread may be borrowed (os/borrow.h): it is not inside of what pthread_create needs. That is memory
 * allocation, whose locks it may hold, or which takes none in a program of one thread, and the loader.
 */
#ifndef RDF_CLI_SAFEPLACE_H
#define RDF_CLI_SAFEPLACE_H

#include "target.h"

#include "os/borrow.h"

struct cli_places;

/* What is known of the process' objects; null: no memory. */
struct cli_places *cli_places_new(struct cli_target *target, pid_t pid);
void cli_places_free(struct cli_places *places);

/* Whether a thread that is stopped there, by this process, may be borrowed. False: *ret_why says what it
 * does. *ret_stack_start is the lowest byte of its stack. */
bool cli_places_are_safe(struct cli_places *places, pid_t tid, const struct rdf_borrow_place *place,
                         uint64_t *ret_stack_start, const char **ret_why);

#endif
