/* SPDX-License-Identifier: MIT
 *
 * What is known of code: which object holds an address, where a function begins and ends, what it is
 * called, what a name means. Reads an address space through its table, so it serves this process, a
 * traced one and a file laid out in memory alike. Every reader distrusts what it reads: a damaged
 * file is an error with a sentence, never a crash, an endless loop or a huge allocation.
 *
 * Each format of objects is a folder, elf/, pe/ and macho/, of which the build takes the one of its system:
 *   images.c    rdf_images_load: the images found in the mappings; what they have in common: object.h
 *   function.c  exact bounds, from unwind data also of stripped code, and from symbols
 *   follow.c    stubs and resolvers → the function that runs
 *   find.c      rdf_images_find: the grammar of names
 *   each.c      every named function, for globs
 *   the rest    its tables: elf.c symbol.c unwind.c demangle.c stub.c, what Go's own know (go*.c); tables.c
 * Names are compared, shortened and suggested in the same way for all of them (names.h, glob.c); search.h
 * has the grammar of names for formats that need no more of it.
 *   references.c, reliance.c   who calls a function and what is expected of it: calls.h
 */
#ifndef RDF_IMAGE_IMAGE_H
#define RDF_IMAGE_IMAGE_H

#include "arch/arch.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"
#include "os/os.h"

struct rdf_image; /* one object as it is mapped */

struct rdf_images {
    struct rdf_space *space;
    const struct rdf_arch *arch; /* reads stubs */
    struct rdf_arena *arena;     /* everything below lives here */
    struct rdf_maps maps;
    struct rdf_image **image; /* the program first, then in the loader's order, then the rest */
    size_t count;
    size_t linked_count;     /* the first of them: in the loader's list, so not the vDSO, not dlmopen's */
    struct rdf_arena copies; /* of what may be unloaded while it is read: until files are closed */
    uint64_t stays_from;     /* a part of an object that stays: the last one that was asked about, … */
    uint64_t stays_to;       /* … up to here */
    const char *gone;   /* path of what was mapped, and was not there any more when it was read; or null */
    void *search;       /* of rdf_images_find, kept for the next one */
    bool scope_known;   /* the global scope has been worked out */
    bool out_of_memory; /* the arena was refused pages: what was not read may not be taken as absent */
};

/* Take a snapshot of the space's mappings and find the images in it. Cheap: file contents
 * (.symtab, section headers) are read only when a question needs them.
 * rdf_images_free closes what was opened; the arena is the caller's. */
redefine_status rdf_images_load(struct rdf_space *space, const struct rdf_arch *arch, struct rdf_arena *arena,
                                struct rdf_images *ret, struct rdf_error *err);
void rdf_images_free(struct rdf_images *images);

/* Who knows better which image is the program: it becomes the first. */
void rdf_images_begin_with(struct rdf_images *images, struct rdf_image *program);

/* Close the files that were opened, and give back what was copied: what comes from them is read again when it
 * is asked for again. */
void rdf_images_close_files(struct rdf_images *images);

/* Whether `addr` lies in an object that is never unloaded: the program, or what was loaded with it. */
bool rdf_images_stay_at(struct rdf_images *images, uint64_t addr);

/* A pointer through which [addr, addr+len) can be read in place; null where this space has none, and where
 * another thread may unload the object that lies there (dlclose): then use the space's read, of which EFAULT
 * is an answer. The caller has checked that `images->maps` has it readable. */
const void *rdf_images_view(struct rdf_images *images, uint64_t addr, size_t len_bytes);

/* Say in images->gone that `addr` cannot be read, though it is in `maps`. */
void rdf_images_note_gone(struct rdf_images *images, uint64_t addr);

/* The same, or a copy that stays until files are closed. Null: it could not be read, and images->gone says
 * what it was; or there is no memory, and images->out_of_memory is set. */
const void *rdf_images_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes);

/* The same of long stretches, and of tables: as they are now, or as the object's file has them, so that what
 * was written to code since may be missing. */
const void *rdf_images_loaded_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes);

/* Leave this image out of name searches (a patch file, the agent, the engine itself). */
void rdf_image_hide(struct rdf_image *image);

struct rdf_image *rdf_images_at(const struct rdf_images *images, uint64_t addr); /* or null */
const char *rdf_image_name(const struct rdf_image *image);                       /* path, or "[vdso]" */
uint64_t rdf_image_start(const struct rdf_image *image);                         /* lowest mapped address */
uint64_t rdf_image_end(const struct rdf_image *image);                           /* behind the highest */
uint64_t rdf_image_bias(const struct rdf_image *image); /* added to addresses in the file */

enum rdf_bounds_source {
    RDF_BOUNDS_UNWIND,
    RDF_BOUNDS_SYMBOL,
    RDF_BOUNDS_GO,   /* Go's own table; so it is a Go function … */
    RDF_BOUNDS_GO_C, /* … but this is C that Go's linker took in */
};

struct rdf_function {
    struct rdf_image *image;
    uint64_t start; /* the entry */
    uint64_t end;   /* behind the last byte that belongs to it */
    enum rdf_bounds_source source;
    const char *name; /* best symbol name at `start`; null when stripped */
};

/* The function whose entry is exactly `addr`. Nothing is guessed:
 * REDEFINE_EINVAL        not mapped; mapped but not executable (data); inside a function (the sentence
 *                        names it and the offset; "inside an instruction" where decoding says so is the
 *                        core's addition)
 * REDEFINE_EUNSUPPORTED  executable, but neither unwind table nor symbol tells where it ends */
