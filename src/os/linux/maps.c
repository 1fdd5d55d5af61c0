/* SPDX-License-Identifier: MIT
 *
 * What is mapped in this process, from /proc/self/maps.
 *
 *   7f0a1c000000-7f0a1c021000 rw-p 00000000 00:00 0
 *   55d0c8e4a000-55d0c8e4c000 r-xp 00002000 fd:01 1835    /usr/bin/a name with spaces (deleted)
 *
 * The file is made while it is read: one read() is consistent, two are not. Entries still come in
 * ascending order, because the kernel goes on at the address where it left off.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* The whole text, in pages that are given back before the snapshot is returned: as arena memory it
 * would stay as long as the snapshot, at several times its size. */
struct text {
    char *data;
    size_t len_bytes;
    size_t room_bytes;
};

static void text_free(struct text *text)
{
    if (text->data)
        (void)rdf_sys(SYS_munmap, text->data, text->room_bytes);
    *text = (struct text){0};
}

static int text_new(struct text *text, size_t room_bytes)
{
    const int prot = PROT_READ | PROT_WRITE;
    long result = rdf_sys(SYS_mmap, 0, room_bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rdf_sys_failed(result))
        return (int)result;
    *text = (struct text){(char *)result, 0, room_bytes};
    return 0;
}

/* -ENOSPC when there is more than there is room for. */
static int text_fill(struct text *text, const char *path)
{
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    long got = 1;
    while (got != 0 && text->len_bytes < text->room_bytes) {
        got = rdf_sys(SYS_read, fd, text->data + text->len_bytes, text->room_bytes - text->len_bytes);
        if (got < 0 && got != -EINTR)
            break;
        text->len_bytes += got > 0 ? (size_t)got : 0;
    }
    (void)rdf_sys(SYS_close, fd);
    return got < 0 ? (int)got : got == 0 ? 0 : -ENOSPC;
}

/* What does not fit is read again from the start, so that the text is mapped in one place only while it is
 * made: it tells of that place as well. */
static int text_read(struct text *text, const char *path)
{
    enum { FIRST_BYTES = 64 * 1024 };
    int err = -ENOSPC;
    for (size_t room_bytes = FIRST_BYTES; err == -ENOSPC; room_bytes *= 4) {
        text_free(text);
        err = text_new(text, room_bytes);
        if (!err)
            err = text_fill(text, path);
    }
    return err;
}

/* One line, read from left to right; `bad` once something was not there. */
struct line {
    const char *at;
    const char *end;
    bool bad;
};

static uint64_t take_number(struct line *line, unsigned base)
{
    uint64_t value = 0;
    const char *first = line->at;
    for (; line->at < line->end; line->at++) {
        unsigned digit = (unsigned char)*line->at;
        if (digit - '0' < 10u)
            digit -= '0';
        else if (digit - 'a' < 6u)
            digit -= 'a' - 10;
        else
            break;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (line->at == first)
        line->bad = true;
    return value;
}

static void take_char(struct line *line, char wanted)
{
    if (line->at < line->end && *line->at == wanted)
        line->at++;
    else
        line->bad = true;
}

static bool take_flag(struct line *line, char letter)
{
    bool set = line->at < line->end && *line->at == letter;
    if (line->at < line->end)
        line->at++;
    else
        line->bad = true;
    return set;
}

/* The encoding of st_dev (new_encode_dev), so that the two can be compared. */
static uint64_t device_number(uint64_t major, uint64_t minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~UINT64_C(0xff)) << 12;
}

/* The kernel writes a newline in a name as \012 and nothing else specially (seq_file_path(m, f, "\n")). */
static const char *take_path(struct line *line, struct rdf_arena *arena, const char *last_path)
{
    while (line->at < line->end && *line->at == ' ')
        line->at++;
    size_t len = (size_t)(line->end - line->at);
    if (len == 0)
        return "";

    /* A library has four to six mappings in a row under one name; keep it once. */
    size_t same = 0;
    while (same < len && last_path[same] == line->at[same])
        same++;
    if (same == len && last_path[len] == 0)
        return last_path;

    char *copy = rdf_arena_alloc(arena, len + 1);
    if (!copy)
        return NULL;
    size_t out = 0;
    for (size_t in = 0; in < len; in++) {
        const char *at = line->at + in;
        bool newline = len - in >= 4 && at[0] == '\\' && at[1] == '0' && at[2] == '1' && at[3] == '2';
        copy[out++] = newline ? '\n' : at[0];
        in += newline ? 3 : 0;
    }
    return copy;
}

static int parse_line(struct line line, struct rdf_arena *arena, const char *last_path, struct rdf_map *ret)
{
    ret->start = take_number(&line, 16);
    take_char(&line, '-');
    ret->end = take_number(&line, 16);
    take_char(&line, ' ');
    ret->prot = 0;
    ret->prot |= take_flag(&line, 'r') ? RDF_PROT_READ : 0;
    ret->prot |= take_flag(&line, 'w') ? RDF_PROT_WRITE : 0;
    ret->prot |= take_flag(&line, 'x') ? RDF_PROT_EXEC : 0;
    ret->shared = take_flag(&line, 's');
    take_char(&line, ' ');
    ret->file_off = take_number(&line, 16);
    take_char(&line, ' ');
    uint64_t major = take_number(&line, 16);
    take_char(&line, ':');
    uint64_t minor = take_number(&line, 16);
    take_char(&line, ' ');
    ret->ino = take_number(&line, 10);
    ret->dev = device_number(major, minor);
    if (line.bad || ret->end <= ret->start)
        return -EBADMSG;
    ret->path = take_path(&line, arena, last_path);
    return ret->path ? 0 : -ENOMEM;
}

