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

RDF_RAW char rdf_task_state(int *fd, int pid, int tid)
{
    char text[256];
    long len = rdf_task_read(fd, pid, tid, "stat", text, sizeof text);
    if (len == -ENOENT || len == -ESRCH)
        return 0;
    for (long i = len - 3; i >= 0; i--) /* "12 (any ) name) Z 1 …": the last ')' ends the name */
        if (text[i] == ')')
            return text[i + 2];
    return '?';
}

/* The name says where to look closer, as anyone may have it; the flags are the kernel's. */
RDF_RAW bool rdf_task_is_worker(int *fd, int pid, int tid)
{
    enum { IO_WORKER = 0x10, USER_WORKER = 0x4000, FIELDS_TO_FLAGS = 7 };
    char text[256];
    if (rdf_task_read(fd, pid, tid, "comm", text, sizeof text) <= 0 ||
        !(starts_with(text, "iou-") || starts_with(text, "vhost-")))
        return false;
    const char *at = text + rdf_task_read(fd, pid, tid, "stat", text, sizeof text);
    while (at > text && *--at != ')')
        ;
    for (size_t field = 0; at > text && *at && field < FIELDS_TO_FLAGS; at++)
        field += *at == ' ';
    uint64_t flags = 0;
    for (; at > text && *at >= '0' && *at <= '9'; at++)
        flags = flags * 10 + (uint64_t)(*at - '0');
    return flags & (IO_WORKER | USER_WORKER);
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
    add(&text, state_name(rdf_task_state(NULL, pid, tid)));
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
