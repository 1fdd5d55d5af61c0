/* SPDX-License-Identifier: MIT */
#include "go/begin.h"

#include "base/bytes.h"

#include <inttypes.h>

/* The block behind the function: arguments put aside, the call, arguments taken back, the jump to the entry.
 */
static bool block_comes_back(const struct rdf_arch *arch, struct rdf_span code, uint64_t addr, uint64_t more)
{
    enum { INSNS_MAX = 64 };
    bool has_called = false;
    uint64_t at = more;
    for (int i = 0; i < INSNS_MAX; i++) {
        struct rdf_insn insn;
        uint64_t off = at - addr;
        if (off >= code.len_bytes ||
            !arch->decode(rdf_span_slice(code, off, code.len_bytes - off), at, &insn))
            return false;
        has_called |= insn.flow == RDF_FLOW_CALL;
        if (insn.flow == RDF_FLOW_JUMP)
            return has_called && insn.has_target && insn.target == addr;
        if (insn.flow != RDF_FLOW_NEXT && insn.flow != RDF_FLOW_CALL)
            return false;
        at += insn.len_bytes;
    }
    return false;
}

/* Whether anything in the function leads to its entry again. */
static bool begins_again(const struct rdf_arch *arch, struct rdf_span code, uint64_t addr)
{
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        if (!arch->decode(rdf_span_slice(code, off, code.len_bytes - off), addr + off, &insn))
            return false;
        bool is_branch = insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH;
        if (is_branch && insn.has_target && insn.target == addr)
            return true;
    }
    return false;
}

redefine_status rdf_go_begin(const struct rdf_go_room *room, struct rdf_span code, uint64_t addr,
                             struct rdf_go_entry *ret, struct rdf_error *err)
{
    struct rdf_go_entry entry = {.has_check = true};
    if (!room->read_check(code, addr, &entry)) {
        *ret = (struct rdf_go_entry){.has_check = false};
        if (begins_again(room->arch, code, addr))
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "the function at 0x%" PRIx64
                            " begins in a form that is not known, and leads to its "
                            "entry again: whether that is a loop or more stack cannot be told",
                            addr);
        return REDEFINE_OK;
    }
    if (!block_comes_back(room->arch, code, addr, entry.more))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the function at 0x%" PRIx64 " checks its stack, but what it does when there is too "
                        "little (at 0x%" PRIx64 ") has a form that is not known",
                        addr, entry.more);
    rdf_bytes_copy(entry.bytes, code.data, entry.check_bytes);
    *ret = entry;
    return REDEFINE_OK;
}

bool rdf_go_passes_dictionary(const struct rdf_go_room *room, struct rdf_span code, uint64_t addr,
                              struct rdf_go_wrapper *ret)
{
    struct rdf_go_wrapper wrapper = {0};
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        if (!room->arch->decode(rest, addr + off, &insn))
            return false;
        (void)room->read_dictionary(rest, addr + off, &wrapper.dictionary, &wrapper.position);
        /* Before it, a call belongs to the race detector. */
        if (insn.flow == RDF_FLOW_CALL && wrapper.dictionary) {
            wrapper.shape = insn.target;
            wrapper.call_addr = addr + off;
            wrapper.call_bytes = insn.len_bytes;
            break;
        }
        if (insn.flow != RDF_FLOW_NEXT && insn.flow != RDF_FLOW_BRANCH && insn.flow != RDF_FLOW_CALL)
            return false;
    }
    if (!wrapper.shape || !wrapper.dictionary)
        return false;
    *ret = wrapper;
    return true;
}
