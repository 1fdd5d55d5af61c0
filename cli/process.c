/* SPDX-License-Identifier: MIT */
#include "process.h"

#include "cli.h"
#include "request.h"

#include "base/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

bool cli_process_fail(const struct cli_process *process, const char *format, ...)
{
    char what[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    cli_say("process %d (%s) %s", (int)process->pid, process->name, what);
    return false;
}

/* ---- What /proc says ---- */

bool cli_process_status_text(pid_t pid, pid_t tid, const char *key, char *ret, size_t room)
{
    char path[64], line[512];
    size_t len = strlen(key);
    bool found = false;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, (int)tid);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        if (strncmp(line, key, len) == 0) {
            const char *text = line + len + strspn(line + len, " \t");
            (void)snprintf(ret, room, "%.*s", (int)strcspn(text, "\n"), text);
            found = true;
        }
    if (file)
        fclose(file);
    return found;
}

bool cli_process_status(pid_t pid, pid_t tid, const char *key, int base, uint64_t *ret)
{
    char text[64];
    if (!cli_process_status_text(pid, tid, key, text, sizeof text))
        return false;
    *ret = strtoull(text, NULL, base);
    return true;
}

bool cli_process_read(pid_t pid, uint64_t addr, void *ret, size_t len_bytes)
{
    struct iovec to = {ret, len_bytes}, from = {(void *)(uintptr_t)addr, len_bytes};
    return process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)len_bytes;
}

bool cli_process_write(pid_t pid, uint64_t addr, const void *bytes, size_t len_bytes)
{
    struct iovec from = {(void *)(uintptr_t)bytes, len_bytes}, to = {(void *)(uintptr_t)addr, len_bytes};
    return process_vm_writev(pid, &from, 1, &to, 1, 0) == (ssize_t)len_bytes;
}

bool cli_process_each_map(pid_t pid, cli_process_map_visit *visit, void *ctx)
{
    char path[64], line[4400];
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    bool goes_on = file != NULL;
    while (goes_on && fgets(line, sizeof line, file)) {
        struct cli_process_map map = {0};
        unsigned major, minor;
        int at = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64 " %n", &map.start, &map.end,
                   &map.file_off, &major, &minor, &map.ino, &at) < 6)
            continue;
        map.dev = makedev(major, minor);
        (void)snprintf(map.path, sizeof map.path, "%.*s", (int)strcspn(line + at, "\n"), line + at);
        goes_on = visit(ctx, &map);
    }
    if (file)
        fclose(file);
    return file != NULL;
}

/* By its number alone: what is stacked of several file systems reports another device. */
static bool is_inode(const char *path, uint64_t ino)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_ino == ino;
}

bool cli_process_file(pid_t pid, const struct cli_process_map *map, char *ret)
{
    (void)snprintf(ret, CLI_PROCESS_PATH_BYTES, "%s", map->path);
    if (is_inode(ret, map->ino))
        return true;
    (void)snprintf(ret, CLI_PROCESS_PATH_BYTES, "/proc/%d/root%s", (int)pid, map->path);
    return is_inode(ret, map->ino);
}

bool cli_process_mapped_file(pid_t pid, const struct cli_process_map *map, char *ret)
{
    if (cli_process_file(pid, map, ret))
        return true;
    (void)snprintf(ret, CLI_PROCESS_PATH_BYTES, "/proc/%d/exe", (int)pid);
    if (is_inode(ret, map->ino))
        return true;
    (void)snprintf(ret, CLI_PROCESS_PATH_BYTES, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid,
                   map->start, map->end);
    return is_inode(ret, map->ino);
}

/* ---- Whether it may be looked into ---- */

static bool say_owner(const struct cli_process *process)
{
    uint64_t uid = 0;
    if (geteuid() == 0 || !cli_process_status(process->pid, process->pid, "Uid:", 10, &uid) ||
        uid == geteuid())
        return false;
    const struct passwd *owner = getpwuid((uid_t)uid);
    cli_say("process %d (%s) belongs to another user (%s): become that user, or root", (int)process->pid,
            process->name, owner ? owner->pw_name : "without a name");
    return true;
}

