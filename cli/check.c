/* SPDX-License-Identifier: MIT
 *
 * redefine check: what a redefinition of functions would meet, before anything is touched.
 */
#include "cli.h"

#include "bodiless.h"
#include "option.h"
#include "patchfile.h"
#include "report.h"
#include "text.h"
#include "indexcache.h"
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    EXIT_HAZARD = 1,
    EXIT_CANNOT_TELL = 2,
    ALL_MAX = 200000, /* functions of one object */
};

struct checking {
    struct cli_target target;
    struct rdf_judge judge;
    struct rdf_report *report;
    size_t count, room;
    bool json;
    bool failed; /* a name could not be looked at */
    bool all;    /* no names were given: only what is not in order is shown */
};

/* ---- Names → reports ---- */

static struct rdf_report *new_report(struct checking *checking)
{
    if (checking->count == checking->room) {
        size_t room = checking->room ? 2 * checking->room : 64;
        struct rdf_report *bigger = realloc(checking->report, room * sizeof *bigger);
        if (!bigger)
            return NULL;
        checking->report = bigger;
        checking->room = room;
    }
    return &checking->report[checking->count];
}

/* What has no code of its own, but is known. False: that is not so. */
static bool check_bodiless(struct checking *checking, const char *name, redefine_status why_not)
{
    struct rdf_report *report = new_report(checking);
    struct rdf_error err = {0};
    if (report && cli_bodiless_judge(&checking->judge, name, why_not, report, &err) == REDEFINE_OK) {
        checking->count++;
        return true;
    }
    if (!report || err.status == REDEFINE_ENOMEM)
        cli_say("no memory");
    return false;
}

/* Of the names of one place the one that was asked for is the function's own; the others are its other names.
 */
struct asking {
    const char *name;
    size_t name_bytes;
    struct rdf_function *function;
};

/* As it is, or of C++: "int f<int>(int)" by f<int> and f<int>(int). */
static bool is_asked(const struct asking *asking, const char *symbol)
{
    char text[1024];
    if (strncmp(symbol, asking->name, asking->name_bytes) == 0 && !symbol[asking->name_bytes])
        return true;
    if (strncmp(symbol, "_Z", 2) != 0 || !rdf_image_demangle(symbol, text, sizeof text))
        return false;
    const char *at = memmem(text, strlen(text), asking->name, asking->name_bytes);
    return at && (at == text || at[-1] == ' ') && (!at[asking->name_bytes] || at[asking->name_bytes] == '(');
}

static bool take_name(void *ctx, const struct rdf_named *named)
{
    const struct asking *asking = ctx;
    if (named->addr != asking->function->start || !is_asked(asking, named->name))
        return true;
    asking->function->name = named->name;
    return false;
}

static void name_as_asked(struct rdf_images *images, const char *name, struct rdf_function *function)
{
    const char *bang = strchr(name, '!');
    const char *own = bang ? bang + 1 : name;
    struct asking asking = {own, strcspn(own, "@"), function};
    rdf_image_each_name(images, function->image, take_name, &asking);
}

/* Where the name's code is; false: a sentence has been said, or the name was reported otherwise. */
static bool find(struct checking *checking, const char *name, struct rdf_function *ret)
{
    struct rdf_error err = {0};
    uint64_t entry;
    redefine_status status = rdf_images_find(&checking->target.images, name, &entry, &err);
    if (check_bodiless(checking, name, status))
        return false;
    if (status == REDEFINE_OK)
        status = rdf_images_function(&checking->target.images, entry, ret, &err);
    if (status == REDEFINE_OK)
        name_as_asked(&checking->target.images, name, ret);
    if (status == REDEFINE_OK && !ret->name)
        ret->name = name; /* the file's own symbols do not have it */
    if (status == REDEFINE_OK)
        return true;
    cli_say("%s", err.sentence);
    checking->failed = true;
    return false;
}

static struct rdf_report *check_function(struct checking *checking, const struct rdf_function *function,
                                         const char *name)
{
    struct rdf_error err = {0};
    struct rdf_report *report = new_report(checking);
    if (report && rdf_judge_functions(&checking->judge, function, 1, report, &err) == REDEFINE_OK) {
        report->name = rdf_arena_copy(&checking->target.arena, name, strlen(name));
        if (!report->name)
            report->name = "";
        checking->count++;
        return report;
    }
    cli_say("%s: %s", name, report ? err.sentence : "no memory");
    checking->failed = true;
    return NULL;
}

/* The clones that are taken along are functions of their own: their entries may be short, their callers may
 * rely on something. */
