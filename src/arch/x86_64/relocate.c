/* SPDX-License-Identifier: MIT
 *
 * Moving a window of x86-64 code. One pass rewrites instruction after instruction:
 *
 *   plain              copied; a RIP-relative disp32 is patched where it stands
 *   jmp, jcc           widened to rel32, or a jump through 8 bytes of address behind it when too far
 *   jrcxz, loop…       have no wide form: they hop over a short jump onto a wide one
 *   call               push of the address behind the original call, then a jump
 *
 * Branches that stay inside the window are written as rel32 with a hole, and the holes are filled once
 * every instruction has its new place. No register and no flag is used: all of them may be live.
 */
#include "arch/x86_64/x86_64.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    FAR_JUMP_BYTES = 14, /* ff 25 00000000, then the address */
    STACK_SLOT_BYTES = 8,
    SHOWN_BEFORE_BYTES = 8, /* of the window, in a sentence */
    SHOWN_BYTES = SHOWN_BEFORE_BYTES + RDF_X86_64_INSN_BYTES_MAX,
};

/* A rel32 at code[at] that has to reach the counterpart of the window's byte at `target_off`. */
struct hole {
    size_t at;
    size_t target_off;
    size_t branch_off; /* the branch, to show it if there is no such counterpart */
};

struct mover {
    const struct rdf_relocate_request *request;
    struct rdf_error *err;
    struct hole holes[RDF_WINDOW_INSNS_MAX]; /* an instruction makes one at most */
    size_t hole_count;
    bool full;
    struct rdf_relocated out;
};

/* The instruction being moved. */
struct subject {
    const ZydisDecodedInstruction *raw;
    struct rdf_insn insn;
    const uint8_t *bytes;
    size_t off; /* in the window */
};

/* ---- refusing ---------------------------------------------------------------------------------- */

/* "cannot move `call rsp` at 0x401004: why", the window's bytes around it, and a caret under the first of
 * them that belongs to the instruction. */
