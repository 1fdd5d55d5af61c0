/* SPDX-License-Identifier: MIT
 *
 * Arbitrary words at arbitrary addresses, decoded and moved. Beyond "no crash":
 *   - decode and format agree on what is an instruction;
 *   - a refused window has a status, a sentence, and leaves the result alone;
 *   - a moved one fits, consists of instructions, and maps every old instruction, in order;
 *   - no branch of the new code ends inside the patched bytes, or between two new instructions;
 *   - moving it to where it is changes nothing but calls.
 *
 * Input: window address, trampoline address, patched length, then the window's bytes.
 */
#include "arch/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct rdf_arch *const arch = &rdf_arch_aarch64;

#define check(holds) ((holds) ? (void)0 : fail(__LINE__, #holds))

static void fail(int line, const char *what)
{
    fprintf(stderr, "fuzz_aarch64.c:%d: not so: %s\n", line, what);
    abort();
}

static void check_decode(struct rdf_span code, uint64_t addr)
{
    char text[128], short_text[8];
    struct rdf_insn insn;
    memset(&insn, 0x5a, sizeof insn);
    struct rdf_insn before = insn;
    bool is_insn = arch->decode(code, addr, &insn);
    size_t len_bytes = arch->format(code, addr, text, sizeof text);
    check(len_bytes == (is_insn ? 4U : 0U));
    check(memchr(text, '\0', sizeof text) && (is_insn == (strcmp(text, "(bad)") != 0)));
    check(arch->format(code, addr, short_text, sizeof short_text) == len_bytes);
    check(memchr(short_text, '\0', sizeof short_text));
    check(is_insn || memcmp(&insn, &before, sizeof insn) == 0);
    check(!is_insn || !(insn.has_target && insn.has_ref));
}

static void check_pcs(const struct rdf_relocate_request *request, const struct rdf_relocated *moved)
{
    check(moved->pc_count == request->window.len_bytes / 4);
    for (size_t i = 0; i < moved->pc_count; i++) {
        check(moved->pcs[i].old_off == i * 4 && moved->pcs[i].new_off % 4 == 0);
        check(moved->pcs[i].new_off < moved->len_bytes);
        check(i == 0 ? moved->pcs[i].new_off == 0 : moved->pcs[i].new_off > moved->pcs[i - 1].new_off);
    }
}

static void check_branches(const struct rdf_relocate_request *request, const struct rdf_relocated *moved,
                           bool window_calls)
{
    for (size_t off = 0; off < moved->len_bytes; off += 4) {
        struct rdf_span word = {moved->code + off, 4};
        struct rdf_insn insn;
        check(arch->decode(word, request->trampoline_addr + off, &insn));
        check(insn.flow != RDF_FLOW_CALL && insn.flow != RDF_FLOW_CALL_INDIRECT);
        if (!insn.has_target)
            continue;
        uint64_t in_new = insn.target - request->trampoline_addr;
        uint64_t in_window = insn.target - request->window_addr;
        bool is_new = in_new < moved->len_bytes;
        /* A recursive call does go to the entry. */
        check(is_new || in_window >= request->window.len_bytes || (window_calls && in_window == 0));
        check(!is_new || in_new % 4 == 0);
    }
}

static bool overlaps(const struct rdf_relocate_request *request)
{
    uint64_t gap = request->trampoline_addr - request->window_addr;
    return gap < RDF_TRAMPOLINE_BYTES_MAX || -gap < RDF_TRAMPOLINE_BYTES_MAX;
}

/* Moved to where it was, only b.al becomes b, and an address for xzr a nop. */
static void check_unmoved(const struct rdf_relocate_request *request, const struct rdf_relocated *moved)
{
    for (size_t off = 0; off < request->window.len_bytes; off += 4) {
        struct rdf_span old = rdf_span_slice(request->window, off, 4), new = {moved->code + off, 4};
        struct rdf_insn before, after;
        if (memcmp(old.data, new.data, 4) == 0)
            continue;
        check(arch->decode(old, request->window_addr + off, &before));
        check(arch->decode(new, request->window_addr + off, &after));
        bool is_same_jump = before.flow == RDF_FLOW_JUMP && after.flow == RDF_FLOW_JUMP &&
                            before.target == after.target;
        bool is_no_address = before.has_ref && !before.ref_is_load && after.role == RDF_ROLE_NOP &&
                             (old.data[0] & 31) == 31;
        check(is_same_jump || is_no_address);
    }
}

