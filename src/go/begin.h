/* SPDX-License-Identifier: MIT
 *
 * What every room asks of the code of a Go function, once its own forms have been read.
 */
#ifndef RDF_GO_BEGIN_H
#define RDF_GO_BEGIN_H

#include "go/abi.h"

struct rdf_go_room {
    const struct rdf_arch *arch;
    /* The check at the front of `code`, which lies at `addr`. False: none of a form that is known. */
    bool (*read_check)(struct rdf_span code, uint64_t addr, struct rdf_go_entry *entry);
    /* Whether the instruction at the front of `code` begins to load the address of some data into a register
     * of arguments: where the data lies, and which register. */
    bool (*read_dictionary)(struct rdf_span code, uint64_t addr, uint64_t *ret_dictionary,
                            uint8_t *ret_position);
};

/* struct rdf_go_abi.entry and .wrapper, by a room's forms. */
redefine_status rdf_go_begin(const struct rdf_go_room *room, struct rdf_span code, uint64_t addr,
                             struct rdf_go_entry *ret, struct rdf_error *err);
bool rdf_go_passes_dictionary(const struct rdf_go_room *room, struct rdf_span code, uint64_t addr,
                              struct rdf_go_wrapper *ret);

#endif
