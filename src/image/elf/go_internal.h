/* SPDX-License-Identifier: MIT
 *
 * What the files that read Go's tables share.
 */
#ifndef RDF_IMAGE_GO_INTERNAL_H
#define RDF_IMAGE_GO_INTERNAL_H

#include "image/go.h"
#include "image/elf/internal.h"

/* How a release lays out what differs from release to release. Words are those of runtime.moduledata. */
struct rdf_go_layout {
    uint8_t first_minor, last_minor; /* Go 1.first … 1.last */
    uint32_t magic;                  /* of the pclntab */
    uint8_t func_bytes;              /* of runtime._func without what varies */
    uint8_t inlined_bytes;           /* of runtime.inlinedCall */
    uint8_t word_types, word_etypes, word_gofunc, word_textsectmap;
    uint8_t map_bytes; /* of abi.MapType */
};

enum {
    RDF_GO_WORD_TEXT = 22, /* the same in all of them */
    RDF_GO_WORD_ETEXT = 23,
    RDF_GO_MODULE_WORDS = 56, /* as far as anything is read */
    RDF_GO_PCHEADER_BYTES = 72,
    RDF_GO_OLD_INLINED_BYTES = 20, /* before 1.20: the record has its own file and line */
};

struct rdf_go_relocation {
    uint64_t addr;
    uint64_t value;
};

struct rdf_go {
    struct rdf_image *image;
    struct rdf_arena *arena;
    const struct rdf_go_layout *layout;
    const char *version;
    unsigned minor;
    uint64_t pclntab, moduledata;
    uint64_t text, etext;
    uint64_t types, etypes; /* [types, etypes): descriptors and names */
    uint64_t gofunc;
    uint64_t pcln_addr; /* of `pclntable` */
    struct rdf_span funcnametab, cutab, filetab, pctab, pclntable;
    struct rdf_span gofunc_bytes, type_bytes;
    uint32_t func_count;
    uint8_t pc_quantum; /* the unit of PC deltas: the smallest instruction */
    uint8_t wrapper_id; /* the FuncID of what the compiler made */
    uint64_t words[RDF_GO_MODULE_WORDS];
    /* What the loader is going to put where, by ascending address, in a file that no loader touched. */
    const struct rdf_go_relocation *relocation;
    size_t relocation_count;
};

/* go_module.c */

/* Find, read and check the module of `image` into `go`, of which the version is known. */
redefine_status rdf_go_read_module(struct rdf_images *images, struct rdf_image *image, struct rdf_go *go,
                                   struct rdf_error *err);
/* The 8 bytes at `addr` of the module's image, as a program sees them. */
bool rdf_go_pointer(struct rdf_images *images, const struct rdf_go *go, uint64_t addr, uint64_t *ret);

/* go_func.c */
const char *rdf_go_func_name(const struct rdf_go *go, uint32_t index); /* or null: damaged */
uint64_t rdf_go_func_entry(const struct rdf_go *go, uint32_t index);
const char *rdf_go_name_at(const struct rdf_go *go, uint32_t name_off); /* or null */
/* The file with index `file` in the compilation unit of `func`; null when there is none. */
const char *rdf_go_file(const struct rdf_go_func *func, int32_t file);
uint8_t rdf_go_learn_wrapper_id(const struct rdf_go *go);
struct rdf_symbol rdf_go_symbol(const struct rdf_go_func *func);
/* What the table knows around `addr`, in the form of symbols; false when it is not Go code. */
bool rdf_go_near(const struct rdf_go *go, uint64_t addr, struct rdf_near *ret);

/* go_inline.c */

/* REDEFINE_EINLINED, with the first sites, when there are inlined copies of `name`; else REDEFINE_OK. */
redefine_status rdf_go_fail_inlined(const struct rdf_go *go, const char *name, struct rdf_error *err);

/* go_type.c */

/* The type's name as it lies in the module; empty when it cannot be told. */
struct rdf_span rdf_go_type_name(const struct rdf_go *go, const struct rdf_go_type *type);
/* rdf_go_type without a copy of the name. */
redefine_status rdf_go_type_read(struct rdf_images *images, const struct rdf_go *go, uint64_t addr,
                                 struct rdf_go_type *ret, struct rdf_error *err);

#endif
