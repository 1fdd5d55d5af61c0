/* SPDX-License-Identifier: MIT
 *
 * Stubs that lead to the function that runs: import thunks (a jump through the slot that the loader has
 * filled) and the jumps of an incremental link, which stand side by side, five bytes each.
 */
#include "image/pe/pe.h"

enum { HOPS_MAX = 16, JUMP_BYTES = 5 };

/* jmp [rip + rel32], perhaps with a prefix that changes nothing; the slot is data of the same image. */
static bool import_thunk(struct rdf_images *images, const struct rdf_image *image, rdf_rva at, uint64_t *ret)
{
    enum { LONGEST = 7 };
    struct rdf_span code = rdf_pe_bytes(images, image, at, LONGEST);
    uint8_t first = 0, opcode, modrm;
    uint32_t rel;
    (void)rdf_span_u8(code, 0, &first);
    unsigned skip = first == 0x48;
    if (!rdf_span_u8(code, skip, &opcode) || opcode != 0xff || !rdf_span_u8(code, skip + 1, &modrm) ||
        modrm != 0x25 || !rdf_span_u32(code, skip + 2, &rel))
        return false;
    uint64_t slot = (uint64_t)at + skip + 6 + (uint64_t)(int64_t)(int32_t)rel;
    const struct rdf_pe_section *home = slot <= UINT32_MAX ? rdf_pe_section(image, (rdf_rva)slot) : NULL;
    return home && !(home->traits & RDF_PE_CODE) &&
           rdf_span_u64(rdf_pe_bytes(images, image, (rdf_rva)slot, 8), 0, ret);
}

static bool is_jump(struct rdf_images *images, const struct rdf_image *image, rdf_rva at, uint64_t *ret)
{
    struct rdf_span code = rdf_pe_bytes(images, image, at, JUMP_BYTES);
    uint8_t opcode;
    uint32_t rel;
    if (!rdf_pe_is_code(image, at) || !rdf_span_u8(code, 0, &opcode) || opcode != 0xe9 ||
        !rdf_span_u32(code, 1, &rel))
        return false;
    *ret = image->object.start + at + JUMP_BYTES + (uint64_t)(int64_t)(int32_t)rel;
    return true;
}

/* A function that merely begins with a jump has a neighbour that is something else. */
static bool link_jump(struct rdf_images *images, const struct rdf_image *image, rdf_rva at, uint64_t *ret)
{
    struct rdf_pe_range range;
    uint64_t other;
    return is_jump(images, image, at, ret) && !rdf_pe_range_at(images, image, at, &range) &&
           (is_jump(images, image, at + JUMP_BYTES, &other) ||
            (at >= JUMP_BYTES && is_jump(images, image, at - JUMP_BYTES, &other)));
}

redefine_status rdf_images_follow(struct rdf_images *images, uint64_t addr, uint64_t *ret_addr,
                                  struct rdf_error *err)
{
    uint64_t at = addr;
    for (int hops = 0; hops < HOPS_MAX; hops++) {
        struct rdf_image *image = rdf_images_at(images, at);
        uint64_t next;
        rdf_rva rva = image ? (rdf_rva)(at - image->object.start) : 0;
        if (!image || !rdf_pe_is_code(image, rva) ||
            (!import_thunk(images, image, rva, &next) && !link_jump(images, image, rva, &next))) {
            *ret_addr = at;
            return REDEFINE_OK;
        }
        if (!rdf_maps_allow(&images->maps, next, 1, RDF_PROT_EXEC))
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "the stub at 0x%" PRIx64 " in %s leads to 0x%" PRIx64 ", which is no code", at,
                            image->name, next);
        at = next;
    }
    return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the stub at 0x%" PRIx64 " leads in a circle", addr);
}
