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
        const char *name, *file;
        uint64_t addr;
    } candidate[RDF_SEARCH_CANDIDATES_MAX];
    size_t count; /* of different functions; may be more than are kept */
    struct rdf_error follow_error;

    /* Of C++: */
    bool is_cxx;
    struct rdf_demangler demangler;
    size_t wanted_len;
    char needle[256]; /* what mangled names hold that are worth a closer look */
    char wanted[RDF_IMAGE_NAME_MAX], demangled[RDF_IMAGE_NAME_MAX], normalized[RDF_IMAGE_NAME_MAX];
};

/* What a format knows of names. */
struct rdf_search_ops {
    /* The object that is meant; null when it is not loaded. */
    struct rdf_image *(*object)(const struct rdf_images *images, const char *name, size_t name_bytes);
    /* rdf_search_add everything that is meant: of one object, or, when that is null, of all as they are
     * bound. */
    void (*find)(struct rdf_search *search, struct rdf_image *object);
    /* rdf_suggest every name. */
    void (*suggest)(const struct rdf_images *images, struct rdf_suggestions *suggestions);
};

/* As rdf_images_find: names as they are, and if there is none, those of C++ as people write them. */
redefine_status rdf_search(const struct rdf_search_ops *ops, struct rdf_images *images, const char *text,
                           uint64_t *ret_addr, struct rdf_error *err);

/* Whether a symbol is what was asked for: its name, and its file, which may be a bare name. */
bool rdf_search_is_name(struct rdf_search *search, const char *have, const char *have_file);

/* A function that is, by that symbol; two are the same if they are at the same address once stubs have been
 * followed. */
void rdf_search_add(struct rdf_search *search, struct rdf_image *image, const char *name, const char *file,
                    uint64_t addr);

#endif
