/* SPDX-License-Identifier: MIT
 *
 * Preloaded into a program by `redefine run`: loads the patch files and redefines what they ask for, before
 * main runs. When anything fails the program is not started: a sentence, and exit status 125.
 */
#include "agent/agent.h"
#include "agent/ledger.h"
#include "agent/progress.h"
#include "agent/request.h"
#include "os/errand.h"

#include <redefine/apply.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct rdf_agent_work rdf_agent_work;
static bool is_first; /* the program that the command names */

/* One line more of the answer, cut off where there is no more room. */
static void answer(struct rdf_errand *errand, const char *line)
{
    size_t used = strlen(errand->answer);
    (void)snprintf(errand->answer + used, sizeof errand->answer - used, "%s\n", line);
}

/* In one write, so that the lines of several processes do not mix; not through stdio, whose state belongs
 * to the program. */
void rdf_agent_say(const char *format, ...)
{
    char line[2048];
    struct rdf_errand *errand = rdf_agent_work.errand;
    int used = snprintf(line, sizeof line, "%s", errand ? "" : "redefine: ");
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, sizeof line - (size_t)used - 1, format, args);
    va_end(args);
    size_t len = (size_t)used + (size_t)(more < 0 ? 0 : more);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    /* Names come from files: one line stays one line, and says nothing to the terminal. */
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == '\177')
            line[i] = '?';
    if (errand) {
        answer(errand, line);
        return;
    }
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nobody left to tell */
}

__attribute__((noreturn)) static void give_up(void)
{
    _exit(RDF_EXIT_OWN_FAILURE);
}

char *rdf_agent_cut(char **rest, char mark)
{
    char *field = *rest;
    char *end = field ? strchr(field, mark) : NULL;
    if (end)
        *end = '\0';
    *rest = end ? end + 1 : NULL;
    return field;
}

/* ---- Counting ---- */

bool rdf_agent_is_self(const char *object)
{
    static Dl_info self;
    if (!self.dli_fname && !dladdr(&rdf_agent_work, &self))
        return false;
    return strcmp(object, self.dli_fname) == 0;
}

/* Globs, one behind the other. */
static void count(const char *path, char *globs)
{
    const char *glob[RDF_REQUEST_GLOBS_MAX];
    size_t used = 0;
    while (globs && used < RDF_REQUEST_GLOBS_MAX)
        glob[used++] = rdf_agent_cut(&globs, RDF_REQUEST_FIELD);
    if (!rdf_agent_count(path, glob, used, is_first) && is_first)
        give_up();
}

/* ---- The request ---- */

static bool carry_out(char *item)
{
    char *kind = rdf_agent_cut(&item, RDF_REQUEST_FIELD);
    if (strcmp(kind, "patch") == 0 && item)
        return rdf_agent_patch(item);
    if (strcmp(kind, "name") == 0 && item)
        return rdf_agent_replace(item);
    char *path = rdf_agent_cut(&item, RDF_REQUEST_FIELD);
    if (strcmp(kind, "count") == 0 && path && item) {
        count(path, item);
        return true;
    }
    rdf_agent_say("%s is set to something that redefine did not write; %s", RDF_REQUEST_ENV,
                  rdf_agent_work.otherwise);
    return false;
}

/* Takes a variable out of the environment where it lies: main's third argument is the same array. */
static void remove_variable(const char *name)
{
    size_t len = strlen(name);
    char **to = environ;
    for (char **from = environ; *from; from++)
        if (strncmp(*from, name, len) != 0 || (*from)[len] != '=')
            *to++ = *from;
    *to = NULL;
}

/* Takes this very object out of a list of preloads, where it lies; true: there was nothing else. */
static bool remove_self(char *list)
{
    Dl_info self;
    if (!dladdr(&rdf_agent_work, &self) || !self.dli_fname || !*self.dli_fname)
        return false;
    if (strcmp(list, self.dli_fname) == 0)
        return true;
    size_t len = strlen(self.dli_fname);
    for (char *at = list; (at = strstr(at, self.dli_fname));) {
        bool whole = (at == list || strchr(" :", at[-1])) && strchr(" :", at[len]); /* the NUL counts too */
        size_t gone = at[len] ? len + 1 : len;
        if (whole)
            memmove(at, at + gone, strlen(at + gone) + 1);
        else
            at++;
    }
    return false;
}

/* The program sees the environment that it would have had without us. */
static void clean_environment(void)
{
    char *preload = getenv("LD_PRELOAD");
    if (preload && remove_self(preload))
        remove_variable("LD_PRELOAD");
    remove_variable(RDF_REQUEST_ENV);
    remove_variable(RDF_REQUEST_FLAGS_ENV);
    remove_variable(RDF_REQUEST_PID_ENV);
}

/* Whether this process is to be patched at all; what its program lacks is an error only in the first. */
static bool read_flags(void)
{
    char *flags = getenv(RDF_REQUEST_FLAGS_ENV);
    const char *pid = getenv(RDF_REQUEST_PID_ENV);
    bool follow = flags && strchr(flags, RDF_FLAG_FOLLOW);
    char *first = flags ? strchr(flags, RDF_FLAG_FIRST) : NULL;
    rdf_agent_work.verbose = flags && strchr(flags, RDF_FLAG_VERBOSE);
    rdf_agent_work.lenient = follow || !first;
    is_first = first != NULL;
    if (first)
        *first = RDF_FLAG_LATER;
    return follow || (pid && strtol(pid, NULL, 10) == (long)getpid());
}

__attribute__((constructor)) static void start(void)
{
    const char *request = getenv(RDF_REQUEST_ENV);
    if (!request)
        return;
    if (!read_flags()) {
        clean_environment();
        return;
    }
    static char otherwise[128];
    (void)snprintf(otherwise, sizeof otherwise, "%s is not started", program_invocation_short_name);
    rdf_agent_work.otherwise = otherwise;
    char *copy = strdup(request);
    if (!copy) {
        rdf_agent_say("no memory; %s", otherwise);
        give_up();
    }
    char *rest = copy;
    redefine_on_progress(rdf_agent_show_progress, NULL);
    for (char *item = rdf_agent_cut(&rest, RDF_REQUEST_ITEM); item && *item;
         item = rdf_agent_cut(&rest, RDF_REQUEST_ITEM))
        if (!carry_out(item))
            give_up();
    if (!rdf_agent_keep_all()) /* an errand that fails takes back what it brought, and nothing else */
        give_up();
    redefine_on_progress(NULL, NULL);
    rdf_agent_publish_ledger();
    free(copy);
}
