/* SPDX-License-Identifier: MIT */
#ifndef RDF_API_INLINED_H
#define RDF_API_INLINED_H

#include "base/error.h"

#include <stdint.h>

/* Refuse a target that debug data knows to be inlined elsewhere: REDEFINE_EINLINED with the places. The first
 * question about an object reads its debug data; later ones search memory, allocate nothing and call nothing
 * of the C library (but for copies that folded away the names of bodies are looked up again). Where nothing
 * is known: REDEFINE_OK. Not while the engine's lock is held. */
redefine_status rdf_inlined_refuse(uint64_t target, struct rdf_error *err);

#endif
