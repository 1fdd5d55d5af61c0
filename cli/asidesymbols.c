/* SPDX-License-Identifier: MIT
 *
 * Symbols of stripped objects that were put aside. They tell names and addresses, nothing of what was
 * inlined. Read by libdwfl, which knows where they may be and has the decompressor of .gnu_debugdata.
 */
#include "asidesymbols.h"

#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Those of one image. */
struct cli_aside {
    struct cli_aside *next;
    Elf64_Sym *symbol;
    size_t count;
    char *names;
    size_t names_bytes;
};

void cli_aside_free(struct cli_aside *aside)
{
    while (aside) {
        struct cli_aside *next = aside->next;
        free(aside->symbol);
        free(aside->names);
        free(aside);
        aside = next;
    }
}

/* Functions, and the names of source files between them, as a table of our own: the module's goes with it. */
static void copy_symbols(Dwfl_Module *module, int count, struct cli_aside *ret)
{
    FILE *names = open_memstream(&ret->names, &ret->names_bytes);
    ret->symbol = calloc((size_t)count, sizeof *ret->symbol);
    for (int i = 1; names && ret->symbol && i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr addr, bias;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &addr, NULL, NULL, &bias);
        unsigned type = GELF_ST_TYPE(symbol.st_info);
        bool is_function = type == STT_FUNC || type == STT_GNU_IFUNC;
        if (!name || symbol.st_shndx == SHN_UNDEF || !(is_function || type == STT_FILE))
            continue;
        long off = ftell(names);
        if (off < 0 || off > INT32_MAX / 2)
            break;
        fputs(name, names);
        fputc('\0', names);
        symbol.st_name = (Elf64_Word)off;
        if (is_function)
            symbol.st_value = addr - bias;
        ret->symbol[ret->count++] = symbol;
    }
    if (!names || fclose(names) != 0)
        ret->count = 0;
}

/* Nothing is fetched over a network for a name: libdwfl would, where it is told of a server. */
static int find_installed(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                          const char *file, const char *link, GElf_Word crc, char **ret_path)
{
    static const char servers[] = "DEBUGINFOD_URLS";
    const char *value = getenv(servers);
    char *kept = value ? strdup(value) : NULL;
    if (value)
        (void)unsetenv(servers);
    int fd = dwfl_standard_find_debuginfo(module, data, name, base, file, link, crc, ret_path);
    if (kept)
        (void)setenv(servers, kept, 1);
    free(kept);
    return fd;
}

/* Else what the module tells is what the object exports, and known. */
static bool is_aside(Dwfl_Module *module, Elf *object)
{
    const char *debug_path = NULL;
    size_t names;
    Elf_Scn *section = NULL;
    (void)dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, &debug_path);
    if (debug_path)
        return true;
    while (object && elf_getshdrstrndx(object, &names) == 0 && (section = elf_nextscn(object, section))) {
        GElf_Shdr header;
        const char *name = gelf_getshdr(section, &header) ? elf_strptr(object, names, header.sh_name) : NULL;
        if (name && strcmp(name, ".gnu_debugdata") == 0)
            return true;
    }
    return false;
}

static void read_symbols(const char *path, struct cli_aside *ret)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = find_installed,
                                             .section_address = dwfl_offline_section_address};
    GElf_Addr bias;
    Dwfl *dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *module = dwfl ? dwfl_report_offline(dwfl, "", path, -1) : NULL;
    bool is_open = module && dwfl_report_end(dwfl, NULL, NULL) == 0;
    Elf *object = is_open ? dwfl_module_getelf(module, &bias) : NULL;
    int count = object ? dwfl_module_getsymtab(module) : 0;
    if (count > 1 && is_aside(module, object))
        copy_symbols(module, count, ret);
    dwfl_end(dwfl);
}

/* A process may see other files than we do by the same names. */
static bool is_same_file(const struct rdf_images *images, const struct rdf_image *image)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, rdf_image_start(image));
    const char *path = rdf_image_name(image);
    struct stat st;
    return path[0] == '/' && map && stat(path, &st) == 0 && (!map->ino || map->ino == st.st_ino);
}

struct cli_aside *cli_aside_lend(struct rdf_images *images)
{
    struct cli_aside *all = NULL;
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        if (!is_same_file(images, image) || rdf_image_has_symbols(images, image))
            continue;
        struct cli_aside *aside = calloc(1, sizeof *aside);
        if (!aside)
            return all; /* names are missing then, as they would without any of this */
        aside->next = all;
        all = aside;
        read_symbols(rdf_image_name(image), aside);
        struct rdf_span symbols = {(const uint8_t *)aside->symbol, aside->count * sizeof *aside->symbol};
        struct rdf_span names = {(const uint8_t *)aside->names, aside->names_bytes};
        if (aside->count)
            rdf_image_lend_symbols(images, image, symbols, names);
    }
    return all;
}
