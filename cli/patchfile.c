/* SPDX-License-Identifier: MIT
 *
 * The pointers in a patch file's tables are made by its relocations; these are looked up, not applied.
 */
#include "patchfile.h"

#include "cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <redefine/patch.h>

enum { RECORDS_MAX = 4096, NAME_BYTES_MAX = 4096 };

struct pointer {
    uint64_t at, value;
};

struct patch_file {
    int fd;
    Elf *elf;
    struct pointer *pointer; /* by `at` */
    size_t pointer_count;
    Elf_Data *symbols;
    size_t symbol_count, strings;
};

static int by_place(const void *a, const void *b)
{
    const struct pointer *left = a, *right = b;
    return left->at < right->at ? -1 : left->at > right->at;
}

/* What a relocation makes of a pointer, for those that make one. */
static bool value_of(const struct patch_file *file, const GElf_Rela *rela, uint64_t *ret)
{
    GElf_Sym symbol;
    switch (GELF_R_TYPE(rela->r_info)) {
    case R_X86_64_RELATIVE:
    case R_AARCH64_RELATIVE: *ret = (uint64_t)rela->r_addend; return true;
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_AARCH64_ABS64:
    case R_AARCH64_GLOB_DAT:
        if (!file->symbols || !gelf_getsym(file->symbols, (int)GELF_R_SYM(rela->r_info), &symbol) ||
            symbol.st_shndx == SHN_UNDEF)
            return false;
        *ret = symbol.st_value + (uint64_t)rela->r_addend;
        return true;
    default: return false;
    }
}

static bool add_relocations(struct patch_file *file, Elf_Data *data, size_t count)
{
    struct pointer *bigger = realloc(file->pointer, (file->pointer_count + count + 1) * sizeof *bigger);
    if (!bigger)
        return false;
    file->pointer = bigger;
    for (size_t i = 0; i < count; i++) {
        GElf_Rela rela;
        uint64_t value;
        if (gelf_getrela(data, (int)i, &rela) && value_of(file, &rela, &value))
            file->pointer[file->pointer_count++] = (struct pointer){rela.r_offset, value};
    }
    return true;
}

static bool read_sections(struct patch_file *file)
{
    bool done = true;
    for (int pass = 0; pass < 2; pass++) /* symbols first */
        for (Elf_Scn *section = NULL; (section = elf_nextscn(file->elf, section));) {
            GElf_Shdr head;
            Elf_Data *data;
            if (!gelf_getshdr(section, &head) || head.sh_entsize == 0 || !(data = elf_getdata(section, NULL)))
                continue;
            if (pass == 0 && head.sh_type == SHT_DYNSYM) {
                file->symbols = data;
                file->symbol_count = data->d_size / head.sh_entsize;
                file->strings = head.sh_link;
            } else if (pass == 1 && head.sh_type == SHT_RELA) {
                done &= add_relocations(file, data, data->d_size / head.sh_entsize);
            }
        }
    if (file->pointer_count)
        qsort(file->pointer, file->pointer_count, sizeof *file->pointer, by_place);
    return done;
}

