/* SPDX-License-Identifier: MIT
 *
 * A window rewritten for another address.
 *
 * Far forms and BTI. A direct branch needs no landing pad where it goes, so its far form must not need
 * one either: `br` would (it sets PSTATE.BTYPE, D8.4.2), `ret Xn` does not. An indirect call did need
 * one and keeps needing it: its `blr` becomes a `br` through x16 or x17, which `bti c` and paciasp
 * accept exactly as they accept a blr.
 *
 * Registers. x16 and x17 carry nothing at a function's entry (AAPCS64 6.1.1), so a far form may use one
 * of them, until the window itself has touched it: then the code behind may want its value.
 */
#include "arch/aarch64/aarch64.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    WORDS_MAX = RDF_WINDOW_BYTES_MAX / RDF_AARCH64_WORD_BYTES,
    JUMP_WORDS_MAX = 5, /* a 64-bit address and the ret */
    TOUCH_X16 = 1,
    TOUCH_X17 = 2,
    TOUCH_BOTH = 3,
};

/* A branch in the trampoline whose target is in the trampoline, filled in at the end. */
struct fixup {
    size_t at;           /* offset of the branch in the trampoline */
    uint64_t window_off; /* what it goes to, as an offset in the window */
    enum rdf_aarch64_form form;
    uint32_t word;
};

struct mover {
    const struct rdf_relocate_request *request;
    struct rdf_error *err;
    size_t count; /* instructions in the window */
    uint32_t words[WORDS_MAX];
    enum rdf_aarch64_form forms[WORDS_MAX];
    unsigned touches[WORDS_MAX]; /* which of x16, x17 each one reads or writes */
    bool has_inner_branch;       /* then "before" means nothing */
    size_t index;                /* the instruction being moved; count for the jump back */
    struct rdf_relocated out;
    bool is_full;
    struct fixup fixups[WORDS_MAX];
    size_t fixup_count;
};

/* --- which words touch x16 and x17 ------------------------------------------------------------ */

static unsigned touch_of(unsigned reg)
{
    return reg == RDF_AARCH64_X16 ? TOUCH_X16 : reg == RDF_AARCH64_X17 ? TOUCH_X17 : 0;
}

static unsigned touch_field(uint32_t word, unsigned low)
{
    return touch_of(rdf_aarch64_bits(word, low + 4, low));
}

static unsigned touch_all_fields(uint32_t word)
{
    return touch_field(word, 0) | touch_field(word, 5) | touch_field(word, 10) | touch_field(word, 16);
}

static unsigned touches_system(uint32_t word)
{
    if ((word & 0xfffff01f) == 0xd503201f) { /* hints */
        unsigned hint = rdf_aarch64_bits(word, 11, 5);
        if (hint == 8 || hint == 10 || hint == 12 || hint == 14) /* pacia1716, pacib1716, aut… */
            return TOUCH_BOTH;
        return hint == 40 ? TOUCH_X16 : 0; /* chkfeat x16 */
    }
    unsigned touched = touch_field(word, 0);
    if ((word & 0xffc00000) == 0xd5400000 && touched) /* sysp, mrrs, msrr: Xt and the next one */
        touched = TOUCH_BOTH;
    return touched;
}

static unsigned touches_load_store(uint32_t word)
{
    bool is_fp = word >> 26 & 1;
    if ((word & 0x3b000000) == 0x39000000) /* unsigned offset */
        return (is_fp ? 0 : touch_field(word, 0)) | touch_field(word, 5);
    if ((word & 0x3a000000) == 0x28000000) /* pair */
        return (is_fp ? 0 : touch_field(word, 0) | touch_field(word, 10)) | touch_field(word, 5);
    if ((word & 0xffe08c00) == 0xf8208000) { /* ld64b, st64b and kin: Xt…Xt+7 */
        unsigned rt = rdf_aarch64_bits(word, 4, 0);
        if (rt <= RDF_AARCH64_X17 && rt + 7 >= RDF_AARCH64_X16)
            return TOUCH_BOTH;
    }
    /* casp and others name the first of two registers; a field that is no register costs nothing
     * but a far form. */
    unsigned touched = touch_all_fields(word);
    return touched & TOUCH_X16 ? TOUCH_BOTH : touched;
}

