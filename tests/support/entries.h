/* SPDX-License-Identifier: MIT
 *
 * Where the functions of an ELF file begin: as its dynamic symbols and its unwind table tell.
 */
#ifndef TESTS_SUPPORT_ENTRIES_H
#define TESTS_SUPPORT_ENTRIES_H

#include <stddef.h>
#include <stdint.h>

struct entry {
    uint64_t addr;
    uint64_t size_bytes; /* up to the next one, where no symbol tells */
};

/* The distinct entries of a 64-bit little-endian file, ascending; the caller frees them. Null: it is damaged
 * or has none. */
struct entry *entries_of(const uint8_t *file, size_t len_bytes, size_t *ret_count);

#endif
