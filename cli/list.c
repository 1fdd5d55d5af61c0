/* SPDX-License-Identifier: MIT
 *
 * redefine list: the functions of a program or process, with the strategy that the planner would choose and
 * the verdict of a check of each. Nothing is run and nothing is changed.
 */
#include "cli.h"

#include "api/judge.h"
#include "core/plan.h"
#include "image/go.h"
#include "indexcache.h"
#include "target.h"
#include "text.h"

#include "base/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERDICTS = RDF_VERDICT_UNKNOWN + 1 };

struct row {
    struct rdf_function function;
    enum rdf_verdict verdict;
    const char *strategy; /* null: none fits */
    const char *hazard;   /* the first that is more than a note; null: none */
};

struct list {
    struct cli_target target;
    const char *object; /* of OBJECT!GLOB; null: the program */
    const char *glob;
    bool is_json, only_names, all_objects;
    struct row *row;
    size_t count, capacity;
    bool is_blind_told;
    bool out_of_memory;
};

/* ---- Which ---- */

/* Demanglers write the result before the name of a template's instance, and of nothing else. */
static const char *without_result(const char *name)
{
    static const char nameless[] = "(anonymous namespace)";
    const char *start = name;
    int depth = 0;
    for (const char *at = name; *at; at++) {
        if (depth == 0 && strncmp(at, nameless, sizeof nameless - 1) == 0)
            at += sizeof nameless - 2;
        else if (depth == 0 && (*at == '(' || strncmp(at, "operator", 8) == 0))
            break;
        depth += (*at == '<') - (*at == '>');
        if (*at == ' ' && depth == 0)
            start = at + 1;
    }
    return start;
}

/* C++ names are matched as they are mangled and as people write them, with and without their parameters and
 * the result. */
static bool is_wanted(const struct list *list, const char *name)
{
    if (rdf_image_glob(list->glob, name))
        return true;
    char *demangled = cli_demangle(name);
    bool matches = demangled && rdf_image_glob(list->glob, demangled);
    if (demangled && !matches) {
        const char *own = without_result(demangled);
        matches = rdf_image_glob(list->glob, own);
        demangled[own - demangled + (ptrdiff_t)strcspn(own, "(")] = '\0';
        matches = matches || rdf_image_glob(list->glob, own);
    }
    free(demangled);
    return matches;
}

static bool is_wanted_object(const struct list *list, struct rdf_image *image)
{
    const char *path = rdf_image_name(image);
    if (list->object)
        return rdf_image_glob(list->object, path) || rdf_image_glob(list->object, cli_short_name(path));
    return list->all_objects || image == list->target.images.image[0];
}

static enum rdf_visit add(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                          uint64_t addr, bool is_ifunc)
{
    struct list *list = ctx;
    struct rdf_error unused = {0};
    (void)readable, (void)is_ifunc;
    if (!is_wanted(list, name))
        return RDF_VISIT_OTHER;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 1024;
        struct row *row = realloc(list->row, capacity * sizeof *row);
        list->out_of_memory |= !row;
        if (!row)
            return RDF_VISIT_STOP;
        list->row = row;
        list->capacity = capacity;
    }
    struct row *row = &list->row[list->count];
    *row = (struct row){.function = {.image = image, .start = addr, .end = addr, .name = name}};
    if (!list->only_names &&
        rdf_images_function(&list->target.images, addr, &row->function, &unused) != REDEFINE_OK)
        return RDF_VISIT_OTHER; /* a name in the middle of something */
    row->function.name = name;
    list->count++;
    return RDF_VISIT_TAKEN;
}

static int by_address(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    if (left->function.start != right->function.start)
        return left->function.start < right->function.start ? -1 : 1;
    return strcmp(left->function.name, right->function.name);
}

