/* SPDX-License-Identifier: MIT
 *
 * What is done with names, whatever format of object they come from.
 */
#ifndef RDF_IMAGE_NAMES_H
#define RDF_IMAGE_NAMES_H

#include "base/text.h"

#include <stdint.h>

enum { RDF_IMAGE_NAME_MAX = 4096 }; /* bytes of a symbol name that are kept */

/* demangle.c */
struct rdf_images;
typedef char *rdf_demangle_function(const char *mangled, char *room, size_t *room_bytes, int *ret_status);
struct rdf_demangler {
    struct rdf_images *images; /* those of this process, where they are asked for a demangler; or null */
    bool tried;
    rdf_demangle_function *demangle;
};
/* Into `ret_text`; false when `mangled` is no C++ name, too long, or there is no demangler. */
bool rdf_demangle(struct rdf_demangler *demangler, const char *mangled, char *ret_text, size_t text_bytes);

/* <format>/demangle.c: that of this process; null: it has none. */
rdf_demangle_function *rdf_images_demangler(struct rdf_images *images);

/* cxxname.c: names as people write them and as a demangler prints them */

/* Without spaces that mean nothing and without ABI tags; returns the length. */
size_t rdf_cxx_normalize(const char *text, size_t len, char *ret_text, size_t text_bytes);
size_t rdf_cxx_without_parameters(const char *text, size_t len);
bool rdf_cxx_matches(const char *demangled, size_t demangled_len, const char *wanted, size_t wanted_len);
void rdf_cxx_needle(const char *wanted, size_t wanted_len, char *ret_text, size_t text_bytes);
bool rdf_cxx_contains(const char *text, const char *needle);

/* suggest.c: names that resemble one that was not found */
enum { RDF_SUGGESTIONS_MAX = 3 };
struct rdf_suggestions {
    const char *wanted;
    size_t wanted_bytes;
    const char *name[RDF_SUGGESTIONS_MAX]; /* the nearest first */
    unsigned distance[RDF_SUGGESTIONS_MAX];
    unsigned count;
    size_t names_left; /* to be looked at: the work is bounded */
};
void rdf_suggest(struct rdf_suggestions *suggestions, const char *name); /* if it resembles */
void rdf_suggestions_add(struct rdf_suggestions *suggestions, const char *name, unsigned far);
/* "; did you mean a, b or c?" or nothing. */
void rdf_suggestions_text(const struct rdf_suggestions *suggestions, char *ret_text, size_t text_bytes);

#endif
