/* SPDX-License-Identifier: MIT
 *
 * Reading, mapping, the ways to write that need no stopped world, files, the lock.
 */
#include "os/linux/syscall.h"
#include "os_linux_space.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* ---- reading ---- */

static void read_answers(bool knows_prot_none)
{
    size_t page = rdf_os_page_bytes();
    char *area = pages(3, PROT_READ | PROT_WRITE);
    memset(area, 'a', 3 * page);
    char copy[3 * 65536];
    errno = 4321;
    CHECK_EQUAL(space.ops->read(&space, address_of(area), copy, 3 * page), 0);
    CHECK(memcmp(area, copy, 3 * page) == 0);
    mprotect(area + page, page, PROT_NONE);
    if (knows_prot_none)
        CHECK_EQUAL(space.ops->read(&space, address_of(area), copy, 3 * page), -EFAULT);
    munmap(area + page, page);
    CHECK_EQUAL(space.ops->read(&space, address_of(area) + page, copy, 1), -EFAULT);
    CHECK_EQUAL(space.ops->read(&space, address_of(area) + page - 1, copy, 2), -EFAULT);
    CHECK_EQUAL(space.ops->read(&space, address_of(area) + page - 1, copy, 1), 0);
    CHECK_EQUAL(space.ops->read(&space, address_of(area) + 2 * page - 1, copy, 2), -EFAULT);
    CHECK_EQUAL(space.ops->read(&space, UINT64_MAX - 3, copy, 16), -EFAULT);
    CHECK_EQUAL(space.ops->read(&space, UINT64_C(1) << 63, copy, 16), -EFAULT);
    CHECK_EQUAL(errno, 4321);
}

static void read_normally(void)
{
    read_answers(true);
}

static void read_by_pipe(void)
{
    deny(SYS_process_vm_readv, EPERM);
    read_answers(true);
}

static void read_by_mem(void)
{
    deny(SYS_process_vm_readv, ENOSYS);
    deny(SYS_pipe2, EPERM);
    read_answers(false);
}

static void test_read(void **state)
{
    (void)state;
    in_child(read_normally, 10);
}

static void test_read_by_pipe(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip(); /* its own system calls would be filtered too */
    in_child(read_by_pipe, 10);
}

static void test_read_by_mem(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip();
    in_child(read_by_mem, 10);
}

/* ---- map, protect ---- */

static void map_takes_nothing_that_is_taken(void **state)
{
    (void)state;
    size_t page = rdf_os_page_bytes();
    char *area = pages(2, PROT_READ | PROT_WRITE);
    area[0] = 'x';
    munmap(area + page, page);
    uint64_t addr = address_of(area);
    assert_int_equal(space.ops->map(&space, addr, page, RDF_PROT_READ), -EEXIST);
    assert_int_equal(space.ops->map(&space, addr, 2 * page, RDF_PROT_READ), -EEXIST);
    assert_int_equal(area[0], 'x');
    assert_int_equal(space.ops->map(&space, addr + page, page, RDF_PROT_READ | RDF_PROT_WRITE), 0);
    assert_int_equal(area[page], 0);
    area[page] = 1;
    assert_int_equal(space.ops->protect(&space, addr + page, page, RDF_PROT_READ | RDF_PROT_EXEC), 0);
    struct rdf_maps maps;
    assert_int_equal(space.ops->maps(&space, &arena, &maps), 0);
    assert_int_equal(rdf_maps_find(&maps, addr + page)->prot, RDF_PROT_READ | RDF_PROT_EXEC);
    const char *name = rdf_maps_find(&maps, addr + page)->path;
    assert_true(*name == 0 || strcmp(name, "[anon:redefine]") == 0);
    assert_int_equal(space.ops->unmap(&space, addr, 2 * page), 0);
    int unaligned = space.ops->map(&space, addr + 1, page, RDF_PROT_READ);
    assert_true(unaligned == -EINVAL || unaligned == -EEXIST); /* qemu has its own order of checks */
}

/* ---- write ---- */

static const uint8_t returns_1[] = RDF_CODE_RETURNS_1;
static const uint8_t returns_2[] = RDF_CODE_RETURNS_2;

static int call_at(const void *code)
{
    return ((int (*)(void))(uintptr_t)code)();
}

static uint8_t prot_at(uint64_t addr)
{
    struct rdf_maps maps;
    CHECK_EQUAL(space.ops->maps(&space, &arena, &maps), 0);
    return rdf_maps_find(&maps, addr)->prot;
}

