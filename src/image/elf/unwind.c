/* SPDX-License-Identifier: MIT
 *
 * Bounds from unwind tables: nearly every function of a C or C++ object has an FDE, also when the
 * object is stripped, and its range is exact because exceptions depend on it.
 *
 * Source: LSB Core, "DWARF Extensions" (.eh_frame, .eh_frame_hdr, pointer encodings); DWARF 4, 6.4.1.
 */
#include "image/elf/internal.h"

#include <string.h>

enum {
    PE_ABSPTR = 0x00,
    PE_ULEB128 = 0x01,
    PE_UDATA2 = 0x02,
    PE_UDATA4 = 0x03,
    PE_UDATA8 = 0x04,
    PE_SLEB128 = 0x09,
    PE_SDATA2 = 0x0a,
    PE_SDATA4 = 0x0b,
    PE_SDATA8 = 0x0c,
    PE_FORMAT = 0x0f,
    PE_PCREL = 0x10,
    PE_DATAREL = 0x30,
    PE_ALIGNED = 0x50,
    PE_APPLICATION = 0x70,
    PE_INDIRECT = 0x80,
    PE_OMIT = 0xff,
};

static unsigned fixed_bytes(uint8_t encoding)
{
    switch (encoding & PE_FORMAT) {
    case PE_UDATA2:
    case PE_SDATA2: return 2;
    case PE_UDATA4:
    case PE_SDATA4: return 4;
    case PE_ABSPTR:
    case PE_UDATA8:
    case PE_SDATA8: return 8;
    default: return 0;
    }
}

/* The number at *off without what the encoding adds to it. */
static bool read_format(struct rdf_span span, uint64_t *off, uint8_t encoding, uint64_t *ret)
{
    uint16_t half;
    uint32_t word;
    int64_t number;
    switch (encoding & PE_FORMAT) {
    case PE_ULEB128: return rdf_span_uleb(span, off, ret);
    case PE_SLEB128:
        if (!rdf_span_sleb(span, off, &number))
            return false;
        *ret = (uint64_t)number;
        return true;
    case PE_UDATA2:
    case PE_SDATA2:
        if (!rdf_span_u16(span, *off, &half))
            return false;
        *ret = (encoding & PE_FORMAT) == PE_SDATA2 ? (uint64_t)(int64_t)(int16_t)half : half;
        *off += 2;
        return true;
    case PE_UDATA4:
    case PE_SDATA4:
        if (!rdf_span_u32(span, *off, &word))
            return false;
        *ret = (encoding & PE_FORMAT) == PE_SDATA4 ? (uint64_t)(int64_t)(int32_t)word : word;
        *off += 4;
        return true;
    case PE_ABSPTR:
    case PE_UDATA8:
    case PE_SDATA8:
        if (!rdf_span_u64(span, *off, ret))
            return false;
        *off += 8;
        return true;
    default: return false;
    }
}

/* A pointer at *off of `span`, which lies at `span_addr`. Absolute ones were relocated by the loader. */
static bool read_pointer(struct rdf_span span, uint64_t span_addr, uint64_t data_base, uint64_t *off,
                         uint8_t encoding, uint64_t *ret)
{
    uint64_t at = span_addr + *off, value;
    if ((encoding & PE_INDIRECT) || !read_format(span, off, encoding, &value))
        return false;
    switch (encoding & PE_APPLICATION) {
    case 0: *ret = value; return true;
    case PE_PCREL: *ret = value + at; return true;
    case PE_DATAREL: *ret = value + data_base; return true;
    default: return false; /* textrel, funcrel, aligned: no linker writes them here */
    }
}

/* Without a header: the section of that name, walked from its start. */
static uint64_t eh_frame_section(struct rdf_images *images, struct rdf_image *image)
{
    Elf64_Shdr section;
    const char *name;
    for (size_t i = 1; rdf_image_section(images, image, i, &section, &name); i++)
        if ((section.sh_flags & SHF_ALLOC) && rdf_text_same(name, ".eh_frame"))
            return section.sh_addr + image->object.bias;
    return 0;
}

