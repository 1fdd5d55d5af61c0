/* SPDX-License-Identifier: MIT
 *
 * What is known of Go code: the tables that its runtime carries in every program, stripped or not. They name
 * each function with its exact bounds, file and line; every inlined copy; and types. Works on an address
 * space, so on this process, a traced one and a file alike.
 *
 *   go.c         which images hold Go code, of which version; the module's record
 *   go_module.c  pclntab and moduledata: found, laid out by version, checked against each other
 *   go_func.c    functions, by address and by name; tables by PC
 *   go_inline.c  inlined copies
 *   go_call.c    direct calls
 *   go_type.c    types, read from their descriptors
 *   go_layout.c  two types compared, field by field
 *
 * The layouts differ by release (docs/limits.md says which are known). A release that is not known, and
 * tables that contradict themselves, are errors with a sentence. Strings live as long as the images.
 *
 * Source: the Go runtime's symtab.go, runtime2.go, symtabinl.go and internal/abi/type.go of each release.
 */
#ifndef RDF_IMAGE_GO_H
#define RDF_IMAGE_GO_H

#include "image/image.h"

struct rdf_go; /* the Go module in one image */

/* ---- The module ---- */

/* Whether the image says that it holds Go code (its build id note or build information). Cheap. */
bool rdf_go_is_go(struct rdf_images *images, struct rdf_image *image);

/* The module's tables, found and checked at the first call. *ret_go lives as long as the images.
 * REDEFINE_ENOTFOUND     no Go code in this image
 * REDEFINE_EUNSUPPORTED  a release that is not known, or tables that are damaged: the sentence says what */
redefine_status rdf_go_open(struct rdf_images *images, struct rdf_image *image, const struct rdf_go **ret_go,
                            struct rdf_error *err);

/* The module whose text holds `pc`; null when there is none that can be read. */
const struct rdf_go *rdf_go_at(struct rdf_images *images, uint64_t pc);

const char *rdf_go_version(const struct rdf_go *go); /* "go1.26.3" */
struct rdf_image *rdf_go_image(const struct rdf_go *go);
uint64_t rdf_go_text(const struct rdf_go *go); /* [text, etext): all Go functions of the module */
uint64_t rdf_go_text_end(const struct rdf_go *go);

/* ---- Functions ---- */

enum rdf_go_flags { RDF_GO_TOP_FRAME = 1, RDF_GO_SP_WRITE = 2, RDF_GO_ASM = 4 }; /* abi.FuncFlag */

struct rdf_go_func {
    const struct rdf_go *go;
    uint32_t index; /* in the function table: ascending by entry */
    uint64_t entry;
    uint64_t end;         /* behind its last byte; padding is not part of it */
    const char *name;     /* "time.Now", "main.(*counter).Inc", "main.f[...]", "main.main.func1" */
    int32_t args_bytes;   /* stack arguments and results; INT32_MIN when unknown (assembly) */
    uint32_t deferreturn; /* offset from the entry of the call of deferreturn; 0: none */
    uint32_t start_line;  /* of its "func"; 0 before Go 1.20 */
    uint8_t func_id;      /* abi.FuncID of its release */
    uint8_t flags;        /* enum rdf_go_flags bits */
    bool is_wrapper;      /* made by the compiler: (*T).M of a T.M, M-fm, an ABI wrapper, F[int] of a shape */
    bool is_foreign; /* C code that Go's linker took in: no line is known, and its end may be padding's */
    uint64_t record_addr; /* of its _func */
};

uint32_t rdf_go_func_count(const struct rdf_go *go);
bool rdf_go_func(const struct rdf_go *go, uint32_t index, struct rdf_go_func *ret);
/* The function that holds `pc`: entry <= pc < end. */
bool rdf_go_func_at(const struct rdf_go *go, uint64_t pc, struct rdf_go_func *ret);

/* The next function called `name` at or behind index `from`. Several have one name: an assembly function and
 * its ABI wrapper, instantiations where the release keeps "[...]" only. A name written with "[...]" stands
 * for every instantiation; "gopkg.in/yaml.v2.F" finds what the linker calls gopkg.in/yaml%2ev2.F. */
bool rdf_go_func_named(const struct rdf_go *go, const char *name, uint32_t from, struct rdf_go_func *ret);

/* Whether what was asked for is this name of a function (see rdf_go_func_named). */
bool rdf_go_name_matches(const char *wanted, const char *name);

/* ---- What is known of each PC ---- */

enum rdf_go_table {
    RDF_GO_SP,   /* bytes the stack pointer is below its value at the entry */
    RDF_GO_FILE, /* use rdf_go_line */
    RDF_GO_LINE,
    RDF_GO_UNSAFE_POINT, /* -1 where a goroutine may be preempted asynchronously, else not */
    RDF_GO_STACK_MAP,
    RDF_GO_INL_INDEX, /* into the inline tree; -1: the function itself */
};

/* The ranges of a table, ascending; together they are [entry, end). `visit` returns false to stop.
 * False when there is no such table or it is damaged (ranges before the damage were visited). */
typedef bool rdf_go_range_visit(void *ctx, uint64_t start, uint64_t end, int32_t value);
bool rdf_go_each_range(const struct rdf_go_func *func, enum rdf_go_table table, rdf_go_range_visit *visit,
                       void *ctx);
bool rdf_go_value(const struct rdf_go_func *func, enum rdf_go_table table, uint64_t pc, int32_t *ret);

/* Where the instruction at `pc` was written: in the innermost inlined function, if it is one's. */
bool rdf_go_line(const struct rdf_go_func *func, uint64_t pc, const char **ret_file, uint32_t *ret_line);

/* FUNCDATA `index` (abi.FUNCDATA_*: 0 args' pointer maps, 1 locals', 3 inline tree, 5 argument info):
 * its address, 0 when there is none. */