redefine_status rdf_images_function(struct rdf_images *images, uint64_t addr, struct rdf_function *ret,
                                    struct rdf_error *err);

/* Where a call of `addr` ends up running: PLT stubs (.plt, .plt.sec, .plt.got, lazily bound or not) and
 * IFUNC resolvers are followed, repeatedly; anything else is returned as it is. A function whose body
 * merely begins with a jump is not a stub and is not followed. */
redefine_status rdf_images_follow(struct rdf_images *images, uint64_t addr, uint64_t *ret_addr,
                                  struct rdf_error *err);

/* What a name means, as an address where code runs (followed).
 *
 *   NAME            an exported function as the dynamic loader binds it (the first in the global scope);
 *                   else the only function of that name in any image, static ones included
 *   OBJECT!NAME     in that object: soname, file name or path; "[vdso]!time"
 *   NAME@FILE       the static function of that source file: "parse@src/json.c" ("json.c" is all that
 *                   symbol tables keep, so two files of one name are ambiguous)
 *   NAME@VERSION    that version of a versioned symbol: "memcpy@GLIBC_2.2.5"
 *   ns::C::m(int)   a C++ function as demangled, or without the parameters when only one fits
 *   time.Now        a Go function: "main.(*T).M", "main.main.func1", "main.f[...]" for a generic one
 *
 * REDEFINE_ENOTFOUND, with near names where there are any; REDEFINE_EINLINED, with the sites, for a Go
 * function that was inlined wherever it is called; REDEFINE_EAMBIGUOUS, listing the candidates with object,
 * file and address in a form that can be given back to this function. */
redefine_status rdf_images_find(struct rdf_images *images, const char *name, uint64_t *ret_addr,
                                struct rdf_error *err);

/* "name+0x12 in libc.so.6" for messages; written into `ret_text`. */
void rdf_images_describe(struct rdf_images *images, uint64_t addr, char *ret_text, size_t text_bytes);

/* The start of the next known function or symbol at or behind function->end, else the end of the
 * executable mapping: what lies between may be padding. */
uint64_t rdf_images_next_start(struct rdf_images *images, const struct rdf_function *function);

/* The end of the stretch from `addr` on, at most up to `limit`, that is code of the image's segment and
 * belongs to no function, symbol or stub; `addr` itself when it belongs to one. */
uint64_t rdf_images_gap(struct rdf_images *images, struct rdf_image *image, uint64_t addr, uint64_t limit);

/* Every function that has a name matching `glob` ("*" any text, "?" one character), parts that the compiler
 * split off (.cold) left out; hidden images are skipped. Of several names of one address the best is offered
 * first, then the others, until one is taken. One of C++ is offered as it is in the table, and if it is not
 * taken, and `readable` matches, together with that: as people write it. An IFUNC is told by its resolver.
 * `name` is valid until rdf_images_free, `readable` (null the first time) until the return. */
enum rdf_visit { RDF_VISIT_TAKEN, RDF_VISIT_OTHER, RDF_VISIT_STOP };
typedef enum rdf_visit rdf_image_visit(void *ctx, struct rdf_image *image, const char *name,
                                       const char *readable, uint64_t addr, bool is_ifunc);
void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx);
/* A mangled C++ name as people write it; false when it is none, or there is no demangler. */
bool rdf_image_demangle(const char *mangled, char *ret_text, size_t text_bytes);
bool rdf_image_glob(const char *pattern, const char *text);

/* One name of a function, as a symbol table has it. */
struct rdf_named {
    const char *name;
    const char *file; /* of the group of local symbols that it is in (STT_FILE); null: global, or not told */
    uint64_t addr;
    uint64_t size_bytes;
    bool is_local;
    bool is_weak;
    bool is_exported; /* it is .dynsym that has it */
};

/* Every symbol of a function in .symtab, in its order, then those of .dynsym; false from `visit` stops. */
typedef bool rdf_named_visit(void *ctx, const struct rdf_named *named);
void rdf_image_each_name(struct rdf_images *images, struct rdf_image *image, rdf_named_visit *visit,
                         void *ctx);

/* Whether the image's file has symbols of its own beyond what it exports. Where it has none, these take their
 * place, of a file that was put aside: whole Elf64_Sym entries, and their names. They are the caller's, and
 * stay until rdf_images_free. */
bool rdf_image_has_symbols(struct rdf_images *images, struct rdf_image *image);
void rdf_image_lend_symbols(struct rdf_images *images, struct rdf_image *image, struct rdf_span symbols,
                            struct rdf_span names);

/* Call `visit` for each executable segment of the image, as [start, end) of mapped and readable code. */
void rdf_image_each_code(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx);

/* The same for everything of the image that comes from its file: code and data. */
void rdf_image_each_part(struct rdf_images *images, struct rdf_image *image,
                         void (*visit)(void *ctx, uint64_t start, uint64_t end), void *ctx);

/* Where in the file that is mapped at `addr` that byte lies; false: in none. */
bool rdf_images_file_off(const struct rdf_images *images, uint64_t addr, uint64_t *ret);

/* The start of the function that holds `addr`, as the unwind table or a symbol tells; 0 when neither does. */
uint64_t rdf_images_start_of(struct rdf_images *images, uint64_t addr);

#endif
