/* SPDX-License-Identifier: MIT
 *
 * Where trampolines go: near, out of the way of stacks and heaps, many to a mapping.
 */
#include "core/near.h"
#include "support/memory_os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = 4096, CHUNK_BYTES = 160 * 1024 };

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const uint64_t code = UINT64_C(0x500000000000);

static struct memory_os *os;
static struct rdf_near *near;
static struct rdf_arena arena;
static struct rdf_error err;

static int set_up(void **state)
{
    (void)state;
    os = memory_os_new();
    near = calloc(1, sizeof *near);
    *near = (struct rdf_near){.space = &os->space, .arch = &rdf_arch_x86_64, .pages = &os->pages};
    rdf_arena_init(&arena, &os->pages);
    err = (struct rdf_error){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rdf_arena_free(&arena);
    assert_int_equal(os->page_live, 0);
    assert_string_equal(os->fault, "");
    memory_os_free(os);
    free(near);
    return 0;
}

/* What is mapped, as the engine is told and as it is. */
struct range {
    uint64_t start, end;
    const char *path;
};

static struct rdf_maps maps_of(const struct range *range, size_t count)
{
    struct rdf_map *map = rdf_arena_alloc(&arena, count * sizeof *map);
    os->wall_count = 0;
    for (size_t i = 0; i < count; i++)
        os->wall[os->wall_count++] = (struct rdf_map){.start = range[i].start,
                                                      .end = range[i].end,
                                                      .path = range[i].path ? range[i].path : ""};
    for (size_t i = 0; i < count; i++)
        map[i] = (struct rdf_map){.start = range[i].start,
                                  .end = range[i].end,
                                  .prot = RDF_PROT_READ,
                                  .path = range[i].path ? range[i].path : ""};
    return (struct rdf_maps){map, count};
}

static redefine_status reserve(const struct rdf_maps *maps, uint64_t addr, struct rdf_near_place *ret)
{
    return rdf_near_reserve(near, maps, addr, 64, ret, &err);
}

static void unmap_all(void)
{
    struct rdf_near_mark *nothing = calloc(1, sizeof *nothing);
    rdf_near_rollback(near, nothing);
    free(nothing);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void right_beside_the_code(void **state)
{
    (void)state;
    struct rdf_near_place place;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    assert_int_equal(reserve(&maps, code + PAGE, &place), REDEFINE_OK);
    assert_int_equal(place.code_addr, code - CHUNK_BYTES);
    assert_int_equal(place.code_addr % 16, 0);
    assert_int_equal(place.slot_addr % 8, 0);
    assert_int_equal(near->chunk_count, 1);
    /* From the far end of the object the place behind it is nearer, but the chunk serves. */
    assert_int_equal(reserve(&maps, code + MIB - PAGE, &place), REDEFINE_OK);
    assert_int_equal(near->chunk_count, 1);
}

static void behind_it_when_that_is_nearer(void **state)
{
    (void)state;
    struct rdf_near_place place;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    assert_int_equal(reserve(&maps, code + MIB - PAGE, &place), REDEFINE_OK);
    assert_int_equal(place.code_addr, code + MIB);
}

/* Walls around the code, up to where a jump just reaches, or just does not. */
static void as_far_as_a_jump_reaches(void **state)
{
    (void)state;
    const struct rdf_arch *const arch[] = {&rdf_arch_x86_64, &rdf_arch_aarch64};
    for (size_t i = 0; i < 2; i++)
        for (int above = 0; above < 2; above++) {
            near->arch = arch[i];
            int64_t whole = arch[i]->jump_reach_ahead;
            bool found = false;
            bool lost = false;
            for (uint64_t wall = MIB; wall < (uint64_t)whole + 4 * MIB; wall += (uint64_t)whole / 64) {
                wall = wall / PAGE * PAGE;
                struct rdf_near_place place;
                const struct range range[] = {{UINT64_C(0x10000), above ? code : code - wall, NULL},
                                              {above ? code
                                                     : code - wall + (wall > CHUNK_BYTES ? CHUNK_BYTES : 0),
                                               above ? code + wall : UINT64_C(0x7ffffffff000), NULL}};
                struct range hole[2];
                memcpy(hole, range, sizeof hole);
                if (above) { /* one hole, right behind the upper wall */
                    hole[0].end = code + wall;
                    hole[1] = (struct range){code + wall + CHUNK_BYTES, UINT64_C(0x7ffffffff000), NULL};
                }
                struct rdf_maps maps = maps_of(hole, 2);
                err = (struct rdf_error){0};
                redefine_status status = reserve(&maps, code, &place);
                if (status == REDEFINE_OK) {
                    assert_false(lost); /* what is nearer is found as well */
                    found = true;
                    uint8_t jump[RDF_JUMP_BYTES_MAX];
                    assert_int_not_equal(arch[i]->emit_jump(jump, code, place.code_addr), 0);
                    assert_int_not_equal(arch[i]->emit_jump(jump, place.code_addr + place.code_bytes, code),
                                         0);
                    assert_int_not_equal(arch[i]->emit_slot_jump(jump, place.code_addr, place.slot_addr), 0);
                    unmap_all();
                } else {
                    lost = true;
                    assert_int_equal(status, REDEFINE_ENOMEM);
                    assert_non_null(strstr(err.sentence, "within reach"));
                    assert_int_equal(near->chunk_count, 0);
                }
            }
            assert_true(found && lost);
        }
}

static void the_stack_can_grow(void **state)
{
    (void)state;
    struct rdf_near_place place;
    /* Between code and stack there are 200 MiB: 72 of them are free. */
    const struct range range[] = {{UINT64_C(0x10000), code, NULL},
                                  {code, code + MIB, NULL},
                                  {code + 201 * MIB, code + 202 * MIB, "[stack]"},
                                  {code + 202 * MIB, UINT64_C(0x7ffffffff000), NULL}};
    struct rdf_maps maps = maps_of(range, 4);
    uint64_t farthest = 0;
    while (reserve(&maps, code + 200 * MIB, &place) == REDEFINE_OK && near->chunk_count < 50) {
        assert_true(place.code_addr + CHUNK_BYTES <= code + (201 - 128) * MIB);
        near->chunk[near->chunk_count - 1].full = true; /* the next one, please */
        farthest = place.code_addr > farthest ? place.code_addr : farthest;
    }
    assert_int_equal(farthest, code + (201 - 128) * MIB - CHUNK_BYTES);
    /* With less than that room there is no place at all. */
    const struct range tight[] = {{UINT64_C(0x10000), code + MIB, NULL},
                                  {code + 100 * MIB, code + 101 * MIB, "[stack]"},
                                  {code + 101 * MIB, UINT64_C(0x7ffffffff000), NULL}};
    maps = maps_of(tight, 3);
    unmap_all();
    err = (struct rdf_error){0};
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_ENOMEM);
}

static void the_heap_can_grow(void **state)
{
    (void)state;
    struct rdf_near_place place;
    const struct range range[] = {{UINT64_C(0x10000), code + MIB, NULL},
                                  {code + MIB, code + 2 * MIB, "[heap]"}};
    struct rdf_maps maps = maps_of(range, 2);
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    assert_true(place.code_addr >= code + 2 * MIB + GIB);
    const struct range tight[] = {{UINT64_C(0x10000), code + MIB, NULL},
                                  {code + MIB, code + 2 * MIB, "[heap]"},
                                  {code + 900 * MIB, UINT64_C(0x7ffffffff000), NULL}};
    maps = maps_of(tight, 3);
    unmap_all();
    err = (struct rdf_error){0};
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_ENOMEM);
}