uint64_t rdf_go_funcdata(const struct rdf_go_func *func, unsigned index);

/* ---- Inlined copies ---- */

struct rdf_go_site {
    struct rdf_go_func func; /* the function whose code holds the copy */
    const char *name;        /* what was inlined */
    const char *caller;      /* what calls it in the source: func.name, or another inlined function */
    uint64_t pc;             /* the first instruction of the copy */
    uint64_t bytes;          /* how many instruction bytes are attributed to it (and to what it inlines) */
    const char *file;        /* of the call; "" when unknown */
    uint32_t line;
};
typedef bool rdf_go_site_visit(void *ctx, const struct rdf_go_site *site); /* false: stop */

/* Every inlined copy of the functions called `name` (as in rdf_go_func_named; null: of all functions),
 * whether or not there is a body of that name. What folded away entirely (`return x+1`) left no trace:
 * absence proves nothing, count the callers. A function whose tree is damaged is skipped and counted in
 * *ret_damaged (may be null). */
void rdf_go_each_inlined(const struct rdf_go *go, const char *name, rdf_go_site_visit *visit, void *ctx,
                         size_t *ret_damaged);

/* The same over all Go images. */
void rdf_go_inlined(struct rdf_images *images, const char *name, rdf_go_site_visit *visit, void *ctx);

/* "-gcflags=PKG=-l": what keeps the function of that name from being inlined. `main_package` is the import
 * path of package main, whose functions are called main.F whatever it is; "" when it is not known. */
void rdf_go_inlining_flag(const char *name, const char *main_package, char *ret_text, size_t text_bytes);

/* Direct calls (and tail jumps, each counted as one) of `entry` in the module's text, found by decoding every
 * function. `visit` may be null; returns how many. */
typedef bool rdf_go_call_visit(void *ctx, const struct rdf_go_func *caller, uint64_t pc);
size_t rdf_go_each_call(struct rdf_images *images, const struct rdf_go *go, uint64_t entry,
                        rdf_go_call_visit *visit, void *ctx);

/* ---- Types ---- */

/* abi.Kind */
enum rdf_go_kind {
    RDF_GO_INVALID,
    RDF_GO_BOOL,
    RDF_GO_INT,
    RDF_GO_INT8,
    RDF_GO_INT16,
    RDF_GO_INT32,
    RDF_GO_INT64,
    RDF_GO_UINT,
    RDF_GO_UINT8,
    RDF_GO_UINT16,
    RDF_GO_UINT32,
    RDF_GO_UINT64,
    RDF_GO_UINTPTR,
    RDF_GO_FLOAT32,
    RDF_GO_FLOAT64,
    RDF_GO_COMPLEX64,
    RDF_GO_COMPLEX128,
    RDF_GO_ARRAY,
    RDF_GO_CHAN,
    RDF_GO_FUNC,
    RDF_GO_INTERFACE,
    RDF_GO_MAP,
    RDF_GO_POINTER,
    RDF_GO_SLICE,
    RDF_GO_STRING,
    RDF_GO_STRUCT,
    RDF_GO_UNSAFE_POINTER,
    RDF_GO_KINDS,
};
const char *rdf_go_kind_name(enum rdf_go_kind kind);

struct rdf_go_type {
    const struct rdf_go *go; /* whose release lays it out */
    uint64_t addr;           /* of its descriptor: what *rtype points to */
    uint64_t size_bytes;
    uint32_t hash;
    uint8_t align;
    enum rdf_go_kind kind;
    bool is_named;
    bool is_variadic;     /* a func whose last parameter is "..." */
    const char *name;     /* "main.counter", "*main.counter", "func(int) string"; "" when made at run time */
    uint64_t elem;        /* descriptor: of array, chan, map, pointer, slice; else 0 */
    uint64_t key;         /* of a map */
    uint64_t len;         /* of an array; the direction of a chan (1 receive, 2 send) */
    uint32_t field_count; /* of a struct */
    uint32_t in_count;    /* of a func; without its receiver */
    uint32_t out_count;
    uint32_t method_count; /* of a type that has a name, or of an interface */
    uint64_t members_addr; /* fields, parameters or interface methods: for the readers below */
    uint64_t methods_addr;
};
struct rdf_go_field {
    const char *name;
    uint64_t type;
    uint64_t offset_bytes;
    bool is_embedded;
};
struct rdf_go_method {
    const char *name;
    uint64_t type;       /* func without the receiver; 0: unknown (removed by the linker) */
    uint64_t iface_code; /* called through an interface; 0: none or unreachable, also for an interface */
    uint64_t code;       /* called directly */
};

/* The type whose descriptor is at `addr`: in the module, or made at run time anywhere in the space. */
redefine_status rdf_go_type(struct rdf_images *images, const struct rdf_go *go, uint64_t addr,
                            struct rdf_go_type *ret, struct rdf_error *err);
redefine_status rdf_go_type_field(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                  struct rdf_go_field *ret, struct rdf_error *err);
/* Parameters first, then results: index < in_count + out_count. */
redefine_status rdf_go_type_param(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                  uint64_t *ret_type, struct rdf_error *err);
redefine_status rdf_go_type_method(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                   struct rdf_go_method *ret, struct rdf_error *err);

/* Whether memory of type `a` may be used as if it were of type `b`: the same sizes, and at every offset the
 * same sort of value; names do not matter, what pointers point to does. REDEFINE_ETYPE names the first field
 * that collides, with both layouts side by side, line by line. Both may be of different modules.
 * For funcs: parameter by parameter, result by result. */
redefine_status rdf_go_same_layout(struct rdf_images *images, const struct rdf_go_type *a,
                                   const struct rdf_go_type *b, struct rdf_error *err);

#endif
