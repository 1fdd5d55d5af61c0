/* SPDX-License-Identifier: MIT
 *
 * Functions that are hard to name or to write: in the vDSO, behind an IFUNC, beginning with a jump, in
 * another link namespace, in an object that was loaded late. And every form of a name that redefine_find
 * takes.
 */
#include "entries.h"
#include "live.h"

#include <dlfcn.h>
#include <math.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>

/* ---- the vDSO ---- */

static time_t time_plus(time_t *out)
{
    time_t now = redefine_original(time)(NULL) + 1000000;
    if (out)
        *out = now;
    return now;
}

static int clock_plus(clockid_t clock, struct timespec *out)
{
    int status = redefine_original(clock_gettime)(clock, out);
    out->tv_sec += 1000000;
    return status;
}

static int timeofday_plus(struct timeval *restrict out, void *restrict zone)
{
    int status = redefine_original(gettimeofday)(out, zone);
    out->tv_sec += 1000000;
    return status;
}

static int getcpu_says(unsigned *cpu, unsigned *node)
{
    int status = redefine_original(getcpu)(cpu, node);
    *cpu += 70000;
    return status;
}

/* The real time, by a way that nothing here redefines. */
static time_t kernel_time(void)
{
    struct timespec now;
    CHECK(!syscall(SYS_clock_gettime, CLOCK_REALTIME, &now));
    return now.tv_sec;
}

