/* SPDX-License-Identifier: MIT */
#ifndef RDF_API_COUNTED_GO_H
#define RDF_API_COUNTED_GO_H

#include "image/image.h"

/* Refuse to count calls of a Go function where that would not be safe. Counting moves an entry's first
 * instructions; the runtime must not find a goroutine among them that is parked, faults or calls. Only the
 * stack check is sure to do none of it. Of other functions: REDEFINE_OK. Else REDEFINE_EUNSUPPORTED */
redefine_status rdf_counted_go_refuse(struct rdf_images *images, uint64_t addr, struct rdf_error *err);

#endif
