/* SPDX-License-Identifier: MIT
 *
 * Our own decompressor against zlib itself: what zlib compressed, at every level and strategy, comes out as
 * it was; any other bytes are undone by both to the same, or refused by both.
 *
 * The first byte chooses: even, the rest is a compressed stream; odd, it is to be compressed, in the way the
 * second byte says.
 */
#include "debug/internal.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM_BYTES = 1 << 18 };

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static uint8_t expected[ROOM_BYTES], got[ROOM_BYTES], packed[ROOM_BYTES];

/* As long as zlib says, a byte less, a byte more: only the first is right. */
static void compare(struct rdf_span stream, const uint8_t *plain, size_t plain_bytes)
{
    memset(got, 0xa5, sizeof got);
    require(rdf_debug_inflate(stream, got, plain_bytes));
    require(memcmp(got, plain, plain_bytes) == 0);
    require(got[plain_bytes] == 0xa5);
    require(!rdf_debug_inflate(stream, got, plain_bytes + 1));
    require(plain_bytes == 0 || !rdf_debug_inflate(stream, got, plain_bytes - 1));
}

static void undo(const uint8_t *data, size_t size)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data,
                       .avail_in = (uInt)size,
                       .next_out = expected,
                       .avail_out = ROOM_BYTES - 1};
    require(inflateInit(&stream) == Z_OK);
    int status = inflate(&stream, Z_FINISH);
    size_t bytes = stream.total_out;
    require(inflateEnd(&stream) == Z_OK);
    struct rdf_span span = {data, size};
    if (status == Z_STREAM_END)
        compare(span, expected, bytes);
    else if (status != Z_BUF_ERROR || bytes < ROOM_BYTES - 1)
        for (size_t more = 0; more < 3; more++)
            require(!rdf_debug_inflate(span, got, bytes + more));
}

static void redo(uint8_t way, const uint8_t *data, size_t size)
{
    static const int levels[] = {0, 1, 4, 6, 9};
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data,
                       .avail_in = (uInt)size,
                       .next_out = packed,
                       .avail_out = sizeof packed};
    if (size > ROOM_BYTES / 2 || deflateInit2(&stream, levels[way % 5], Z_DEFLATED, 9 + way / 25 % 7,
                                              1 + way / 5 % 9, strategies[way / 5 % 5]) != Z_OK)
        return;
    require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    size_t bytes = stream.total_out;
    require(deflateEnd(&stream) == Z_OK);
    compare((struct rdf_span){packed, bytes}, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1)
        redo(data[1], data + 2, size - 2);
    else
        undo(data + 1, size - 1);
    return 0;
}