/* By address, each once. */
static void collect(struct list *list)
{
    struct rdf_images *images = &list->target.images;
    for (size_t i = 0; i < images->count; i++)
        if (!is_wanted_object(list, images->image[i]))
            rdf_image_hide(images->image[i]);
    rdf_images_each(images, "*", add, list);
    if (list->count)
        qsort(list->row, list->count, sizeof *list->row, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || list->row[kept - 1].function.start != list->row[i].function.start)
            list->row[kept++] = list->row[i];
    list->count = kept;
}

/* ---- What of them ---- */

static void tell_verdict(struct row *row, const struct rdf_report *report)
{
    row->strategy = report->strategy;
    row->verdict = report->verdict;
    for (const struct rdf_hazard *hazard = report->hazard; hazard && !row->hazard; hazard = hazard->next)
        if (hazard->severity != RDF_SEVERITY_NOTE)
            row->hazard = rdf_hazard_name(hazard->kind);
}

/* The rows of one object, and where they begin. */
struct judging {
    struct list *list;
    size_t first;
};

static void keep(void *ctx, size_t index, const struct rdf_report *report)
{
    const struct judging *judging = ctx;
    tell_verdict(&judging->list->row[judging->first + index], report);
    rdf_progress("functions looked at", judging->first + index, judging->list->count);
}

/* The same of an object with Go code in it, of which Go's own tables tell what debug data tells of others. */
static redefine_status judge_go(struct list *list, size_t first, size_t end, struct rdf_error *err)
{
    size_t count = end - first;
    struct rdf_judge judge = cli_judge_of(&list->target, RDF_DEBUG_ANYWHERE);
    struct rdf_function *functions = rdf_arena_alloc(judge.arena, count * sizeof *functions);
    struct rdf_report *reports = rdf_arena_alloc(judge.arena, count * sizeof *reports);
    redefine_status status = REDEFINE_OK;
    if (!functions || !reports)
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for %zu functions", count);
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++)
        functions[i] = list->row[first + i].function;
    if (status == REDEFINE_OK)
        status = rdf_judge_functions(&judge, functions, count, reports, err);
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++)
        tell_verdict(&list->row[first + i], &reports[i]);
    rdf_judge_free(&judge);
    return status;
}

/* Why so much is unknown, where something can be done about it; once, as the reasons of many objects are
 * alike. */
static void tell_blind(struct list *list, struct rdf_judge *judge, size_t first, size_t end)
{
    struct rdf_image *image = list->row[first].function.image;
    const struct rdf_error *why;
    for (size_t i = first; i < end && judge->tells_fetching && !list->is_blind_told; i++) {
        if (list->row[i].verdict != RDF_VERDICT_UNKNOWN || rdf_judge_index(judge, image, &why))
            continue;
        cli_say("%s", why->sentence);
        list->is_blind_told = true;
    }
}

/* The functions of one object: [first, end). What is known of an object goes when it is done. */
static redefine_status judge_object(struct list *list, size_t first, size_t end, struct rdf_error *err)
{
    struct rdf_arena arena;
    struct judging judging = {list, first};
    struct rdf_judge judge = cli_judge_of(&list->target, RDF_DEBUG_ANYWHERE);
    size_t count = end - first;
    rdf_arena_init(&arena, &rdf_os_pages);
    judge.arena = &arena;
    judge.is_brief = true;
    struct rdf_function *functions = rdf_arena_alloc(&arena, count * sizeof *functions);
    redefine_status status = REDEFINE_OK;
    if (!functions)
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for %zu functions", count);
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++)
        functions[i] = list->row[first + i].function;
    if (status == REDEFINE_OK)
        status = rdf_judge_each(&judge, functions, count, keep, &judging, err);
    if (status == REDEFINE_OK)
        tell_blind(list, &judge, first, end);
    rdf_judge_free(&judge);
    rdf_arena_free(&arena);
    return status;
}

