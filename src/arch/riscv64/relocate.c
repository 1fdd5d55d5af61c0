/* SPDX-License-Identifier: MIT
 *
 * A window rewritten for another address.
 *
 * Pairs. auipc and the instruction that uses it (addi, a load or store, jalr) need not be moved together:
 * what auipc is moved to leaves the very value that it left, so the other half is right wherever it is
 * executed, in the trampoline or behind the window.
 *
 * Registers. A jump of more than 1 MiB takes a register. t1, t4, t5 and t6 carry nothing at a function's
 * entry, so one that the window does not touch is nobody's where it ends: who reads it later has written it
 * before. Branches from elsewhere never lead into a trampoline (retarget reaches 1 MiB), so no later value
 * comes back.
 */
#include "arch/riscv64/riscv64.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    JUMP_WORDS_MAX = RDF_RV_VALUE_WORDS_MAX + 1,
};

/* A branch in the trampoline whose target is in the trampoline, filled in at the end. */
struct fixup {
    size_t at;           /* offset of the branch in the trampoline */
    uint64_t window_off; /* what it goes to, as an offset in the window */
    uint32_t word;       /* a conditional branch; 0: a jump */
};

struct mover {
    const struct rdf_relocate_request *request;
    struct rdf_error *err;
    size_t count; /* instructions in the window */
    struct rdf_rv_insn insns[RDF_WINDOW_INSNS_MAX];
    size_t offs[RDF_WINDOW_INSNS_MAX];
    uint32_t touched; /* registers that the window reads or writes, a bit each */
    size_t index;     /* the instruction being moved; count for the jump back */
    struct rdf_relocated out;
    bool is_full;
    struct fixup fixups[RDF_WINDOW_INSNS_MAX];
    size_t fixup_count;
};

/* --- which registers an instruction touches ---------------------------------------------------- */

static uint32_t touches_word(uint32_t word)
{
    uint32_t rd = UINT32_C(1) << rdf_riscv64_rd(word);
    uint32_t rs1 = UINT32_C(1) << rdf_riscv64_rs1(word);
    uint32_t rs2 = UINT32_C(1) << rdf_riscv64_bits(word, 24, 20);
    switch (word & 0x7f) {
    case 0x17: /* auipc, lui, jal */
    case 0x37:
    case 0x6f: return rd;
    case 0x03: /* load, op-imm, fence, jalr, system */
    case 0x13:
    case 0x1b:
    case 0x0f:
    case 0x67:
    case 0x73: return rd | rs1;
    case 0x23: /* store, branch */
    case 0x63: return rs1 | rs2;
    default: return rd | rs1 | rs2; /* of a floating point register a bit too many costs nothing */
    }
}

static uint32_t touches_parcel(uint32_t parcel)
{
    /* The short fields name s0 to a5; the long ones are where the quadrants 1 and 2 have them, or a number.
     */
    uint32_t short_ones = UINT32_C(0xff00);
    if ((parcel & 3) == 0)
        return short_ones;
    return short_ones | UINT32_C(1) << rdf_riscv64_rd(parcel) | UINT32_C(1) << rdf_riscv64_bits(parcel, 6, 2);
}

/* A register for a far jump; 0 when there is none. */
static unsigned scratch(const struct mover *m)
{
    static const uint8_t candidates[] = {RDF_RV_T1, RDF_RV_T4, RDF_RV_T5, RDF_RV_T6};
    for (size_t i = 0; i < sizeof candidates; i++)
        if (!(m->touched >> candidates[i] & 1))
            return candidates[i];
    return 0;
}

/* --- refusals --------------------------------------------------------------------------------- */

/* The window's bytes from the instruction before the one being moved, and a caret under the first of that. */
static void draw_window(const struct mover *m, size_t off, char *ret_text, size_t text_bytes)
{
    enum { SHOWN_BEFORE = 4, SHOWN = 16 };
    struct rdf_span window = m->request->window;
    size_t first = off > SHOWN_BEFORE ? off - SHOWN_BEFORE : 0, used = 0;
    for (size_t at = first; at < first + SHOWN && at < window.len_bytes && used < text_bytes; at++)
        used += (size_t)snprintf(ret_text + used, text_bytes - used, " %02x", window.data[at]);
    if (used < text_bytes)
        (void)snprintf(ret_text + used, text_bytes - used, "\n   %*s", (int)((off - first) * 3 + 2), "^");
}

