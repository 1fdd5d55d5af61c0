/* SPDX-License-Identifier: MIT */
#include "api/go_judge.h"

#include "image/calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SITES_OF_ONE = 1000, /* listed, when one function is asked for … */
    SITES_OF_MANY = 20,  /* … and of each of many */
};

const struct rdf_go_abi *rdf_go_abi_of(const struct rdf_images *images)
{
    return images->arch == rdf_arch_native() ? rdf_go_abi_native() : NULL;
}

/* ---- The plan ---- */

/* Of an assembly function, which keeps arguments on the stack, Go code calls a wrapper of the same name. */
static uint64_t called_by_go(struct rdf_images *images, uint64_t entry)
{
    const struct rdf_go *go = rdf_go_at(images, entry);
    struct rdf_go_func func, other;
    if (!go || !rdf_go_func_at(go, entry, &func) || !(func.flags & RDF_GO_ASM))
        return entry;
    for (uint32_t from = 0; rdf_go_func_named(go, func.name, from, &other); from = other.index + 1)
        if (!(other.flags & RDF_GO_ASM))
            return other.entry;
    return entry;
}

/* The function of an instantiation's own, which is redefined with its shape's. */
static redefine_status plan_own(struct rdf_images *images, const struct rdf_go_abi *abi,
                                const struct rdf_go_target *target, struct rdf_go_plan *ret,
                                struct rdf_error *err)
{
    struct rdf_go_target own;
    redefine_status status = rdf_go_target_own(images, abi, target, &own, err);
    return status == REDEFINE_OK ? rdf_go_plan_way(images, abi, &own, ret, err) : status;
}

redefine_status rdf_go_judge_plan(struct rdf_images *images, uint64_t entry, struct rdf_go_plan *ret,
                                  struct rdf_error *err)
{
    const struct rdf_go_abi *abi = rdf_go_abi_of(images);
    struct rdf_go_target target;
    if (!abi)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "Go's calling convention on %s is not known here: its functions cannot be redefined",
                        images->arch->name);
    redefine_status status = rdf_go_target(images, abi, called_by_go(images, entry), NULL, &target, err);
    if (status == REDEFINE_OK)
        status = rdf_go_target_begin(abi, &target, err);
    if (status == REDEFINE_OK && target.is_generic)
        status = plan_own(images, abi, &target, ret, err);
    return status == REDEFINE_OK ? rdf_go_plan_way(images, abi, &target, ret, err) : status;
}

/* ---- Hazards ---- */

struct judging {
    struct rdf_judge *judge;
    const struct rdf_function *const *function;
    struct rdf_report *const *report;
    size_t count;
    struct rdf_references *calls;
    size_t *sites; /* of each function, as many as there are */
    size_t sites_max;
    uint32_t *slot; /* names → function + 1 */
    size_t slot_count;
    struct rdf_error *err;
    bool failed;
};

__attribute__((format(printf, 4, 5))) static void tell(struct judging *judging, struct rdf_report *report,
                                                       struct rdf_hazard hazard, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (rdf_check_vadd(report, judging->judge->arena, hazard, judging->err, format, args) != REDEFINE_OK)
        judging->failed = true;
    va_end(args);
}

static const char *copy_of(struct judging *judging, const char *text)
{
    const char *copy = rdf_arena_copy(judging->judge->arena, text, strlen(text));
    judging->failed |= !copy;
    return copy;
}

static void tell_site(struct judging *judging, struct rdf_report *report, enum rdf_severity severity,
                      const char *name, const struct rdf_go_site *site)
{
    char flag[RDF_SENTENCE_BYTES];
    rdf_go_inlining_flag(name, "", flag, sizeof flag);
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_INLINED,
                                .severity = severity,
                                .file = *site->file ? copy_of(judging, site->file) : NULL,
                                .line = site->line,
                                .caller = copy_of(judging, site->caller)};
    tell(judging, report, hazard,
         "inlined into %s, where a replacement is not called: build with %s, or put //go:noinline above %s",
         site->caller, flag, name);
}

/* ---- Inlined copies, of all functions in one pass ---- */

static size_t first_slot(const struct judging *judging, const char *name)
{
    uint64_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return (size_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 20) % judging->slot_count;
}

static void note_names(struct judging *judging)
{
    for (size_t i = 0; i < judging->count; i++) {
        size_t slot = first_slot(judging, judging->report[i]->name);
        while (judging->slot[slot])
            slot = (slot + 1) % judging->slot_count;
        judging->slot[slot] = (uint32_t)i + 1;
    }
}

static bool visit_site(void *ctx, const struct rdf_go_site *site)
{
    struct judging *judging = ctx;
    for (size_t slot = first_slot(judging, site->name); judging->slot[slot];
         slot = (slot + 1) % judging->slot_count) {
        size_t index = judging->slot[slot] - 1;
        struct rdf_report *report = judging->report[index];
        if (strcmp(report->name, site->name) == 0 && judging->sites[index]++ < judging->sites_max)
            tell_site(judging, report, RDF_SEVERITY_WARNING, report->name, site);
    }
    return !judging->failed;
}

