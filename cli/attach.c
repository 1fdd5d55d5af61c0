/* SPDX-License-Identifier: MIT
 *
 * redefine attach, status and restore: functions of a program that runs already.
 */
#include "cli.h"
#include "errand.h"
#include "ledger.h"
#include "option.h"
#include "process.h"
#include "request.h"

#include "agent/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arguments {
    struct cli_request request;
    const char *pid;
    const char *file; /* of restore */
    bool json;
};

enum { PATCH = CLI_OPTION_FIRST, REPLACE, VERBOSE, FORCE, CLONES, JSON };

static const struct option attach_options[] = {{"patch", required_argument, NULL, PATCH},
                                               {"replace", required_argument, NULL, REPLACE},
                                               {"verbose", no_argument, NULL, VERBOSE},
                                               {"force", no_argument, NULL, FORCE},
                                               {"clones", no_argument, NULL, CLONES},
                                               {0}};
static const struct option status_options[] = {{"json", no_argument, NULL, JSON}, {0}};
static const struct option restore_options[] = {{"verbose", no_argument, NULL, VERBOSE},
                                                {"force", no_argument, NULL, FORCE},
                                                {0}};

static bool take(struct arguments *ret, int option)
{
    switch (option) {
    case PATCH: return cli_request_patch(&ret->request, optarg);
    case REPLACE: return cli_request_replace(&ret->request, optarg);
    case VERBOSE: ret->request.verbose = true; return true;
    case FORCE: ret->request.force = true; return true;
    case CLONES: ret->request.clones = true; return true;
    default: ret->json = true; return true;
    }
}

static bool parse(const char *verb, const struct option *options, int argc, char **argv, int most,
                  struct arguments *ret)
{
    bool ok = cli_request_begin(&ret->request);
    for (int option; ok && (option = cli_option_next(verb, argc, argv, options, CLI_OPTIONS_ANYWHERE)) != -1;)
        ok = option != '?' && take(ret, option);
    if (ret->request.out && !cli_request_end(&ret->request)) {
        cli_say("no memory");
        return false;
    }
    if (!ok)
        return false;
    int first = cli_option_words();
    if (first >= argc || argc - first > most) {
        if (first >= argc)
            cli_say("%s needs the number of a process; see redefine --help", verb);
        else
            cli_say("%s takes no '%s'; see redefine --help", verb, argv[first + most]);
        return false;
    }
    ret->pid = argv[first];
    ret->file = first + 1 < argc ? argv[first + 1] : NULL;
    return true;
}

/* The request with what stands before it. */
static char *whole_request(bool is_verbose, const char *items)
{
    char *text = NULL;
    if (asprintf(&text, "%s%s",
                 is_verbose ? (char[]){'v', 'e', 'r', 'b', 'o', 's', 'e', RDF_REQUEST_ITEM, 0} : "",
                 items) < 0) {
        cli_say("no memory");
        return NULL;
    }
    return text;
}

/* The agent's path, when the process may be changed, has no other agent and sees that file; null: it has been
 * said why not. */
static char *agent_for(const struct cli_process *process, bool is_forced)
{
    if (!cli_process_may_change(process, is_forced) || !cli_ledger_has_our_agent(process))
        return NULL;
    char *agent = cli_find_agent();
    if (!agent || cli_process_sees(process, agent))
        return agent;
    free(agent);
    return NULL;
}

/* ---- attach ---- */

/* Each item's second field. */
static bool sees_patches(const struct cli_process *process, const char *items)
{
    bool done = true;
    for (const char *at = items; done && *at;) {
        const char *path = strchr(at, RDF_REQUEST_FIELD) + 1;
        const char field_or_end[] = {RDF_REQUEST_FIELD, RDF_REQUEST_ITEM, 0};
        char *copy = strndup(path, strcspn(path, field_or_end));
        done = copy && cli_process_sees(process, copy);
        free(copy);
        at = strchr(at, RDF_REQUEST_ITEM) + 1;
    }
    return done;
}

static bool attach(struct arguments *arguments)
{
    struct cli_process process;
    char *agent = NULL, *request = NULL;
    bool done = cli_process_open("attach", arguments->pid, &process) &&
                (agent = agent_for(&process, arguments->request.force)) != NULL &&
                sees_patches(&process, arguments->request.text) &&
                cli_request_pass(&arguments->request, NULL, process.pid,
                                 "not attached (--force attaches it all the same)") &&
                (request = whole_request(arguments->request.verbose, arguments->request.text)) != NULL &&
                cli_errand_run(&process, "attaching", agent, request);
    free(agent);
    free(request);
    return done;
}

int cli_attach(int argc, char **argv)
{
    struct arguments arguments = {0};
    bool done = parse("attach", attach_options, argc, argv, 1, &arguments);
    if (done && arguments.request.patches == 0) {
        cli_say("attach needs at least one --patch or --replace: nothing would be redefined");
        done = false;
    }
    done = done && attach(&arguments);
    cli_request_free(&arguments.request);
    return done ? 0 : EXIT_OWN_FAILURE;
}

/* ---- status ---- */

int cli_status(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct cli_process process;
    bool done = parse("status", status_options, argc, argv, 1, &arguments) &&
                cli_process_open("status", arguments.pid, &process) &&
                cli_ledger_print(&process, arguments.json);
    cli_request_free(&arguments.request);
    return done ? 0 : EXIT_OWN_FAILURE;
}

/* ---- restore ---- */

/* As the process knows it: the file may be gone, and its folder too. */
static char *path_of(const char *file)
{
    char *path = realpath(file, NULL);
    if (path)
        return path;
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    char *before = slash == file ? strdup("/") : slash ? strndup(file, (size_t)(slash - file)) : strdup(".");
    char *folder = before ? realpath(before, NULL) : NULL;
    if (!folder)
        path = strdup(file);
    else if (asprintf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < 0)
        path = NULL;
    free(before);
    free(folder);
    return path;
}

static bool restore(const struct arguments *arguments, const struct cli_process *process)
{
    char *path = arguments->file ? path_of(arguments->file) : strdup("");
    char *item = NULL, *request = NULL, *agent = NULL;
    bool is_there = false;
    bool done = path && cli_ledger_has(process, path, &is_there);
    if (done && !is_there) {
        if (*path)
            cli_say("%s redefines nothing in process %d (%s); redefine status %d says what does", path,
                    (int)process->pid, process->name, (int)process->pid);
        free(path);
        return !arguments->file;
    }
    done = done && (agent = agent_for(process, arguments->request.force)) != NULL &&
           asprintf(&item, "restore%c%s%c", RDF_REQUEST_FIELD, path, RDF_REQUEST_ITEM) >= 0 &&
           (request = whole_request(arguments->request.verbose, item)) != NULL &&
           cli_errand_run(process, "restoring", agent, request);
    free(path);
    free(item);
    free(request);
    free(agent);
    return done;
}

int cli_restore(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct cli_process process;
    bool done = parse("restore", restore_options, argc, argv, 2, &arguments) &&
                cli_process_open("restore", arguments.pid, &process) && restore(&arguments, &process);
    cli_request_free(&arguments.request);
    return done ? 0 : EXIT_OWN_FAILURE;
}
