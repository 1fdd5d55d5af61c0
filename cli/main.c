/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include "agent/progress.h"
#include "base/progress.h"

#include <redefine/redefine.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: redefine run [--patch P.so]... [--replace NAME=P.so:SYMBOL]... [--follow] [--verbose]\n"
    "                    [--force] [--clones] [--count GLOB]... [--json] [--output FILE]\n"
    "                    [--] PROGRAM [ARG]...\n"
    "       redefine attach PID [--patch P.so]... [--replace NAME=P.so:SYMBOL]... [--verbose]\n"
    "                       [--force] [--clones]\n"
    "       redefine status PID [--json]\n"
    "       redefine restore PID [P.so] [--verbose] [--force]\n"
    "       redefine check PROGRAM|PID [NAME]... [--patch P.so]... [--clones] [--json]\n"
    "       redefine list [--all] [--names] [--json] PROGRAM|PID [GLOB]\n"
    "       redefine show [--json] PROGRAM|PID NAME\n"
    "       redefine --help | --version\n"
    "\n"
    "run   starts PROGRAM with functions redefined by patch files; with --count it prints the calls of the\n"
    "      functions that GLOB matches when PROGRAM has ended\n"
    "attach redefines functions of a process that runs already; status says what is redefined there and\n"
    "      how; restore takes one patch off again, or all: the process goes on\n"
    "check says what a redefinition would meet: inlined copies, clones, other types; exits with 0 (ok),\n"
    "      1 (a hazard) or 2 (could not tell)\n"
    "list  prints the functions of a program, how each would be redefined, and the verdict of a check\n"
    "show  prints a function's bytes, disassembled, and what a redefinition changes: before and after\n"
    "\n"
    "See redefine(1).\n";

void cli_say(const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    /* Names come from files: one line stays one line, and says nothing to the terminal. */
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || *at == '\177')
            *at = '?';
    fprintf(stderr, "redefine: %s\n", line);
}

static bool asks_for_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"run", cli_run},        {"show", cli_show},     {"list", cli_list},
                 {"check", cli_check},    {"attach", cli_attach}, {"status", cli_status},
                 {"restore", cli_restore}};
    enum { VERBS = sizeof verbs / sizeof verbs[0] };

    if (argc < 2) {
        fputs(usage, stderr);
        return EXIT_OWN_FAILURE;
    }
    size_t verb = 0;
    while (verb < VERBS && strcmp(argv[1], verbs[verb].name) != 0)
        verb++;
    if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0 ||
        (verb < VERBS && argc == 3 && asks_for_help(argv[2]))) {
        fputs(usage, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("redefine " REDEFINE_VERSION);
        return 0;
    }
    rdf_progress_to(rdf_agent_show_progress, NULL);
    if (verb < VERBS)
        return verbs[verb].run(argc - 2, argv + 2);
    cli_say("there is no verb '%s'; redefine --help lists them", argv[1]);
    return EXIT_OWN_FAILURE;
}
