/* SPDX-License-Identifier: MIT
 *
 * The compression of debug sections, undone without a library: this also runs inside other people's
 * programs. Fails on anything that is not exactly as long as it says.
 *
 * Source: RFC 1950 (zlib), RFC 1951 (deflate).
 */
#include "debug/internal.h"

enum {
    CODE_BITS_MAX = 15,
    FAST_BITS = 10,
    LITERALS = 288,
    DISTANCES = 30,
    LENGTH_CODES = 19,
    END_OF_BLOCK = 256,
};

struct bits {
    struct rdf_span in;
    size_t at;
    uint64_t held;
    unsigned held_bits;
    bool is_short; /* more was asked for than there is */
};

struct output {
    uint8_t *data;
    size_t at;
    size_t len_bytes;
};

struct code {
    uint16_t fast[1 << FAST_BITS];     /* symbol << 4 | length; 0: longer, or no code */
    uint16_t count[CODE_BITS_MAX + 1]; /* codes of each length */
    uint16_t symbol[LITERALS];         /* in the order of their codes */
};

static void refill(struct bits *bits)
{
    while (bits->held_bits <= 56 && bits->at < bits->in.len_bytes) {
        bits->held |= (uint64_t)bits->in.data[bits->at++] << bits->held_bits;
        bits->held_bits += 8;
    }
}

static unsigned take(struct bits *bits, unsigned count)
{
    if (bits->held_bits < count)
        refill(bits);
    if (bits->held_bits < count) {
        bits->is_short = true;
        return 0;
    }
    unsigned value = (unsigned)(bits->held & ((UINT64_C(1) << count) - 1));
    bits->held >>= count;
    bits->held_bits -= count;
    return value;
}

/* The code whose symbols have these lengths (0: not used). False when there are more codes than fit. */
static bool make_code(struct code *code, const uint8_t *length, unsigned count)
{
    unsigned next[CODE_BITS_MAX + 2] = {0};
    unsigned first = 0;
    *code = (struct code){0};
    for (unsigned i = 0; i < count; i++)
        code->count[length[i]]++;
    code->count[0] = 0;
    int left = 1;
    for (unsigned bits = 1; bits <= CODE_BITS_MAX; bits++) {
        left = left * 2 - code->count[bits];
        if (left < 0)
            return false;
        next[bits + 1] = next[bits] + code->count[bits];
    }
    for (unsigned i = 0; i < count; i++)
        if (length[i])
            code->symbol[next[length[i]]++] = (uint16_t)i;
    /* Codes come in with their first bit lowest: the index is the code mirrored. */
    unsigned at = 0;
    for (unsigned bits = 1; bits <= FAST_BITS; bits++, first <<= 1)
        for (unsigned i = 0; i < code->count[bits]; i++, first++, at++) {
            unsigned mirrored = 0;
            for (unsigned bit = 0; bit < bits; bit++)
                mirrored |= (first >> bit & 1) << (bits - 1 - bit);
            for (; mirrored < 1u << FAST_BITS; mirrored += 1u << bits)
                code->fast[mirrored] = (uint16_t)(code->symbol[at] << 4 | bits);
        }
    return true;
}

/* The next symbol, or -1 where there is none. */
static int decode(struct bits *bits, const struct code *code)
{
    if (bits->held_bits < CODE_BITS_MAX)
        refill(bits);
    unsigned fast = code->fast[bits->held & ((1u << FAST_BITS) - 1)];
    if (fast && (fast & 15) <= bits->held_bits) {
        bits->held >>= fast & 15;
        bits->held_bits -= fast & 15;
        return (int)(fast >> 4);
    }
    unsigned value = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= CODE_BITS_MAX; length++) {
        value |= take(bits, 1);
        if (bits->is_short)
            return -1;
        if (value < first + code->count[length])
            return code->symbol[index + (value - first)];
        index += code->count[length];
        first = (first + code->count[length]) << 1;
        value <<= 1;
    }
    return -1;
}

static bool copy_back(struct output *out, size_t distance, size_t len)
{
    if (distance > out->at || len > out->len_bytes - out->at)
        return false;
    for (; len > 0; len--, out->at++)
        out->data[out->at] = out->data[out->at - distance];
    return true;
}

static bool inflate_codes(struct bits *bits, struct output *out, const struct code *literal,
                          const struct code *distance)
{
    static const uint16_t length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                           31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                           2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                             33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                             1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
        int symbol = decode(bits, literal);
        if (symbol < 0)
            return false;
        if (symbol < END_OF_BLOCK) {
            if (out->at == out->len_bytes)
                return false;
            out->data[out->at++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == END_OF_BLOCK)
            return true;
        symbol -= END_OF_BLOCK + 1;
        if (symbol >= (int)(sizeof length_base / sizeof *length_base))
            return false;
        size_t len = length_base[symbol] + take(bits, length_extra[symbol]);
        symbol = decode(bits, distance);
        if (symbol < 0 || symbol >= DISTANCES)
            return false;
        size_t back = distance_base[symbol] + take(bits, symbol < 4 ? 0 : (unsigned)symbol / 2 - 1);
        if (bits->is_short || !copy_back(out, back, len))
            return false;
    }
}