static void tell_inlined(struct judging *judging, const struct rdf_go *go)
{
    size_t damaged = 0;
    note_names(judging);
    rdf_go_each_inlined(go, NULL, visit_site, judging, &damaged);
    for (size_t i = 0; i < judging->count; i++) {
        if (judging->sites[i] > judging->sites_max)
            tell(judging, judging->report[i],
                 (struct rdf_hazard){.kind = RDF_HAZARD_INLINED, .severity = RDF_SEVERITY_WARNING},
                 "inlined in %zu more places that are not listed", judging->sites[i] - judging->sites_max);
        if (damaged)
            tell(judging, judging->report[i],
                 (struct rdf_hazard){.kind = RDF_HAZARD_NO_DEBUG_INFO, .severity = RDF_SEVERITY_WARNING},
                 "the tables of %zu functions, which say what was inlined there, are damaged", damaged);
    }
}

/* ---- One function ---- */

static void tell_callers(struct judging *judging, size_t index, const struct rdf_go_target *target)
{
    struct rdf_report *report = judging->report[index];
    const struct rdf_references *calls = &judging->calls[index];
    size_t direct = (size_t)calls->calls + calls->jumps;
    bool is_referred_to = direct || calls->addresses;
    bool can_vanish = rdf_go_target_can_vanish(target);
    bool is_reached_otherwise = strchr(report->name, '(') || strstr(report->name, ".func");
    char flag[RDF_SENTENCE_BYTES];
    if (judging->sites[index] || (!can_vanish && (is_referred_to || is_reached_otherwise)))
        return;
    rdf_go_inlining_flag(report->name, "", flag, sizeof flag);
    if (direct)
        tell(judging, report,
             (struct rdf_hazard){.kind = RDF_HAZARD_NO_DEBUG_INFO, .severity = RDF_SEVERITY_NOTE},
             "%zu direct call%s of it prove that it is used; it is so small that others can have been "
             "computed where they were, which leaves no trace: %s is certain",
             direct, direct == 1 ? "" : "s", flag);
    else if (can_vanish)
        tell(judging, report,
             (struct rdf_hazard){.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_BLOCKER},
             "nothing calls %s any more: it is so small that the compiler computed its calls where they "
             "were, and left no trace; build with %s",
             report->name, flag);
    else
        tell(judging, report,
             (struct rdf_hazard){.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_WARNING},
             "nothing calls %s and nothing takes its address: nobody would notice a replacement",
             report->name);
}

/* An instantiation's body, and no function that the compiler made for a type (type:.eq.[2]T; type..eq before
 * Go 1.20). */
static bool is_shared_by_instantiations(const char *name)
{
    return strchr(name, '[') && strncmp(name, "type:", 5) != 0 && strncmp(name, "type..", 6) != 0;
}

/* What is redefined is not what was named. */
static void tell_target(struct judging *judging, struct rdf_report *report, const struct rdf_go_plan *plan)
{
    const struct rdf_go_target *target = &plan->target;
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_ALIAS,
                                .severity = RDF_SEVERITY_NOTE,
                                .caller = target->func.name};
    if (target->is_generic)
        tell(judging, report, hazard,
             "one instantiation: it passes its dictionary to %s at 0x%" PRIx64
             ", whose entry is changed with its own; other instantiations of that shape keep the original",
             target->func.name, target->func.entry);
    else if (target->func.entry != report->addr)
        tell(judging, report, hazard,
             "it is written in assembly; Go code calls the wrapper of that name at 0x%" PRIx64
             ", whose entry is changed: calls from other assembly do not notice",
             target->func.entry);
    else if (is_shared_by_instantiations(target->func.name)) {
        hazard.caller = NULL;
        tell(judging, report, hazard,
             "all instantiations of this shape run it: give the package the function itself, F[T], to "
             "redefine one of them");
    }
}

/* Where calls with that dictionary never go, nothing is to be said. */
static void tell_other(struct judging *judging, struct rdf_report *report, const struct rdf_go_plan *plan,
                       const struct rdf_go_func *func)
{
    struct rdf_images *images = judging->judge->images;
    const struct rdf_go_target *target = &plan->target;
    struct rdf_error why = {0};
    struct rdf_go_target other;
    bool is_called = true;
    redefine_status status = rdf_go_target_other(images, plan->abi, target, func, &other, &why);
    if (status == REDEFINE_OK)
        status = rdf_go_target_shares_calls(images, target, target->entry.more, func, other.entry.more,
                                            &is_called, &why);
    if (!is_called)
        return;
    tell(judging, report,
         (struct rdf_hazard){.kind = RDF_HAZARD_CLONE,
                             .severity = status == REDEFINE_OK ? RDF_SEVERITY_NOTE : RDF_SEVERITY_BLOCKER,
                             .caller = func->name},
         "%s at 0x%" PRIx64
         " is another body of it, which generic functions call with types made of their parameters: %s",
         func->name, func->entry,
         status == REDEFINE_OK ? "nothing is to be done, it is redefined with it" : why.sentence);
}

/* The other bodies that the package would redefine with an instantiation, or refuse it for. Each takes a look
 * at all code: only where one function is asked about. */
