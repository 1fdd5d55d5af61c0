/* SPDX-License-Identifier: MIT
 *
 * What a program finds out about its own functions: redefine() refuses what debug data knows to be inlined,
 * says where, and lets itself be told to go on; redefine_check() gives the verdict. Compiled with -O2 -g
 * whatever the rest is compiled with.
 */
#include "live.h"

#include <fcntl.h>
#include <sys/resource.h>

/* This file's compiler decides; what is inlined is forced to be. */
#define INLINED __attribute__((always_inline)) inline
#define KEPT    __attribute__((noinline, noclone))

static int twice(int x)
{
    return 2 * x;
}

/* Inlined below, and its address is taken: it has a body too. */
static INLINED int half(int x)
{
    return x / 2;
}

KEPT static int caller(int x)
{
    return half(x) + 100; /* CALL_LINE */
}
enum { CALL_LINE = __LINE__ - 2 };

KEPT static int plain(int x)
{
    __asm__("");
    return x + 1;
}

/* It is inlined too, and of that copy nothing is left. */
static int three(void)
{
    return 3;
}

KEPT static int three_more(int x)
{
    return three() + x;
}

static int (*volatile three_pointer)(void) = three;
static int (*volatile half_pointer)(int) = half;
static int (*volatile twice_pointer)(int) = twice;
static int (*volatile plain_pointer)(int) = plain;
static int (*volatile caller_pointer)(int) = caller;

KEPT static int instead(int x)
{
    return x + 1000;
}

static void refused(void)
{
    char line[64];
    CHECK_STATUS(redefine_func(ADDRESS(half_pointer), ADDRESS(instead)), REDEFINE_EINLINED);
    CHECK_SAYS("half is inlined into caller");
    (void)snprintf(line, sizeof line, "check_inside.c:%d)", (int)CALL_LINE);
    CHECK_SAYS(line);
    CHECK_SAYS("__attribute__((noinline))");
    CHECK_INT(half_pointer(10), 5);
    CHECK(redefine_func_original(ADDRESS(half_pointer)) == ADDRESS(half_pointer));
}

/* clang says nothing of such copies. */
static void refused_without_place(void)
{
#if defined __clang__ || !defined __OPTIMIZE__ || __OPTIMIZE__ < 1
    live_skip("only gcc marks functions of which no copy is described");
#endif
    CHECK_INT(three_more(1), 4);
    CHECK_STATUS(redefine_func(ADDRESS(three_pointer), ADDRESS(instead)), REDEFINE_EINLINED);
    CHECK_SAYS("three was inlined");
    CHECK_SAYS("__attribute__((noipa))");
    (void)redefine_set_inlined_ok(1);
    CHECK_OK(redefine_func(ADDRESS(three_pointer), ADDRESS(instead)));
    CHECK_INT(three_more(1), 4);
}

static void refused_in_batch(void)
{
    redefine_batch *batch = redefine_batch_new();
    CHECK_OK(redefine_batch_add(batch, ADDRESS(plain_pointer), ADDRESS(instead)));
    CHECK_OK(redefine_batch_add(batch, ADDRESS(half_pointer), ADDRESS(instead)));
    CHECK_STATUS(redefine_batch_commit(batch), REDEFINE_EINLINED);
    CHECK_INT(plain_pointer(1), 2);
    (void)redefine_set_inlined_ok(1);
    CHECK_OK(redefine_batch_commit(batch));
    CHECK_INT(plain_pointer(1), 1001);
    redefine_batch_free(batch);
}

static void allowed(void)
{
    CHECK_INT(redefine_set_inlined_ok(1), 0);
    CHECK_OK(redefine_func(ADDRESS(half_pointer), ADDRESS(instead)));
    CHECK_INT(redefine_set_inlined_ok(0), 1);
    CHECK_INT(half_pointer(10), 1010);
    CHECK_INT(caller_pointer(10), 105);
    /* It is redefined already: another replacement is no new question. */
    CHECK_OK(redefine_func(ADDRESS(half_pointer), ADDRESS(twice_pointer)));
    CHECK_INT(half_pointer(10), 20);
    CHECK_OK(redefine_func_restore(ADDRESS(half_pointer)));
}

static void switched_off(void)
{
    setenv("REDEFINE_CHECK", "off", 1);
    CHECK_OK(redefine_func(ADDRESS(half_pointer), ADDRESS(instead)));
}

static void others_pass(void)
{
    CHECK_OK(redefine_func(ADDRESS(plain_pointer), ADDRESS(instead)));
    CHECK_INT(plain_pointer(1), 1001);
    CHECK_OK(redefine_func_restore(ADDRESS(plain_pointer)));
    CHECK_OK(redefine_func(ADDRESS(caller_pointer), ADDRESS(instead)));
    CHECK_INT(caller_pointer(1), 1001);
}

/* ---- redefine_check ---- */

static const redefine_hazard *hazard_of(const redefine_check_report *report, const char *kind)
{
    for (size_t i = 0; i < report->hazard_count; i++)
        if (strcmp(report->hazard[i].kind, kind) == 0)
            return &report->hazard[i];
    return NULL;
}

/* redefine_check reads all words of the program's data, in search of the function's address; what the address
 * sanitizer puts between variables is among them, and an instrumented library may not read that. */
static void reads_all_data(void)
{
#ifdef __SANITIZE_ADDRESS__
    live_skip("what the address sanitizer put into the program's data is read with it");
#endif
}

