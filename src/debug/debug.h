/* SPDX-License-Identifier: MIT
 *
 * What compilers wrote down for debuggers: DWARF 4 and 5, read without a library and without malloc, since
 * this also runs inside other people's programs. Every reader distrusts what it reads: a damaged file is an
 * error with a sentence, never a crash, an endless loop or memory out of proportion.
 *
 *   open.c     finding it: in the object, by build-id, by debuglink; files shared by dwz; split units
 *   elf.c      sections, unpacked by inflate.c
 *   unit.c     units, abbreviations, values, references
 *   line.c     names of source files
 *   row.c      the source line of an instruction
 *   scan.c     every entry once → gather.c: an index
 *   index.c    the index: flat, checked, searched without allocating; can be kept in a file
 *   type.c     a function's type, down to the fields of what its pointers point to
 *   body.c     where the callers of one compiled body put its parameters
 */
#ifndef RDF_DEBUG_DEBUG_H
#define RDF_DEBUG_DEBUG_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/span.h"
#include "os/os.h"

struct rdf_debug;

enum rdf_debug_where {
    RDF_DEBUG_INSIDE,   /* in the object's own file and what it names beside it: cheap to find out */
    RDF_DEBUG_ANYWHERE, /* also what was installed for it, by build-id and debuglink */
};

/* Open the debug data of the object at `path`.
 *
 * Shapes:   *ret lives in `arena`; close it first.
 * Errors:   REDEFINE_ENOTFOUND     there is none; the sentence says where it was looked for
 *           REDEFINE_EUNSUPPORTED  damaged, or in a form that is not read here */
redefine_status rdf_debug_open(struct rdf_space *space, struct rdf_arena *arena, const char *path,
                               uint64_t dev, uint64_t ino, enum rdf_debug_where where, struct rdf_debug **ret,
                               struct rdf_error *err);
void rdf_debug_close(struct rdf_debug *debug);

/* The build-id of the ELF file at `path`, without a look at anything else; false: it has none. */
enum { RDF_DEBUG_ID_BYTES_MAX = 64 };
bool rdf_debug_identify(struct rdf_space *space, const char *path, uint8_t ret_id[RDF_DEBUG_ID_BYTES_MAX],
                        size_t *ret_bytes);

/* ---- The index ---- */

enum {
    RDF_DEBUG_EXTERNAL = 1,
    RDF_DEBUG_NORETURN = 2,
    RDF_DEBUG_HAS_BODY = 4,
    RDF_DEBUG_SHARED = 8,  /* its entry lies in the file that dwz shares */
    RDF_DEBUG_NOCALL = 32, /* the compiler chose another way to call it: DWARF 5, 3.3.1.1 */
    RDF_DEBUG_SPLIT = 16,  /* its entry lies in a split unit: of the skeleton at `unit_off` */
    RDF_DEBUG_FOLDED = 64, /* it was inlined somewhere, and nothing of that copy is left to be described */
};

/* Addresses are the file's; texts are offsets into the index; functions are sorted by name. One without
 * entries, without copies and not RDF_DEBUG_FOLDED was defined, but the compiler or linker merged it with
 * another or dropped it. */
struct rdf_debug_function {
    uint32_t name;  /* the linkage name where there is one */
    uint32_t plain; /* the name in the source */
    uint32_t decl_file, decl_line;
    uint32_t first_site, site_count;
    uint32_t flags;
    uint32_t reserved;
    uint64_t die_off, unit_off;
};

struct rdf_debug_entry {
    uint64_t addr;
    uint32_t function;
    uint32_t body_off; /* where its file describes this very body; 0: farther than this number reaches */
};

/* An inlined copy: in the body of `caller` and, if that is another one, in the inlined copy of `via` there.
 */
struct rdf_debug_site {
    uint64_t addr; /* 0: not known */
    uint32_t caller, via;
    uint32_t file, line; /* of the call */
};

struct rdf_debug_index {
    struct rdf_span blob;
    const struct rdf_debug_function *function;
    const struct rdf_debug_entry *entry;
    const struct rdf_debug_site *site;
    const char *text;
    uint32_t function_count, entry_count, site_count, text_bytes;
};

/* Look at every entry once. The index is one piece of pages->get; give its blob back with pages->put. A `key`
 * (at most 64 bytes, empty: none) is written into it, with a sum: so it can be kept in a file. */
redefine_status rdf_debug_build_index(struct rdf_debug *debug, const struct rdf_page_source *pages,
                                      struct rdf_span key, struct rdf_debug_index *ret,
                                      struct rdf_error *err);

