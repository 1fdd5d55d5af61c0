/* SPDX-License-Identifier: MIT
 *
 * Text in huge pages of hugetlbfs, for real, as programs that remap their own text make it. It takes free
 * huge pages: root asks the kernel for some, and gives them back.
 */
#include "deny.h"
#include "entries.h"

#define POOL "/proc/sys/vm/nr_hugepages"
enum { HUGE_BYTES = 2 << 20 };

/* Alone in a huge page; the link places it so that it is one (tests/CMakeLists.txt). */
int in_huge_page(void);
__asm__(".section .text.huge, \"ax\", %progbits\n.p2align 21\n" FUNCTION(
    in_huge_page, ENTRY_NUMBER("5")) ".p2align 21\n.text\n");

static int in_huge_page_more(void)
{
    return redefine_original(in_huge_page)() + 100;
}

TARGET int elsewhere(int value)
{
    __asm__ volatile("");
    return value + 1;
}

static int elsewhere_more(int value)
{
    return redefine_original(elsewhere)(value) + 100;
}

static void remap(void)
{
    char *text = (char *)(uintptr_t)in_huge_page;
    char *copy = malloc(HUGE_BYTES);
    if ((uintptr_t)text % HUGE_BYTES)
        live_skip("this loader does not align text to huge pages");
    memcpy(copy, text, HUGE_BYTES);
    void *probe = mmap(NULL, HUGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (probe == MAP_FAILED)
        live_skip("no huge pages: %s", strerror(errno));
    CHECK(!munmap(probe, HUGE_BYTES));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB;
    CHECK(mmap(text, HUGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0) == text);
    memcpy(text, copy, HUGE_BYTES);
    CHECK(mprotect(text, 4096, PROT_READ) && errno == EINVAL); /* huge indeed */
    CHECK(!mprotect(text, HUGE_BYTES, PROT_READ | PROT_EXEC));
    free(copy);
    CHECK_INT(in_huge_page(), 5);
}

static void huge(size_t threads)
{
    remap();
    char same = *(char *)(uintptr_t)in_huge_page;
    if (!live_poke(ADDRESS(in_huge_page), &same, 1))
        live_skip("this kernel lets nobody write code in huge pages: %s", strerror(errno));
    live_threads(threads);
    live_world_take(&live_before);
    CHECK_OK(redefine(in_huge_page, in_huge_page_more));
    CHECK_INT(in_huge_page(), 105);
    printf("# %s\n", redefine_describe(ADDRESS(in_huge_page)));
    CHECK_OK(redefine_restore(in_huge_page));
    CHECK_INT(in_huge_page(), 5);
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK(!live_maps_writable_code(&live_now.maps));
    CHECK_OK(redefine(elsewhere, elsewhere_more));
    CHECK_INT(elsewhere(1), 102);
}

static void one(void)
{
    huge(0);
}

static void four(void)
{
    huge(3);
}

/* mprotect takes whole huge pages only. */
static void one_without_self_mem(void)
{
    remap();
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM), DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
    live_world_take(&live_before);
    CHECK_STATUS(redefine(in_huge_page, in_huge_page_more), REDEFINE_EDENIED);
    CHECK_SAYS("mprotect");
    CHECK_SAYS("EINVAL");
    CHECK_INT(in_huge_page(), 5);
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK_OK(redefine(elsewhere, elsewhere_more));
    CHECK_INT(elsewhere(1), 102);
}

static void write_pool(const char *number)
{
    int fd = open(POOL, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, number, strlen(number));
    if (fd >= 0)
        close(fd);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"text in huge pages, one thread", one, 0},
        {"text in huge pages, four threads", four, 0},
        {"text in huge pages, and only mprotect is left", one_without_self_mem, 0},
    };
    char before[32] = "";
    int fd = open(POOL, O_RDONLY | O_CLOEXEC);
    bool is_ours = fd >= 0 && read(fd, before, sizeof before - 1) > 0 && atoi(before) < 4;
    if (is_ours)
        write_pool("4");
    int result = live_main(cases, LIVE_COUNT(cases));
    if (is_ours)
        write_pool(before);
    return result;
}