static void check_clones(struct checking *checking, const struct rdf_function *function)
{
    struct rdf_error err = {0};
    struct rdf_facts facts;
    redefine_status status = rdf_judge_clones(&checking->judge, function, &facts, &err);
    for (size_t i = 0; status == REDEFINE_OK && i < facts.clone_count; i++) {
        struct rdf_function clone;
        if (facts.clone[i].fit != RDF_CLONE_FITS)
            continue;
        status = rdf_images_function(&checking->target.images, facts.clone[i].addr, &clone, &err);
        if (status == REDEFINE_OK)
            (void)check_function(checking, &clone, facts.clone[i].name);
    }
    if (status == REDEFINE_OK)
        return;
    cli_say("%s: %s", function->name, err.sentence);
    checking->failed = true;
}

/* How many reports there are of it; the first is the function's own. */
static size_t check_name(struct checking *checking, const char *name)
{
    struct rdf_function function;
    size_t before = checking->count;
    if (!find(checking, name, &function) || !check_function(checking, &function, name))
        return 0;
    if (checking->judge.takes_clones)
        check_clones(checking, &function);
    return checking->count - before;
}

/* ---- Patches ---- */

static void compare_types(struct checking *checking, struct rdf_judge *patch, uint64_t replacement,
                          const char *name, struct rdf_report *report)
{
    struct rdf_error err = {0};
    struct rdf_image *patch_image = patch->images->image[0];
    if (rdf_judge_types(&checking->judge, report, rdf_images_at(&checking->target.images, report->addr),
                        patch, patch_image, replacement + rdf_image_bias(patch_image), &err) != REDEFINE_OK)
        cli_say("%s: %s", name, err.sentence);
}