static void read_header(struct rdf_images *images, struct rdf_image *image, struct rdf_unwind *unwind)
{
    struct rdf_span span = rdf_image_tail(images, image, image->eh_hdr_addr);
    uint8_t version, frame_encoding, count_encoding, table_encoding;
    if (!rdf_span_u8(span, 0, &version) || version != 1 || !rdf_span_u8(span, 1, &frame_encoding) ||
        !rdf_span_u8(span, 2, &count_encoding) || !rdf_span_u8(span, 3, &table_encoding))
        return;
    uint64_t base = image->eh_hdr_addr, off = 4, frame, count;
    if (frame_encoding == PE_OMIT || !read_pointer(span, base, base, &off, frame_encoding, &frame))
        return;
    unwind->base = base;
    unwind->eh_frame = frame;
    unsigned value_bytes = fixed_bytes(table_encoding);
    if (count_encoding == PE_OMIT || table_encoding == PE_OMIT || !value_bytes ||
        !read_pointer(span, base, base, &off, count_encoding, &count))
        return;
    uint64_t entry_bytes = 2 * value_bytes;
    if (off > span.len_bytes || count > (span.len_bytes - off) / entry_bytes)
        return; /* a number of entries that cannot be: the walk through .eh_frame still works */
    unwind->table = rdf_span_slice(span, off, count * entry_bytes);
    unwind->table_addr = base + off;
    unwind->count = count;
    unwind->encoding = table_encoding;
    unwind->value_bytes = (uint8_t)value_bytes;
}

static const struct rdf_unwind *get_unwind(struct rdf_images *images, struct rdf_image *image)
{
    struct rdf_unwind *unwind = &image->unwind;
    if (unwind->tried)
        return unwind;
    unwind->tried = true;
    if (image->eh_hdr_addr)
        read_header(images, image, unwind);
    if (!unwind->eh_frame)
        unwind->eh_frame = eh_frame_section(images, image);
    return unwind;
}

/* Entry `index` of the search table: where a function starts and where its FDE is. */
static bool table_entry(const struct rdf_unwind *unwind, uint64_t index, uint64_t *ret_start,
                        uint64_t *ret_fde)
{
    uint64_t off = index * 2 * unwind->value_bytes;
    return read_pointer(unwind->table, unwind->table_addr, unwind->base, &off, unwind->encoding, ret_start) &&
           read_pointer(unwind->table, unwind->table_addr, unwind->base, &off, unwind->encoding, ret_fde);
}

/* The same in the form that every linker writes: pairs of 4 bytes, from the header on. The table is as long
 * as its count says. */
