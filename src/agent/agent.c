/* SPDX-License-Identifier: MIT
 *
 * Preloaded into a program by `redefine run`: loads the patch files and redefines what they ask for, before
 * main runs. When anything fails the program is not started: a sentence, and exit status 125.
 */
#include "agent/agent.h"
#include "agent/progress.h"
#include "agent/request.h"

#include <redefine/apply.h>
#include <redefine/patch.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static bool lenient; /* a program that lacks a function runs without the patch, and says so */
static bool verbose;
static bool is_first; /* the program that the command names */

/* In one write, so that the lines of several processes do not mix; not through stdio, whose state belongs
 * to the program. */
void rdf_agent_say(const char *format, ...)
{
    char line[2048];
    int used = snprintf(line, sizeof line, "redefine: ");
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
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nobody left to tell */
}

__attribute__((noreturn)) static void give_up(void)
{
    _exit(RDF_EXIT_OWN_FAILURE);
}

/* Cuts the string at the next `mark` and returns what lies before it; *rest null at the end. */
static char *cut(char **rest, char mark)
{
    char *field = *rest;
    char *end = field ? strchr(field, mark) : NULL;
    if (end)
        *end = '\0';
    *rest = end ? end + 1 : NULL;
    return field;
}

/* ---- One patch ---- */

static void report(const char *path, const struct redefine_patch_change *change, size_t count)
{
    for (size_t i = 0; verbose && i < count; i++)
        rdf_agent_say("%s: %s: %s", path, change[i].name, redefine_describe(change[i].target));
    if (verbose)
        rdf_agent_say("%s: %s", path, redefine_report());
}

static void apply(const char *path, void *handle, struct redefine_patch_change *change, size_t count)
{
    struct link_map *map = NULL;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        rdf_agent_say("%s: %s; %s is not started", path, dlerror(), program_invocation_short_name);
        give_up();
    }
    redefine_status status = redefine_patch_apply(map->l_ld, change, count);
    if (status == REDEFINE_OK) {
        report(path, change, count);
        return;
    }
    if (lenient && status == REDEFINE_ENOTFOUND) {
        rdf_agent_say("%s: %s; %s runs without this patch", path, redefine_explain(),
                      program_invocation_short_name);
        return;
    }
    rdf_agent_say("%s: %s; %s is not started", path, redefine_explain(), program_invocation_short_name);
    give_up();
}

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        rdf_agent_say("%s does not load: %s; %s is not started", path, dlerror(),
                      program_invocation_short_name);
        give_up();
    }
    return handle;
}

static void *change_memory(const char *path, size_t count)
{
    void *memory = calloc(count, sizeof(struct redefine_patch_change));
    if (memory)
        return memory;
    rdf_agent_say("%s: no memory; %s is not started", path, program_invocation_short_name);
    give_up();
}

static size_t count_fields(const char *fields)
{
    size_t count = fields != NULL;
    for (; fields && *fields; fields++)
        count += *fields == RDF_REQUEST_FIELD;
    return count;
}

/* One change more. A program that was started by the one that was looked at may lack the clone, and be right
 * to. */
static bool add_clone(struct redefine_patch_change *ret, const char *clone, void *replacement)
{
    void *unused;
    if (lenient && redefine_find(clone, &unused) != REDEFINE_OK)
        return false;
    *ret = (struct redefine_patch_change){.name = clone, .replacement = replacement};
    return true;
}

static __attribute__((noreturn)) void refuse_request(void)
{
    rdf_agent_say("%s is set to something that redefine did not write; %s is not started", RDF_REQUEST_ENV,
                  program_invocation_short_name);
    give_up();
}

/* Pairs of a name and a clone behind the changes that the file itself asks for; returns how many there are
 * then. */
static size_t add_clones(struct redefine_patch_change *change, size_t count, char *pairs)
{
    size_t used = count;
    while (pairs) {
        const char *name = cut(&pairs, RDF_REQUEST_FIELD);
        const char *clone = cut(&pairs, RDF_REQUEST_FIELD);
        size_t base = 0;
        while (base < count && strcmp(change[base].name, name) != 0)
            base++;
        if (!clone || base == count)
            refuse_request();
        used += add_clone(&change[used], clone, change[base].replacement);
    }
    return used;
}