static unsigned touches_plain(uint32_t word)
{
    if ((word & 0x1c000000) == 0x10000000) { /* data processing, immediate */
        unsigned op = rdf_aarch64_bits(word, 25, 23);
        unsigned touched = touch_field(word, 0);
        if (op != 5) /* movz, movn, movk have one register */
            touched |= touch_field(word, 5);
        if (op == 7) /* extr */
            touched |= touch_field(word, 16);
        return touched;
    }
    if ((word & 0x1c000000) == 0x14000000)
        return touches_system(word);
    if ((word & 0x0a000000) == 0x08000000)
        return touches_load_store(word);
    if ((word & 0xffff03ff) == 0xdac103fe) /* pacia171615 and kin */
        return TOUCH_BOTH;
    if ((word & 0x0e000000) == 0x0a000000) { /* data processing, register */
        bool is_three_source = rdf_aarch64_bits(word, 28, 24) == 0x1b;
        return touch_field(word, 0) | touch_field(word, 5) | touch_field(word, 16) |
               (is_three_source ? touch_field(word, 10) : 0);
    }
    if ((word & 0x0e000000) == 0x0e000000) /* SIMD and FP: fmov, umov, dup… have one general register */
        return touch_field(word, 0) | touch_field(word, 5);
    return touch_all_fields(word); /* SVE, SME */
}

static unsigned touches(enum rdf_aarch64_form form, uint32_t word)
{
    switch (form) {
    case RDF_A64_PLAIN: return touches_plain(word);
    case RDF_A64_CBZ:
    case RDF_A64_TBZ:
    case RDF_A64_ADR:
    case RDF_A64_ADRP:
    case RDF_A64_LDR:
    case RDF_A64_LDRSW: return touch_field(word, 0);
    case RDF_A64_CMP_B: /* bits 20:16 are a register or part of a number */
        return touch_field(word, 0) | touch_field(word, 16);
    case RDF_A64_BR:
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH:
    case RDF_A64_RET: return touch_field(word, 0) | touch_field(word, 5);
    case RDF_A64_SVC: return TOUCH_X16; /* Darwin's system call number */
    default: return 0;
    }
}

/* x17 or x16, whichever this instruction's new form may overwrite; 0 when neither. `leaves`: the code
 * that overwrites it does not come back into the window. */
static unsigned scratch(const struct mover *m, bool leaves)
{
    unsigned touched = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (i <= m->index || !leaves || m->has_inner_branch)
            touched |= m->touches[i];
    }
    if (!(touched & TOUCH_X17))
        return RDF_AARCH64_X17;
    return touched & TOUCH_X16 ? 0 : RDF_AARCH64_X16;
}

/* --- refusals --------------------------------------------------------------------------------- */

enum { SHOWN_WORDS_BEFORE = 2, SHOWN_WORDS = 5 };

/* The window's bytes around the instruction being moved, and a caret under the first of it. */
static void draw_window(const struct mover *m, char *ret_text, size_t text_bytes)
{
    struct rdf_span window = m->request->window;
    size_t first = m->index > SHOWN_WORDS_BEFORE ? m->index - SHOWN_WORDS_BEFORE : 0;
    size_t used = 0;
    for (size_t i = 0; i < SHOWN_WORDS * RDF_AARCH64_WORD_BYTES && used < text_bytes; i++) {
        size_t off = first * RDF_AARCH64_WORD_BYTES + i;
        if (off < window.len_bytes)
            used += (size_t)snprintf(ret_text + used, text_bytes - used, " %02x", window.data[off]);
    }
    if (used < text_bytes)
        (void)snprintf(ret_text + used, text_bytes - used, "\n   %*s",
                       (int)((m->index - first) * RDF_AARCH64_WORD_BYTES * 3 + 2), "^");
}

static redefine_status refuse(struct mover *m, redefine_status status, const char *why)
{
    size_t off = m->index * RDF_AARCH64_WORD_BYTES;
    uint64_t addr = m->request->window_addr + off;
    char drawing[2 * (SHOWN_WORDS * RDF_AARCH64_WORD_BYTES * 3 + 16)];
    draw_window(m, drawing, sizeof drawing);
    if (m->index == m->count)
        return rdf_fail(m->err, status, "cannot jump back to 0x%" PRIx64 " from 0x%" PRIx64 ": %s\n   %s",
                        addr, m->request->trampoline_addr, why, drawing);
    char text[64];
    (void)rdf_aarch64_format(rdf_span_slice(m->request->window, off, RDF_AARCH64_WORD_BYTES), addr, text,
                             sizeof text);
    return rdf_fail(m->err, status,
                    "cannot move `%s` (0x%08" PRIx32 ") at 0x%" PRIx64 " to 0x%" PRIx64 ": %s\n   %s", text,
                    m->words[m->index], addr, m->request->trampoline_addr, why, drawing);
}

