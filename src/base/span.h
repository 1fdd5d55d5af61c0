/* SPDX-License-Identifier: MIT
 *
 * Bytes that someone else owns, and readers that never leave them.
 */
#ifndef RDF_BASE_SPAN_H
#define RDF_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rdf_span {
    const uint8_t *data;
    size_t len_bytes;
};

/* The part [off, off+len) of `span`; an empty span (data null) when it is not wholly inside. */
struct rdf_span rdf_span_slice(struct rdf_span span, uint64_t off, uint64_t len_bytes);

/* Little-endian readers: false when the value does not lie wholly inside; *ret is then untouched. */
bool rdf_span_u8(struct rdf_span span, uint64_t off, uint8_t *ret);
bool rdf_span_u16(struct rdf_span span, uint64_t off, uint16_t *ret);
bool rdf_span_u32(struct rdf_span span, uint64_t off, uint32_t *ret);
bool rdf_span_u64(struct rdf_span span, uint64_t off, uint64_t *ret);

/* LEB128 readers: advance *off past the number. False on truncation or on more than 64 bits. */
bool rdf_span_uleb(struct rdf_span span, uint64_t *off, uint64_t *ret);
bool rdf_span_sleb(struct rdf_span span, uint64_t *off, int64_t *ret);

/* The NUL-terminated string at `off`, or null when there is none inside the span. */
const char *rdf_span_string(struct rdf_span span, uint64_t off);

#endif
