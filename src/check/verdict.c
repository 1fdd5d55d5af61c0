/* SPDX-License-Identifier: MIT
 *
 * Facts → hazards → the verdict. Each hazard's detail says what is the matter and what can be done about it.
 */
#include "check/check.h"

#include "check/text.h"
#include "check/twins.h"

#include <string.h>

static const char *const hazard_names[] = {
#define HAZARD_NAME(name, text) text,
    RDF_HAZARD_LIST(HAZARD_NAME)
#undef HAZARD_NAME
};
static const char *const severity_names[] = {
#define SEVERITY_NAME(name, text) text,
    RDF_SEVERITY_LIST(SEVERITY_NAME)
#undef SEVERITY_NAME
};
static const char *const verdict_names[] = {
#define VERDICT_NAME(name, text) text,
    RDF_VERDICT_LIST(VERDICT_NAME)
#undef VERDICT_NAME
};

const char *rdf_hazard_name(enum rdf_hazard_kind kind)
{
    return hazard_names[kind];
}

const char *rdf_severity_name(enum rdf_severity severity)
{
    return severity_names[severity];
}

const char *rdf_verdict_name(enum rdf_verdict verdict)
{
    return verdict_names[verdict];
}

const struct rdf_hazard rdf_hazard_nocall = {
    .kind = RDF_HAZARD_SIGNATURE,
    .severity = RDF_SEVERITY_BLOCKER,
    .detail =
        "the compiler changed how the target is called (DW_CC_nocall), so that its parameters are not where "
        "its declaration puts them: mark it __attribute__((used)), or redefine its callers instead"};

/* ---- Reports ---- */

/* Blockers weigh most; then what is certain to miss; then what could not be seen. */
static enum rdf_verdict weigh(enum rdf_verdict before, const struct rdf_hazard *hazard)
{
    if (before == RDF_VERDICT_UNSAFE || hazard->severity == RDF_SEVERITY_BLOCKER)
        return RDF_VERDICT_UNSAFE;
    if (before == RDF_VERDICT_PARTIAL || hazard->severity != RDF_SEVERITY_WARNING)
        return before;
    return hazard->kind == RDF_HAZARD_NO_DEBUG_INFO ? RDF_VERDICT_UNKNOWN : RDF_VERDICT_PARTIAL;
}

/* In the same time however many there are: a file may give one place a hundred thousand names. */
static redefine_status append(struct rdf_report *report, struct rdf_arena *arena,
                              const struct rdf_hazard *hazard, struct rdf_error *err)
{
    struct rdf_hazard *copy = rdf_arena_alloc(arena, sizeof *copy);
    if (!copy)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    *copy = *hazard;
    copy->next = NULL;
    if (report->last_hazard)
        report->last_hazard->next = copy;
    else
        report->hazard = copy;
    report->last_hazard = copy;
    report->hazard_count++;
    report->verdict = weigh(report->verdict, hazard);
    return REDEFINE_OK;
}

redefine_status rdf_check_add(struct rdf_report *report, struct rdf_arena *arena,
                              const struct rdf_hazard *hazard, struct rdf_error *err)
{
    for (const struct rdf_hazard *known = report->hazard; known; known = known->next)
        if (known->detail == hazard->detail)
            return REDEFINE_OK;
    return append(report, arena, hazard, err);
}

redefine_status rdf_check_vadd(struct rdf_report *report, struct rdf_arena *arena, struct rdf_hazard hazard,
                               struct rdf_error *err, const char *format, va_list args)
{
    char text[2048];
    int len = vsnprintf(text, sizeof text, format, args);
    size_t used = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    hazard.detail = rdf_arena_copy(arena, text, used);
    if (!hazard.detail)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    return append(report, arena, &hazard, err);
}

/* What the steps below share. */
struct making {
    const struct rdf_check_subject *subject;
    const char *source; /* what the source calls the function: attributes are for that */
    bool is_piece;
    struct rdf_arena *arena;
    struct rdf_report *report;
    struct rdf_error *err;
    bool failed;
};

__attribute__((format(printf, 3, 4))) static void add(struct making *making, struct rdf_hazard hazard,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (rdf_check_vadd(making->report, making->arena, hazard, making->err, format, args) != REDEFINE_OK)
        making->failed = true;
    va_end(args);
}

