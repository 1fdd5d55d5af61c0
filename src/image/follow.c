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
 * Source: System V psABI x86-64, "Procedure Linkage Table"; AAELF64, 5.6; System V gABI.
 */
#include "image/internal.h"

#include <string.h>

enum { HOPS_MAX = 16, STUB_BYTES = 32 };

/* The relocations that fill slots have the same numbers of meaning, not of value, on each machine. */
static bool is_slot_relocation(const struct rdf_image *image, uint64_t info)
{
    uint32_t type = ELF64_R_TYPE(info);
    if (image->machine == EM_X86_64)
        return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_IRELATIVE;
    if (image->machine == EM_AARCH64)
        return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT || type == R_AARCH64_IRELATIVE;
    return false;
}

static bool is_irelative(const struct rdf_image *image, uint64_t info)
{
    uint32_t type = ELF64_R_TYPE(info);
    return (image->machine == EM_X86_64 && type == R_X86_64_IRELATIVE) ||
           (image->machine == EM_AARCH64 && type == R_AARCH64_IRELATIVE);
}

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
            addr = section.sh_addr + image->bias;
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
            if (rela.r_offset + image->bias == slot && is_slot_relocation(image, rela.r_info)) {
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
            if (!is_irelative(image, rela.r_info))
                continue;
            image->has_irelative = true;
            if ((uint64_t)rela.r_addend + image->bias == addr)
                return true;
        }
    }
    return false;
}

struct stub {
    uint64_t end;   /* behind the jump */
    uint64_t slot;  /* where the address is kept; 0: a lazy half that pushes an index */
    uint32_t index; /* of the relocation in DT_JMPREL, for a lazy half */
};

static bool decode(const struct rdf_images *images, struct rdf_span code, uint64_t code_addr, uint64_t off,
                   struct rdf_insn *ret)
{
    struct rdf_span rest = off < code.len_bytes ? rdf_span_slice(code, off, code.len_bytes - off)
                                                : (struct rdf_span){NULL, 0};
    return rest.data && images->arch->decode(rest, code_addr + off, ret) && ret->len_bytes;
}

/* [landing pad] jmp *slot(%rip)   or the lazy half   [landing pad] push $index; jmp PLT0 */
static bool read_stub_x86_64(const struct rdf_images *images, struct rdf_span code, uint64_t addr,
                             struct stub *ret)
{
    struct rdf_insn insn;
    uint64_t off = 0;
    /* Most functions begin with none of them: (endbr64 or bnd) jmp, push. */
    uint8_t first = code.len_bytes ? code.data[0] : 0;
    bool may_be = first == 0xf3 || first == 0xf2 || first == 0xff || first == 0x68;
    if (!may_be || !decode(images, code, addr, off, &insn))
        return false;
    if (insn.role == RDF_ROLE_LANDING) {
        off += insn.len_bytes;
        if (!decode(images, code, addr, off, &insn))
            return false;
    }
    uint64_t end = off + insn.len_bytes;
    if (insn.flow == RDF_FLOW_JUMP_INDIRECT && insn.has_ref && insn.ref_is_load) {
        *ret = (struct stub){.end = addr + end, .slot = insn.ref};
        return true;
    }
    uint8_t opcode;
    uint32_t index;
    if (!rdf_span_u8(code, off, &opcode) || opcode != 0x68 || insn.len_bytes != 5 ||
        !rdf_span_u32(code, off + 1, &index) || !decode(images, code, addr, end, &insn) ||
        insn.flow != RDF_FLOW_JUMP || !insn.has_target)
        return false;
    uint8_t plt0[2]; /* PLT0 begins with push GOT+8(%rip): ff 35 */
    if (!rdf_images_read(images, insn.target, plt0, sizeof plt0) || plt0[0] != 0xff || plt0[1] != 0x35)
        return false;
    *ret = (struct stub){.end = addr + end + insn.len_bytes, .index = index};
    return true;
}

