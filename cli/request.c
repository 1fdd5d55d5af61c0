/* SPDX-License-Identifier: MIT
 *
 * What `redefine run` and `redefine attach` have in common: the patches that are asked for, and whether the
 * program may get them.
 */
#include "request.h"

#include "cli.h"
#include "gate.h"

#include "agent/request.h"
#include "arch/arch.h"

#include <elf.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_request_begin(struct cli_request *request)
{
    request->out = open_memstream(&request->text, &request->text_bytes);
    if (!request->out)
        cli_say("no memory");
    return request->out != NULL;
}

bool cli_request_end(struct cli_request *request)
{
    bool done = fclose(request->out) == 0;
    request->out = NULL;
    return done;
}

void cli_request_free(struct cli_request *request)
{
    free(request->text);
    request->text = NULL;
}

/* The absolute path of a patch file that the loader of this machine could load, or null. */
static char *check_patch(const char *name)
{
    char *path = realpath(name, NULL);
    if (!path || access(path, R_OK) < 0) {
        cli_say("patch %s: %s", name, strerror(errno));
        free(path);
        return NULL;
    }
    struct cli_program file;
    cli_file_inspect(path, &file);
    bool fits = file.is_elf && file.type == ET_DYN && file.is_64bit &&
                file.machine == rdf_arch_native()->elf_machine;
    if (!fits)
        cli_say(
            "patch %s is not a shared object for %s; build it with: cc -shared -fPIC $(pkg-config --cflags "
            "redefine) -o P.so P.c",
            name, rdf_arch_native()->name);
    else if (file.is_cut_off)
        cli_say("patch %s is cut off: the file ends before its segments do", name);
    else if (strpbrk(path, "\036\037"))
        cli_say("patch %s has a control character in its path", name);
    bool good = fits && !file.is_cut_off && !strpbrk(path, "\036\037");
    cli_program_free(&file);
    if (good)
        return path;
    free(path);
    return NULL;
}

bool cli_request_patch(struct cli_request *request, const char *name)
{
    char *path = check_patch(name);
    if (!path)
        return false;
    fprintf(request->out, "patch%c%s%c", RDF_REQUEST_FIELD, path, RDF_REQUEST_ITEM);
    request->patches++;
    free(path);
    return true;
}

/* NAME=P.so:SYMBOL. A C++ NAME may hold "==" or "::", and a path may hold them too: the symbol begins behind
 * the last ':', the path behind the last '=' after which a file is named; behind the last one of all when no
 * file is there. */
bool cli_request_replace(struct cli_request *request, const char *text)
{
    const char *colon = strrchr(text, ':');
    char *copy = colon && colon[1] && !strpbrk(text, "\036\037") ? strndup(text, (size_t)(colon - text))
                                                                 : NULL;
    char *last = copy ? strrchr(copy, '=') : NULL;
    if (!last || last == copy || !last[1]) {
        cli_say("--replace takes NAME=P.so:SYMBOL, not '%s'", text);
        free(copy);
        return false;
    }
    char *equals = last;
    while (equals > copy && (*equals != '=' || access(equals + 1, F_OK) != 0))
        equals--;
    if (equals == copy)
        equals = last;
    char *path = check_patch(equals + 1);
    *equals = '\0';
    if (!path) {
        free(copy);
        return false;
    }
    fprintf(request->out, "name%c%s%c%s%c%s%c", RDF_REQUEST_FIELD, path, RDF_REQUEST_FIELD, colon + 1,
            RDF_REQUEST_FIELD, copy, RDF_REQUEST_ITEM);
    request->patches++;
    free(path);
    free(copy);
    return true;
}

bool cli_request_pass(struct cli_request *request, const char *path, pid_t pid, const char *refusal)
{
    struct cli_gate_question question = {path, pid, refusal, request->text, request->clones, request->force};
    if (request->force && !request->clones)
        return true;
    char *items = cli_gate(&question);
    if (!items)
        return false;
    free(request->text);
    request->text = items;
    return true;
}

/* ---- The program ---- */

bool cli_check_program(const char *name, const struct cli_program *program, const char *otherwise)
{
    const struct rdf_arch *arch = rdf_arch_native();
    if (!program->is_elf)
        return true; /* the kernel, or a handler of binfmt_misc, decides; exec says no */
    if (!program->is_64bit || program->machine != arch->elf_machine)
        cli_say("%s (%s) is a program for another CPU or word size; this redefine handles %s", name,
                program->path, arch->name);
    else if (program->is_secure)
        cli_say("%s (%s) would run with AT_SECURE because %s: the dynamic loader then loads nothing that its "
                "user names; copy the program without those rights, or become the user that it runs as",
                name, program->path, program->secure_reason);
    else if (!program->interpreter)
        cli_say("%s (%s) is a static program: it has no dynamic loader that could load a patch; %s", name,
                program->path, otherwise);
    else if (strstr(program->interpreter, "ld-musl"))
        cli_say(
            "%s (%s) is a musl program (%s): the agent and the patches are built for the C library of this "
            "system and cannot be loaded by it; %s",
            name, program->path, program->interpreter, otherwise);
    else
        return true;
    return false;
}

char *cli_find_agent(void)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) {
        cli_say("/proc/self/exe cannot be read (%s), so the agent cannot be found; mount /proc here",
                strerror(errno));
        return NULL;
    }
    self[len] = '\0';
    const char *places[] = {"libredefine-agent.so", RDF_AGENT_FROM_COMMAND};
    const char *dir = dirname(self);
    char *path = NULL;
    for (size_t i = 0; !path && i < sizeof places / sizeof places[0]; i++) {
        char *joined = NULL;
        if (asprintf(&joined, "%s/%s", dir, places[i]) < 0)
            return NULL;
        path = realpath(joined, NULL);
        free(joined);
    }
    if (!path)
        cli_say("libredefine-agent.so is neither beside the command in %s nor in %s/%s", dir, dir,
                RDF_AGENT_FROM_COMMAND);
    return path;
}