static redefine_status refuse_far(struct mover *m, uint64_t named)
{
    char why[160];
    (void)snprintf(why, sizeof why,
                   "0x%" PRIx64 " is out of its reach, and the window uses both x16 and x17, so that no "
                   "register is left for a far form",
                   named);
    return refuse(m, REDEFINE_ENOMEM, why);
}

static redefine_status refuse_full(struct mover *m)
{
    return refuse(m, REDEFINE_ENOMEM, "with far forms the window needs more than a trampoline holds");
}

/* --- writing ---------------------------------------------------------------------------------- */

static uint64_t here(const struct mover *m)
{
    return m->request->trampoline_addr + m->out.len_bytes;
}

static void put(struct mover *m, uint32_t word)
{
    if (m->out.len_bytes + RDF_AARCH64_WORD_BYTES > RDF_TRAMPOLINE_BYTES_MAX) {
        m->is_full = true;
        return;
    }
    rdf_aarch64_put(m->out.code + m->out.len_bytes, word);
    m->out.len_bytes += RDF_AARCH64_WORD_BYTES;
}

static void put_all(struct mover *m, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(m, words[i]);
}

static void put_address(struct mover *m, unsigned rd, uint64_t value)
{
    uint32_t words[4];
    put_all(m, words, rdf_aarch64_materialise(words, rd, value, here(m)));
}

static void put_inner_branch(struct mover *m, enum rdf_aarch64_form form, uint32_t word, uint64_t window_off)
{
    m->fixups[m->fixup_count++] = (struct fixup){m->out.len_bytes, window_off, form, word};
    put(m, word);
}

static bool is_inside(const struct mover *m, uint64_t addr)
{
    return addr - m->request->window_addr < m->request->window.len_bytes;
}

/* Does the entry jump overwrite any of `len_bytes` at `addr`? No range given means the whole window. */
static bool is_patched(const struct mover *m, uint64_t addr, unsigned len_bytes)
{
    uint64_t start = m->request->patched_start, end = m->request->patched_end;
    if (start == end) {
        start = m->request->window_addr;
        end = start + m->request->window.len_bytes;
    }
    return addr - start < end - start || start - addr < len_bytes;
}

#define B_WORD UINT32_C(0x14000000)

/* A jump at `pc` that leaves the window. Returns how many words, 0 when there is no register for it. */
static size_t make_jump(const struct mover *m, uint32_t ret_words[JUMP_WORDS_MAX], uint64_t pc,
                        uint64_t target)
{
    uint32_t word = B_WORD;
    if (rdf_aarch64_set_displacement(RDF_A64_B, &word, (int64_t)(target - pc))) {
        ret_words[0] = word;
        return 1;
    }
    unsigned reg = scratch(m, true);
    if (!reg)
        return 0;
    size_t count = rdf_aarch64_materialise(ret_words, reg, target, pc);
    ret_words[count++] = rdf_aarch64_ret(reg); /* not br: see the top of this file */
    return count;
}

static redefine_status put_jump(struct mover *m, uint64_t target)
{
    uint32_t words[JUMP_WORDS_MAX];
    size_t count = make_jump(m, words, here(m), target);
    if (!count)
        return refuse_far(m, target);
    put_all(m, words, count);
    return REDEFINE_OK;
}

/* --- one form each ---------------------------------------------------------------------------- */

static redefine_status move_jump(struct mover *m, uint64_t target)
{
    if (!is_inside(m, target))
        return put_jump(m, target);
    put_inner_branch(m, RDF_A64_B, B_WORD, target - m->request->window_addr);
    return REDEFINE_OK;
}

/*   b.cond far      →   b.!cond .+n        cb<cc> far      →   cb<cc> .+8
 *                       far jump           (no inverse         b .+n
 *                                          in every form)      far jump               */
