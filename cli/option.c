/* SPDX-License-Identifier: MIT */
#include "option.h"

#include "cli.h"

#include <stdlib.h>

int cli_option_next(const char *verb, int argc, char **argv, const struct option *options,
                    enum cli_option_place place)
{
    /* With POSIXLY_CORRECT getopt stops at the first word that is no option. Where all words are ours,
     * options may stand behind them; the program that is started is to see the variable. */
    if (place == CLI_OPTIONS_ANYWHERE)
        (void)unsetenv("POSIXLY_CORRECT");
    opterr = 0;
    /* getopt counts from the program's name; ours is one word further left. */
    int option = getopt_long(argc + 1, argv - 1, place == CLI_OPTIONS_ANYWHERE ? ":" : "+:", options, NULL);
    /* Among several letters in one word getopt stays before it. */
    const char *word = argv[optind - 2];
    if (option == ':')
        cli_say("%s needs a value; see redefine --help", word);
    else if (option == '?' && optopt > 0 && optopt < CLI_OPTION_FIRST)
        cli_say("%s has no option -%c; see redefine --help", verb, optopt);
    else if (option == '?')
        cli_say("%s has no option %s; see redefine --help", verb, word);
    return option == ':' ? '?' : option;
}

int cli_option_words(void)
{
    return optind - 1;
}
