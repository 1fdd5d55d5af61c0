/* SPDX-License-Identifier: MIT */
#include "base/order.h"
#include "base/bytes.h"

struct heap {
    uint8_t *list;
    size_t each_bytes;
    rdf_goes_before *goes_before;
};

static uint8_t *at(const struct heap *heap, size_t index)
{
    return heap->list + index * heap->each_bytes;
}

static void exchange(const struct heap *heap, size_t a, size_t b)
{
    uint8_t *left = at(heap, a), *right = at(heap, b);
    size_t i = 0;
    for (; i + sizeof(rdf_word) <= heap->each_bytes; i += sizeof(rdf_word)) {
        rdf_word word = *(rdf_word *)(left + i);
        *(rdf_word *)(left + i) = *(rdf_word *)(right + i);
        *(rdf_word *)(right + i) = word;
    }
    for (; i < heap->each_bytes; i++) {
        uint8_t byte = left[i];
        left[i] = right[i];
        right[i] = byte;
    }
}

/* Let what stands at `root` sink until nothing below it goes behind it. */
static void sift(const struct heap *heap, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && heap->goes_before(at(heap, child), at(heap, child + 1)))
            child++;
        if (!heap->goes_before(at(heap, root), at(heap, child)))
            return;
        exchange(heap, root, child);
    }
}

void rdf_sort(void *list, size_t count, size_t each_bytes, rdf_goes_before *goes_before)
{
    struct heap heap = {list, each_bytes, goes_before};
    size_t in_order = 1;
    while (in_order < count && !goes_before(at(&heap, in_order), at(&heap, in_order - 1)))
        in_order++;
    if (in_order >= count)
        return;
    for (size_t i = count / 2; i-- > 0;)
        sift(&heap, i, count);
    for (size_t end = count; end-- > 1;) {
        exchange(&heap, 0, end);
        sift(&heap, 0, end);
    }
}
