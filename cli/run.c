/* SPDX-License-Identifier: MIT
 *
 * redefine run: start a program with functions redefined. Everything that can be known beforehand is checked
 * here; then this process becomes the program, with the agent preloaded. Exit status and signals are the
 * program's own, since nobody stands between. With --count somebody must: see child.c.
 */
#include "cli.h"
#include "count.h"
#include "option.h"
#include "request.h"

#include "agent/request.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

struct request {
    struct cli_request items;
    struct cli_count count;
    bool follow;
};

/* Whether a list of preloads names the agent. */
static bool lists(const char *preload, const char *agent)
{
    size_t len = strlen(agent);
    for (const char *at = preload; at && (at = strstr(at, agent)); at++)
        if ((at == preload || strchr(" :", at[-1])) && strchr(" :", at[len])) /* the NUL counts too */
            return true;
    return false;
}

/* Whether the loader will take it: it starts a program all the same, unpatched, when it cannot. */
static bool check_agent(const char *path)
{
    if (strpbrk(path, " :$")) {
        cli_say("the agent lies at '%s': a path with a space, a colon or a dollar sign cannot be preloaded",
                path);
        return false;
    }
    if (!lists(getenv("LD_PRELOAD"), path))
        (void)unsetenv(
            RDF_REQUEST_ENV); /* left over from somewhere: not in force here, and not to become so */
    if (!dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        cli_say("the agent cannot be loaded, so that nothing would be redefined: %s", dlerror());
        return false;
    }
    return true;
}

