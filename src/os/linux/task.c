/* SPDX-License-Identifier: MIT
 *
 * What /proc says of one thread. Raw system calls only: the helper of stop.c asks too.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <fcntl.h>

RDF_RAW long rdf_task_read(int *fd, int pid, int tid, const char *name, char *ret, size_t room)
{
    char path[RDF_PATH_BYTES];
    int own;
    int *noted = fd ? fd : &own;
    rdf_task_path(path, pid, tid, name);
    *(volatile int *)noted = (int)rdf_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got = *noted;
    if (got >= 0) {
        got = rdf_sys(SYS_read, *noted, ret, room - 1);
        (void)rdf_sys(SYS_close, *noted);
        *(volatile int *)noted = -1;
        ret[got > 0 ? got : 0] = 0;
    }
    return got;
}

static RDF_RAW unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

static RDF_RAW bool starts_with(const char *text, const char *start)
{
    while (*start && *text == *start) {
        text++;
        start++;
    }
    return !*start;
}

RDF_RAW bool rdf_task_number(const char *text, const char *key, unsigned base, uint64_t *ret)
{
    for (const char *line = text; *line;) {
        size_t same = 0;
        while (key[same] && line[same] == key[same])
            same++;
        if (!key[same]) {
            const char *at = line + same;
            while (*at == ' ' || *at == '\t')
                at++;
            *ret = 0;
            for (unsigned digit; (digit = digit_value(*at)) < base; at++)
                *ret = *ret * base + digit;
            return true;
        }
        while (*line && *line != '\n')
            line++;
        line += *line == '\n';
    }
    return false;
}

RDF_RAW void rdf_task_look(int *fd, int pid, int tid, struct rdf_task *ret)
{
    enum { FLAGS = 6, USER_TICKS = 11, SYSTEM_TICKS, FIELDS };
    char text[384];
    long len = rdf_task_read(fd, pid, tid, "stat", text, sizeof text);
    ret->tid = tid;
    ret->state = len == -ENOENT || len == -ESRCH ? 0 : '?';
    ret->flags = 0;
    ret->ran_ticks = 0;
    const char *at = len > 0 ? text + len : text;
    while (at > text && *at != ')') /* "12 (any ) name) Z 1 …": the last ')' ends the name */
        at--;
    if (at > text && at[1])
        ret->state = at[2];
    for (size_t field = 0; at > text && at[0] && at[1] && field < FIELDS; field++) {
        uint64_t value = 0;
        for (at += 2; *at && *at != ' '; at++)
            value = value * 10 + digit_value(*at);
        at--; /* what ends a field, and the space behind it, are stepped over together */
        ret->flags = field == FLAGS ? value : ret->flags;
        ret->ran_ticks += field == USER_TICKS || field == SYSTEM_TICKS ? value : 0;
    }
}

/* The name says where to look closer, as anyone may have it; the flags are the kernel's. */
RDF_RAW bool rdf_task_is_worker(int *fd, int pid, int tid)
{
    enum { IO_WORKER = 0x10, USER_WORKER = 0x4000 };
    char name[32];
    if (rdf_task_read(fd, pid, tid, "comm", name, sizeof name) <= 0 ||
        !(starts_with(name, "iou-") || starts_with(name, "vhost-")))
        return false;
    struct rdf_task task;
    rdf_task_look(fd, pid, tid, &task);
    return task.flags & (IO_WORKER | USER_WORKER);
}

/* ---- for people ---- */

struct text {
    char *to;
    size_t room;
};

static RDF_RAW void add(struct text *text, const char *from)
{
    while (*from && *from != '\n' && text->room > 1) {
        *text->to++ = *from++;
        text->room--;
    }
    *text->to = 0;
}

static RDF_RAW const char *state_name(char state)
{
    switch (state) {
    case 'R': return "running";
    case 'S': return "asleep";
    case 'D': return "in a sleep that nothing interrupts";
    case 'T': return "stopped by a signal";
    case 't': return "stopped by a debugger";
    case 'Z':
    case 'X':
    case 'x':
    case 0: return "ended";
    default: return "in an unknown state";
    }
}

RDF_RAW void rdf_local_describe_thread(struct rdf_space *space, int tid, char *ret_text, size_t room)
{
    (void)space;
    int pid = (int)rdf_sys(SYS_getpid);
    struct text text = {ret_text, room};
    char file[RDF_STATUS_BYTES];
    struct rdf_task task;
    rdf_task_look(NULL, pid, tid, &task);
    add(&text, state_name(task.state));
    if (rdf_task_read(NULL, pid, tid, "syscall", file, sizeof file) > 0 && digit_value(file[0]) < 10) {
        char *end = file;
        while (*end && *end != ' ')
            end++;
        *end = 0;
        add(&text, " in system call ");
        add(&text, file);
    }
    if (rdf_task_read(NULL, pid, tid, "wchan", file, sizeof file) > 0 && file[0] != '0') {
        add(&text, " (");
        add(&text, file);
        add(&text, ")");
    }
    uint64_t value;
    if (rdf_task_read(NULL, pid, tid, "status", file, sizeof file) <= 0)
        return;
    if (rdf_task_number(file, "TracerPid:", 10, &value) && value) {
        char number[RDF_NUMBER_BYTES];
        (void)rdf_decimal(number, value);
        add(&text, ", traced by process ");
        add(&text, number);
    }
    if (rdf_task_number(file, "SigBlk:", 16, &value) && value) {
        bool all = (value | UINT64_C(0x180040100)) == ~UINT64_C(0); /* KILL, STOP and libc's own cannot be */
        add(&text, all ? ", every signal blocked" : ", some signals blocked");
    }
}
