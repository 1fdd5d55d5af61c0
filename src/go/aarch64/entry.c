/* SPDX-License-Identifier: MIT
 *
 * How Go functions begin: the three forms of the stack check (cmd/internal/obj/arm64, stacksplit), by the
 * size of the frame; functions with a small frame that call nothing have none.
 *
 *     small                  large                      huge, which could wrap around
 *     MOVD 16(g), R16        MOVD 16(g), R16            MOVD 16(g), R16
 *     CMP  R16, RSP          SUB  $n, RSP, R17          MOVD $n, R27
 *     BLS  more              CMP  R16, R17              SUBS R27, RSP, R17
 *                            BLS  more                  BLO  more
 *                                                       CMP  R16, R17
 *                                                       BLS  more
 *
 * How $n is written is the assembler's choice. A small frame has at most 128 bytes, which every function
 * finds below the limit (StackSmall in internal/abi/stack.go). Functions of the runtime that must be on the
 * system's stack load 24(g), which ends the program.
 *
 * The jump replaces the first instruction and no other: nobody is ever inside of it.
 */
#include "go/aarch64/room.h"

#include "arch/aarch64/aarch64.h"

enum { WORD = RDF_AARCH64_WORD_BYTES };

#define LDR_GUARD        UINT32_C(0xf9400b90) /* ldr x16, [x28, #16] */
#define LDR_GUARD_SYSTEM UINT32_C(0xf9400f90) /* ldr x16, [x28, #24] */
#define CMP_SP           UINT32_C(0xeb3063ff) /* cmp sp, x16 */
#define CMP_LIMIT        UINT32_C(0xeb10023f) /* cmp x17, x16 */
#define B_COND           UINT32_C(0x54000000)

enum condition { LOWER = 3, LOWER_OR_SAME = 9 };

static bool take_branch(struct rdf_span code, uint64_t addr, enum condition condition,
                        struct rdf_go_entry *entry)
{
    uint32_t word;
    uint8_t at = entry->check_bytes;
    if (!rdf_span_u32(code, at, &word) || (word & UINT32_C(0xff00001f)) != (B_COND | condition))
        return false;
    uint64_t to = rdf_aarch64_named_address(RDF_A64_B_COND, word, addr + at);
    if (entry->more_count && (to != entry->more || entry->more_count == 2))
        return false;
    entry->more = to;
    entry->more_at[entry->more_count++] = at;
    entry->check_bytes += WORD;
    return true;
}

/* What makes the limit in R17, from RSP and a number that may be put in R27 first. */
static bool makes_limit(uint32_t word)
{
    unsigned rd = rdf_aarch64_bits(word, 4, 0);
    unsigned rn = rdf_aarch64_bits(word, 9, 5);
    bool is_add = rdf_aarch64_bits(word, 28, 23) == 0x22; /* add, adds, sub, subs (immediate) */
    if (is_add && rdf_aarch64_bits(word, 31, 31))
        return rd == 17 && (rn == 17 || rn == RDF_AARCH64_ZR);
    if ((word & UINT32_C(0xdfffffff)) == UINT32_C(0xcb3b63f1)) /* sub, subs x17, sp, x27 */
        return true;
    bool is_constant = rdf_aarch64_bits(word, 28, 23) == 0x25 || /* movz, movk, movn */
                       (rdf_aarch64_bits(word, 30, 23) == 0x64 && rn == RDF_AARCH64_ZR); /* orr */
    return is_constant && rd == 27;
}

bool rdf_go_aarch64_read_check(struct rdf_span code, uint64_t addr, struct rdf_go_entry *entry)
{
    uint32_t word;
    if (!rdf_span_u32(code, 0, &word) || (word != LDR_GUARD && word != LDR_GUARD_SYSTEM))
        return false;
    entry->check_bytes = WORD;
    bool is_goroutines = word == LDR_GUARD;
    bool has_limit = false;
    while (entry->check_bytes <= RDF_GO_ENTRY_BYTES_MAX - 2 * WORD &&
           rdf_span_u32(code, entry->check_bytes, &word)) {
        if (has_limit ? word == CMP_LIMIT : word == CMP_SP) {
            entry->is_small_frame = !has_limit && is_goroutines;
            entry->check_bytes += WORD;
            return take_branch(code, addr, LOWER_OR_SAME, entry);
        }
        if (makes_limit(word))
            entry->check_bytes += WORD;
        else if (!has_limit || !take_branch(code, addr, LOWER, entry))
            return false;
        has_limit = true;
    }
    return false;
}

redefine_status rdf_go_aarch64_entry(struct rdf_span code, uint64_t addr, struct rdf_go_entry *ret,
                                     struct rdf_error *err)
{
    return rdf_go_begin(&rdf_go_aarch64_room, code, addr, ret, err);
}

/* ---- functions without a check ---- */

static bool changes_sp(uint32_t word)
{
    unsigned rd = rdf_aarch64_bits(word, 4, 0);
    unsigned rn = rdf_aarch64_bits(word, 9, 5);
    bool is_add = rdf_aarch64_bits(word, 28, 23) == 0x22;
    bool is_indexed = rdf_aarch64_bits(word, 29, 27) == 7 && rdf_aarch64_bits(word, 25, 24) == 0 &&
                      !rdf_aarch64_bits(word, 21, 21) && rdf_aarch64_bits(word, 10, 10);
    bool is_pair = rdf_aarch64_bits(word, 29, 27) == 5 && rdf_aarch64_bits(word, 25, 25) == 0 &&
                   rdf_aarch64_bits(word, 23, 23);
    return (is_add && rd == RDF_AARCH64_ZR) || ((is_indexed || is_pair) && rn == RDF_AARCH64_ZR);
}

/* Before the stack pointer has changed a fault looks like a call of bad code, which the runtime reports with
 * the caller's position. Of more instructions than the one whose place the jump takes none makes a frame. */
bool rdf_go_aarch64_may_move(struct rdf_span code, uint64_t addr, struct rdf_go_probe *ret)
{
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        uint32_t word;
        if (!rdf_arch_aarch64.decode(rest, addr + off, &insn) || !rdf_span_u32(rest, 0, &word) ||
            insn.flow == RDF_FLOW_SYSCALL || (code.len_bytes > WORD && changes_sp(word)) ||
            (insn.has_target && insn.target >= addr && insn.target < addr + code.len_bytes))
            return false;
    }
    *ret = (struct rdf_go_probe){.len_bytes = 0};
    return true;
}