/* ---- The hazards ---- */

static bool is_called(const struct rdf_facts *facts)
{
    return facts->direct_calls > 0 || facts->taken_addresses > 0 || facts->is_exported;
}

static void tell_inlined(struct making *making)
{
    const struct rdf_check_subject *subject = making->subject;
    const struct rdf_check_debug *debug = subject->debug;
    bool nothing_left = !subject->addr;
    for (size_t i = 0; debug && i < debug->inlined_count; i++) {
        const struct rdf_check_inlined *site = &debug->inlined[i];
        const char *caller = site->caller ? site->caller : "a function without a name";
        struct rdf_hazard hazard = {.kind = RDF_HAZARD_INLINED,
                                    .severity = nothing_left    ? RDF_SEVERITY_BLOCKER
                                                : site->is_self ? RDF_SEVERITY_NOTE
                                                                : RDF_SEVERITY_WARNING,
                                    .file = site->file,
                                    .line = site->line,
                                    .caller = site->caller};
        if (site->is_self)
            add(making, hazard,
                "unrolled into itself, where a replacement is not called: mark %s __attribute__((noinline)), "
                "if its own calls matter",
                making->source);
        else
            add(making, hazard,
                "inlined into %s, where a replacement is not called: mark %s __attribute__((noinline)), or "
                "redefine %s instead",
                caller, making->source, caller);
    }
    if (debug && debug->inlined_total > debug->inlined_count)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_INLINED, .severity = RDF_SEVERITY_WARNING},
            "inlined in %zu more places that are not listed: mark %s __attribute__((noinline))",
            debug->inlined_total - debug->inlined_count, making->source);
    if (debug && debug->is_folded)
        add(making,
            (struct rdf_hazard){.kind = RDF_HAZARD_INLINED,
                                .severity = nothing_left ? RDF_SEVERITY_BLOCKER : RDF_SEVERITY_WARNING},
            "inlined, where a replacement is not called, and its copies folded away, so that debug data does "
            "not tell where: mark %s __attribute__((noipa))",
            making->source);
    if (nothing_left && subject->facts)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_BLOCKER},
            "%s has no code of its own, only clones of it, whose parameters the compiler chose: mark it "
            "__attribute__((noipa)), or redefine its callers instead",
            subject->name);
    else if (nothing_left)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_BLOCKER},
            "%s has no code of its own: every call was inlined; mark it __attribute__((noinline)), or "
            "redefine its callers instead",
            subject->name);
}

static void tell_callers(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    const struct rdf_check_debug *debug = making->subject->debug;
    if (!facts || !facts->is_complete || !making->subject->addr || is_called(facts))
        return;
    const char *name = making->subject->name, *source = making->source;
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_NO_CALLER, .severity = RDF_SEVERITY_WARNING};
    if (making->is_piece) {
        add(making, hazard,
            "nothing calls %s: it is a piece of %s, which goes on there: redefine %s instead, or mark it "
            "__attribute__((noipa))",
            name, source, source);
    } else if (debug && (debug->inlined_total > 0 || debug->is_folded)) {
        hazard.severity = RDF_SEVERITY_BLOCKER;
        add(making, hazard,
            "nothing calls the code of %s and nothing takes its address: only inlined copies run; mark %s "
            "__attribute__((noinline)), or redefine its callers instead",
            name, source);
    } else {
        add(making, hazard,
            "nothing calls %s and nothing takes its address: nobody would notice a replacement; redefine "
            "what is called instead of it, or, where the compiler did without calls that the source has, "
            "mark %s __attribute__((noipa))",
            name, source);
    }
}

static void tell_blind(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    const char *why = making->subject->no_debug_reason;
    if (making->subject->debug || (facts && facts->kept_twin))
        return;
    bool proven = facts && facts->is_complete && facts->direct_calls > 0;
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_NO_DEBUG_INFO,
                                .severity = proven ? RDF_SEVERITY_NOTE : RDF_SEVERITY_WARNING};
    if (proven)
        add(making, hazard,
            "%zu direct call%s that it is used; whether it was inlined elsewhere as well, only debug data "
            "tells: %s",
            facts->direct_calls, facts->direct_calls == 1 ? " of it proves" : "s of it prove",
            why ? why : "compile with -g");
    else
        add(making, hazard, "whether it was inlined cannot be told: %s", why ? why : "compile with -g");
}

