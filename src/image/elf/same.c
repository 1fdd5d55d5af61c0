/* SPDX-License-Identifier: MIT
 *
 * What compilers make of functions that they found to be equal: the code once more, elsewhere, or a jump to
 * it.
 */
#include "image/calls.h"
#include "image/elf/internal.h"

enum { DISTANCE_BYTES_MAX = 4 }; /* as every CPU here writes one into an instruction */

static bool next(const struct rdf_images *images, struct rdf_span code, uint64_t off, uint64_t addr,
                 struct rdf_insn *ret)
{
    return images->arch->decode((struct rdf_span){code.data + off, code.len_bytes - off}, addr + off, ret);
}

/* Where it leads in the function itself counts from there. */
static bool is_same_place(uint64_t a, uint64_t a_start, uint64_t b, uint64_t b_start, uint64_t len_bytes)
{
    return a == b || (a - a_start < len_bytes && a - a_start == b - b_start);
}

/* But for the distance to what it refers to. */
static bool is_same_form(const uint8_t *a, const uint8_t *b, size_t len_bytes, bool has_distance)
{
    size_t first = 0, last = len_bytes;
    while (first < len_bytes && a[first] == b[first])
        first++;
    while (last > first && a[last - 1] == b[last - 1])
        last--;
    return first == last || (has_distance && last - first <= DISTANCE_BYTES_MAX);
}

bool rdf_image_same_code(struct rdf_images *images, struct rdf_image *image, uint64_t a, uint64_t b,
                         uint64_t len_bytes)
{
    struct rdf_span left = rdf_image_bytes(images, image, a, len_bytes);
    struct rdf_span right = rdf_image_bytes(images, image, b, len_bytes);
    if (!left.data || !right.data || !len_bytes)
        return false;
    for (uint64_t off = 0; off < len_bytes;) {
        struct rdf_insn x, y;
        if (!next(images, left, off, a, &x) || !next(images, right, off, b, &y) ||
            x.len_bytes != y.len_bytes || x.has_target != y.has_target || x.has_ref != y.has_ref ||
            (x.has_target && !is_same_place(x.target, a, y.target, b, len_bytes)) ||
            (x.has_ref && !is_same_place(x.ref, a, y.ref, b, len_bytes)) ||
            !is_same_form(left.data + off, right.data + off, x.len_bytes, x.has_target || x.has_ref))
            return false;
        off += x.len_bytes;
    }
    return true;
}

uint64_t rdf_image_jump_only(struct rdf_images *images, struct rdf_image *image, uint64_t start, uint64_t end)
{
    struct rdf_span code = rdf_image_bytes(images, image, start, end - start);
    struct rdf_insn insn;
    for (uint64_t off = 0; code.data && off < code.len_bytes && next(images, code, off, start, &insn);
         off += insn.len_bytes)
        if (insn.flow == RDF_FLOW_JUMP && insn.has_target)
            return insn.target - start < end - start ? 0 : insn.target;
        else if (insn.role == RDF_ROLE_PLAIN)
            break;
    return 0;
}
