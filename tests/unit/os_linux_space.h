/* SPDX-License-Identifier: MIT
 *
 * For the tests of what this process' own space answers: each begins with a space and an arena.
 */
#ifndef TESTS_UNIT_OS_LINUX_SPACE_H
#define TESTS_UNIT_OS_LINUX_SPACE_H

#include "os_linux.h"

#include <sys/mman.h>

static struct rdf_space space;
static struct rdf_arena arena;

static inline int set_up(void **state)
{
    (void)state;
    rdf_os_local_space(&space);
    rdf_arena_init(&arena, &rdf_os_pages);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    rdf_arena_free(&arena);
    return 0;
}

static inline uint64_t address_of(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static inline void *pages(size_t count, int prot)
{
    void *p = mmap(NULL, count * rdf_os_page_bytes(), prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
