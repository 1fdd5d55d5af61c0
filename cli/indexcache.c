/* SPDX-License-Identifier: MIT
 *
 * Indexes of debug data, kept from one command to the next: $XDG_CACHE_HOME/redefine/BUILD-ID.index. The
 * build-id is in the file as well, with a sum over everything; a file that is not exactly right is not there.
 * Programs are built again and again, so each index that is added may cost those that were not used for
 * longest.
 */
#include "indexcache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Small ones are made again faster than they are found. */
static const size_t kept_bytes_min = 64 << 10;
static const off_t kept_bytes_max = (off_t)1 << 32;
/* All of them together; man/redefine-check.1 says so. */
static const off_t folder_bytes_max = (off_t)256 << 20;
static const time_t unfinished_seconds_max = 3600;

/* Who can write into the folder decides what is believed, and what is deleted. */
static bool is_own_folder(const char *dir)
{
    struct stat st;
    return stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & S_IWOTH);
}

/* The folder, made where it is missing; a new string, or null. */
static char *cache_dir(void)
{
    const char *base = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char *parent = NULL, *dir = NULL;
    /* The specification says that a relative one is to be ignored. */
    int made = base && base[0] == '/'   ? asprintf(&parent, "%s", base)
               : home && home[0] == '/' ? asprintf(&parent, "%s/.cache", home)
                                        : -1;
    if (made < 0)
        return NULL;
    if (asprintf(&dir, "%s/redefine", parent) < 0)
        dir = NULL;
    if (dir && ((mkdir(parent, 0700) < 0 && errno != EEXIST) || (mkdir(dir, 0700) < 0 && errno != EEXIST) ||
                !is_own_folder(dir))) {
        free(dir);
        dir = NULL;
    }
    free(parent);
    return dir;
}

static char *cache_path(struct rdf_span build_id, const char *suffix)
{
    char name[2 * RDF_DEBUG_ID_BYTES_MAX + 1] = "";
    if (build_id.len_bytes == 0 || build_id.len_bytes > RDF_DEBUG_ID_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < build_id.len_bytes; i++)
        (void)snprintf(name + 2 * i, 3, "%02x", build_id.data[i]);
    char *dir = cache_dir();
    char *path = NULL;
    if (dir && asprintf(&path, "%s/%s.%s", dir, name, suffix) < 0)
        path = NULL;
    free(dir);
    return path;
}

static bool read_all(int fd, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t got = read(fd, to, len);
        if (got <= 0)
            return false;
        to += got;
        len -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const uint8_t *from, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, from, len);
        if (put <= 0)
            return false;
        from += put;
        len -= (size_t)put;
    }
    return true;
}

/* The index that was kept for this build-id, in memory that rdf_os_pages gives back; false: none. */
static bool load(struct rdf_span build_id, struct rdf_debug_index *ret)
{
    char *path = cache_path(build_id, "index");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY) : -1;
    free(path);
    struct stat st;
    if (fd < 0)
        return false;
    /* Read, not mapped: who shortens a mapped file takes the reader down. */
    bool is_ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_size > 0 &&
                   st.st_size < kept_bytes_max;
    uint8_t *bytes = is_ours ? rdf_os_pages.get(rdf_os_pages.ctx, (size_t)st.st_size) : NULL;
    bool good = bytes && read_all(fd, bytes, (size_t)st.st_size) &&
                rdf_debug_index_from((struct rdf_span){bytes, (size_t)st.st_size}, build_id, ret);
    if (bytes && !good)
        rdf_os_pages.put(rdf_os_pages.ctx, bytes, (size_t)st.st_size);
    if (good)
        (void)futimens(fd, NULL); /* used just now */
    close(fd);
    return good;
}

/* ---- Not too many ---- */

struct kept {
    char name[2 * RDF_DEBUG_ID_BYTES_MAX + 8];
    off_t bytes;
    struct timespec used;
};

static int by_use(const void *a, const void *b)
{
    const struct timespec *left = &((const struct kept *)a)->used, *right = &((const struct kept *)b)->used;
    if (left->tv_sec != right->tv_sec)
        return left->tv_sec < right->tv_sec ? 1 : -1;
    return left->tv_nsec < right->tv_nsec ? 1 : left->tv_nsec > right->tv_nsec ? -1 : 0;
}

/* A file of ours, by its name: "BUILD-ID.index", or the six letters of one that is being written. */
static bool is_of_cache(const char *name, bool *ret_is_index)
{
    size_t digits = strspn(name, "0123456789abcdef");
    *ret_is_index = strcmp(name + digits, ".index") == 0;
    return digits > 0 && digits <= 2 * RDF_DEBUG_ID_BYTES_MAX && name[digits] == '.' &&
           (*ret_is_index || strlen(name + digits) == 7);
}

/* Lists the indexes of a folder; on the way, deletes what a command that was killed has left. */
static struct kept *list_kept(DIR *folder, size_t *ret_count)
{
    struct kept *list = NULL;
    size_t count = 0, room = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat st;
        bool is_index;
        if (!is_of_cache(entry->d_name, &is_index) ||
            fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (!is_index) {
            if (time(NULL) - st.st_mtim.tv_sec > unfinished_seconds_max)
                (void)unlinkat(dirfd(folder), entry->d_name, 0);
            continue;
        }
        if (count == room) {
            room = room ? 2 * room : 64;
            struct kept *bigger = realloc(list, room * sizeof *list);
            if (!bigger)
                break;
            list = bigger;
        }
        list[count] = (struct kept){.bytes = st.st_size, .used = st.st_mtim};
        memcpy(list[count++].name, entry->d_name, strlen(entry->d_name) + 1);
    }
    *ret_count = count;
    return list;
}

static void prune(void)
{
    char *dir = cache_dir();
    DIR *folder = dir ? opendir(dir) : NULL;
    size_t count = 0;
    struct kept *list = folder ? list_kept(folder, &count) : NULL;
    off_t bytes = 0;
    if (list)
        qsort(list, count, sizeof *list, by_use);
    /* The first one is what was just written. */
    for (size_t i = 0; list && i < count; i++) {
        bytes += list[i].bytes;
        if (i > 0 && bytes > folder_bytes_max)
            (void)unlinkat(dirfd(folder), list[i].name, 0);
    }
    free(list);
    if (folder)
        closedir(folder);
    free(dir);
}

/* Keep an index that was built with the key of its build-id. That it cannot be kept is no failure. */
static void store(struct rdf_span build_id, const struct rdf_debug_index *index)
{
    if (index->blob.len_bytes < kept_bytes_min)
        return;
    char *path = cache_path(build_id, "index");
    char *made = cache_path(build_id, "XXXXXX");
    int fd = path && made ? mkostemp(made, O_CLOEXEC) : -1;
    if (fd >= 0) {
        bool written = write_all(fd, index->blob.data, index->blob.len_bytes);
        written &= close(fd) == 0;
        if (!written || rename(made, path) != 0)
            (void)unlink(made);
        else
            prune();
    }
    free(path);
    free(made);
}

struct rdf_judge cli_judge_of(struct cli_target *target, enum rdf_debug_where where)
{
    const char *servers = getenv("DEBUGINFOD_URLS");
    return (struct rdf_judge){.images = &target->images,
                              .arena = &target->arena,
                              .pages = &rdf_os_pages,
                              .load = load,
                              .store = store,
                              .where = where,
                              .tells_fetching = servers && *servers};
}
