/* SPDX-License-Identifier: MIT */
#include "arch/x86_64/x86_64.h"

bool rdf_x86_64_rel32(uint64_t from, uint64_t to, int32_t *ret)
{
    /* Addresses wrap, and so does the CPU: the distance is taken modulo 2^64. */
    int64_t distance = (int64_t)(to - from);

    if (distance < INT32_MIN || distance > INT32_MAX)
        return false;
    *ret = (int32_t)distance;
    return true;
}

void rdf_x86_64_store(uint8_t *at, uint64_t value, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

size_t rdf_x86_64_emit_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    int32_t rel;

    if (!rdf_x86_64_rel32(from + RDF_X86_64_REL32_BYTES, to, &rel))
        return 0;
    ret_code[0] = 0xe9; /* jmp rel32 */
    rdf_x86_64_store(ret_code + 1, (uint32_t)rel, 4);
    return RDF_X86_64_REL32_BYTES;
}

size_t rdf_x86_64_emit_slot_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr)
{
    int32_t rel;

    if (!rdf_x86_64_rel32(from + 6, slot_addr, &rel))
        return 0;
    ret_code[0] = 0xff; /* jmp qword ptr [rip + rel32] */
    ret_code[1] = 0x25;
    rdf_x86_64_store(ret_code + 2, (uint32_t)rel, 4);
    return 6;
}

size_t rdf_x86_64_emit_short_jump(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    int64_t distance = (int64_t)(to - (from + RDF_X86_64_REL8_BYTES));

    if (distance < INT8_MIN || distance > INT8_MAX)
        return 0;
    ret_code[0] = 0xeb; /* jmp rel8 */
    ret_code[1] = (uint8_t)distance;
    return RDF_X86_64_REL8_BYTES;
}

size_t rdf_x86_64_retarget(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                           uint64_t to)
{
    ZydisDecodedInstruction insn;
    int32_t rel;

    /* Every form ends with its displacement, of one byte or of four. */
    if (!rdf_x86_64_read(code, &insn) || !insn.raw.imm[0].is_relative ||
        (insn.raw.imm[0].size != 8 && insn.raw.imm[0].size != 32) || rdf_x86_64_is_cut_to_16_bits(&insn) ||
        !rdf_x86_64_rel32(addr + insn.length, to, &rel))
        return 0;
    size_t len_bytes = insn.raw.imm[0].size / 8;
    if (len_bytes == 1 && (rel < INT8_MIN || rel > INT8_MAX))
        return 0;
    for (size_t i = 0; i < insn.length; i++)
        ret_code[i] = code.data[i];
    rdf_x86_64_store(ret_code + insn.raw.imm[0].offset, (uint32_t)rel, len_bytes);
    return insn.length;
}

/* SDM vol. 3, 9.1.1 and 9.1.3. */
bool rdf_x86_64_may_swap(struct rdf_span before, struct rdf_span after)
{
    (void)before, (void)after;
    return true;
}

/* Flags may be read at an entry that only assembly knows, so no add; lea computes without them. */
size_t rdf_x86_64_emit_count(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr)
{
    static const uint8_t lea[] = {0x48, 0x8d, 0x40, 0x01}; /* lea rax, [rax + 1] */
    size_t at = 0;

    ret_code[at++] = 0x50; /* push rax */
    ret_code[at++] = 0x48; /* mov rax, [counter]: moffs64, any address */
    ret_code[at++] = 0xa1;
    rdf_x86_64_store(ret_code + at, counter_addr, 8);
    at += 8;
    for (size_t i = 0; i < sizeof lea; i++)
        ret_code[at++] = lea[i];
    ret_code[at++] = 0x48; /* mov [counter], rax */
    ret_code[at++] = 0xa3;
    rdf_x86_64_store(ret_code + at, counter_addr, 8);
    at += 8;
    ret_code[at++] = 0x58; /* pop rax */
    return at;
}

/* Where the thread has no table nothing but flags changes; where it has one, rax is saved below the return
 * address, as a first instruction of the function itself might. */
size_t rdf_x86_64_emit_select(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from,
                              struct rdf_thread_word word, uint32_t index, uint64_t slot_addr)
{
    static const uint8_t own[] = {
        0x50,                                     /*    push rax */
        0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, /*    mov rax, fs:[word] */
        0x48, 0x8b, 0x80, 0,    0,    0, 0,       /*    mov rax, [rax + 8 * index] */
        0x48, 0x85, 0xc0,                         /*    test rax, rax */
        0x74, 0x07,                               /*    jz 1f */
        0x49, 0x89, 0xc3,                         /*    mov r11, rax */
        0x58,                                     /*    pop rax */
        0x41, 0xff, 0xe3,                         /*    jmp r11 */
        0x58,                                     /* 1: pop rax */
    };
    enum { WORD_AT = 6, INDEX_AT = 13, CMP_BYTES = 10, SLOT_JUMP_BYTES = 6 };
    static const uint8_t cmp[CMP_BYTES] = {0x64, 0x48, 0x83, 0x3c, 0x25,
                                           0,    0,    0,    0,    0}; /* cmp fs:[word], 0 */
    size_t at = 0;

    if (word.off < INT32_MIN || word.off > INT32_MAX || index > INT32_MAX / 8)
        return 0;
    enum { GS = 0x65 };
    for (; at < CMP_BYTES; at++)
        ret_code[at] = cmp[at];
    if (word.is_from_other)
        ret_code[0] = GS;
    rdf_x86_64_store(ret_code + 5, (uint64_t)word.off, 4);
    ret_code[at++] = 0x75; /* jne to what is own */
    ret_code[at++] = SLOT_JUMP_BYTES;
    if (!rdf_x86_64_emit_slot_jump(ret_code + at, from + at, slot_addr))
        return 0;
    at += SLOT_JUMP_BYTES;
    size_t own_at = at;
    for (size_t i = 0; i < sizeof own; i++)
        ret_code[at++] = own[i];
    if (word.is_from_other)
        ret_code[own_at + 1] = GS;
    rdf_x86_64_store(ret_code + own_at + WORD_AT, (uint64_t)word.off, 4);
    rdf_x86_64_store(ret_code + own_at + INDEX_AT, 8 * (uint64_t)index, 4);
    return rdf_x86_64_emit_slot_jump(ret_code + at, from + at, slot_addr) ? at + SLOT_JUMP_BYTES : 0;
}
