/* SPDX-License-Identifier: MIT
 *
 * What the files of this room know of each other.
 */
#ifndef RDF_GO_X86_64_ROOM_H
#define RDF_GO_X86_64_ROOM_H

#include "go/begin.h"

enum { RDF_GO_X86_64_ARGUMENT_REGISTERS = 9 };

extern const struct rdf_go_room rdf_go_x86_64_room;

bool rdf_go_x86_64_read_check(struct rdf_span code, uint64_t addr, struct rdf_go_entry *entry);
redefine_status rdf_go_x86_64_entry(struct rdf_span code, uint64_t addr, struct rdf_go_entry *ret,
                                    struct rdf_error *err);
bool rdf_go_x86_64_may_move(struct rdf_span code, uint64_t addr, struct rdf_go_probe *ret);
bool rdf_go_x86_64_wrapper(struct rdf_span code, uint64_t addr, struct rdf_go_wrapper *ret);
bool rdf_go_x86_64_emit(const struct rdf_go_emit *request, uint8_t ret_code[RDF_GO_CODE_BYTES_MAX],
                        struct rdf_go_code *ret);
size_t rdf_go_x86_64_emit_call(uint8_t ret_code[RDF_GO_CALL_BYTES_MAX], uint64_t from, uint64_t to);

#endif
