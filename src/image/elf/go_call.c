/* SPDX-License-Identifier: MIT
 *
 * Direct calls of an entry, counted by decoding every function. Where there is none left, nobody would notice
 * that the function is redefined, but for those who have its address.
 */
#include "image/elf/go_internal.h"

static size_t calls_in(const struct rdf_arch *arch, const struct rdf_go_func *func, struct rdf_span code,
                       uint64_t entry, rdf_go_call_visit *visit, void *ctx, bool *ret_stop)
{
    size_t count = 0;
    uint64_t off = 0;
    while (off < code.len_bytes && !*ret_stop) {
        struct rdf_insn insn;
        if (!arch->decode(rdf_span_slice(code, off, code.len_bytes - off), func->entry + off, &insn)) {
            off += arch->insn_align_bytes; /* constants between instructions */
            continue;
        }
        /* A jump of the function to its own entry is how it goes on after its stack has grown. */
        bool leaves = insn.flow == RDF_FLOW_CALL ||
                      (entry != func->entry && (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH));
        if (leaves && insn.has_target && insn.target == entry) {
            count++;
            *ret_stop = visit && !visit(ctx, func, insn.addr);
        }
        off += insn.len_bytes;
    }
    return count;
}

size_t rdf_go_each_call(struct rdf_images *images, const struct rdf_go *go, uint64_t entry,
                        rdf_go_call_visit *visit, void *ctx)
{
    size_t count = 0;
    bool stop = false;
    for (uint32_t i = 0; i < go->func_count && !stop; i++) {
        struct rdf_go_func func;
        if (!rdf_go_func(go, i, &func))
            continue;
        struct rdf_span code = rdf_image_bytes(images, go->image, func.entry, func.end - func.entry);
        count += calls_in(images->arch, &func, code, entry, visit, ctx, &stop);
    }
    return count;
}