/* The list of mappings is older than some of them: the next place is taken, in the same gap too. */
static void what_the_list_does_not_show(void **state)
{
    (void)state;
    struct rdf_near_place place;
    const struct range range[] = {{UINT64_C(0x10000), code, NULL}, {code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 2);
    (void)memory_os_add_region(os, code + MIB, 3 * CHUNK_BYTES, RDF_PROT_READ, "");
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    assert_true(place.code_addr >= code + MIB + 3 * CHUNK_BYTES);
    assert_true(distance(place.code_addr, code) < 16 * MIB);
    assert_true(os->op_count[MEMORY_MAP] > 2);
}

/* Nor does a new list: an emulator keeps places for itself. */
static void what_no_list_shows(void **state)
{
    (void)state;
    struct rdf_near_place place;
    const struct range range[] = {{UINT64_C(0x10000), code, NULL}, {code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 2);
    os->hidden = (struct rdf_map){.start = code + MIB, .end = code + 3 * MIB};
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    assert_in_range(place.code_addr, code + 3 * MIB, code + 4 * MIB);
    /* It gives up some time. */
    unmap_all();
    os->hidden.end = UINT64_C(0x7ffffffff000);
    err = (struct rdf_error){0};
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_ENOMEM);
    assert_in_range(os->op_count[MEMORY_MAP], 20, 1000);
}

static void many_share_a_chunk(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_place place, last = {0};
    size_t count = 0;
    for (;; count++) {
        assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
        if (place.chunk != 0)
            break;
        assert_true(place.code_addr >= last.code_addr + last.code_bytes);
        assert_true(place.slot_addr > last.slot_addr);
        last = place;
    }
    assert_in_range(count, 1000, 128 * 1024 / 64);
    assert_int_equal(near->chunk_count, 2);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            assert_true(i == j ||
                        near->chunk[i].slot_addr + 8 * near->chunk[i].slot_count <=
                            near->chunk[j].code_addr ||
                        near->chunk[j].code_addr < near->chunk[i].code_addr);
}

/* Small ones: the slots run out first. */
static void slots_run_out(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_place place;
    do {
        assert_int_equal(rdf_near_reserve(near, &maps, code, 1, &place, &err), REDEFINE_OK);
        assert_true(place.slot_addr + 8 <=
                    near->chunk[place.chunk].slot_addr + 8 * near->chunk[place.chunk].slot_count);
    } while (place.chunk == 0);
    assert_int_equal(near->chunk[0].slot_used, near->chunk[0].slot_count);
}

static void what_is_too_much_is_given_back(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_place first, second, third;
    assert_int_equal(rdf_near_reserve(near, &maps, code, 280, &first, &err), REDEFINE_OK);
    rdf_near_shrink(near, &first, 17);
    assert_int_equal(first.code_bytes, 32);
    assert_int_equal(rdf_near_reserve(near, &maps, code, 280, &second, &err), REDEFINE_OK);
    assert_int_equal(second.code_addr, first.code_addr + 32);
    rdf_near_shrink(near, &first, 16); /* no longer the last: stays */
    assert_int_equal(rdf_near_reserve(near, &maps, code, 280, &third, &err), REDEFINE_OK);
    assert_true(third.code_addr >= second.code_addr + second.code_bytes);
}

static void back_to_a_mark(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_mark *mark = calloc(1, sizeof *mark);
    struct rdf_near_place first, place;
    assert_int_equal(reserve(&maps, code, &first), REDEFINE_OK);
    rdf_near_take_mark(near, mark);
    struct memory_snapshot *before = memory_os_take(os);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    assert_true(near->chunk_count > 1);
    rdf_near_rollback(near, mark);
    assert_int_equal(near->chunk_count, 1);
    assert_null(memory_os_difference(os, before));
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    assert_int_equal(place.code_addr, first.code_addr + first.code_bytes);
    assert_int_equal(place.slot_addr, first.slot_addr + 8);
    memory_snapshot_free(before);
    free(mark);
}

static void there_are_only_so_many_chunks(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_place place;
    for (size_t i = 0; i < RDF_NEAR_CHUNKS_MAX; i++)
        near->chunk[i] = (struct rdf_near_chunk){.full = true};
    near->chunk_count = RDF_NEAR_CHUNKS_MAX;
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_ENOMEM);
    assert_non_null(strstr(err.sentence, "1024"));
    assert_int_equal(os->op_count[MEMORY_MAP], 0);
}

