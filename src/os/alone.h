/* SPDX-License-Identifier: MIT
 *
 * The world of a process that has one thread.
 */
#ifndef RDF_OS_ALONE_H
#define RDF_OS_ALONE_H

#include <errno.h>

#include "os/os.h"

static inline int rdf_no_thread_to_move(struct rdf_world *world, size_t index, uint64_t pc)
{
    (void)world, (void)index, (void)pc;
    return -EINVAL;
}

/* What body says, shown a world of no other threads. */
static inline int rdf_call_alone(rdf_stopped_body *body, void *ctx)
{
    struct rdf_world world = {.set_pc = rdf_no_thread_to_move};
    return body(&world, ctx);
}

#endif
