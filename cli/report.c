/* SPDX-License-Identifier: MIT */
#include "report.h"

#include "text.h"

#include <inttypes.h>
#include <jansson.h>

static json_t *hazard_json(const struct rdf_hazard *hazard)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "kind", rdf_hazard_name(hazard->kind), "severity",
                     rdf_severity_name(hazard->severity), "file",
                     hazard->file ? cli_json_text(hazard->file) : json_null(), "line",
                     json_integer(hazard->line), "caller",
                     hazard->caller ? cli_json_text(hazard->caller) : json_null(), "detail",
                     cli_json_text(hazard->detail));
}

bool cli_report_json(FILE *out, const struct rdf_report *report, size_t count)
{
    json_t *functions = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *hazards = json_array();
        for (const struct rdf_hazard *hazard = report[i].hazard; hazard; hazard = hazard->next)
            json_array_append_new(hazards, hazard_json(hazard));
        json_array_append_new(functions,
                              json_pack("{s:o, s:I, s:I, s:s, s:o}", "name", cli_json_text(report[i].name),
                                        "address", (json_int_t)report[i].addr, "size",
                                        (json_int_t)report[i].size_bytes, "verdict",
                                        rdf_verdict_name(report[i].verdict), "hazards", hazards));
    }
    json_t *root = json_pack("{s:i, s:o}", "schema", 1, "functions", functions);
    bool done = cli_json_write(out, root, JSON_COMPACT) && fputc('\n', out) != EOF;
    json_decref(root);
    return done;
}

/* Lines of a table are kept apart. */
static void print_text(FILE *out, const char *text, const char *indent)
{
    for (; *text; text++) {
        int control = cli_control_bytes(text);
        if (*text == '\n')
            fprintf(out, "\n%s", indent);
        else
            fputc(control ? '?' : *text, out);
        text += control > 1;
    }
}

void cli_report_print(FILE *out, const struct rdf_report *report, bool colour)
{
    static const char *const colours[] = {[RDF_VERDICT_OK] = "\033[32m",
                                          [RDF_VERDICT_PARTIAL] = "\033[33m",
                                          [RDF_VERDICT_UNSAFE] = "\033[31m",
                                          [RDF_VERDICT_UNKNOWN] = "\033[35m"};
    print_text(out, report->name, "");
    if (report->addr)
        fprintf(out, " at 0x%" PRIx64 ", %" PRIu64 " bytes", report->addr, report->size_bytes);
    fprintf(out, ": %s%s%s\n", colour ? colours[report->verdict] : "", rdf_verdict_name(report->verdict),
            colour ? "\033[0m" : "");
    for (const struct rdf_hazard *hazard = report->hazard; hazard; hazard = hazard->next) {
        fprintf(out, "  %s: %s: ", rdf_severity_name(hazard->severity), rdf_hazard_name(hazard->kind));
        if (hazard->file) {
            print_text(out, hazard->file, "");
            fprintf(out, ":%u: ", hazard->line);
        }
        print_text(out, hazard->detail, "    ");
        fputc('\n', out);
    }
}
