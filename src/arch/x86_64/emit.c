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
