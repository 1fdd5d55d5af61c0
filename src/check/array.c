/* SPDX-License-Identifier: MIT */
#include "check/array.h"

#include <stdio.h>

enum { DIMENSIONS_MAX = 32 };

const struct rdf_type *rdf_array_element(const struct rdf_type *type, uint64_t *ret_count)
{
    uint64_t count = 1;
    for (; type->kind == RDF_TYPE_ARRAY && type->target; type = type->target)
        count *= type->size_bytes;
    if (ret_count)
        *ret_count = count;
    return type;
}

/* How many bytes lie from one row to the next: of a[2][3], of four bytes each, 12 and, from one such array to
 * the next, 24. */
struct strides {
    uint64_t bytes[DIMENSIONS_MAX]; /* ascending */
    size_t count;
    bool is_open; /* what follows is not known */
};

static void read_strides(const struct rdf_type *type, struct strides *ret)
{
    uint64_t rows[DIMENSIONS_MAX];
    size_t count = 0;
    for (; type->kind == RDF_TYPE_ARRAY && type->target && count < DIMENSIONS_MAX; type = type->target)
        rows[count++] = type->size_bytes;
    uint64_t bytes = type->kind == RDF_TYPE_ARRAY ? 0 : type->size_bytes;
    *ret = (struct strides){.is_open = !bytes};
    while (count-- > 0 && !ret->is_open) {
        bool is_known = rows[count] && !__builtin_mul_overflow(bytes, rows[count], &bytes);
        ret->is_open = !is_known;
        if (is_known && rows[count] > 1)
            ret->bytes[ret->count++] = bytes;
    }
}

bool rdf_array_fits(const struct rdf_type *target, const struct rdf_type *replacement)
{
    struct strides a, b;
    bool only_a = false, only_b = false;
    read_strides(target, &a);
    read_strides(replacement, &b);
    for (size_t i = 0, j = 0; i < a.count || j < b.count;) {
        if (i < a.count && j < b.count && a.bytes[i] == b.bytes[j]) {
            i++;
            j++;
        } else if (j == b.count || (i < a.count && a.bytes[i] < b.bytes[j])) {
            only_a |= j < b.count || !b.is_open;
            i++;
        } else {
            only_b |= i < a.count || !a.is_open;
            j++;
        }
    }
    return !only_a || !only_b;
}

void rdf_array_text(const struct rdf_type *type, char *ret, size_t bytes)
{
    size_t used = 0;
    if (bytes)
        ret[0] = '\0';
    for (; type->kind == RDF_TYPE_ARRAY && type->target && used < bytes; type = type->target) {
        int len = type->size_bytes
                      ? snprintf(ret + used, bytes - used, "[%llu]", (unsigned long long)type->size_bytes)
                      : snprintf(ret + used, bytes - used, "[]");
        used += len > 0 ? (size_t)len : 0;
    }
}
