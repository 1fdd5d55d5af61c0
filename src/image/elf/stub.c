/* SPDX-License-Identifier: MIT
 *
 * What the stubs of a procedure linkage table look like, machine by machine, and the numbers of the
 * relocations that fill their slots.
 *
 * Source: System V psABI x86-64, "Procedure Linkage Table"; AAELF64, 5.6; RISC-V ELF psABI, "Program Linkage
 * Table".
 */
#include "image/elf/internal.h"

enum { STUB_BYTES = 32 };

/* Have the same meaning, not the same number, on each machine. */
struct numbers {
    uint16_t machine;
    uint32_t jump_slot, glob_dat, irelative;
};

static const struct numbers numbers[] = {
    {EM_X86_64, R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_IRELATIVE},
    {EM_AARCH64, R_AARCH64_JUMP_SLOT, R_AARCH64_GLOB_DAT, R_AARCH64_IRELATIVE},
    /* A slot that is no jump's is filled as any word is. */
    {EM_RISCV, R_RISCV_JUMP_SLOT, R_RISCV_64, R_RISCV_IRELATIVE},
};

static const struct numbers *numbers_of(const struct rdf_image *image)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].machine == image->machine)
            return &numbers[i];
    return NULL;
}

bool rdf_stub_fills_slot(const struct rdf_image *image, uint64_t info)
{
    const struct numbers *of = numbers_of(image);
    uint32_t type = ELF64_R_TYPE(info);
    return of && (type == of->jump_slot || type == of->glob_dat || type == of->irelative);
}

bool rdf_stub_is_irelative(const struct rdf_image *image, uint64_t info)
{
    const struct numbers *of = numbers_of(image);
    return of && ELF64_R_TYPE(info) == of->irelative;
}

static bool decode(const struct rdf_images *images, struct rdf_span code, uint64_t code_addr, uint64_t off,
                   struct rdf_insn *ret)
{
    struct rdf_span rest = off < code.len_bytes ? rdf_span_slice(code, off, code.len_bytes - off)
                                                : (struct rdf_span){NULL, 0};
    return rest.data && images->arch->decode(rest, code_addr + off, ret) && ret->len_bytes;
}

/* [landing pad] jmp *slot(%rip)   or the lazy half   [landing pad] push $index; jmp PLT0 */
static bool read_stub_x86_64(const struct rdf_images *images, struct rdf_span code, uint64_t addr,
                             struct rdf_stub *ret)
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
        *ret = (struct rdf_stub){.end = addr + end, .slot = insn.ref};
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
    *ret = (struct rdf_stub){.end = addr + end + insn.len_bytes, .index = index};
    return true;
}

/* [bti c] adrp x16, page; ldr x17, [x16, #off]; add x16, x16, #off; [autia1716]; br x17 */
static bool read_stub_aarch64(struct rdf_span code, uint64_t addr, struct rdf_stub *ret)
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
    *ret = (struct rdf_stub){.end = addr + off + 4, .slot = slot};
    return true;
}

/* auipc t3, page; ld t3, low(t3); jalr t1, t3; nop */
static bool read_stub_riscv64(struct rdf_span code, uint64_t addr, struct rdf_stub *ret)
{
    const uint32_t jalr_t1_t3 = 0x000e0367;
    uint32_t page, load, jump;
    if (!rdf_span_u32(code, 0, &page) || (page & 0xfff) != 0xe17 || !rdf_span_u32(code, 4, &load) ||
        (load & 0xfffff) != 0xe3e03 || !rdf_span_u32(code, 8, &jump) || jump != jalr_t1_t3)
        return false;
    uint64_t high = (uint64_t)(int64_t)(int32_t)(page & 0xfffff000);
    uint64_t low = (uint64_t)(int64_t)((int32_t)load >> 20);
    *ret = (struct rdf_stub){.end = addr + 12, .slot = addr + high + low};
    return true;
}

/* The bytes at `addr`, as many as there are of STUB_BYTES. */
static struct rdf_span read_code(struct rdf_images *images, uint64_t addr, uint8_t ret[STUB_BYTES])
{
    size_t len = STUB_BYTES;
    /* In place where that can be done: each function of a batch is asked about. */
    const uint8_t *view = rdf_maps_allow(&images->maps, addr, len, RDF_PROT_READ)
                              ? rdf_images_view(images, addr, len)
                              : NULL;
    if (view)
        return (struct rdf_span){view, len};
    while (len && !rdf_images_read(images, addr, ret, len))
        len /= 2; /* the end of the segment may be near */
    return (struct rdf_span){ret, len};
}

bool rdf_stub_read(struct rdf_images *images, const struct rdf_image *image, uint64_t addr,
                   struct rdf_stub *ret)
{
    uint8_t code[STUB_BYTES];
    struct rdf_span span = read_code(images, addr, code);
    if (!span.len_bytes || image->machine != images->arch->elf_machine)
        return false;
    switch (image->machine) {
    case EM_X86_64: return read_stub_x86_64(images, span, addr, ret);
    case EM_AARCH64: return read_stub_aarch64(span, addr, ret);
    case EM_RISCV: return read_stub_riscv64(span, addr, ret);
    default: return false;
    }
}

/* [bti c] stp x16, x30, [sp, #-16]!; adrp x16, …   and   auipc t2, …; sub t1, t1, t3; … */
bool rdf_stub_is_plt_head(struct rdf_images *images, const struct rdf_image *image, uint64_t addr)
{
    const uint32_t bti_c = 0xd503245f, stp_x16_x30 = 0xa9bf7bf0, sub_t1_t1_t3 = 0x41c30333;
    uint8_t code[STUB_BYTES];
    struct rdf_span span = read_code(images, addr, code);
    uint32_t first, second;
    if (!rdf_span_u32(span, 0, &first) || !rdf_span_u32(span, 4, &second))
        return false;
    if (image->machine == EM_AARCH64)
        return (first == bti_c ? second : first) == stp_x16_x30;
    return image->machine == EM_RISCV && (first & 0xfff) == 0x397 && second == sub_t1_t1_t3;
}
