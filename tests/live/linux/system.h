/* SPDX-License-Identifier: MIT
 *
 * What the live tests ask of Linux: a child for each case, and looks at this process. Each system has a file
 * of this name with the same functions; live.h includes it.
 */
#ifndef TESTS_LIVE_SYSTEM_H
#define TESTS_LIVE_SYSTEM_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A function in assembler; what depends on the CPU is in <cpu>/entries.h. */
#define FUNCTION(name, body)                                                          \
    ".globl " #name "\n.type " #name ", %function\n" #name ":\n.cfi_startproc\n" body \
    ".cfi_endproc\n.size " #name ", .-" #name "\n"

/* The same for short_cases.h, as macros of the assembler. */
#define FUNCTION_MACROS                                                                       \
    ".macro fn name\n.globl \\name\n.type \\name,%function\n\\name:\n.cfi_startproc\n.endm\n" \
    ".macro end name\n.cfi_endproc\n.size \\name, .-\\name\n.endm\n"

/* Functions without a name, for a loop of the assembler: between `unnamed` and `end_unnamed`. */
#define UNNAMED_MACROS ".macro unnamed\n.cfi_startproc\n.endm\n.macro end_unnamed\n.cfi_endproc\n.endm\n"

/* How such a function takes its arguments: as every other. */
#define ENTRY_ABI

/* ---- cases ---- */

#define LIVE_DEATH "signal %u"

/* How much of a test that does one thing again and again is enough. */
#define LIVE_ROUNDS(count) (count)
enum { LIVE_SLOWER = 1 }; /* limits of time grow with it */

/* The memory that this process has for itself, exactly: statm is late by some pages for each CPU, and counts
 * what happens to be mapped of files. */
__attribute__((unused)) static long live_own_bytes(void)
{
    char text[2048] = "";
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    const char *own = strstr(text, "Anonymous:");
    CHECK(own != NULL);
    return strtol(own + strlen("Anonymous:"), NULL, 10) * 1024;
}
/* Of the whole process: a leak shows. */
__attribute__((unused)) static unsigned long live_mapped_pages(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

/* Valgrind lives in the same process: its own mappings come and go, and are nobody's business. */
__attribute__((unused)) static bool live_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vgpreload");
}

/* An emulator of one process has no ptrace, so other threads cannot be stopped; some sandboxes have none
 * either. Asked before a case denies anything. */
static bool live_has_no_ptrace;

__attribute__((constructor)) static void live_ask_for_ptrace(void)
{
    long word;
    live_has_no_ptrace = syscall(SYS_ptrace, 1, 0, NULL, &word) == -1 && errno == ENOSYS;
}

__attribute__((unused)) static bool live_emulated(void)
{
    return live_has_no_ptrace;
}

__attribute__((unused)) static void live_skip_where_emulated(const char *why)
{
    if (live_emulated())
        live_skip("under an emulator %s", why);
}

__attribute__((unused)) static void live_needs_stopped_threads(void)
{
    live_skip_where_emulated("there is no ptrace to stop threads with");
}

/* A child's end, or its death when it takes too long; what it prints is kept in `output`. */
__attribute__((unused)) static int live_wait(pid_t pid, unsigned limit_s, bool *ret_timed_out)
{
    *ret_timed_out = false;
    int pidfd = live_under_valgrind() ? -1
                                      : (int)syscall(SYS_pidfd_open, pid, 0); /* which it does not know */
    struct pollfd end = {pidfd, POLLIN, 0};
    int status = 0;
    if (pidfd >= 0 && poll(&end, 1, (int)limit_s * 1000) == 0) {
        *ret_timed_out = true;
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pidfd >= 0)
        close(pidfd);
    return status;
}

/* Where there is a fork; else the case is skipped. */
__attribute__((unused)) static pid_t live_fork(void)
{
    return fork();
}

/* `test` in a process of its own; *ret_text is what it printed, until the next. */
__attribute__((unused)) static struct live_end live_child(size_t number, const struct live_case *test,
                                                          unsigned limit_s, char **ret_text)
{
    static char text[8192];
    (void)number;
    int output = memfd_create("output", MFD_CLOEXEC);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        test->body();
        fflush(NULL);
        _exit(0);
    }
    bool timed_out;
    int status = live_wait(pid, limit_s, &timed_out);
    ssize_t len = pread(output, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = 0;
    close(output);
    *ret_text = text;
    bool exited = WIFEXITED(status);
    struct live_end end = {exited, timed_out, exited ? WEXITSTATUS(status) : WTERMSIG(status)};
    return end;
}