static redefine_status refuse(struct mover *m, redefine_status status, const char *why)
{
    const struct rdf_relocate_request *request = m->request;
    bool is_insn = m->index < m->count;
    size_t off = is_insn ? m->offs[m->index] : request->window.len_bytes;
    uint64_t addr = request->window_addr + off;
    char drawing[128], text[64] = "";
    draw_window(m, off, drawing, sizeof drawing);
    if (!is_insn)
        return rdf_fail(m->err, status, "cannot jump back to 0x%" PRIx64 " from 0x%" PRIx64 ": %s\n   %s",
                        addr, request->trampoline_addr, why, drawing);
    (void)rdf_riscv64_format(rdf_span_slice(request->window, off, m->insns[m->index].len_bytes), addr, text,
                             sizeof text);
    return rdf_fail(m->err, status, "cannot move `%s` at 0x%" PRIx64 " to 0x%" PRIx64 ": %s\n   %s", text,
                    addr, request->trampoline_addr, why, drawing);
}

static redefine_status refuse_register(struct mover *m)
{
    return refuse(m, REDEFINE_EUNSUPPORTED,
                  "a jump of more than 1 MiB takes a register, and the window uses t1, t4, t5 and t6");
}

static redefine_status refuse_full(struct mover *m)
{
    return refuse(m, REDEFINE_ENOMEM, "with far forms the window needs more than a trampoline holds");
}

static redefine_status refuse_inner_return(struct mover *m)
{
    return refuse(m, REDEFINE_EUNSUPPORTED,
                  "the callee would return into the bytes that the entry jump overwrites");
}

/* --- writing ---------------------------------------------------------------------------------- */

static uint64_t here(const struct mover *m)
{
    return m->request->trampoline_addr + m->out.len_bytes;
}

static void put(struct mover *m, uint32_t word, unsigned len_bytes)
{
    if (m->out.len_bytes + len_bytes > RDF_TRAMPOLINE_BYTES_MAX) {
        m->is_full = true;
        return;
    }
    for (unsigned i = 0; i < len_bytes; i++)
        m->out.code[m->out.len_bytes++] = (uint8_t)(word >> 8 * i);
}

static void put_words(struct mover *m, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(m, words[i], RDF_RV_WORD_BYTES);
}

static void put_value(struct mover *m, unsigned rd, uint64_t value)
{
    uint32_t words[RDF_RV_VALUE_WORDS_MAX];
    put_words(m, words, rdf_riscv64_materialise(words, rd, value, here(m)));
}

static void put_inner(struct mover *m, uint32_t branch_word, uint64_t window_off)
{
    m->fixups[m->fixup_count++] = (struct fixup){m->out.len_bytes, window_off, branch_word};
    put(m, branch_word, RDF_RV_WORD_BYTES);
}

static bool is_inside(const struct mover *m, uint64_t addr)
{
    return addr - m->request->window_addr < m->request->window.len_bytes;
}

/* Does the entry jump overwrite the byte at `addr`? No range given means the whole window. */
static bool is_patched(const struct mover *m, uint64_t addr)
{
    uint64_t start = m->request->patched_start, end = m->request->patched_end;
    return start == end ? is_inside(m, addr) : addr - start < end - start;
}

/* A jump at `pc` that leaves the window. Returns how many words, 0 when there is no register for it. */
static size_t make_jump(const struct mover *m, uint32_t ret_words[JUMP_WORDS_MAX], uint64_t pc,
                        uint64_t target)
{
    if (rdf_riscv64_set_jal(RDF_RV_ZERO, (int64_t)(target - pc), &ret_words[0]))
        return 1;
    unsigned reg = scratch(m);
    int32_t low = 0;
    size_t count = 1;
    if (!reg)
        return 0;
    if (!rdf_riscv64_split((int64_t)(target - pc), reg, &ret_words[0], &low))
        count = rdf_riscv64_materialise(ret_words, reg, target, pc);
    ret_words[count++] = rdf_riscv64_jalr(RDF_RV_ZERO, reg, low);
    return count;
}

static redefine_status put_jump(struct mover *m, uint64_t target)
{
    uint32_t words[JUMP_WORDS_MAX];
    size_t count = make_jump(m, words, here(m), target);
    if (!count)
        return refuse_register(m);
    put_words(m, words, count);
    return REDEFINE_OK;
}

/* --- one form each ---------------------------------------------------------------------------- */

static redefine_status move_jump(struct mover *m, uint64_t target)
{
    if (!is_inside(m, target))
        return put_jump(m, target);
    put_inner(m, 0, target - m->request->window_addr);
    return REDEFINE_OK;
}

/* c.beqz, c.bnez as beq, bne with zero. */
static uint32_t wide_branch(const struct rdf_rv_insn *insn)
{
    if (insn->form == RDF_RV_BRANCH)
        return insn->word & 0x01fff07f;
    unsigned rs1 = 8 + rdf_riscv64_bits(insn->word, 9, 7), is_not = insn->word >> 13 & 1;
    return rs1 << 15 | is_not << 12 | 0x63;
}