/* At every offset of a cache line, over a page end too; the code is called between all writes. */
static void write_changes_what_runs(enum rdf_write_method method)
{
    size_t page = rdf_os_page_bytes();
    char *area = pages(2, PROT_READ | PROT_WRITE);
    memset(area, 0xcc, 2 * page);
    bool protect = method == RDF_WRITE_PROTECT;
    mprotect(area, 2 * page, protect ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ | PROT_EXEC);
    for (size_t off = page - 64; off < page + 8; off += sizeof returns_1 % 4 ? 1 : 4) {
        uint64_t addr = address_of(area) + off;
        CHECK_EQUAL(space.ops->write(&space, NULL, method, addr, returns_1, sizeof returns_1), 0);
        CHECK_EQUAL(call_at(area + off), 1);
        CHECK_EQUAL(space.ops->write(&space, NULL, method, addr, returns_2, sizeof returns_2), 0);
        CHECK_EQUAL(call_at(area + off), 2);
        CHECK_EQUAL((uint8_t)area[off - 1], 0xcc);
        CHECK_EQUAL((uint8_t)area[off + sizeof returns_1], 0xcc);
        uint8_t trap[sizeof returns_1];
        memset(trap, 0xcc, sizeof trap);
        CHECK_EQUAL(space.ops->write(&space, NULL, method, addr, trap, sizeof trap), 0);
    }
    if (!protect)
        CHECK_EQUAL(prot_at(address_of(area)), RDF_PROT_READ | RDF_PROT_EXEC);
    static char big[8192];
    memset(big, 7, sizeof big);
    size_t len = 2 * page < sizeof big ? 2 * page : sizeof big;
    CHECK_EQUAL(space.ops->write(&space, NULL, method, address_of(area), big, len), 0);
    CHECK(memcmp(area, big, len) == 0);
}

/* What emulators run may be what was there before; the engine then says that it cannot be done. */
static bool is_stale_here(void)
{
    char *area = pages(1, PROT_READ | PROT_WRITE);
    const char byte = 1;
    return space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, address_of(area), &byte, 1) == -ENOTSUP;
}

static void write_self_mem(void)
{
    if (is_stale_here())
        SKIP_CHILD("code written through /proc/self/mem is not what runs");
    write_changes_what_runs(RDF_WRITE_SELF_MEM);
}

static void write_protect(void)
{
    write_changes_what_runs(RDF_WRITE_PROTECT);
}

static void test_write_self_mem(void **state)
{
    (void)state;
    in_child(write_self_mem, 30);
}

static void test_write_protect(void **state)
{
    (void)state;
    in_child(write_protect, 30);
}

/* A write that fails half way is taken back. */
static void write_half(void)
{
    size_t page = rdf_os_page_bytes();
    char *area = pages(3, PROT_READ | PROT_WRITE);
    memset(area, 'a', 2 * page);
    int shared = open("/proc/self/exe", O_RDONLY); /* a file that may not be written, mapped shared */
    CHECK(mmap(area + page, page, PROT_READ, MAP_SHARED | MAP_FIXED, shared, 0) != MAP_FAILED);
    char new[8];
    memset(new, 'b', sizeof new);
    uint64_t addr = address_of(area) + page - 4;
    CHECK(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, new, sizeof new) < 0);
    CHECK(memcmp(area + page - 4, "aaaa", 4) == 0);
    munmap(area + page, page);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, new, sizeof new), -EFAULT);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_PROTECT, addr, new, sizeof new), -EFAULT);
    CHECK(memcmp(area + page - 4, "aaaa", 4) == 0);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_TRACER_MEM, address_of(area), new, 8), -EINVAL);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_METHODS, address_of(area), new, 8), -EINVAL);
}

static void test_write_half(void **state)
{
    (void)state;
    in_child(write_half, 10);
}

static size_t private_pages(const char *area, size_t count)
{
    size_t own = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    for (size_t i = 0; i < count; i++) {
        uint64_t entry = 0;
        off_t at = (off_t)((address_of(area) / rdf_os_page_bytes() + i) * sizeof entry);
        CHECK(fd >= 0 && pread(fd, &entry, sizeof entry, at) == sizeof entry);
        own += entry >> 63 && !(entry >> 61 & 1); /* there, and not a file's */
    }
    close(fd);
    return own;
}