static bool is_chosen(const char *name, char **names, size_t name_count)
{
    for (size_t i = 0; i < name_count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return name_count == 0;
}

static void check_patch(struct checking *checking, const char *path, char **names, size_t name_count)
{
    struct cli_patch_record *record;
    size_t count;
    struct cli_target patch = {0};
    struct rdf_judge judge;
    if (!cli_patch_read(path, true, &record, &count) || !cli_target_open(path, &patch)) {
        checking->failed = true;
        return;
    }
    size_t chosen = 0;
    judge = cli_judge_of(&patch, RDF_DEBUG_ANYWHERE);
    for (size_t i = 0; i < count; i++) {
        if (!is_chosen(record[i].name, names, name_count))
            continue;
        chosen++;
        size_t reports = check_name(checking, record[i].name);
        for (size_t j = checking->count - reports; j < checking->count; j++)
            compare_types(checking, &judge, record[i].replacement, record[i].name, &checking->report[j]);
    }
    if (chosen == 0) {
        cli_say("patch %s redefines %s", path,
                count ? "none of these functions" : "nothing: it has no REDEFINE_PATCH");
        checking->failed = true;
    }
    cli_patch_free(record, count);
    rdf_judge_free(&judge);
    cli_target_close(&patch);
}

/* ---- All functions ---- */

struct gathering {
    struct checking *checking;
    struct rdf_function *function;
    size_t count, room;
};

static enum rdf_visit gather(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                             uint64_t addr, bool is_ifunc)
{
    struct gathering *gathering = ctx;
    struct rdf_images *images = &gathering->checking->target.images;
    struct rdf_error ignored = {0};
    (void)readable;
    if (image != images->image[0] || is_ifunc || gathering->count == ALL_MAX)
        return RDF_VISIT_TAKEN;
    if (gathering->count == gathering->room) {
        size_t room = gathering->room ? 2 * gathering->room : 1024;
        struct rdf_function *bigger = realloc(gathering->function, room * sizeof *bigger);
        if (!bigger)
            return RDF_VISIT_STOP;
        gathering->function = bigger;
        gathering->room = room;
    }
    struct rdf_function *function = &gathering->function[gathering->count];
    if (rdf_images_function(images, addr, function, &ignored) == REDEFINE_OK) {
        function->name = function->name ? function->name : name;
        gathering->count++;
    }
    return RDF_VISIT_TAKEN;
}

static int by_start(const void *a, const void *b)
{
    const struct rdf_function *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

static void check_all(struct checking *checking)
{
    struct gathering gathering = {.checking = checking};
    struct rdf_error err = {0};
    checking->all = true;
    rdf_images_each(&checking->target.images, "*", gather, &gathering);
    if (gathering.count) /* else there is no array to give to it */
        qsort(gathering.function, gathering.count, sizeof *gathering.function, by_start);
    checking->report = calloc(gathering.count + 1, sizeof *checking->report);
    checking->room = gathering.count + 1;
    if (!checking->report || rdf_judge_functions(&checking->judge, gathering.function, gathering.count,
                                                 checking->report, &err) != REDEFINE_OK) {
        cli_say("%s", checking->report ? err.sentence : "no memory");
        checking->failed = true;
    } else {
        checking->count = gathering.count;
    }
    if (gathering.count == 0) {
        cli_say(
            "the object has no named functions: it was stripped; name one of a library's, or build it again");
        checking->failed = true;
    }
    free(gathering.function);
}

/* ---- Output ---- */

/* Of a file, addresses are those that other tools see in it. */
static void tell_addresses_in_file(struct checking *checking)
{
    for (size_t i = 0; i < checking->count; i++) {
        struct rdf_report *report = &checking->report[i];
        const struct rdf_image *image = rdf_images_at(&checking->target.images, report->addr);
        if (image)
            report->addr -= rdf_image_bias(image);
    }
}

static int finish(struct checking *checking)
{
    size_t of[4] = {0};
    if (!checking->target.is_process)
        tell_addresses_in_file(checking);
    bool colour = cli_has_colour(stdout);
    for (size_t i = 0; i < checking->count; i++) {
        const struct rdf_report *report = &checking->report[i];
        of[report->verdict]++;
        if (!checking->json && (!checking->all || report->verdict != RDF_VERDICT_OK))
            cli_report_print(stdout, report, colour);
    }
    if (checking->json && !cli_report_json(stdout, checking->report, checking->count))
        cli_say("no memory for the output");
    else if (!checking->json && checking->count > 1)
        printf("%zu functions: %zu ok, %zu partial, %zu unsafe, %zu unknown\n", checking->count,
               of[RDF_VERDICT_OK], of[RDF_VERDICT_PARTIAL], of[RDF_VERDICT_UNSAFE], of[RDF_VERDICT_UNKNOWN]);
    if (fflush(stdout) != 0) {
        cli_say("the output could not be written: %s", strerror(errno));
        return EXIT_CANNOT_TELL;
    }
    if (of[RDF_VERDICT_PARTIAL] || of[RDF_VERDICT_UNSAFE])
        return EXIT_HAZARD;
    return checking->failed || of[RDF_VERDICT_UNKNOWN] || checking->count == 0 ? EXIT_CANNOT_TELL : 0;
}

/* ---- The verb ---- */

struct arguments {
    const char *program;
    char **names;
    size_t name_count;
    const char **patch;
    size_t patch_count;
    bool json, clones;
};

static bool parse(int argc, char **argv, struct arguments *ret)
{
    enum { PATCH = CLI_OPTION_FIRST, JSON, CLONES };
    static const struct option options[] = {{"patch", required_argument, NULL, PATCH},
                                            {"json", no_argument, NULL, JSON},
                                            {"clones", no_argument, NULL, CLONES},
                                            {0}};
    ret->patch = calloc((size_t)argc + 1, sizeof *ret->patch);
    for (int option;
         ret->patch && (option = cli_option_next("check", argc, argv, options, CLI_OPTIONS_ANYWHERE)) != -1;)
        switch (option) {
        case PATCH: ret->patch[ret->patch_count++] = optarg; break;
        case JSON: ret->json = true; break;
        case CLONES: ret->clones = true; break;
        default: return false;
        }
    int first = cli_option_words();
    if (!ret->patch || first >= argc) {
        cli_say("check needs a program, a library or the number of a process; see redefine --help");
        return false;
    }
    ret->program = argv[first];
    ret->names = argv + first + 1;
    ret->name_count = (size_t)(argc - first - 1);
    return true;
}

int cli_check(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct checking checking = {0};
    int status = EXIT_CANNOT_TELL;
    if (parse(argc, argv, &arguments) && cli_target_open(arguments.program, &checking.target)) {
        checking.json = arguments.json;
        checking.judge = cli_judge_of(&checking.target, RDF_DEBUG_ANYWHERE);
        checking.judge.takes_clones = arguments.clones;
        for (size_t i = 0; i < arguments.patch_count; i++)
            check_patch(&checking, arguments.patch[i], arguments.names, arguments.name_count);
        for (size_t i = 0; !arguments.patch_count && i < arguments.name_count; i++)
            (void)check_name(&checking, arguments.names[i]);
        if (!arguments.patch_count && !arguments.name_count)
            check_all(&checking);
        status = finish(&checking);
        free(checking.report);
        rdf_judge_free(&checking.judge);
    }
    cli_target_close(&checking.target);
    free(arguments.patch);
    return status;
}
