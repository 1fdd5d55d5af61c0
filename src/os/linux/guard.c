/* SPDX-License-Identifier: MIT
 *
 * What mprotect takes away when it is not named: a page's guard of landing pads (arm64's PROT_BTI). No system
 * call tells that a mapping has it, only the flags in /proc/self/smaps do, one line for each mapping:
 *
 *   aaaad3b10000-aaaad3b12000 r-xp 00000000 00:02 523    /usr/bin/program
 *   ...
 *   VmFlags: rd ex mr mw me bt
 *
 * Raw system calls only: the helper of stop.c asks too.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <fcntl.h>

enum { LINE_BYTES = 160 }; /* what is longer is a path, and cut off */

struct search {
    uint64_t addr;
    char line[LINE_BYTES];
    size_t len_bytes;
    bool is_it; /* the lines are about the mapping of `addr` */
    bool is_guarded;
};

static RDF_RAW bool begins_with(const char *line, const char *text)
{
    while (*text && *line == *text)
        line++, text++;
    return !*text;
}

/* "start-end ": false for another line. */
static RDF_RAW bool read_range(const char *line, uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t number[2] = {0, 0};
    for (size_t i = 0; i < 2; i++) {
        const char *first = line;
        for (;; line++) {
            unsigned digit = (unsigned)(*line - '0') < 10 ? (unsigned)(*line - '0')
                                                          : (unsigned)(*line - 'a' + 10);
            if (digit >= 16 || (digit >= 10 && (unsigned)(*line - 'a') >= 6))
                break;
            number[i] = number[i] * 16 + digit;
        }
        if (line == first || *line++ != (i == 0 ? '-' : ' '))
            return false;
    }
    *ret_start = number[0];
    *ret_end = number[1];
    return true;
}

static RDF_RAW void take_line(struct search *search)
{
    uint64_t start, end;
    search->line[search->len_bytes] = 0;
    search->len_bytes = 0;
    if (read_range(search->line, &start, &end))
        search->is_it = start <= search->addr && search->addr < end;
    else if (search->is_it && begins_with(search->line, "VmFlags:"))
        for (const char *at = search->line; *at; at++)
            search->is_guarded |= begins_with(at, " bt");
}

/* Where it cannot be told there is none: that is as without asking. */
static RDF_RAW bool is_guarded(uint64_t addr)
{
    char text[2048];
    struct search search;
    search.addr = addr;
    search.len_bytes = 0;
    search.is_it = search.is_guarded = false;
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    long got;
    while (fd >= 0 && !search.is_guarded && (got = rdf_sys(SYS_read, fd, text, sizeof text)) > 0)
        for (long i = 0; i < got; i++) {
            if (text[i] == '\n')
                take_line(&search);
            else if (search.len_bytes < LINE_BYTES - 1)
                search.line[search.len_bytes++] = text[i];
        }
    if (fd >= 0)
        (void)rdf_sys(SYS_close, fd);
    return search.is_guarded;
}

RDF_RAW unsigned rdf_local_guard(uint64_t addr)
{
    enum { HWCAP2 = 26 };
    if (!(rdf_auxv(HWCAP2) & RDF_HWCAP2_GUARD))
        return 0;
    return is_guarded(addr) ? RDF_PROT_GUARD : 0;
}