#define CHECK_NEAR(is, wanted)                                                 \
    do {                                                                       \
        long long difference_ = (long long)(is) - (long long)(wanted);         \
        if (difference_ < -30 || difference_ > 30)                             \
            live_fail(__FILE__, __LINE__, "%s is %lld off", #is, difference_); \
    } while (0)

static bool in_vdso(void *addr)
{
    static struct live_maps maps;
    live_maps_read(&maps);
    const struct live_map *map = live_maps_find(&maps, (uint64_t)(uintptr_t)addr);
    return map && !strcmp(map->path, "[vdso]");
}

static void vdso_time(void)
{
    live_world_take(&live_before);
    CHECK_OK(redefine(time, time_plus));
    time_t out = 0;
    CHECK_NEAR(time(NULL), kernel_time() + 1000000);
    CHECK_NEAR(time(&out), kernel_time() + 1000000);
    CHECK_NEAR(out, kernel_time() + 1000000);
    CHECK_NEAR(redefine_original(time)(NULL), kernel_time());
    CHECK_OK(redefine_restore(time));
    CHECK_NEAR(time(NULL), kernel_time());
    CHECK_WORLD(&live_before, &live_now, false);
}

static void vdso_clock_gettime(void)
{
    struct timespec now;
    struct timeval of_day;
    if (!getauxval(AT_SYSINFO_EHDR))
        live_skip("this kernel maps no vDSO, and then one of the two may call the other");
    CHECK_OK(redefine(clock_gettime, clock_plus));
    CHECK(!clock_gettime(CLOCK_REALTIME, &now));
    CHECK_NEAR(now.tv_sec, kernel_time() + 1000000);
    CHECK(!gettimeofday(&of_day, NULL));
    if (of_day.tv_sec > kernel_time() + 500000)
        live_skip("gettimeofday calls clock_gettime here, so both replacements would run");
    CHECK_OK(redefine(gettimeofday, timeofday_plus));
    CHECK(!gettimeofday(&of_day, NULL));
    CHECK_NEAR(of_day.tv_sec, kernel_time() + 1000000);
    CHECK_OK(redefine_restore(clock_gettime));
    CHECK(!clock_gettime(CLOCK_REALTIME, &now));
    CHECK_NEAR(now.tv_sec, kernel_time());
    CHECK(!gettimeofday(&of_day, NULL));
    CHECK_NEAR(of_day.tv_sec, kernel_time() + 1000000);
    CHECK_OK(redefine_restore_all());
    CHECK(!gettimeofday(&of_day, NULL));
    CHECK_NEAR(of_day.tv_sec, kernel_time());
}

static void vdso_getcpu(void)
{
    unsigned cpu = 0, node = 0;
    CHECK_OK(redefine(getcpu, getcpu_says));
    CHECK(!getcpu(&cpu, &node));
    CHECK(cpu >= 70000);
    CHECK_OK(redefine_restore(getcpu));
    CHECK(!getcpu(&cpu, &node));
    CHECK(cpu < 70000);
}

typedef int clock_type(clockid_t, struct timespec *);

static clock_type *vdso_function;

static int vdso_clock_says(clockid_t clock, struct timespec *ret)
{
    int status = redefine_original(vdso_function)(clock, ret);
    ret->tv_sec += 80000;
    return status;
}

static long seconds_by(clock_type *function)
{
    struct timespec now;
    CHECK(!function(CLOCK_MONOTONIC, &now));
    return now.tv_sec;
}

/* All of them, as the vDSO itself exports them. */
static void vdso_by_name(void)
{
    static const char *const names[] = {ENTRY_VDSO_CLOCK, ENTRY_VDSO_OTHERS};
    void *found = NULL;
    if (!getauxval(AT_SYSINFO_EHDR))
        live_skip("this kernel maps no vDSO");
    for (size_t i = LIVE_COUNT(names); i-- > 0;) {
        CHECK_OK(redefine_find(names[i], &found));
        CHECK(in_vdso(found));
    }
    vdso_function = (clock_type *)(uintptr_t)found;
    long real = seconds_by(vdso_function);
    live_world_take(&live_before);
    CHECK_OK(redefine(vdso_function, vdso_clock_says));
    CHECK(seconds_by(vdso_function) >= real + 80000);
    CHECK(seconds_by(clock_gettime) >= real + 80000); /* libc's own goes through it */
    CHECK_OK(redefine_restore(vdso_function));
    CHECK(seconds_by(clock_gettime) < real + 80000);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* ---- IFUNCs ---- */

static size_t strlen_more(const char *text)
{
    return redefine_original(strlen)(text) + 100;
}

static unsigned memcpy_calls;

static void *memcpy_counts(void *restrict to, const void *restrict from, size_t len)
{
    memcpy_calls++;
    return redefine_original(memcpy)(to, from, len);
}

static size_t (*volatile call_strlen)(const char *) = strlen;
static void *(*volatile call_memcpy)(void *, const void *, size_t) = memcpy;

static void ifuncs(void)
{
    static char from[4096], to[4096];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (char)(i * 7);
    if (live_under_valgrind())
        live_skip("memcheck runs its own strlen and memcpy in the place of these");
    live_world_take(&live_before);
    CHECK_OK(redefine(strlen, strlen_more));
    size_t len = call_strlen("four");
    size_t original = redefine_original(strlen)("four");
    CHECK_OK(redefine_restore(strlen));
    CHECK_INT(len, 104);
    CHECK_INT(original, 4);
    CHECK_OK(redefine(memcpy, memcpy_counts));
    for (size_t bytes = 0; bytes < sizeof to; bytes += 61) {
        call_memcpy(to, from, bytes);
        for (size_t i = 0; i < bytes; i++)
            CHECK(to[i] == from[i]);
    }
    unsigned calls = memcpy_calls;
    CHECK_OK(redefine_restore(memcpy));
    call_memcpy(to, from, 100);
    CHECK(calls >= sizeof to / 61);
    CHECK_INT(memcpy_calls, calls);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* ---- functions that begin with a jump ---- */

int jumps_there(int);
int jump_goal(int);
__asm__(".text\n" FUNCTION(jumps_there,
                           ENTRY_JUMP("jump_goal")) ".p2align 4\n" FUNCTION(jump_goal,
                                                                            ENTRY_GOAL) ".p2align 4\n");

static int jumps_elsewhere(int value)
{
    return redefine_original(jumps_there)(value) + 1000;
}

static void leading_jump(void)
{
    CHECK_OK(redefine(jumps_there, jumps_elsewhere));
    CHECK_INT(jumps_there(1), 1006);
    CHECK_INT(jump_goal(1), 6);
    CHECK_OK(redefine_restore(jumps_there));
    CHECK_INT(jumps_there(1), 6);
}

static int pclose_calls;

static int pclose_counts(FILE *stream)
{
    pclose_calls++;
    return redefine_original(pclose)(stream);
}

/* The contract's own example: with glibc 2.36, pclose is `jmp fclose`. */
static void pclose_leaves_fclose_alone(void)
{
    const uint8_t *code = dlsym(RTLD_DEFAULT, "pclose");
    CHECK_OK(redefine(pclose, pclose_counts));
    FILE *file = fopen("/dev/null", "r");
    CHECK(file);
    CHECK(!fclose(file));
    CHECK_INT(pclose_calls, 0);
    FILE *pipe = popen("exit 3", "r");
    CHECK(pipe);
    int status = pclose(pipe);
    CHECK_INT(pclose_calls, 1);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHECK_OK(redefine_restore(pclose));
    printf("pclose begins with %s\n", *code == 0xe9 || *code == 0xeb ? "a jump" : "no jump");
}

/* ---- other namespaces, late objects ---- */

/* Small whole numbers, so that nobody asks for the last bit of a cube root. */
typedef double cbrt_type(double);

static cbrt_type *target_cbrt;

static double cbrt_more(double value)
{
    return redefine_original(target_cbrt)(value) + 100;
}

static void other_namespace(void)
{
    void *there = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
    void *here = dlopen("libm.so.6", RTLD_NOW);
    if (!there || !here)
        live_skip("libm.so.6: %s", dlerror());
    cbrt_type *near_cbrt = (cbrt_type *)(uintptr_t)dlsym(here, "cbrt");
    target_cbrt = (cbrt_type *)(uintptr_t)dlsym(there, "cbrt");
    CHECK(target_cbrt && near_cbrt && target_cbrt != near_cbrt);
    live_world_take(&live_before);
    CHECK_OK(redefine(target_cbrt, cbrt_more));
    CHECK_INT(target_cbrt(27) + 0.5, 103);
    CHECK_INT(near_cbrt(27) + 0.5, 3);
    CHECK_OK(redefine_restore(target_cbrt));
    CHECK_INT(target_cbrt(27) + 0.5, 3);
    CHECK_WORLD(&live_before, &live_now, false);
    /* A plain name is the program's own namespace; through an object it is two of that name. */
    void *found = NULL;
    CHECK_STATUS(redefine_find("libm.so.6!cbrt", &found), REDEFINE_EAMBIGUOUS);
    CHECK(!found);
}

/* Loaded after the library was used, redefined, unloaded, and something else at its place. */
static void late_object(void)
{
    CHECK_OK(redefine(time, time_plus)); /* the engine has looked around already */
    CHECK_OK(redefine_restore(time));
    for (int round = 0; round < 3; round++) {
        void *late = dlopen("libm.so.6", RTLD_NOW);
        if (!late)
            live_skip("libm.so.6: %s", dlerror());
        target_cbrt = (cbrt_type *)(uintptr_t)dlsym(late, "cbrt");
        CHECK_OK(redefine(target_cbrt, cbrt_more));
        CHECK_INT(target_cbrt(27) + 0.5, 103);
        void *found = NULL;
        CHECK_OK(redefine_find("libm.so.6!cbrt", &found));
        CHECK(found == ADDRESS(target_cbrt));
        CHECK_OK(redefine_restore(target_cbrt));
        CHECK_INT(target_cbrt(27) + 0.5, 3);
        CHECK(!dlclose(late));
    }
}

/* Unloaded while it is redefined: nothing of it is touched any more. */
static void unload_and_load_again(bool restore_when_gone)
{
    void *late = dlopen("libm.so.6", RTLD_NOW);
    if (!late)
        live_skip("libm.so.6: %s", dlerror());
    target_cbrt = (cbrt_type *)(uintptr_t)dlsym(late, "cbrt");
    void *was = ADDRESS(target_cbrt);
    CHECK_OK(redefine(target_cbrt, cbrt_more));
    CHECK(!dlclose(late));
    Dl_info info;
    if (dladdr(was, &info))
        live_skip("libm.so.6 is not unloaded by dlclose");
    CHECK_OK(redefine(time, time_plus));
    CHECK_NEAR(time(NULL), kernel_time() + 1000000);
    if (restore_when_gone) {
        CHECK_STATUS(redefine(target_cbrt, cbrt_more), REDEFINE_EINVAL);
        CHECK_OK(redefine_restore_all());
        CHECK(redefine_func_original(was) == was);
        CHECK_NEAR(time(NULL), kernel_time());
    }
    /* The same object again, most likely at the same place, and as it is in the file. */
    late = dlopen("libm.so.6", RTLD_NOW);
    CHECK(late);
    target_cbrt = (cbrt_type *)(uintptr_t)dlsym(late, "cbrt");
    CHECK_INT(target_cbrt(27) + 0.5, 3);
    CHECK_OK(redefine(target_cbrt, cbrt_more));
    CHECK_INT(target_cbrt(27) + 0.5, 103);
    CHECK_OK(redefine_restore(target_cbrt));
    CHECK_INT(target_cbrt(27) + 0.5, 3);
}

static void unloaded_object(void)
{
    unload_and_load_again(false);
}

static void unloaded_and_restored(void)
{
    unload_and_load_again(true);
}

/* ---- names ---- */

static TARGET int only_here(int value)
{
    __asm__ volatile("");
    return value + 1;
}

TARGET int exported_here(int value)
{
    __asm__ volatile("");
    return value + 2;
}

static void *find(const char *name)
{
    void *found = NULL;
    CHECK_OK(redefine_find(name, &found));
    return found;
}

static void not_found(const char *name, redefine_status wanted)
{
    void *found = &found;
    CHECK_STATUS(redefine_find(name, &found), wanted);
    CHECK(found == (void *)&found); /* untouched */
    CHECK(*redefine_explain());
}

static void names(void)
{
    live_world_take(&live_before);
    CHECK_INT(only_here(1) + exported_here(1), 5);
    CHECK(find("only_here") == ADDRESS(only_here));
    CHECK(find("exported_here") == ADDRESS(exported_here));
    CHECK(find("only_here@library_targets.c") == ADDRESS(only_here));
    CHECK(find("only_here@tests/live/library_targets.c") == ADDRESS(only_here));
    CHECK(find("library_targets!only_here") == ADDRESS(only_here));
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    CHECK(libc && find("libc.so.6!pclose") == dlsym(libc, "pclose"));
    CHECK(find("pclose") == ADDRESS(dlsym(RTLD_DEFAULT, "pclose")));
    CHECK(live_shares_process() || find("time") == find("libc.so.6!time")); /* sanitizers have their own */
    void *memcpy_new = find("memcpy@" ENTRY_MEMCPY_VERSION);
    CHECK(memcpy_new == find("libc.so.6!memcpy@" ENTRY_MEMCPY_VERSION));
    CHECK(find("memcpy@" ENTRY_MEMCPY_FORMER) != NULL);
    not_found("no_function_is_called_so", REDEFINE_ENOTFOUND);
    not_found("", REDEFINE_EINVAL);
    not_found("only_her", REDEFINE_ENOTFOUND);
    CHECK_SAYS("only_here");
    not_found("libc.so.6!only_here", REDEFINE_ENOTFOUND);
    not_found("libnothing.so!time", REDEFINE_ENOTFOUND);
    not_found("only_here@another.c", REDEFINE_ENOTFOUND);
    not_found("memcpy@GLIBC_9.9", REDEFINE_ENOTFOUND);
    not_found("live_before", REDEFINE_ENOTFOUND); /* data */
    CHECK_STATUS(redefine_find(NULL, (void **)&live_now), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_find("time", NULL), REDEFINE_EINVAL);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* The engine's own functions are nobody's business; the program may be called anything. */
static void names_of_the_engine(void)
{
    void *found = NULL;
    int status = redefine_find("rdf_engine_commit", &found);
    CHECK(status == REDEFINE_ENOTFOUND && !found);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"time", vdso_time, 0},
        {"clock_gettime and gettimeofday", vdso_clock_gettime, 0},
        {"getcpu", vdso_getcpu, 0},
        {"functions of the vDSO by name", vdso_by_name, 0},
        {"IFUNCs: memcpy, strlen", ifuncs, 0},
        {"a function that is only a jump", leading_jump, 0},
        {"pclose is redefined, fclose is not", pclose_leaves_fclose_alone, 0},
        {"a function in another link namespace", other_namespace, 0},
        {"objects loaded late, again and again", late_object, 0},
        {"an object unloaded while redefined", unloaded_object, 0},
        {"an object unloaded while redefined, then restored", unloaded_and_restored, 0},
        {"every form of a name", names, 0},
        {"names of the engine are not found", names_of_the_engine, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