/* The items of the request: counting first, so that patches stack upon it. A new string, or null. */
static char *all_items(const char *outer, const struct request *request)
{
    const struct cli_count *count = &request->count;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return NULL;
    fputs(outer, out);
    if (count->glob_count)
        fprintf(out, "count%c%s", RDF_REQUEST_FIELD, count->path);
    for (size_t i = 0; i < count->glob_count; i++)
        fprintf(out, "%c%s", RDF_REQUEST_FIELD, count->glob[i]);
    if (count->glob_count)
        fputc(RDF_REQUEST_ITEM, out);
    fputs(request->items.text, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* Under another `redefine run`, whose request is in force here as well, ours stacks upon that one: a request
 * that is not for this process, the agent has taken away already. */
static bool set_environment(const struct request *request, const char *agent)
{
    const char *former = getenv("LD_PRELOAD");
    bool nested = lists(former, agent) && getenv(RDF_REQUEST_ENV) && getenv(RDF_REQUEST_FLAGS_ENV);
    const char *outer = nested ? getenv(RDF_REQUEST_ENV) : "";
    const char *outer_flags = nested ? getenv(RDF_REQUEST_FLAGS_ENV) : "";
    char *preload = NULL;
    char *text = all_items(outer, request);
    char pid[16];
    char flags[4] = {RDF_FLAG_FIRST};
    size_t used = 1;
    if (request->follow || strchr(outer_flags, RDF_FLAG_FOLLOW))
        flags[used++] = RDF_FLAG_FOLLOW;
    if (request->items.verbose || strchr(outer_flags, RDF_FLAG_VERBOSE))
        flags[used++] = RDF_FLAG_VERBOSE;
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid()); /* exec keeps it */
    /* An empty list is one as well: the agent leaves what lies behind its own colon. */
    bool done = asprintf(&preload, former && !nested ? "%s:%s" : "%s", nested ? former : agent, former) >=
                    0 &&
                text && setenv("LD_PRELOAD", preload, 1) == 0 && setenv(RDF_REQUEST_ENV, text, 1) == 0 &&
                setenv(RDF_REQUEST_FLAGS_ENV, flags, 1) == 0 && setenv(RDF_REQUEST_PID_ENV, pid, 1) == 0;
    free(preload);
    free(text);
    if (!done)
        cli_say("the environment for the program cannot be made: %s", strerror(errno));
    return done;
}

/* What will be executed. */
struct start {
    const struct request *request;
    const char *agent, *path;
    char **argv;
};

/* Becomes the program; returns only when that fails. */
static int become(void *ctx)
{
    const struct start *start = ctx;
    if (!set_environment(start->request, start->agent))
        return EXIT_OWN_FAILURE;
    execvpe(start->path, start->argv,
            environ); /* with the slash it has: no search, but /bin/sh for what has no format */
    int status = errno == ENOENT ? EXIT_NO_PROGRAM : EXIT_NOT_EXECUTABLE;
    cli_say("%s cannot be executed: %s", start->argv[0], strerror(errno));
    return status;
}

/* Stays, so that there is somebody to report. */
static int run_counted(struct start *start, struct cli_count *count)
{
    int status = EXIT_OWN_FAILURE;
    if (!cli_count_open(count))
        return status;
    const int keep_fd[] = {count->fd, fileno(count->out)};
    if (!cli_child_run(become, start, keep_fd, sizeof keep_fd / sizeof keep_fd[0], &status))
        return status;
    if (cli_count_was_refused(count, status))
        return EXIT_OWN_FAILURE;
    struct cli_count_result result;
    bool reported = false;
    if (cli_count_read(count->file, &result)) {
        reported = cli_count_report(count, &result);
        cli_count_result_free(&result);
    }
    return reported ? cli_child_end_as(status) : EXIT_OWN_FAILURE;
}

static int start(struct request *request, char **argv)
{
    int status = EXIT_OWN_FAILURE;
    char *path = cli_find_program(argv[0], &status);
    if (!path)
        return status;
    struct cli_program program;
    if (!cli_program_inspect(path, &program, &status)) {
        free(path);
        return status;
    }
    char *agent = NULL;
    bool may_start = cli_check_program(argv[0], &program, "not started") &&
                     cli_request_pass(&request->items, path, 0,
                                      "not started (--force starts it all the same)");
    if (may_start && (agent = cli_find_agent()) && check_agent(agent)) {
        struct start start = {request, agent, path, argv};
        status = request->count.glob_count ? run_counted(&start, &request->count) : become(&start);
    }
    free(agent);
    cli_program_free(&program);
    free(path);
    return status;
}

static bool parse(int argc, char **argv, struct request *request, int *ret_first)
{
    enum { PATCH = CLI_OPTION_FIRST, REPLACE, COUNT, JSON, OUTPUT, FOLLOW, VERBOSE, FORCE, CLONES };
    static const struct option options[] = {
        {"patch", required_argument, NULL, PATCH},   {"replace", required_argument, NULL, REPLACE},
        {"count", required_argument, NULL, COUNT},   {"json", no_argument, NULL, JSON},
        {"output", required_argument, NULL, OUTPUT}, {"follow", no_argument, NULL, FOLLOW},
        {"verbose", no_argument, NULL, VERBOSE},     {"force", no_argument, NULL, FORCE},
        {"clones", no_argument, NULL, CLONES},       {0}};
    bool ok = true;
    for (int option;
         ok && (option = cli_option_next("run", argc, argv, options, CLI_OPTIONS_IN_FRONT)) != -1;)
        switch (option) {
        case PATCH: ok = cli_request_patch(&request->items, optarg); break;
        case REPLACE: ok = cli_request_replace(&request->items, optarg); break;
        case COUNT: ok = cli_count_add(&request->count, optarg); break;
        case JSON: request->count.json = true; break;
        case OUTPUT: request->count.output = optarg; break;
        case FOLLOW: request->follow = true; break;
        case VERBOSE: request->items.verbose = true; break;
        case FORCE: request->items.force = true; break;
        case CLONES: request->items.clones = true; break;
        default: ok = false;
        }
    *ret_first = cli_option_words();
    return ok;
}

int cli_run(int argc, char **argv)
{
    struct request request = {0};
    if (!cli_request_begin(&request.items))
        return EXIT_OWN_FAILURE;
    int first = 0;
    bool parsed = parse(argc, argv, &request, &first);
    if (!cli_request_end(&request.items) || !parsed) {
        cli_request_free(&request.items);
        return EXIT_OWN_FAILURE;
    }
    int status = EXIT_OWN_FAILURE;
    if (first >= argc)
        cli_say("run needs a program; see redefine --help");
    else if (request.items.patches == 0 && request.count.glob_count == 0)
        cli_say("run needs at least one --patch, --replace or --count: nothing would be redefined");
    else if (request.count.glob_count == 0 && (request.count.json || request.count.output))
        cli_say("%s belongs to --count: there is nothing to write",
                request.count.json ? "--json" : "--output");
    else
        status = start(&request, argv + first);
    cli_count_close(&request.count);
    cli_request_free(&request.items);
    return status;
}
