/* SPDX-License-Identifier: MIT
 *
 * Arrays, rows and columns.
 */
#ifndef RDF_CHECK_ARRAY_H
#define RDF_CHECK_ARRAY_H

#include "debug/debug.h"

/* Its elements' type, through all dimensions; the type itself, if it is no array. ret_count (or null): how
 * many elements there are; 0: not known. */
const struct rdf_type *rdf_array_element(const struct rdf_type *type, uint64_t *ret_count);

/* Whether an index leads to the same byte in both, each an array or one element of such: rows are of the same
 * length, or one of the two does not know of rows. What is not known fits. */
bool rdf_array_fits(const struct rdf_type *target, const struct rdf_type *replacement);

/* "[2][3]"; "" of what is no array. */
void rdf_array_text(const struct rdf_type *type, char *ret, size_t bytes);

#endif
