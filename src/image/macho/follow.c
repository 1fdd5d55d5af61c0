/* SPDX-License-Identifier: MIT
 *
 * Stubs that lead to the function that runs: what lies in a section of stubs jumps through a slot that the
 * loader fills, at once or when it is first called. The section says how long each stub is, and whose it is.
 */
#include "image/macho/macho.h"

enum { HOPS_MAX = 16 };

/* x86-64: jmp *slot(%rip). arm64: adrp x16, page; ldr x16, [x16, #off]; br x16. (That of arm64e has its
 * address signed, ends in braa, and is not read.) */
static bool slot_of(const struct rdf_images *images, struct rdf_span stub, uint64_t addr, uint64_t *ret)
{
    struct rdf_insn insn;
    if (images->arch->decode(stub, addr, &insn) && insn.flow == RDF_FLOW_JUMP_INDIRECT && insn.has_ref &&
        insn.ref_is_load) {
        *ret = insn.ref;
        return true;
    }
    const uint32_t br_x16 = 0xd61f0200;
    uint32_t page, load, jump;
    if (!rdf_span_u32(stub, 0, &page) || (page & 0x9f00001f) != 0x90000010 || !rdf_span_u32(stub, 4, &load) ||
        (load & 0xffc003ff) != 0xf9400210 || !rdf_span_u32(stub, 8, &jump) || jump != br_x16)
        return false;
    uint64_t pages = (page >> 29 & 3) | (uint64_t)(page >> 5 & 0x7ffff) << 2;
    if (pages >> 20)
        pages |= ~UINT64_C(0) << 21;
    *ret = (addr & ~UINT64_C(0xfff)) + (pages << 12) + (uint64_t)(load >> 10 & 0xfff) * 8;
    return true;
}

/* The slot leads back into this image: the loader has not filled it yet. Then the stub's name is looked for.
 */
static uint64_t not_bound_yet(struct rdf_images *images, const struct rdf_image *image, uint64_t index)
{
    const char *name = rdf_macho_indirect(images, image, index);
    uint64_t found = 0;
    for (size_t i = 0; name && i < images->count; i++) {
        uint64_t addr = images->image[i] == image
                            ? 0
                            : rdf_macho_defined(images, images->image[i], name, rdf_text_len(name));
        if (addr && found)
            return 0; /* two libraries have it: which of them is not said here */
        found = addr ? addr : found;
    }
    return found;
}

/* False: no stub. *ret 0: one, and where it leads cannot be told. */
static bool next_hop(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint64_t *ret)
{
    const struct rdf_macho_section *section = rdf_macho_section(image, addr);
    if (!section || !rdf_macho_is_stubs(section) || (addr - section->start) % section->stub_bytes)
        return false;
    struct rdf_span stub = rdf_macho_bytes(images, addr, section->stub_bytes);
    uint64_t slot, target;
    *ret = 0;
    if (slot_of(images, stub, addr, &slot) &&
        rdf_span_u64(rdf_macho_bytes(images, slot, sizeof target), 0, &target)) {
        uint64_t index = section->reserved1 + (addr - section->start) / section->stub_bytes;
        *ret = rdf_images_at(images, target) == image ? not_bound_yet(images, image, index) : target;
    }
    return true;
}

redefine_status rdf_images_follow(struct rdf_images *images, uint64_t addr, uint64_t *ret_addr,
                                  struct rdf_error *err)
{
    uint64_t at = addr;
    for (int hops = 0; hops < HOPS_MAX; hops++) {
        struct rdf_image *image = rdf_images_at(images, at);
        uint64_t next;
        if (!image || !next_hop(images, image, at, &next)) {
            *ret_addr = at;
            return REDEFINE_OK;
        }
        if (!next || !rdf_maps_allow(&images->maps, next, 1, RDF_PROT_EXEC))
            return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                            "where the stub at 0x%" PRIx64
                            " in %s leads cannot be told; name the function in "
                            "its own object (OBJECT!NAME)",
                            at, image->name);
        at = next;
    }
    return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the stub at 0x%" PRIx64 " leads in a circle", addr);
}
