/* SPDX-License-Identifier: MIT
 *
 * redefine_check: the command's verdict, asked from inside.
 */
#include "api/internal.h"
#include "api/judge.h"
#include "arch/arch.h"

#include <redefine/check.h>

const char *redefine_verdict_name(redefine_verdict verdict)
{
    switch (verdict) {
    case REDEFINE_VERDICT_OK: return rdf_verdict_name(RDF_VERDICT_OK);
    case REDEFINE_VERDICT_PARTIAL: return rdf_verdict_name(RDF_VERDICT_PARTIAL);
    case REDEFINE_VERDICT_UNSAFE: return rdf_verdict_name(RDF_VERDICT_UNSAFE);
    case REDEFINE_VERDICT_UNKNOWN: return rdf_verdict_name(RDF_VERDICT_UNKNOWN);
    }
    return "not a verdict";
}

static redefine_verdict public_verdict(enum rdf_verdict verdict)
{
    switch (verdict) {
    case RDF_VERDICT_OK: return REDEFINE_VERDICT_OK;
    case RDF_VERDICT_PARTIAL: return REDEFINE_VERDICT_PARTIAL;
    case RDF_VERDICT_UNSAFE: return REDEFINE_VERDICT_UNSAFE;
    case RDF_VERDICT_UNKNOWN: break;
    }
    return REDEFINE_VERDICT_UNKNOWN;
}

static char *copy_text(struct rdf_arena *arena, const char *text)
{
    size_t len = 0;
    while (text && text[len])
        len++;
    return rdf_arena_copy(arena, text, len);
}

/* The report outlives everything that it was made from. */
static redefine_status publish(const struct rdf_report *report, redefine_check_report *ret,
                               struct rdf_error *err)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, &rdf_os_pages);
    struct rdf_arena *memory = rdf_arena_alloc(&arena, sizeof *memory);
    redefine_hazard *list = rdf_arena_alloc(&arena, (report->hazard_count + 1) * sizeof *list);
    bool complete = memory && list;
    size_t count = 0;
    for (const struct rdf_hazard *hazard = report->hazard; complete && hazard; hazard = hazard->next) {
        redefine_hazard *copy = &list[count++];
        *copy = (redefine_hazard){.kind = rdf_hazard_name(hazard->kind),
                                  .severity = rdf_severity_name(hazard->severity),
                                  .file = copy_text(&arena, hazard->file),
                                  .line = hazard->line,
                                  .caller = copy_text(&arena, hazard->caller),
                                  .detail = copy_text(&arena, hazard->detail)};
        complete = copy->file && copy->caller && copy->detail;
    }
    if (!complete) {
        rdf_arena_free(&arena);
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the report");
    }
    *memory = arena;
    *ret = (redefine_check_report){.verdict = public_verdict(report->verdict),
                                   .size_bytes = report->size_bytes,
                                   .hazard_count = count,
                                   .hazard = list,
                                   .memory = memory};
    return REDEFINE_OK;
}

void redefine_check_report_free(redefine_check_report *report)
{
    if (!report || !report->memory)
        return;
    struct rdf_arena arena = *(struct rdf_arena *)report->memory; /* it lives in itself */
    *report = (redefine_check_report){0};
    rdf_arena_free(&arena);
}

static redefine_status judge_pair(struct rdf_judge *judge, uint64_t target, uint64_t replacement,
                                  struct rdf_report *ret, struct rdf_error *err)
{
    struct rdf_images *images = judge->images;
    struct rdf_function function;
    redefine_status status = rdf_images_follow(images, target, &target, err);
    if (status == REDEFINE_OK)
        status = rdf_images_function(images, target, &function, err);
    if (status == REDEFINE_OK)
        status = rdf_judge_functions(judge, &function, 1, ret, err);
    if (status != REDEFINE_OK || !replacement)
        return status;
    status = rdf_images_follow(images, replacement, &replacement, err);
    if (status == REDEFINE_OK)
        status = rdf_judge_types(judge, ret, function.image, judge, rdf_images_at(images, replacement),
                                 replacement, err);
    return status;
}

static redefine_status check(uint64_t target, uint64_t replacement, redefine_check_report *ret,
                             struct rdf_error *err)
{
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_images images = {0};
    struct rdf_report report;
    rdf_os_local_space(&space);
    rdf_arena_init(&arena, &rdf_os_pages);
    struct rdf_judge judge = {.images = &images,
                              .arena = &arena,
                              .pages = &rdf_os_pages,
                              .where = RDF_DEBUG_ANYWHERE};
    redefine_status status = rdf_images_load(&space, rdf_arch_native(), &arena, &images, err);
    if (status == REDEFINE_OK)
        status = judge_pair(&judge, target, replacement, &report, err);
    if (status == REDEFINE_OK)
        status = publish(&report, ret, err);
    rdf_judge_free(&judge);
    rdf_images_free(&images);
    rdf_arena_free(&arena);
    return status;
}

redefine_status redefine_func_check(void *target, void *replacement, redefine_check_report *ret_report)
{
    struct rdf_error err = {0};
    redefine_status status = !target || !ret_report
                                 ? rdf_fail(&err, REDEFINE_EINVAL,
                                            target ? "there is nowhere to put the report: ret_report is null"
                                                   : "the target is null")
                                 : check((uint64_t)(uintptr_t)target, (uint64_t)(uintptr_t)replacement,
                                         ret_report, &err);
    return status == REDEFINE_OK ? status : rdf_api_keep(&err);
}