static const char *clone_flag(enum rdf_clone_kind kind)
{
    return kind == RDF_CLONE_ISRA ? "-fno-ipa-sra" : "-fno-ipa-cp";
}

static void tell_way(struct making *making)
{
    const struct rdf_check_debug *debug = making->subject->debug;
    if (debug && debug->is_nocall && making->subject->addr &&
        rdf_check_add(making->report, making->arena, &rdf_hazard_nocall, making->err) != REDEFINE_OK)
        making->failed = true;
}

/* Pieces of the body are no functions: nobody calls them with its parameters. */
static void tell_piece(struct making *making, const struct rdf_clone *clone)
{
    const char *name = making->subject->name;
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_CLONE,
                                .severity = RDF_SEVERITY_NOTE,
                                .caller = clone->name};
    if (clone->kind == RDF_CLONE_COLD) {
        add(making, hazard, "%s is a piece of the body, its unlikely blocks: nothing is to be done about it",
            clone->name);
        return;
    }
    if (!making->subject->addr) {
        hazard.severity = RDF_SEVERITY_WARNING;
        add(making, hazard,
            "%s is the piece of the body that was not inlined: compile with -fno-partial-inlining, or mark "
            "%s __attribute__((noipa))",
            clone->name, name);
        return;
    }
    if (clone->direct_calls)
        hazard.severity = RDF_SEVERITY_WARNING;
    add(making, hazard,
        "%s is a piece of the body, and %zu direct call%s to it, from where the rest was inlined: compile "
        "with -fno-partial-inlining, or mark %s __attribute__((noipa))",
        clone->name, clone->direct_calls, clone->direct_calls == 1 ? " goes" : "s go", name);
}

static void tell_fitting(struct making *making, const struct rdf_clone *clone)
{
    bool takes = making->subject->takes_clones;
    add(making,
        (struct rdf_hazard){.kind = RDF_HAZARD_CLONE,
                            .severity = takes ? RDF_SEVERITY_NOTE : RDF_SEVERITY_WARNING,
                            .caller = clone->name},
        "%zu direct call%s to %s, which takes the same parameters: %s", clone->direct_calls,
        clone->direct_calls == 1 ? " goes" : "s go", clone->name,
        takes ? "nothing is to be done, --clones takes it along"
              : "redefine it too, with the same replacement, as --clones does");
}

static void tell_clone(struct making *making, const struct rdf_clone *clone)
{
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_CLONE,
                                .severity = clone->fit == RDF_CLONE_OTHER ? RDF_SEVERITY_NOTE
                                                                          : RDF_SEVERITY_WARNING,
                                .caller = clone->name};
    const char *calls = clone->direct_calls == 1 ? " goes" : "s go";
    const char *what = clone->difference ? clone->difference
                       : clone->fit == RDF_CLONE_UNTOLD
                           ? "may take other parameters, which only debug data (-g) tells"
                           : "takes other parameters";
    if (!making->subject->addr && clone->kind == RDF_CLONE_PROMOTED)
        add(making, hazard,
            "%s is what link-time optimization made of one of that name: redefine it by that name",
            clone->name);
    else if (!making->subject->addr)
        add(making, hazard, "%s is a clone of it: compile with %s, or mark %s __attribute__((noclone))",
            clone->name, clone_flag(clone->kind), making->subject->name);
    else if (clone->fit == RDF_CLONE_OTHER)
        add(making, hazard, "%s %s: redefine it by that name, if it is meant", clone->name, what);
    else if (clone->kind == RDF_CLONE_PROMOTED)
        add(making, hazard,
            "%zu direct call%s to %s, which %s: redefine it by that name, or mark %s "
            "__attribute__((noipa))",
            clone->direct_calls, calls, clone->name, what, making->subject->name);
    else
        add(making, hazard,
            "%zu direct call%s to %s, which %s; compile with %s, or mark %s __attribute__((noclone))",
            clone->direct_calls, calls, clone->name, what, clone_flag(clone->kind), making->subject->name);
}

