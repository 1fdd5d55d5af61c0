/* SPDX-License-Identifier: MIT
 *
 * One RISC-V instruction: which form it has, and how the forms that relocation writes are built. Chapter
 * names are those of the RISC-V Instruction Set Manual, Volume I.
 *
 *   31        25 24    20 19    15 14  12 11     7 6      0        15  13 12 11      7 6      2 1  0
 *   |  funct7   |  rs2   |  rs1   |funct3|   rd   | opcode |       |funct3|  rd, rs1  |   rs2  |quad.|
 */
#ifndef RDF_ARCH_RISCV64_RISCV64_H
#define RDF_ARCH_RISCV64_RISCV64_H

#include "arch/arch.h"

enum {
    RDF_RV_PARCEL_BYTES = 2,
    RDF_RV_WORD_BYTES = 4,
    RDF_RV_JUMP_BYTES = 8, /* auipc; jalr */
    RDF_RV_ZERO = 0,
    RDF_RV_RA = 1,
    RDF_RV_T0 = 5,
    /* Carries nothing at an entry: stubs and `tail` leave rubbish in it. (t0 may be a return address, t2 and
     * t3 a static chain or a landing pad's label.) */
    RDF_RV_T1 = 6,
    RDF_RV_A0 = 10,
    RDF_RV_T4 = 29,
    RDF_RV_T5 = 30,
    RDF_RV_T6 = 31,
};

enum rdf_rv_form {
    RDF_RV_UNKNOWN, /* reserved, custom or longer than 4 bytes */
    RDF_RV_PLAIN,   /* computes the same at any address */
    RDF_RV_AUIPC,
    RDF_RV_JAL,
    RDF_RV_JALR,
    RDF_RV_BRANCH,
    RDF_RV_C_J,
    RDF_RV_C_BRANCH, /* c.beqz, c.bnez */
    RDF_RV_C_JR,
    RDF_RV_C_JALR,
    RDF_RV_ECALL,
    RDF_RV_TRAP, /* ebreak, c.ebreak */
    RDF_RV_STOP, /* unimp, sret, mret */
    RDF_RV_NOP,
    RDF_RV_LANDING, /* lpad: auipc x0 (Zicfilp) */
};

struct rdf_rv_insn {
    uint32_t word; /* of a compressed one the low half */
    uint8_t len_bytes;
    enum rdf_rv_form form;
};

/* The instruction at the front of `code`; false when it is cut off or of no form that is known. */
bool rdf_riscv64_read(struct rdf_span code, struct rdf_rv_insn *ret);

/* The distance from a PC-relative instruction to what it names; 0 for other forms. */
int64_t rdf_riscv64_displacement(const struct rdf_rv_insn *insn);

/* jal rd or a conditional branch, as a word of four bytes, with this displacement: false, *ret untouched,
 * when out of reach. `word`: the form and its registers. */
bool rdf_riscv64_set_jal(unsigned rd, int64_t displacement, uint32_t *ret);
bool rdf_riscv64_set_branch(uint32_t word, int64_t displacement, uint32_t *ret);

static inline unsigned rdf_riscv64_bits(uint32_t word, unsigned high, unsigned low)
{
    return (word >> low) & ((UINT32_C(2) << (high - low)) - 1);
}

static inline unsigned rdf_riscv64_rd(uint32_t word)
{
    return rdf_riscv64_bits(word, 11, 7);
}

static inline unsigned rdf_riscv64_rs1(uint32_t word)
{
    return rdf_riscv64_bits(word, 19, 15);
}

static inline int64_t rdf_riscv64_extend(uint32_t value, unsigned bits)
{
    return (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
}

/* "Jump instructions": which registers a link goes to, and comes back through. */
static inline bool rdf_riscv64_is_link(unsigned reg)
{
    return reg == RDF_RV_RA || reg == RDF_RV_T0;
}

/* addi rd, rs1, imm12 */
static inline uint32_t rdf_riscv64_addi(unsigned rd, unsigned rs1, int32_t imm12)
{
    return (uint32_t)imm12 << 20 | rs1 << 15 | rd << 7 | 0x13;
}

/* jalr rd, imm12(rs1) */
static inline uint32_t rdf_riscv64_jalr(unsigned rd, unsigned rs1, int32_t imm12)
{
    return (uint32_t)imm12 << 20 | rs1 << 15 | rd << 7 | 0x67;
}

static inline void rdf_riscv64_put(uint8_t *at, uint32_t word)
{
    at[0] = (uint8_t)word;
    at[1] = (uint8_t)(word >> 8);
    at[2] = (uint8_t)(word >> 16);
    at[3] = (uint8_t)(word >> 24);
}

/* `distance` as auipc takes it and as a 12-bit remainder: false when it is more than 2 GiB. */
bool rdf_riscv64_split(int64_t distance, unsigned rd, uint32_t *ret_auipc, int32_t *ret_low);

/* The shortest words that leave `value` in `rd` when executed at `pc`. Returns how many. */
enum { RDF_RV_VALUE_WORDS_MAX = 8 };
size_t rdf_riscv64_materialise(uint32_t ret_words[RDF_RV_VALUE_WORDS_MAX], unsigned rd, uint64_t value,
                               uint64_t pc);

/* Registers that a call may change, as bits: 0..31 x0 … x31, 32..63 f0 … f31. psABI, "Integer Register
 * Convention", "Floating-point Register Convention". Not ra, which the call itself changes. */
#define RDF_RISCV64_CALL_CLOBBERED (UINT64_C(0xf003fce0) | UINT64_C(0xf003fcff) << 32)
#define RDF_RISCV64_A0_TO_A7       UINT64_C(0x0003fc00)
/* and t2, a static chain */
#define RDF_RISCV64_ARGUMENTS (RDF_RISCV64_A0_TO_A7 | RDF_RISCV64_A0_TO_A7 << 32 | UINT64_C(1) << 7)
#define RDF_RISCV64_RESULTS   (UINT64_C(0xc00) | UINT64_C(0xc00) << 32)

/* The room's furniture, shared with arch.c. */
bool rdf_riscv64_registers(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                           struct rdf_register_use *ret);
const char *rdf_riscv64_register_name(unsigned number);
size_t rdf_riscv64_emit_jump_aside(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_riscv64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                 uint64_t call_addr, const struct rdf_keep *keep);
bool rdf_riscv64_decode(struct rdf_span code, uint64_t addr, struct rdf_insn *ret);
void rdf_riscv64_scan_branches(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                               void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx);
void rdf_riscv64_scan_references(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                                 void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                               enum rdf_reference kind),
                                 void *ctx);
size_t rdf_riscv64_format(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes);
redefine_status rdf_riscv64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                     struct rdf_error *err);
size_t rdf_riscv64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
size_t rdf_riscv64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);
bool rdf_riscv64_read_jump(struct rdf_span code, uint64_t addr, uint8_t *ret_first_bytes,
                           uint64_t *ret_target);
size_t rdf_riscv64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                            uint64_t to);
bool rdf_riscv64_may_swap(struct rdf_span before, struct rdf_span after);
size_t rdf_riscv64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr);
bool rdf_riscv64_may_compute_jump(struct rdf_span code);
size_t rdf_riscv64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                               struct rdf_thread_word word, uint32_t index, uint64_t slot_addr);
size_t rdf_riscv64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr);

#endif