/* Pages of a file become the process' own, and stay what they are. */
static void own_pages(void)
{
    enum { PAGES = 4 };
    size_t page = rdf_os_page_bytes();
    int fd = open("/proc/self/exe", O_RDONLY);
    CHECK(fd >= 0);
    char *area = mmap(NULL, PAGES * page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    char *same = mmap(NULL, PAGES * page, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(area != MAP_FAILED && same != MAP_FAILED);
    CHECK(memcmp(area, same, PAGES * page) == 0);
    if (is_stale_here() || private_pages(area, PAGES))
        SKIP_CHILD("an emulator's pages, or a system that does not tell whose they are");
    space.ops->own_pages(&space, address_of(area) + page + 5, page);
    CHECK_EQUAL(private_pages(area, PAGES), 2);
    CHECK(memcmp(area, same, PAGES * page) == 0);
    CHECK_EQUAL(prot_at(address_of(area)), RDF_PROT_READ | RDF_PROT_EXEC);
    space.ops->own_pages(&space, address_of(area), 0);
    CHECK_EQUAL(private_pages(area, PAGES), 2);
    munmap(area, PAGES * page);
    space.ops->own_pages(&space, address_of(area), PAGES * page); /* nothing is there: nothing happens */
}

static void test_own_pages(void **state)
{
    (void)state;
    in_child(own_pages, 10);
}

/* A function of libc, and its page's protection afterwards. */
static void write_libc(void)
{
    if (is_stale_here())
        SKIP_CHILD("code written through /proc/self/mem is not what runs");
    void *libc_function = dlsym(RTLD_DEFAULT, "getpgrp");
    CHECK(libc_function != NULL);
    uint64_t addr = address_of(libc_function);
    uint8_t old[sizeof returns_1];
    uint8_t before = prot_at(addr);
    pid_t group = getpgrp();
    CHECK_EQUAL(space.ops->read(&space, addr, old, sizeof old), 0);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, returns_1, sizeof returns_1), 0);
    CHECK_EQUAL(getpgrp(), 1);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, old, sizeof old), 0);
    CHECK_EQUAL(getpgrp(), group);
    CHECK_EQUAL(prot_at(addr), before);
}

static void test_write_libc(void **state)
{
    (void)state;
    in_child(write_libc, 10);
}

/* mprotect may say no to the vDSO; /proc/self/mem does not. Found by AT_SYSINFO_EHDR, called by address. */
static void write_vdso(void)
{
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
    if (!vdso)
        SKIP_CHILD("no vDSO here (valgrind hides it)");
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)vdso;
    const Elf64_Phdr *part = (const Elf64_Phdr *)(vdso + head->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    for (int i = 0; i < head->e_phnum; i++)
        if (part[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(vdso + part[i].p_offset);
    const Elf64_Sym *symbol = NULL;
    const char *name = NULL;
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbol = (const Elf64_Sym *)(vdso + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB)
            name = (const char *)(vdso + dynamic->d_un.d_ptr);
    }
    CHECK(symbol && name > (const char *)symbol);
    uint64_t addr = 0;
    size_t count = (size_t)(name - (const char *)symbol) /
                   sizeof *symbol; /* the names follow, as linkers do it */
    for (size_t i = 1; i < count && !addr; i++)
        if (strstr(name + symbol[i].st_name, "clock_getres")) /* every CPU's has that one */
            addr = vdso + symbol[i].st_value;
    CHECK(addr != 0);
    size_t page = rdf_os_page_bytes();
    uint8_t before = prot_at(addr);
    if (space.ops->protect(&space, addr / page * page, page, 7) == 0) /* arm64's says yes */
        CHECK_EQUAL(space.ops->protect(&space, addr / page * page, page, before), 0);
    uint8_t old[sizeof returns_1];
    CHECK_EQUAL(space.ops->read(&space, addr, old, sizeof old), 0);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, returns_1, sizeof returns_1), 0);
    CHECK_EQUAL(call_at((void *)addr), 1);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, old, sizeof old), 0);
    CHECK(memcmp((void *)addr, old, sizeof old) == 0);
    CHECK_EQUAL(prot_at(addr), before);
}

static void test_write_vdso(void **state)
{
    (void)state;
    in_child(write_vdso, 10);
}

static void write_sealed(void)
{
    enum { MSEAL = 462 };
    size_t page = rdf_os_page_bytes();
    char *area = pages(1, PROT_READ | PROT_WRITE);
    memcpy(area, returns_1, sizeof returns_1);
    mprotect(area, page, PROT_READ | PROT_EXEC);
    if (syscall(MSEAL, area, page, 0))
        SKIP_CHILD("no mseal here");
    CHECK_EQUAL(space.ops->protect(&space, address_of(area), page, 7), -EPERM);
    CHECK_EQUAL(call_at(area), 1);
    uint64_t addr = address_of(area);
    CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_SELF_MEM, addr, returns_2, sizeof returns_2), 0);
    CHECK_EQUAL(call_at(area), 2);
    CHECK_EQUAL(prot_at(addr), RDF_PROT_READ | RDF_PROT_EXEC);
}

static void test_write_sealed(void **state)
{
    (void)state;
    in_child(write_sealed, 10);
}

/* One aligned 8 bytes, seen by a thread that runs them, are the old or the new ones. */
static char *racing_code;
static volatile bool racing_stop;
static void *race(void *unused)
{
    (void)unused;
    long wrong = 0;
    while (!racing_stop) {
        int got = call_at(racing_code);
        wrong += got != 1 && got != 2;
    }
    return (void *)wrong;
}