static void tell_others(struct judging *judging, struct rdf_report *report, const struct rdf_go_plan *plan)
{
    struct rdf_images *images = judging->judge->images;
    struct rdf_go_others others;
    struct rdf_error why = {0};
    char flag[RDF_SENTENCE_BYTES];
    if (rdf_go_target_others(images, plan->abi, &plan->target, judging->judge->arena, &others, &why) !=
        REDEFINE_OK) {
        judging->failed = true;
        return;
    }
    for (size_t i = 0; i < others.count; i++)
        tell_other(judging, report, plan, &others.func[i]);
    if (others.inlined) {
        rdf_go_inlining_flag(others.inlined, "", flag, sizeof flag);
        tell(judging, report,
             (struct rdf_hazard){.kind = RDF_HAZARD_INLINED, .severity = RDF_SEVERITY_BLOCKER},
             "%s, another body of it, was inlined, where a replacement is not called: build with %s, or put "
             "//go:noinline above it",
             others.inlined, flag);
    }
}

static void judge_one(struct judging *judging, size_t index)
{
    struct rdf_report *report = judging->report[index];
    struct rdf_error why = {0};
    struct rdf_go_plan plan;
    redefine_status status = rdf_go_judge_plan(judging->judge->images, report->addr, &plan, &why);
    if (status == REDEFINE_OK) {
        report->strategy = rdf_go_way_word(plan.way);
        tell_target(judging, report, &plan);
        if (!plan.target.is_generic)
            tell_callers(judging, index, &plan.target);
        else if (judging->count == 1)
            tell_others(judging, report, &plan);
        return;
    }
    bool is_other = status == REDEFINE_EWRAPPER || status == REDEFINE_EBOUND;
    tell(judging, report,
         (struct rdf_hazard){.kind = is_other ? RDF_HAZARD_ALIAS : RDF_HAZARD_SHORT,
                             .severity = RDF_SEVERITY_BLOCKER},
         "%s", why.sentence);
}

redefine_status rdf_go_judge_functions(struct rdf_judge *judge, const struct rdf_function *const *function,
                                       size_t count, struct rdf_report *const *ret, struct rdf_error *err)
{
    struct rdf_arena scratch;
    rdf_arena_init(&scratch, judge->pages);
    struct judging judging = {.judge = judge,
                              .function = function,
                              .report = ret,
                              .count = count,
                              .calls = rdf_arena_alloc(&scratch, count * sizeof *judging.calls),
                              .sites = rdf_arena_alloc(&scratch, count * sizeof *judging.sites),
                              .sites_max = count == 1 ? SITES_OF_ONE : SITES_OF_MANY,
                              .slot = rdf_arena_alloc(&scratch, (2 * count + 1) * sizeof *judging.slot),
                              .slot_count = 2 * count + 1,
                              .err = err};
    redefine_status status = REDEFINE_OK;
    if (!judging.calls || !judging.sites || !judging.slot)
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for the verdicts on %zu functions", count);
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++) {
        judging.calls[i] = (struct rdf_references){.start = function[i]->start, .end = function[i]->end};
        *ret[i] = (struct rdf_report){.name = function[i]->name ? function[i]->name : "",
                                      .addr = function[i]->start,
                                      .size_bytes = function[i]->end - function[i]->start};
    }
    if (status == REDEFINE_OK)
        status = rdf_image_references(judge->images, function[0]->image, judging.calls, count, false, NULL,
                                      NULL, err);
    if (status == REDEFINE_OK)
        tell_inlined(&judging, rdf_go_at(judge->images, function[0]->start));
    for (size_t i = 0; i < count && status == REDEFINE_OK && !judging.failed; i++)
        judge_one(&judging, i);
    rdf_arena_free(&scratch);
    return judging.failed ? rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found") : status;
}

/* ---- Without a body ---- */

struct bodiless {
    struct judging judging;
    struct rdf_report report;
    size_t sites;
};

static bool visit_bodiless(void *ctx, const struct rdf_go_site *site)
{
    struct bodiless *bodiless = ctx;
    if (bodiless->sites++ < SITES_OF_ONE)
        tell_site(&bodiless->judging, &bodiless->report, RDF_SEVERITY_BLOCKER, bodiless->report.name, site);
    return !bodiless->judging.failed;
}

redefine_status rdf_go_judge_inlined(struct rdf_judge *judge, const char *name, struct rdf_report *ret,
                                     struct rdf_error *err)
{
    struct bodiless bodiless = {.judging = {.judge = judge, .err = err}, .report = {.name = name}};
    char flag[RDF_SENTENCE_BYTES];
    rdf_go_inlined(judge->images, name, visit_bodiless, &bodiless);
    if (!bodiless.sites)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "no Go function called %s was inlined anywhere", name);
    rdf_go_inlining_flag(name, "", flag, sizeof flag);
    tell(&bodiless.judging, &bodiless.report,
         (struct rdf_hazard){.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_BLOCKER},
         "%s has no code of its own: every call was inlined; build with %s, or put //go:noinline above it",
         name, flag);
    if (bodiless.judging.failed)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    *ret = bodiless.report;
    return REDEFINE_OK;
}