/* Once for each line of the source. */
static bool is_told(const struct rdf_clone *clone, size_t index)
{
    const struct rdf_caller *caller = &clone->caller[index];
    for (size_t i = 0; i < index; i++)
        if (clone->caller[i].start == caller->start && clone->caller[i].line == caller->line &&
            clone->caller[i].file == caller->file)
            return true;
    return false;
}

/* Whose calls those are, as of copies. */
static void tell_clone_callers(struct making *making, const struct rdf_clone *clone)
{
    bool is_handled = clone->fit == RDF_CLONE_OTHER || clone->kind == RDF_CLONE_COLD ||
                      (clone->fit == RDF_CLONE_FITS && making->subject->takes_clones);
    for (size_t i = 0; !is_handled && i < clone->caller_count; i++) {
        const struct rdf_caller *caller = &clone->caller[i];
        if (!caller->name || caller->start == making->subject->addr || is_told(clone, i))
            continue;
        add(making,
            (struct rdf_hazard){.kind = RDF_HAZARD_CLONE,
                                .severity = RDF_SEVERITY_WARNING,
                                .file = caller->file,
                                .line = caller->line,
                                .caller = caller->name},
            "%s calls %s, where a replacement is not called: do what is said of %s, or redefine %s instead",
            caller->name, clone->name, clone->name, caller->name);
    }
    if (!is_handled && clone->caller_count && clone->direct_calls > clone->caller_count)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_CLONE, .severity = RDF_SEVERITY_WARNING},
            "%s is called in %zu more places that are not listed: do what is said of it", clone->name,
            clone->direct_calls - clone->caller_count);
}

static void tell_clones(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    for (size_t i = 0; facts && i < facts->clone_count; i++) {
        const struct rdf_clone *clone = &facts->clone[i];
        if (clone->kind == RDF_CLONE_COLD || clone->kind == RDF_CLONE_PART)
            tell_piece(making, clone);
        else if (clone->fit == RDF_CLONE_FITS)
            tell_fitting(making, clone);
        else
            tell_clone(making, clone);
        tell_clone_callers(making, clone);
    }
}

static void tell_names(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    for (size_t i = 0; facts && i < facts->other_name_count; i++) {
        const struct rdf_other_name *other = &facts->other_name[i];
        if (other->is_folded)
            add(making,
                (struct rdf_hazard){.kind = RDF_HAZARD_FOLDED,
                                    .severity = RDF_SEVERITY_WARNING,
                                    .caller = other->name},
                "%s has the same code, and the linker or compiler kept one of them: a replacement serves "
                "both; compile with -fno-ipa-icf and link with -Wl,--icf=none",
                other->name);
        else
            add(making,
                (struct rdf_hazard){.kind = RDF_HAZARD_ALIAS,
                                    .severity = RDF_SEVERITY_NOTE,
                                    .caller = other->name},
                "%s is another name of it, and a replacement serves both: nothing is to be done about it",
                other->name);
    }
}

static void tell_twins(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_FOLDED, .severity = RDF_SEVERITY_WARNING};
    if (!facts)
        return;
    hazard.caller = facts->kept_twin;
    if (facts->kept_twin)
        add(making, hazard,
            "%s has the same code, and the compiler let calls of %s in its own file go to that one: redefine "
            "%s too, or compile with -fno-ipa-icf, or mark %s __attribute__((noipa))",
            facts->kept_twin, making->source, facts->kept_twin, making->source);
    for (size_t i = 0; i < facts->twin_count; i++) {
        hazard.caller = facts->twin[i].name;
        add(making, hazard,
            "%s has the same code, and the compiler let calls of it in its own file go to %s: a replacement "
            "serves those, too; compile with -fno-ipa-icf, or mark %s __attribute__((noipa))",
            hazard.caller, making->subject->name, hazard.caller);
    }
}

