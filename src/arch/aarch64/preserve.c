/* SPDX-License-Identifier: MIT
 *
 * A relay that calls, so that it can put back what callers rely on:
 *
 *     stp x29, x30, [sp, #-16]! · mov x29, sp · sub sp, sp, #n · save… · copy… · [x29 - 8] = back ·
 *     x16 = [slot] · x17 = frame call · br x17        back: sub sp, x29, #n · restore… · mov sp, x29 · ldp ·
 * ret
 *
 * x16 and x17 are saved by then, or belong to nobody. What makes the call is in native.c.
 */
#include "arch/aarch64/aarch64.h"

enum {
    FRAME_BYTES = 16, /* above x29: itself and the return address */
    CALL_BYTES = 16,  /* below: where to come back to */
    X17 = 17,
    X29 = 29,
    SP = 31,
    VECTOR_BASE = 32,
};

static uint32_t str_x(unsigned rt, unsigned offset)
{
    return UINT32_C(0xf9000000) | offset / 8 << 10 | SP << 5 | rt;
}

static uint32_t str_q(unsigned rt, unsigned offset, bool is_load)
{
    return (is_load ? UINT32_C(0x3dc00000) : UINT32_C(0x3d800000)) | offset / 16 << 10 | SP << 5 | rt;
}

/* sub sp, rn, #imm12 */
static uint32_t lower_sp(unsigned rn, unsigned bytes)
{
    return UINT32_C(0xd1000000) | bytes << 10 | rn << 5 | SP;
}

static size_t move_all(uint32_t *words, uint64_t registers, bool is_load)
{
    size_t count = 0;
    unsigned off = 0;
    for (unsigned i = 0; i < 32; i++)
        if (registers >> (VECTOR_BASE + i) & 1) {
            words[count++] = str_q(i, off, is_load);
            off += 16;
        }
    for (unsigned i = 0; i < X29; i++)
        if (registers >> i & 1) {
            words[count++] = is_load ? rdf_aarch64_ldr(i, SP, off) : str_x(i, off);
            off += 8;
        }
    return count;
}

size_t rdf_aarch64_emit_preserve(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                                 uint64_t call_addr, const struct rdf_keep *keep)
{
    uint32_t words[RDF_PRESERVE_BYTES_MAX / RDF_AARCH64_WORD_BYTES];
    uint64_t registers = keep->registers;
    unsigned copied = (keep->stack_words + 1u) / 2 * 16;
    unsigned gprs = (unsigned)__builtin_popcountll(registers & 0xffffffff);
    unsigned vectors = (unsigned)__builtin_popcountll(registers >> VECTOR_BASE);
    unsigned room = CALL_BYTES + (gprs * 8 + vectors * 16 + 15) / 16 * 16;
    size_t count = 0;

    if (keep->vector_bytes > 16 || keep->stack_words > RDF_STACK_WORDS_MAX ||
        registers & ~RDF_AARCH64_CALL_CLOBBERED)
        return 0;                          /* SVE */
    words[count++] = UINT32_C(0xa9bf7bfd); /* stp x29, x30, [sp, #-16]! */
    words[count++] = rdf_aarch64_add(X29, SP, 0);
    words[count++] = lower_sp(SP, room);
    count += move_all(words + count, registers, false);
    if (copied)
        words[count++] = lower_sp(SP, copied);
    for (unsigned off = 0; off < copied; off += 8) {
        words[count++] = rdf_aarch64_ldr(RDF_AARCH64_X16, X29, FRAME_BYTES + off);
        words[count++] = str_x(RDF_AARCH64_X16, off);
    }
    size_t adr = count++;
    words[count++] = UINT32_C(0xf81f83b0); /* stur x16, [x29, #-8] */
    count += rdf_aarch64_materialise(words + count, X17, call_addr, from + count * RDF_AARCH64_WORD_BYTES);
    count += rdf_aarch64_materialise(words + count, RDF_AARCH64_X16, slot_addr,
                                     from + count * RDF_AARCH64_WORD_BYTES);
    words[count++] = rdf_aarch64_ldr(RDF_AARCH64_X16, RDF_AARCH64_X16, 0);
    words[count++] = UINT32_C(0xd61f0000) | X17 << 5;                                   /* br x17 */
    words[adr] = UINT32_C(0x10000000) | (uint32_t)(count - adr) << 5 | RDF_AARCH64_X16; /* adr x16, back */
    words[count++] = lower_sp(X29, room);
    count += move_all(words + count, registers, true);
    words[count++] = rdf_aarch64_add(SP, X29, 0);
    words[count++] = UINT32_C(0xa8c17bfd); /* ldp x29, x30, [sp], #16 */
    words[count++] = rdf_aarch64_ret(RDF_AARCH64_X30);
    for (size_t i = 0; i < count; i++)
        rdf_aarch64_put(ret_code + i * RDF_AARCH64_WORD_BYTES, words[i]);
    return count * RDF_AARCH64_WORD_BYTES;
}
