/* SPDX-License-Identifier: MIT
 *
 * What a redefinition of a function would meet: the verdict, and the hazards behind it, each with what to do
 * about it. A verdict is a function of facts that others gathered; making it reads nothing and changes
 * nothing.
 *
 *   facts.c    what the code itself tells: who calls, clones, other names, registers left alone
 *   verdict.c  facts → hazards → verdict
 *   twins.c    functions that the compiler found to be equal (twins.h)
 *   clone.c    which clones a replacement would do for as well (clone.h)
 *   compare.c  two functions' types, as debug data describes them → hazards (compare.h)
 *   array.c    rows and columns of theirs (array.h)
 */
#ifndef RDF_CHECK_CHECK_H
#define RDF_CHECK_CHECK_H

#include "base/arena.h"
#include "base/error.h"
#include "check/facts.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, text in JSON and in messages) */
#define RDF_HAZARD_LIST(X)            \
    X(INLINED, "inlined")             \
    X(CLONE, "clone")                 \
    X(FOLDED, "folded")               \
    X(ALIAS, "alias")                 \
    X(IPA_RA, "ipa-ra")               \
    X(SIGNATURE, "signature")         \
    X(LAYOUT, "layout")               \
    X(NO_CALLER, "no-caller")         \
    X(NO_DEBUG_INFO, "no-debug-info") \
    X(SHORT, "short")

#define RDF_SEVERITY_LIST(X) \
    X(NOTE, "note")          \
    X(WARNING, "warning")    \
    X(BLOCKER, "blocker")

#define RDF_VERDICT_LIST(X) \
    X(OK, "ok")             \
    X(PARTIAL, "partial")   \
    X(UNSAFE, "unsafe")     \
    X(UNKNOWN, "unknown")

enum rdf_hazard_kind {
#define RDF_HAZARD_ENUMERATOR(name, text) RDF_HAZARD_##name,
    RDF_HAZARD_LIST(RDF_HAZARD_ENUMERATOR)
#undef RDF_HAZARD_ENUMERATOR
};

/* note: handled, or good to know; warning: calls will not reach the replacement, or it cannot be told;
 * blocker: the program would misbehave, or the function cannot be changed at all. */
enum rdf_severity {
#define RDF_SEVERITY_ENUMERATOR(name, text) RDF_SEVERITY_##name,
    RDF_SEVERITY_LIST(RDF_SEVERITY_ENUMERATOR)
#undef RDF_SEVERITY_ENUMERATOR
};

enum rdf_verdict {
#define RDF_VERDICT_ENUMERATOR(name, text) RDF_VERDICT_##name,
    RDF_VERDICT_LIST(RDF_VERDICT_ENUMERATOR)
#undef RDF_VERDICT_ENUMERATOR
};

const char *rdf_hazard_name(enum rdf_hazard_kind kind);
const char *rdf_severity_name(enum rdf_severity severity);
const char *rdf_verdict_name(enum rdf_verdict verdict);

struct rdf_hazard {
    enum rdf_hazard_kind kind;
    enum rdf_severity severity;
    const char *file;   /* source file; null: not known */
    uint32_t line;      /* 0: not known */
    const char *caller; /* the function that holds the inlined copy, or the clone's name; null: none */
    const char
        *detail; /* what is the matter and what to do: the attribute, the flag, whom to redefine instead */
    const struct rdf_hazard *next;
};

struct rdf_report {
    const char *name;
    uint64_t addr; /* 0: no body of its own */
    uint64_t size_bytes;
    enum rdf_verdict verdict;
    const char *strategy; /* by which it would be redefined, in a word; null: not asked, or none fits */
    const struct rdf_hazard *hazard; /* in the order of finding: inlined copies first */
    struct rdf_hazard *last_hazard;  /* for those who add; null: there are none */
    size_t hazard_count;
};

/* One place where the function's body was copied into another function. */
struct rdf_check_inlined {
    const char *caller;
    const char *file;
    uint32_t line;
    uint64_t addr; /* where the copy begins; 0: not known */
    bool is_self;  /* in the function itself: unrolled recursion */
    bool is_other_object;
};

/* What debug data tells of the function. */
struct rdf_check_debug {
    const struct rdf_check_inlined *inlined;
    size_t inlined_count; /* as many as are listed */
    size_t inlined_total; /* as many as there are */
    const char *decl_file;
    uint32_t decl_line;
    bool is_nocall; /* the compiler chose another way to call it */
    bool is_folded; /* it was inlined, and where that was is not written down */
};

/* What the planner said of the entry; a plain record, since the planner is a sibling of this room. */
struct rdf_check_window {
    redefine_status status; /* of rdf_plan_window */
    const char *sentence;   /* its error, or null */
    bool is_slow;           /* a trap */
};

struct rdf_check_subject {
    const char *name;
    uint64_t addr;
    uint64_t size_bytes;
    const struct rdf_facts *facts;         /* null: the code was not looked at */
    const struct rdf_check_debug *debug;   /* null: there is no debug data that covers it */
    const char *no_debug_reason;           /* why there is none: "no .debug_info in …"; may be null */
    const struct rdf_check_window *window; /* null: not asked */
    bool takes_clones;                     /* those that fit are to be redefined with it */
};

/* The verdict on one function. Strings are borrowed from `subject`, new ones come from `arena`. */
redefine_status rdf_check_verdict(const struct rdf_check_subject *subject, struct rdf_arena *arena,
                                  struct rdf_report *ret, struct rdf_error *err);

/* One hazard more, worked out elsewhere (types); the verdict follows. One that is there already is not added.
 */
redefine_status rdf_check_add(struct rdf_report *report, struct rdf_arena *arena,
                              const struct rdf_hazard *hazard, struct rdf_error *err);

/* That the compiler chose another way to call the function. */
extern const struct rdf_hazard rdf_hazard_nocall;

/* The same, its detail written by `format`. */
__attribute__((format(printf, 5, 0))) redefine_status
rdf_check_vadd(struct rdf_report *report, struct rdf_arena *arena, struct rdf_hazard hazard,
               struct rdf_error *err, const char *format, va_list args);

#endif
