/* SPDX-License-Identifier: MIT
 *
 * Copy and compare a few bytes without the C library: the program may have redefined memcpy, or be in
 * the middle of it. Volatile, so that the compiler does not make a call of memcpy out of the loop.
 */
#ifndef RDF_BASE_BYTES_H
#define RDF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Eight bytes anywhere, of whatever type. */
typedef uint64_t __attribute__((may_alias, aligned(1))) rdf_word;

static inline void rdf_bytes_copy(void *to, const void *from, size_t len_bytes)
{
    volatile uint8_t *out = to;
    const volatile uint8_t *in = from;
    size_t i = 0;
    for (; i + sizeof(rdf_word) <= len_bytes; i += sizeof(rdf_word))
        *(volatile rdf_word *)(out + i) = *(const volatile rdf_word *)(in + i);
    for (; i < len_bytes; i++)
        out[i] = in[i];
}

static inline bool rdf_bytes_equal(const void *a, const void *b, size_t len_bytes)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    size_t i = 0;
    for (; i + sizeof(rdf_word) <= len_bytes; i += sizeof(rdf_word))
        if (*(const volatile rdf_word *)(left + i) != *(const volatile rdf_word *)(right + i))
            return false;
    for (; i < len_bytes; i++)
        if (left[i] != right[i])
            return false;
    return true;
}

/* Every aligned 8 bytes that hold a changed byte are stored once, whole: an instruction inside one of them is
 * seen as it was or as it will be (Intel SDM vol. 3, 9.1.1; Arm ARM B2.2.1). */
static inline void rdf_bytes_store(uint8_t *to, const uint8_t *bytes, size_t len_bytes)
{
    for (size_t done = 0; done < len_bytes;) {
        uintptr_t at = (uintptr_t)to + done;
        uint64_t *word = (uint64_t *)(at & ~(uintptr_t)7);
        size_t room = sizeof *word - at % sizeof *word;
        size_t part = len_bytes - done < room ? len_bytes - done : room;
        union {
            uint64_t word;
            uint8_t byte[8];
        } merged = {__atomic_load_n(word, __ATOMIC_RELAXED)};
        rdf_bytes_copy(merged.byte + at % sizeof *word, bytes + done, part);
        __atomic_store_n(word, merged.word, __ATOMIC_RELEASE);
        done += part;
    }
}

#endif
