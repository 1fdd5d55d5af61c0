/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share: objects in the Portable Executable format, as they are mapped. They are
 * what src/image/'s files are for ELF, and the build takes one set or the other. Nothing here is trusted:
 * every number is a claim that the bounds of its span must confirm.
 *
 * Source: the PE Format specification; "x64 exception handling" for the unwind data.
 */
#ifndef RDF_IMAGE_PE_H
#define RDF_IMAGE_PE_H

#include "image/names.h"
#include "image/object.h"

#include <inttypes.h>

/* An address of the image, from its base on, as everything in it is given. */
typedef uint32_t rdf_rva;

enum { RDF_PE_CODE = 0x20000000 }; /* IMAGE_SCN_MEM_EXECUTE */

struct rdf_pe_section {
    rdf_rva start;
    rdf_rva end;
    uint32_t file_off, file_bytes; /* where its bytes come from */
    uint32_t traits;
};

/* A name for a place in code: exported, or from the symbol table of the file. */
struct rdf_pe_name {
    rdf_rva at;
    bool is_exported;
    bool is_static;
    const char *text;
    const char *file; /* where a static one was written, as far as the compiler kept it; else null */
};

/* One entry of the unwind table: the code of a function that uses the stack. */
struct rdf_pe_range {
    rdf_rva start;
    rdf_rva end;
    rdf_rva unwind;
};

struct rdf_image {
    struct rdf_object object;
    const char *name; /* behind the last backslash */
    bool is_program;  /* not a library */
    struct rdf_pe_section *section;
    size_t section_count;
    rdf_rva exports, exports_end;
    rdf_rva imports, imports_end;
    rdf_rva unwind, unwind_end;
    uint32_t symbols_off, symbol_count; /* in the file; 0 when stripped */

    /* Filled when first asked for. */
    bool names_tried;
    struct rdf_pe_name *named; /* ascending by address; exported before others, global before static */
    size_t name_count;
    struct rdf_span file; /* open as long as names lead into it; empty: not open */
};

/* tables.c */

/* Bytes of the image in memory; empty when they are not wholly in it or cannot be read. */
struct rdf_span rdf_pe_bytes(struct rdf_images *images, const struct rdf_image *image, rdf_rva at,
                             uint64_t len_bytes);
const char *rdf_pe_string(struct rdf_images *images, const struct rdf_image *image, rdf_rva at); /* or null */
bool rdf_pe_is_code(const struct rdf_image *image, rdf_rva at);
const struct rdf_pe_section *rdf_pe_section(const struct rdf_image *image, rdf_rva at); /* or null */

/* The names of code, read when first asked for. */
void rdf_pe_read_names(struct rdf_images *images, struct rdf_image *image);
/* The first name at `at` or behind it: an index up to name_count. */
size_t rdf_pe_name_from(struct rdf_images *images, struct rdf_image *image, rdf_rva at);
/* The best name at exactly `at`; null when it has none. */
const char *rdf_pe_name_at(struct rdf_images *images, struct rdf_image *image, rdf_rva at);

/* The entry of the unwind table that holds `at`, of the function itself where the table splits it; false:
 * none. */
bool rdf_pe_range_at(struct rdf_images *images, const struct rdf_image *image, rdf_rva at,
                     struct rdf_pe_range *ret);
/* The first start of an entry at or behind `at`; UINT32_MAX when there is none. */
rdf_rva rdf_pe_range_from(struct rdf_images *images, const struct rdf_image *image, rdf_rva at);

/* What `image` exports as `name`, forwarded to other libraries or not: its address, or 0. */
uint64_t rdf_pe_exported(struct rdf_images *images, struct rdf_image *image, const char *name,
                         size_t name_bytes);

/* What the loader has bound `name` of `image` to: its address, or 0. */
uint64_t rdf_pe_imported(struct rdf_images *images, const struct rdf_image *image, const char *name,
                         size_t name_bytes);

/* The image that "kernel32", "KERNEL32.dll" or the end of a path means; null when it is not loaded. */
struct rdf_image *rdf_pe_image_named(const struct rdf_images *images, const char *name, size_t name_bytes);

#endif
