/* SPDX-License-Identifier: MIT
 *
 * A relay that calls, so that it can put back what callers rely on:
 *
 *     stp x29, x30, [sp, #-n]! · mov x29, sp · save… · copy… · x16 = [slot] · blr x16 · mov sp, x29 ·
 *     restore… · ldp · ret
 */
#include "arch/aarch64/aarch64.h"

enum { FRAME_BYTES = 16, X29 = 29, SP = 31, VECTOR_BASE = 32 };

static uint32_t str_x(unsigned rt, unsigned offset)
{
    return UINT32_C(0xf9000000) | offset / 8 << 10 | SP << 5 | rt;
}

static uint32_t str_q(unsigned rt, unsigned offset, bool is_load)
{
    return (is_load ? UINT32_C(0x3dc00000) : UINT32_C(0x3d800000)) | offset / 16 << 10 | SP << 5 | rt;
}

static size_t move_all(uint32_t *words, uint64_t registers, bool is_load)
{
    size_t count = 0;
    unsigned off = FRAME_BYTES;
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
                                 const struct rdf_keep *keep)
{
    uint32_t words[RDF_PRESERVE_BYTES_MAX / RDF_AARCH64_WORD_BYTES];
    uint64_t registers = keep->registers;
    unsigned copied = (keep->stack_words + 1u) / 2 * 16;
    unsigned gprs = (unsigned)__builtin_popcountll(registers & 0xffffffff);
    unsigned vectors = (unsigned)__builtin_popcountll(registers >> VECTOR_BASE);
    unsigned room = FRAME_BYTES + (gprs * 8 + vectors * 16 + 15) / 16 * 16;
    unsigned scaled = (128 - room / 8) & 0x7f;
    size_t count = 0;

    if (keep->vector_bytes > 16 || keep->stack_words > RDF_STACK_WORDS_MAX || room > 496 ||
        registers & ~RDF_AARCH64_CALL_CLOBBERED)
        return 0; /* SVE; what one stp can make room for */
    words[count++] = UINT32_C(0xa9800000) | scaled << 15 | RDF_AARCH64_X30 << 10 | SP << 5 | X29;
    words[count++] = rdf_aarch64_add(X29, SP, 0);
    count += move_all(words + count, registers, false);
    if (copied)
        words[count++] = UINT32_C(0xd1000000) | copied << 10 | SP << 5 | SP; /* sub sp, sp, #copied */
    for (unsigned off = 0; off < copied; off += 8) {
        words[count++] = rdf_aarch64_ldr(RDF_AARCH64_X16, X29, room + off);
        words[count++] = str_x(RDF_AARCH64_X16, off);
    }
    count += rdf_aarch64_materialise(words + count, RDF_AARCH64_X16, slot_addr,
                                     from + count * RDF_AARCH64_WORD_BYTES);
    words[count++] = rdf_aarch64_ldr(RDF_AARCH64_X16, RDF_AARCH64_X16, 0);
    words[count++] = UINT32_C(0xd63f0000) | RDF_AARCH64_X16 << 5; /* blr x16 */
    if (copied)
        words[count++] = rdf_aarch64_add(SP, X29, 0);
    count += move_all(words + count, registers, true);
    words[count++] = UINT32_C(0xa8c00000) | room / 8 << 15 | RDF_AARCH64_X30 << 10 | SP << 5 | X29;
    words[count++] = rdf_aarch64_ret(RDF_AARCH64_X30);
    for (size_t i = 0; i < count; i++)
        rdf_aarch64_put(ret_code + i * RDF_AARCH64_WORD_BYTES, words[i]);
    return count * RDF_AARCH64_WORD_BYTES;
}
