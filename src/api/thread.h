/* SPDX-License-Identifier: MIT
 *
 * What the library keeps of each thread that has asked it for something that only this thread is to see: its
 * own redefinitions and its last failure.
 */
#ifndef RDF_API_THREAD_H
#define RDF_API_THREAD_H

#include "core/engine.h"

struct rdf_thread_record {
    uint64_t own[RDF_SELECTORS_MAX]; /* its replacements, as selectors look for them; 0: none */
    size_t own_count;
    uint32_t tid;
    struct rdf_thread_record *older;
    struct rdf_error last_error;
    char description[RDF_SENTENCE_BYTES]; /* the line that redefine_describe returns */
};

/* The running thread's record, or null when it has none yet. */
struct rdf_thread_record *rdf_thread_known(void);

/* The same, made when there is none: perhaps one of a thread that has ended. Null: no memory. */
struct rdf_thread_record *rdf_thread_get(void);

/* The same, where something must be kept for the thread to be read at once: without memory all threads
 * share one, which must then do. */
struct rdf_thread_record *rdf_thread_somewhere(void);
const struct rdf_thread_record *rdf_thread_known_or_shared(void);

/* Set or clear (0) the running thread's replacement number `index`. */
void rdf_thread_set(struct rdf_thread_record *thread, uint32_t index, uint64_t replacement);

/* Whether another thread that still exists has a replacement number `index`. */
bool rdf_thread_others_have(uint32_t index);

/* Clear all replacements of all threads. */
void rdf_thread_clear_all(void);

#endif
