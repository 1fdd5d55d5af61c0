/* SPDX-License-Identifier: MIT
 *
 * The engine of this process, for the files of this folder.
 */
#ifndef RDF_API_ENTER_H
#define RDF_API_ENTER_H

#include "core/engine.h"

static inline uint64_t rdf_api_address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* Where the calling thread left its own code for ours; for functions that it calls itself. */
#define RDF_CALLER_SP rdf_api_address(__builtin_frame_address(0))

/* The engine, locked, until rdf_api_leave. On failure *err says why, and nothing is locked. */
redefine_status rdf_api_enter(struct rdf_engine **ret_engine, struct rdf_error *err);
void rdf_api_leave(void);

/* The same for calls whose failure is to be explained: a failure to begin is kept, and so is that which a
 * call ends with. Returns `status`. */
redefine_status rdf_api_begin(struct rdf_engine **ret_engine, struct rdf_error *err);
redefine_status rdf_api_end(const struct rdf_error *err, redefine_status status);

/* Take off everything of one owner: null is the in-process calls, those for single threads among them. */
redefine_status rdf_api_restore_all_of(const void *owner, uint64_t caller_sp);

/* The same with the images of this process, for calls that are given names: these are not looked for in patch
 * files nor in the engine's own object. Memory of `arena` lasts as long as the images do. */
struct rdf_api_names {
    struct rdf_engine *engine;
    struct rdf_arena arena;
    struct rdf_images images;
    struct rdf_error err;
};
redefine_status rdf_api_begin_names(struct rdf_api_names *ret);
redefine_status rdf_api_end_names(struct rdf_api_names *names, redefine_status status);

#endif
