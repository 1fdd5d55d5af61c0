/* SPDX-License-Identifier: MIT
 *
 * What is redefined: looking up while it grows, and taking back.
 */
#include "core/registry.h"
#include "support/memory_os.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 5000 };

static struct memory_os *os;
static struct rdf_registry registry;
static struct rdf_redef redef[MANY];

static int set_up(void **state)
{
    (void)state;
    os = memory_os_new();
    rdf_registry_init(&registry, &os->pages);
    memset(redef, 0, sizeof redef);
    for (size_t i = 0; i < MANY; i++)
        redef[i].entry = UINT64_C(0x7f0000000000) + 16 * i;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rdf_arena_free(&registry.arena);
    assert_int_equal(os->page_live, 0);
    memory_os_free(os);
    return 0;
}

static void add(size_t i)
{
    assert_true(rdf_registry_reserve(&registry, 1, 1));
    rdf_registry_add(&registry, &redef[i]);
    rdf_registry_publish(&registry);
}

static void everything_added_is_found(void **state)
{
    (void)state;
    assert_null(rdf_registry_find(&registry, redef[0].entry));
    for (size_t i = 0; i < MANY; i++) {
        add(i);
        assert_int_equal(registry.count, i + 1);
        if (i % 257 == 0)
            for (size_t j = 0; j < MANY; j++)
                assert_ptr_equal(rdf_registry_find(&registry, redef[j].entry), j <= i ? &redef[j] : NULL);
    }
    assert_null(rdf_registry_find(&registry, 0));
    assert_null(rdf_registry_find(&registry, redef[0].entry + 1));
    static bool is_seen[MANY];
    const struct rdf_redef *each;
    for (size_t at = 0; (each = rdf_table_next(registry.table, &at)) != NULL;) {
        assert_false(is_seen[each - redef]);
        is_seen[each - redef] = true;
    }
    for (size_t i = 0; i < MANY; i++)
        assert_true(is_seen[i]);
}

/* Keys that collide: equal in the bits that choose a place, and in all but one. */
static void keys_that_collide(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        redef[shift].entry = UINT64_C(1) << shift;
    for (size_t i = 0; i < 64; i++)
        add(i);
    for (size_t i = 0; i < 64; i++)
        assert_ptr_equal(rdf_registry_find(&registry, UINT64_C(1) << i), &redef[i]);
}

static void what_is_reserved_is_not_seen_before_it_is_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < 31; i++)
        add(i);
    /* More than the table holds: a bigger one is prepared beside it. */
    assert_true(rdf_registry_reserve(&registry, 100, 0));
    struct rdf_table *before = registry.table;
    for (size_t i = 31; i < 131; i++)
        rdf_registry_add(&registry, &redef[i]);
    assert_ptr_equal(registry.table, before);
    assert_null(rdf_registry_find(&registry, redef[31].entry));
    assert_ptr_equal(rdf_registry_find(&registry, redef[30].entry), &redef[30]);
    rdf_registry_publish(&registry);
    assert_ptr_equal(rdf_registry_find(&registry, redef[130].entry), &redef[130]);
    /* The old one stays for readers that are late. */
    assert_ptr_equal(rdf_table_find(before, redef[0].entry), &redef[0]);
}

/* Of whatever was reserved. */
/* A range has what each of its addresses has, and in that order. */
static void ranges_have_what_is_in_them(void **state)
{
    (void)state;
    static struct rdf_alias alias = {UINT64_C(0x7f0000000000) + 16 * 100 + 7, &redef[3]};
    for (size_t i = 0; i < MANY; i += 1 + i % 5)
        add(i);
    assert_true(rdf_registry_reserve(&registry, 1, 0));
    rdf_registry_add_alias(&registry, &alias);
    uint64_t at = redef[0].entry;
    assert_null(rdf_table_find_within(NULL, &at, at + 1));
    for (uint64_t start = redef[0].entry - 130; start < redef[MANY - 1].entry + 200; start += 37) {
        uint64_t end = start + start % 300;
        at = start;
        for (uint64_t addr = start; addr < end; addr++) {
            const void *record = rdf_registry_find(&registry, addr);
            if (record) {
                assert_ptr_equal(rdf_table_find_within(registry.table, &at, end), record);
                assert_int_equal(at, addr + 1);
            }
        }
        assert_null(rdf_table_find_within(registry.table, &at, end));
    }
}

static void rolling_back_restores(void **state)
{
    (void)state;
    const size_t want[] = {0, 1, 10, 100, 3000};
    for (size_t i = 0; i < 20; i++)
        add(i);
    for (size_t k = 0; k < 5; k++)
        for (size_t l = 0; l < 5; l++) {
            struct rdf_registry before = registry;
            struct rdf_registry_mark mark;
            size_t live = os->page_live;
            rdf_registry_take_mark(&registry, &mark);
            assert_true(rdf_registry_reserve(&registry, want[k], want[l]));
            rdf_registry_rollback(&registry, &mark);
            assert_memory_equal(&registry, &before, sizeof before);
            assert_int_equal(os->page_live, live);
            for (size_t i = 0; i < 40; i++)
                assert_ptr_equal(rdf_registry_find(&registry, redef[i].entry), i < 20 ? &redef[i] : NULL);
        }
}

