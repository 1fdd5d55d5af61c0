/* SPDX-License-Identifier: MIT
 *
 * How far something has come that may take long: told to whoever asked, which in a program that uses the
 * library is nobody.
 */
#ifndef RDF_BASE_PROGRESS_H
#define RDF_BASE_PROGRESS_H

#include <stddef.h>

/* `total` 0: nobody knows yet. done == total: this piece of work is over. */
typedef void rdf_progress_tell(void *ctx, const char *what, size_t done, size_t total);

/* From now on tell it this way, from whatever thread does the work; null: not at all. Before that begins. */
void rdf_progress_to(rdf_progress_tell *tell, void *ctx);

/* As often as you like. */
void rdf_progress(const char *what, size_t done, size_t total);

#endif
