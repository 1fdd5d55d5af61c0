/* SPDX-License-Identifier: MIT
 *
 * The ground floor: arena, spans, failures, lists in order.
 */
#include "base/arena.h"
#include "base/error.h"
#include "base/order.h"
#include "base/span.h"
#include "support/memory_os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- arena ---- */

static void an_arena_hands_out_zeroed_aligned_memory(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_arena arena;
    rdf_arena_init(&arena, &os->pages);
    uint8_t *last = NULL;
    for (size_t len = 0; len < 3000; len += 7) {
        uint8_t *piece = rdf_arena_alloc(&arena, len);
        assert_non_null(piece);
        assert_int_equal((uintptr_t)piece % _Alignof(max_align_t), 0);
        assert_ptr_not_equal(piece, last);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(piece[i], 0);
        memset(piece, 0xa5, len);
        last = piece;
    }
    /* Half a megabyte in pieces: not one call of the system each. */
    assert_in_range(os->page_gets, 2, 10);
    /* More than a chunk holds. */
    uint8_t *big = rdf_arena_alloc(&arena, 3 << 20);
    assert_non_null(big);
    assert_int_equal(big[(3 << 20) - 1], 0);
    memset(big, 1, 3 << 20);
    rdf_arena_free(&arena);
    assert_int_equal(os->page_live, 0);
    /* It may be used again. */
    assert_non_null(rdf_arena_alloc(&arena, 1));
    rdf_arena_free(&arena);
    rdf_arena_free(&arena);
    memory_os_free(os);
}

static void an_arena_goes_back_to_a_mark(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_arena arena;
    rdf_arena_init(&arena, &os->pages);
    struct rdf_arena_mark empty = rdf_arena_take_mark(&arena);
    uint8_t *first = rdf_arena_alloc(&arena, 100);
    memset(first, 0x11, 100);
    struct rdf_arena_mark mark = rdf_arena_take_mark(&arena);
    size_t live = os->page_live;
    for (int round = 0; round < 3; round++) {
        uint8_t *next = rdf_arena_alloc(&arena, 64);
        for (int i = 0; i < 64; i++)
            assert_int_equal(next[i], 0); /* zeroed also the second time */
        memset(next, 0x22, 64);
        for (int i = 0; i < round * 20; i++)
            memset(rdf_arena_alloc(&arena, 100000), 0x33, 100000);
        rdf_arena_rollback(&arena, mark);
        assert_int_equal(os->page_live, live);
        for (int i = 0; i < 100; i++)
            assert_int_equal(first[i], 0x11);
    }
    rdf_arena_rollback(&arena, empty);
    assert_int_equal(os->page_live, 0);
    memory_os_free(os);
}

/* Given out again newest first, as a stack. */
static _Alignas(4096) uint8_t room[4 << 20];
static size_t room_used;

static void *get_room(void *ctx, size_t len_bytes)
{
    (void)ctx;
    room_used += len_bytes;
    return room_used <= sizeof room ? room + room_used - len_bytes : NULL;
}

static void put_room(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    room_used -= len_bytes;
    assert_ptr_equal(pages, room + room_used);
    for (size_t i = 0; i < len_bytes; i++)
        assert_int_equal(((uint8_t *)pages)[i], 0);
}

static void an_arena_gives_back_zeroed_what_is_to_be(void **state)
{
    (void)state;
    const struct rdf_page_source source = {.get = get_room, .put = put_room, .takes_zeroed = true};
    for (size_t pieces = 1; pieces < 30; pieces++) {
        struct rdf_arena arena;
        struct rdf_arena_mark mark;
        rdf_arena_init(&arena, &source);
        for (size_t i = 0; i < pieces; i++) {
            memset(rdf_arena_alloc(&arena, 100000), 0x44, 100000);
            if (i == pieces / 2)
                mark = rdf_arena_take_mark(&arena);
        }
        rdf_arena_rollback(&arena, mark);
        rdf_arena_free(&arena);
        assert_int_equal(room_used, 0);
    }
}

/* What the memory of a child holds that is forked while a chunk is given back. */
static struct rdf_arena *parents_arena, childs_arena[8];
static size_t children;

static void fork_before_put(void *ctx, void *pages, size_t len_bytes)
{
    childs_arena[children++] = *parents_arena;
    free(pages);
    (void)ctx, (void)len_bytes;
}

static void put_nothing(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx, (void)pages, (void)len_bytes;
}