static void reserving_says_when_there_is_no_memory(void **state)
{
    (void)state;
    add(0);
    const size_t want[][2] = {{100000, 0}, {0, 100000}};
    for (size_t i = 0; i < 2; i++) {
        struct rdf_registry before = registry;
        struct rdf_registry_mark mark;
        rdf_registry_take_mark(&registry, &mark);
        os->page_failure = (struct memory_failure){.at = os->page_gets + 1, .lasting = true};
        assert_false(rdf_registry_reserve(&registry, want[i][0], want[i][1]));
        os->page_failure = (struct memory_failure){0};
        rdf_registry_rollback(&registry, &mark);
        assert_memory_equal(&registry, &before, sizeof before);
        assert_ptr_equal(rdf_registry_find(&registry, redef[0].entry), &redef[0]);
    }
}

static void layers_come_and_go(void **state)
{
    (void)state;
    assert_true(rdf_registry_reserve(&registry, 0, 3));
    rdf_registry_publish(&registry);
    struct rdf_layer *layer[3];
    for (int i = 0; i < 3; i++) {
        layer[i] = rdf_registry_take_layer(&registry);
        layer[i]->replacement = 1;
    }
    assert_true(layer[0] != layer[1] && layer[1] != layer[2] && layer[0] != layer[2]);
    for (int i = 0; i < 3; i++)
        rdf_registry_give_layer(&registry, layer[i]);
    size_t used = registry.arena.used_bytes;
    assert_true(rdf_registry_reserve(&registry, 0, 3)); /* what was given back suffices */
    assert_int_equal(registry.arena.used_bytes, used);
    assert_int_equal(rdf_registry_take_layer(&registry)->replacement, 0);
    assert_true(rdf_registry_reserve(&registry, 0, 5)); /* two are there */
    for (int i = 0; i < 5; i++) {
        assert_non_null(registry.spare_layers);
        (void)rdf_registry_take_layer(&registry);
    }
}

static void an_alias_and_a_newer_record(void **state)
{
    (void)state;
    add(0);
    add(1);
    assert_true(rdf_registry_reserve(&registry, 1, 0));
    struct rdf_alias alias = {0x1234, &redef[0]};
    rdf_registry_add_alias(&registry, &alias);
    rdf_registry_publish(&registry);
    assert_ptr_equal(rdf_registry_find(&registry, 0x1234), &redef[0]);
    assert_int_equal(registry.count, 2);
    /* The same entry again: the record is exchanged, not doubled. */
    redef[2].entry = redef[1].entry;
    add(2);
    assert_ptr_equal(rdf_registry_find(&registry, redef[1].entry), &redef[2]);
    assert_int_equal(registry.count, 2);
}

/* An alias whose address becomes a function of its own (its object was unloaded, another came). */
static void an_alias_that_becomes_an_entry(void **state)
{
    (void)state;
    add(0);
    assert_true(rdf_registry_reserve(&registry, 1, 0));
    struct rdf_alias alias = {redef[1].entry, &redef[0]};
    rdf_registry_add_alias(&registry, &alias);
    rdf_registry_publish(&registry);
    add(1);
    assert_ptr_equal(rdf_registry_find(&registry, redef[1].entry), &redef[1]);
    assert_int_equal(registry.count, 2);
    assert_ptr_equal(rdf_registry_find(&registry, redef[0].entry), &redef[0]);
}

/* ---- looking up takes no lock ---- */

static size_t published;

static void *look_up(void *unused)
{
    (void)unused;
    size_t misses = 0;
    size_t seen;
    do {
        seen = __atomic_load_n(&published, __ATOMIC_ACQUIRE);
        for (size_t i = 0; i < seen; i += 1 + i / 64)
            misses += rdf_registry_find(&registry, redef[i].entry) != &redef[i];
    } while (seen < MANY);
    return (void *)misses;
}

static void looking_up_while_it_grows(void **state)
{
    (void)state;
    published = 0;
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look_up, NULL), 0);
    for (size_t i = 0; i < MANY; i++) {
        add(i);
        __atomic_store_n(&published, i + 1, __ATOMIC_RELEASE);
    }
    for (int i = 0; i < 2; i++) {
        void *misses;
        pthread_join(thread[i], &misses);
        assert_null(misses);
    }
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_added_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_that_collide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_reserved_is_not_seen_before_it_is_published, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ranges_have_what_is_in_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rolling_back_restores, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reserving_says_when_there_is_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(layers_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_alias_and_a_newer_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_alias_that_becomes_an_entry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(looking_up_while_it_grows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