static bool say_yama(const struct cli_process *process)
{
    char scope = '0';
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &scope, 1) != 1)
        scope = '0';
    if (fd >= 0)
        close(fd);
    if (scope == '0' || (scope < '3' && geteuid() == 0))
        return false;
    cli_say("process %d (%s) may not be traced: kernel.yama.ptrace_scope is %c, which allows %s; %s",
            (int)process->pid, process->name, scope,
            scope == '1'   ? "a process to trace only its own children"
            : scope == '2' ? "only root to trace"
                           : "nobody to trace, until the next boot",
            scope == '3' ? "start the program with redefine run instead"
                         : "run this command as root, or set it to 0 (sysctl kernel.yama.ptrace_scope=0)");
    return true;
}

/* A descriptor is refused where tracing would be, and is nothing to the process. */
static bool may_trace(const struct cli_process *process)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)process->pid);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int why = errno;
    if (fd >= 0) {
        close(fd);
        return true;
    }
    if (say_owner(process) || say_yama(process))
        return false;
    return cli_process_fail(
        process,
        "may not be traced (%s): it has rights that you have not, or this command runs in a "
        "container or under a filter without CAP_SYS_PTRACE; run it as root, outside",
        strerror(why));
}

static pid_t number_of(const char *arg)
{
    char *end;
    errno = 0;
    long pid = strtol(arg, &end, 10);
    return *arg >= '0' && *arg <= '9' && !*end && !errno && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

static bool has_ended(char state)
{
    return state == 'Z' || state == 'X';
}

static bool has_other_threads(pid_t pid)
{
    uint64_t threads = 0;
    return cli_process_status(pid, pid, "Threads:", 10, &threads) && threads > 1;
}

bool cli_process_open(const char *verb, const char *arg, struct cli_process *ret)
{
    char state[32];
    uint64_t leader = 0, ignored;
    *ret = (struct cli_process){.pid = number_of(arg)};
    if (!ret->pid) {
        cli_say("%s needs the number of a process, not '%s'", verb, arg);
        return false;
    }
    if (!cli_process_status_text(ret->pid, ret->pid, "State:", state, sizeof state) ||
        !cli_process_status(ret->pid, ret->pid, "Tgid:", 10, &leader) ||
        !cli_process_status_text(ret->pid, ret->pid, "Name:", ret->name, sizeof ret->name)) {
        cli_say("there is no process %d", (int)ret->pid);
        return false;
    }
    ret->state = state[0];
    if (leader != (uint64_t)ret->pid)
        cli_say("%d is a thread of process %d (%s): name that one", (int)ret->pid, (int)leader, ret->name);
    else if (has_ended(state[0]) && has_other_threads(ret->pid))
        cli_say("the main thread of process %d (%s) has ended while others run on: the kernel then shows no "
                "memory under the number of the process, and what is redefined in it cannot be found; "
                "nothing was changed",
                (int)ret->pid, ret->name);
    else if (has_ended(state[0]))
        return cli_process_fail(ret,
                                "has ended: nothing of it is left but the status that its parent has not "
                                "asked for");
    else if (ret->pid == getpid())
        cli_say("process %d is this command itself", (int)ret->pid);
    else if (!cli_process_status(ret->pid, ret->pid, "VmSize:", 10, &ignored))
        return cli_process_fail(ret, "is a thread of the kernel: it runs no program");
    else
        return may_trace(ret);
    return false;
}

/* ---- Whether it may be changed ---- */

static bool is_untraced(const struct cli_process *process)
{
    uint64_t tracer = 0;
    char name[32] = "?";
    if (!cli_process_status(process->pid, process->pid, "TracerPid:", 10, &tracer) || !tracer)
        return true;
    (void)cli_process_status_text((pid_t)tracer, (pid_t)tracer, "Name:", name, sizeof name);
    return cli_process_fail(
        process,
        "is traced by process %d (%s), and there can be one tracer only: end that one, or "
        "let go of the process there; nothing was changed",
        (int)tracer, name);
}

uint64_t cli_process_filters(pid_t pid, pid_t tid)
{
    uint64_t mode = 0, filters = 0;
    (void)cli_process_status(pid, tid, "Seccomp:", 10, &mode);
    (void)cli_process_status(pid, tid, "Seccomp_filters:", 10, &filters);
    return mode == 1 ? CLI_PROCESS_STRICT : mode == 2 ? filters : 0;
}

/* What a filter does to a system call that it does not expect is not told: it may well end the process. One
 * that this command is under too, as all of a container are, lets pass what loading takes. */
static bool is_unfiltered(const struct cli_process *process, bool is_forced)
{
    uint64_t filters = cli_process_filters(process->pid, process->pid);
    uint64_t own = cli_process_filters(getpid(), getpid());
    if (filters == CLI_PROCESS_STRICT)
        return cli_process_fail(process,
                                "is under strict seccomp: it would be killed at its next system call; "
                                "nothing was changed");
    if (filters <= own || is_forced)
        return true;
    return cli_process_fail(
        process, "is under a seccomp filter of its own, which may end it for the system calls that "
                 "loading a patch takes (mmap, mprotect, clone, openat): not attached (--force tries "
                 "it all the same)");
}

static bool has_no_shadow_stack(const struct cli_process *process)
{
    char features[128];
    if (!cli_process_status_text(process->pid, process->pid, "x86_Thread_features:", features,
                                 sizeof features) ||
        !strstr(features, "shstk"))
        return true;
    return cli_process_fail(
        process, "runs with a shadow stack, on which no thread can be led back from a call that it "
                 "did not make; start it with redefine run instead; nothing was changed");
}

/* One command at a time, until this one ends: they would find each other tracing. */
static bool wait_for_others(const struct cli_process *process)
{
    enum { TRIES = 200, PAUSE_US = 100 * 1000 };
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)process->pid);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK)
            return true; /* no locks here */
        if (i == TRIES - 1) {
            rdf_progress("", 1, 1);
            return cli_process_fail(process,
                                    "is being changed by another redefine, which does not come to an "
                                    "end; nothing was changed");
        }
        rdf_progress("waiting for another redefine, tries", (size_t)i, 0);
        (void)usleep(PAUSE_US);
    }
    rdf_progress("", 1, 1);
    return true;
}

