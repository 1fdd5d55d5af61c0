/* SPDX-License-Identifier: MIT
 *
 * One A64 instruction word: which form it has, and how the forms that relocation writes are built.
 * Section numbers are those of the Arm Architecture Reference Manual, DDI 0487.
 *
 *   31 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10  9  8  7  6  5  4  3  2  1  0
 *            |  class   |                                              |     Rn     |      Rd      |
 */
#ifndef RDF_ARCH_AARCH64_AARCH64_H
#define RDF_ARCH_AARCH64_AARCH64_H

#include "arch/arch.h"

enum {
    RDF_AARCH64_WORD_BYTES = 4,
    RDF_AARCH64_X16 = 16, /* IP0 and IP1: a veneer may change them between a call and an entry (AAPCS64) */
    RDF_AARCH64_X17 = 17,
    RDF_AARCH64_X30 = 30,
    RDF_AARCH64_ZR = 31,
};

enum rdf_aarch64_form {
    RDF_A64_UNALLOCATED,
    RDF_A64_PLAIN,  /* computes the same at any address */
    RDF_A64_B,      /* imm26 */
    RDF_A64_BL,     /* imm26 */
    RDF_A64_B_COND, /* imm19; also bc.cond */
    RDF_A64_CBZ,    /* imm19; cbz, cbnz */
    RDF_A64_TBZ,    /* imm14; tbz, tbnz */
    RDF_A64_CMP_B,  /* imm9; cb<cc>, cbb<cc>, cbh<cc> of FEAT_CMPBR */
    RDF_A64_BR,     /* also braa, brab, braaz, brabz: they write no register */
    RDF_A64_BLR,
    RDF_A64_BLR_AUTH_Z, /* blraaz, blrabz */
    RDF_A64_BLR_AUTH,   /* blraa, blrab */
    RDF_A64_RET,        /* also retaa, retab: the modifier is SP, not the PC */
    RDF_A64_ERET,
    RDF_A64_ADR,
    RDF_A64_ADRP,
    RDF_A64_LDR,    /* imm19; ldr (literal) of a W or X register */
    RDF_A64_LDRSW,  /* imm19 */
    RDF_A64_LDR_FP, /* imm19; S, D or Q register */
    RDF_A64_PRFM,   /* imm19 */
    RDF_A64_SVC,    /* svc, hvc, smc */
    RDF_A64_BRK,
    RDF_A64_HALT, /* udf, hlt, dcps, tcancel */
    RDF_A64_NOP,
    RDF_A64_LANDING,      /* bti c/j/jc */
    RDF_A64_SIGN_LANDING, /* paciasp, pacibsp */
    /* The PC itself goes into a pointer's signature (FEAT_PAuth_LR): */
    RDF_A64_PC_SIGN,         /* pacnb*sppc, pacm, aut*sppc label */
    RDF_A64_PC_SIGN_LANDING, /* paciasppc, pacibsppc */
    RDF_A64_PC_SIGN_RET,     /* reta*sppc label */
};

#define RDF_AARCH64_NOP_WORD UINT32_C(0xd503201f)
#define RDF_AARCH64_BTI_C      \
    {                          \
        0x5f, 0x24, 0x03, 0xd5 \
    }

/* The form of `word`; RDF_A64_UNALLOCATED where the manual assigns no instruction (C4.1). */
enum rdf_aarch64_form rdf_aarch64_form_of(uint32_t word);

/* The address that a PC-relative word at `addr` names. */
uint64_t rdf_aarch64_named_address(enum rdf_aarch64_form form, uint32_t word, uint64_t addr);

/* `word` with another displacement: false, *ret untouched, when the form cannot express it. */
bool rdf_aarch64_set_displacement(enum rdf_aarch64_form form, uint32_t *word, int64_t displacement);

static inline unsigned rdf_aarch64_bits(uint32_t word, unsigned high, unsigned low)
{
    return (word >> low) & ((UINT32_C(2) << (high - low)) - 1);
}

