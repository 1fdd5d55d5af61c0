/* SPDX-License-Identifier: MIT
 *
 * Lists in ascending order, without the C library: the program may have redefined what sorts and searches.
 */
#ifndef RDF_BASE_ORDER_H
#define RDF_BASE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In a list of records of `each_bytes` that ascend by a key of 4 or 8 bytes (`key_bytes`), `key_off` into
 * each: the index of the first whose key is `wanted` or above; `count` when none is. In the header, so that
 * the sizes are constants where it is used: who asks for names or mappings asks often. */
static inline size_t rdf_first_from(const void *list, size_t count, size_t each_bytes, size_t key_off,
                                    size_t key_bytes, uint64_t wanted)
{
    const uint8_t *bytes = list;
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const void *at = bytes + middle * each_bytes + key_off;
        uint64_t key = key_bytes == sizeof(uint32_t) ? *(const uint32_t *)at : *(const uint64_t *)at;
        if (key < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first above `wanted`. */
static inline size_t rdf_first_behind(const void *list, size_t count, size_t each_bytes, size_t key_off,
                                      size_t key_bytes, uint64_t wanted)
{
    return wanted == UINT64_MAX ? count
                                : rdf_first_from(list, count, each_bytes, key_off, key_bytes, wanted + 1);
}

/* The same, by the name of the key. */
#define RDF_FIRST_FROM(list, count, member, wanted)                                        \
    rdf_first_from((list), (count), sizeof *(list), offsetof(__typeof__(*(list)), member), \
                   sizeof(list)->member, (wanted))
#define RDF_FIRST_BEHIND(list, count, member, wanted)                                        \
    rdf_first_behind((list), (count), sizeof *(list), offsetof(__typeof__(*(list)), member), \
                     sizeof(list)->member, (wanted))
/* In a plain list of numbers. */
#define RDF_FIRST_NUMBER(list, count, wanted) \
    rdf_first_from((list), (count), sizeof *(list), 0, sizeof *(list), (wanted))

/* Sort by heap: in place, no recursion, no bad case; a list that is in order already is only looked at. What
 * is equal may change places. */
typedef bool rdf_goes_before(const void *a, const void *b);
void rdf_sort(void *list, size_t count, size_t each_bytes, rdf_goes_before *goes_before);

#endif
