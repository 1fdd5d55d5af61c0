/* SPDX-License-Identifier: MIT */
#include "segments.h"

#include <string.h>

static const uint64_t span_max = UINT64_C(1) << 34;

static uint64_t page_down(uint64_t value, uint64_t page_bytes)
{
    return value / page_bytes * page_bytes;
}

/* The addresses that the segments span, page by page. */
static bool find_span(struct cli_segments *segments, uint64_t page_bytes)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < segments->count; i++) {
        const Elf64_Phdr *header = &segments->header[i];
        if (header->p_type != PT_LOAD)
            continue;
        uint64_t start = page_down(header->p_vaddr, page_bytes), end = header->p_vaddr + header->p_memsz;
        if (end < header->p_vaddr || end > UINT64_MAX - page_bytes)
            return false;
        end = page_down(end + page_bytes - 1, page_bytes);
        low = start < low ? start : low;
        high = end > high ? end : high;
    }
    segments->low = low;
    segments->high = high;
    return low < high;
}

/* Data far from the first code is left out. */
static void leave_out_far(struct cli_segments *segments)
{
    const Elf64_Phdr *code = NULL;
    for (size_t i = 0; !code && i < segments->count; i++)
        if (segments->header[i].p_type == PT_LOAD && segments->header[i].p_flags & PF_X)
            code = &segments->header[i];
    for (size_t i = 0; code && i < segments->count; i++) {
        Elf64_Phdr *header = &segments->header[i];
        uint64_t distance = header->p_vaddr > code->p_vaddr ? header->p_vaddr - code->p_vaddr
                                                            : code->p_vaddr - header->p_vaddr;
        if (header->p_type == PT_LOAD && !(header->p_flags & PF_X) && distance >= span_max / 2)
            header->p_type = PT_NULL;
    }
}

bool cli_segments_lack_code(const struct cli_segments *segments)
{
    bool lacks = false;
    for (size_t i = 0; i < segments->count; i++) {
        const Elf64_Phdr *header = &segments->header[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) || !header->p_memsz)
            continue;
        if (header->p_filesz)
            return false;
        lacks = true;
    }
    return lacks;
}

/* What no reader of code asks for: its place in the table can be taken. */
static bool is_spare(const Elf64_Phdr *header)
{
    return header->p_type == PT_NULL || header->p_type == PT_NOTE || header->p_type == PT_GNU_STACK;
}

/* The headers as they would be if a segment held them. Their number stays, since the file's own header is
 * compared with the one that is laid out. */
static bool add_head(struct cli_segments *segments, uint64_t page_bytes)
{
    size_t spare = 0;
    while (spare < segments->count && !is_spare(&segments->header[spare]))
        spare++;
    uint64_t table_bytes = segments->count * sizeof segments->header[0];
    if (spare == segments->count || segments->low < page_bytes || segments->off < sizeof(Elf64_Ehdr) ||
        segments->off > page_bytes || table_bytes > page_bytes - segments->off)
        return false;
    segments->low -= page_bytes;
    segments->header[spare] = (Elf64_Phdr){.p_type = PT_LOAD,
                                           .p_flags = PF_R,
                                           .p_vaddr = segments->low,
                                           .p_filesz = page_bytes,
                                           .p_memsz = page_bytes,
                                           .p_align = page_bytes};
    segments->is_headless = true;
    return true;
}

bool cli_segments_choose(struct cli_segments *segments, uint64_t page_bytes)
{
    if (!find_span(segments, page_bytes))
        return false;
    if (segments->high - segments->low > span_max) {
        leave_out_far(segments);
        if (!find_span(segments, page_bytes) || segments->high - segments->low > span_max)
            return false;
    }
    bool has_head = false;
    for (size_t i = 0; i < segments->count; i++)
        has_head |= segments->header[i].p_type == PT_LOAD && segments->header[i].p_offset < page_bytes;
    return has_head || add_head(segments, page_bytes);
}

void cli_segments_write_head(const struct cli_segments *segments, const Elf64_Ehdr *elf, uint8_t *ret_page)
{
    memcpy(ret_page, elf, sizeof *elf);
    memcpy(ret_page + elf->e_phoff, segments->header, segments->count * sizeof segments->header[0]);
}
