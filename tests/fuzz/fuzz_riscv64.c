/* SPDX-License-Identifier: MIT
 *
 * Arbitrary parcels at arbitrary addresses, decoded and moved. Beyond "no crash":
 *   - decode and format agree on what is an instruction;
 *   - a refused window has a status, a sentence, and leaves the result alone;
 *   - a moved one fits, consists of instructions without calls, and maps every old instruction, in order;
 *   - no branch of the new code ends between two new instructions, or in the window that it was moved from.
 *
 * Input: window address, trampoline address, patched length, mode, then the window's bytes.
 */
#include "arch/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct rdf_arch *const arch = &rdf_arch_riscv64;

#define check(holds) ((holds) ? (void)0 : fail(__LINE__, #holds))

static void fail(int line, const char *what)
{
    fprintf(stderr, "fuzz_riscv64.c:%d: not so: %s\n", line, what);
    abort();
}

static void check_decode(struct rdf_span code, uint64_t addr)
{
    char text[128], short_text[8];
    struct rdf_insn insn = {.len_bytes = 0};
    bool is_insn = arch->decode(code, addr, &insn);
    size_t len_bytes = arch->format(code, addr, text, sizeof text);
    check(len_bytes == (is_insn ? insn.len_bytes : 0U));
    check(!is_insn || insn.len_bytes == 2 || insn.len_bytes == 4);
    check(memchr(text, '\0', sizeof text) && is_insn == (strcmp(text, "(bad)") != 0));
    check(arch->format(code, addr, short_text, sizeof short_text) == len_bytes);
    check(memchr(short_text, '\0', sizeof short_text));
    check(!is_insn || !(insn.has_target && insn.has_ref));
}

/* Where the instructions of `code` begin, a bit each; false when it does not consist of instructions. */
static bool note_starts(struct rdf_span code, uint64_t addr, uint8_t *ret_bits, bool *ret_calls)
{
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        if (!arch->decode(rdf_span_slice(code, off, code.len_bytes - off), addr + off, &insn))
            return false;
        ret_bits[off / 8] |= (uint8_t)(1u << off % 8);
        *ret_calls |= insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_CALL_INDIRECT;
    }
    return true;
}

static void check_moved(const struct rdf_relocate_request *request, const struct rdf_relocated *moved)
{
    uint8_t old_starts[RDF_WINDOW_BYTES_MAX / 8 + 1] = {0},
                                                  new_starts[RDF_TRAMPOLINE_BYTES_MAX / 8 + 1] = {0};
    bool old_calls = false, new_calls = false;
    struct rdf_span code = {moved->code, moved->len_bytes};
    check(moved->len_bytes && moved->len_bytes <= RDF_TRAMPOLINE_BYTES_MAX);
    check(note_starts(request->window, request->window_addr, old_starts, &old_calls));
    check(note_starts(code, request->trampoline_addr, new_starts, &new_calls) && !new_calls);
    for (size_t i = 0; i < moved->pc_count; i++) {
        unsigned old_off = moved->pcs[i].old_off, new_off = moved->pcs[i].new_off;
        check(old_starts[old_off / 8] >> old_off % 8 & 1 && new_starts[new_off / 8] >> new_off % 8 & 1);
        check(i == 0 ? !old_off && !new_off
                     : old_off > moved->pcs[i - 1].old_off && new_off > moved->pcs[i - 1].new_off);
    }
    uint64_t gap = request->trampoline_addr - request->window_addr;
    if (gap < RDF_TRAMPOLINE_BYTES_MAX || -gap < RDF_TRAMPOLINE_BYTES_MAX)
        return; /* one lies in the other */
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        check(arch->decode(rdf_span_slice(code, off, code.len_bytes - off), request->trampoline_addr + off,
                           &insn));
        uint64_t in_new = insn.target - request->trampoline_addr, in_old = insn.target - request->window_addr;
        check(!insn.has_target || in_new >= code.len_bytes || (new_starts[in_new / 8] >> in_new % 8 & 1));
        /* A recursive call does go to the entry. */
        check(!insn.has_target || in_old >= request->window.len_bytes || (old_calls && !in_old));
    }
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
    if (mode & 1) /* most inputs should not end at "must be even" */
        window_addr &= ~UINT64_C(1), trampoline_addr &= ~UINT64_C(1);
    if (mode & 2)
        trampoline_addr = window_addr + (uint64_t)((int64_t)trampoline_addr >> (mode >> 2)) / 2 * 2;
    for (size_t off = 0; off < window.len_bytes; off += 2)
        check_decode(rdf_span_slice(window, off, window.len_bytes - off), window_addr + off);
    struct rdf_relocate_request request = {
        .window = window,
        .window_addr = window_addr,
        .patched_start = window_addr,
        .patched_end = window_addr + patched_bytes % (RDF_WINDOW_BYTES_MAX + 1),
        .trampoline_addr = trampoline_addr,
    };
    struct rdf_relocated moved, before;
    struct rdf_error err = {.status = REDEFINE_OK};
    memset(&moved, 0x5a, sizeof moved);
    memset(&before, 0x5a, sizeof before);
    redefine_status status = arch->relocate(&request, &moved, &err);
    check(status == err.status);
    if (status == REDEFINE_OK)
        check_moved(&request, &moved);
    else
        check(err.sentence[0] && memcmp(&moved, &before, sizeof moved) == 0);
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    size_t len_bytes = arch->emit_jump(jump, window_addr, trampoline_addr);
    check(len_bytes == 0 || len_bytes == arch->jump_bytes);
    int64_t distance = (int64_t)(trampoline_addr - window_addr - arch->jump_bytes);
    bool in_reach = distance >= -arch->jump_reach_back && distance <= arch->jump_reach_ahead;
    check(!in_reach || len_bytes);
    check(arch->emit_slot_jump(jump, window_addr, trampoline_addr) <= sizeof jump);
    return 0;
}
