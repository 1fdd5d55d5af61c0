/* SPDX-License-Identifier: MIT
 *
 * From an address that a program calls to the function that runs: through PLT stubs, bound or not,
 * and through IFUNC resolvers.
 *
 * A stub is told from a function whose body is one indirect jump (a tail call compiled with -fno-plt)
 * by evidence, not by its looks alone: the slot it jumps through is one that a relocation fills, no
 * function symbol starts there, and it lies in a PLT section, or, where the file does not tell, its
 * unwind range is not exactly the jump.
 *
 * Source: System V gABI. What a stub looks like is in stub.c.
 */
#include "image/elf/internal.h"

#include <string.h>

enum { HOPS_MAX = 16 };

/* The `which`th table of relocations: two in the dynamic section; in a static program without one,
 * the sections that are loaded. False behind the last one; an empty span when there is none. */
static bool relocations(struct rdf_images *images, struct rdf_image *image, size_t which,
                        struct rdf_span *ret)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    uint64_t addr = 0, len = 0;
    *ret = (struct rdf_span){NULL, 0};
    if (image->dynamic_addr) {
        if (which > 1)
            return false;
        addr = which ? dynamic->rela : dynamic->jmprel;
        len = which ? dynamic->rela_bytes : dynamic->jmprel_bytes;
    } else {
        Elf64_Shdr section;
        if (!rdf_image_section(images, image, which, &section, NULL))
            return false;
        if (section.sh_type == SHT_RELA && (section.sh_flags & SHF_ALLOC)) {
            addr = section.sh_addr + image->object.bias;
            len = section.sh_size;
        }
    }
    if (addr && len) {
        struct rdf_span tail = rdf_image_tail(images, image, addr);
        *ret = rdf_span_slice(tail, 0, len < tail.len_bytes ? len : tail.len_bytes);
    }
    return true;
}

static bool relocation_of_slot(struct rdf_images *images, struct rdf_image *image, uint64_t slot,
                               Elf64_Rela *ret)
{
    struct rdf_span table;
    for (size_t which = 0; relocations(images, image, which, &table); which++) {
        for (size_t off = 0; off + sizeof(Elf64_Rela) <= table.len_bytes; off += sizeof(Elf64_Rela)) {
            Elf64_Rela rela;
            memcpy(&rela, table.data + off, sizeof rela);
            if (rela.r_offset + image->object.bias == slot && rdf_stub_fills_slot(image, rela.r_info)) {
                *ret = rela;
                return true;
            }
        }
    }
    return false;
}

/* Whether `addr` is a resolver that a relocation of this image calls: that is what remains of an
 * IFUNC that is not exported. */
static bool is_local_resolver(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    if (image->irelative_tried && !image->has_irelative)
        return false;
    image->irelative_tried = true;
    struct rdf_span table;
    for (size_t which = 0; relocations(images, image, which, &table); which++) {
        for (size_t off = 0; off + sizeof(Elf64_Rela) <= table.len_bytes; off += sizeof(Elf64_Rela)) {
            Elf64_Rela rela;
            memcpy(&rela, table.data + off, sizeof rela);
            if (!rdf_stub_is_irelative(image, rela.r_info))
                continue;
            image->has_irelative = true;
            if ((uint64_t)rela.r_addend + image->object.bias == addr)
                return true;
        }
    }
    return false;
}

/* Whether `addr` is in a PLT section; *ret_known says whether the file could tell. */
bool rdf_image_in_plt(struct rdf_images *images, struct rdf_image *image, uint64_t addr, bool *ret_known)
{
    Elf64_Shdr section;
    const char *name;
    *ret_known = rdf_image_section_at(images, image, addr, &section, &name) && *name;
    return *ret_known &&
           (rdf_text_same(name, ".plt") || rdf_text_same(name, ".iplt") || rdf_text_starts(name, ".plt."));
}

static bool is_stub(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                    const struct rdf_stub *stub)
{
    struct rdf_near near;
    rdf_symbols_near(images, image, rdf_image_dynsym(images, image), addr, &near);
    if (near.has_at)
        return false;
    bool known, in_plt = rdf_image_in_plt(images, image, addr, &known);
    if (known)
        return in_plt;
    rdf_symbols_near(images, image, rdf_image_symtab(images, image), addr, &near);
    if (near.has_at)
        return false;
    /* A stub's unwind range covers the whole section, or the stub with the padding behind it. */
    struct rdf_range range;
    return !rdf_unwind_find(images, image, addr, &range) || range.start != addr || range.end != stub->end;
}