static redefine_status move_conditional(struct mover *m, enum rdf_aarch64_form form, uint32_t word,
                                        uint64_t target)
{
    if (is_inside(m, target)) {
        put_inner_branch(m, form, word, target - m->request->window_addr);
        return REDEFINE_OK;
    }
    if (rdf_aarch64_set_displacement(form, &word, (int64_t)(target - here(m)))) {
        put(m, word);
        return REDEFINE_OK;
    }
    bool has_inverse = form != RDF_A64_CMP_B;
    uint32_t far[JUMP_WORDS_MAX];
    size_t head_words = has_inverse ? 1 : 2;
    size_t count = make_jump(m, far, here(m) + head_words * RDF_AARCH64_WORD_BYTES, target);
    if (!count)
        return refuse_far(m, target);
    int64_t over = (int64_t)(count + 1) * RDF_AARCH64_WORD_BYTES;
    if (has_inverse) {
        /* The lowest bit of a condition inverts it (C1.2.4); bit 24 makes cbz cbnz and tbz tbnz. */
        word ^= form == RDF_A64_B_COND ? UINT32_C(1) : UINT32_C(1) << 24;
        (void)rdf_aarch64_set_displacement(form, &word, over);
        put(m, word);
    } else {
        (void)rdf_aarch64_set_displacement(form, &word, 2 * RDF_AARCH64_WORD_BYTES);
        put(m, word);
        uint32_t skip = B_WORD;
        (void)rdf_aarch64_set_displacement(RDF_A64_B, &skip, over);
        put(m, skip);
    }
    put_all(m, far, count);
    return REDEFINE_OK;
}

/* Where a call comes back to, in the original code. */
static uint64_t return_address(const struct mover *m)
{
    return m->request->window_addr + (m->index + 1) * RDF_AARCH64_WORD_BYTES;
}

static redefine_status refuse_inner_return(struct mover *m)
{
    return refuse(m, REDEFINE_EUNSUPPORTED,
                  "the callee would return into the bytes that the entry jump overwrites");
}

static redefine_status move_call(struct mover *m, uint64_t target)
{
    uint64_t back = return_address(m);
    bool calls_next = target == back; /* how position-independent code asks where it is */
    if (!calls_next && is_patched(m, back, RDF_AARCH64_WORD_BYTES))
        return refuse_inner_return(m);
    put_address(m, RDF_AARCH64_X30, back);
    if (calls_next && is_inside(m, back))
        return REDEFINE_OK;
    /* A function that calls itself calls whatever its entry now is, from here as from the rest of its
     * body. Only a jump back to the first instruction, a loop, stays in the relocated code. */
    return target == m->request->window_addr ? put_jump(m, target) : move_jump(m, target);
}

static redefine_status move_call_indirect(struct mover *m, enum rdf_aarch64_form form, uint32_t word)
{
    if (is_patched(m, return_address(m), RDF_AARCH64_WORD_BYTES))
        return refuse_inner_return(m);
    unsigned rn = rdf_aarch64_bits(word, 9, 5), rm = rdf_aarch64_bits(word, 4, 0);
    bool is_ip = touch_of(rn) != 0;
    unsigned reg = is_ip ? rn : scratch(m, true);
    if (!reg)
        return refuse(m, REDEFINE_EUNSUPPORTED,
                      "a call becomes a jump through x16 or x17, which landing pads accept, and the window "
                      "uses both");
    uint32_t branch = (word & ~(UINT32_C(1) << 21 | UINT32_C(31) << 5)) | reg << 5; /* blr* → br* */
    if (!is_ip)
        put(m, rdf_aarch64_mov(reg, rn));
    if (form == RDF_A64_BLR_AUTH && rm == RDF_AARCH64_X30) {
        /* The modifier is the old x30; it must outlive the new one. */
        unsigned other = reg == RDF_AARCH64_X17 ? RDF_AARCH64_X16 : RDF_AARCH64_X17;
        unsigned used = 0;
        for (size_t i = 0; i <= m->index; i++)
            used |= m->touches[i];
        if ((used & touch_of(other)) || m->has_inner_branch)
            return refuse(m, REDEFINE_EUNSUPPORTED,
                          "its modifier is x30, and the window leaves no register to keep that in");
        put(m, rdf_aarch64_mov(other, RDF_AARCH64_X30));
        branch = (branch & ~UINT32_C(31)) | other;
    }
    put_address(m, RDF_AARCH64_X30, return_address(m));
    put(m, branch);
    return REDEFINE_OK;
}

