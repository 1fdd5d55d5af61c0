/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include "cli.h"
#include "patchfile.h"
#include "request.h"
#include "text.h"

#include "agent/ledger.h"
#include "agent/request.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { TEXT_BYTES_MAX = 64 << 20, TRIES = 100 };

/* ---- The agent in the process ---- */

struct agent {
    bool is_there;
    struct cli_process_map map;
};

static bool visit_map(void *ctx, const struct cli_process_map *map)
{
    struct agent *agent = ctx;
    if (!strstr(map->path, "/libredefine-agent.so") || map->file_off != 0)
        return true;
    *agent = (struct agent){true, *map};
    return false;
}

static bool find_agent(const struct cli_process *process, struct agent *ret)
{
    *ret = (struct agent){0};
    if (cli_process_each_map(process->pid, visit_map, ret))
        return true;
    cli_say("process %d (%s) may not be looked at: %s", (int)process->pid, process->name, strerror(errno));
    return false;
}

/* Its file as the process sees it, if that is what is mapped. */
static bool find_file(const struct cli_process *process, const struct agent *agent, char *ret)
{
    if (cli_process_file(process->pid, &agent->map, ret))
        return true;
    cli_say(
        "the agent in process %d (%s) is %s, a file that is no longer there: another redefine was built or "
        "installed since; what it has redefined stays until the process ends",
        (int)process->pid, process->name, agent->map.path);
    return false;
}

bool cli_ledger_has_our_agent(const struct cli_process *process)
{
    struct agent agent;
    char file[CLI_PROCESS_PATH_BYTES];
    struct stat own, its;
    if (!find_agent(process, &agent))
        return false;
    if (!agent.is_there)
        return true;
    char *path = find_file(process, &agent, file) ? cli_find_agent() : NULL;
    bool is_same = path && stat(path, &own) == 0 && stat(file, &its) == 0 && own.st_dev == its.st_dev &&
                   own.st_ino == its.st_ino;
    if (path && !is_same)
        cli_say("process %d (%s) has the agent of another redefine in it (%s): use the command that belongs "
                "to that one",
                (int)process->pid, process->name, agent.map.path);
    free(path);
    return is_same;
}

/* ---- Its ledger ---- */

/* One reading; *ret_text null while it was being changed. False: it cannot be read. */
static bool read_once(pid_t pid, uint64_t addr, char **ret_text)
{
    struct rdf_ledger before, after;
    *ret_text = NULL;
    if (!cli_process_read(pid, addr, &before, sizeof before) ||
        memcmp(before.magic, RDF_LEDGER_MAGIC, sizeof before.magic) != 0 ||
        before.version != RDF_LEDGER_VERSION)
        return false;
    if (before.sequence % 2 || before.text_bytes > TEXT_BYTES_MAX)
        return true;
    char *text = calloc(1, before.text_bytes + 1);
    bool is_read = text &&
                   (before.text_bytes == 0 || cli_process_read(pid, before.text, text, before.text_bytes));
    bool is_whole = cli_process_read(pid, addr, &after, sizeof after) && after.sequence == before.sequence;
    if (is_read && is_whole)
        *ret_text = text;
    else
        free(text);
    return is_whole ? is_read : true;
}

/* A new string; "" without an agent. Null: it has been said why. */
static char *read_ledger(const struct cli_process *process)
{
    struct agent agent;
    char file[CLI_PROCESS_PATH_BYTES], *text = NULL;
    if (!find_agent(process, &agent))
        return NULL;
    if (!agent.is_there)
        return strdup("");
    if (!find_file(process, &agent, file))
        return NULL;
    uint64_t symbol = cli_patch_symbol(file, RDF_LEDGER_SYMBOL);
    bool is_readable = symbol != 0;
    /* Whoever is in the middle of changing it may need the processor. */
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; is_readable && !text && i < TRIES; i++) {
        if (i > 0)
            (void)nanosleep(&pause, NULL);
        is_readable = read_once(process->pid, agent.map.start + symbol, &text);
    }
    if (!text)
        cli_say("the agent in process %d (%s), %s, is of another version, or its memory is damaged: what it "
                "has redefined cannot be read",
                (int)process->pid, process->name, agent.map.path);
    return text;
}

/* ---- Its items ---- */

struct item {
    char *kind, *first, *second, *third;
};

static bool next_item(char **rest, struct item *ret)
{
    char *end = strchr(*rest, RDF_REQUEST_ITEM);
    if (!end)
        return false;
    char *field[4] = {*rest, "", "", ""};
    *end = '\0';
    for (size_t i = 1; i < 4 && (field[i] = strchr(field[i - 1], RDF_REQUEST_FIELD)) != NULL; i++)
        *field[i]++ = '\0';
    for (size_t i = 1; i < 4; i++)
        if (!field[i])
            field[i] = "";
    *ret = (struct item){field[0], field[1], field[2], field[3]};
    *rest = end + 1;
    return true;
}

bool cli_ledger_has(const struct cli_process *process, const char *path, bool *ret)
{
    char *text = read_ledger(process), *rest = text;
    struct item item;
    *ret = false;
    while (text && next_item(&rest, &item))
        *ret |= strcmp(item.kind, "patch") == 0 && (!*path || strcmp(item.first, path) == 0);
    free(text);
    return text != NULL;
}

static void print_text(const struct cli_process *process, char *rest)
{
    struct item item;
    size_t patches = 0;
    while (next_item(&rest, &item))
        if (strcmp(item.kind, "patch") == 0) {
            patches++;
            cli_put_text(stdout, item.first, INT_MAX);
            putchar('\n');
        } else {
            printf("  ");
            cli_put_text(stdout, item.first, INT_MAX);
            printf(" at 0x%s: ", item.second);
            cli_put_text(stdout, item.third, INT_MAX);
            putchar('\n');
        }
    if (!patches) {
        printf("nothing is redefined by redefine in process %d (", (int)process->pid);
        cli_put_text(stdout, process->name, INT_MAX);
        printf(")\n");
    }
}

static bool print_json(const struct cli_process *process, char *rest)
{
    struct item item;
    json_t *patches = json_array(), *functions = NULL;
    while (next_item(&rest, &item))
        if (strcmp(item.kind, "patch") == 0) {
            functions = json_array();
            (void)json_array_append_new(patches, json_pack("{s:o, s:o}", "file", cli_json_text(item.first),
                                                           "functions", functions));
        } else if (functions) {
            (void)json_array_append_new(functions,
                                        json_pack("{s:o, s:I, s:o}", "name", cli_json_text(item.first),
                                                  "address", (json_int_t)strtoull(item.second, NULL, 16),
                                                  "how", cli_json_text(item.third)));
        }
    json_t *all = json_pack("{s:i, s:i, s:o}", "schema", 1, "pid", (int)process->pid, "patches", patches);
    bool done = all && cli_json_write(stdout, all, JSON_INDENT(2)) && putchar('\n') != EOF;
    json_decref(all);
    if (!done)
        cli_say("the output could not be written: %s", strerror(errno));
    return done;
}

bool cli_ledger_print(const struct cli_process *process, bool json)
{
    char *text = read_ledger(process);
    if (!text)
        return false;
    bool done = true;
    if (json)
        done = print_json(process, text);
    else
        print_text(process, text);
    if (fflush(stdout) != 0) {
        cli_say("the output could not be written: %s", strerror(errno));
        done = false;
    }
    free(text);
    return done;
}
