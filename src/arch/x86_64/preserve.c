/* SPDX-License-Identifier: MIT
 *
 * A relay that calls, so that it can put back what callers rely on:
 *
 *     push rbp · mov rbp, rsp · push [slot] · sub rsp, n · and rsp, -16 · save… · push [rbp + n]… ·
 *     [rbp - 16] = back · jmp frame call        back: restore… · leave · ret
 *
 * The frame is the plainest there is: whoever follows frame pointers finds the caller behind it. Others find
 * it by the tables of what makes the call, in native.c.
 */
#include "arch/x86_64/x86_64.h"

enum {
    GPRS = 16,
    VECTORS = 32,
    VECTOR_BASE = 16,
    RBP = 5,
    CALL_BYTES = 16, /* below rbp: whom to call, and where to come back to */
};

struct code {
    uint8_t *bytes;
    size_t len;
};

static void put(struct code *code, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        code->bytes[code->len++] = bytes[i];
}

static void put32(struct code *code, int32_t value)
{
    rdf_x86_64_store(code->bytes + code->len, (uint32_t)value, 4);
    code->len += 4;
}

/* mod 10, rm rbp: [rbp + disp32] */
static uint8_t modrm(unsigned reg)
{
    return (uint8_t)(0x80 | (reg & 7) << 3 | RBP);
}

/* mov [rbp + off], reg, or the other way */
static void move_gpr(struct code *code, unsigned reg, int32_t off, bool is_load)
{
    put(code, (const uint8_t[]){(uint8_t)(0x48 | reg >> 3 << 2), is_load ? 0x8b : 0x89, modrm(reg)}, 3);
    put32(code, off);
}

/* movups, vmovups of ymm, vmovups of zmm: SDM vol. 2, MOVUPS. Of 16 bytes the legacy form, which leaves the
 * upper ones of a wider register alone; 16 to 31 exist only with EVEX. */
static void move_vector(struct code *code, unsigned reg, int32_t off, bool is_load, uint16_t bytes)
{
    uint8_t opcode = is_load ? 0x10 : 0x11;
    if (bytes <= 16 && reg < 16) {
        if (reg >= 8)
            put(code, (const uint8_t[]){0x44}, 1);
        put(code, (const uint8_t[]){0x0f, opcode, modrm(reg)}, 3);
    } else if (bytes <= 32 && reg < 16) { /* VEX.256.0F */
        put(code, (const uint8_t[]){0xc5, (uint8_t)(reg >= 8 ? 0x7c : 0xfc), opcode, modrm(reg)}, 4);
    } else { /* EVEX.0F.W0: R, X, B and R' inverted; the displacement is not compressed with mod 10 */
        uint8_t p0 = (uint8_t)(0x61 | (reg & 8 ? 0 : 0x80) | (reg & 16 ? 0 : 0x10));
        uint8_t length = bytes <= 16 ? 0x00 : bytes <= 32 ? 0x20 : 0x40;
        put(code, (const uint8_t[]){0x62, p0, 0x7c, (uint8_t)(0x08 | length), opcode, modrm(reg)}, 6);
    }
    put32(code, off);
}

static void move_all(struct code *code, uint64_t registers, uint16_t vector_bytes, bool is_load)
{
    int32_t off = -CALL_BYTES;
    for (unsigned i = 0; i < GPRS; i++)
        if (registers >> i & 1)
            move_gpr(code, i, off -= 8, is_load);
    for (unsigned i = 0; i < VECTORS; i++)
        if (registers >> (VECTOR_BASE + i) & 1)
            move_vector(code, i, off -= vector_bytes, is_load, vector_bytes);
}

/* By way of r11, which is saved by now or belongs to nobody. Puts the place behind it into the frame. */
static void jump_to_call(struct code *code, uint64_t from, uint64_t call_addr)
{
    int32_t rel;
    put(code, (const uint8_t[]){0x4c, 0x8d, 0x1d}, 3); /* lea r11, [rip + rel32] */
    size_t lea_end = code->len + 4;
    put32(code, 0);
    put(code, (const uint8_t[]){0x4c, 0x89, 0x5d, 0xf0}, 4); /* mov [rbp - 16], r11 */
    if (rdf_x86_64_rel32(from + code->len + RDF_X86_64_REL32_BYTES, call_addr, &rel)) {
        put(code, (const uint8_t[]){0xe9}, 1);
        put32(code, rel);
    } else {
        put(code, (const uint8_t[]){0x49, 0xbb}, 2); /* mov r11, imm64 */
        rdf_x86_64_store(code->bytes + code->len, call_addr, 8);
        code->len += 8;
        put(code, (const uint8_t[]){0x41, 0xff, 0xe3}, 3); /* jmp r11 */
    }
    rdf_x86_64_store(code->bytes + lea_end - 4, (uint32_t)(code->len - lea_end), 4);
    put(code, (const uint8_t[]){0xf3, 0x0f, 0x1e, 0xfa}, 4); /* endbr64 */
}

size_t rdf_x86_64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                uint64_t call_addr, const struct rdf_keep *keep)
{
    struct code code = {ret_code, 0};
    uint64_t registers = keep->registers;
    unsigned words = (keep->stack_words + 1u) & ~1u; /* an even number, for the alignment */
    unsigned gprs = (unsigned)__builtin_popcountll(registers & 0xffff);
    unsigned vectors = (unsigned)__builtin_popcountll(registers >> VECTOR_BASE & 0xffffffff);
    uint16_t vector_bytes = keep->vector_bytes > 32 ? 64 : keep->vector_bytes > 16 ? 32 : 16;
    int32_t room = (int32_t)(CALL_BYTES - 8 + gprs * 8 + vectors * vector_bytes + 15) / 16 * 16;
    int32_t rel;

    if (registers & ~RDF_X86_64_CALL_CLOBBERED || registers >> 48 || words > RDF_STACK_WORDS_MAX)
        return 0;
    put(&code, (const uint8_t[]){0x55, 0x48, 0x89, 0xe5, 0xff, 0x35}, 6); /* push; mov; push [rip + rel32] */
    if (!rdf_x86_64_rel32(from + code.len + 4, slot_addr, &rel))
        return 0;
    put32(&code, rel);
    put(&code, (const uint8_t[]){0x48, 0x81, 0xec}, 3); /* sub rsp, imm32 */
    put32(&code, room);
    put(&code, (const uint8_t[]){0x48, 0x83, 0xe4, 0xf0}, 4); /* and rsp, -16 */
    move_all(&code, registers, vector_bytes, false);
    for (unsigned i = words; i > 0; i--) {            /* behind the frame pointer and the return address */
        put(&code, (const uint8_t[]){0xff, 0xb5}, 2); /* push [rbp + disp32] */
        put32(&code, (int32_t)(8 + 8 * i));
    }
    jump_to_call(&code, from, call_addr);
    move_all(&code, registers, vector_bytes, true);
    put(&code, (const uint8_t[]){0xc9, 0xc3}, 2); /* leave; ret */
    return code.len;
}