static redefine_status move_address(struct mover *m, enum rdf_aarch64_form form, uint32_t word,
                                    uint64_t value)
{
    unsigned rd = rdf_aarch64_bits(word, 4, 0);
    /* The function's own address is as good as before; one behind it is where a loop or a table begins.
     * A page, which adrp names, says nothing of what is wanted there. */
    if (form == RDF_A64_ADR && is_patched(m, value, 1) && value != m->request->window_addr)
        return refuse(m, REDEFINE_EUNSUPPORTED,
                      "it takes the address of bytes that the entry jump overwrites");
    if (rd == RDF_AARCH64_ZR) /* where add has sp */
        put(m, RDF_AARCH64_NOP_WORD);
    else if (form == RDF_A64_ADRP &&
             rdf_aarch64_set_displacement(form, &word, (int64_t)(value - (here(m) & ~UINT64_C(0xfff)))))
        put(m, word);
    else
        put_address(m, rd, value);
    return REDEFINE_OK;
}

/* ldr Rt, [base] (unsigned offset 0) for a literal load: opcode and size. */
static uint32_t load_through_register(enum rdf_aarch64_form form, uint32_t word, unsigned *ret_size_bytes)
{
    unsigned opc = word >> 30;
    if (form == RDF_A64_LDR) {
        *ret_size_bytes = 4U << opc;
        return opc ? UINT32_C(0xf9400000) : UINT32_C(0xb9400000);
    }
    if (form == RDF_A64_LDRSW) {
        *ret_size_bytes = 4;
        return UINT32_C(0xb9800000);
    }
    *ret_size_bytes = 4U << opc;
    return opc == 0 ? UINT32_C(0xbd400000) : opc == 1 ? UINT32_C(0xfd400000) : UINT32_C(0x3dc00000);
}

static redefine_status move_literal(struct mover *m, enum rdf_aarch64_form form, uint32_t word,
                                    uint64_t literal)
{
    unsigned size_bytes, rt = rdf_aarch64_bits(word, 4, 0);
    uint32_t load = load_through_register(form, word, &size_bytes);
    if (is_patched(m, literal, size_bytes))
        return refuse(m, REDEFINE_EUNSUPPORTED, "it reads bytes that the entry jump overwrites");
    if (rdf_aarch64_set_displacement(form, &word, (int64_t)(literal - here(m)))) {
        put(m, word);
        return REDEFINE_OK;
    }
    bool has_base = form != RDF_A64_LDR_FP && rt != RDF_AARCH64_ZR;
    unsigned base = has_base ? rt : scratch(m, false);
    if (!base)
        return refuse_far(m, literal);
    put_address(m, base, literal);
    put(m, load | base << 5 | rt);
    return REDEFINE_OK;
}

static redefine_status move_prefetch(struct mover *m, uint32_t word, uint64_t literal)
{
    /* A hint only (C6.2.280): out of reach it becomes none. */
    if (!rdf_aarch64_set_displacement(RDF_A64_PRFM, &word, (int64_t)(literal - here(m))))
        word = RDF_AARCH64_NOP_WORD;
    put(m, word);
    return REDEFINE_OK;
}

static bool is_always(uint32_t word)
{
    return rdf_aarch64_bits(word, 3, 0) >= 14; /* al and nv (C1.2.4) */
}

static redefine_status move_one(struct mover *m)
{
    uint32_t word = m->words[m->index];
    enum rdf_aarch64_form form = m->forms[m->index];
    uint64_t addr = m->request->window_addr + m->index * RDF_AARCH64_WORD_BYTES;
    uint64_t named = rdf_aarch64_named_address(form, word, addr);
    switch (form) {
    case RDF_A64_B: return move_jump(m, named);
    case RDF_A64_B_COND:
        if (is_always(word))
            return move_jump(m, named);
        return move_conditional(m, form, word, named);
    case RDF_A64_CBZ:
    case RDF_A64_TBZ:
    case RDF_A64_CMP_B: return move_conditional(m, form, word, named);
    case RDF_A64_BL: return move_call(m, named);
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH: return move_call_indirect(m, form, word);
    case RDF_A64_ADR:
    case RDF_A64_ADRP: return move_address(m, form, word, named);
    case RDF_A64_LDR:
    case RDF_A64_LDRSW:
    case RDF_A64_LDR_FP: return move_literal(m, form, word, named);
    case RDF_A64_PRFM: return move_prefetch(m, word, named);
    case RDF_A64_PC_SIGN:
    case RDF_A64_PC_SIGN_LANDING:
    case RDF_A64_PC_SIGN_RET:
        return refuse(m, REDEFINE_EUNSUPPORTED, "its own address is part of a pointer's signature");
    case RDF_A64_UNALLOCATED: return refuse(m, REDEFINE_EUNSUPPORTED, "it is no instruction that is known");
    default: put(m, word); return REDEFINE_OK;
    }
}

