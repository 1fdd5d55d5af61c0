/* SPDX-License-Identifier: MIT
 *
 * Calls per function, as a table or as JSON.
 */
#include "count.h"

#include "cli.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR_COLUMNS_MIN = 8, OBJECT_COLUMNS_MAX = 24, NAME_COLUMNS_MIN = 20, REASONS_MAX = 10 };

/* ---- Names ---- */

static const char *short_object(const char *object)
{
    const char *slash = strrchr(object, '/');
    return slash && slash[1] ? slash + 1 : object;
}

/* ---- The table ---- */

struct layout {
    bool is_terminal;
    int calls, object, name, bar; /* columns */
};

static int digits(uint64_t value)
{
    int count = 1;
    while (value /= 10)
        count++;
    return count;
}

static struct layout lay_out(FILE *out, const struct cli_count_result *result)
{
    struct layout layout = {.is_terminal = isatty(fileno(out)), .calls = 5, .object = 6};
    int columns = cli_columns(out);
    if (result->called_count && digits(result->row[0].calls) > layout.calls)
        layout.calls = digits(result->row[0].calls);
    for (size_t i = 0; i < result->called_count; i++) {
        int len = (int)strlen(short_object(result->row[i].object));
        layout.object = len > layout.object ? len : layout.object;
    }
    layout.object = layout.object < OBJECT_COLUMNS_MAX ? layout.object : OBJECT_COLUMNS_MAX;
    int rest = columns - layout.calls - 2 - layout.object - 2 - 2;
    layout.bar = rest / 3 > BAR_COLUMNS_MIN ? rest / 3 : BAR_COLUMNS_MIN;
    layout.name = rest - layout.bar > NAME_COLUMNS_MIN ? rest - layout.bar : NAME_COLUMNS_MIN;
    return layout;
}

static void put_row(FILE *out, const struct layout *layout, const struct cli_count_row *row, uint64_t widest)
{
    char *demangled = cli_demangle(row->name);
    const char *name = demangled ? demangled : row->name;
    const char *object = short_object(row->object);
    fprintf(out, "%*" PRIu64 "  ", layout->calls, row->calls);
    if (layout->is_terminal) {
        /* Everything that was called shows. */
        int len = (int)((double)row->calls / (double)widest * layout->bar + 0.5);
        len = len < 1 ? 1 : len > layout->bar ? layout->bar : len;
        for (int i = 0; i < layout->bar; i++)
            fputc(i < len ? '#' : ' ', out);
        fputs("  ", out);
    }
    cli_put_text(out, object, layout->object);
    int len = (int)strnlen(object, (size_t)layout->object);
    fprintf(out, "%*s", layout->object - len + 2, "");
    cli_put_text(out, name, layout->is_terminal ? layout->name : INT32_MAX);
    fputc('\n', out);
    free(demangled);
}

/* What shares a reason. */
struct group {
    size_t first, count;
};

static int compare_groups(const void *a, const void *b)
{
    const struct group *left = a;
    const struct group *right = b;
    if (left->count != right->count)
        return left->count < right->count ? 1 : -1;
    return (left->first > right->first) - (left->first < right->first);
}

static void put_group(FILE *out, const struct cli_count_refusal *first, size_t count)
{
    char *demangled = cli_demangle(first->name);
    fprintf(out, "redefine: %zu not counted (", count);
    cli_put_text(out, demangled ? demangled : first->name, INT32_MAX);
    fputs(count > 1 ? " and others): " : "): ", out);
    cli_put_text(out, first->reason, INT32_MAX);
    fputc('\n', out);
    free(demangled);
}

/* Reasons that many functions share are told once, and first. */
static void put_refusals(FILE *out, const struct cli_count_result *result)
{
    const struct cli_count_refusal *refusal = result->refusal;
    struct group *group = calloc(result->refusal_count + 1, sizeof *group);
    size_t groups = 0;
    size_t told = 0;
    for (size_t i = 0; group && i < result->refusal_count; i++) {
        if (i == 0 || strcmp(refusal[i].reason, refusal[i - 1].reason) != 0)
            group[groups++].first = i;
        group[groups - 1].count++;
    }
    if (group)
        qsort(group, groups, sizeof *group, compare_groups);
    for (size_t i = 0; i < groups && i < REASONS_MAX; i++) {
        put_group(out, &refusal[group[i].first], group[i].count);
        told += group[i].count;
    }
    if (told < result->refusal_count)
        fprintf(out, "redefine: %zu more not counted, for other reasons: --json tells them\n",
                result->refusal_count - told);
    free(group);
}

static void put_table(FILE *out, const struct cli_count_result *result)
{
    struct layout layout = lay_out(out, result);
    if (result->called_count)
        fprintf(out, "%*s  %*s%-*s  %s\n", layout.calls, "calls", layout.is_terminal ? layout.bar + 2 : 0, "",
                layout.object, "object", "function");
    for (size_t i = 0; i < result->called_count; i++)
        put_row(out, &layout, &result->row[i], result->row[0].calls);
    fprintf(out, "redefine: %zu functions counted, %zu of them called, %" PRIu64 " calls", result->row_count,
            result->called_count, result->calls);
    if (result->refusal_count)
        fprintf(out, "; %zu not counted", result->refusal_count);
    else if (!result->row_count)
        fputs(": no function that has a name matches (redefine list --all --names PROGRAM prints them)", out);
    fputc('\n', out);
    put_refusals(out, result);
    if (result->lost)
        fprintf(out, "redefine: no room for %" PRIu64 " more: too many processes\n", result->lost);
}

/* ---- JSON ---- */

static json_t *function_object(const struct cli_count_row *row)
{
    json_t *function = json_pack("{s:o, s:o, s:I}", "name", cli_json_text(row->name), "object",
                                 cli_json_text(row->object), "calls",
                                 (json_int_t)(row->calls > INT64_MAX ? INT64_MAX : row->calls));
    char *demangled = cli_demangle(row->name);
    if (function && demangled)
        (void)json_object_set_new(function, "demangled", cli_json_text(demangled));
    free(demangled);
    return function;
}

static bool put_json(FILE *out, const struct cli_count_result *result)
{
    json_t *functions = json_array();
    json_t *refusals = json_array();
    for (size_t i = 0; i < result->row_count; i++)
        (void)json_array_append_new(functions, function_object(&result->row[i]));
    for (size_t i = 0; i < result->refusal_count; i++)
        (void)json_array_append_new(refusals,
                                    json_pack("{s:o, s:o}", "name", cli_json_text(result->refusal[i].name),
                                              "reason", cli_json_text(result->refusal[i].reason)));
    json_t *root = json_pack("{s:i, s:o, s:o}", "schema", 1, "functions", functions, "not_counted", refusals);
    bool done = root && json_dumpf(root, out, JSON_INDENT(1)) == 0;
    json_decref(root);
    fputc('\n', out);
    return done;
}

bool cli_count_report(const struct cli_count *count, const struct cli_count_result *result)
{
    bool done = true;
    if (count->json)
        done = put_json(count->out, result);
    else
        put_table(count->out, result);
    if (done && fflush(count->out) == 0 && !ferror(count->out))
        return true;
    cli_say("the calls cannot be written to %s: %s", count->output ? count->output : "standard error",
            strerror(errno));
    return false;
}
