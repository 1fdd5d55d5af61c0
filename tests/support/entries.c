/* SPDX-License-Identifier: MIT */
#include "support/entries.h"

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct list {
    struct entry *entry;
    size_t count;
    size_t room;
};

static void add(struct list *list, uint64_t addr, uint64_t size_bytes)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 1024;
        struct entry *more = realloc(list->entry, room * sizeof *more);
        if (!more)
            return;
        list->entry = more;
        list->room = room;
    }
    list->entry[list->count++] = (struct entry){addr, size_bytes};
}

static bool is_inside(size_t len, uint64_t off, uint64_t bytes)
{
    return off <= len && bytes <= len - off;
}

static void add_symbols(struct list *list, const uint8_t *file, size_t len, const Elf64_Shdr *section)
{
    if (!is_inside(len, section->sh_offset, section->sh_size))
        return;
    for (size_t i = 0; i < section->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, file + section->sh_offset + i * sizeof symbol, sizeof symbol);
        unsigned type = ELF64_ST_TYPE(symbol.st_info);
        if ((type == STT_FUNC || type == STT_GNU_IFUNC) && symbol.st_shndx != SHN_UNDEF && symbol.st_value)
            add(list, symbol.st_value, symbol.st_size);
    }
}

/* .eh_frame_hdr as linkers write it: a sorted table of pairs of 32-bit distances from its own start. */
static void add_unwind(struct list *list, const uint8_t *file, size_t len, const Elf64_Phdr *segment)
{
    static const uint8_t usual[] = {1, 0x1b, 0x03, 0x3b};
    uint32_t count;
    if (!is_inside(len, segment->p_offset, segment->p_filesz) || segment->p_filesz < 12 ||
        memcmp(file + segment->p_offset, usual, sizeof usual) != 0)
        return;
    memcpy(&count, file + segment->p_offset + 8, 4);
    for (uint64_t i = 0; i < count && 12 + 8 * (i + 1) <= segment->p_filesz; i++) {
        int32_t start;
        memcpy(&start, file + segment->p_offset + 12 + 8 * i, 4);
        add(list, segment->p_vaddr + (uint64_t)(int64_t)start, 0);
    }
}

/* What has a size comes first. */
static int by_addr(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->addr != b->addr)
        return a->addr < b->addr ? -1 : 1;
    return a->size_bytes > b->size_bytes ? -1 : a->size_bytes < b->size_bytes;
}

struct entry *entries_of(const uint8_t *file, size_t len_bytes, size_t *ret_count)
{
    struct list list = {0};
    Elf64_Ehdr header;
    if (len_bytes < sizeof header)
        return NULL;
    memcpy(&header, file, sizeof header);
    if (!is_inside(len_bytes, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr)) ||
        !is_inside(len_bytes, header.e_shoff, (uint64_t)header.e_shnum * sizeof(Elf64_Shdr)))
        return NULL;
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, file + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type == SHT_DYNSYM)
            add_symbols(&list, file, len_bytes, &section);
    }
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, file + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_GNU_EH_FRAME)
            add_unwind(&list, file, len_bytes, &segment);
    }
    if (list.count)
        qsort(list.entry, list.count, sizeof *list.entry, by_addr);
    size_t count = 0;
    for (size_t i = 0; i < list.count; i++)
        if (count == 0 || list.entry[count - 1].addr != list.entry[i].addr)
            list.entry[count++] = list.entry[i];
    for (size_t i = 0; i + 1 < count; i++)
        if (!list.entry[i].size_bytes)
            list.entry[i].size_bytes = list.entry[i + 1].addr - list.entry[i].addr;
    *ret_count = count;
    return list.entry;
}
