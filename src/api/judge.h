/* SPDX-License-Identifier: MIT
 *
 * All that is known of functions, brought together for a verdict: their code, their callers, their debug
 * data. Serves the library in its own process and the command over files alike.
 */
#ifndef RDF_API_JUDGE_H
#define RDF_API_JUDGE_H

#include "check/check.h"
#include "debug/debug.h"
#include "image/image.h"

struct rdf_judge_object;

struct rdf_judge {
    struct rdf_images *images;
    struct rdf_arena *arena; /* of what it finds */
    const struct rdf_page_source *pages;
    /* Where indexes are kept from one command to the next; null: nowhere. */
    bool (*load)(struct rdf_span build_id, struct rdf_debug_index *ret);
    void (*store)(struct rdf_span build_id, const struct rdf_debug_index *index);
    enum rdf_debug_where where;
    bool tells_fetching; /* where there is no debug data: by debuginfod's command, for which servers are named
                          */
    bool takes_clones;   /* those clones that a replacement would do for are to be redefined as well */
    bool is_brief;       /* only verdicts matter: names stay as they are, and clones are not compared */
    struct rdf_judge_object *objects; /* those that were asked about */
};

void rdf_judge_free(struct rdf_judge *judge);

/* The index of the object's debug data; null: *ret_why says why there is none. Valid until the judge is
 * freed. */
const struct rdf_debug_index *rdf_judge_index(struct rdf_judge *judge, struct rdf_image *image,
                                              const struct rdf_error **ret_why);

/* Where the function of the object was inlined, with C++ names as people write them. False: no memory. */
bool rdf_judge_sites(struct rdf_judge *judge, struct rdf_image *image, const struct rdf_debug_index *index,
                     const struct rdf_debug_function *function, struct rdf_check_debug *ret);

/* The type of the function at `addr` of the object; null: not known. */
const struct rdf_type *rdf_judge_type(struct rdf_judge *judge, struct rdf_image *image, uint64_t addr);

/* The verdict on each of `count` functions of one object, which ascend by start. Memory is the arena's. */
redefine_status rdf_judge_functions(struct rdf_judge *judge, const struct rdf_function *function,
                                    size_t count, struct rdf_report *ret, struct rdf_error *err);

/* The same for many that are not Go's, whose reports need not stay: each is given to `visit`, where it is
 * valid until that returns. */
typedef void rdf_judge_visit(void *ctx, size_t index, const struct rdf_report *report);
redefine_status rdf_judge_each(struct rdf_judge *judge, const struct rdf_function *function, size_t count,
                               rdf_judge_visit *visit, void *ctx, struct rdf_error *err);

/* The clones of one function and its other names, without a look at the code: who calls them is not told. */
redefine_status rdf_judge_clones(struct rdf_judge *judge, const struct rdf_function *function,
                                 struct rdf_facts *ret, struct rdf_error *err);

/* Compare two functions' types, where both are known; where not, the report says so. */
redefine_status rdf_judge_types(struct rdf_judge *judge, struct rdf_report *report,
                                struct rdf_image *target_image, struct rdf_judge *replacement_judge,
                                struct rdf_image *replacement_image, uint64_t replacement,
                                struct rdf_error *err);

#endif
