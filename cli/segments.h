/* SPDX-License-Identifier: MIT
 *
 * Which segments of an ELF file are laid out, and where: those of an ordinary program all, as its loader
 * would. A kernel has no loader: its code lies at the top of the addresses, its variables of each CPU may lie
 * at address 0, and no segment holds the file's headers.
 */
#ifndef RDF_CLI_SEGMENTS_H
#define RDF_CLI_SEGMENTS_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_SEGMENTS_MAX = 64 };

struct cli_segments {
    Elf64_Phdr header[CLI_SEGMENTS_MAX];
    size_t count;
    uint64_t off;       /* of the headers in the file */
    uint64_t low, high; /* what is laid out, in whole pages */
    bool is_headless;   /* no segment of the file held the headers: one was added that does, the first page */
};

/* Of the headers as the file has them, keep those that can be laid out together with the code: the others
 * are no longer PT_LOAD. False: there are none, or what they say is no layout. */
bool cli_segments_choose(struct cli_segments *segments, uint64_t page_bytes);

/* Whether the code was left out of the file, as objcopy --only-keep-debug does. */
bool cli_segments_lack_code(const struct cli_segments *segments);

/* What is in the page that was added. */
void cli_segments_write_head(const struct cli_segments *segments, const Elf64_Ehdr *elf, uint8_t *ret_page);

#endif