/* What the relay cannot see to goes on without it. */
static void tell_ipa_ra(struct making *making)
{
    const struct rdf_facts *facts = making->subject->facts;
    if (!facts || (!facts->left_alone_names && !facts->is_misaligned))
        return;
    const char *caller = facts->relying && facts->relying->name ? facts->relying->name : NULL;
    const char *names = facts->left_alone_names;
    const char *stack = "leave the stack unaligned for";
    struct rdf_hazard hazard = {.kind = RDF_HAZARD_IPA_RA,
                                .severity = facts->relay_keeps ? RDF_SEVERITY_NOTE : RDF_SEVERITY_WARNING,
                                .caller = caller};
    if (facts->relay_keeps)
        add(making, hazard,
            "callers%s%s %s%s%s the call, and the relay sees to it: nothing is to be done (-fno-ipa-ra would "
            "spare it)",
            caller ? " like " : "", caller ? caller : "", names ? "rely on " : "", names ? names : stack,
            names ? " across" : "");
    else
        add(making, hazard,
            "callers%s%s %s%s%s the call, which cannot be seen to here: compile with -fno-ipa-ra, or mark it "
            "__attribute__((noipa))",
            caller ? " like " : "", caller ? caller : "", names ? "rely on " : "", names ? names : stack,
            names ? " across" : "");
}

static void tell_window(struct making *making)
{
    const struct rdf_check_window *window = making->subject->window;
    if (!window || !making->subject->addr)
        return;
    if (window->status != REDEFINE_OK)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_SHORT, .severity = RDF_SEVERITY_BLOCKER},
            "%s; compile it with -fpatchable-function-entry=16,14",
            window->sentence && *window->sentence ? window->sentence : "no strategy fits");
    else if (window->is_slow)
        add(making, (struct rdf_hazard){.kind = RDF_HAZARD_SHORT, .severity = RDF_SEVERITY_NOTE},
            "so short that only a trap fits, at some microseconds a call; -fpatchable-function-entry=16,14 "
            "makes room");
}

/* Who asks for a clone by its name may take it for the whole function. */
static void tell_own_clone(struct making *making)
{
    const char *name = making->subject->name, *source = making->source;
    enum rdf_clone_kind kind;
    size_t unused;
    bool is_renamed = rdf_clone_of(name, &kind, &unused) && kind == RDF_CLONE_PROMOTED;
    if (source == name || !making->subject->addr || is_renamed)
        return;
    add(making,
        (struct rdf_hazard){.kind = RDF_HAZARD_CLONE, .severity = RDF_SEVERITY_NOTE, .caller = source},
        making->is_piece
            ? "it is a piece of %s that the compiler split off: whoever calls %s runs that first; mark it "
              "__attribute__((noipa)) to have it in one piece"
            : "it is a clone of %s, for some of the callers; %s is a function of its own: mark it "
              "__attribute__((noipa)) to have no clones",
        source, source);
}

/* A clone's name is the source's, and what the compiler put behind it; demanglers put it in brackets. */
static const char *source_name(const struct rdf_check_subject *subject, struct rdf_arena *arena,
                               bool *ret_is_piece)
{
    enum rdf_clone_kind kind;
    size_t source_bytes;
    const char *bracket = strstr(subject->name, " [clone ");
    *ret_is_piece = false;
    if (!rdf_clone_of(subject->name, &kind, &source_bytes))
        return subject->name;
    *ret_is_piece = kind == RDF_CLONE_PART || kind == RDF_CLONE_COLD;
    if (bracket)
        source_bytes = (size_t)(bracket - subject->name);
    return rdf_arena_copy(arena, subject->name, source_bytes);
}

redefine_status rdf_check_verdict(const struct rdf_check_subject *subject, struct rdf_arena *arena,
                                  struct rdf_report *ret, struct rdf_error *err)
{
    struct rdf_report report = {.name = subject->name,
                                .addr = subject->addr,
                                .size_bytes = subject->size_bytes};
    struct making making = {.subject = subject, .arena = arena, .report = &report, .err = err};
    making.source = source_name(subject, arena, &making.is_piece);
    if (!making.source)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    tell_inlined(&making);
    tell_own_clone(&making);
    tell_callers(&making);
    tell_blind(&making);
    tell_way(&making);
    tell_clones(&making);
    tell_names(&making);
    tell_twins(&making);
    tell_ipa_ra(&making);
    tell_window(&making);
    if (making.failed)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for what was found");
    *ret = report;
    return REDEFINE_OK;
}
