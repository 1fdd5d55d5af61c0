// SPDX-License-Identifier: MIT
//
// Stacks that lead through the frame which a relay makes where callers rely on more than the ABI (gcc
// -fipa-ra): exceptions, cancelled threads, threads that exit, backtraces. What the caller keeps has to be
// there afterwards, and everything on the way to be cleaned up.
#include "live.h"

#include <redefine/redefine.h>

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <stdexcept>

#define APART __attribute__((noinline, noclone, optimize("O2")))

static volatile long total;

static long twice(long x) __asm__("frames_twice");
APART static long twice(long x)
{
    return x + x;
}
// Needs no aligned stack, and sets hardly anything.
APART static void count()
{
    total++;
}
// Two of its arguments, on riscv64 and aarch64 one, lie on the stack.
APART static long nine(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
    return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8 + i * 9;
}
// To the compiler any access to memory may throw here: it expects something of this one.
APART __attribute__((optimize("non-call-exceptions"))) static long reads(volatile long *at)
{
    return *at;
}

static struct counts {
    int entered, left;
} counts;

struct guard {
    guard()
    {
        counts.entered++;
    }
    ~guard()
    {
        counts.left++;
    }
};

// ---- The callers, which keep their arguments where the functions above leave them alone ----

// By hand where gcc (12) relies on nothing, as it would.
#if defined(__riscv)
enum { WITH_FRAME = 1 };
extern "C" long keeps_over_twice(long a, long b, long c);
__asm__(".text\n.p2align 2\n.globl keeps_over_twice\n.type keeps_over_twice, @function\n"
        "keeps_over_twice:\n"
        ".cfi_startproc\n"
        "addi sp, sp, -16\n.cfi_def_cfa_offset 16\n"
        "sd ra, 8(sp)\n.cfi_offset ra, -8\n"
        "mv t1, a1\nmv a5, a2\ncall frames_twice\nmul a0, a0, t1\nadd a0, a0, a5\n"
        "ld ra, 8(sp)\naddi sp, sp, 16\nret\n"
        ".cfi_endproc\n"
        ".size keeps_over_twice, .-keeps_over_twice\n");
#else
enum { WITH_FRAME = 3 };
APART static long keeps_over_twice(long a, long b, long c)
{
    return twice(a) * b + c;
}
#endif
APART static long keeps_over_count(long a, long b, long c)
{
    count();
    return a * b + c;
}
APART static long keeps_over_nine(long n, long g, long h)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += nine(i, i, i, i, i, i, g, h, 1);
    return sum;
}
static volatile long place = 4;
APART __attribute__((optimize("non-call-exceptions"))) static long catches_over_reads(long a, long b, long c)
{
    guard here;
    try {
        return reads(&place) * a + b * c;
    } catch (const std::runtime_error &error) {
        return -(a + b + c);
    }
}

static const struct {
    long (*call)(long, long, long);
    long arguments[3], result;
} callers[] = {
    {keeps_over_twice, {3, 5, 7}, 37},
    {keeps_over_count, {3, 5, 7}, 22},
    {keeps_over_nine, {2, 5, 7}, 221},
    {catches_over_reads, {3, 5, 7}, 47},
};
static size_t under_test;

APART static long call_it()
{
    guard here;
    long (*volatile call)(long, long, long) = callers[under_test].call;
    const long *argument = callers[under_test].arguments;
    return call(argument[0], argument[1], argument[2]);
}

enum { CALLER_BYTES = 400 };

static bool is_in(uintptr_t addr, uintptr_t function)
{
    return addr - function < CALLER_BYTES;
}

static bool has_frame; // the replacement was not called from the caller itself

static void note_caller(void *return_addr)
{
    has_frame = !is_in(reinterpret_cast<uintptr_t>(return_addr),
                       reinterpret_cast<uintptr_t>(callers[under_test].call));
}

// ---- The replacements: all do what `act` says before they go on ----

static void nothing()
{
}
static void (*volatile act)() = nothing;

#define ACT()                                     \
    do {                                          \
        note_caller(__builtin_return_address(0)); \
        act();                                    \
    } while (0)

__attribute__((noinline)) static long my_twice(long x)
{
    ACT();
    return redefine_original(twice)(x);
}
__attribute__((noinline)) static void my_count()
{
    ACT();
    redefine_original(count)();
}
__attribute__((noinline)) static long my_nine(long a, long b, long c, long d, long e, long f, long g, long h,
                                              long i)
{
    ACT();
    return redefine_original(nine)(a, b, c, d, e, f, g, h, i);
}
__attribute__((noinline)) static long my_reads(volatile long *at)
{
    ACT();
    return redefine_original(reads)(at);
}

