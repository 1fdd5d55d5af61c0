/* SPDX-License-Identifier: MIT
 *
 * Every way to write into code, made the one that is used by denying those before it: with one thread and
 * with four. And what is said when none is left.
 */
#include "deny.h"
#include "entries.h"

#include <dlfcn.h>

/* Newer than the oldest headers we build with. */
#ifndef PR_SET_MDWE
enum { PR_SET_MDWE = 65, PR_MDWE_REFUSE_EXEC_GAIN = 1 };
#endif

#define BY_TRACER_MEM "written by tracer's /proc/PID/mem"
#define BY_POKE       "written by PTRACE_POKETEXT"
#define BY_SELF_MEM   "written by /proc/self/mem"
#define BY_PROTECT    "written by mprotect"

TARGET int first(int value)
{
    __asm__ volatile("");
    return value + 1;
}

TARGET int second(int value)
{
    __asm__ volatile("");
    return value * 2;
}

static bool has_writable_code(void)
{
    static struct live_maps maps;
    live_maps_read(&maps);
    return live_maps_writable_code(&maps) != NULL;
}

static int first_more(int value)
{
    CHECK(!has_writable_code());
    return redefine_original(first)(value) + 100;
}

static int second_more(int value)
{
    return redefine_original(second)(value) + 200;
}

/* proc_mem.force_override= of the kernel's boot line (since 6.12): who may write through /proc/PID/mem what
 * its page does not let be written: everybody, a tracer, nobody. */
static bool boots_with(const char *setting)
{
    char line[4096] = "";
    FILE *file = fopen("/proc/cmdline", "r");
    bool has = file && fgets(line, sizeof line, file) && strstr(line, setting);
    if (file)
        fclose(file);
    return has;
}

static bool self_mem_is_refused(void)
{
    return boots_with("proc_mem.force_override=never") || boots_with("proc_mem.force_override=ptrace");
}

static const char *by_tracer_mem(void)
{
    return boots_with("proc_mem.force_override=never") ? BY_POKE : BY_TRACER_MEM;
}

/* There and back, twice, by this way and no other. */
static void works_by(const char *method)
{
    live_world_take(&live_before);
    for (int round = 0; round < 2; round++) {
        CHECK_OK(redefine(first, first_more));
        CHECK(!has_writable_code());
        if (!strstr(redefine_describe(ADDRESS(first)), method))
            live_fail(__FILE__, __LINE__, "not %s: %s", method, redefine_describe(ADDRESS(first)));
        CHECK_INT(first(1), 102);
        CHECK_INT(redefine_original(first)(1), 2);
        CHECK_OK(
            redefine(second, second_more)); /* with a trampoline beside the first one, or in a new chunk */
        CHECK(strstr(redefine_describe(ADDRESS(second)), method));
        CHECK_INT(second(2), 204);
        CHECK_OK(redefine_restore(first));
        CHECK_INT(first(1), 2);
        CHECK_INT(second(2), 204);
        CHECK_OK(redefine_restore(second));
        CHECK_INT(second(2), 4);
        CHECK(!has_writable_code());
    }
    CHECK_WORLD(&live_before, &live_now, false);
}

static void is_refused(int wanted)
{
    live_world_take(&live_before);
    for (int round = 0; round < 2; round++) {
        CHECK_STATUS(redefine(first, first_more), wanted);
        CHECK(*redefine_explain());
        CHECK_INT(first(1), 2);
        CHECK(redefine_original(first) == first);
        CHECK_WORLD(&live_before, &live_now, true);
    }
}

/* ---- one thread ---- */

static void one_nothing_denied(void)
{
    /* An emulator may go on running the old code. */
    works_by(live_emulated() || self_mem_is_refused() ? BY_PROTECT : BY_SELF_MEM);
}

static void one_self_mem_refused(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    works_by(BY_PROTECT);
}

static void one_self_mem_lies(void)
{
    live_mask_self_mem(LIVE_LIES);
    works_by(BY_PROTECT);
}

static void one_pwrite_denied(void)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM), DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    works_by(BY_PROTECT);
}

