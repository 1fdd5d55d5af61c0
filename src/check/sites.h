/* SPDX-License-Identifier: MIT */
#ifndef RDF_CHECK_SITES_H
#define RDF_CHECK_SITES_H

#include "check/check.h"
#include "check/twins.h"
#include "debug/debug.h"
#include "image/image.h"

/* Every place where `function` was inlined; `visit` returns false to stop. Allocates nothing.
 * A function with external linkage is one in all units, whatever name its record has there; a static one of
 * the same name is another. */
typedef bool rdf_site_visit(void *ctx, const struct rdf_debug_site *site, bool is_self);
void rdf_check_each_site(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                         rdf_site_visit *visit, void *ctx);

/* It was inlined, and of no copy it is known where. `image`: the object of this index, for the names
 * and lengths of bodies; `twins`: the object's. */
bool rdf_check_is_folded(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                         struct rdf_images *images, const struct rdf_image *image,
                         const struct rdf_twins *twins);

/* All of them as records, at most `sites_max`; texts are the index's. False: no memory. */
bool rdf_check_sites(const struct rdf_debug_index *index, const struct rdf_debug_function *function,
                     size_t sites_max, struct rdf_arena *arena, struct rdf_check_debug *ret);

#endif