static void check_inlined(void)
{
    reads_all_data();
    redefine_check_report report;
    CHECK_OK(redefine_check(half_pointer, NULL, &report));
    CHECK_INT(report.verdict, REDEFINE_VERDICT_PARTIAL);
    const redefine_hazard *hazard = hazard_of(&report, "inlined");
    CHECK(hazard != NULL);
    CHECK(strcmp(hazard->caller, "caller") == 0);
    CHECK(strstr(hazard->file, "check_inside.c") != NULL);
    CHECK_INT(hazard->line, CALL_LINE);
    redefine_check_report_free(&report);
    CHECK_INT(report.hazard_count, 0);
    redefine_check_report_free(&report);
    redefine_check_report_free(NULL);
}

static void check_ok(void)
{
    reads_all_data();
    redefine_check_report report;
    CHECK_OK(redefine_check(plain_pointer, instead, &report));
    for (size_t i = 0; i < report.hazard_count; i++)
        CHECK(strcmp(report.hazard[i].severity, "note") == 0);
    CHECK(strcmp(redefine_verdict_name(report.verdict), "ok") == 0);
    CHECK(report.size_bytes > 0);
    redefine_check_report_free(&report);
}

struct counter {
    long A;
};
struct other {
    int32_t some_other_field;
    int32_t A;
};
struct renamed {
    long count;
};

KEPT static long count(struct counter *counter)
{
    __asm__("");
    return ++counter->A;
}
KEPT static long count_other(struct other *other)
{
    __asm__("");
    return ++other->A;
}
KEPT static long count_renamed(struct renamed *renamed)
{
    __asm__("");
    return ++renamed->count;
}

static void check_layouts(void)
{
    reads_all_data();
    static long (*volatile pointer)(struct counter *) = count;
    static long (*volatile other_pointer)(struct other *) = count_other;
    static long (*volatile renamed_pointer)(struct renamed *) = count_renamed;
    redefine_check_report report;
    CHECK_OK(redefine_check(pointer, other_pointer, &report));
    CHECK_INT(report.verdict, REDEFINE_VERDICT_UNSAFE);
    const redefine_hazard *hazard = hazard_of(&report, "layout");
    CHECK(hazard != NULL);
    CHECK(strcmp(hazard->severity, "blocker") == 0);
    CHECK(strstr(hazard->detail, "long int A") != NULL);
    CHECK(strstr(hazard->detail, "some_other_field") != NULL);
    redefine_check_report_free(&report);
    CHECK_OK(redefine_check(pointer, renamed_pointer, &report));
    CHECK(hazard_of(&report, "layout") == NULL);
    CHECK(hazard_of(&report, "signature") == NULL);
    redefine_check_report_free(&report);
}

static void check_arguments(void)
{
    redefine_check_report report;
    CHECK_STATUS(redefine_func_check(NULL, NULL, &report), REDEFINE_EINVAL);
    CHECK_SAYS("the target is null");
    CHECK_STATUS(redefine_func_check(ADDRESS(plain), NULL, NULL), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_func_check(&report, NULL, &report), REDEFINE_EINVAL);
}

/* ---- What it costs the program ---- */

static volatile unsigned long mallocs;
static void *(*real_malloc)(size_t);

static void *counting_malloc(size_t size)
{
    mallocs++;
    return real_malloc(size);
}

static void no_malloc(void)
{
    reads_all_data();
    CHECK_OK(redefine_func(ADDRESS(malloc), ADDRESS(counting_malloc)));
    void *original = redefine_func_original(ADDRESS(malloc));
    memcpy(&real_malloc, &original, sizeof original);
    mallocs = 0;
    redefine_status refused_now = redefine_func(ADDRESS(half_pointer), ADDRESS(instead));
    redefine_status done = redefine_func(ADDRESS(plain_pointer), ADDRESS(instead));
    redefine_check_report report;
    redefine_status checked = redefine_func_check(ADDRESS(half_pointer), NULL, &report);
    unsigned long seen = mallocs;
    CHECK_OK(redefine_func_restore(ADDRESS(malloc)));
    CHECK_STATUS(refused_now, REDEFINE_EINLINED);
    CHECK_OK(done);
    CHECK_OK(checked);
    CHECK_INT(seen, 0);
}

/* What was found out is kept: where no file can be opened any more, the answer has the same place. */
static void asks_once(void)
{
    struct rlimit limit;
    CHECK_STATUS(redefine_func(ADDRESS(half_pointer), ADDRESS(instead)), REDEFINE_EINLINED);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC) == -1);
    CHECK_STATUS(redefine_func(ADDRESS(half_pointer), ADDRESS(instead)), REDEFINE_EINLINED);
    CHECK_SAYS("half is inlined into caller");
}

int main(void)
{
    static const struct live_case cases[] = {
        {"an inlined function is refused, with the place", refused, 0},
        {"… without a place, where it folded away", refused_without_place, 0},
        {"… in a batch, of which nothing is done", refused_in_batch, 0},
        {"… and done where it was allowed", allowed, 0},
        {"… or where the environment says so", switched_off, 0},
        {"functions that are only called pass", others_pass, 0},
        {"redefine_check names the place", check_inlined, 0},
        {"redefine_check is content", check_ok, 0},
        {"redefine_check compares layouts", check_layouts, 0},
        {"redefine_check refuses nonsense", check_arguments, 0},
        {"the question allocates nothing of the program's", no_malloc, 0},
        {"the question reads no file after the first", asks_once, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
