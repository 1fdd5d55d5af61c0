/* SPDX-License-Identifier: MIT
 *
 * Indexes of debug data, kept from one command to the next: $XDG_CACHE_HOME/redefine/BUILD-ID.index. The
 * build-id is in the file as well, with a sum over everything; a file that is not exactly right is not there.
 */
#include "indexcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Small ones are made again faster than they are found. */
static const size_t kept_bytes_min = 64 << 10;
static const off_t kept_bytes_max = (off_t)1 << 32;

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
    if (dir && ((mkdir(parent, 0700) < 0 && errno != EEXIST) || (mkdir(dir, 0700) < 0 && errno != EEXIST))) {
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

bool cli_index_load(struct rdf_span build_id, struct rdf_debug_index *ret)
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
    close(fd);
    return good;
}

void cli_index_store(struct rdf_span build_id, const struct rdf_debug_index *index)
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
    }
    free(path);
    free(made);
}

struct rdf_judge cli_judge_of(struct cli_target *target, enum rdf_debug_where where)
{
    return (struct rdf_judge){.images = &target->images,
                              .arena = &target->arena,
                              .pages = &rdf_os_pages,
                              .load = cli_index_load,
                              .store = cli_index_store,
                              .where = where};
}
