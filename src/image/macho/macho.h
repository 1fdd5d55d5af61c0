/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share: objects in the Mach-O format, 64 bits, as they are mapped. Their symbols
 * and tables are mapped with them (__LINKEDIT), so no file is opened; that serves the libraries of the shared
 * cache too, which have none. Nothing here is trusted: every number is a claim that the bounds of its span
 * must confirm.
 *
 * Source: <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/stab.h>.
 */
#ifndef RDF_IMAGE_MACHO_H
#define RDF_IMAGE_MACHO_H

#include "image/names.h"
#include "image/object.h"

#include <inttypes.h>

struct rdf_macho_segment {
    uint64_t start;
    uint64_t end;
    uint64_t file_off, file_bytes;
    uint32_t prot; /* as first mapped: VM_PROT_… */
    bool is_linkedit;
};

struct rdf_macho_section {
    uint64_t start;
    uint64_t end;
    uint32_t traits;     /* type and attributes */
    uint32_t reserved1;  /* of stubs: index of the first one's entry in the indirect symbol table … */
    uint32_t stub_bytes; /* … and how long each is */
};

/* A name for a place in code, without the "_" that C's names have before them. */
struct rdf_macho_name {
    uint64_t addr;
    bool is_static;
    const char *text;
    const char *file; /* where it was written, as far as the linker kept it; else null */
};

/* A table in the part of the file that is mapped as __LINKEDIT. */
struct rdf_macho_table {
    uint32_t off, len; /* len: bytes, or entries, as the load command has it */
};

struct rdf_image {
    struct rdf_object object;
    const char *name; /* behind the last slash */
    bool is_program;
    struct rdf_macho_segment *segment;
    size_t segment_count;
    struct rdf_macho_section *section; /* numbered from 1 on in symbols */
    size_t section_count;
    struct rdf_macho_table symbols, strings, indirect, starts;

    /* Filled when first asked for. */
    bool names_tried, starts_tried;
    struct rdf_macho_name *named; /* ascending by address; global before static */
    size_t name_count;
    uint64_t *function; /* where functions begin, ascending */
    size_t function_count;
};

/* tables.c */

/* Bytes in memory; empty when they are not wholly mapped and readable. */
struct rdf_span rdf_macho_bytes(struct rdf_images *images, uint64_t addr, uint64_t len_bytes);
const struct rdf_macho_section *rdf_macho_section(const struct rdf_image *image, uint64_t addr); /* or null */
bool rdf_macho_is_code(const struct rdf_image *image, uint64_t addr);
bool rdf_macho_is_stubs(const struct rdf_macho_section *section);

/* The names of code, read when first asked for. */
void rdf_macho_read_names(struct rdf_images *images, struct rdf_image *image);
/* The first name at `addr` or behind it: an index up to name_count. */
size_t rdf_macho_name_from(struct rdf_images *images, struct rdf_image *image, uint64_t addr);
const char *rdf_macho_name_at(struct rdf_images *images, struct rdf_image *image,
                              uint64_t addr); /* or null */

/* The first function that begins at `addr` or behind it: an index up to function_count. */
size_t rdf_macho_function_from(struct rdf_images *images, struct rdf_image *image, uint64_t addr);

/* The name of entry `index` of the indirect symbol table; null when there is none. */
const char *rdf_macho_indirect(struct rdf_images *images, const struct rdf_image *image, uint64_t index);

/* The function of this name that `image` defines for others to use: its address, or 0. */
uint64_t rdf_macho_defined(struct rdf_images *images, struct rdf_image *image, const char *name,
                           size_t name_bytes);

/* The image that "libfoo.dylib" or the end of a path means; null when it is not loaded. */
struct rdf_image *rdf_macho_image_named(const struct rdf_images *images, const char *name, size_t name_bytes);

#endif