/* ---- binding as the loader would ---- */

static bool exported_for(struct rdf_images *images, struct rdf_image *image, const char *name,
                         const char *version, struct rdf_symbol *ret)
{
    size_t len = rdf_text_len(name);
    if (version && rdf_image_exported(images, image, name, len, version, rdf_text_len(version), ret))
        return true;
    /* Without versions of its own an object satisfies a versioned reference (a preloaded one, say). */
    return (!version || !rdf_image_dynamic(images, image)->versym) &&
           rdf_image_exported(images, image, name, len, NULL, 0, ret);
}

static bool bind_symbol(struct rdf_images *images, struct rdf_image *image, uint32_t index,
                        struct rdf_symbol *ret)
{
    const struct rdf_symbols *dynsym = rdf_image_dynsym(images, image);
    Elf64_Sym raw;
    const char *name = rdf_symbols_raw(dynsym, index, &raw) ? rdf_span_string(dynsym->str, raw.st_name)
                                                            : NULL;
    if (!name || !*name)
        return false;
    const char *version = raw.st_shndx == SHN_UNDEF ? rdf_image_version_needed(images, image, index)
                                                    : rdf_image_version(images, image, index);
    rdf_images_find_scope(images);
    for (size_t i = 0; image->is_linked && i < images->count; i++)
        if (images->image[i]->is_in_global && exported_for(images, images->image[i], name, version, ret))
            return true;
    /* Opened later: the object itself, then what it needs. Deeper levels are not searched: who depends
     * on that has a slot that the loader has bound already, or names no function we could vouch for. */
    if (exported_for(images, image, name, version, ret))
        return true;
    struct rdf_span entries = rdf_image_dynamic(images, image)->entries;
    for (size_t off = 0; off + sizeof(Elf64_Dyn) <= entries.len_bytes; off += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, entries.data + off, sizeof entry);
        const char *needed = entry.d_tag == DT_NEEDED ? rdf_image_dynstr(images, image, entry.d_un.d_val)
                                                      : NULL;
        struct rdf_image *other = needed ? rdf_images_needed(images, needed, image) : NULL;
        if (other && exported_for(images, other, name, version, ret))
            return true;
    }
    return false;
}

static const char *relocation_name(struct rdf_images *images, struct rdf_image *image, const Elf64_Rela *rela)
{
    const struct rdf_symbols *dynsym = rdf_image_dynsym(images, image);
    Elf64_Sym raw;
    const char *name = NULL;
    if (rdf_symbols_raw(dynsym, (uint32_t)ELF64_R_SYM(rela->r_info), &raw))
        name = rdf_span_string(dynsym->str, raw.st_name);
    return name && *name ? name : "a function without a name";
}

static redefine_status call_resolver(struct rdf_images *images, uint64_t resolver, uint64_t *ret_addr,
                                     struct rdf_error *err)
{
    struct rdf_image *image = rdf_images_at(images, resolver);
    if (!rdf_maps_allow(&images->maps, resolver, 1, RDF_PROT_EXEC))
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the IFUNC resolver at 0x%llx in %s is not executable code; the object is damaged",
                        (unsigned long long)resolver, image ? rdf_image_short_name(image) : "?");
    uint64_t chosen = images->space->ops->call_resolver(images->space, resolver);
    if (!chosen) {
        char text[256];
        rdf_images_describe(images, resolver, text, sizeof text);
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "%s chooses an implementation when it is called (IFUNC), and it cannot be called "
                        "from here; name the implementation itself",
                        text);
    }
    *ret_addr = chosen;
    return REDEFINE_OK;
}