static inline uint32_t rdf_aarch64_br(unsigned rn)
{
    return UINT32_C(0xd61f0000) | rn << 5;
}

static inline uint32_t rdf_aarch64_ret(unsigned rn)
{
    return UINT32_C(0xd65f0000) | rn << 5;
}

/* mov Xd, Xm (orr Xd, xzr, Xm) */
static inline uint32_t rdf_aarch64_mov(unsigned rd, unsigned rm)
{
    return UINT32_C(0xaa0003e0) | rm << 16 | rd;
}

/* add Xd, Xn, #imm12 */
static inline uint32_t rdf_aarch64_add(unsigned rd, unsigned rn, unsigned imm12)
{
    return UINT32_C(0x91000000) | imm12 << 10 | rn << 5 | rd;
}

/* ldr Xt, [Xn, #offset]; offset a multiple of 8, less than 32768 */
static inline uint32_t rdf_aarch64_ldr(unsigned rt, unsigned rn, unsigned offset)
{
    return UINT32_C(0xf9400000) | offset / 8 << 10 | rn << 5 | rt;
}

static inline void rdf_aarch64_put(uint8_t *at, uint32_t word)
{
    /* Instructions are little-endian also where data is big-endian (B2.6.2). */
    at[0] = (uint8_t)word;
    at[1] = (uint8_t)(word >> 8);
    at[2] = (uint8_t)(word >> 16);
    at[3] = (uint8_t)(word >> 24);
}

/* The shortest words that leave `value` in Xd when executed at `pc`, at most 4. Returns how many. */
size_t rdf_aarch64_materialise(uint32_t ret_words[4], unsigned rd, uint64_t value, uint64_t pc);

/* Words that leave the 8 bytes at `addr` in Xt when executed at `pc`. Returns how many, 0: out of reach. */
size_t rdf_aarch64_load(uint32_t ret_words[2], unsigned rt, uint64_t pc, uint64_t addr);

/* Registers that a call may change, as bits: 0..30 x0 … x30, 32..63 v0 … v31. AAPCS64, 6.1. A veneer may
 * change x16 and x17. Of v8 … v15 the lower half is the caller's, and compilers use no more of them than
 * that. */
#define RDF_AARCH64_CALL_CLOBBERED (UINT64_C(0x0004ffff) | UINT64_C(0xffff00ff) << 32)
#define RDF_AARCH64_ARGUMENTS      (UINT64_C(0x000401ff) | UINT64_C(0xff) << 32) /* x8: result's place; x18 */
#define RDF_AARCH64_RESULTS        (UINT64_C(0xff) | UINT64_C(0xff) << 32)

/* The first row that matches decides. `name` is the text of the word before its operands. */
struct rdf_aarch64_row {
    uint32_t mask;
    uint32_t value;
    enum rdf_aarch64_form form;
    const char *name;
};

const struct rdf_aarch64_row *rdf_aarch64_row_of(uint32_t word);

/* The room's furniture, shared with arch.c. */
bool rdf_aarch64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret);
void rdf_aarch64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                               void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx);
bool rdf_aarch64_may_compute_jump(struct rdf_span code);
void rdf_aarch64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                 void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                               enum rdf_reference kind),
                                 void *ctx);
bool rdf_aarch64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                           struct rdf_register_use *ret);
const char *rdf_aarch64_register_name(unsigned number);
size_t rdf_aarch64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes);
redefine_status rdf_aarch64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                     struct rdf_error *err);
size_t rdf_aarch64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_aarch64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_aarch64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                            uint64_t to);
bool rdf_aarch64_may_swap(struct rdf_span before, struct rdf_span after);
size_t rdf_aarch64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr);
size_t rdf_aarch64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                 uint64_t call_addr, const struct rdf_keep *keep);
size_t rdf_aarch64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr);
size_t rdf_aarch64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                               struct rdf_thread_word word, uint32_t index, uint64_t slot_addr);

#endif
