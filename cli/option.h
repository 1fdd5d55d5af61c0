/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_OPTION_H
#define RDF_CLI_OPTION_H

#include <getopt.h>

/* The numbers of options: more than any letter, since there are long ones only. */
enum { CLI_OPTION_FIRST = 256 };

/* Where the options of a verb stand. */
enum cli_option_place { CLI_OPTIONS_ANYWHERE, CLI_OPTIONS_IN_FRONT /* what follows belongs to a program */ };

/* The next option among the arguments of a verb, as getopt_long has it with its value in optarg; -1: there is
 * none any more, and the words begin at argv[cli_option_words()]; '?': it is none of the verb's, or lacks its
 * value, which has been said. */
int cli_option_next(const char *verb, int argc, char **argv, const struct option *options,
                    enum cli_option_place place);
int cli_option_words(void);

#endif
