/* SPDX-License-Identifier: MIT
 *
 * The grammar of names, and what is left of a search: one function, none, or several that are listed.
 */
#ifndef RDF_IMAGE_SEARCH_H
#define RDF_IMAGE_SEARCH_H

#include "image/image.h"
#include "image/names.h"

enum { RDF_SEARCH_CANDIDATES_MAX = 8, RDF_SEARCH_NAMES_MAX = 300 * 1000 };

struct rdf_part {
    const char *at; /* null: not asked for */
    size_t len;
};

struct rdf_search {
    struct rdf_images *images;
    const char *text;                   /* the whole of it */
    struct rdf_part object, name, file; /* OBJECT!NAME@FILE */
    struct {
        struct rdf_image *image;
        const char *file;
        uint64_t addr;
    } candidate[RDF_SEARCH_CANDIDATES_MAX];
    size_t count; /* of different functions; may be more than are kept */
    struct rdf_error follow_error;
};

/* False: it names no function. */
bool rdf_search_begin(struct rdf_search *search, struct rdf_images *images, const char *text);

/* A function of that name; two are the same if they are at the same address once stubs have been followed. */
void rdf_search_add(struct rdf_search *search, struct rdf_image *image, const char *file, uint64_t addr);

/* Whether a symbol's file, which may be a bare name, is the one that was asked for. */
bool rdf_search_is_file(const struct rdf_search *search, const char *have);

/* The one that was found. `suggestions` may hold names that resemble it, for when there is none. */
redefine_status rdf_search_end(const struct rdf_search *search, const struct rdf_suggestions *suggestions,
                               uint64_t *ret_addr, struct rdf_error *err);

#endif
