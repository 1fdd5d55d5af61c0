/* SPDX-License-Identifier: MIT
 *
 * Objects come and go in other threads while functions are redefined: those of the program, of the C library,
 * and of the very objects. What has gone by the time it is looked at is a refusal, never a fault, and changes
 * of what stays are not refused for it.
 */
#include "deny.h"
#include "entries.h"
#include "objects.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

enum { MS_EACH = 700, OTHERS = 20000 };

/* Each is planned once. */
enum { MANY = 4000, FUNCTION_BYTES = 16 };
__asm__(".text\n" UNNAMED_MACROS ".balign 4096\n.globl many\nmany:\n"
        ".rept 4000\nunnamed\n.balign 16\n" ENTRY_PLUS_ONE ".balign 16\nend_unnamed\n.endr\n");
extern char many[];

static int ENTRY_ABI plus_two(int value)
{
    return value + 2;
}

static bool is_over(void)
{
    static struct timespec began;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!began.tv_sec)
        began = now;
    return (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 >
           (long)(MS_EACH * LIVE_SLOWER);
}

/* ---- who loads and unloads ---- */

struct visitor {
    const char *path;
    pthread_t thread;
    _Atomic(function_type *) function; /* of the object as it was loaded the last time */
    atomic_uint loaded;
};

static struct visitor visitor[2];
static atomic_bool stop;

static void *comes_and_goes(void *ctx)
{
    struct visitor *self = ctx;
    for (unsigned round = 0; !stop; round++) {
        function_type *function;
        void *object = load(self->path, &function);
        self->function = function;
        self->loaded++;
        for (unsigned spin = round * 7919 % 4000; spin > 0; spin--)
            __asm__ volatile("");
        CHECK(!dlclose(object));
    }
    return NULL;
}

static void let_objects_come_and_go(void)
{
    live_skip_where_emulated("threads cannot be stopped");
    visitor[0].path = make_object_with("early", 1, OTHERS);
    visitor[1].path = make_object_with("later", 5, OTHERS / 10);
    function_type *function;
    unload(load(visitor[0].path, &function), visitor[0].path);
    for (size_t i = 0; i < LIVE_COUNT(visitor); i++)
        CHECK(!pthread_create(&visitor[i].thread, NULL, comes_and_goes, &visitor[i]));
    for (size_t i = 0; i < LIVE_COUNT(visitor); i++)
        while (!visitor[i].loaded)
            sched_yield();
}

/* While threads run, what is written to may have gone and come again between two writes: then the new copy
 * has nothing that could be put back. */
static bool may_be_in_part;

/* Its object was going, had gone, or was not wholly there yet. */
static void check_or_refused(redefine_status status)
{
    if (may_be_in_part && status == REDEFINE_EROLLBACK)
        return;
    if (status != REDEFINE_EBUSY && status != REDEFINE_EINVAL && status != REDEFINE_EUNSUPPORTED)
        CHECK_OK(status);
}

static void end_visits(void)
{
    stop = true;
    for (size_t i = 0; i < LIVE_COUNT(visitor); i++)
        CHECK(!pthread_join(visitor[i].thread, NULL));
    check_or_refused(redefine_restore_all());
}

/* ---- who redefines ---- */

static void functions_of_the_program(void)
{
    let_objects_come_and_go();
    for (size_t i = 0; i < MANY && !is_over(); i++) {
        char *function = many + i * FUNCTION_BYTES;
        CHECK_OK(redefine_func(function, ADDRESS(plus_two)));
        CHECK_INT(((int(ENTRY_ABI *)(int))(uintptr_t)function)(1), 3);
    }
    end_visits();
}

static int nothing(void)
{
    return -7;
}

/* Looked up by their names: in all objects, where the C library has none of that name. */
static void functions_of_the_c_library(void)
{
    static const char *const names[] = {"setlogmask", "ffs",     "abs",     "labs",     "isalnum", "isalpha",
                                        "isblank",    "iscntrl", "isdigit", "isgraph",  "islower", "isprint",
                                        "ispunct",    "isspace", "isupper", "isxdigit", "a64l",    "toascii"};
    let_objects_come_and_go();
    for (size_t i = 0; !is_over(); i++) {
        void *found, *none = NULL;
        CHECK_OK(redefine_find(names[i % LIVE_COUNT(names)], &found));
        CHECK_OK(redefine_func(found, ADDRESS(nothing)));
        CHECK_OK(redefine_func_restore(found));
        CHECK_STATUS(redefine_find("no_such_function", &none), REDEFINE_ENOTFOUND);
    }
    end_visits();
}