static uint64_t usual_table_above(const struct rdf_unwind *unwind, uint64_t addr)
{
    uint64_t low = 0, high = unwind->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int32_t start;
        memcpy(&start, unwind->table.data + middle * 2 * sizeof start, sizeof start);
        if (unwind->base + (uint64_t)(int64_t)start > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The first index whose start is above `addr`. */
static uint64_t table_above(const struct rdf_unwind *unwind, uint64_t addr)
{
    uint64_t low = 0, high = unwind->count;
    if (unwind->encoding == (PE_DATAREL | PE_SDATA4))
        return usual_table_above(unwind, addr);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, start, fde;
        if (!table_entry(unwind, middle, &start, &fde))
            return 0;
        if (start > addr)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* How the CIE at `addr` says its FDEs write addresses. */
static bool cie_encoding(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint8_t *ret)
{
    struct rdf_span span = rdf_image_tail(images, image, addr);
    uint32_t length, id;
    if (!rdf_span_u32(span, 0, &length) || length < 8 || length == UINT32_MAX ||
        !rdf_span_u32(span, 4, &id) || id != 0)
        return false;
    span = rdf_span_slice(span, 0, (uint64_t)length + 4);
    uint8_t version;
    const char *augmentation = rdf_span_string(span, 9);
    if (!rdf_span_u8(span, 8, &version) || !augmentation || (version != 1 && version != 3 && version != 4))
        return false;
    uint64_t off = 9 + rdf_text_len(augmentation) + 1, number;
    int64_t factor;
    if (version == 4)
        off += 2;                                           /* address_size, segment_selector_size */
    if (augmentation[0] == 'e' && augmentation[1] == 'h') { /* GCC 2: a pointer to exception data */
        off += 8;
        augmentation += 2;
    }
    if (!rdf_span_uleb(span, &off, &number) || !rdf_span_sleb(span, &off, &factor))
        return false;
    if (version == 1)
        off += 1;
    else if (!rdf_span_uleb(span, &off, &number))
        return false;
    *ret = PE_ABSPTR;
    if (augmentation[0] != 'z')
        return augmentation[0] == 0;
    if (!rdf_span_uleb(span, &off, &number))
        return false;
    for (const char *letter = augmentation + 1; *letter; letter++) {
        uint8_t encoding;
        switch (*letter) {
        case 'R': return rdf_span_u8(span, off, ret);
        case 'L': off += 1; break;
        case 'P':
            if (!rdf_span_u8(span, off, &encoding))
                return false;
            off += 1;
            if ((encoding & PE_APPLICATION) == PE_ALIGNED)
                off = ((addr + off + 7) & ~(uint64_t)7) - addr;
            if (encoding != PE_OMIT && !read_format(span, &off, encoding, &number))
                return false;
            break;
        case 'S': /* signal frame */
        case 'B': /* aarch64: return address signed with key B */
        case 'G': /* aarch64: tagged stack */ break;
        default: return false;
        }
    }
    return true;
}

/* The entry at `addr` of .eh_frame. *ret_next is where the next one starts, 0 behind the last one.
 * True when it is an FDE that describes code of this image. */
static bool read_fde(struct rdf_images *images, struct rdf_image *image, uint64_t addr, struct rdf_range *ret,
                     uint64_t *ret_next)
{
    *ret_next = 0;
    struct rdf_span span = rdf_image_tail(images, image, addr);
    uint32_t length, cie_back;
    if (!rdf_span_u32(span, 0, &length) || length < 4 || length == UINT32_MAX ||
        (uint64_t)length + 4 > span.len_bytes)
        return false; /* 0 ends the section; the 64-bit form is written by no compiler */
    *ret_next = addr + length + 4;
    uint8_t encoding;
    uint64_t off = 8, start, length_bytes;
    span = rdf_span_slice(span, 0, (uint64_t)length + 4);
    if (!rdf_span_u32(span, 4, &cie_back) || cie_back == 0 || cie_back > addr + 4 ||
        !cie_encoding(images, image, addr + 4 - cie_back, &encoding) ||
        !read_pointer(span, addr, image->unwind.base, &off, encoding, &start) ||
        !read_format(span, &off, encoding, &length_bytes) || !length_bytes)
        return false;
    const struct rdf_segment *segment = rdf_image_segment(image, start);
    if (!segment || !(segment->flags & PF_X) || length_bytes > segment->end - start)
        return false;
    *ret = (struct rdf_range){start, start + length_bytes};
    return true;
}

bool rdf_unwind_find(struct rdf_images *images, struct rdf_image *image, uint64_t addr, struct rdf_range *ret)
{
    const struct rdf_unwind *unwind = get_unwind(images, image);
    struct rdf_range range;
    uint64_t start, fde, next;
    if (unwind->count) {
        uint64_t above = table_above(unwind, addr);
        if (!above || !table_entry(unwind, above - 1, &start, &fde) ||
            !read_fde(images, image, fde, &range, &next) || addr < range.start || addr >= range.end)
            return false;
        *ret = range;
        return true;
    }
    for (uint64_t at = unwind->eh_frame; at; at = next) {
        if (!read_fde(images, image, at, &range, &next) || addr < range.start || addr >= range.end)
            continue;
        *ret = range;
        return true;
    }
    return false;
}

uint64_t rdf_unwind_next(struct rdf_images *images, struct rdf_image *image, uint64_t addr)
{
    const struct rdf_unwind *unwind = get_unwind(images, image);
    uint64_t start, fde, next, best = UINT64_MAX;
    if (unwind->count) {
        uint64_t above = addr ? table_above(unwind, addr - 1) : 0;
        return above < unwind->count && table_entry(unwind, above, &start, &fde) && start >= addr ? start
                                                                                                  : best;
    }
    for (uint64_t at = unwind->eh_frame; at; at = next) {
        struct rdf_range range;
        if (read_fde(images, image, at, &range, &next) && range.start >= addr && range.start < best)
            best = range.start;
    }
    return best;
}