static bool open_patch(const char *path, bool is_told, struct patch_file *ret)
{
    *ret = (struct patch_file){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    (void)elf_version(EV_CURRENT);
    ret->elf = ret->fd >= 0 ? elf_begin(ret->fd, ELF_C_READ, NULL) : NULL;
    if (ret->elf && elf_kind(ret->elf) == ELF_K_ELF && read_sections(ret))
        return true;
    if (is_told)
        cli_say("patch %s: %s", path,
                ret->fd < 0 ? strerror(errno) : "this is no ELF file, or it is damaged");
    return false;
}

static void close_patch(struct patch_file *file)
{
    elf_end(file->elf);
    free(file->pointer);
    if (file->fd >= 0)
        close(file->fd);
}

/* `len` bytes at an address of the file; false where the file has none. */
static bool read_at(const struct patch_file *file, uint64_t addr, void *ret, size_t len)
{
    size_t count;
    if (elf_getphdrnum(file->elf, &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr head;
        if (gelf_getphdr(file->elf, (int)i, &head) && head.p_type == PT_LOAD && addr >= head.p_vaddr &&
            addr - head.p_vaddr < head.p_filesz && len <= head.p_filesz - (addr - head.p_vaddr))
            return pread(file->fd, ret, len, (off_t)(head.p_offset + (addr - head.p_vaddr))) == (ssize_t)len;
    }
    return false;
}

static bool pointer_at(const struct patch_file *file, uint64_t addr, uint64_t *ret)
{
    struct pointer key = {.at = addr};
    const struct pointer *found = file->pointer_count ? bsearch(&key, file->pointer, file->pointer_count,
                                                                sizeof key, by_place)
                                                      : NULL;
    if (found)
        *ret = found->value;
    return found != NULL;
}

static uint64_t symbol_value(const struct patch_file *file, const char *wanted)
{
    for (size_t i = 0; i < file->symbol_count; i++) {
        GElf_Sym symbol;
        const char *name = gelf_getsym(file->symbols, (int)i, &symbol)
                               ? elf_strptr(file->elf, file->strings, symbol.st_name)
                               : NULL;
        if (name && symbol.st_shndx != SHN_UNDEF && strcmp(name, wanted) == 0)
            return symbol.st_value;
    }
    return 0;
}

static char *text_at(const struct patch_file *file, uint64_t addr)
{
    char text[NAME_BYTES_MAX];
    size_t len = 0;
    while (len < sizeof text && read_at(file, addr + len, &text[len], 1) && text[len])
        len++;
    return len && len < sizeof text && !text[len] ? strdup(text) : NULL;
}

static bool read_records(const struct patch_file *file, struct cli_patch_record *record, size_t *ret_count)
{
    struct redefine_patch_table table;
    uint64_t at = symbol_value(file, "redefine_patch_table");
    uint64_t start, stop, record_at;
    *ret_count = 0;
    if (!at)
        return true;
    if (!read_at(file, at, &table, sizeof table) || table.abi != REDEFINE_PATCH_ABI)
        return false;
    if (!pointer_at(file, at + offsetof(struct redefine_patch_table, start), &start) ||
        !pointer_at(file, at + offsetof(struct redefine_patch_table, stop), &stop))
        return true; /* weak bounds of a section that is not there */
    for (; start < stop && *ret_count < RECORDS_MAX; start += 8) {
        struct cli_patch_record *now = &record[*ret_count];
        uint64_t name;
        if (!pointer_at(file, start, &record_at) ||
            !pointer_at(file, record_at + offsetof(struct redefine_patch, name), &name) ||
            !pointer_at(file, record_at + offsetof(struct redefine_patch, replacement), &now->replacement) ||
            !(now->name = text_at(file, name)))
            return false;
        ++*ret_count;
    }
    return true;
}

bool cli_patch_read(const char *path, bool is_told, struct cli_patch_record **ret, size_t *ret_count)
{
    struct patch_file file;
    struct cli_patch_record *record = calloc(RECORDS_MAX, sizeof *record);
    size_t count = 0;
    bool opened = open_patch(path, is_told, &file);
    bool done = opened && record && read_records(&file, record, &count);
    if (opened && !done && is_told)
        cli_say("patch %s: its records cannot be read; build it with this version's redefine/patch.h", path);
    close_patch(&file);
    if (!done) {
        cli_patch_free(record, count);
        return false;
    }
    *ret = record;
    *ret_count = count;
    return true;
}

void cli_patch_free(struct cli_patch_record *record, size_t count)
{
    for (size_t i = 0; record && i < count; i++)
        free(record[i].name);
    free(record);
}

uint64_t cli_patch_symbol(const char *path, const char *symbol)
{
    struct patch_file file;
    uint64_t value = open_patch(path, true, &file) ? symbol_value(&file, symbol) : 0;
    close_patch(&file);
    return value;
}
