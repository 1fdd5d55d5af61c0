/* SPDX-License-Identifier: MIT
 *
 * An address space made of files: a program and the libraries it needs, laid out as the loader would,
 * without running any of it. What reads a process can read this as well.
 */
#ifndef RDF_CLI_FILESPACE_H
#define RDF_CLI_FILESPACE_H

#include "os/os.h"

#include <sys/types.h>

struct cli_filespace;

/* Lays out the ELF file at `path` and, where the dynamic loader of this system can list them, the libraries
 * it needs. Null: a sentence has been said. *ret_space stays valid until the filespace is freed. */
struct cli_filespace *cli_filespace_new(const char *path, struct rdf_space *ret_space, uint16_t *ret_machine);

/* The same of a process: the files that it has mapped as code, at the addresses where it has them. What is
 * read is the files, not the process: nobody is stopped, and what was changed in it is not seen. */
struct cli_filespace *cli_filespace_of_process(pid_t pid, struct rdf_space *ret_space, uint16_t *ret_machine);

void cli_filespace_free(struct cli_filespace *files);

#endif
