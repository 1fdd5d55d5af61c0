/* SPDX-License-Identifier: MIT
 *
 * Threads call while others redefine and restore, for a bounded time: entries that are hard to change under
 * somebody's feet, at hard places. Every call gives the right result, and nobody crashes.
 */
#include "live.h"

#include <pthread.h>
#include <time.h>

enum { CALLERS = 4, MS_EACH = 250 };

typedef long target_type(long);

/* The fixtures return 3 * n + 1, whatever they look like. */
#define FUNCTION(name, body)                                                          \
    ".globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n" body \
    ".cfi_endproc\n.size " #name ", .-" #name "\n"

/* One instruction of ten bytes: nobody can stand inside. */
target_type one_long;
__asm__(".text\n.p2align 6\n" FUNCTION(one_long,
                                       "movabsq $1, %rax\nleaq (%rdi,%rdi,2), %rcx\naddq %rcx, %rax\nret\n"));

/* Twelve instructions of one byte: somebody stands at each of them. */
target_type nops;
__asm__(".text\n.p2align 6\n" FUNCTION(nops, ".rept 12\nnop\n.endr\nleaq 1(%rdi,%rdi,2), %rax\nret\n"));

/* Six bytes, and the next one is another function. */
target_type six_bytes;
target_type behind_six_bytes;
__asm__(".text\n.p2align 6\n" FUNCTION(six_bytes, "leaq 1(%rdi,%rdi,2), %rax\nret\n")
            FUNCTION(behind_six_bytes, "movabsq $1, %rax\nleaq (%rdi,%rdi,2), %rcx\naddq %rcx, %rax\nret\n"));

/* Loops whose heads are the entry itself, a byte behind it, and right behind the jump. (The first one counts
 * in the upper half of its argument.) */
target_type loop_to_entry;
__asm__(".text\n.p2align 6\n" FUNCTION(
    loop_to_entry, "btcq $63, %rdi\njnc loop_to_entry\nbtrq $63, %rdi\nleaq 1(%rdi,%rdi,2), %rax\nret\n"));

target_type loop_behind_window;
__asm__(".text\n.p2align 6\n" FUNCTION(
    loop_behind_window, "movl $3, %ecx\n1: decl %ecx\njnz 1b\nleaq 1(%rdi,%rdi,2), %rax\nret\n"));

target_type loop_into_window;
__asm__(".text\n.p2align 6\n" FUNCTION(
    loop_into_window, "movb $3, %cl\n1: nop\ndecb %cl\njnz 1b\nleaq 1(%rdi,%rdi,2), %rax\nret\n"));

/* Begins with a call. */
target_type calls_first;
target_type called_first;
__asm__(".text\n.p2align 6\n" FUNCTION(called_first, "leaq (%rdi,%rdi,2), %rax\nret\n")
            FUNCTION(calls_first, "call called_first\naddq $1, %rax\nret\n"));

/* Entries at each of the last bytes of a cache line. */
#define STRADDLING(off)                           \
    target_type straddling_##off;                 \
    __asm__(".text\n.p2align 6\n.skip " #off      \
            ", 0xcc\n" FUNCTION(straddling_##off, \
                                "nop\nnop\nnop\nleaq (%rdi,%rdi,2), %rax\naddq $1, %rax\nret\n"))
STRADDLING(56);
STRADDLING(57);
STRADDLING(58);
STRADDLING(59);
STRADDLING(60);
STRADDLING(61);
STRADDLING(62);
STRADDLING(63);

/* ---- callers ---- */

static target_type *volatile target;
static target_type *volatile original; /* kept by those who ask for it */
static volatile bool stop;
static volatile unsigned long calls, replaced;

static long right(long n)
{
    return 3 * n + 1;
}

static long replacement(long n)
{
    __atomic_add_fetch(&replaced, 1, __ATOMIC_RELAXED);
    return 3 * n + 1 + 1000000;
}

static long replacement_with_original(long n)
{
    __atomic_add_fetch(&replaced, 1, __ATOMIC_RELAXED);
    return redefine_original((target_type *)target)(n) + 1000000;
}

static void check_result(target_type *function, long n, long is)
{
    if (is != right(n) && is != right(n) + 1000000)
        live_fail(__FILE__, __LINE__, "%p(%ld) is %ld, not %ld or %ld", ADDRESS(function), n, is, right(n),
                  right(n) + 1000000);
}