static void one_tracer_mem(void)
{
    static const struct live_rule rules[] = {DENY_WRITABLE(EPERM)};
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    live_deny(rules, LIVE_COUNT(rules));
    works_by(by_tracer_mem());
}

static void one_poke(void)
{
    static const struct live_rule rules[] = {DENY_WRITABLE(EACCES), DENY(pwrite64, EIO)};
    live_deny(rules, LIVE_COUNT(rules));
    works_by(BY_POKE);
}

static void one_all_denied(void)
{
    static const struct live_rule rules[] = {DENY_WRITABLE(EACCES), DENY(pwrite64, EPERM),
                                             DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    is_refused(REDEFINE_EDENIED);
    CHECK_SAYS("/proc/self/mem");
    CHECK_SAYS("mprotect");
}

static void one_no_executable_memory(void)
{
    static const struct live_rule rules[] = {{SYS_mmap, EPERM, 2, PROT_EXEC, PROT_EXEC}};
    live_deny(rules, LIVE_COUNT(rules));
    is_refused(REDEFINE_EDENIED);
    CHECK_SAYS("mmap");
}

/* What systemd's MemoryDenyWriteExecute asks for. */
static void one_mdwe(void)
{
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        live_skip("PR_SET_MDWE: %s", strerror(errno));
    if (self_mem_is_refused())
        is_refused(REDEFINE_EDENIED);
    else
        works_by(BY_SELF_MEM);
}

static void one_mdwe_without_self_mem(void)
{
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        live_skip("PR_SET_MDWE: %s", strerror(errno));
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    is_refused(REDEFINE_EDENIED);
}

/* A program that gives up rights once it has begun: what is redefined already can be restored, and more can
 * be redefined, in another way than at first. */
static void rights_given_up(size_t threads)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM)};
    live_threads(threads);
    CHECK_OK(redefine(first, first_more));
    CHECK_INT(first(1), 102);
    live_deny(rules, LIVE_COUNT(rules));
    live_world_take(&live_before);
    CHECK_OK(redefine(second, second_more));
    CHECK_INT(second(2), 204);
    CHECK_OK(redefine_restore(second));
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK_OK(redefine_restore(first));
    CHECK_INT(first(1), 2);
    works_by(threads ? BY_POKE : BY_PROTECT);
}

static void one_rights_given_up(void)
{
    rights_given_up(0);
}

static void four_rights_given_up(void)
{
    rights_given_up(3);
}

/* ---- four threads ---- */

static void four_nothing_denied(void)
{
    live_threads(3);
    works_by(by_tracer_mem());
}

static void four_poke(void)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    works_by(BY_POKE);
}

static void four_tracer_mem_lies(void)
{
    live_mask_tracer_mem(LIVE_LIES);
    live_threads(3);
    works_by(BY_POKE);
}

static void four_self_mem(void)
{
    static const struct live_rule rules[] = {DENY_POKE(EPERM)};
    live_mask_tracer_mem(LIVE_REFUSES_WRITES);
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    works_by(self_mem_is_refused() ? BY_PROTECT : BY_SELF_MEM);
}

