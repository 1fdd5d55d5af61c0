/* SPDX-License-Identifier: MIT */
#include "base/span.h"

struct rdf_span rdf_span_slice(struct rdf_span span, uint64_t off, uint64_t len_bytes)
{
    if (!span.data || off > span.len_bytes || len_bytes > span.len_bytes - off)
        return (struct rdf_span){NULL, 0};
    return (struct rdf_span){span.data + off, (size_t)len_bytes};
}

/* Byte by byte: no alignment is assumed and hosts of either endianness read the same. */
static bool read_le(struct rdf_span span, uint64_t off, unsigned len_bytes, uint64_t *ret)
{
    struct rdf_span bytes = rdf_span_slice(span, off, len_bytes);
    if (!bytes.data)
        return false;
    uint64_t value = 0;
    for (unsigned i = 0; i < len_bytes; i++)
        value |= (uint64_t)bytes.data[i] << (8 * i);
    *ret = value;
    return true;
}

bool rdf_span_u8(struct rdf_span span, uint64_t off, uint8_t *ret)
{
    uint64_t value;
    if (!read_le(span, off, 1, &value))
        return false;
    *ret = (uint8_t)value;
    return true;
}

bool rdf_span_u16(struct rdf_span span, uint64_t off, uint16_t *ret)
{
    uint64_t value;
    if (!read_le(span, off, 2, &value))
        return false;
    *ret = (uint16_t)value;
    return true;
}

bool rdf_span_u32(struct rdf_span span, uint64_t off, uint32_t *ret)
{
    uint64_t value;
    if (!read_le(span, off, 4, &value))
        return false;
    *ret = (uint32_t)value;
    return true;
}

bool rdf_span_u64(struct rdf_span span, uint64_t off, uint64_t *ret)
{
    return read_le(span, off, 8, ret);
}

bool rdf_span_uleb(struct rdf_span span, uint64_t *off, uint64_t *ret)
{
    uint64_t value = 0;
    uint64_t at = *off;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;
        if (!rdf_span_u8(span, at, &byte))
            return false;
        at++;
        if (shift == 63 && (byte & 0x7e))
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *off = at;
            *ret = value;
            return true;
        }
    }
    return false;
}

bool rdf_span_sleb(struct rdf_span span, uint64_t *off, int64_t *ret)
{
    uint64_t value = 0;
    uint64_t at = *off;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;
        if (!rdf_span_u8(span, at, &byte))
            return false;
        at++;
        if (shift == 63 && byte != 0 && byte != 0x7f) /* bit 63, and six more like it */
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            if ((byte & 0x40) && shift + 7 < 64)
                value |= ~UINT64_C(0) << (shift + 7);
            *off = at;
            *ret = (int64_t)value;
            return true;
        }
    }
    return false;
}

const char *rdf_span_string(struct rdf_span span, uint64_t off)
{
    for (uint64_t at = off; at < span.len_bytes; at++)
        if (span.data[at] == 0)
            return (const char *)span.data + off;
    return NULL;
}