static const struct redefine_patch_table *table_of(const char *path, void *handle)
{
    const struct redefine_patch_table *table = dlsym(handle, "redefine_patch_table");
    if (!table || table->start == table->stop) {
        rdf_agent_say(
            "%s asks for nothing: it has no REDEFINE_PATCH (use --replace NAME=%s:SYMBOL for a plain shared "
            "object); %s is not started",
            path, path, program_invocation_short_name);
        give_up();
    }
    if (table->abi != REDEFINE_PATCH_ABI || table->record_bytes != sizeof(struct redefine_patch)) {
        rdf_agent_say(
            "%s was built with another <redefine/patch.h> (version %u, here %u): build it again; %s is not "
            "started",
            path, table->abi, REDEFINE_PATCH_ABI, program_invocation_short_name);
        give_up();
    }
    return table;
}

static void apply_patch(const char *path, char *clones)
{
    void *handle = load(path);
    const struct redefine_patch_table *table = table_of(path, handle);
    size_t count = (size_t)(table->stop - table->start);
    struct redefine_patch_change *change = change_memory(path, count + count_fields(clones));
    for (size_t i = 0; i < count; i++)
        change[i] =
            (struct redefine_patch_change){.name = table->start[i]->name,
                                           .replacement = (void *)(uintptr_t)table->start[i]->replacement,
                                           .original = &table->start[i]->original};
    apply(path, handle, change, add_clones(change, count, clones));
    free(change);
}

static void apply_replace(const char *path, const char *symbol, const char *name, char *clones)
{
    void *handle = load(path);
    void *replacement = dlsym(handle, symbol);
    if (!replacement) {
        rdf_agent_say("%s exports no symbol %s; %s is not started", path, symbol,
                      program_invocation_short_name);
        give_up();
    }
    struct redefine_patch_change *change = change_memory(path, 1 + count_fields(clones));
    size_t count = 0;
    change[count++] = (struct redefine_patch_change){.name = name, .replacement = replacement};
    while (clones)
        count += add_clone(&change[count], cut(&clones, RDF_REQUEST_FIELD), replacement);
    apply(path, handle, change, count);
    free(change);
}

/* ---- Counting ---- */

bool rdf_agent_is_self(const char *object)
{
    static Dl_info self;
    if (!self.dli_fname && !dladdr(&lenient, &self))
        return false;
    return strcmp(object, self.dli_fname) == 0;
}

/* Globs, one behind the other. */
static void count(const char *path, char *globs)
{
    const char *glob[RDF_REQUEST_GLOBS_MAX];
    size_t used = 0;
    while (globs && used < RDF_REQUEST_GLOBS_MAX)
        glob[used++] = cut(&globs, RDF_REQUEST_FIELD);
    if (!rdf_agent_count(path, glob, used, is_first) && is_first)
        give_up();
}

/* ---- The request ---- */

static void carry_out(char *item)
{
    char *kind = cut(&item, RDF_REQUEST_FIELD);
    char *path = cut(&item, RDF_REQUEST_FIELD);
    if (strcmp(kind, "patch") == 0 && path) {
        apply_patch(path, item);
        return;
    }
    if (strcmp(kind, "count") == 0 && path && item) {
        count(path, item);
        return;
    }
    char *symbol = cut(&item, RDF_REQUEST_FIELD);
    char *name = cut(&item, RDF_REQUEST_FIELD);
    if (strcmp(kind, "name") != 0 || !path || !symbol || !name)
        refuse_request();
    apply_replace(path, symbol, name, item);
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
    if (!dladdr(&lenient, &self) || !self.dli_fname || !*self.dli_fname)
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
    verbose = flags && strchr(flags, RDF_FLAG_VERBOSE);
    lenient = follow || !first;
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
    char *copy = strdup(request);
    if (!copy) {
        rdf_agent_say("no memory; %s is not started", program_invocation_short_name);
        give_up();
    }
    char *rest = copy;
    redefine_on_progress(rdf_agent_show_progress, NULL);
    for (char *item = cut(&rest, RDF_REQUEST_ITEM); item && *item; item = cut(&rest, RDF_REQUEST_ITEM))
        carry_out(item);
    redefine_on_progress(NULL, NULL);
    free(copy);
}
