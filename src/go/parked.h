/* SPDX-License-Identifier: MIT
 *
 * Goroutines that do not run: where they go on is on their stacks, and nobody but the runtime knows them. Its
 * list of all goroutines has no symbol in a stripped program; it is found by what it must look like.
 *
 * Source: runtime2.go, type g: stack.lo, stack.hi, two guards, three pointers, sched (sp, pc, g); proc.go,
 * allgs. The same from Go 1.19 to 1.26; the search refuses anything else.
 */
#ifndef RDF_GO_PARKED_H
#define RDF_GO_PARKED_H

#include "image/go.h"

/* The address of the slice of all goroutines; `g` is the record of the calling one, which must be in it.
 * REDEFINE_EVERSION: nothing, or more than one thing, looks like it. */
redefine_status rdf_go_find_goroutines(struct rdf_images *images, const struct rdf_go *go, uint64_t g,
                                       uint64_t *ret_addr, struct rdf_error *err);

/* Whether a goroutine may go on at an address behind `start` and before `end`. For a stopped world: reads
 * memory, and nothing else. True also when that cannot be told now: a thread is in a signal handler. */
bool rdf_go_is_anyone_parked(uint64_t goroutines_addr, const struct rdf_world *world, uint64_t start,
                             uint64_t end);

#endif