/* The index in these bytes, each number in it checked; false: they are none, or for another `key`. The bytes
 * lie at a multiple of 8. */
bool rdf_debug_index_from(struct rdf_span blob, struct rdf_span key, struct rdf_debug_index *ret);

/* Copy the index to `to`, where blob.len_bytes are free at a multiple of 8; it then lies there. The former
 * blob is the caller's to give back. */
void rdf_debug_index_move(struct rdf_debug_index *index, uint8_t *to);

/* The function that begins at `addr`, or null. */
const struct rdf_debug_function *rdf_debug_index_at(const struct rdf_debug_index *index, uint64_t addr);

/* The functions that have this linkage name: [*ret_first, + the result). */
uint32_t rdf_debug_index_named(const struct rdf_debug_index *index, const char *name, uint32_t *ret_first);

/* ---- Types ---- */

enum rdf_type_kind {
    RDF_TYPE_VOID,
    RDF_TYPE_BASE,
    RDF_TYPE_ENUM,
    RDF_TYPE_POINTER,
    RDF_TYPE_REFERENCE,
    RDF_TYPE_RVALUE_REFERENCE,
    RDF_TYPE_MEMBER_POINTER,
    RDF_TYPE_STRUCT, /* a class too */
    RDF_TYPE_UNION,
    RDF_TYPE_ARRAY,
    RDF_TYPE_FUNCTION,
    RDF_TYPE_OPAQUE, /* declared only, or not looked into */
};

struct rdf_type;

struct rdf_field {
    const char *name; /* null: none */
    uint64_t bit_off;
    uint64_t bits; /* 0: the whole of its type */
    const struct rdf_type *type;
    bool is_artificial; /* `this`, and what else the compiler added */
};

struct rdf_type {
    enum rdf_type_kind kind;
    uint8_t encoding; /* DW_ATE_* */
    bool is_variadic, is_noreturn, is_method;
    bool passes_addresses;         /* a function of Fortran: of its arguments, unless it says VALUE */
    bool is_nocall;                /* the compiler chose another way to call it: DWARF 5, 3.3.1.1 */
    bool is_by_reference;          /* a class with a copy constructor or destructor of its own: passed so */
    bool is_cut_off;               /* so large that the rest was not looked at */
    struct rdf_debug *debug;       /* of a named type that is only declared here: where to look further */
    const char *name;              /* null: none */
    uint64_t size_bytes;           /* of an array: how many elements, or rows; 0: not known */
    const struct rdf_type *target; /* pointed to, element or row, result */
    const struct rdf_field *field; /* members and bases by offset; parameters in their order */
    size_t field_count;
};

/* The type of a function of this object's index; lives in the debug data's arena, until it is closed. */
redefine_status rdf_debug_type(struct rdf_debug *debug, const struct rdf_debug_function *function,
                               const struct rdf_type **ret, struct rdf_error *err);

/* What a type that is only declared where it was named looks like in another unit. Takes as long as a look at
 * all of them. False: it is defined nowhere, or in several ways. */
bool rdf_debug_complete(const struct rdf_type *declared, const struct rdf_type **ret);

/* ---- Bodies ---- */

enum rdf_parameter_kind {
    RDF_PARAMETER_GONE,     /* nothing is said of it: it is not passed */
    RDF_PARAMETER_CONSTANT, /* it has become this number … */
    RDF_PARAMETER_FIXED,    /* … or something else that does not vary */
    RDF_PARAMETER_PLACED,   /* callers put it there */
};

struct rdf_parameter {
    const char *name; /* null: none */
    enum rdf_parameter_kind kind;
    uint64_t constant;
    uint8_t constant_bytes;
    struct rdf_span place; /* where it is when the function is entered: an expression of DWARF */
};

/* One of the bodies that were compiled for a function: the parameters of its declaration, in their order. */
struct rdf_debug_body {
    const struct rdf_parameter *parameter;
    size_t count;
};

/* The body that begins at `addr`; lives in the debug data's arena, until it is closed. */
redefine_status rdf_debug_body(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t addr,
                               struct rdf_debug_body *ret, struct rdf_error *err);

/* The source line of the instruction at `addr`, in the body that begins at `start`: the innermost one, where
 * something was inlined. False: not known. Takes as long as a look at all lines of its unit; the text lives
 * in the debug data's arena, until it is closed. */
bool rdf_debug_line(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t start,
                    uint64_t addr, const char **ret_file, uint32_t *ret_line);

#endif
