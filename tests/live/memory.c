/* SPDX-License-Identifier: MIT
 *
 * What a redefinition does to the memory of the process: no page is ever writable and executable, whoever
 * looks and whenever; protections are put back as they were; trampolines share a few mappings; no descriptor
 * stays.
 */
#include "deny.h"
#include "entries.h"

#include <sys/prctl.h>

enum { MANY = 1000 };

/* A thousand functions of 16 bytes: the nth returns n. */
extern const char many[];
__asm__(".text\n.p2align 4\n.globl many\nmany:\n.set many_count, 0\n.rept 1000\n.p2align "
        "4\n.cfi_startproc\n" ENTRY_NUMBER(
            "many_count") ".cfi_endproc\n.set many_count, many_count + 1\n.endr\n");

typedef int many_type(void);

static void *nth(size_t n)
{
    return (void *)(uintptr_t)(many + 16 * n);
}

static int call(const void *function)
{
    return ((many_type *)(uintptr_t)function)();
}

static int minus_one(void)
{
    return -1;
}

TARGET int first(int value)
{
    __asm__ volatile("");
    return value + 1;
}

static int first_more(int value)
{
    static struct live_maps maps;
    live_maps_read(&maps);
    CHECK(!live_maps_writable_code(&maps));
    return redefine_original(first)(value) + 100;
}

/* ---- never writable and executable ---- */

static volatile int *sampler_found; /* shared with the sampler; 1: seen, 2: done */
static volatile unsigned *sampler_rounds;

/* A process of its own: a thread would be stopped just when there is something to see. */
static pid_t start_sampler(void)
{
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    sampler_found = shared;
    sampler_rounds = (volatile unsigned *)(shared + 1);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)getpid());
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    static char text[LIVE_MAPS_TEXT];
    while (*sampler_found == 0) {
        int fd = open(path, O_RDONLY);
        size_t len = 0;
        ssize_t got;
        while (fd >= 0 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0)
            len += (size_t)got;
        close(fd);
        text[len] = 0;
        if (strstr(text, " rwxp ") || strstr(text, " -wxp ") || strstr(text, " rwxs "))
            *sampler_found = 1;
        ++*sampler_rounds;
    }
    _exit(0);
}

static void there_and_back(const char *method)
{
    live_skip_where_emulated("others see the emulator's own mappings");
    pid_t sampler = start_sampler();
    while (*sampler_rounds == 0)
        usleep(100);
    unsigned before = *sampler_rounds;
    live_world_take(&live_before);
    for (unsigned round = 0; round < 400 && (round < 20 || *sampler_rounds - before < 200); round++) {
        CHECK_OK(redefine(first, first_more));
        if (round == 0 && !strstr(redefine_describe(ADDRESS(first)), method))
            live_fail(__FILE__, __LINE__, "not %s: %s", method, redefine_describe(ADDRESS(first)));
        if (round % 16 == 0)
            CHECK_INT(first(1), 102);
        CHECK_OK(redefine_func(nth(round), ADDRESS(minus_one)));
        CHECK_INT(call(nth(round)), -1);
        CHECK_OK(redefine_func_restore(nth(round)));
        CHECK_OK(redefine_restore(first));
        CHECK(*sampler_found == 0);
    }
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK(!live_maps_writable_code(&live_now.maps));
    unsigned looks = *sampler_rounds - before;
    CHECK_INT(*sampler_found, 0);
    *sampler_found = 2;
    int status;
    CHECK_INT(waitpid(sampler, &status, 0), sampler);
    printf("%u looks from outside\n", looks);
}

static void wx_self_mem(void)
{
    there_and_back("written by /proc/self/mem");
}

static void wx_protect(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    there_and_back("written by mprotect");
}

static void wx_tracer_mem(void)
{
    live_threads(3);
    there_and_back("written by tracer's /proc/PID/mem");
}

static void wx_poke(void)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    there_and_back("written by PTRACE_POKETEXT");
}

static void wx_protect_threads(void)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM), DENY_POKE(EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    there_and_back("written by mprotect");
}

/* ---- protections ---- */

/* An entry whose first bytes lie on two pages. */
int straddles(void);
__asm__(".section .text.straddles, \"ax\", %progbits\n.p2align 12\n" ENTRY_STRADDLES_SKIP FUNCTION(
    straddles, ENTRY_STRADDLES) ".p2align 12\n.text\n");

static int straddles_more(void)
{
    return redefine_original(straddles)() + 100;
}