static size_t count_lines(const struct text *text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text->len_bytes; i++)
        lines += text->data[i] == '\n';
    return lines;
}

static int parse(const struct text *text, struct rdf_arena *arena, struct rdf_maps *ret)
{
    size_t room = count_lines(text);
    /* One more than there are lines: leave_out may cut one mapping in two. */
    struct rdf_map *map = rdf_arena_alloc(arena, (room + 1) * sizeof *map);
    if (!map)
        return -ENOMEM;

    size_t count = 0;
    const char *last_path = "";
    uint64_t last_end = 0;
    const char *at = text->data;
    const char *end = text->data + text->len_bytes;
    while (count < room && at < end) {
        const char *newline = at;
        while (newline < end && *newline != '\n')
            newline++;
        if (newline == end)
            return -EBADMSG;
        struct rdf_map *next = &map[count];
        int err = parse_line((struct line){at, newline, false}, arena, last_path, next);
        if (err)
            return err;
        last_path = *next->path ? next->path : last_path;
        at = newline + 1;

        /* A mapping that merged with its left neighbour between two reads is told twice. */
        if (next->start < last_end) {
            if (next->end <= last_end)
                continue;
            next->file_off += next->ino ? last_end - next->start : 0;
            next->start = last_end;
        }
        last_end = next->end;
        count++;
    }
    *ret = (struct rdf_maps){map, count};
    return 0;
}

/* The text's own pages are gone when the snapshot is used; they may have merged with what lies beside. */
static void leave_out(struct rdf_maps *maps, uint64_t start, uint64_t end)
{
    struct rdf_map *map = (struct rdf_map *)maps->map; /* of our own arena */
    size_t count = maps->count;
    for (size_t i = 0; i < count; i++) {
        if (map[i].end <= start || map[i].start >= end)
            continue;
        struct rdf_map before = map[i];
        struct rdf_map after = map[i];
        before.end = start;
        after.start = end;
        bool has_before = before.start < before.end;
        bool has_after = after.start < after.end;
        if (has_before && has_after) {
            for (size_t j = count; j > i + 1; j--)
                map[j] = map[j - 1];
            map[i] = before;
            map[i + 1] = after;
            count++;
        } else if (has_before || has_after) {
            map[i] = has_before ? before : after;
        } else {
            for (size_t j = i; j + 1 < count; j++)
                map[j] = map[j + 1];
            count--;
        }
        break;
    }
    maps->count = count;
}

int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    (void)space;
    struct text text = {0};
    int err = text_read(&text, "/proc/self/maps");
    if (!err)
        err = parse(&text, arena, ret);
    if (!err)
        leave_out(ret, (uint64_t)(uintptr_t)text.data, (uint64_t)(uintptr_t)text.data + text.room_bytes);
    text_free(&text);
    return err;
}

/* PROCMAP_QUERY, of Linux 6.11 (include/uapi/linux/fs.h, which distributions' headers may not have yet). */
struct procmap_query {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start;
    uint64_t vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
};
enum { VMA_READABLE = 1, VMA_WRITABLE = 2, VMA_EXECUTABLE = 4, VMA_SHARED = 8 };
#define QUERY_MAP _IOWR('f', 17, struct procmap_query)

static RDF_RAW long query_map(int fd, uint64_t addr, struct rdf_map *ret)
{
    struct procmap_query query = {.size = sizeof query, .query_addr = addr};
    long status = rdf_sys(SYS_ioctl, fd, QUERY_MAP, &query);
    *ret = (struct rdf_map){.path = ""};
    if (status == -ENOENT)
        return 0;
    if (status < 0)
        return status;
    *ret = (struct rdf_map){.start = query.vma_start,
                            .end = query.vma_end,
                            .file_off = query.vma_offset,
                            .dev = device_number(query.dev_major, query.dev_minor),
                            .ino = query.inode,
                            .shared = query.vma_flags & VMA_SHARED,
                            .path = ""};
    ret->prot = (uint8_t)((query.vma_flags & VMA_READABLE ? RDF_PROT_READ : 0) |
                          (query.vma_flags & VMA_WRITABLE ? RDF_PROT_WRITE : 0) |
                          (query.vma_flags & VMA_EXECUTABLE ? RDF_PROT_EXEC : 0));
    return 0;
}

RDF_RAW int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count,
                              struct rdf_map *ret)
{
    (void)space;
    int fd = (int)rdf_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    long status = fd < 0 ? fd : 0;
    for (size_t i = 0; status == 0 && i < count; i++)
        status = query_map(fd, addr[i], &ret[i]);
    if (fd >= 0)
        (void)rdf_sys(SYS_close, fd);
    return (int)status;
}
