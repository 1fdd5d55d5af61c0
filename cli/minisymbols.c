/* SPDX-License-Identifier: MIT
 *
 * Symbols of a stripped program that were put aside, compressed, in .gnu_debugdata (Fedora's
 * "minidebuginfo"). They tell names and addresses, nothing of what was inlined. Read by libdw, which has the
 * decompressor.
 */
#include "minisymbols.h"

#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <string.h>

static bool find_in(Dwfl_Module *module, const char *name, uint64_t *ret_addr)
{
    GElf_Addr bias;
    size_t found = 0;
    int count = dwfl_module_getelf(module, &bias) ? dwfl_module_getsymtab(module) : 0;
    for (int i = 1; i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr addr;
        const char *text = dwfl_module_getsym_info(module, i, &symbol, &addr, NULL, NULL, NULL);
        if (!text || GELF_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF ||
            strcmp(text, name) != 0 || (found && *ret_addr == addr - bias))
            continue;
        *ret_addr = addr - bias;
        found++;
    }
    return found == 1;
}

bool cli_minisymbol_find(const char *path, const char *name, uint64_t *ret_addr)
{
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address};
    Dwfl *dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *module = dwfl ? dwfl_report_offline(dwfl, "", path, -1) : NULL;
    uint64_t addr = 0;
    bool found = module && dwfl_report_end(dwfl, NULL, NULL) == 0 && find_in(module, name, &addr);
    if (found)
        *ret_addr = addr;
    dwfl_end(dwfl);
    return found;
}