/* Whether execution can come out behind the window. A trap can: its handler may step over it. */
static bool falls_out(enum rdf_aarch64_form form, uint32_t word)
{
    switch (form) {
    case RDF_A64_B:
    case RDF_A64_BL: /* comes back behind the window by itself */
    case RDF_A64_BLR:
    case RDF_A64_BLR_AUTH_Z:
    case RDF_A64_BLR_AUTH:
    case RDF_A64_BR:
    case RDF_A64_RET:
    case RDF_A64_ERET: return false;
    case RDF_A64_B_COND: return !is_always(word);
    default: return true;
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

static redefine_status read_window(struct mover *m)
{
    const struct rdf_relocate_request *request = m->request;
    size_t len_bytes = request->window.len_bytes;
    uint64_t together = len_bytes | request->window_addr | request->trampoline_addr;
    if (!len_bytes || len_bytes > RDF_WINDOW_BYTES_MAX || together % RDF_AARCH64_WORD_BYTES)
        return rdf_fail(m->err, REDEFINE_EINVAL,
                        "a window of %zu bytes at 0x%" PRIx64 ", moved to 0x%" PRIx64
                        ": all three must be multiples of %d, and the length 4 to %d",
                        len_bytes, request->window_addr, request->trampoline_addr, RDF_AARCH64_WORD_BYTES,
                        RDF_WINDOW_BYTES_MAX);
    m->count = len_bytes / RDF_AARCH64_WORD_BYTES;
    for (size_t i = 0; i < m->count; i++) {
        struct rdf_insn insn;
        size_t off = i * RDF_AARCH64_WORD_BYTES;
        (void)rdf_span_u32(request->window, off, &m->words[i]);
        m->forms[i] = rdf_aarch64_form_of(m->words[i]);
        m->touches[i] = touches(m->forms[i], m->words[i]);
        if (rdf_aarch64_decode(rdf_span_slice(request->window, off, RDF_AARCH64_WORD_BYTES),
                               request->window_addr + off, &insn) &&
            insn.has_target && is_inside(m, insn.target))
            m->has_inner_branch = true;
    }
    return REDEFINE_OK;
}

static void resolve_inner_branches(struct mover *m)
{
    for (size_t i = 0; i < m->fixup_count; i++) {
        struct fixup *fixup = &m->fixups[i];
        size_t to = m->out.pcs[fixup->window_off / RDF_AARCH64_WORD_BYTES].new_off;
        /* A trampoline is shorter than the reach of every branch. */
        (void)rdf_aarch64_set_displacement(fixup->form, &fixup->word, (int64_t)to - (int64_t)fixup->at);
        rdf_aarch64_put(m->out.code + fixup->at, fixup->word);
    }
}

redefine_status rdf_aarch64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                     struct rdf_error *err)
{
    struct mover m = {.request = request, .err = err};
    redefine_status status = read_window(&m);
    for (; status == REDEFINE_OK && m.index < m.count; m.index++) {
        m.out.pcs[m.out.pc_count++] = (struct rdf_pc_pair){(uint8_t)(m.index * RDF_AARCH64_WORD_BYTES),
                                                           (uint16_t)m.out.len_bytes};
        status = move_one(&m);
        if (status == REDEFINE_OK && m.is_full)
            status = refuse_full(&m);
    }
    if (status != REDEFINE_OK)
        return status;
    if (falls_out(m.forms[m.count - 1], m.words[m.count - 1])) {
        status = put_jump(&m, request->window_addr + request->window.len_bytes);
        if (status == REDEFINE_OK && m.is_full)
            status = refuse_full(&m);
        if (status != REDEFINE_OK)
            return status;
    }
    resolve_inner_branches(&m);
    *ret = m.out;
    return REDEFINE_OK;
}