static redefine_status judge_all(struct list *list, struct rdf_error *err)
{
    redefine_status status = REDEFINE_OK;
    rdf_progress("functions looked at", 0, list->count + 1);
    for (size_t first = 0, end; first < list->count && status == REDEFINE_OK; first = end) {
        struct rdf_image *image = list->row[first].function.image;
        end = first + 1;
        while (end < list->count && list->row[end].function.image == image)
            end++;
        status = (rdf_go_is_go(&list->target.images, image) ? judge_go : judge_object)(list, first, end, err);
    }
    rdf_progress("functions looked at", 1, 1);
    return status;
}

/* ---- How it is told ---- */

static const char *colour_of(enum rdf_verdict verdict)
{
    static const char *const colours[VERDICTS] = {
        [RDF_VERDICT_OK] = "\033[32m",
        [RDF_VERDICT_PARTIAL] = "\033[33m",
        [RDF_VERDICT_UNSAFE] = "\033[31m",
        [RDF_VERDICT_UNKNOWN] = "\033[2m",
    };
    return colours[verdict];
}

static uint64_t shown_address(const struct list *list, const struct row *row)
{
    return row->function.start - (list->target.is_process ? 0 : rdf_image_bias(row->function.image));
}

/* What the column has room for. */
static const char *short_reason(const struct row *row)
{
    const char *name = row->hazard ? row->hazard : "";
    return strcmp(name, rdf_hazard_name(RDF_HAZARD_NO_DEBUG_INFO)) == 0 ? "no-debug" : name;
}

static void print_rows(const struct list *list)
{
    bool has_colour = cli_has_colour(stdout);
    bool is_terminal = cli_columns(stdout) && isatty(fileno(stdout));
    int digits = 12; /* of an ordinary address; they ascend, so that the last one is the longest */
    while (list->count && digits < 16 && shown_address(list, &list->row[list->count - 1]) >> 4 * digits)
        digits++;
    int rest = is_terminal ? cli_columns(stdout) - 36 - digits : INT32_MAX;
    printf("%-8s %*s %7s %-7s %-9s %s\n", "verdict", digits, "address", "bytes", "by", "because", "function");
    for (size_t i = 0; i < list->count; i++) {
        const struct row *row = &list->row[i];
        char *demangled = cli_demangle(row->function.name);
        printf("%s%-8s%s %*" PRIx64 " %7" PRIu64 " %-7s %-9s ", has_colour ? colour_of(row->verdict) : "",
               rdf_verdict_name(row->verdict), has_colour ? "\033[0m" : "", digits, shown_address(list, row),
               row->function.end - row->function.start, row->strategy ? row->strategy : "none",
               short_reason(row));
        cli_put_text(stdout, demangled ? demangled : row->function.name, rest > 20 ? rest : 20);
        putchar('\n');
        free(demangled);
    }
}

static void count_verdicts(const struct list *list, size_t ret_counts[VERDICTS])
{
    memset(ret_counts, 0, VERDICTS * sizeof *ret_counts);
    for (size_t i = 0; i < list->count; i++)
        ret_counts[list->row[i].verdict]++;
}

/* "12,480 functions: 12,391 ok, 61 partial, 28 unknown" */
static void print_summary(const struct list *list)
{
    size_t counts[VERDICTS];
    count_verdicts(list, counts);
    printf("%s function%s:", cli_number(list->count), list->count == 1 ? "" : "s");
    const char *before = " ";
    for (int i = 0; i < VERDICTS; i++) {
        if (counts[i])
            printf("%s%s %s", before, cli_number(counts[i]), rdf_verdict_name((enum rdf_verdict)i));
        before = counts[i] ? ", " : before;
    }
    putchar('\n');
}

static json_t *json_row(const struct list *list, const struct row *row)
{
    char *demangled = cli_demangle(row->function.name);
    json_t *object = json_pack("{s:o, s:o, s:I, s:I, s:o, s:s, s:o}", "name",
                               cli_json_text(row->function.name), "object",
                               cli_json_text(cli_short_name(rdf_image_name(row->function.image))), "address",
                               (json_int_t)shown_address(list, row), "size",
                               (json_int_t)(row->function.end - row->function.start), "strategy",
                               row->strategy ? json_string(row->strategy) : json_null(), "verdict",
                               rdf_verdict_name(row->verdict), "because",
                               row->hazard ? json_string(row->hazard) : json_null());
    if (object && demangled)
        (void)json_object_set_new(object, "demangled", cli_json_text(demangled));
    free(demangled);
    return object;
}

