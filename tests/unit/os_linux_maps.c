/* SPDX-License-Identifier: MIT
 *
 * What is mapped, as src/os/linux/maps.c tells it.
 */
#include "os_linux_space.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static void maps_tell_what_is_mapped(void **state)
{
    (void)state;
    size_t page = rdf_os_page_bytes();
    char *area = pages(3, PROT_READ);
    assert_int_equal(mprotect(area + page, page, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    assert_int_equal(mprotect(area + 2 * page, page, PROT_NONE), 0);
    struct rdf_maps maps;
    assert_int_equal(space.ops->maps(&space, &arena, &maps), 0);
    for (size_t i = 0; i < maps.count; i++) {
        assert_true(maps.map[i].start < maps.map[i].end);
        assert_true(i == 0 || maps.map[i - 1].end <= maps.map[i].start);
        assert_non_null(maps.map[i].path);
    }
    uint64_t addr = address_of(area);
    assert_int_equal(rdf_maps_find(&maps, addr)->prot, RDF_PROT_READ);
    assert_int_equal(rdf_maps_find(&maps, addr + page)->start, addr + page);
    assert_int_equal(rdf_maps_find(&maps, addr + 2 * page - 1)->prot, 7);
    assert_int_equal(rdf_maps_find(&maps, addr + 2 * page)->prot, 0);
    assert_null(rdf_maps_find(&maps, 0));
    assert_null(rdf_maps_find(&maps, UINT64_MAX));
    assert_true(rdf_maps_allow(&maps, addr, 2 * page, RDF_PROT_READ));
    assert_false(rdf_maps_allow(&maps, addr, 2 * page, RDF_PROT_WRITE));
    assert_false(rdf_maps_allow(&maps, addr, 2 * page + 1, RDF_PROT_READ));
    assert_true(rdf_maps_allow(&maps, addr + 2 * page - 1, 1, RDF_PROT_EXEC));
    assert_false(rdf_maps_allow(&maps, addr, UINT64_MAX, 0));
    munmap(area, 3 * page);
}

static void maps_name_files_and_their_inodes(void **state)
{
    (void)state;
    const char *name = "/tmp/os linux\nnew (line) a";
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    size_t page = rdf_os_page_bytes();
    assert_int_equal(ftruncate(fd, (off_t)(4 * page)), 0);
    void *there = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)page);
    void *gone = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, (off_t)(3 * page));
    struct stat about;
    fstat(fd, &about);
    struct rdf_maps maps;
    assert_int_equal(space.ops->maps(&space, &arena, &maps), 0);
    const struct rdf_map *map = rdf_maps_find(&maps, address_of(there));
    assert_string_equal(map->path, name);
    assert_int_equal(map->file_off, page);
    assert_int_equal(map->ino, about.st_ino);
    assert_int_equal(map->dev, about.st_dev);
    assert_true(map->shared);
    assert_false(rdf_maps_find(&maps, address_of(gone))->shared);
    uint64_t ino = map->ino;
    uint64_t dev = map->dev;

    struct rdf_span file = {NULL, 0};
    assert_int_equal(space.ops->open_file(&space, name, dev, ino, &file), 0);
    assert_int_equal(file.len_bytes, 4 * page);
    space.ops->close_file(&space, file);
    assert_int_equal(space.ops->open_file(&space, name, dev, ino + 1, &file), -ESTALE);

    unlink(name);
    assert_int_equal(space.ops->maps(&space, &arena, &maps), 0);
    map = rdf_maps_find(&maps, address_of(there));
    assert_string_equal(map->path, "/tmp/os linux\nnew (line) a (deleted)");
    assert_int_equal(space.ops->open_file(&space, map->path, map->dev, map->ino, &file), -ESTALE);
    assert_int_equal(space.ops->open_file(&space, "/nowhere", 0, 0, &file), -ENOENT);
    assert_int_equal(space.ops->open_file(&space, "/tmp", 0, 0, &file), -ENOEXEC);
    munmap(there, page);
    munmap(gone, page);
    close(fd);
}

/* Every line of the file, read the simple way, is in the snapshot. */
static void maps_agree_with_stdio(void **state)
{
    (void)state;
    FILE *text = fopen("/proc/self/maps", "r");
    assert_non_null(text);
    static struct {
        unsigned long long start, end, off;
        char prot[5];
    } line[4096];
    size_t lines = 0;
    static char buffer[8192];
    while (lines < 4096 && fgets(buffer, sizeof buffer, text))
        if (sscanf(buffer, "%llx-%llx %4s %llx", &line[lines].start, &line[lines].end, line[lines].prot,
                   &line[lines].off) == 4)
            lines++;
    struct rdf_maps maps;
    assert_int_equal(space.ops->maps(&space, &arena, &maps), 0);
    fclose(text);
    size_t different = 0;
    for (size_t i = 0; i < lines; i++) {
        const struct rdf_map *map = rdf_maps_find(&maps, line[i].start);
        if (!map || map->start != line[i].start || map->end != line[i].end || map->file_off != line[i].off ||
            (map->prot & RDF_PROT_EXEC ? 'x' : '-') != line[i].prot[2])
            different++;
    }
    assert_true(lines > 10);
    assert_true(different <= 2); /* the snapshot's own pages, and the heap, may have moved */
}

static void many_maps_take_linear_time(void)
{
    enum { MANY = 30000 };
    size_t page = rdf_os_page_bytes();
    char *area = mmap(NULL, 2 * MANY * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(area != MAP_FAILED);
    for (size_t i = 0; i < MANY; i++)
        CHECK(mprotect(area + 2 * i * page, page, PROT_READ) == 0);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    struct rdf_maps maps;
    CHECK_EQUAL(space.ops->maps(&space, &arena, &maps), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK(maps.count >= 2 * MANY);
    for (size_t i = 0; i < MANY; i++)
        CHECK(rdf_maps_find(&maps, address_of(area) + 2 * i * page)->prot == RDF_PROT_READ);
    printf("# %zu mappings read in %.1f ms\n", maps.count,
           (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
}

static void test_many_maps(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip(); /* it has room for 30,000 mappings only */
    in_child(many_maps_take_linear_time, 60);
}

/* A source of pages that has `left` more. */
static size_t left;
static void *get_some(void *ctx, size_t len)
{
    (void)ctx;
    return left ? left--, rdf_os_pages.get(NULL, len) : NULL;
}
static void put_some(void *ctx, void *p, size_t len)
{
    (void)ctx;
    rdf_os_pages.put(NULL, p, len);
}

static void maps_without_memory_fail_cleanly(void **state)
{
    (void)state;
    const struct rdf_page_source source = {.get = get_some, .put = put_some};
    struct rdf_arena small;
    rdf_arena_init(&small, &source);
    struct rdf_maps maps = {NULL, 12345};
    left = 0;
    assert_int_equal(space.ops->maps(&space, &small, &maps), -ENOMEM);
    assert_int_equal(maps.count, 12345);
    rdf_arena_free(&small);
}

static void maps_denied(void)
{
    deny(SYS_openat, EACCES);
    struct rdf_maps maps;
    CHECK_EQUAL(space.ops->maps(&space, &arena, &maps), -EACCES);
}

static void test_maps_denied(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip();
    in_child(maps_denied, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(maps_tell_what_is_mapped), TEST(maps_name_files_and_their_inodes), TEST(maps_agree_with_stdio),
        TEST(test_many_maps),           TEST(maps_without_memory_fail_cleanly), TEST(test_maps_denied),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("os_linux_maps", tests, NULL, NULL);
}
