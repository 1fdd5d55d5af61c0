/* SPDX-License-Identifier: MIT
 *
 * What src/base/libc.h puts in the place of the C library's. Small beats fast: what is copied here is a few
 * records; the string instructions of x86 would do, but this serves every CPU.
 */
#include <stddef.h>
#include <stdint.h>

/* By these names only the assembler calls them. */
void *rdf_memcpy(void *to, const void *from, size_t len_bytes);
void *rdf_memmove(void *to, const void *from, size_t len_bytes);
void *rdf_memset(void *to, int value, size_t len_bytes);
int rdf_memcmp(const void *a, const void *b, size_t len_bytes);
size_t rdf_strlen(const char *text);

/* Words of any alignment; may_alias since they are parts of other objects. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *rdf_memcpy(void *to, const void *from, size_t len_bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    for (; len_bytes >= sizeof(word); len_bytes -= sizeof(word), out += sizeof(word), in += sizeof(word))
        *(word *)out = *(const word *)in;
    while (len_bytes-- > 0)
        *out++ = *in++;
    return to;
}

void *rdf_memmove(void *to, const void *from, size_t len_bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if (out <= in || out >= in + len_bytes)
        return rdf_memcpy(to, from, len_bytes);
    while (len_bytes-- > 0)
        out[len_bytes] = in[len_bytes];
    return to;
}

void *rdf_memset(void *to, int value, size_t len_bytes)
{
    uint8_t *out = to;
    word pattern = (uint8_t)value * UINT64_C(0x0101010101010101);
    for (; len_bytes >= sizeof(word); len_bytes -= sizeof(word), out += sizeof(word))
        *(word *)out = pattern;
    while (len_bytes-- > 0)
        *out++ = (uint8_t)value;
    return to;
}

int rdf_memcmp(const void *a, const void *b, size_t len_bytes)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    for (size_t i = 0; i < len_bytes; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

size_t rdf_strlen(const char *text)
{
    size_t len = 0;
    while (text[len])
        len++;
    return len;
}