/* Where the slot's function is: what is in the slot once it is bound, else what will be. */
static redefine_status follow_stub(struct rdf_images *images, struct rdf_image *image, uint64_t addr,
                                   const struct rdf_stub *stub, const Elf64_Rela *rela, uint64_t *ret_addr,
                                   enum rdf_follow_as *ret_as, struct rdf_error *err)
{
    uint64_t value = 0;
    struct rdf_stub lazy;
    bool known;
    *ret_as = RDF_FOLLOW_FUNC; /* what is in a slot has been resolved already */
    bool is_read = stub->slot && rdf_images_read(images, stub->slot, &value, sizeof value) && value;
    struct rdf_image *owner = is_read ? rdf_images_at(images, value) : NULL;
    /* Not bound yet: x86-64 points to the lazy half, the others to the head, all in the image's own PLT. */
    bool is_unbound = !is_read || value == addr ||
                      (owner == image && ((rdf_stub_read(images, image, value, &lazy) && !lazy.slot) ||
                                          rdf_stub_is_plt_head(images, image, value) ||
                                          rdf_image_in_plt(images, image, value, &known)));
    if (!is_unbound) {
        *ret_addr = value; /* may be another stub: a canonical PLT entry of the program */
        return REDEFINE_OK;
    }
    if (rdf_stub_is_irelative(image, rela->r_info))
        return call_resolver(images, (uint64_t)rela->r_addend + image->object.bias, ret_addr, err);
    struct rdf_symbol symbol;
    if (!bind_symbol(images, image, (uint32_t)ELF64_R_SYM(rela->r_info), &symbol))
        return rdf_fail(err, REDEFINE_ENOTFOUND,
                        "0x%llx is a PLT stub of %s for %s, which is not bound yet and which no loaded "
                        "object defines; call it once, or load the object that defines it",
                        (unsigned long long)addr, rdf_image_short_name(image),
                        relocation_name(images, image, rela));
    *ret_addr = symbol.addr;
    *ret_as = symbol.type == STT_GNU_IFUNC ? RDF_FOLLOW_IFUNC : RDF_FOLLOW_FUNC;
    return REDEFINE_OK;
}

static bool is_resolver(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    struct rdf_near near;
    rdf_symbols_near(images, image, rdf_image_dynsym(images, image), addr, &near);
    if (near.has_at && near.is_func)
        return false;
    return (near.has_at && near.is_ifunc) || is_local_resolver(images, image, addr);
}

static bool lazy_relocation(struct rdf_images *images, struct rdf_image *image, uint32_t index,
                            Elf64_Rela *ret)
{
    struct rdf_span table;
    if (!image->dynamic_addr || !relocations(images, image, 0, &table))
        return false;
    struct rdf_span at = rdf_span_slice(table, (uint64_t)index * sizeof *ret, sizeof *ret);
    if (!at.data)
        return false;
    memcpy(ret, at.data, sizeof *ret);
    return rdf_stub_fills_slot(image, ret->r_info);
}

redefine_status rdf_images_follow_as(struct rdf_images *images, uint64_t addr, enum rdf_follow_as as,
                                     uint64_t *ret_addr, struct rdf_error *err)
{
    uint64_t at = addr;
    for (unsigned hop = 0; hop < HOPS_MAX; hop++) {
        struct rdf_image *image = rdf_images_at(images, at);
        struct rdf_stub stub;
        Elf64_Rela rela;
        redefine_status status;
        uint64_t next;
        if (!image || !rdf_image_is_code(image, at)) {
            *ret_addr = at;
            return REDEFINE_OK;
        }
        (void)rdf_image_dynamic(images, image);
        rdf_image_expect(images, image);
        if (as == RDF_FOLLOW_IFUNC || (as == RDF_FOLLOW_ANY && is_resolver(images, image, at))) {
            as = RDF_FOLLOW_FUNC;
            status = call_resolver(images, at, &next, err);
        } else if (rdf_stub_read(images, image, at, &stub) &&
                   (stub.slot ? relocation_of_slot(images, image, stub.slot, &rela)
                              : lazy_relocation(images, image, stub.index, &rela)) &&
                   is_stub(images, image, at, &stub)) {
            stub.slot = rela.r_offset + image->object.bias;
            status = follow_stub(images, image, at, &stub, &rela, &next, &as, err);
        } else {
            *ret_addr = at;
            return REDEFINE_OK;
        }
        if (status != REDEFINE_OK)
            return status;
        at = next;
    }
    return rdf_fail(
        err, REDEFINE_EUNSUPPORTED,
        "0x%llx leads through more than %d stubs without reaching a function; it goes in a circle",
        (unsigned long long)addr, HOPS_MAX);
}

redefine_status rdf_images_follow(struct rdf_images *images, uint64_t addr, uint64_t *ret_addr,
                                  struct rdf_error *err)
{
    uint64_t followed;
    redefine_status status = rdf_images_follow_as(images, addr, RDF_FOLLOW_ANY, &followed, err);
    if (status == REDEFINE_OK)
        *ret_addr = followed;
    return status;
}
