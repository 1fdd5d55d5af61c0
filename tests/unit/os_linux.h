/* SPDX-License-Identifier: MIT
 *
 * For the tests of src/os/linux: what can crash, hang or change the process runs in a child.
 */
#ifndef TESTS_UNIT_OS_LINUX_H
#define TESTS_UNIT_OS_LINUX_H

#include "support/slowdown.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

/* In a child: says where it failed, and ends. */
#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "# %s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                                   \
        }                                                                               \
    } while (0)

#define CHECK_EQUAL(is, wanted)                                                                        \
    do {                                                                                               \
        long long is_ = (long long)(is), wanted_ = (long long)(wanted);                                \
        if (is_ != wanted_) {                                                                          \
            fprintf(stderr, "# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #is, is_, wanted_); \
            _exit(1);                                                                                  \
        }                                                                                              \
    } while (0)

/* Says why this part cannot be tested here, and ends the child; the test is counted as skipped. */
enum { CHILD_SKIPPED = 77 };
#define SKIP_CHILD(reason)                 \
    do {                                   \
        printf("# skipped: %s\n", reason); \
        fflush(stdout);                    \
        _exit(CHILD_SKIPPED);              \
    } while (0)

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

static inline void in_child(void (*body)(void), unsigned limit_s)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(limit_s * test_slowdown());
        body();
        fflush(NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("the child was killed by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
