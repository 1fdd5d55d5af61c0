/* SPDX-License-Identifier: MIT
 *
 * For the tests of what this process' own space answers: each begins with a space and an arena.
 */
#ifndef TESTS_UNIT_OS_LINUX_SPACE_H
#define TESTS_UNIT_OS_LINUX_SPACE_H

#include "os_linux.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

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

/* System call `nr` answers -`err` from now on, in this process. */
static inline void deny(int nr, int err)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        SKIP_CHILD("no seccomp filters here");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
