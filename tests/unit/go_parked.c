/* SPDX-License-Identifier: MIT
 *
 * Goroutines made of plain memory, and who of them is parked where.
 */
#include "go/parked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { GOROUTINES = 3, STACK_WORDS = 64, LO = 0, HI = 1, SCHED_SP = 7, SCHED_G = 9, G_WORDS = 16 };

static uint64_t stack[GOROUTINES][STACK_WORDS];
static uint64_t record[GOROUTINES][G_WORDS];
static uint64_t list[GOROUTINES];
static uint64_t slice[3];

/* Inside the bytes that would be overwritten, and not. */
static const uint64_t start = 0x401000, end = 0x401005, inside = 0x401001;

static uint64_t addr(const void *at)
{
    return (uint64_t)(uintptr_t)at;
}

/* Each is parked in the middle of its stack. */
static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOROUTINES; i++) {
        for (size_t word = 0; word < STACK_WORDS; word++)
            stack[i][word] = word % 2 ? start : end;
        record[i][LO] = addr(stack[i]);
        record[i][HI] = addr(stack[i] + STACK_WORDS);
        record[i][SCHED_SP] = addr(&stack[i][STACK_WORDS / 2]);
        record[i][SCHED_G] = addr(record[i]);
        list[i] = addr(record[i]);
    }
    slice[0] = addr(list);
    slice[1] = slice[2] = GOROUTINES;
    return 0;
}

static bool is_anyone_parked(const struct rdf_thread *thread, size_t count)
{
    struct rdf_world world = {.thread = thread, .thread_count = count};
    return rdf_go_is_anyone_parked(addr(slice), &world, start, end);
}

static void the_first_byte_and_what_is_behind_do_not_count(void **state)
{
    (void)state;
    assert_false(is_anyone_parked(NULL, 0));
}

static void any_goroutine_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOROUTINES; i++) {
        stack[i][STACK_WORDS - 1] = inside;
        assert_true(is_anyone_parked(NULL, 0));
        stack[i][STACK_WORDS - 1] = 0;
        stack[i][STACK_WORDS / 2] = inside;
        assert_true(is_anyone_parked(NULL, 0));
        stack[i][STACK_WORDS / 2] = 0;
    }
    assert_false(is_anyone_parked(NULL, 0));
}

static void what_is_below_the_stack_pointer_is_over(void **state)
{
    (void)state;
    stack[1][STACK_WORDS / 2 - 1] = inside;
    assert_false(is_anyone_parked(NULL, 0));
    /* A thread runs it, deeper than where it was parked once. */
    struct rdf_thread thread = {.tid = 1, .sp = addr(&stack[1][STACK_WORDS / 2 - 1])};
    assert_true(is_anyone_parked(&thread, 1));
    thread.sp += 8;
    assert_false(is_anyone_parked(&thread, 1));
}

static void a_thread_of_c_is_no_matter(void **state)
{
    (void)state;
    struct rdf_thread thread = {.tid = 1, .sp = addr(stack) ^ UINT64_C(1) << 40};
    assert_false(is_anyone_parked(&thread, 1));
}

/* On a stack of the runtime's that is no goroutine's: what was interrupted is not known. */
static void a_thread_in_a_signal_handler_is_waited_for(void **state)
{
    (void)state;
    struct rdf_thread thread = {.tid = 1, .sp = addr(stack) - 4096};
    if (thread.sp >> 26 != addr(stack) >> 26)
        thread.sp = addr(stack + GOROUTINES) + 4096;
    assert_true(is_anyone_parked(&thread, 1));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_byte_and_what_is_behind_do_not_count), TEST(any_goroutine_counts),
        TEST(what_is_below_the_stack_pointer_is_over),        TEST(a_thread_of_c_is_no_matter),
        TEST(a_thread_in_a_signal_handler_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
