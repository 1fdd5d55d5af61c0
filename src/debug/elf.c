/* SPDX-License-Identifier: MIT
 *
 * What an ELF file keeps for debuggers: its DWARF sections, unpacked, and the notes that lead to others.
 *
 * Source: gABI, "Section Compression"; GNU gdb manual, "Debugging Information in Separate Files".
 */
#include "debug/dwarf.h"
#include "debug/internal.h"

#include <elf.h>
#include <errno.h>

enum { NAME_BYTES = 40, METHOD_ZSTD = 2 };

/* A packed section says how long it is; deflate cannot do better than this, and zstd (128 KB of one byte in a
 * block of 4) not than that. */
static const uint64_t inflate_ratio_max = 1032, zstd_ratio_max = 32768;
static const uint64_t unpacked_bytes_max = UINT64_C(2) << 30;

static const char *const section_name[SECTIONS] = {
    [SECTION_INFO] = "info",
    [SECTION_TYPES] = "types",
    [SECTION_ABBREV] = "abbrev",
    [SECTION_STR] = "str",
    [SECTION_LINE] = "line",
    [SECTION_LINE_STR] = "line_str",
    [SECTION_STR_OFFSETS] = "str_offsets",
    [SECTION_ADDR] = "addr",
    [SECTION_RANGES] = "ranges",
    [SECTION_RNGLISTS] = "rnglists",
    [SECTION_LOC] = "loc",
    [SECTION_LOCLISTS] = "loclists",
    [SECTION_CU_INDEX] = "cu_index",
    [SECTION_TU_INDEX] = "tu_index",
};

static bool read_section(const struct debug_file *elf, const Elf64_Ehdr *head, uint32_t index,
                         Elf64_Shdr *ret)
{
    struct rdf_span at = rdf_span_slice(elf->file, head->e_shoff + (uint64_t)index * sizeof *ret,
                                        sizeof *ret);
    if (!at.data)
        return false;
    rdf_bytes_copy(ret, at.data, sizeof *ret);
    return true;
}

/* ".debug_NAME" or ".debug_NAME.dwo": which, or SECTIONS. */
static enum dwarf_section which(const char *name, bool *ret_split)
{
    static const char prefix[] = ".debug_";
    for (size_t i = 0; i + 1 < sizeof prefix; i++)
        if (*name++ != prefix[i])
            return SECTIONS;
    for (unsigned i = 0; i < SECTIONS; i++) {
        const char *at = name;
        const char *known = section_name[i];
        while (*known && *at == *known) {
            at++;
            known++;
        }
        *ret_split = rdf_debug_same(at, ".dwo");
        if (!*known && (!*at || *ret_split))
            return (enum dwarf_section)i;
    }
    return SECTIONS;
}

static bool unread_method(struct rdf_debug *debug, const char *path, uint32_t method)
{
    (void)rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                   "%s: its debug data is compressed by method %u%s, which is not read here; unpack it with "
                   "objcopy --decompress-debug-sections",
                   path, method, method == METHOD_ZSTD ? " (zstd)" : "");
    return false;
}

static bool unpack(struct rdf_debug *debug, const char *path, struct rdf_span packed, struct rdf_span *ret)
{
    Elf64_Chdr head;
    if (packed.len_bytes < sizeof head)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s: a compressed section is cut off", path),
               false;
    rdf_bytes_copy(&head, packed.data, sizeof head);
    struct rdf_span body = {packed.data + sizeof head, packed.len_bytes - sizeof head};
    bool is_zlib = head.ch_type == ELFCOMPRESS_ZLIB;
    if (!is_zlib && !debug->space->ops->unpack)
        return unread_method(debug, path, head.ch_type);
    if (head.ch_size > unpacked_bytes_max ||
        head.ch_size / (is_zlib ? inflate_ratio_max : zstd_ratio_max) > body.len_bytes) {
        (void)rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                       "%s: %zu compressed bytes of debug data claim to be %llu", path, body.len_bytes,
                       (unsigned long long)head.ch_size);
        return false;
    }
    uint8_t *out = rdf_arena_alloc(debug->arena, head.ch_size);
    if (!out)
        return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory to unpack the debug data of %s", path), false;
    int status = is_zlib ? (rdf_debug_inflate(body, out, head.ch_size) ? 0 : -EBADMSG)
                         : debug->space->ops->unpack(debug->space, head.ch_type, body, out, head.ch_size);
    if (status == -ENOTSUP)
        return unread_method(debug, path, head.ch_type);
    if (status < 0)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s: compressed debug data is damaged", path),
               false;
    *ret = (struct rdf_span){out, head.ch_size};
    return true;
}

static bool is_seldom_asked_for(enum dwarf_section section)
{
    return section == SECTION_LOC || section == SECTION_LOCLISTS;
}