/* The object is there, or it has gone, wholly or in part, or comes again: at every moment of the change. */
static void change_visitors(void)
{
    unsigned made = 0, refused = 0;
    let_objects_come_and_go();
    for (size_t i = 0; !is_over(); i++) {
        char *function = (char *)ADDRESS(visitor[i % LIVE_COUNT(visitor)].function);
        redefine_status status = redefine_func(function, ADDRESS(plus_two));
        check_or_refused(status);
        made += status == REDEFINE_OK;
        refused += status != REDEFINE_OK;
        check_or_refused(redefine_func_restore(function));
    }
    end_visits();
    printf("# %u changes, %u refused\n", made, refused);
}

static void functions_of_the_objects(void)
{
    change_visitors();
}

static void functions_of_the_objects_unstopped(void)
{
    if (!ENTRY_TRAPS)
        live_skip("this CPU has no traps for that: each change is refused");
    static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    may_be_in_part = true;
    change_visitors();
}

/* The object cannot be read but by what a sandbox leaves. */
static void functions_of_the_objects_without_readv(void)
{
    static const struct live_rule rules[] = {DENY(process_vm_readv, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    change_visitors();
}

/* As replacements: what becomes of them is the program's affair, whether they are there is asked. */
static void replacements_of_the_objects(void)
{
    let_objects_come_and_go();
    for (size_t i = 0; i < MANY && !is_over(); i++) {
        check_or_refused(redefine_func(many + i * FUNCTION_BYTES, ADDRESS(visitor[i % 2].function)));
    }
    end_visits();
}

/* dlclose does not unload it: nothing becomes of what was redefined in it. */
static void object_that_stays(void)
{
    function_type *function;
    const char *path = make_object("stays", 1);
    CHECK(dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
    void *object = load(path, &function);
    CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(plus_two)));
    CHECK_INT(function(1), 3);
    CHECK(!dlclose(object));
    CHECK(!dlclose(object));
    CHECK_INT(function(1), 3);
    CHECK_INT(((function_type *)(uintptr_t)redefine_func_original(ADDRESS(function)))(1), 2);
    function_type *again;
    object = load(path, &again);
    CHECK(again == function);
    CHECK_INT(again(1), 3);
    CHECK_OK(redefine_func_restore(ADDRESS(function)));
    CHECK_INT(function(1), 2);
    CHECK(!dlclose(object));
    CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(plus_two)));
    CHECK_INT(function(1), 3);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(function(1), 2);
}

/* A jump from elsewhere into the bytes may be in what cannot be read. */
static void object_too_large_to_look_at(void)
{
    enum { LARGE = 80000, ROOM_BYTES = 5 * 1024 * 1024 };
    function_type *function;
    struct rlimit limit, least;
    unsigned long pages;
    if (live_shares_process())
        live_skip("the address space is the sanitizer's, too");
    void *object = load(make_object_with("large", 1, LARGE), &function);
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm && fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
    CHECK(!getrlimit(RLIMIT_AS, &limit));
    least = limit;
    least.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + ROOM_BYTES;
    CHECK(!setrlimit(RLIMIT_AS, &least));
    CHECK_STATUS(redefine_func(ADDRESS(function), ADDRESS(plus_two)), REDEFINE_ENOMEM);
    CHECK_SAYS("no memory to look for what leads to the code");
    CHECK_INT(function(1), 2);
    CHECK(!setrlimit(RLIMIT_AS, &limit));
    CHECK_OK(redefine_func(ADDRESS(function), ADDRESS(plus_two)));
    CHECK_INT(function(1), 3);
    CHECK_OK(redefine_restore_all());
    CHECK(!dlclose(object));
}

int main(void)
{
    static const struct live_case cases[] = {
        {"functions of the program, while objects come and go", functions_of_the_program, 0},
        {"functions of the C library, by their names", functions_of_the_c_library, 0},
        {"functions of the objects themselves", functions_of_the_objects, 0},
        {"the same without ptrace", functions_of_the_objects_unstopped, 0},
        {"the same without process_vm_readv", functions_of_the_objects_without_readv, 0},
        {"replacements in the objects", replacements_of_the_objects, 0},
        {"an object opened with RTLD_NODELETE", object_that_stays, 0},
        {"an object that there is no memory to look at", object_too_large_to_look_at, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