static void print_json(const struct list *list)
{
    size_t counts[VERDICTS];
    json_t *functions = json_array(), *summary = json_object();
    count_verdicts(list, counts);
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(functions, json_row(list, &list->row[i]));
    for (int i = 0; i < VERDICTS; i++)
        (void)json_object_set_new(summary, rdf_verdict_name((enum rdf_verdict)i),
                                  json_integer((json_int_t)counts[i]));
    json_t *whole = json_pack("{s:i, s:o, s:o}", "schema", 1, "functions", functions, "summary", summary);
    (void)cli_json_write(stdout, whole, JSON_COMPACT);
    putchar('\n');
    json_decref(whole);
}

static void print_names(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        cli_put_text(stdout, list->row[i].function.name, INT32_MAX);
        putchar('\n');
    }
}

static bool read_options(int argc, char **argv, struct list *list, const char **ret_program)
{
    int at = 0;
    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--json") == 0)
            list->is_json = true;
        else if (strcmp(argv[at], "--names") == 0)
            list->only_names = true;
        else if (strcmp(argv[at], "--all") == 0)
            list->all_objects = true;
        else {
            cli_say("list has no option %s; see redefine --help", argv[at]);
            return false;
        }
    }
    int end = argc;
    for (; end > at && (strcmp(argv[end - 1], "--json") == 0); end--)
        list->is_json = true; /* also behind the names */
    if (end - at < 1 || end - at > 2) {
        cli_say("list takes PROGRAM or PID, and perhaps a GLOB; see redefine --help");
        return false;
    }
    *ret_program = argv[at];
    list->glob = end - at == 2 ? argv[at + 1] : "*";
    char *bang = strchr(list->glob, '!');
    if (bang) {
        *bang = '\0';
        list->object = list->glob;
        list->glob = bang + 1;
    }
    return true;
}

static void fail_empty(const struct list *list, struct rdf_error *err)
{
    bool has_more = !list->object && !list->all_objects && list->target.images.count > 1;
    (void)rdf_fail(
        err, REDEFINE_ENOTFOUND,
        "no function that has a name matches %s%s%s; a stripped program names only what it exports%s",
        list->object ? list->object : "", list->object ? "!" : "", list->glob,
        has_more ? ", and only --all lists those of its libraries" : "");
}

static bool list_functions(struct list *list, const char *program)
{
    struct rdf_error err = {0};
    collect(list);
    if (list->out_of_memory)
        (void)rdf_fail(&err, REDEFINE_ENOMEM, "no memory for the list");
    else if (list->count == 0 && !list->only_names)
        fail_empty(list, &err);
    else if (!list->only_names)
        (void)judge_all(list, &err);
    if (err.status != REDEFINE_OK) {
        cli_say("%s: %s", program, err.sentence);
        return false;
    }
    if (list->is_json) {
        print_json(list);
    } else if (list->only_names) {
        print_names(list);
    } else {
        print_rows(list);
        print_summary(list);
    }
    if (fflush(stdout) == 0)
        return true;
    cli_say("%s: the output could not be written: %s", program, strerror(errno));
    return false;
}

int cli_list(int argc, char **argv)
{
    struct list list = {.glob = "*"};
    const char *program;
    if (!read_options(argc, argv, &list, &program))
        return EXIT_OWN_FAILURE;
    bool is_listed = cli_target_open(program, &list.target) && list_functions(&list, program);
    free(list.row);
    cli_target_close(&list.target);
    return is_listed ? 0 : EXIT_OWN_FAILURE;
}