bool rdf_debug_unpack(struct rdf_debug *debug, struct debug_file *file, enum dwarf_section section)
{
    if (!(file->packed & 1U << section))
        return true;
    if (!unpack(debug, file->path, file->section[section], &file->section[section]))
        return false;
    file->packed &= ~(1U << section);
    return true;
}

static void read_note(struct debug_file *elf, struct rdf_span notes)
{
    uint32_t name_bytes, value_bytes, kind;
    for (uint64_t off = 0; rdf_span_u32(notes, off, &name_bytes) &&
                           rdf_span_u32(notes, off + 4, &value_bytes) &&
                           rdf_span_u32(notes, off + 8, &kind);) {
        uint64_t value_off = off + 12 + (((uint64_t)name_bytes + 3) & ~UINT64_C(3));
        struct rdf_span value = rdf_span_slice(notes, value_off, value_bytes);
        if (kind == NT_GNU_BUILD_ID && name_bytes == 4 && value.data)
            elf->build_id = value;
        off = value_off + (((uint64_t)value_bytes + 3) & ~UINT64_C(3));
    }
}

static void read_link(struct debug_file *elf, const char *name, struct rdf_span body)
{
    const char *path = rdf_span_string(body, 0);
    if (!path)
        return;
    uint64_t behind = rdf_debug_len(path) + 1;
    if (rdf_debug_same(name, ".gnu_debuglink")) {
        if (rdf_span_u32(body, (behind + 3) & ~UINT64_C(3), &elf->debuglink_crc))
            elf->debuglink = path;
        return;
    }
    elf->altlink = path;
    elf->alt_id = rdf_span_slice(body, behind, body.len_bytes - behind);
}

static bool take_section(struct rdf_debug *debug, struct debug_file *elf, const char *name,
                         const Elf64_Shdr *section)
{
    struct rdf_span body = rdf_span_slice(elf->file, section->sh_offset, section->sh_size);
    if (section->sh_type == SHT_NOBITS)
        return true;
    if (section->sh_type == SHT_NOTE)
        read_note(elf, body);
    if (rdf_debug_same(name, ".gnu_debuglink") || rdf_debug_same(name, ".gnu_debugaltlink"))
        read_link(elf, name, body);
    bool split = false;
    enum dwarf_section index = which(name, &split);
    if (index == SECTIONS || elf->section[index].data || debug->only_notes)
        return true;
    if (!body.data && section->sh_size)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s is cut off: section %.*s ends behind the file",
                        elf->path, NAME_BYTES, name),
               false;
    elf->is_split |= split;
    if (section->sh_flags & SHF_COMPRESSED && is_seldom_asked_for(index))
        elf->packed |= 1U << index;
    else if (section->sh_flags & SHF_COMPRESSED)
        return unpack(debug, elf->path, body, &elf->section[index]);
    elf->section[index] = body;
    return true;
}

bool rdf_debug_read_elf(struct rdf_debug *debug, struct rdf_span file, struct debug_file *ret)
{
    Elf64_Ehdr head;
    Elf64_Shdr names;
    ret->file = file;
    if (file.len_bytes < sizeof head)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s is too short for an ELF file", ret->path),
               false;
    rdf_bytes_copy(&head, file.data, sizeof head);
    if (!rdf_bytes_equal(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_ident[EI_DATA] != ELFDATA2LSB)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s is no 64-bit little-endian ELF file",
                        ret->path),
               false;
    ret->is_relocatable = head.e_type == ET_REL;
    if (head.e_shoff == 0)
        return true; /* stripped of everything */
    uint64_t count = head.e_shnum;
    uint32_t names_index = head.e_shstrndx;
    Elf64_Shdr first;
    if (head.e_shentsize != sizeof first || !read_section(ret, &head, 0, &first))
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                        "%s is damaged: its section headers are not where it says", ret->path),
               false;
    if (count == 0)
        count = first.sh_size;
    if (names_index == SHN_XINDEX)
        names_index = first.sh_link;
    if (count > file.len_bytes / sizeof first || !read_section(ret, &head, names_index, &names))
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s is damaged: it claims %llu sections",
                        ret->path, (unsigned long long)count),
               false;
    struct rdf_span text = rdf_span_slice(file, names.sh_offset, names.sh_size);
    for (uint32_t i = 1; i < count; i++) {
        Elf64_Shdr section;
        if (!read_section(ret, &head, i, &section))
            return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED, "%s is cut off: section header %u is missing",
                            ret->path, i),
                   false;
        const char *name = rdf_span_string(text, section.sh_name);
        if (name && !take_section(debug, ret, name, &section))
            return false;
    }
    return true;
}

uint32_t rdf_debug_crc32(struct rdf_span file)
{
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ UINT32_C(0xedb88320) : table[i] >> 1;
    }
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < file.len_bytes; i++)
        crc = table[(crc ^ file.data[i]) & 255] ^ crc >> 8;
    return ~crc;
}