/* [bti c] adrp x16, page; ldr x17, [x16, #off]; add x16, x16, #off; [autia1716]; br x17 */
static bool read_stub_aarch64(struct rdf_span code, uint64_t addr, struct stub *ret)
{
    const uint32_t bti_c = 0xd503245f, autia1716 = 0xd503219f, br_x17 = 0xd61f0220;
    uint32_t word, load;
    uint64_t off = 0;
    if (!rdf_span_u32(code, off, &word))
        return false;
    if (word == bti_c && !rdf_span_u32(code, off += 4, &word))
        return false;
    if ((word & 0x9f00001f) != 0x90000010 || !rdf_span_u32(code, off + 4, &load) ||
        (load & 0xffc003ff) != 0xf9400211)
        return false;
    uint64_t pages = (word >> 29 & 3) | (uint64_t)(word >> 5 & 0x7ffff) << 2;
    if (pages >> 20)
        pages |= ~UINT64_C(0) << 21;
    uint64_t slot = ((addr + off) & ~UINT64_C(0xfff)) + (pages << 12) + (uint64_t)(load >> 10 & 0xfff) * 8;
    if (!rdf_span_u32(code, off + 8, &word) || (word & 0xffc003ff) != 0x91000210)
        return false;
    off += 12;
    if (rdf_span_u32(code, off, &word) && word == autia1716)
        off += 4;
    if (!rdf_span_u32(code, off, &word) || word != br_x17)
        return false;
    *ret = (struct stub){.end = addr + off + 4, .slot = slot};
    return true;
}

static bool read_stub(const struct rdf_images *images, const struct rdf_image *image, uint64_t addr,
                      struct stub *ret)
{
    uint8_t code[STUB_BYTES];
    size_t len = sizeof code;
    struct rdf_span span = {NULL, 0};
    /* In place where that can be done: each function of a batch is asked about. */
    if (rdf_maps_allow(&images->maps, addr, len, RDF_PROT_READ))
        span = (struct rdf_span){images->space->ops->view(images->space, addr, len), len};
    while (!span.data && len && !rdf_images_read(images, addr, code, len))
        len /= 2; /* the end of the segment may be near */
    if (!span.data)
        span = (struct rdf_span){code, len};
    if (!len || image->machine != images->arch->elf_machine)
        return false;
    return image->machine == EM_AARCH64  ? read_stub_aarch64(span, addr, ret)
           : image->machine == EM_X86_64 ? read_stub_x86_64(images, span, addr, ret)
                                         : false;
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
                    const struct stub *stub)
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
                                   const struct stub *stub, const Elf64_Rela *rela, uint64_t *ret_addr,
                                   enum rdf_follow_as *ret_as, struct rdf_error *err)
{
    uint64_t value = 0;
    struct stub lazy;
    bool known;
    *ret_as = RDF_FOLLOW_FUNC; /* what is in a slot has been resolved already */
    bool is_read = stub->slot && rdf_images_read(images, stub->slot, &value, sizeof value) && value;
    struct rdf_image *owner = is_read ? rdf_images_at(images, value) : NULL;
    /* Not bound yet: x86-64 points to the lazy half, aarch64 to PLT0, both in the image's own PLT. */
    bool is_unbound = !is_read || value == addr ||
                      (owner == image && ((read_stub(images, image, value, &lazy) && !lazy.slot) ||
                                          rdf_image_in_plt(images, image, value, &known)));
    if (!is_unbound) {
        *ret_addr = value; /* may be another stub: a canonical PLT entry of the program */
        return REDEFINE_OK;
    }
    if (is_irelative(image, rela->r_info))
        return call_resolver(images, (uint64_t)rela->r_addend + image->bias, ret_addr, err);
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
    return is_slot_relocation(image, ret->r_info);
}

redefine_status rdf_images_follow_as(struct rdf_images *images, uint64_t addr, enum rdf_follow_as as,
                                     uint64_t *ret_addr, struct rdf_error *err)
{
    uint64_t at = addr;
    for (unsigned hop = 0; hop < HOPS_MAX; hop++) {
        struct rdf_image *image = rdf_images_at(images, at);
        struct stub stub;
        Elf64_Rela rela;
        redefine_status status;
        uint64_t next;
        if (!image || !rdf_image_is_code(image, at)) {
            *ret_addr = at;
            return REDEFINE_OK;
        }
        if (as == RDF_FOLLOW_IFUNC || (as == RDF_FOLLOW_ANY && is_resolver(images, image, at))) {
            as = RDF_FOLLOW_FUNC;
            status = call_resolver(images, at, &next, err);
        } else if (read_stub(images, image, at, &stub) &&
                   (stub.slot ? relocation_of_slot(images, image, stub.slot, &rela)
                              : lazy_relocation(images, image, stub.index, &rela)) &&
                   is_stub(images, image, at, &stub)) {
            stub.slot = rela.r_offset + image->bias;
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