static void *get_calloc(void *ctx, size_t len_bytes)
{
    (void)ctx;
    return calloc(1, len_bytes);
}

static void an_arena_can_be_freed_by_who_was_forked_meanwhile(void **state)
{
    (void)state;
    const struct rdf_page_source source = {.get = get_calloc, .put = fork_before_put};
    const struct rdf_page_source childs_source = {.get = get_calloc, .put = put_nothing};
    struct rdf_arena arena;
    parents_arena = &arena;
    rdf_arena_init(&arena, &source);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(rdf_arena_alloc(&arena, 1 << 20));
    assert_non_null(rdf_arena_alloc(&arena, 8));
    rdf_arena_free(&arena);
    assert_true(children >= 3);
    struct rdf_arena *last = &childs_arena[children - 1]; /* the others' chunks are gone here */
    assert_null(last->chunk);
    last->source = &childs_source;
    rdf_arena_free(last);
}

static void an_arena_says_when_there_is_no_more(void **state)
{
    (void)state;
    struct memory_os *os = memory_os_new();
    struct rdf_arena arena;
    rdf_arena_init(&arena, &os->pages);
    uint8_t *kept = rdf_arena_alloc(&arena, 8);
    *kept = 7;
    os->page_failure = (struct memory_failure){.at = os->page_gets + 1, .lasting = true};
    assert_null(rdf_arena_alloc(&arena, 1 << 20));
    assert_null(rdf_arena_copy(&arena, "text", 1 << 20 > 4 ? 4u << 20 : 4));
    assert_non_null(rdf_arena_alloc(&arena, 8)); /* what is there is still good */
    assert_int_equal(*kept, 7);
    assert_null(rdf_arena_alloc(&arena, SIZE_MAX));
    assert_null(rdf_arena_alloc(&arena, SIZE_MAX / 2));
    assert_null(rdf_arena_alloc(&arena, SIZE_MAX / 4));
    assert_null(rdf_arena_copy(&arena, "text", SIZE_MAX - 1));
    os->page_failure = (struct memory_failure){0};
    assert_string_equal(rdf_arena_copy(&arena, "text and more", 4), "text");
    assert_string_equal(rdf_arena_copy(&arena, "", 0), "");
    rdf_arena_free(&arena);
    assert_int_equal(os->page_live, 0);
    memory_os_free(os);
}

/* ---- spans ---- */

