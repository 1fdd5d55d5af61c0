/* SPDX-License-Identifier: MIT
 *
 * How Go functions begin: the three forms of the stack check (cmd/internal/obj/x86, stacksplit), by the size
 * of the frame; functions with a frame of less than 128 bytes that call nothing have none.
 *
 *     small                      large                           huge, which could wrap around
 *     CMPQ SP, 16(R14)           LEAQ -n(SP), R12                MOVQ SP, R12
 *     JLS  more                  CMPQ R12, 16(R14)               SUBQ $n, R12
 *                                JLS  more                       JCS  more
 *                                                                CMPQ R12, 16(R14)
 *                                                                JLS  more
 *
 * A small frame has at most 128 bytes, which every function finds below the limit (StackSmall in
 * internal/abi/stack.go). Functions of the runtime that must be on the system's stack compare with 24(R14),
 * which ends the program.
 */
#include "go/x86_64/room.h"

#include "base/bytes.h"

struct form {
    uint8_t len_bytes;
    uint8_t mask_from; /* bytes from here on are a displacement or an immediate */
    uint8_t bytes[8];
};

static const struct form compare_sp = {4, 4, {0x49, 0x3b, 0x66, 0x10}};
static const struct form compare_sp_system = {4, 4, {0x49, 0x3b, 0x66, 0x18}};
static const struct form compare_r12 = {4, 4, {0x4d, 0x3b, 0x66, 0x10}};
static const struct form compare_r12_system = {4, 4, {0x4d, 0x3b, 0x66, 0x18}};
static const struct form lea_short = {5, 4, {0x4c, 0x8d, 0x64, 0x24}};
static const struct form lea_long = {8, 4, {0x4c, 0x8d, 0xa4, 0x24}};
static const struct form move_sp = {3, 3, {0x49, 0x89, 0xe4}};
static const struct form subtract = {7, 3, {0x49, 0x81, 0xec}};

struct reader {
    struct rdf_span code;
    uint64_t addr;
    struct rdf_go_entry *entry;
};

static bool take(struct reader *reader, const struct form *form)
{
    size_t at = reader->entry->check_bytes;
    if (at + form->len_bytes > reader->code.len_bytes ||
        !rdf_bytes_equal(reader->code.data + at, form->bytes, form->mask_from))
        return false;
    if (at < 5 && at > 0)
        reader->entry->point[reader->entry->point_count++] = (uint8_t)at;
    reader->entry->check_bytes += form->len_bytes;
    return true;
}

/* JLS (0x76) or JCS (0x72) to where more stack is asked for, in either length. */
static bool take_branch(struct reader *reader, uint8_t opcode)
{
    struct rdf_go_entry *entry = reader->entry;
    size_t at = entry->check_bytes;
    const uint8_t *code = reader->code.data + at;
    int64_t off;
    size_t len;
    if (at + 6 <= reader->code.len_bytes && code[0] == 0x0f && code[1] == opcode + 0x10) {
        uint32_t field = (uint32_t)code[2] | (uint32_t)code[3] << 8 | (uint32_t)code[4] << 16 |
                         (uint32_t)code[5] << 24;
        off = (int32_t)field;
        len = 6;
    } else if (at + 2 <= reader->code.len_bytes && code[0] == opcode) {
        off = (int8_t)code[1];
        len = 2;
    } else {
        return false;
    }
    uint64_t to = reader->addr + at + len + (uint64_t)off;
    if (entry->more_count && to != entry->more)
        return false;
    if (at < 5)
        entry->point[entry->point_count++] = (uint8_t)at;
    entry->more = to;
    entry->more_at[entry->more_count++] = (uint8_t)at;
    entry->check_bytes += (uint8_t)len;
    return true;
}

bool rdf_go_x86_64_read_check(struct rdf_span code, uint64_t addr, struct rdf_go_entry *entry)
{
    struct reader in = {code, addr, entry};
    struct reader *reader = &in;
    entry->is_small_frame = take(reader, &compare_sp);
    if (entry->is_small_frame || take(reader, &compare_sp_system))
        return take_branch(reader, 0x76);
    bool has_limit = take(reader, &lea_short) || take(reader, &lea_long) ||
                     (take(reader, &move_sp) && take(reader, &subtract) && take_branch(reader, 0x72));
    return has_limit && (take(reader, &compare_r12) || take(reader, &compare_r12_system)) &&
           take_branch(reader, 0x76);
}

redefine_status rdf_go_x86_64_entry(struct rdf_span code, uint64_t addr, struct rdf_go_entry *ret,
                                    struct rdf_error *err)
{
    return rdf_go_begin(&rdf_go_x86_64_room, code, addr, ret, err);
}

/* ---- functions without a check ---- */

/* An instruction as far as its operand in memory: [REX] [0F] opcode, ModRM … */
struct operand {
    uint8_t rex, opcode, modrm;
    bool is_two_byte;
    const uint8_t *rest; /* SIB, displacement */
};

static struct operand operand_of(const uint8_t *code, size_t len)
{
    struct operand operand = {0};
    size_t at = code[0] >= 0x40 && code[0] <= 0x4f;
    operand.rex = at ? code[0] : 0;
    operand.is_two_byte = code[at] == 0x0f && len > at + 1;
    at += operand.is_two_byte;
    operand.opcode = code[at];
    operand.modrm = len > at + 1 ? code[at + 1] : 0;
    operand.rest = code + at + 2;
    return operand;
}

