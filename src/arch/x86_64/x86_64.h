/* SPDX-License-Identifier: MIT
 *
 * What the files of the x86-64 room share. Nothing outside of it includes this.
 */
#ifndef RDF_ARCH_X86_64_H
#define RDF_ARCH_X86_64_H

#include "arch/arch.h"

#include <Zydis/Zydis.h>

enum {
    RDF_X86_64_INSN_BYTES_MAX = 15, /* SDM vol. 2, 2.3.11: a longer one raises #GP */
    RDF_X86_64_REL32_BYTES = 5,     /* e9 rel32 */
    RDF_X86_64_REL8_BYTES = 2,      /* eb rel8 */
};

/* The instruction at the front of `code`, without its operands: everything this room asks lies in the
 * raw fields, and operands would double the time. False when there is none, or it is cut off. */
bool rdf_x86_64_read(struct rdf_span code, ZydisDecodedInstruction *ret);

/* What the engine wants to know of an instruction that rdf_x86_64_read has found at `addr`. */
struct rdf_insn rdf_x86_64_describe(const ZydisDecodedInstruction *insn, uint64_t addr);

/* True of a near branch that AMD's CPUs cut to 16 bits of RIP and Intel's do not: prefix 66 without REX.W.
 * SDM vol. 2, JMP; APM vol. 3, 1.2.7. xbegin only has a shorter displacement. */
bool rdf_x86_64_is_cut_to_16_bits(const ZydisDecodedInstruction *insn);

/* Registers that a call may change, as bits: 0..15 rax rcx rdx rbx rsp … r15, 16..47 the vector registers,
 * 48..55 the mask registers. System V ABI, figure 3.4. */
#define RDF_X86_64_CALL_CLOBBERED (UINT64_C(0x0fc7) | UINT64_C(0xffffffff) << 16 | UINT64_C(0xff) << 48)
/* rdi rsi rdx rcx r8 r9, rax (how many vector registers a variadic function gets), r10 (static chain) */
#define RDF_X86_64_ARGUMENTS (UINT64_C(0x07c7) | UINT64_C(0xff) << 16)
#define RDF_X86_64_RESULTS   (UINT64_C(0x0005) | UINT64_C(0x3) << 16)

/* The signed 32-bit distance from `from` to `to`; false when it does not fit. */
bool rdf_x86_64_rel32(uint64_t from, uint64_t to, int32_t *ret);

/* Little-endian store, whatever the host is. */
void rdf_x86_64_store(uint8_t *at, uint64_t value, size_t len_bytes);

bool rdf_x86_64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret);
void rdf_x86_64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                              void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx);
bool rdf_x86_64_may_compute_jump(struct rdf_span code);
void rdf_x86_64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                              enum rdf_reference kind),
                                void *ctx);
bool rdf_x86_64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                          struct rdf_register_use *ret);
const char *rdf_x86_64_register_name(unsigned number);
size_t rdf_x86_64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes);
redefine_status rdf_x86_64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                    struct rdf_error *err);
size_t rdf_x86_64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_x86_64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_x86_64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                           uint64_t to);
bool rdf_x86_64_may_swap(struct rdf_span before, struct rdf_span after);
size_t rdf_x86_64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr);
size_t rdf_x86_64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                uint64_t call_addr, const struct rdf_keep *keep);
size_t rdf_x86_64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr);
size_t rdf_x86_64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                              struct rdf_thread_word word, uint32_t index, uint64_t slot_addr);

#endif
