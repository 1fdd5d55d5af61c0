/* SPDX-License-Identifier: MIT
 *
 * What becomes of redefinitions when the process forks, starts others, or unloads the objects concerned:
 * docs/guarantees.md says it, this shows it.
 */
#include "deny.h"
#include "entries.h"
#include "objects.h"

#include <spawn.h>
#include <stdatomic.h>

extern char **environ;

TARGET int target(int value)
{
    __asm__ volatile("");
    return value + 1;
}

static int replacement(int value)
{
    return redefine_original(target)(value) + 100;
}

/* In a child: its exit status is 0 when `is_right`. */
static void check_child(pid_t child)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status)
        live_fail(__FILE__, __LINE__, "the child's status is %#x", (unsigned)status);
}

/* A child has what its parent had; what it changes is its own. */
static void forks(size_t threads)
{
    live_threads(threads);
    CHECK_OK(redefine(target, replacement));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
        CHECK_INT(target(1), 2);
        CHECK_OK(redefine(target, replacement));
        CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
        _exit(0);
    }
    check_child(child);
    CHECK_INT(target(1), 102);
    CHECK_OK(redefine_restore(target));
    CHECK_INT(target(1), 2);
}

static void one_forks(void)
{
    forks(0);
}

static void four_fork(void)
{
    forks(3);
}

/* Another thread forks all the while: no child sees half a change. */
static atomic_bool stop;

static void *keeps_forking(void *ctx)
{
    while (!stop) {
        pid_t child = fork();
        if (child == 0) {
            int is = target(1);
            _exit(is == 2 || is == 102 ? 0 : 1);
        }
        check_child(child);
    }
    return ctx;
}

static void forks_meanwhile(bool denied)
{
    pthread_t thread;
    if (denied) {
        static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
        live_deny(rules, LIVE_COUNT(rules));
    }
    CHECK(!pthread_create(&thread, NULL, keeps_forking, NULL));
    for (int round = 0; round < 30; round++) {
        redefine_status status = redefine(target, replacement);
        CHECK(status == REDEFINE_OK || status == REDEFINE_EBUSY);
        while (redefine_restore(target) != REDEFINE_OK)
            ;
    }
    stop = true;
    CHECK(!pthread_join(thread, NULL));
}

static void forks_meanwhile_stopped(void)
{
    live_needs_stopped_threads();
    forks_meanwhile(false);
}

static void forks_meanwhile_unstopped(void)
{
    if (!ENTRY_TRAPS)
        live_skip("this CPU has no traps for that: each change is refused");
    forks_meanwhile(true);
}

/* Children that are forked while entries are closed by traps: each can change all of them, and has them as
 * they were in between. */
enum { MANY = 1000, FUNCTION_BYTES = 16 };

__asm__(".text\n" UNNAMED_MACROS ".balign 4096\n.globl many\nmany:\n"
        ".rept 1000\nunnamed\n.balign 16\n" ENTRY_PLUS_ONE ".balign 16\nend_unnamed\n.endr\n");
extern char many[];

static void *function_of(size_t index)
{
    return many + index * FUNCTION_BYTES;
}

static int call(size_t index)
{
    return ((int(ENTRY_ABI *)(int))(uintptr_t)function_of(index))(1);
}

static int ENTRY_ABI plus_two(int value)
{
    return value + 2;
}

static redefine_status redefine_many(void)
{
    redefine_batch *batch = redefine_batch_new();
    for (size_t i = 0; i < MANY; i++)
        CHECK_OK(redefine_batch_add(batch, function_of(i), ADDRESS(plus_two)));
    redefine_status status = redefine_batch_commit(batch);
    redefine_batch_free(batch);
    return status;
}

/* What is changed is changed, and nothing that is not. */
static void check_many(int expected)
{
    for (size_t i = 0; i < MANY; i++)
        CHECK_INT(call(i), expected);
}

static void be_the_child(int round)
{
    for (size_t i = 0; i < MANY; i++)
        CHECK(call(i) == 2 || call(i) == 3);
    if (round % 2)
        CHECK_OK(redefine_many());
    if (round % 2)
        check_many(3);
    for (size_t i = 0; i < MANY && round % 3; i++)
        CHECK_OK(redefine_func_restore(function_of(i)));
    CHECK_OK(redefine_restore_all());
    check_many(2);
    CHECK_OK(redefine_many());
    check_many(3);
    _exit(0);
}

static void *forks_many_times(void *ctx)
{
    const int forks = 60 / (int)test_slowdown();
    for (int round = 0; round < forks; round++) {
        pid_t child = fork();
        if (child == 0)
            be_the_child(round);
        check_child(child);
    }
    stop = true;
    return ctx;
}

static void change_all(void)
{
    pthread_t thread;
    redefine_status first = redefine_many(); /* alone: the memory is there, and it is seen whether it works */
    CHECK_INT(first, REDEFINE_OK);
    CHECK_OK(redefine_restore_all());
    CHECK(!pthread_create(&thread, NULL, forks_many_times, NULL));
    while (!stop) {
        redefine_status status = redefine_many();
        CHECK(status == REDEFINE_OK || status == REDEFINE_EBUSY || status == REDEFINE_EDENIED);
        while (redefine_restore_all() != REDEFINE_OK)
            ;
    }
    CHECK(!pthread_join(thread, NULL));
}

static void children_change_all(void)
{
    static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    change_all();
}

/* Before Linux 6.11 the mappings are read as text, and what was found out of them is not kept. */
static void children_change_all_by_text(void)
{
    static const struct live_rule rules[] = {DENY(ptrace, EPERM), DENY(ioctl, ENOTTY)};
    live_deny(rules, LIVE_COUNT(rules));
    change_all();
}