/* A block that brings its own codes. */
static bool inflate_dynamic(struct bits *bits, struct output *out, struct code *literal,
                            struct code *distance)
{
    static const uint8_t order[LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t length[LITERALS + 32] = {0};
    unsigned literals = take(bits, 5) + 257;
    unsigned distances = take(bits, 5) + 1;
    unsigned codes = take(bits, 4) + 4;
    if (literals > LITERALS - 2 || distances > DISTANCES)
        return false;
    for (unsigned i = 0; i < codes; i++)
        length[order[i]] = (uint8_t)take(bits, 3);
    if (!make_code(literal, length, LENGTH_CODES))
        return false;
    for (unsigned i = 0; i < LENGTH_CODES; i++)
        length[i] = 0;
    for (unsigned i = 0; i < literals + distances;) {
        int symbol = decode(bits, literal);
        if (symbol < 0 || (symbol == 16 && i == 0))
            return false;
        if (symbol < 16) {
            length[i++] = (uint8_t)symbol;
            continue;
        }
        uint8_t repeated = symbol == 16 ? length[i - 1] : 0;
        unsigned times = symbol == 16   ? 3 + take(bits, 2)
                         : symbol == 17 ? 3 + take(bits, 3)
                                        : 11 + take(bits, 7);
        if (times > literals + distances - i)
            return false;
        while (times-- > 0)
            length[i++] = repeated;
    }
    return !bits->is_short && make_code(literal, length, literals) &&
           make_code(distance, length + literals, distances) && inflate_codes(bits, out, literal, distance);
}

static bool inflate_fixed(struct bits *bits, struct output *out, struct code *literal, struct code *distance)
{
    uint8_t length[LITERALS];
    for (unsigned i = 0; i < LITERALS; i++)
        length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    (void)make_code(literal, length, LITERALS);
    for (unsigned i = 0; i < DISTANCES; i++)
        length[i] = 5;
    (void)make_code(distance, length, DISTANCES);
    return inflate_codes(bits, out, literal, distance);
}

static bool inflate_stored(struct bits *bits, struct output *out)
{
    (void)take(bits, bits->held_bits % 8);
    unsigned len = take(bits, 16);
    unsigned check = take(bits, 16);
    if (bits->is_short || len != (check ^ 0xffff) || len > out->len_bytes - out->at)
        return false;
    for (unsigned i = 0; i < len; i++)
        out->data[out->at++] = (uint8_t)take(bits, 8);
    return !bits->is_short;
}

/* RFC 1950, 9: two sums, which stay below 2^32 for so many bytes. */
static uint32_t adler32(const uint8_t *data, size_t len_bytes)
{
    enum { MODULUS = 65521, BYTES_MAX = 5552 };
    uint32_t low = 1, high = 0;
    while (len_bytes > 0) {
        size_t part = len_bytes < BYTES_MAX ? len_bytes : BYTES_MAX;
        for (size_t i = 0; i < part; i++)
            high += low += data[i];
        low %= MODULUS;
        high %= MODULUS;
        data += part;
        len_bytes -= part;
    }
    return high << 16 | low;
}

static uint32_t take_sum(struct bits *bits)
{
    uint32_t sum = 0;
    (void)take(bits, bits->held_bits % 8);
    for (int i = 0; i < 4; i++)
        sum = sum << 8 | take(bits, 8);
    return sum;
}

bool rdf_debug_inflate(struct rdf_span in, uint8_t *out_data, size_t out_bytes)
{
    struct bits bits = {.in = in};
    struct output out = {.data = out_data, .len_bytes = out_bytes};
    struct code literal, distance;
    unsigned head = take(&bits, 8) << 8;
    head |= take(&bits, 8);
    if (bits.is_short || (head >> 8 & 15) != 8 || head % 31 != 0 || head & 0x20)
        return false;
    for (bool last = false; !last;) {
        last = take(&bits, 1);
        unsigned kind = take(&bits, 2);
        bool ok = !bits.is_short && kind < 3;
        if (ok)
            ok = kind == 0   ? inflate_stored(&bits, &out)
                 : kind == 1 ? inflate_fixed(&bits, &out, &literal, &distance)
                             : inflate_dynamic(&bits, &out, &literal, &distance);
        if (!ok)
            return false;
    }
    return out.at == out_bytes && take_sum(&bits) == adler32(out_data, out_bytes) && !bits.is_short;
}