static void four_protect(void)
{
    static const struct live_rule rules[] = {DENY_POKE(EPERM), DENY(pwrite64, EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    works_by(BY_PROTECT);
}

static void four_all_denied(void)
{
    static const struct live_rule rules[] = {DENY_POKE(EPERM), DENY(pwrite64, EPERM), DENY_WRITABLE(EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    is_refused(REDEFINE_EDENIED);
    CHECK_SAYS("PTRACE_POKETEXT");
    CHECK_SAYS("mprotect");
}

/* Code must not change under running threads: refused, or done in the way that is safe without a stop. */
static void four_no_ptrace(void)
{
    static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
    live_threads(3);
    live_deny(rules, LIVE_COUNT(rules));
    live_world_take(&live_before);
    int status = redefine(first, first_more);
    if (status == REDEFINE_OK) {
        CHECK_INT(first(1), 102);
        CHECK_OK(redefine_restore(first));
        CHECK_WORLD(&live_before, &live_now, false);
    } else {
        CHECK_STATUS(status, REDEFINE_EDENIED);
        CHECK_SAYS("ptrace");
        CHECK_WORLD(&live_before, &live_now, true);
    }
    CHECK_INT(first(1), 2);
}

/* ---- sealed memory ---- */

typedef const char *version_type(void);
static version_type *zlib_version;

static const char *another_version(void)
{
    return redefine_original(zlib_version)() ? "another" : "none";
}

static void sealed(size_t threads)
{
    enum { MSEAL = 462 };
    void *zlib = dlopen("libz.so.1", RTLD_NOW);
    if (!zlib)
        live_skip("%s", dlerror());
    zlib_version = (version_type *)(uintptr_t)dlsym(zlib, "zlibVersion");
    static struct live_maps maps;
    live_maps_read(&maps);
    const struct live_map *text = live_maps_find(&maps, (uint64_t)(uintptr_t)zlib_version);
    CHECK(text);
    if (syscall(MSEAL, text->start, text->end - text->start, 0))
        live_skip("mseal: %s", strerror(errno));
    CHECK(mprotect((void *)(uintptr_t)text->start, 4096, PROT_READ | PROT_WRITE)); /* sealed indeed */
    const char *method = threads || self_mem_is_refused() ? by_tracer_mem() : BY_SELF_MEM;
    live_threads(threads);
    live_world_take(&live_before);
    CHECK_OK(redefine(zlib_version, another_version));
    CHECK(!strcmp(zlib_version(), "another"));
    CHECK(strstr(redefine_describe(ADDRESS(zlib_version)), method));
    CHECK_OK(redefine_restore(zlib_version));
    CHECK(zlib_version()[0] == '1');
    CHECK_WORLD(&live_before, &live_now, false);
}

static void one_sealed(void)
{
    sealed(0);
}

static void four_sealed(void)
{
    sealed(3);
}

static void one_sealed_without_self_mem(void)
{
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    enum { MSEAL = 462 };
    static struct live_maps maps;
    live_maps_read(&maps);
    const struct live_map *text = live_maps_find(&maps, (uint64_t)(uintptr_t)first);
    if (syscall(MSEAL, text->start, text->end - text->start, 0))
        live_skip("mseal: %s", strerror(errno));
    works_by(by_tracer_mem());
}

/* ---- without /proc ---- */

static void no_proc(size_t threads)
{
    live_skip_where_emulated("/proc is the emulator's, whatever is mounted");
    char folder[] = "empty-XXXXXX";
    live_proc_fd = open("/proc", O_RDONLY | O_DIRECTORY);
    CHECK(live_proc_fd >= 0 && mkdtemp(folder));
    int root_fd = open(folder, O_RDONLY | O_DIRECTORY);
    /* Removed before it is the root: from in there it could not be reached any more. */
    CHECK(root_fd >= 0 && !rmdir(folder));
    if (fchdir(root_fd) || chroot("."))
        live_skip("chroot: %s", strerror(errno));
    close(root_fd);
    live_threads(threads);
    live_world_take(&live_before);
    int status = redefine(first, first_more);
    if (status == REDEFINE_OK)
        live_fail(__FILE__, __LINE__, "it works without /proc: tell more of it here");
    CHECK(status != REDEFINE_EROLLBACK);
    CHECK_SAYS("mappings");
    void *found;
    CHECK(redefine_find("first", &found) != REDEFINE_OK);
    CHECK_SAYS("mappings");
    CHECK_INT(first(1), 2);
    CHECK_WORLD(&live_before, &live_now, true);
}

static void one_no_proc(void)
{
    no_proc(0);
}

static void four_no_proc(void)
{
    no_proc(3);
}

/* /proc goes away between a redefinition and its restore. */
static void proc_goes_away(void)
{
    live_skip_where_emulated("/proc is the emulator's, whatever is mounted");
    CHECK_OK(redefine(first, first_more));
    live_proc_fd = open("/proc", O_RDONLY | O_DIRECTORY);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", "/proc", "tmpfs", 0, NULL))
        live_skip("no mount namespace of our own: %s", strerror(errno));
    live_world_take(&live_before);
    int status = redefine_restore(first);
    CHECK(status != REDEFINE_EROLLBACK);
    if (status != REDEFINE_OK) {
        CHECK_SAYS("mappings");
        CHECK_WORLD(&live_before, &live_now, true);
        CHECK(!umount("/proc"));
        CHECK_INT(first(1), 102);
        CHECK_OK(redefine_restore(first));
    }
    CHECK_INT(first(1), 2);
}

/* ---- what mprotect takes away when it is not named ---- */

int guarded(int value);
__asm__(".text\n.p2align 12\n" FUNCTION(guarded, ENTRY_GUARDED) ".p2align 12\n");

static int guarded_more(int value)
{
    return redefine_original(guarded)(value) + 100;
}

/* As /proc/self/smaps says of its page. */
static bool has_guard(void)
{
    char line[512];
    uint64_t start = 0, end = 0;
    bool is_it = false, has = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file)) {
        char *at;
        uint64_t number = strtoull(line, &at, 16);
        if (at > line && *at == '-') {
            start = number;
            end = strtoull(at + 1, NULL, 16);
            is_it = start <= (uintptr_t)guarded && (uintptr_t)guarded < end;
        }
        has |= is_it && !strncmp(line, "VmFlags:", 8) && strstr(line, " bt");
    }
    fclose(file);
    return has;
}

static void guard_stays(void)
{
    if (!ENTRY_PROT_GUARD)
        live_skip("no page of this CPU's is guarded against jumps past landing pads");
    void *page = (void *)((uintptr_t)guarded & ~UINT64_C(4095));
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC | ENTRY_PROT_GUARD) || !has_guard())
        live_skip("pages are not guarded here");
    live_mask_self_mem(LIVE_REFUSES_WRITES);
    for (int round = 0; round < 2; round++) {
        CHECK_OK(redefine(guarded, guarded_more));
        CHECK(strstr(redefine_describe(ADDRESS(guarded)), BY_PROTECT));
        CHECK(has_guard());
        CHECK_INT(guarded(1), 102);
        CHECK_OK(redefine_restore(guarded));
        CHECK(has_guard());
        CHECK_INT(guarded(1), 2);
    }
}

