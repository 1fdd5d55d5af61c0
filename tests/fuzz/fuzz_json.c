/* SPDX-License-Identifier: MIT
 *
 * Names come from files, and whatever is in them the output of `check` must stay JSON that says the same, in
 * one line, and a text without anything that speaks to a terminal.
 *
 * The input is texts, each ended by a zero byte: a function's name, then the file, the caller and the detail
 * of one hazard after the other; four hazards are one function's. The text's first byte, of a file or a
 * caller: none.
 */
#include "report.h"
#include "text.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUNCTIONS_MAX = 64, HAZARDS_EACH = 4, NONE = 1 };

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

struct input {
    char *at, *end; /* a zero lies at end */
};

static const char *next(struct input *input)
{
    const char *text = input->at;
    if (input->at < input->end)
        input->at += strlen(input->at) + 1;
    if (input->at > input->end)
        input->at = input->end;
    return text;
}

static const char *next_or_none(struct input *input)
{
    const char *text = next(input);
    return *text == NONE ? NULL : text;
}

static size_t read_reports(struct input *input, struct rdf_report *report, struct rdf_hazard *hazard)
{
    size_t count = 0;
    for (; count < FUNCTIONS_MAX && input->at < input->end; count++) {
        struct rdf_hazard *own = &hazard[count * HAZARDS_EACH];
        report[count] = (struct rdf_report){.name = next(input),
                                            .verdict = (enum rdf_verdict)(count % 4),
                                            .addr = count << 56, /* jansson reads none of 2^63 and above */
                                            .size_bytes = INT64_MAX >> count};
        for (size_t i = 0; i < HAZARDS_EACH && input->at < input->end; i++) {
            own[i] = (struct rdf_hazard){.kind = (enum rdf_hazard_kind)(count % 10),
                                         .severity = (enum rdf_severity)(i % 3),
                                         .line = UINT32_MAX >> i};
            own[i].file = next_or_none(input);
            own[i].caller = next_or_none(input);
            own[i].detail = next(input);
            if (i)
                own[i - 1].next = &own[i];
            report[count].hazard = own;
        }
    }
    return count;
}

/* The same text; where it is no UTF-8, the same bytes below 128. */
static void require_same(const json_t *json, const char *text)
{
    if (!text) {
        require(json_is_null(json));
        return;
    }
    const char *got = json_string_value(json);
    json_t *valid = json_string(text);
    require(got && strlen(got) == strlen(text));
    for (size_t i = 0; text[i]; i++)
        require(got[i] == text[i] || (!valid && (unsigned char)text[i] >= 0x80 && got[i] == '?'));
    json_decref(valid);
}

static void require_json(const char *out, size_t len, const struct rdf_report *report, size_t count)
{
    json_error_t error;
    json_t *root = json_loadb(out, len, JSON_REJECT_DUPLICATES, &error);
    require(root && len && out[len - 1] == '\n');
    for (size_t i = 0; i + 1 < len; i++)
        require((unsigned char)out[i] >= ' ');
    json_t *functions = json_object_get(root, "functions");
    require(json_integer_value(json_object_get(root, "schema")) == 1 && json_array_size(functions) == count);
    for (size_t i = 0; i < count; i++) {
        const json_t *function = json_array_get(functions, i);
        const json_t *hazards = json_object_get(function, "hazards");
        size_t at = 0;
        require_same(json_object_get(function, "name"), report[i].name);
        for (const struct rdf_hazard *hazard = report[i].hazard; hazard; hazard = hazard->next, at++) {
            const json_t *one = json_array_get(hazards, at);
            require(json_integer_value(json_object_get(one, "line")) == hazard->line);
            require_same(json_object_get(one, "file"), hazard->file);
            require_same(json_object_get(one, "caller"), hazard->caller);
            require_same(json_object_get(one, "detail"), hazard->detail);
        }
        require(json_array_size(hazards) == at);
    }
    json_decref(root);
}

/* Neither the controls of ASCII nor those that ISO 6429 put behind it, as UTF-8 writes them. */
static void require_quiet(const char *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        require((unsigned char)out[i] >= ' ' || out[i] == '\n');
        require(out[i] != '\177');
        require((unsigned char)out[i] != 0xc2 || i + 1 == len || ((unsigned char)out[i + 1] & 0xe0) != 0x80);
    }
}

static void print(const struct rdf_report *report, size_t count)
{
    char *out = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&out, &len);
    require(file);
    for (size_t i = 0; i < count; i++) {
        cli_report_print(file, &report[i], false);
        cli_put_text(file, report[i].name, 80);
        fputc('\n', file);
    }
    require(fclose(file) == 0);
    require_quiet(out, len);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rdf_report report[FUNCTIONS_MAX];
    static struct rdf_hazard hazard[FUNCTIONS_MAX * HAZARDS_EACH];
    char *copy = malloc(size + 1);
    char *out = NULL;
    size_t len = 0;
    require(copy);
    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    struct input input = {copy, copy + size};
    memset(report, 0, sizeof report);
    memset(hazard, 0, sizeof hazard);
    size_t count = read_reports(&input, report, hazard);
    FILE *file = open_memstream(&out, &len);
    require(file);
    require(cli_report_json(file, report, count) && fclose(file) == 0);
    require_json(out, len, report, count);
    print(report, count);
    free(out);
    free(copy);
    return 0;
}
