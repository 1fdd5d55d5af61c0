/* SPDX-License-Identifier: MIT
 *
 * Functions that a compiler found to be equal (gcc -fipa-icf). It keeps one, which calls of the others in
 * their own file go to; what is left of those for other callers is that one's code again, or a jump to it,
 * and debug data says of them that they were defined, not where.
 */
#ifndef RDF_CHECK_TWINS_H
#define RDF_CHECK_TWINS_H

#include "base/arena.h"
#include "debug/debug.h"
#include "image/image.h"

struct rdf_twin {
    const char *name; /* of the one that calls do not go to */
    uint64_t addr, size_bytes;
    uint64_t kept; /* the one that they go to */
    bool is_local;
    bool is_likely; /* it jumps to `kept`, or that is local or not as it is itself */
};

struct rdf_twins {
    const struct rdf_twin *twin; /* by `kept` */
    size_t count;
};

/* All of an object, by its symbols, its code and this index of its debug data. Names are the image's. False:
 * no memory. */
bool rdf_twins_find(struct rdf_images *images, struct rdf_image *image, const struct rdf_debug_index *index,
                    struct rdf_arena *arena, struct rdf_twins *ret);

/* The twin at `addr`; null: there is none. */
const struct rdf_twin *rdf_twins_at(const struct rdf_twins *twins, uint64_t addr);

/* Those whose calls go to `kept`: [the result, + *ret_count). */
const struct rdf_twin *rdf_twins_of(const struct rdf_twins *twins, uint64_t kept, size_t *ret_count);

#endif
