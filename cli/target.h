/* SPDX-License-Identifier: MIT
 *
 * What a verb looks at: a program or library in a file, laid out as the loader would, or the objects of a
 * running process where it has them. Nothing is run and nothing is changed.
 */
#ifndef RDF_CLI_TARGET_H
#define RDF_CLI_TARGET_H

#include "image/image.h"

#include <sys/types.h>

struct cli_aside;
struct cli_filespace;

struct cli_target {
    const struct rdf_arch *arch;
    struct cli_filespace *files;
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_images images; /* the program first */
    struct cli_aside *aside;  /* symbols that lie in files of their own */
    bool is_process;
};

/* `name`: a number is a process; else a file that lies here, or a program in PATH. False: a sentence has been
 * said. Close it also then. */
bool cli_target_open(const char *name, struct cli_target *ret);
bool cli_target_open_process(pid_t pid, struct cli_target *ret);
void cli_target_close(struct cli_target *target);

#endif