/* Two pages that the program has given other protections than the file's, and other ones each: the same come
 * back. What is writable and executable already is the program's own doing. */
static void protections_of(int first_prot, int second_prot)
{
    uintptr_t page = (uintptr_t)straddles & ~(uintptr_t)4095;
    CHECK_INT((uintptr_t)straddles - page, ENTRY_STRADDLES_OFF);
    CHECK(!mprotect((void *)page, 4096, first_prot));
    CHECK(!mprotect((void *)(page + 4096), 4096, second_prot));
    live_world_take(&live_before);
    for (int round = 0; round < 3; round++) {
        CHECK_INT(straddles(), 12);
        CHECK_OK(redefine(straddles, straddles_more));
        CHECK_INT(straddles(), 112);
        CHECK_OK(redefine_restore(straddles));
        CHECK_WORLD(&live_before, &live_now, false);
    }
}

static void protections(void)
{
    const int rx = PROT_READ | PROT_EXEC;
    const int rwx = rx | PROT_WRITE;
    protections_of(rx, rx);
    protections_of(rwx, rx);
    protections_of(rx, rwx);
    protections_of(rwx, rwx);
}

static void protections_by_protect(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    protections();
}

/* ---- many ---- */

static size_t resident_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    CHECK(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    char *at;
    (void)strtoull(text, &at, 10);
    return (size_t)strtoull(at, NULL, 10) * 4096;
}

static size_t mapping_count(void)
{
    static struct live_maps maps;
    live_maps_read(&maps);
    return maps.count;
}

static void check_many(bool redefined)
{
    for (size_t i = 0; i < MANY; i++) {
        CHECK_INT(call(nth(i)), redefined ? -1 : (int)i);
        CHECK_INT(call(redefine_func_original(nth(i))), (int)i);
    }
}

static void redefine_many(bool as_batch)
{
    live_skip_where_emulated("each commit takes a mapping of its own, as wherever /proc/self/mem is refused");
    live_world_take(&live_before);
    CHECK_OK(redefine(first, first_more)); /* what the first one costs is no matter of each */
    CHECK_OK(redefine_restore(first));
    check_many(false);
    live_world_take(&live_now); /* its pages are touched now */
    size_t resident = resident_bytes();
    size_t mappings = mapping_count();
    redefine_batch *batch = redefine_batch_new();
    for (size_t i = 0; i < MANY; i++)
        if (as_batch)
            CHECK_OK(redefine_batch_add(batch, nth(i), ADDRESS(minus_one)));
        else
            CHECK_OK(redefine_func(nth(i), ADDRESS(minus_one)));
    CHECK_OK(redefine_batch_commit(batch));
    redefine_batch_free(batch);
    size_t grown = resident_bytes() - resident;
    size_t more = mapping_count() - mappings;
    printf("%zu bytes resident for each of %d, %zu mappings more\n", grown / MANY, (int)MANY, more);
    CHECK(more <= 8);
    CHECK(grown / MANY <= 1024);
    check_many(true);
    CHECK_OK(redefine_restore_all());
    check_many(false);
    CHECK_WORLD(&live_before, &live_now, false);
    /* Once more costs hardly more: what the engine remembers of the objects between two calls. */
    resident = resident_bytes();
    mappings = mapping_count();
    for (size_t i = 0; i < MANY; i++)
        CHECK_OK(redefine_func(nth(i), ADDRESS(minus_one)));
    CHECK(mapping_count() - mappings <= 2);
    size_t again = resident_bytes() - resident;
    printf("%zu bytes resident for each of them the second time\n", again / MANY);
    CHECK(again < MANY * 256);
    check_many(true);
}

static void many_one_by_one(void)
{
    redefine_many(false);
}

static void many_as_batch(void)
{
    redefine_many(true);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"no writable code, one thread, /proc/self/mem", wx_self_mem, 0},
        {"no writable code, one thread, mprotect", wx_protect, 0},
        {"no writable code, four threads, a tracer's mem", wx_tracer_mem, 0},
        {"no writable code, four threads, POKETEXT", wx_poke, 0},
        {"no writable code, four threads, mprotect", wx_protect_threads, 0},
        {"protections of two pages come back", protections, 0},
        {"protections of two pages come back, by mprotect", protections_by_protect, 0},
        {"a thousand functions, one by one", many_one_by_one, 0},
        {"a thousand functions in a batch", many_as_batch, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