/* b<cond> far  →  b<!cond> .+n; far jump */
static redefine_status move_branch(struct mover *m, const struct rdf_rv_insn *insn, uint64_t target)
{
    uint32_t word = wide_branch(insn), near;
    if (is_inside(m, target)) {
        put_inner(m, word, target - m->request->window_addr);
        return REDEFINE_OK;
    }
    if (rdf_riscv64_set_branch(word, (int64_t)(target - here(m)), &near)) {
        put(m, near, RDF_RV_WORD_BYTES);
        return REDEFINE_OK;
    }
    uint32_t far[JUMP_WORDS_MAX];
    size_t count = make_jump(m, far, here(m) + RDF_RV_WORD_BYTES, target);
    if (!count)
        return refuse_register(m);
    /* The lowest bit of funct3 inverts a condition ("Conditional Branches"). */
    (void)rdf_riscv64_set_branch(word ^ 1U << 12, (int64_t)(count + 1) * RDF_RV_WORD_BYTES, &near);
    put(m, near, RDF_RV_WORD_BYTES);
    put_words(m, far, count);
    return REDEFINE_OK;
}

/* Where a call comes back to, in the original code. */
static uint64_t return_address(const struct mover *m)
{
    return m->request->window_addr + m->offs[m->index] + m->insns[m->index].len_bytes;
}

static redefine_status move_call(struct mover *m, unsigned link, uint64_t target)
{
    uint64_t back = return_address(m);
    if (target != back && is_patched(m, back))
        return refuse_inner_return(m);
    put_value(m, link, back);
    if (target == back && is_inside(m, back)) /* how code asks where it is */
        return REDEFINE_OK;
    /* A function that calls itself calls whatever its entry now is, from here as from the rest of its body.
     */
    return target == m->request->window_addr ? put_jump(m, target) : move_jump(m, target);
}

static redefine_status move_call_indirect(struct mover *m, unsigned link, unsigned reg, int32_t off)
{
    if (is_patched(m, return_address(m)))
        return refuse_inner_return(m);
    /* auipc ra; jalr ra: the link takes the place of the address. */
    if (link == reg) {
        reg = scratch(m);
        if (!reg)
            return refuse_register(m);
        put(m, rdf_riscv64_addi(reg, link, off), RDF_RV_WORD_BYTES);
        off = 0;
    }
    put_value(m, link, return_address(m));
    put(m, rdf_riscv64_jalr(RDF_RV_ZERO, reg, off), RDF_RV_WORD_BYTES);
    return REDEFINE_OK;
}

/* What the auipc being moved names together with an instruction of the window that uses it; false when none
 * does. */
static bool named_by_pair(const struct mover *m, uint64_t high, uint64_t *ret)
{
    unsigned rd = rdf_riscv64_rd(m->insns[m->index].word);
    for (size_t i = m->index + 1; i < m->count; i++) {
        uint32_t word = m->insns[i].word, opcode = word & 0x7f;
        if (m->insns[i].len_bytes != RDF_RV_WORD_BYTES || rdf_riscv64_rs1(word) != rd)
            continue;
        bool is_store = opcode == 0x23 || opcode == 0x27;
        bool is_load = opcode == 0x03 || opcode == 0x07 ||
                       (opcode == 0x13 && !rdf_riscv64_bits(word, 14, 12));
        int64_t low = is_store ? ((int32_t)word >> 25) * 32 + (int32_t)rdf_riscv64_rd(word)
                               : (int32_t)word >> 20;
        *ret = high + (uint64_t)low;
        return is_load || is_store;
    }
    return false;
}

static redefine_status move_auipc(struct mover *m, unsigned rd, uint64_t value)
{
    uint64_t named;
    /* The function's own address is as good as before; one behind it is where a loop or a table begins. */
    if (named_by_pair(m, value, &named) && is_patched(m, named) && named != m->request->window_addr)
        return refuse(
            m, REDEFINE_EUNSUPPORTED,
            "with what follows it reads, or takes the address of, bytes that the entry jump overwrites");
    put_value(m, rd, value);
    return REDEFINE_OK;
}