int main(void)
{
    static const struct live_case cases[] = {
        {"one thread: /proc/self/mem", one_nothing_denied, 0},
        {"one thread: mprotect, when /proc/self/mem refuses", one_self_mem_refused, 0},
        {"one thread: mprotect, when /proc/self/mem lies", one_self_mem_lies, 0},
        {"one thread: mprotect, when pwrite64 and ptrace are denied", one_pwrite_denied, 0},
        {"one thread: a tracer's mem", one_tracer_mem, 0},
        {"one thread: POKETEXT", one_poke, 0},
        {"one thread: all denied", one_all_denied, 0},
        {"one thread: no executable memory", one_no_executable_memory, 0},
        {"one thread: writable memory may not become executable", one_mdwe, 0},
        {"one thread: the same, and /proc/self/mem refuses", one_mdwe_without_self_mem, 0},
        {"one thread: pwrite64 is denied later", one_rights_given_up, 0},
        {"four threads: pwrite64 is denied later", four_rights_given_up, 0},
        {"four threads: a tracer's mem", four_nothing_denied, 0},
        {"four threads: POKETEXT", four_poke, 0},
        {"four threads: POKETEXT, when the tracer's mem lies", four_tracer_mem_lies, 0},
        {"four threads: /proc/self/mem", four_self_mem, 0},
        {"four threads: mprotect", four_protect, 0},
        {"four threads: all denied", four_all_denied, 0},
        {"four threads: no ptrace", four_no_ptrace, 0},
        {"one thread: sealed text", one_sealed, 0},
        {"four threads: sealed text", four_sealed, 0},
        {"one thread: sealed text and /proc/self/mem refuses", one_sealed_without_self_mem, 0},
        {"one thread: no /proc", one_no_proc, 0},
        {"four threads: no /proc", four_no_proc, 0},
        {"/proc goes away while something is redefined", proc_goes_away, 0},
        {"mprotect, and the page's guard of landing pads", guard_stays, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