static void slices_never_leave_their_span(void **state)
{
    (void)state;
    static const uint8_t bytes[8];
    const uint64_t off[] = {0, 1, 7, 8, 9, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
    for (size_t len = 0; len <= 8; len++)
        for (size_t i = 0; i < 8; i++)
            for (size_t j = 0; j < 8; j++) {
                struct rdf_span span = {bytes, len};
                struct rdf_span slice = rdf_span_slice(span, off[i], off[j]);
                bool fits = off[i] <= len && off[j] <= len - off[i];
                assert_int_equal(slice.data != NULL, fits);
                assert_int_equal(slice.len_bytes, fits ? off[j] : 0);
                if (fits)
                    assert_ptr_equal(slice.data, bytes + off[i]);
            }
    assert_null(rdf_span_slice((struct rdf_span){NULL, 0}, 0, 0).data);
}

static void numbers_are_read_little_endian_or_not_at_all(void **state)
{
    (void)state;
    static const uint8_t source[8] = {0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8};
    for (size_t len = 0; len <= 8; len++) {
        uint8_t *exact = malloc(len + !len); /* so that a sanitizer sees one byte too many */
        memcpy(exact, source, len);
        struct rdf_span span = {exact, len};
        for (uint64_t off = 0; off <= 9; off++) {
            uint8_t u8 = 1;
            uint16_t u16 = 2;
            uint32_t u32 = 3;
            uint64_t u64 = 4;
            assert_int_equal(rdf_span_u8(span, off, &u8), off + 1 <= len);
            assert_int_equal(rdf_span_u16(span, off, &u16), off + 2 <= len);
            assert_int_equal(rdf_span_u32(span, off, &u32), off + 4 <= len);
            assert_int_equal(rdf_span_u64(span, off, &u64), off + 8 <= len);
            assert_int_equal(u8, off + 1 <= len ? source[off] : 1);
            assert_int_equal(u16, off + 2 <= len ? source[off] | source[off + 1] << 8 : 2);
            if (off + 4 > len)
                assert_int_equal(u32, 3);
            assert_true(u64 == (off + 8 <= len ? UINT64_C(0xf8e7d6c5b4a39281) : 4));
        }
        uint64_t word = 5;
        assert_false(rdf_span_u64(span, UINT64_MAX, &word));
        assert_false(rdf_span_u64(span, UINT64_MAX - 7, &word));
        assert_int_equal(word, 5);
        free(exact);
    }
    uint32_t u32;
    assert_true(rdf_span_u32((struct rdf_span){source, 8}, 2, &u32));
    assert_int_equal(u32, 0xd6c5b4a3);
}

struct leb {
    const char *bytes;
    size_t len;
    bool u_ok, s_ok;
    uint64_t u;
    int64_t s;
};

#define LEB(text) text, sizeof(text) - 1

static const struct leb leb[] = {
    {LEB("\x00"), true, true, 0, 0},
    {LEB("\x3f"), true, true, 63, 63},
    {LEB("\x40"), true, true, 64, -64},
    {LEB("\x7f"), true, true, 127, -1},
    {LEB("\x80\x01"), true, true, 128, 128},
    {LEB("\xff\x00"), true, true, 127, 127},
    {LEB("\x80\x7f"), true, true, 16256, -128},
    {LEB("\xe5\x8e\x26"), true, true, 624485, 624485}, /* DWARF 4, figure 22 */
    {LEB("\x80\x80\x80\x00"), true, true, 0, 0},
    /* 2^64 - 1, and -2^63: the last that fit. */
    {LEB("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true, false, UINT64_MAX, 0},
    {LEB("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), false, true, 0, -1},
    {LEB("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"), false, true, 0, INT64_MIN},
    {LEB("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), true, true, INT64_MAX, INT64_MAX},
    /* One bit too many. */
    {LEB("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), false, false, 0, 0},
    {LEB("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7e"), false, false, 0, 0},
    /* Ten bytes and one more, even of zeros. */
    {LEB("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), false, false, 0, 0},
    /* Cut off. */
    {LEB(""), false, false, 0, 0},
    {LEB("\x80"), false, false, 0, 0},
    {LEB("\xff\xff\xff"), false, false, 0, 0},
};

static void leb128_has_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof leb / sizeof leb[0]; i++) {
        uint8_t *exact = malloc(leb[i].len + !leb[i].len);
        memcpy(exact, leb[i].bytes, leb[i].len);
        struct rdf_span span = {exact, leb[i].len};
        uint64_t off = 0, u = 77;
        int64_t s = -77;
        if (rdf_span_uleb(span, &off, &u) != leb[i].u_ok)
            fail_msg("uleb of case %zu", i);
        assert_int_equal(off, leb[i].u_ok ? leb[i].len : 0);
        assert_true(u == (leb[i].u_ok ? leb[i].u : 77));
        off = 0;
        if (rdf_span_sleb(span, &off, &s) != leb[i].s_ok)
            fail_msg("sleb of case %zu", i);
        assert_int_equal(off, leb[i].s_ok ? leb[i].len : 0);
        assert_true(s == (leb[i].s_ok ? leb[i].s : -77));
        free(exact);
    }
    uint64_t off = UINT64_MAX, u;
    assert_false(rdf_span_uleb((struct rdf_span){(const uint8_t *)"\x01", 1}, &off, &u));
    assert_true(off == UINT64_MAX);
}

static void strings_end_inside_their_span(void **state)
{
    (void)state;
    struct rdf_span span = {(const uint8_t *)"ab\0cd", 5};
    assert_string_equal(rdf_span_string(span, 0), "ab");
    assert_string_equal(rdf_span_string(span, 2), "");
    assert_null(rdf_span_string(span, 3)); /* its NUL is behind the end */
    assert_null(rdf_span_string(span, 5));
    assert_null(rdf_span_string(span, UINT64_MAX));
}

/* ---- failures ---- */

static void the_first_failure_wins(void **state)
{
    (void)state;
    struct rdf_error err = {0};
    assert_int_equal(rdf_fail(&err, REDEFINE_EBUSY, "the first: %d", 1), REDEFINE_EBUSY);
    assert_int_equal(rdf_fail(&err, REDEFINE_ENOMEM, "a consequence"), REDEFINE_ENOMEM);
    assert_int_equal(err.status, REDEFINE_EBUSY);
    assert_string_equal(err.sentence, "the first: 1");
    assert_int_equal(rdf_fail(NULL, REDEFINE_EINVAL, "nobody listens"), REDEFINE_EINVAL);
    char longer[2 * RDF_SENTENCE_BYTES];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    err = (struct rdf_error){0};
    (void)rdf_fail(&err, REDEFINE_EINVAL, "%s", longer);
    assert_int_equal(strlen(err.sentence), RDF_SENTENCE_BYTES - 1);
}

static void errors_of_the_system_have_names(void **state)
{
    (void)state;
    const int known[] = {EPERM, ENOENT, EINTR,  EIO,    EAGAIN,    ENOMEM, EACCES,     EFAULT,
                         EBUSY, EEXIST, EINVAL, ENOSYS, ETIMEDOUT, ESTALE, EOWNERDEAD, ESRCH};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_string_equal(rdf_errno_name(known[i]), strerrorname_np(known[i]));
        assert_string_equal(rdf_errno_name(-known[i]), strerrorname_np(known[i]));
    }
    assert_non_null(rdf_errno_name(0));
    assert_non_null(rdf_errno_name(-123456));
}

/* ---- lists in order ---- */

struct record {
    uint32_t number;
    uint64_t addr;
    uint8_t odd_bytes[5];
};

static bool comes_before(const void *a, const void *b)
{
    return ((const struct record *)a)->addr < ((const struct record *)b)->addr;
}

static void a_list_of_any_length_is_sorted(void **state)
{
    (void)state;
    enum { COUNT_MAX = 70 };
    uint64_t random = 1;
    for (size_t count = 0; count <= COUNT_MAX; count++) {
        struct record list[COUNT_MAX] = {0};
        uint64_t before = 0, after = 0;
        for (size_t i = 0; i < count; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            list[i].addr = random >> 58; /* some are equal */
            list[i].number = (uint32_t)i;
            list[i].odd_bytes[4] = (uint8_t)i;
            before += (list[i].addr + 1) * (i + 1);
        }
        rdf_sort(list, count, sizeof *list, comes_before);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(list[i].odd_bytes[4], list[i].number); /* whole records are moved */
            after += (list[i].addr + 1) * (list[i].number + 1);
            assert_true(i == 0 || list[i - 1].addr <= list[i].addr);
        }
        assert_int_equal(before, after);
    }
}

static void the_first_at_or_behind_a_key_is_found(void **state)
{
    (void)state;
    const struct record list[] = {{.addr = 3}, {.addr = 5}, {.addr = 5}, {.addr = UINT64_MAX}};
    const uint32_t number[] = {0, 7, UINT32_MAX};
    for (size_t count = 0; count <= 4; count++)
        for (uint64_t key = 0; key < 8; key++) {
            size_t from = 0, behind = 0;
            while (from < count && list[from].addr < key)
                from++;
            while (behind < count && list[behind].addr <= key)
                behind++;
            assert_int_equal(RDF_FIRST_FROM(list, count, addr, key), from);
            assert_int_equal(RDF_FIRST_BEHIND(list, count, addr, key), behind);
        }
    assert_int_equal(RDF_FIRST_FROM(list, 4, addr, UINT64_MAX), 3);
    assert_int_equal(RDF_FIRST_BEHIND(list, 4, addr, UINT64_MAX), 4);
    assert_int_equal(RDF_FIRST_NUMBER(number, 3, 7), 1);
    assert_int_equal(RDF_FIRST_NUMBER(number, 3, UINT32_MAX), 2);
    assert_int_equal(RDF_FIRST_NUMBER(number, 3, UINT32_MAX + UINT64_C(1)), 3);
    const struct record *none = NULL;
    assert_int_equal(RDF_FIRST_BEHIND(none, 0, addr, 1), 0);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_hands_out_zeroed_aligned_memory),
        cmocka_unit_test(an_arena_goes_back_to_a_mark),
        cmocka_unit_test(an_arena_gives_back_zeroed_what_is_to_be),
        cmocka_unit_test(an_arena_can_be_freed_by_who_was_forked_meanwhile),
        cmocka_unit_test(an_arena_says_when_there_is_no_more),
        cmocka_unit_test(slices_never_leave_their_span),
        cmocka_unit_test(numbers_are_read_little_endian_or_not_at_all),
        cmocka_unit_test(leb128_has_limits),
        cmocka_unit_test(strings_end_inside_their_span),
        cmocka_unit_test(the_first_failure_wins),
        cmocka_unit_test(errors_of_the_system_have_names),
        cmocka_unit_test(a_list_of_any_length_is_sorted),
        cmocka_unit_test(the_first_at_or_behind_a_key_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