/* Bytes of code, past every protection; false: refused. */
__attribute__((unused)) static bool live_poke(void *to, const void *bytes, size_t len_bytes)
{
    int mem = open("/proc/self/mem", O_RDWR);
    bool done = pwrite(mem, bytes, len_bytes, (off_t)(uintptr_t)to) == (ssize_t)len_bytes;
    close(mem);
    if (done)
        return true;
    /* The kernel may have been told to refuse that (proc_mem.force_override). */
    char *page = (char *)((uintptr_t)to & ~(uintptr_t)4095);
    size_t pages_len = (size_t)((char *)to + len_bytes - page);
    if (mprotect(page, pages_len, PROT_READ | PROT_WRITE | PROT_EXEC))
        return false;
    memcpy(to, bytes, len_bytes);
    return !mprotect(page, pages_len, PROT_READ | PROT_EXEC);
}

/* ---- what a process looks like ---- */

/* A file that is mapped for reading alone, and not as a part of an object that was loaded: what the engine
 * keeps of symbol tables from one call to the next, and what libc keeps of locales. */
__attribute__((unused)) static void live_maps_forget_files(struct live_maps *maps)
{
    size_t kept = 0;
    for (size_t i = 0; i < maps->count; i++) {
        const struct live_map *map = &maps->map[i];
        bool has_before = kept > 0 && maps->map[kept - 1].end == map->start &&
                          !strcmp(map[-1].path, map->path);
        bool has_behind = i + 1 < maps->count && map[1].start == map->end && !strcmp(map[1].path, map->path);
        bool is_alone = map->path[0] == '/' && !strcmp(map->prot, "r--p") && !has_before && !has_behind;
        if (!is_alone)
            maps->map[kept++] = *map;
    }
    maps->count = kept;
}

/* /proc, for tests that take it away. */
__attribute__((unused)) static int live_proc_fd = AT_FDCWD;

/* Raw: a test may have denied what stdio needs, and malloc would add to what is looked at. */
__attribute__((unused)) static void live_maps_read(struct live_maps *ret)
{
    static char text[LIVE_MAPS_TEXT];
    ret->count = 0;
    bool kept = live_proc_fd != AT_FDCWD;
    int fd = openat(live_proc_fd, kept ? "self/maps" : "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        live_fail(__FILE__, __LINE__, "/proc/self/maps: %s", strerror(errno));
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = 0;
    for (char *line = text; *line && ret->count < LIVE_MAPS_MAX;) {
        char *end = strchr(line, '\n');
        if (!end)
            break;
        *end = 0;
        struct live_map *map = &ret->map[ret->count++];
        char *at;
        map->start = strtoull(line, &at, 16);
        map->end = strtoull(at + 1, &at, 16);
        memcpy(map->prot, at + 1, 4);
        map->prot[4] = 0;
        const char *path = strpbrk(at + 6, "/[");
        snprintf(map->path, sizeof map->path, "%s", path ? path : "");
        /* Splits of one mapping are one: only addresses and what is allowed there count. */
        if (ret->count > 1) {
            struct live_map *before = map - 1;
            if (before->end == map->start && !strcmp(before->prot, map->prot) &&
                !strcmp(before->path, map->path)) {
                before->end = map->end;
                ret->count--;
            }
        }
        line = end + 1;
    }
    live_maps_forget_files(ret);
}
/* Whose code must be as before: that of files and of the vDSO. */
__attribute__((unused)) static bool live_map_has_code(const struct live_map *map)
{
    bool named = map->path[0] == '/' || !strcmp(map->path, "[vdso]");
    return named && map->prot[0] == 'r' && map->prot[2] == 'x' && !strstr(map->path, "/valgrind/");
}

/* What may have another size. */
__attribute__((unused)) static bool live_map_grows(const struct live_map *map)
{
    return !strcmp(map->path, "[stack]") || !strcmp(map->path, "[heap]");
}

__attribute__((unused)) static unsigned live_fd_count(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Who handles traps. */
__attribute__((unused)) static void *live_trap_handler(void)
{
    struct sigaction action;
    sigaction(SIGTRAP, NULL, &action);
    return ADDRESS(action.sa_handler);
}

/* A bit for each signal that is blocked. */
__attribute__((unused)) static uint64_t live_blocked(void)
{
    uint64_t blocked = 0;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    for (int signal = 1; signal < 65; signal++)
        blocked |= (uint64_t)sigismember(&set, signal) << (signal - 1);
    return blocked;
}

#endif