/* Moves and arithmetic: what they can fault for is their operand in memory. */
static bool is_plain(const struct operand *operand)
{
    uint8_t opcode = operand->opcode;
    if (operand->is_two_byte)
        return opcode == 0xb6 || opcode == 0xb7 || opcode == 0xbe || opcode == 0xbf; /* movzx, movsx */
    return (opcode < 0x40 && (opcode & 7) < 4) || (opcode >= 0x80 && opcode <= 0x8b) || opcode == 0xc1 ||
           opcode == 0xd1 || opcode == 0xc6 || opcode == 0xc7 || opcode == 0x63 ||
           (opcode >= 0xfe && (operand->modrm >> 3 & 7) < 2); /* inc, dec */
}

/* An instruction that works on registers, on the program's own data, or on the frame that the function makes
 * for itself. */
static bool cannot_fault(const uint8_t *code, size_t len)
{
    struct operand operand = operand_of(code, len);
    uint8_t opcode = operand.opcode, modrm = operand.modrm;
    if (operand.is_two_byte && opcode == 0x1f)
        return true; /* nop */
    if (!operand.is_two_byte && ((opcode >= 0x50 && opcode <= 0x5f) || (opcode >= 0xb8 && opcode <= 0xbf) ||
                                 (opcode < 0x40 && (opcode & 7) < 6 && (opcode & 7) >= 4) || opcode == 0x90 ||
                                 opcode == 0x8d || opcode == 0xc3))
        return true; /* push, pop, mov of a constant, arithmetic with one, nop, lea, ret */
    if (!is_plain(&operand) || modrm >= 0xc0 || (modrm & 0xc7) == 5)
        return is_plain(&operand);
    return (modrm & 7) == 4 && *operand.rest == 0x24 && !(operand.rex & 1); /* (SP) */
}

/* CMP AL with the byte that the instruction will read or write first. */
static bool make_probe(const uint8_t *code, size_t len, struct rdf_go_probe *ret)
{
    enum { SP = 4, BP = 5 };
    struct operand operand = operand_of(code, len);
    uint8_t mod = operand.modrm >> 6, base = operand.modrm & 7, extended = operand.rex & 3;
    bool has_sib = base == SP;
    uint8_t sib = has_sib ? *operand.rest : 0;
    if (!is_plain(&operand) || mod == 3)
        return false;
    if (has_sib) {
        uint8_t index = (uint8_t)((sib >> 3 & 7) | (extended & 2 ? 8 : 0));
        base = sib & 7;
        if (index == BP || (mod == 0 && base == BP))
            return false;
    }
    base |= extended & 1 ? 8 : 0;
    if (base == SP || base == BP) /* which the frame has changed, or RIP */
        return false;
    struct rdf_go_probe probe = {.len_bytes = 0};
    if (extended)
        probe.code[probe.len_bytes++] = 0x40 | extended;
    probe.code[probe.len_bytes++] = 0x38;
    probe.code[probe.len_bytes++] = operand.modrm & 0xc7;
    for (size_t i = 0; i < (has_sib ? 1u : 0) + (mod == 1 ? 1u : mod == 2 ? 4u : 0); i++)
        probe.code[probe.len_bytes++] = operand.rest[i];
    *ret = probe;
    return true;
}

/* What the compiler makes a frame of, none of which changes another register than these two. */
static bool makes_frame(const uint8_t *code)
{
    bool moves_sp = code[0] == 0x48 && (((code[1] == 0x83 || code[1] == 0x81) && code[2] == 0xec) ||
                                        (code[1] == 0x83 && code[2] == 0xc4)); /* of -128 */
    return code[0] == 0x55 || moves_sp;
}

static bool sets_frame_pointer(const uint8_t *code)
{
    return code[0] == 0x48 && code[1] == 0x89 && code[2] == 0xe5;
}

/* Before the stack pointer has changed a fault looks like a call of bad code, which the runtime reports with
 * the caller's position. So what may fault in a frame is asked for before there is one. */
bool rdf_go_x86_64_may_move(struct rdf_span code, uint64_t addr, struct rdf_go_probe *ret)
{
    struct rdf_go_probe probe = {.len_bytes = 0};
    struct rdf_insn insn;
    bool has_frame = false, is_only_frame = true;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        if (!rdf_arch_x86_64.decode(rest, addr + off, &insn))
            return false;
        const uint8_t *bytes = rest.data;
        if (insn.flow == RDF_FLOW_SYSCALL ||
            (insn.has_target && insn.target >= addr && insn.target < addr + code.len_bytes))
            return false;
        bool leaves = insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH ||
                      insn.flow == RDF_FLOW_CALL;
        bool is_last = off + insn.len_bytes == code.len_bytes;
        if (has_frame && !leaves && !cannot_fault(bytes, insn.len_bytes) &&
            !(is_only_frame && is_last && make_probe(bytes, insn.len_bytes, &probe)))
            return false;
        bool is_push = bytes[0] >= 0x50 && bytes[0] <= 0x57;
        has_frame |= is_push || makes_frame(bytes);
        is_only_frame &= makes_frame(bytes) || sets_frame_pointer(bytes);
    }
    *ret = probe;
    return true;
}