static void *caller(void *seed)
{
    unsigned long count = 0;
    for (long n = (long)(uintptr_t)seed; !stop; n = (n * 5 + 1) & 0xfff) {
        check_result(target, n, target(n));
        if ((n & 7) == 0 && original)
            CHECK_INT(original(n), right(n));
        count++;
    }
    __atomic_add_fetch(&calls, count, __ATOMIC_RELAXED);
    return NULL;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Busy is an answer, when a thread does not leave in time; anything else is not. */
static bool done(redefine_status status)
{
    if (status != REDEFINE_OK && status != REDEFINE_EBUSY)
        live_fail(__FILE__, __LINE__, "%s: %s", redefine_strerror(status), redefine_explain());
    return status == REDEFINE_OK;
}

static void toggle(target_type *function, target_type *with)
{
    pthread_t thread[CALLERS];
    target = function;
    original = NULL;
    stop = false;
    calls = replaced = 0;
    live_world_take(&live_before);
    for (uintptr_t i = 0; i < CALLERS; i++)
        CHECK(!pthread_create(&thread[i], NULL, caller, (void *)(i * 1000 + 1)));
    unsigned toggles = 0, busy = 0;
    long end_ms = now_ms() + MS_EACH;
    do {
        bool is_in = done(redefine_func(ADDRESS(function), ADDRESS(with)));
        busy += !is_in;
        if (is_in) {
            long n = toggles & 0xfff;
            CHECK_INT(function(n), right(n) + 1000000);
            original = redefine_original((target_type *)function);
            CHECK_INT(original(n), right(n));
            while (!done(redefine_func_restore(ADDRESS(function))))
                busy++;
            CHECK_INT(function(n), right(n));
        }
        toggles++;
    } while (now_ms() < end_ms || toggles < 3);
    stop = true;
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(thread[i], NULL);
    printf("%p: %u times there and back, %u busy, %lu calls, %lu of them replaced\n", ADDRESS(function),
           toggles, busy, calls, replaced);
    CHECK(toggles > busy);
    live_world_take(&live_now);
    for (size_t i = 0; i < live_before.page_count; i++)
        CHECK(live_before.page_hash[i] == live_now.page_hash[i]);
    CHECK_INT(live_before.fd_count, live_now.fd_count);
}

static void toggle_both(target_type *function)
{
    toggle(function, replacement);
    toggle(function, replacement_with_original);
}

static void one_long_instruction(void)
{
    toggle_both(one_long);
}

static void many_short_instructions(void)
{
    toggle_both(nops);
}

static void six(void)
{
    toggle_both(six_bytes);
    CHECK_INT(behind_six_bytes(2), 7);
}

static void loops(void)
{
    toggle_both(loop_to_entry);
    toggle_both(loop_into_window);
    toggle_both(loop_behind_window);
}

static void begins_with_call(void)
{
    toggle_both(calls_first);
}

static void cache_lines(void)
{
    static target_type *const functions[] = {straddling_56, straddling_57, straddling_58, straddling_59,
                                             straddling_60, straddling_61, straddling_62, straddling_63};
    for (size_t i = 0; i < LIVE_COUNT(functions); i++) {
        CHECK_INT((uintptr_t)functions[i] % 64, 56 + i);
        toggle_both(functions[i]);
    }
}

/* ---- several that change ---- */

static void *changer(void *function)
{
    long end_ms = now_ms() + 4 * MS_EACH;
    target_type *mine = (target_type *)(uintptr_t)function;
    for (unsigned i = 0; now_ms() < end_ms || i < 3; i++) {
        (void)done(redefine_func(function, ADDRESS(replacement)));
        check_result(mine, i, mine(i));
        check_result(mine, i, redefine_original(mine)(i));
        while (!done(redefine_func_restore(function)))
            ;
    }
    return NULL;
}

static void change_at_once(target_type *const *functions, size_t count)
{
    pthread_t thread[8];
    target = functions[0];
    for (size_t i = 0; i < count; i++)
        CHECK(!pthread_create(&thread[i], NULL, changer, ADDRESS(functions[i])));
    for (size_t i = 0; i < count; i++)
        CHECK(!pthread_join(thread[i], NULL));
    CHECK_OK(redefine_restore_all());
    for (size_t i = 0; i < count; i++)
        CHECK_INT(functions[i](5), right(5));
}

static void different_functions(void)
{
    static target_type *const functions[] = {one_long, nops, six_bytes, straddling_61};
    change_at_once(functions, LIVE_COUNT(functions));
}

static void the_same_function(void)
{
    static target_type *const functions[] = {nops, nops, nops, nops};
    change_at_once(functions, LIVE_COUNT(functions));
}

/* Threads begin and end all the time meanwhile. */
static void *short_lived(void *ctx)
{
    check_result(target, 7, target(7));
    return ctx;
}

static void *maker(void *ctx)
{
    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_lived, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return ctx;
}

static void threads_come_and_go(void)
{
    pthread_t thread[2];
    target = nops;
    for (size_t i = 0; i < LIVE_COUNT(thread); i++)
        CHECK(!pthread_create(&thread[i], NULL, maker, NULL));
    long end_ms = now_ms() + 4 * MS_EACH;
    for (unsigned i = 0; now_ms() < end_ms || i < 3; i++) {
        (void)done(redefine_func(ADDRESS(nops), ADDRESS(replacement_with_original)));
        while (!done(redefine_func_restore(ADDRESS(nops))))
            ;
    }
    stop = true;
    for (size_t i = 0; i < LIVE_COUNT(thread); i++)
        CHECK(!pthread_join(thread[i], NULL));
    CHECK_INT(nops(3), right(3));
}

int main(void)
{
    static const struct live_case cases[] = {
        {"an entry of one long instruction", one_long_instruction, 0},
        {"an entry of many short instructions", many_short_instructions, 0},
        {"a function of six bytes", six, 0},
        {"loops into the first bytes", loops, 0},
        {"an entry that is a call", begins_with_call, 0},
        {"entries across cache lines, at each offset", cache_lines, 0},
        {"several threads redefine different functions", different_functions, 0},
        {"several threads redefine the same function", the_same_function, 0},
        {"threads come and go", threads_come_and_go, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
