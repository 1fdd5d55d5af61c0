/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_UNPACK_H
#define RDF_CLI_UNPACK_H

#include "os/os.h"

/* rdf_space_ops.unpack: zstd, where this system has its library. */
int cli_unpack(struct rdf_space *space, uint32_t method, struct rdf_span packed, void *ret_bytes,
               size_t len_bytes);

#endif