static void write_at_once(void)
{
    racing_code = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    memcpy(racing_code, returns_1, sizeof returns_1);
    pthread_t thread;
    pthread_create(&thread, NULL, race, NULL);
    for (unsigned i = 0; i < 20000 / test_slowdown(); i++) {
        const uint8_t *code = i & 1 ? returns_1 : returns_2;
        CHECK_EQUAL(space.ops->write(&space, NULL, RDF_WRITE_PROTECT, address_of(racing_code), code,
                                     sizeof returns_1),
                    0);
    }
    racing_stop = true;
    void *wrong;
    pthread_join(thread, &wrong);
    CHECK(wrong == NULL);
}

static void test_write_at_once(void **state)
{
    (void)state;
    in_child(write_at_once, 60);
}

/* ---- the rest ---- */

static void *sleep_a_while(void *unused)
{
    (void)unused;
    while (!racing_stop)
        usleep(1000);
    return NULL;
}

static void count_threads(void)
{
    CHECK(!space.ops->has_other_threads(&space));
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_a_while, NULL);
    CHECK(space.ops->has_other_threads(&space));
    racing_stop = true;
    pthread_join(thread, NULL);
    if (ptrace(PTRACE_PEEKTEXT, 0, NULL, NULL) == -1 && errno == ENOSYS)
        SKIP_CHILD("an emulator has threads of its own: a program that had some once is never alone again");
    for (int i = 0; i < 1000 && space.ops->has_other_threads(&space); i++)
        usleep(1000); /* the kernel drops the thread a moment after join */
    CHECK(!space.ops->has_other_threads(&space));
}

static void test_count_threads(void **state)
{
    (void)state;
    in_child(count_threads, 10);
}

static int chosen(void)
{
    return 42;
}

static void *choose(void)
{
    return (void *)(uintptr_t)chosen;
}

static void resolvers_are_called(void **state)
{
    (void)state;
    uint64_t got = space.ops->call_resolver(&space, (uint64_t)(uintptr_t)choose);
    assert_int_equal(got, (uint64_t)(uintptr_t)chosen);
}

static struct rdf_os_lock lock;
static long counted;
static void *count_locked(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        CHECK(rdf_os_lock(&lock));
        counted++;
        rdf_os_unlock(&lock);
    }
    return NULL;
}

static void lock_excludes(void)
{
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, count_locked, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    CHECK_EQUAL(counted, 4 * 20000);
    CHECK_EQUAL(lock.state, 0);
}

static void *hold_for_ever(void *unused)
{
    CHECK(rdf_os_lock(&lock));
    racing_stop = true;
    for (;;)
        pause();
    return unused;
}

static void lock_after_fork(void)
{
    CHECK(rdf_os_lock(&lock));
    CHECK(!rdf_os_lock(&lock)); /* not a deadlock */
    rdf_os_unlock(&lock);
    pthread_t thread;
    pthread_create(&thread, NULL, hold_for_ever, NULL);
    while (!racing_stop)
        usleep(100);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(5); /* does not outlive its parent's */
        CHECK(rdf_os_lock(&lock));
        CHECK(!rdf_os_lock(&lock));
        rdf_os_unlock(&lock);
        CHECK(rdf_os_lock(&lock));
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
}

static void test_lock(void **state)
{
    (void)state;
    in_child(lock_excludes, 60);
}

static void test_lock_after_fork(void **state)
{
    (void)state;
    in_child(lock_after_fork, 10);
}

static void pages_are_zero_and_whole(void **state)
{
    (void)state;
    assert_int_equal(rdf_os_page_bytes(), sysconf(_SC_PAGESIZE));
    char *p = rdf_os_pages.get(rdf_os_pages.ctx, 100000);
    assert_non_null(p);
    assert_int_equal(p[99999], 0);
    rdf_os_pages.put(rdf_os_pages.ctx, p, 100000);
    assert_null(rdf_os_pages.get(rdf_os_pages.ctx, SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),
        TEST(test_read_by_pipe),
        TEST(test_read_by_mem),
        TEST(map_takes_nothing_that_is_taken),
        TEST(test_write_self_mem),
        TEST(test_write_protect),
        TEST(test_write_half),
        TEST(test_own_pages),
        TEST(test_write_libc),
        TEST(test_write_vdso),
        TEST(test_write_sealed),
        TEST(test_write_at_once),
        TEST(test_count_threads),
        TEST(resolvers_are_called),
        TEST(test_lock),
        TEST(test_lock_after_fork),
        TEST(pages_are_zero_and_whole),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("os_linux_memory", tests, NULL, NULL);
}