static void redefine_them()
{
    CHECK_OK(redefine(twice, my_twice));
    CHECK_OK(redefine(count, my_count));
    CHECK_OK(redefine(nine, my_nine));
    CHECK_OK(redefine(reads, my_reads));
}

// With each of the callers, once it has been seen that it gets a frame.
static void with_each(void (*check)())
{
    int with_frame = 0;
    redefine_them();
    for (under_test = 0; under_test < LIVE_COUNT(callers); under_test++) {
        act = nothing;
        has_frame = false;
        CHECK_INT(call_it(), callers[under_test].result);
        with_frame += has_frame;
        counts = {0, 0};
        check();
        CHECK_INT(counts.left, counts.entered);
        CHECK(counts.entered > 0);
    }
    // What a sanitizer puts into a function uses registers of its own.
#ifndef __SANITIZE_ADDRESS__
    CHECK(with_frame >= WITH_FRAME); // clang relies on no more than the ABI; that is not what this tests
#endif
}

// ---- What the replacements do ----

static void throws()
{
    throw std::runtime_error("from the replacement");
}

static void exceptions()
{
    with_each([] {
        for (int i = 0; i < 50; i++) {
            act = throws;
            bool is_caught_there = callers[under_test].call == catches_over_reads, is_caught = false;
            try {
                CHECK_INT(call_it(), -15);
            } catch (const std::runtime_error &error) {
                is_caught = strcmp(error.what(), "from the replacement") == 0;
            }
            CHECK(is_caught == !is_caught_there);
            act = nothing;
            CHECK_INT(call_it(), callers[under_test].result);
        }
    });
}

static void *run_thread(void *)
{
    guard here;
    return reinterpret_cast<void *>(call_it());
}

static void *result_of_thread(pthread_t thread)
{
    void *result;
    CHECK_INT(pthread_join(thread, &result), 0);
    return result;
}

static void exits()
{
    pthread_exit(&counts);
}

static void thread_exits()
{
    with_each([] {
        pthread_t thread;
        act = exits;
        CHECK_INT(pthread_create(&thread, nullptr, run_thread, nullptr), 0);
        CHECK(result_of_thread(thread) == &counts);
        CHECK_INT(counts.entered, callers[under_test].call == catches_over_reads ? 3 : 2);
    });
}

static volatile bool is_waiting;

static void waits()
{
    is_waiting = true;
    for (;;)
        pause();
}

static void thread_cancelled()
{
    with_each([] {
        pthread_t thread;
        act = waits;
        is_waiting = false;
        CHECK_INT(pthread_create(&thread, nullptr, run_thread, nullptr), 0);
        while (!is_waiting)
            usleep(1000);
        CHECK_INT(pthread_cancel(thread), 0);
        CHECK(result_of_thread(thread) == PTHREAD_CANCELED);
    });
}

static void *frames[64];
static int frame_count;

static void looks_around()
{
    frame_count = backtrace(frames, LIVE_COUNT(frames));
}

// Behind the frame come the caller, call_it and at last the start of the program.
static void backtraces()
{
    with_each([] {
        act = looks_around;
        CHECK_INT(call_it(), callers[under_test].result);
        uintptr_t wanted[] = {reinterpret_cast<uintptr_t>(callers[under_test].call),
                              reinterpret_cast<uintptr_t>(call_it)};
        size_t found = 0;
        bool has_start = false;
        for (int i = 0; i < frame_count; i++) {
            Dl_info info;
            uintptr_t addr = reinterpret_cast<uintptr_t>(frames[i]) - 1;
            CHECK(dladdr(reinterpret_cast<void *>(addr), &info));
            found += found < LIVE_COUNT(wanted) && is_in(addr, wanted[found]);
            has_start |= info.dli_sname && strcmp(info.dli_sname, "__libc_start_main") == 0;
        }
        CHECK_INT(static_cast<int>(found), 2);
        CHECK(has_start);
    });
}

int main()
{
    static const struct live_case cases[] = {
        {"exceptions", exceptions, 0},
        {"a thread that exits", thread_exits, 0},
        {"a thread that is cancelled", thread_cancelled, 0},
        {"backtraces", backtraces, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
