/* SPDX-License-Identifier: MIT
 *
 * What the code of a Go func value is, and whether redefining it would be noticed.
 */
#ifndef RDF_GO_TARGET_H
#define RDF_GO_TARGET_H

#include "go/abi.h"
#include "image/go.h"

struct rdf_go_target {
    struct rdf_go_func func;   /* whose body is redefined: of a generic function its shape's */
    struct rdf_span code;      /* of that body, in this process */
    struct rdf_go_entry entry; /* set by rdf_go_target_begin */
    bool is_generic;
    struct rdf_go_wrapper wrapper; /* of a generic one … */
    struct rdf_go_func own;        /* … the function that is it */
};

/* Whatever runs when a func value whose first word is `code` is called. `known` is what was known of it as
 * the function of an instantiation's own, before that was redefined; else null.
 * REDEFINE_EINVAL    not the entry of a Go function
 * REDEFINE_EVERSION  a release that is not known
 * REDEFINE_EBOUND    x.M, or I.M of an interface
 * REDEFINE_EWRAPPER  the compiler's way to another function; the sentence names it
 * REDEFINE_EINLINED  its calls are instructions of their own */
redefine_status rdf_go_target(struct rdf_images *images, const struct rdf_go_abi *abi, uint64_t code,
                              const struct rdf_go_wrapper *known, struct rdf_go_target *ret,
                              struct rdf_error *err);

/* The function of an instantiation's own, as a target: see go/abi.h. REDEFINE_ESYSTEM EUNSUPPORTED */
redefine_status rdf_go_target_own(struct rdf_images *images, const struct rdf_go_abi *abi,
                                  const struct rdf_go_target *target, struct rdf_go_target *ret,
                                  struct rdf_error *err);

/* Other bodies of a generic function, which may be called with the dictionary of a target. */
struct rdf_go_others {
    struct rdf_go_func *func;
    size_t count;
    const char *inlined; /* the name of one of which such a caller may have a copy; null: none */
};

/* Find them: called by a generic function with a type made of its parameter, the compiler makes one for what
 * it knows of that type there. They are told by their name, which they have in common but for the types, and
 * by where the dictionary's address is: in another dictionary, or in a function that calls them. What is
 * returned is allocated from `arena`. Errors: REDEFINE_ENOMEM */
redefine_status rdf_go_target_others(struct rdf_images *images, const struct rdf_go_abi *abi,
                                     const struct rdf_go_target *target, struct rdf_arena *arena,
                                     struct rdf_go_others *ret, struct rdf_error *err);

/* "pkg.F[...]" of "pkg.F[int]": what all instantiations match, see rdf_go_func_named. Null: no memory. */
const char *rdf_go_all_instantiations(const char *name, struct rdf_arena *arena);

/* One of them, as a target of that dictionary. REDEFINE_ESYSTEM EUNSUPPORTED */
redefine_status rdf_go_target_other(struct rdf_images *images, const struct rdf_go_abi *abi,
                                    const struct rdf_go_target *target, const struct rdf_go_func *other,
                                    struct rdf_go_target *ret, struct rdf_error *err);

/* Whether calls with the target's dictionary may go to `other`, one of its other bodies. They ask for more
 * stack at `target_more` and `other_more` (0: it does not ask). REDEFINE_EUNSUPPORTED: that cannot be told */
redefine_status rdf_go_target_shares_calls(struct rdf_images *images, const struct rdf_go_target *target,
                                           uint64_t target_more, const struct rdf_go_func *other,
                                           uint64_t other_more, bool *ret, struct rdf_error *err);

/* How its body begins, as long as it is what the compiler made of it.
 * REDEFINE_EUNSUPPORTED  assembly, or a beginning that is not known */
redefine_status rdf_go_target_begin(const struct rdf_go_abi *abi, struct rdf_go_target *target,
                                    struct rdf_error *err);

/* The function of that name. REDEFINE_ENOTFOUND, EAMBIGUOUS, EVERSION */
redefine_status rdf_go_target_named(struct rdf_images *images, const char *name, uint64_t *ret_code,
                                    struct rdf_error *err);

/* Whether its calls can have been computed where they were, without a trace in any table: it is so small. */
bool rdf_go_target_can_vanish(const struct rdf_go_target *target);

/* Inlined copies, as lines "file\tline\tcaller\n". */
struct rdf_go_sites {
    char *text;
    size_t text_bytes;
    size_t used_bytes;
    uint32_t count; /* also of those that found no room in `text` */
};

/* How the program was built; "" for what is not known. */
struct rdf_go_built {
    const char *main_package; /* its import path */
    const char *gcflags;      /* "all=-N -l" */
};

/* Of a name that no function has: whether one had it, and was inlined wherever it is called.
 * REDEFINE_EINLINED  it was; as rdf_go_target_is_noticed */
redefine_status rdf_go_target_bodiless(struct rdf_images *images, const char *name,
                                       const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                       struct rdf_error *err);

/* Whether callers have copies of what is called `name`: REDEFINE_EINLINED, as rdf_go_target_is_noticed. */
redefine_status rdf_go_is_inlined(struct rdf_images *images, const char *name,
                                  const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                  struct rdf_error *err);

/* Whether callers would notice.
 * REDEFINE_EINLINED  callers have copies; *sites lists them, the sentence names the first and the flag
 * REDEFINE_EAMBIGUOUS  another module, a plugin, has a copy for its own callers
 * REDEFINE_EFOLDED   nobody calls it, and it is so small that its calls can have vanished */
redefine_status rdf_go_target_is_noticed(struct rdf_images *images, const struct rdf_go_target *target,
                                         const struct rdf_go_built *built, struct rdf_go_sites *sites,
                                         struct rdf_error *err);

#endif
