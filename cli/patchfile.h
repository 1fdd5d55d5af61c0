/* SPDX-License-Identifier: MIT
 *
 * What a patch file says that it redefines, read from the file: nothing of it is run.
 */
#ifndef RDF_CLI_PATCHFILE_H
#define RDF_CLI_PATCHFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_patch_record {
    char *name;
    uint64_t replacement; /* its address in the file */
};

/* The records of REDEFINE_PATCH. False: they cannot be read, and, when `is_told`, a sentence has been said.
 * Free with cli_patch_free. */
bool cli_patch_read(const char *path, bool is_told, struct cli_patch_record **ret, size_t *ret_count);
void cli_patch_free(struct cli_patch_record *record, size_t count);

/* The address in the file of the function that it exports as `symbol`; 0: none. */
uint64_t cli_patch_symbol(const char *path, const char *symbol);

#endif