static redefine_status move_one(struct mover *m)
{
    const struct rdf_rv_insn *insn = &m->insns[m->index];
    uint32_t word = insn->word;
    uint64_t named = m->request->window_addr + m->offs[m->index] + (uint64_t)rdf_riscv64_displacement(insn);
    unsigned rd = rdf_riscv64_rd(word);
    switch (insn->form) {
    case RDF_RV_AUIPC: return move_auipc(m, rd, named);
    case RDF_RV_C_J: return move_jump(m, named);
    case RDF_RV_JAL: return rd ? move_call(m, rd, named) : move_jump(m, named);
    case RDF_RV_BRANCH:
    case RDF_RV_C_BRANCH: return move_branch(m, insn, named);
    case RDF_RV_C_JALR: return move_call_indirect(m, RDF_RV_RA, rd, 0);
    case RDF_RV_JALR:
        if (rd)
            return move_call_indirect(m, rd, rdf_riscv64_rs1(word), (int32_t)word >> 20);
        break;
    default: break;
    }
    put(m, word, insn->len_bytes);
    return REDEFINE_OK;
}

/* Whether execution can come out behind the window. A trap can: its handler may step over it. */
static bool falls_out(const struct rdf_rv_insn *insn)
{
    switch (insn->form) {
    case RDF_RV_JAL: /* a call comes back behind the window by itself */
    case RDF_RV_JALR:
    case RDF_RV_C_J:
    case RDF_RV_C_JR:
    case RDF_RV_C_JALR: return false;
    default: return true;
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

static redefine_status read_window(struct mover *m)
{
    const struct rdf_relocate_request *request = m->request;
    size_t len_bytes = request->window.len_bytes;
    if (!len_bytes || len_bytes > RDF_WINDOW_BYTES_MAX || request->window_addr % RDF_RV_PARCEL_BYTES ||
        request->trampoline_addr % RDF_RV_PARCEL_BYTES)
        return rdf_fail(m->err, REDEFINE_EINVAL,
                        "a window of %zu bytes at 0x%" PRIx64 ", moved to 0x%" PRIx64
                        ": it must have 1 to %d, and both addresses must be even",
                        len_bytes, request->window_addr, request->trampoline_addr, RDF_WINDOW_BYTES_MAX);
    for (size_t off = 0; off < len_bytes; m->count++) {
        struct rdf_rv_insn *insn = &m->insns[m->count];
        if (!rdf_riscv64_read(rdf_span_slice(request->window, off, len_bytes - off), insn))
            return rdf_fail(m->err, REDEFINE_EUNSUPPORTED,
                            "the bytes at 0x%" PRIx64
                            " are no instruction that is known, so they cannot be moved",
                            request->window_addr + off);
        m->offs[m->count] = off;
        m->touched |= insn->len_bytes == RDF_RV_WORD_BYTES ? touches_word(insn->word)
                                                           : touches_parcel(insn->word);
        off += insn->len_bytes;
    }
    return REDEFINE_OK;
}

static redefine_status resolve_inner_branches(struct mover *m)
{
    for (size_t i = 0; i < m->fixup_count; i++) {
        struct fixup *fixup = &m->fixups[i];
        size_t to = 0;
        while (to < m->count && m->offs[to] != fixup->window_off)
            to++;
        if (to == m->count)
            return rdf_fail(m->err, REDEFINE_EUNSUPPORTED,
                            "a branch in the window leads to 0x%" PRIx64
                            ", into the middle of an instruction",
                            m->request->window_addr + fixup->window_off);
        int64_t off = (int64_t)m->out.pcs[to].new_off - (int64_t)fixup->at;
        uint32_t word;
        /* A trampoline is shorter than the reach of every branch. */
        if (fixup->word)
            (void)rdf_riscv64_set_branch(fixup->word, off, &word);
        else
            (void)rdf_riscv64_set_jal(RDF_RV_ZERO, off, &word);
        rdf_riscv64_put(m->out.code + fixup->at, word);
    }
    return REDEFINE_OK;
}

redefine_status rdf_riscv64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                     struct rdf_error *err)
{
    struct mover m = {.request = request, .err = err};
    redefine_status status = read_window(&m);
    for (; status == REDEFINE_OK && m.index < m.count; m.index++) {
        m.out.pcs[m.out.pc_count++] = (struct rdf_pc_pair){(uint8_t)m.offs[m.index],
                                                           (uint16_t)m.out.len_bytes};
        status = move_one(&m);
        if (status == REDEFINE_OK && m.is_full)
            status = refuse_full(&m);
    }
    if (status != REDEFINE_OK)
        return status;
    if (falls_out(&m.insns[m.count - 1])) {
        status = put_jump(&m, request->window_addr + request->window.len_bytes);
        if (status == REDEFINE_OK && m.is_full)
            status = refuse_full(&m);
    }
    if (status == REDEFINE_OK)
        status = resolve_inner_branches(&m);
    if (status == REDEFINE_OK)
        *ret = m.out;
    return status;
}
