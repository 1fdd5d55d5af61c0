/* SPDX-License-Identifier: MIT
 *
 * The command: what its parts share.
 */
#ifndef RDF_CLI_CLI_H
#define RDF_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EXIT_OWN_FAILURE = 125,    /* as env(1): the command itself failed */
    EXIT_NOT_EXECUTABLE = 126, /* the program is there and cannot be executed */
    EXIT_NO_PROGRAM = 127,     /* there is no such program */
};

/* The verbs; each gets the arguments behind its own name and returns the exit status. */
int cli_run(int argc, char **argv);
int cli_show(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_attach(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_restore(int argc, char **argv);

/* Words of our own go to standard error, one line each, with "redefine: " before it. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where the shell would find PROGRAM: as given when it has a slash, else in PATH. A new string, or null with
 * *ret_status 126 or 127 and a sentence said. */
char *cli_find_program(const char *name, int *ret_status);

/* What the loader would do with a program. */
struct cli_program {
    char *path;       /* of the file that is executed in the end: a script's interpreter */
    uint16_t machine; /* e_machine */
    bool is_64bit;
    bool is_elf;
    bool is_cut_off;   /* the file ends before its segments do: mapping it would mean a SIGBUS */
    uint16_t type;     /* e_type */
    char *interpreter; /* the dynamic loader; null: a static program */
    bool is_secure;    /* the kernel would set AT_SECURE: the loader ignores preloads */
    const char *secure_reason;
};

/* Looks at the file; follows "#!" lines. False: a sentence has been said, and *ret_status is what env(1)
 * would exit with. Free with cli_program_free. */
bool cli_program_inspect(const char *path, struct cli_program *ret, int *ret_status);

/* Looks at this very file, a library or a patch: what could not be read is no ELF file. */
void cli_file_inspect(const char *path, struct cli_program *ret);
void cli_program_free(struct cli_program *program);

#endif
