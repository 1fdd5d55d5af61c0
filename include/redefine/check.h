/* SPDX-License-Identifier: MIT
 *
 * Know before you patch: what a redefinition would meet, from the program's own debug data and code.
 *
 *     redefine_check_report report;
 *     if (redefine_check(parse, my_parse, &report) == REDEFINE_OK) {
 *         for (size_t i = 0; i < report.hazard_count; i++)
 *             printf("%s:%u: %s\n", report.hazard[i].file, report.hazard[i].line, report.hazard[i].detail);
 *         redefine_check_report_free(&report);
 *     }
 *
 * redefine() itself refuses a function that is known to be inlined elsewhere: REDEFINE_EINLINED, with the
 * places in redefine_explain(). Known it is where the program, or the object of the function, was compiled
 * with -g. The environment variable REDEFINE_CHECK=off, or redefine_set_inlined_ok(1), lets such
 * redefinitions pass.
 */
#ifndef REDEFINE_CHECK_H
#define REDEFINE_CHECK_H

#include <redefine/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum redefine_verdict {
    REDEFINE_VERDICT_OK = 0,      /* every call will reach the replacement, as far as can be known */
    REDEFINE_VERDICT_PARTIAL = 1, /* some calls will not */
    REDEFINE_VERDICT_UNSAFE = 2,  /* it cannot be done, would do nothing, or the program would misbehave */
    REDEFINE_VERDICT_UNKNOWN = 3  /* there is no debug data to tell */
} redefine_verdict;

typedef struct redefine_hazard {
    /* inlined clone folded alias ipa-ra signature layout no-caller no-debug-info short */
    const char *kind;
    const char *severity; /* note (handled), warning, blocker */
    const char *file;     /* "" when it is not known, like the others */
    unsigned line;        /* 0: not known */
    const char *caller;
    const char *detail; /* what is the matter, and what to do about it */
} redefine_hazard;

typedef struct redefine_check_report {
    redefine_verdict verdict;
    uint64_t size_bytes; /* of the target's code */
    size_t hazard_count;
    const redefine_hazard *hazard;
    void *memory; /* the library's */
} redefine_check_report;

/* redefine_func_check: the verdict on a redefinition of `target` by `replacement`; changes nothing.
 *
 * Shapes:   `replacement` null: only the target is judged, not the types. *ret_report is filled on success:
 *           give it back with redefine_check_report_free.
 * Effects:  reads the files of both objects and their debug data, also separate files under
 *           /usr/lib/debug; for a large program that takes a second. Uses no malloc of the program, except
 *           where a C++ name is printed.
 * Errors:   REDEFINE_EINVAL REDEFINE_EUNSUPPORTED as redefine_func; REDEFINE_ENOMEM REDEFINE_ESYSTEM */
redefine_status redefine_func_check(void *target, void *replacement, redefine_check_report *ret_report);

/* Null and a zeroed report are fine. */
void redefine_check_report_free(redefine_check_report *report);

/* "ok", "partial", "unsafe", "unknown"; never null. */
const char *redefine_verdict_name(redefine_verdict verdict);

/* Whether functions may be redefined that are known to be inlined elsewhere: 1 yes, 0 no (as it is at
 * first). For the whole process; the former answer is returned. */
int redefine_set_inlined_ok(int ok);

#ifdef __cplusplus
}
#endif

/* redefine_check(target, replacement, &report): redefine_func_check. Types are compared as debug data tells
 * them, not by the compiler: to find out where they differ is the purpose. */
#ifdef __cplusplus
template <class T, class N>
inline redefine_status redefine_check(T *target, N *replacement, redefine_check_report *ret_report)
{
    return redefine_func_check(reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(target)),
                               reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(replacement)),
                               ret_report);
}
template <class T>
inline redefine_status redefine_check(T *target, decltype(nullptr), redefine_check_report *ret_report)
{
    return redefine_func_check(reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(target)), nullptr,
                               ret_report);
}
#else
#define redefine_check(target, replacement, ret_report) \
    redefine_func_check((void *)(uintptr_t)(target), (void *)(uintptr_t)(replacement), ret_report)
#endif

#endif
