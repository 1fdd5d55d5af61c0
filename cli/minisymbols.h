/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_MINISYMBOLS_H
#define RDF_CLI_MINISYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

/* The address in the file of the only function called `name`, also where the names of static functions are
 * only in the compressed section .gnu_debugdata, as some distributions have it. False: none, or several. */
bool cli_minisymbol_find(const char *path, const char *name, uint64_t *ret_addr);

#endif
