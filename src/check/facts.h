/* SPDX-License-Identifier: MIT
 *
 * What the code and the symbols of an object tell about one of its functions, without debug data.
 */
#ifndef RDF_CHECK_FACTS_H
#define RDF_CHECK_FACTS_H

#include "base/arena.h"
#include "image/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rdf_clone_kind {
    RDF_CLONE_CONSTPROP, /* a parameter became a constant */
    RDF_CLONE_ISRA,      /* parameters were split or dropped */
    RDF_CLONE_PART,      /* a part of the body on its own; the rest is usually inlined */
    RDF_CLONE_COLD,      /* unlikely blocks, reached only from the body: no clone that is called */
    RDF_CLONE_PROMOTED,  /* a static function, made visible to other parts of a program linked as a whole */
};

/* Whether the same replacement would do. */
enum rdf_clone_fit {
    RDF_CLONE_UNTOLD,  /* debug data would tell */
    RDF_CLONE_FITS,    /* it takes the same parameters in the same places */
    RDF_CLONE_DIFFERS, /* it does not */
    RDF_CLONE_OTHER,   /* it is another function of that name, and no clone */
};

struct rdf_caller {
    const char *name; /* null: stripped */
    uint64_t addr;    /* of the call */
    /* Where that is in the source, if debug data tells; not known here. */
    const char *file; /* null: not told */
    uint32_t line;
    uint64_t start; /* of the caller; 0: not known */
};

struct rdf_clone {
    enum rdf_clone_kind kind;
    const char *name;
    uint64_t addr;
    uint64_t size_bytes;
    size_t direct_calls;       /* of this clone, from other functions … */
    struct rdf_caller *caller; /* … some of them, where few functions were asked about */
    size_t caller_count;
    const char *file; /* of the group of local symbols that it is in; null: not told */
    /* Not known here; clone.h works them out. */
    enum rdf_clone_fit fit;
    const char *difference; /* "takes one parameter less: …", "is …"; null: none, or not told */
};

struct rdf_other_name {
    const char *name;
    bool is_folded; /* another function whose identical code was merged; else an alias or a version. Here a
                       guess from what people call aliases; where there is debug data, that tells */
};

struct rdf_twin;

struct rdf_facts {
    bool is_complete;       /* every executable byte of the object was looked at */
    size_t direct_calls;    /* calls and jumps to the entry from other functions */
    size_t taken_addresses; /* the entry's address as data, in a relocation, or computed by an instruction */
    bool is_exported;       /* other objects can call it by name */
    struct rdf_clone *clone;
    size_t clone_count;
    struct rdf_other_name *other_name;
    size_t other_name_count;
    /* Not known here; twins.h works them out. */
    const struct rdf_twin *twin; /* equal functions whose calls go to this one … */
    size_t twin_count;
    const char *kept_twin; /* … or the one that calls of this one go to; null: none */
    /* ipa-ra: registers that a call may clobber, that this body leaves alone, and in which a caller keeps
     * something across its call (a bit for each, as the CPU's room numbers them) */
    uint64_t left_alone;
    const char *left_alone_names; /* "rcx, rdx and xmm1"; null: none */
    bool is_misaligned;           /* a caller may leave the stack unaligned, as this body does not need it */
    const struct rdf_caller *relying; /* one of those callers; null: none */
    bool relay_keeps;                 /* the relay sees to both: handled */
};

/* Gather the facts of functions of one image, which ascend by start, in one pass over its code, data and
 * symbols. Texts are the image's or from `arena`.
 * Errors: REDEFINE_ENOMEM */
redefine_status rdf_facts_gather(struct rdf_images *images, const struct rdf_function *functions,
                                 size_t count, struct rdf_arena *arena, struct rdf_facts *ret,
                                 struct rdf_error *err);

/* Of the same functions only what the symbols tell: their clones and other names. */
redefine_status rdf_facts_names(struct rdf_images *images, const struct rdf_function *functions, size_t count,
                                struct rdf_arena *arena, struct rdf_facts *ret, struct rdf_error *err);

/* Whether `name` is that of a clone: which kind, and how long the name of its base is. */
bool rdf_clone_of(const char *name, enum rdf_clone_kind *ret_kind, size_t *ret_base_bytes);

#endif