static void a_slot_is_data(void **state)
{
    (void)state;
    const struct range range[] = {{code, code + MIB, NULL}};
    struct rdf_maps maps = maps_of(range, 1);
    struct rdf_near_place place;
    assert_int_equal(reserve(&maps, code, &place), REDEFINE_OK);
    for (int no_views = 0; no_views < 2; no_views++) {
        os->no_views = no_views;
        assert_int_equal(rdf_near_set_slot(near, place.slot_addr, 0x1122334455667788 + no_views), 0);
        assert_int_equal(memory_os_word(os, place.slot_addr), 0x1122334455667788 + no_views);
    }
    os->denied[MEMORY_WRITE + RDF_WRITE_SELF_MEM] = EPERM;
    assert_int_equal(rdf_near_set_slot(near, place.slot_addr, 1), -EPERM);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(right_beside_the_code),
        TEST(behind_it_when_that_is_nearer),
        TEST(as_far_as_a_jump_reaches),
        TEST(the_stack_can_grow),
        TEST(the_heap_can_grow),
        TEST(what_the_list_does_not_show),
        TEST(what_no_list_shows),
        TEST(many_share_a_chunk),
        TEST(slots_run_out),
        TEST(what_is_too_much_is_given_back),
        TEST(back_to_a_mark),
        TEST(there_are_only_so_many_chunks),
        TEST(a_slot_is_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