__attribute__((format(printf, 4, 5))) static redefine_status
refuse(const struct mover *m, size_t off, redefine_status status, const char *format, ...)
{
    struct rdf_span window = m->request->window;
    size_t first = off > SHOWN_BEFORE_BYTES ? off - SHOWN_BEFORE_BYTES : 0;
    char text[128], why[320], hex[3 * SHOWN_BYTES + 1] = "";
    uint64_t addr = m->request->window_addr + off;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    (void)rdf_x86_64_format(rdf_span_slice(window, off, window.len_bytes - off), addr, text, sizeof text);
    for (size_t i = 0; i < SHOWN_BYTES && first + i < window.len_bytes; i++)
        (void)snprintf(hex + 3 * i, 4, " %02x", window.data[first + i]);
    return rdf_fail(m->err, status, "cannot move `%s` at 0x%llx: %s\n   %s\n    %*s^", text,
                    (unsigned long long)addr, why, hex, (int)(3 * (off - first)), "");
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void put(struct mover *m, const uint8_t *bytes, size_t len_bytes)
{
    if (m->full || len_bytes > sizeof m->out.code - m->out.len_bytes) {
        m->full = true;
        return;
    }
    memcpy(m->out.code + m->out.len_bytes, bytes, len_bytes);
    m->out.len_bytes += len_bytes;
}

static void put_value(struct mover *m, uint64_t value, size_t len_bytes)
{
    uint8_t bytes[8];

    rdf_x86_64_store(bytes, value, len_bytes);
    put(m, bytes, len_bytes);
}

/* Opcode bytes, in the order in which they stand in memory. */
#define PUT(m, ...) put((m), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Where the next byte will be executed. */
static uint64_t here(const struct mover *m)
{
    return m->request->trampoline_addr + m->out.len_bytes;
}

static bool is_in_window(const struct mover *m, uint64_t addr)
{
    return addr - m->request->window_addr < m->request->window.len_bytes;
}

/* Does the entry jump overwrite the byte at `addr`? No range given means the whole window. */
static bool is_patched(const struct mover *m, uint64_t addr)
{
    uint64_t start = m->request->patched_start, end = m->request->patched_end;

    return start == end ? is_in_window(m, addr) : addr - start < end - start;
}

/* Can a rel32 that ends `ahead_bytes` from here get to `target`? The window's counterparts always can. */
static bool is_near(const struct mover *m, size_t ahead_bytes, uint64_t target)
{
    int32_t rel;

    return is_in_window(m, target) || rdf_x86_64_rel32(here(m) + ahead_bytes, target, &rel);
}

/* The four bytes of a rel32 to a target that is_near; they end the instruction. */
static void put_rel32(struct mover *m, const struct subject *s, uint64_t target)
{
    int32_t rel = 0;

    if (is_in_window(m, target)) {
        m->holes[m->hole_count++] = (struct hole){
            .at = m->out.len_bytes,
            .target_off = (size_t)(target - m->request->window_addr),
            .branch_off = s->off,
        };
    } else {
        (void)rdf_x86_64_rel32(here(m) + 4, target, &rel);
    }
    put_value(m, (uint32_t)rel, 4);
}

static void put_far_jump(struct mover *m, uint64_t target)
{
    PUT(m, 0xff, 0x25, 0, 0, 0, 0); /* jmp [rip] */
    put_value(m, target, 8);
}

/* A jump to `target` itself, wherever that is. */
static void put_jump_away(struct mover *m, uint64_t target)
{
    uint8_t code[RDF_JUMP_BYTES_MAX];
    size_t len_bytes = rdf_x86_64_emit_jump(code, here(m), target);

    if (len_bytes > 0)
        put(m, code, len_bytes);
    else
        put_far_jump(m, target);
}

/* A jump to `target`, or to its counterpart when it lies in the window. */
static void put_jump(struct mover *m, const struct subject *s, uint64_t target)
{
    if (is_in_window(m, target)) {
        PUT(m, 0xe9); /* jmp rel32 */
        put_rel32(m, s, target);
    } else {
        put_jump_away(m, target);
    }
}

/* What put_jump will need, `ahead_bytes` from here. */
static size_t jump_bytes(const struct mover *m, size_t ahead_bytes, uint64_t target)
{
    return is_near(m, ahead_bytes + RDF_X86_64_REL32_BYTES, target) ? RDF_X86_64_REL32_BYTES : FAR_JUMP_BYTES;
}

/* Pushes all 64 bits of `value`; touches neither registers nor flags, and of the stack only the slot. */
static void put_push(struct mover *m, uint64_t value)
{
    PUT(m, 0x68); /* push imm32, sign-extended to 64 bits */
    put_value(m, value, 4);
    if ((uint64_t)(int64_t)(int32_t)(uint32_t)value != value) {
        PUT(m, 0xc7, 0x44, 0x24, 0x04); /* mov dword ptr [rsp+4], imm32 */
        put_value(m, value >> 32, 4);
    }
}

/* ---- one instruction --------------------------------------------------------------------------- */

static bool has_rex_w(const ZydisDecodedInstruction *raw)
{
    return (raw->attributes & ZYDIS_ATTRIB_HAS_REX) && raw->raw.rex.W;
}

/* `lea r, [rip+x]` beyond reach: the value is a constant, and mov leaves the flags alone as lea does. */
static void put_lea_as_mov(struct mover *m, const struct subject *s)
{
    const ZydisDecodedInstruction *raw = s->raw;
    bool has_rex = (raw->attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
    bool is_wide = has_rex_w(raw);
    bool is_16_bit = !is_wide && (raw->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE);
    uint8_t rex_b = has_rex && raw->raw.rex.R ? 1 : 0; /* the register moves from ModRM to the opcode */

    if (is_16_bit)
        PUT(m, 0x66);
    if (is_wide || rex_b)
        PUT(m, (uint8_t)(0x40 | (is_wide ? 8 : 0) | rex_b));
    PUT(m, (uint8_t)(0xb8 | (raw->raw.modrm.reg & 7)));
    put_value(m, s->insn.ref, is_wide ? 8 : is_16_bit ? 2 : 4);
}

/* The instruction's own bytes, `replaced` being a changed copy of them, with the disp32 corrected for
 * the new place. */
static redefine_status move_copy(struct mover *m, const struct subject *s, const uint8_t *replaced)
{
    uint8_t bytes[RDF_X86_64_INSN_BYTES_MAX];
    uint64_t ref = s->insn.ref;
    int32_t rel;

    memcpy(bytes, replaced, s->raw->length);
    if (s->insn.has_ref) {
        if (s->raw->address_width == 32)
            return refuse(m, s->off, REDEFINE_EUNSUPPORTED,
                          "its address is cut to 32 bits (prefix 67), so it depends on where it is executed");
        if (s->insn.ref_is_load && is_patched(m, ref))
            return refuse(m, s->off, REDEFINE_EUNSUPPORTED,
                          "it uses the bytes at 0x%llx as data, and the entry jump overwrites them",
                          (unsigned long long)ref);
        if (!rdf_x86_64_rel32(here(m) + s->raw->length, ref, &rel)) {
            if (!s->insn.ref_is_load) {
                put_lea_as_mov(m, s);
                return REDEFINE_OK;
            }
            return refuse(m, s->off, REDEFINE_ENOMEM,
                          "its operand at 0x%llx is more than 2 GiB from the trampoline at 0x%llx",
                          (unsigned long long)ref, (unsigned long long)m->request->trampoline_addr);
        }
        rdf_x86_64_store(bytes + s->raw->raw.disp.offset, (uint32_t)rel, 4);
    }
    put(m, bytes, s->raw->length);
    return REDEFINE_OK;
}

/* jcc: the wide form 0f 8x; beyond reach the inverse condition hops over a far jump. Branch hints and
 * bnd are dropped: no CPU changes a result for them (MPX left Linux in 5.6). */
static void move_jcc(struct mover *m, const struct subject *s)
{
    uint8_t condition = s->raw->opcode & 15; /* 7x and 0f 8x */

    if (is_near(m, 6, s->insn.target)) {
        PUT(m, 0x0f, (uint8_t)(0x80 | condition));
        put_rel32(m, s, s->insn.target);
    } else {
        PUT(m, (uint8_t)(0x70 | (condition ^ 1)), FAR_JUMP_BYTES);
        put_far_jump(m, s->insn.target);
    }
}

/* jrcxz, jecxz, loop, loope, loopne: short only, and nothing else tests or counts RCX without flags.
 *      loop +2 ; jmp short over ; jmp target ; over: */
static void move_short_only(struct mover *m, const struct subject *s)
{
    if (s->raw->attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE)
        PUT(m, 0x67); /* counts in ECX */
    PUT(m, s->raw->opcode, 2);
    PUT(m, 0xeb, (uint8_t)jump_bytes(m, 2, s->insn.target));
    put_jump(m, s, s->insn.target);
}

/* xbegin: the target is where an abort continues. Beyond reach:
 *      xbegin stub ; jmp short over ; stub: far jump ; over: */
static void move_xbegin(struct mover *m, const struct subject *s)
{
    PUT(m, 0xc7, 0xf8);
    if (is_near(m, 4, s->insn.target)) {
        put_rel32(m, s, s->insn.target);
    } else {
        put_value(m, 2, 4);
        PUT(m, 0xeb, FAR_JUMP_BYTES);
        put_far_jump(m, s->insn.target);
    }
}

static redefine_status move_branch(struct mover *m, const struct subject *s)
{
    switch (s->raw->mnemonic) {
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE: move_short_only(m, s); return REDEFINE_OK;
    case ZYDIS_MNEMONIC_XBEGIN: move_xbegin(m, s); return REDEFINE_OK;
    default: break;
    }
    if (s->raw->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !s->insn.has_target)
        return refuse(m, s->off, REDEFINE_EUNSUPPORTED, "this kind of branch is not known");
    move_jcc(m, s);
    return REDEFINE_OK;
}

static bool is_entry(const struct mover *m, uint64_t addr)
{
    return addr == m->request->window_addr || (addr == m->request->patched_start && is_patched(m, addr));
}

/* A callee returns to the address behind the original call. That has to be code which is still there;
 * the window's bytes behind the entry jump are. */
static redefine_status check_return_addr(const struct mover *m, const struct subject *s)
{
    uint64_t return_addr = s->insn.addr + s->insn.len_bytes;

    if (!is_patched(m, return_addr))
        return REDEFINE_OK;
    return refuse(m, s->off, REDEFINE_EUNSUPPORTED,
                  "the call returns to 0x%llx, and the entry jump overwrites that; a jump that ends there or "
                  "starts behind it would do",
                  (unsigned long long)return_addr);
}

static redefine_status move_call(struct mover *m, const struct subject *s)
{
    uint64_t return_addr = s->insn.addr + s->insn.len_bytes;

    /* call next; pop reg: how position-independent code learns its address. Nothing returns. */
    if (s->insn.target == return_addr) {
        put_push(m, return_addr);
        return REDEFINE_OK;
    }
    redefine_status status = check_return_addr(m, s);
    if (status != REDEFINE_OK)
        return status;
    put_push(m, return_addr);
    /* A function that calls itself calls whatever its entry now is, from here as from the rest of its
     * body. Only a jump back to the first byte, a loop, stays in the relocated code. */
    if (is_entry(m, s->insn.target))
        put_jump_away(m, s->insn.target);
    else
        put_jump(m, s, s->insn.target);
    return REDEFINE_OK;
}

static bool has_rsp_base(const ZydisDecodedInstruction *raw)
{
    bool rex_b = (raw->attributes & ZYDIS_ATTRIB_HAS_REX) && raw->raw.rex.B;

    return (raw->attributes & ZYDIS_ATTRIB_HAS_SIB) && raw->raw.sib.base == 4 && !rex_b;
}

/* jmp [rsp + …] that reads what `call [rsp + …]` read before its push: the displacement grows by a
 * slot, and perhaps from no byte to one or from one to four. */
static redefine_status put_jump_through_stack(struct mover *m, const struct subject *s)
{
    int64_t disp = s->raw->raw.disp.value;
    int64_t new_disp = disp + STACK_SLOT_BYTES;
    size_t head_bytes = s->raw->raw.modrm.offset;
    bool is_byte = new_disp >= INT8_MIN && new_disp <= INT8_MAX;

    if (disp > -2 * STACK_SLOT_BYTES && disp < 0)
        return refuse(m, s->off, REDEFINE_EUNSUPPORTED,
                      "it reads its target from below the stack pointer, where the return address goes");
    if (new_disp > INT32_MAX)
        return refuse(m, s->off, REDEFINE_EUNSUPPORTED, "its displacement cannot grow by the pushed address");
    put_push(m, s->insn.addr + s->insn.len_bytes);
    put(m, s->bytes, head_bytes); /* prefixes and ff */
    PUT(m, (uint8_t)((is_byte ? 0x40 : 0x80) | 4 << 3 | 4), s->bytes[s->raw->raw.sib.offset]);
    put_value(m, (uint64_t)new_disp, is_byte ? 1 : 4);
    return REDEFINE_OK;
}

/* ff /2 becomes push and ff /4: the same operand, the same length. */
static redefine_status move_call_indirect(struct mover *m, const struct subject *s)
{
    uint8_t bytes[RDF_X86_64_INSN_BYTES_MAX];
    size_t modrm_at = s->raw->raw.modrm.offset;
    bool rex_b = (s->raw->attributes & ZYDIS_ATTRIB_HAS_REX) && s->raw->raw.rex.B;
    redefine_status status = check_return_addr(m, s);

    if (status != REDEFINE_OK)
        return status;
    if (s->raw->raw.modrm.mod == 3 && s->raw->raw.modrm.rm == 4 && !rex_b)
        return refuse(m, s->off, REDEFINE_EUNSUPPORTED,
                      "it calls the stack pointer, which pushing the return address changes");
    if (has_rsp_base(s->raw))
        return put_jump_through_stack(m, s);
    put_push(m, s->insn.addr + s->insn.len_bytes);
    memcpy(bytes, s->bytes, s->raw->length);
    bytes[modrm_at] = (uint8_t)((bytes[modrm_at] & 0xc7) | 4 << 3);
    return move_copy(m, s, bytes);
}

/* Why an instruction cannot be moved in whatever form; null when nothing speaks against it. */
static const char *reason_against(const struct subject *s)
{
    switch (s->raw->mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_UIRET:
    case ZYDIS_MNEMONIC_RSM: return "it returns from an interrupt";
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT: return "it returns from the kernel";
    case ZYDIS_MNEMONIC_SYSENTER: return "the kernel returns from it to a fixed address";
    default: break;
    }
    if (s->raw->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return "a far transfer changes the code segment";
    switch (s->insn.flow) {
    case RDF_FLOW_JUMP:
    case RDF_FLOW_JUMP_INDIRECT:
    case RDF_FLOW_BRANCH:
    case RDF_FLOW_CALL:
    case RDF_FLOW_CALL_INDIRECT:
        /* REX.W overrides it: compilers pad calls of __tls_get_addr with 66 66 48. */
        if (rdf_x86_64_is_cut_to_16_bits(s->raw))
            return "Intel's and AMD's CPUs read a near branch with prefix 66 differently";
        return NULL;
    default: return NULL;
    }
}

static redefine_status move_insn(struct mover *m, const struct subject *s)
{
    const char *reason = reason_against(s);

    if (reason)
        return refuse(m, s->off, REDEFINE_EUNSUPPORTED, "%s", reason);
    switch (s->insn.flow) {
    case RDF_FLOW_JUMP: put_jump(m, s, s->insn.target); return REDEFINE_OK;
    case RDF_FLOW_BRANCH: return move_branch(m, s);
    case RDF_FLOW_CALL: return move_call(m, s);
    case RDF_FLOW_CALL_INDIRECT: return move_call_indirect(m, s);
    case RDF_FLOW_JUMP_INDIRECT:
    case RDF_FLOW_RETURN:
    case RDF_FLOW_NEXT:
    case RDF_FLOW_SYSCALL:
    case RDF_FLOW_STOP: break;
    }
    return move_copy(m, s, s->bytes);
}

/* ---- the window -------------------------------------------------------------------------------- */

/* Does the relocated form of `s` run on into what is written behind it? */
static bool continues(const struct subject *s)
{
    switch (s->insn.flow) {
    case RDF_FLOW_JUMP:
    case RDF_FLOW_JUMP_INDIRECT:
    case RDF_FLOW_RETURN:
    case RDF_FLOW_CALL_INDIRECT: return false; /* the callee returns behind the original call */
    case RDF_FLOW_CALL: return s->insn.target == s->insn.addr + s->insn.len_bytes;
    case RDF_FLOW_STOP: return s->raw->mnemonic == ZYDIS_MNEMONIC_INT3; /* a debugger may step on */
    default: return true;
    }
}

/* New offset of the window's byte at `old_off`; false when no instruction starts there. */
static bool find_counterpart(const struct mover *m, size_t old_off, size_t *ret_new_off)
{
    const uint8_t *window = m->request->window.data;

    for (size_t i = 0; i < m->out.pc_count; i++) {
        size_t start = m->out.pcs[i].old_off;
        if (start == old_off) {
            *ret_new_off = m->out.pcs[i].new_off;
            return true;
        }
        /* glibc jumps over a lock prefix when there is one thread only. What takes lock is copied. */
        if (start + 1 == old_off && window[start] == 0xf0 && m->out.code[m->out.pcs[i].new_off] == 0xf0) {
            *ret_new_off = (size_t)m->out.pcs[i].new_off + 1;
            return true;
        }
    }
    return false;
}

static redefine_status fill_holes(struct mover *m)
{
    for (size_t i = 0; i < m->hole_count; i++) {
        const struct hole *hole = &m->holes[i];
        uint64_t target = m->request->window_addr + hole->target_off;
        size_t new_off;

        if (!find_counterpart(m, hole->target_off, &new_off))
            return refuse(m, hole->branch_off, REDEFINE_EUNSUPPORTED,
                          "it goes to 0x%llx, into the middle of another instruction of the window",
                          (unsigned long long)target);
        rdf_x86_64_store(m->out.code + hole->at, (uint32_t)(new_off - (hole->at + 4)), 4);
    }
    return REDEFINE_OK;
}

static redefine_status move_window(struct mover *m)
{
    const struct rdf_relocate_request *request = m->request;
    bool runs_on = true;

    for (size_t off = 0; off < request->window.len_bytes;) {
        struct rdf_span rest = rdf_span_slice(request->window, off, request->window.len_bytes - off);
        ZydisDecodedInstruction raw;

        if (!rdf_x86_64_read(rest, &raw))
            return refuse(m, off, REDEFINE_EUNSUPPORTED,
                          "these bytes are no known instruction, or only part of one");
        if (m->out.pc_count == RDF_WINDOW_INSNS_MAX)
            return refuse(m, off, REDEFINE_EUNSUPPORTED, "the window has more than %d instructions",
                          RDF_WINDOW_INSNS_MAX);
        struct subject s = {&raw, rdf_x86_64_describe(&raw, request->window_addr + off), rest.data, off};
        m->out.pcs[m->out.pc_count++] = (struct rdf_pc_pair){(uint8_t)off, (uint16_t)m->out.len_bytes};
        redefine_status status = move_insn(m, &s);
        if (status != REDEFINE_OK)
            return status;
        runs_on = continues(&s);
        off += raw.length;
        if (runs_on && off == request->window.len_bytes)
            put_jump(m, &s, request->window_addr + off);
        if (m->full)
            return refuse(m, s.off, REDEFINE_EUNSUPPORTED,
                          "up to here the moved window already needs more than %d bytes",
                          RDF_TRAMPOLINE_BYTES_MAX);
    }
    return fill_holes(m);
}

redefine_status rdf_x86_64_relocate(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                    struct rdf_error *err)
{
    struct mover m;

    /* Not all of it: holes, code and pairs are read only as far as they are written. */
    m.request = request;
    m.err = err;
    m.hole_count = 0;
    m.full = false;
    m.out.len_bytes = 0;
    m.out.pc_count = 0;
    if (!request->window.data || request->window.len_bytes == 0 ||
        request->window.len_bytes > RDF_WINDOW_BYTES_MAX)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED, "a window has 1 to %d bytes; the one at 0x%llx has %zu",
                        RDF_WINDOW_BYTES_MAX, (unsigned long long)request->window_addr,
                        request->window.len_bytes);
    redefine_status status = move_window(&m);
    if (status != REDEFINE_OK)
        return status;
    memcpy(ret->code, m.out.code, m.out.len_bytes);
    memcpy(ret->pcs, m.out.pcs, m.out.pc_count * sizeof *ret->pcs);
    ret->len_bytes = m.out.len_bytes;
    ret->pc_count = m.out.pc_count;
    return REDEFINE_OK;
}