/* Redefined functions work in the child of vfork, which has our memory; another program has nothing of it. */
static void vforks(void)
{
    live_skip_where_emulated("vfork is fork");
    CHECK_OK(redefine(target, replacement));
    volatile int seen = 0;
    pid_t child = vfork();
    if (child == 0) {
        seen = target(1);
        _exit(0);
    }
    check_child(child);
    CHECK_INT(seen, 102);
}

static pid_t (*volatile get_pid)(void) = getpid;

static pid_t no_pid(void)
{
    return -1;
}

static void spawns(void)
{
    CHECK_OK(redefine(getpid, no_pid));
    CHECK_INT(get_pid(), -1);
    char *const args[] = {(char *)"sh", (char *)"-c", (char *)"test $$ -gt 0", NULL};
    pid_t child;
    CHECK(!posix_spawn(&child, "/bin/sh", NULL, NULL, args, environ));
    check_child(child);
    CHECK_INT(get_pid(), -1);
    CHECK_OK(redefine_restore(getpid));
}

static void executes(void)
{
    CHECK_OK(redefine(getpid, no_pid));
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "test $$ -gt 0", (char *)NULL);
        _exit(1);
    }
    check_child(child);
}

/* ---- objects that go ---- */

/* The target's object is unloaded and loaded again, or another one in its place: it is as in the file, can be
 * redefined anew, and a restore of what has gone is nothing to do. */
static void target_object_goes(void)
{
    const char *path = make_object("one", 1);
    const char *other = make_object("other", 5);
    for (int round = 0; round < 10; round++) {
        function_type *function;
        void *object = load(round % 2 ? other : path, &function);
        int plus = round % 2 ? 5 : 1;
        CHECK_INT(function(1), 1 + plus);
        CHECK_OK(redefine(function, replacement));
        CHECK_OK(redefine(target, replacement));
        CHECK_OK(redefine_restore(target));
        unload(object, round % 2 ? other : path);
        if (round % 3 == 0)
            CHECK_OK(redefine_func_restore(ADDRESS(function)));
    }
    CHECK_OK(redefine_restore_all());
    function_type *function;
    void *object = load(path, &function);
    CHECK_INT(function(1), 2);
    CHECK(!dlclose(object));
}

/* Before the replacement's object goes, what it redefined is restored: by the program, which unloads it. */
static void replacement_object_goes(void)
{
    function_type *function;
    void *object = load(make_object("gone", 1000), &function);
    CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(function)));
    CHECK_INT(target(1), 1001);
    CHECK_OK(redefine_restore(target));
    CHECK(!dlclose(object));
    CHECK_INT(target(1), 2);
    CHECK_OK(redefine(target, replacement));
    CHECK_INT(target(1), 102);
}

/* A call of what has gone is a crash, and nothing else is. */
static void check_call_crashes(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(target(1) == 2 ? 0 : 1);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void replacement_object_goes_in_force(void)
{
    for (int round = 0; round < 2; round++) {
        function_type *function;
        const char *path = make_object(round ? "two" : "one", 1000);
        void *object = load(path, &function);
        CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(function)));
        CHECK_INT(target(1), 1001);
        unload(object, path);
        check_call_crashes();
        if (round)
            CHECK_OK(redefine(target, replacement));
        CHECK_INT(redefine_original(target)(1), 2);
        if (round)
            CHECK_INT(target(1), 102);
        CHECK_OK(redefine_restore(target));
        CHECK_INT(target(1), 2);
    }
}

static void *apply(const char *path, function_type **ret)
{
    void *object = load(path, ret);
    void (**original)(void) = (void (**)(void))dlsym(object, "original");
    struct redefine_patch_change change = {.name = "target",
                                           .replacement = ADDRESS(*ret),
                                           .original = original};
    CHECK_OK(redefine_patch_apply(ADDRESS(*ret), &change, 1));
    CHECK(*original);
    return object;
}

/* A patch whose object has gone can be taken off, alone or in the middle of others. */
static void patch_object_goes(void)
{
    function_type *low, *high;
    const char *path = make_object("low", 1000);
    void *object = apply(path, &low);
    CHECK_INT(target(1), 1001);
    unload(object, path);
    check_call_crashes();
    CHECK_OK(redefine_patch_remove(ADDRESS(low)));
    CHECK_INT(target(1), 2);
    (void)apply(make_object("below", 2000), &low);
    object = apply(make_object("above", 3000), &high);
    CHECK_INT(target(1), 3001);
    CHECK(!dlclose(object));
    CHECK_OK(redefine_patch_remove(ADDRESS(low)));
    CHECK_OK(redefine_patch_remove(ADDRESS(high)));
    CHECK_INT(target(1), 2);
    (void)apply(make_object("again", 4000), &low);
    CHECK_INT(target(1), 4001);
    CHECK_OK(redefine_patch_remove(ADDRESS(low)));
    CHECK_INT(target(1), 2);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"fork: one thread", one_forks, 0},
        {"fork: four threads", four_fork, 0},
        {"fork by another thread all the while", forks_meanwhile_stopped, 0},
        {"the same without ptrace", forks_meanwhile_unstopped, 0},
        {"a child that is forked meanwhile changes the same functions", children_change_all, 0},
        {"the same where the kernel tells of mappings as text alone", children_change_all_by_text, 0},
        {"vfork", vforks, 0},
        {"posix_spawn", spawns, 0},
        {"exec", executes, 0},
        {"dlclose of the target's object, and another in its place", target_object_goes, 0},
        {"dlclose of the replacement's object, after a restore", replacement_object_goes, 0},
        {"dlclose of the replacement's object while it is in force", replacement_object_goes_in_force, 0},
        {"dlclose of a patch's object while it is in force", patch_object_goes, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
