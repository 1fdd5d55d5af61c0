/* SPDX-License-Identifier: MIT
 *
 * ELF images that are made up: as much of one as src/image reads.
 */
#include "support/memory_os.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

static uint64_t page_up(uint64_t value)
{
    return (value + PAGE - 1) / PAGE * PAGE;
}

struct writer {
    uint8_t *bytes;
    uint64_t at;
};

static uint64_t put(struct writer *w, const void *bytes, size_t len)
{
    uint64_t at = w->at;
    if (len)
        memcpy(w->bytes + at, bytes, len);
    w->at += len;
    return at;
}

static uint64_t put_u32(struct writer *w, uint64_t value)
{
    uint32_t word = (uint32_t)value;
    return put(w, &word, sizeof word);
}

struct layout {
    const struct memory_function *function;
    size_t count;
    const uint64_t *start; /* of each function, from the image's start */
    uint64_t text, text_end, data;
    uint64_t hash, symtab, strtab, strtab_end, frame, hdr, hdr_end, dynamic_end;
};

static void put_symbols(struct writer *w, struct layout *l)
{
    static const Elf64_Sym none;
    uint32_t name_off = 1;
    l->symtab = put(w, &none, sizeof none);
    for (size_t i = 0; i < l->count; i++) {
        const struct memory_function *f = &l->function[i];
        if (!f->name)
            continue;
        Elf64_Sym symbol = {.st_name = name_off,
                            .st_info = ELF64_ST_INFO(STB_GLOBAL, f->is_ifunc ? STT_GNU_IFUNC : STT_FUNC),
                            .st_shndx = 1,
                            .st_value = l->start[i],
                            .st_size = f->len_bytes};
        (void)put(w, &symbol, sizeof symbol);
        name_off += (uint32_t)strlen(f->name) + 1;
    }
    uint64_t symbols = (w->at - l->symtab) / sizeof none;
    l->strtab = put(w, "", 1);
    for (size_t i = 0; i < l->count; i++)
        if (l->function[i].name)
            (void)put(w, l->function[i].name, strlen(l->function[i].name) + 1);
    l->strtab_end = w->at;
    w->at = (w->at + 7) / 8 * 8;
    /* DT_HASH with one bucket: a chain of all of them. */
    l->hash = put_u32(w, 1);
    (void)put_u32(w, symbols);
    (void)put_u32(w, symbols > 1);
    for (uint64_t i = 0; i < symbols; i++)
        (void)put_u32(w, i && i + 1 < symbols ? i + 1 : 0);
}

static void put_unwind(struct writer *w, struct layout *l)
{
    /* CIE: version 1, "zR", code 1, data -8, return address 16, one byte: pcrel|sdata4. */
    static const uint8_t cie[] = {16, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0, 0, 0};
    uint64_t *fde = calloc(l->count + 1, sizeof *fde);
    size_t fdes = 0;
    l->frame = put(w, cie, sizeof cie);
    for (size_t i = 0; i < l->count; i++) {
        if (l->function[i].no_fde)
            continue;
        fdes++;
        fde[i] = put_u32(w, 16);
        (void)put_u32(w, w->at - l->frame);
        (void)put_u32(w, l->start[i] - w->at);
        (void)put_u32(w, l->function[i].len_bytes);
        (void)put_u32(w, 0);
    }
    (void)put_u32(w, 0);
    static const uint8_t head[] = {1, 0x1b, 0x03, 0x3b};
    l->hdr = put(w, head, sizeof head);
    (void)put_u32(w, l->frame - w->at);
    (void)put_u32(w, fdes);
    for (size_t i = 0; i < l->count; i++)
        if (fde[i]) {
            (void)put_u32(w, l->start[i] - l->hdr);
            (void)put_u32(w, fde[i] - l->hdr);
        }
    l->hdr_end = w->at;
    free(fde);
}

static void put_headers(uint8_t *bytes, const struct layout *l, uint16_t machine, uint64_t tables_end)
{
    Elf64_Ehdr elf = {.e_type = ET_DYN,
                      .e_machine = machine,
                      .e_version = EV_CURRENT,
                      .e_phoff = sizeof elf,
                      .e_ehsize = sizeof elf,
                      .e_phentsize = sizeof(Elf64_Phdr),
                      .e_phnum = 5};
    memcpy(elf.e_ident, ELFMAG, SELFMAG);
    elf.e_ident[EI_CLASS] = ELFCLASS64;
    elf.e_ident[EI_DATA] = ELFDATA2LSB;
    elf.e_ident[EI_VERSION] = EV_CURRENT;
    const Elf64_Phdr header[] = {
        {PT_LOAD, PF_R, 0, 0, 0, tables_end, tables_end, PAGE},
        {PT_LOAD, PF_R | PF_X, l->text, l->text, l->text, l->text_end - l->text, l->text_end - l->text, PAGE},
        {PT_LOAD, PF_R | PF_W, l->data, l->data, l->data, l->dynamic_end - l->data, PAGE, PAGE},
        {PT_DYNAMIC, PF_R | PF_W, l->data, l->data, l->data, l->dynamic_end - l->data,
         l->dynamic_end - l->data, 8},
        {PT_GNU_EH_FRAME, PF_R, l->hdr, l->hdr, l->hdr, l->hdr_end - l->hdr, l->hdr_end - l->hdr, 4},
    };
    memcpy(bytes, &elf, sizeof elf);
    memcpy(bytes + sizeof elf, header, sizeof header);
}

void memory_os_add_image(struct memory_os *os, uint16_t machine, uint64_t base, const char *path,
                         const struct memory_function *function, size_t count, uint64_t *ret_addr)
{
    uint64_t code_bytes = 0;
    size_t names_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        code_bytes += function[i].len_bytes + function[i].padding_bytes;
        names_bytes += function[i].name ? strlen(function[i].name) + 1 : 0;
    }
    uint64_t tables = page_up(1024 + names_bytes + count * (sizeof(Elf64_Sym) + 4 + 20 + 8));
    struct layout l = {.function = function, .count = count, .text = tables};
    l.text_end = l.text + code_bytes;
    l.data = page_up(l.text_end);
    struct memory_region *region = memory_os_add_region(os, base, l.data + PAGE, RDF_PROT_READ, path);
    static uint64_t next_ino = 100;
    region->ino = next_ino++;
    memory_os_own_protect(os, base + l.text, l.data - l.text, RDF_PROT_READ | RDF_PROT_EXEC);
    memory_os_own_protect(os, base + l.data, PAGE, RDF_PROT_READ | RDF_PROT_WRITE);

    uint64_t *start = calloc(count + 1, sizeof *start);
    struct writer text = {region->bytes, l.text};
    for (size_t i = 0; i < count; i++) {
        start[i] = put(&text, function[i].code, function[i].len_bytes);
        (void)put(&text, function[i].padding, function[i].padding_bytes);
        ret_addr[i] = base + start[i];
    }
    l.start = start;
    struct writer tables_writer = {region->bytes, 512};
    put_symbols(&tables_writer, &l);
    put_unwind(&tables_writer, &l);
    const Elf64_Dyn dynamic[] = {
        {DT_HASH, {l.hash}},     {DT_SYMTAB, {l.symtab}},
        {DT_STRTAB, {l.strtab}}, {DT_STRSZ, {l.strtab_end - l.strtab}},
        {DT_NULL, {0}},
    };
    struct writer data = {region->bytes, l.data};
    (void)put(&data, dynamic, sizeof dynamic);
    l.dynamic_end = data.at;
    put_headers(region->bytes, &l, machine, tables_writer.at);
    free(start);
}