static void check_relocate(const struct rdf_relocate_request *request)
{
    struct rdf_relocated moved, before;
    struct rdf_error err = {.status = REDEFINE_OK};
    memset(&moved, 0x5a, sizeof moved);
    memset(&before, 0x5a, sizeof before);
    redefine_status status = arch->relocate(request, &moved, &err);
    check(status == err.status);
    if (status != REDEFINE_OK) {
        check(status == REDEFINE_EUNSUPPORTED || status == REDEFINE_ENOMEM || status == REDEFINE_EINVAL);
        check(err.sentence[0] && memcmp(&moved, &before, sizeof moved) == 0);
        return;
    }
    check(moved.len_bytes && moved.len_bytes <= RDF_TRAMPOLINE_BYTES_MAX && moved.len_bytes % 4 == 0);
    check_pcs(request, &moved);
    bool window_calls = false;
    for (size_t off = 0; off < request->window.len_bytes; off += 4) {
        struct rdf_insn insn;
        check(arch->decode(rdf_span_slice(request->window, off, 4), request->window_addr + off, &insn));
        window_calls |= insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_CALL_INDIRECT;
    }
    if (!overlaps(request))
        check_branches(request, &moved, window_calls);
    if (request->trampoline_addr == request->window_addr && !window_calls)
        check_unmoved(request, &moved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rdf_span input = {data, size};
    uint64_t window_addr, trampoline_addr;
    uint8_t patched_bytes, mode;
    if (!rdf_span_u64(input, 0, &window_addr) || !rdf_span_u64(input, 8, &trampoline_addr) ||
        !rdf_span_u8(input, 16, &patched_bytes) || !rdf_span_u8(input, 17, &mode))
        return 0;
    struct rdf_span window = rdf_span_slice(input, 18, size - 18);
    if (mode & 1) /* most inputs should not end at "not a multiple of 4" */
        window.len_bytes &= ~(size_t)3, window_addr &= ~UINT64_C(3), trampoline_addr &= ~UINT64_C(3);
    if (mode & 2)
        trampoline_addr = window_addr + (uint64_t)((int64_t)trampoline_addr >> (mode >> 2)) / 4 * 4;
    if (mode == 4)
        trampoline_addr = window_addr;
    for (size_t off = 0; off < window.len_bytes; off += 4)
        check_decode(rdf_span_slice(window, off, window.len_bytes - off), window_addr + off);
    check_relocate(&(struct rdf_relocate_request){
        .window = window,
        .window_addr = window_addr,
        .patched_start = window_addr,
        .patched_end = window_addr + patched_bytes % (RDF_WINDOW_BYTES_MAX + 1),
        .trampoline_addr = trampoline_addr,
    });
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    size_t len_bytes = arch->emit_jump(jump, window_addr, trampoline_addr);
    struct rdf_insn insn;
    if (len_bytes && window_addr % 4 == 0)
        check(len_bytes == arch->jump_bytes && arch->decode((struct rdf_span){jump, 4}, window_addr, &insn) &&
              insn.flow == RDF_FLOW_JUMP && insn.target == trampoline_addr);
    int64_t distance = (int64_t)(trampoline_addr - window_addr - arch->jump_bytes);
    bool in_reach = distance >= -arch->jump_reach_back && distance <= arch->jump_reach_ahead;
    check((len_bytes != 0) == (in_reach && distance % 4 == 0));
    check(arch->emit_slot_jump(jump, window_addr, trampoline_addr) <= sizeof jump);
    return 0;
}
