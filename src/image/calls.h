/* SPDX-License-Identifier: MIT
 *
 * Who refers to a function, and what its callers expect of it beyond the ABI: found by decoding, without
 * debug data.
 *
 *   references.c  calls, jumps and addresses taken
 *   same.c        two functions of the same code
 *   reliance.c    registers that callers take for preserved (gcc's -fipa-ra), stacks that are not aligned
 */
#ifndef RDF_IMAGE_CALLS_H
#define RDF_IMAGE_CALLS_H

#include "image/image.h"

/* What is asked of one function, and the answer. */
struct rdf_references {
    uint64_t start;     /* the entry */
    uint64_t end;       /* what refers from [start, end) is the function itself, and is left out */
    uint32_t calls;     /* of other functions of the object, with a target that is part of the instruction */
    uint32_t jumps;     /* the same: calls at a function's end */
    uint32_t addresses; /* places where the entry's address is computed, or lies as data or relocation */
    uint32_t words;     /* those of them that lie as data or relocation */
    bool is_exported;   /* other objects find it by name */
};

/* A call or jump that leads to ask[index].start. */
typedef void rdf_reference_visit(void *ctx, size_t index, uint64_t addr, enum rdf_reference kind);

/* Count what refers to each of `ask`, which ascend by `start`, in one pass over the code and data of `image`;
 * `visit` (or null) gets each call and jump; with `only_code` data is not looked at. An address that is
 * computed otherwise than compilers do, and a position-relative word among data, are not seen: a count of
 * nothing says that no compiled code calls it. Errors: REDEFINE_ENOMEM */
redefine_status rdf_image_references(struct rdf_images *images, struct rdf_image *image,
                                     struct rdf_references *ask, size_t count, bool only_code,
                                     rdf_reference_visit *visit, void *ctx, struct rdf_error *err);

/* Whether what begins at `a` does the same as what begins at `b`: instruction by instruction, with the same
 * operands. */
bool rdf_image_same_code(struct rdf_images *images, struct rdf_image *image, uint64_t a, uint64_t b,
                         uint64_t len_bytes);

/* Where a function goes that does nothing but go to another one; 0: it does more. */
uint64_t rdf_image_jump_only(struct rdf_images *images, struct rdf_image *image, uint64_t start,
                             uint64_t end);

/* What callers expect of a function beyond the ABI. */
struct rdf_reliance {
    uint64_t
        left_alone;     /* registers that a call may change, and this function (and whom it calls) does not */
    uint64_t relied_on; /* of them, those in which a caller keeps something across its call */
    uint16_t vector_bytes; /* how much of a vector register among them a caller may use */
    uint16_t stack_words;  /* so many words of arguments the function may find on the stack */
    bool is_misaligned;    /* a caller leaves the stack unaligned, as the function does not need it */
    uint64_t caller_addr;  /* a call that is the reason; 0: none */
};

/* Calls and jumps to functions, as rdf_image_references found them and in that order. */
struct rdf_call_site {
    uint64_t addr;
    size_t function; /* its number among those */
    enum rdf_reference kind;
};
struct rdf_call_sites {
    const struct rdf_call_site *site;
    size_t count;
};

/* Work it out for functions of one image, which ascend by start: what is proven, with work in proportion to
 * their number. `sites`: all calls of them, where somebody has looked for those; null: nobody has. Compilers
 * rely on a body only where they see it, so whatever calls the unknown (another object, a pointer) is taken
 * to change everything. Errors: REDEFINE_ENOMEM */
redefine_status rdf_image_reliance(struct rdf_images *images, struct rdf_image *image,
                                   const struct rdf_function *functions, size_t count,
                                   const struct rdf_call_sites *sites, struct rdf_reliance *ret,
                                   struct rdf_error *err);

/* "rcx, rdx and xmm1" */
void rdf_register_names(const struct rdf_arch *arch, uint64_t registers, char *ret_text, size_t text_bytes);

#endif