bool cli_process_may_change(const struct cli_process *process, bool is_forced)
{
    char exe[64], name[64];
    struct cli_program program;
    if (!wait_for_others(process) || !is_untraced(process) || !is_unfiltered(process, is_forced) ||
        !has_no_shadow_stack(process))
        return false;
    (void)snprintf(exe, sizeof exe, "/proc/%d/exe", (int)process->pid);
    (void)snprintf(name, sizeof name, "process %d", (int)process->pid);
    cli_file_inspect(exe, &program);
    free(program.path);
    char target[4096];
    ssize_t len = readlink(exe, target, sizeof target - 1);
    program.path = strndup(target, len > 0 ? (size_t)len : 0);
    /* A loader that was started by its own name has no interpreter either. */
    const char *base = program.path && strrchr(program.path, '/') ? strrchr(program.path, '/') + 1 : "";
    bool is_loader = strncmp(base, "ld-", 3) == 0 || strncmp(base, "ld.so", 5) == 0;
    bool fits = is_loader || cli_check_program(name, &program, "nothing was changed");
    cli_program_free(&program);
    return fits;
}

bool cli_process_sees(const struct cli_process *process, const char *path)
{
    char there[4200];
    struct stat own, its;
    (void)snprintf(there, sizeof there, "/proc/%d/root%s", (int)process->pid, path);
    if (stat(path, &own) == 0 && stat(there, &its) == 0 && own.st_dev == its.st_dev &&
        own.st_ino == its.st_ino)
        return true;
    return cli_process_fail(
        process,
        "has another root or other mounts, and at %s there it does not have the file that is "
        "here: make it visible there under the same path (a bind mount), or run this command "
        "inside; nothing was changed",
        path);
}
