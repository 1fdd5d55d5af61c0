/* SPDX-License-Identifier: MIT
 *
 * The counters of `redefine run --count`: a file without a name that the command makes and every counted
 * process maps, so that neither _exit nor a signal nor exec loses a call. Room is taken from it by atomic
 * additions and never given back. Most of it stays a hole: only what is used takes memory.
 *
 * What the programs wrote, the command does not trust.
 */
#ifndef RDF_AGENT_COUNT_H
#define RDF_AGENT_COUNT_H

#include <stdint.h>

#define RDF_COUNT_MAGIC "redefine counts"
enum {
    RDF_COUNT_VERSION = 1,
    RDF_COUNT_ENTRIES_MAX = 1 << 23,
    RDF_COUNT_TEXT_BYTES = 1 << 26,
    RDF_COUNT_BUCKETS = 1 << 16,
    RDF_COUNT_TEXT_ALIGN = 8,
    RDF_COUNT_NAME_MAX = 4096, /* of one text, with its NUL */
};

enum rdf_count_kind {
    RDF_COUNT_OBJECT = 1, /* a path */
    RDF_COUNT_FUNCTION,   /* a name; `other` is its object */
    RDF_COUNT_REASON,     /* why something is not counted, addresses left out */
    RDF_COUNT_REFUSED,    /* a name that is not counted; `other` is the reason */
};

/* A text, there once however many processes know it: whoever comes second finds it by its hash. */
struct rdf_count_text {
    uint32_t next; /* of the same bucket: where in rdf_count_file.text; 0: none */
    uint32_t kind;
    uint32_t other;
    uint32_t entry; /* one that is for it, plus one; 0: none yet */
    char text[];
};

/* Every process has entries of its own, so that two of them seldom write to one at the same instant; behind
 * the first half they share those that are there. */
struct rdf_count_file {
    char magic[16];
    uint32_t version;
    uint32_t programs;   /* that count, one after the other or side by side */
    uint64_t entries;    /* taken; may say more than there are */
    uint64_t text_bytes; /* the same; begins at RDF_COUNT_TEXT_ALIGN, so that no text is at 0 */
    uint64_t lost;       /* functions for which there was no room */
    uint32_t bucket[RDF_COUNT_BUCKETS];
    uint64_t calls[RDF_COUNT_ENTRIES_MAX];
    uint32_t text_of[RDF_COUNT_ENTRIES_MAX]; /* a function, or what was refused */
    char text[RDF_COUNT_TEXT_BYTES];
};

#endif
