/* SPDX-License-Identifier: MIT
 *
 * A failure: its status and the one sentence that says what, where, why and what to do about it.
 * Filled by the room that knows the reason, carried upwards unchanged.
 */
#ifndef RDF_BASE_ERROR_H
#define RDF_BASE_ERROR_H

#include <redefine/status.h>

enum { RDF_SENTENCE_BYTES = 1024 };

struct rdf_error {
    redefine_status status;
    char sentence[RDF_SENTENCE_BYTES];
};

/* No failure so far. Not all of a kilobyte: this is asked for again and again in a big batch. */
static inline void rdf_error_clear(struct rdf_error *err)
{
    err->status = REDEFINE_OK;
    err->sentence[0] = 0;
}

/* Records the failure and returns `status`, so that `return rdf_fail(err, …);` is the way out.
 * The first failure wins: what comes after it while unwinding is a consequence. `err` may be null. */
redefine_status rdf_fail(struct rdf_error *err, redefine_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The analyser does not see which status comes back, and would go on as if nothing had failed. */
#ifdef __clang_analyzer__
#define rdf_fail(err, status, ...) (rdf_fail((err), (status), __VA_ARGS__), (status))
#endif

/* "EPERM (Operation not permitted)" style text for an errno value; static storage, never null. */
const char *rdf_errno_name(int errno_value);

#endif
