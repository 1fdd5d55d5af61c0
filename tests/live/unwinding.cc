// SPDX-License-Identifier: MIT
//
// Stacks that lead through a redefinition: exceptions thrown by the replacement, by the original that it
// calls, and through both; backtraces from everywhere. The trampoline itself must never be on a stack:
// nothing tells an unwinder about it.
#include "entries.h"
#include "live.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <stdexcept>
#include <string>

static volatile int thrown; // what may_throw throws

// Called by the originals below: they are on the stack then, with their own addresses.
extern "C" TARGET int callee(int value)
{
    if (value == thrown)
        throw std::runtime_error("callee " + std::to_string(value));
    return value;
}

extern "C" TARGET int caller(int value)
{
    int kept[4] = {value, value + 1, value + 2, value + 3};
    __asm__ volatile("" : : "r"(kept) : "memory");
    return callee(kept[0]) + kept[3];
}

// Begins with a call, after as few bytes as an aligned stack allows: the call lies in the window.
extern "C" int begins_with_call(int value);
__asm__(".text\n" FUNCTION(begins_with_call, ENTRY_EARLY_CALL("callee")));

// The same with the very first instruction. The stack is 8 bytes off below it, as its callee knows (x86-64).
extern "C" int off_by_eight(int value);
extern "C" int starts_with_call(int value);
__asm__(".text\n" FUNCTION(off_by_eight, ENTRY_PUT_RIGHT("callee"))
            FUNCTION(starts_with_call, ENTRY_FIRST_CALL("off_by_eight")));

typedef int target_type(int);

static target_type *target;

struct counts {
    int entered, left;
} static counts;

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

extern "C" TARGET int passes_through(int value)
{
    guard here;
    return redefine_original(target)(value) + 100;
}

extern "C" TARGET int throws_itself(int value)
{
    guard here;
    if (value == thrown)
        throw std::runtime_error("replacement " + std::to_string(value));
    return redefine_original(target)(value) + 200;
}

extern "C" TARGET int catches(int value)
{
    try {
        return redefine_original(target)(value) + 300;
    } catch (const std::runtime_error &) {
        return -300;
    }
}

// Through a pointer: what a caller in this file knows of its callees is not the point here.
static int call_target(int value)
{
    target_type *volatile function = target;
    return function(value);
}

static std::string message_of(int value)
{
    try {
        (void)call_target(value);
    } catch (const std::exception &error) {
        return error.what();
    }
    return "none";
}

static void exceptions_of(target_type *function, int without)
{
    target = function;
    thrown = 1000000;
    CHECK_INT(call_target(5), without);
    thrown = 7;
    CHECK(message_of(7) == "callee 7");

    counts = {0, 0};
    CHECK_OK(redefine(target, passes_through));
    CHECK_INT(call_target(5), without + 100);
    CHECK(message_of(7) == "callee 7"); // from the callee, through the original and the replacement
    for (int i = 0; i < 100; i++)
        CHECK(message_of(7) == "callee 7");
    CHECK_INT(counts.entered, 102);
    CHECK_INT(counts.left, 102); // destructors on the way have run
    CHECK_OK(redefine(target, throws_itself));
    CHECK_INT(call_target(5), without + 200);
    CHECK(message_of(7) == "replacement 7");
    CHECK_INT(counts.left, counts.entered);
    CHECK_OK(redefine(target, catches));
    CHECK_INT(call_target(5), without + 300);
    CHECK_INT(call_target(7), -300);
    target_type *original = redefine_original(target);
    CHECK_OK(redefine_restore(target));
    CHECK(message_of(7) == "callee 7");
    try { // a kept original
        (void)original(7);
        CHECK(false);
    } catch (const std::exception &error) {
        CHECK(std::string(error.what()) == "callee 7");
    }
}

static void exceptions()
{
    exceptions_of(caller, 5 + 8);
}

static void exceptions_call_in_window()
{
    exceptions_of(begins_with_call, 10);
}

static void exceptions_call_first()
{
    exceptions_of(starts_with_call, 12);
}

// ---- backtraces ----

enum { FRAMES_MAX = 64 };
static void *frames[FRAMES_MAX];
static int frame_count;

extern "C" TARGET int looks_around(int value)
{
    frame_count = backtrace(frames, FRAMES_MAX);
    return value;
}

extern "C" TARGET int looks_in_replacement(int value)
{
    frame_count = backtrace(frames, FRAMES_MAX);
    return value + frame_count;
}

extern "C" TARGET int calls_looks_around(int value)
{
    int kept = looks_around(value);
    __asm__ volatile("" : "+r"(kept));
    return kept + 1;
}

extern "C" int window_calls_looks_around(int value);
__asm__(".text\n" FUNCTION(window_calls_looks_around, ENTRY_EARLY_CALL("looks_around")));

extern "C" TARGET int outermost(int value)
{
    int kept = call_target(value);
    __asm__ volatile("" : "+r"(kept));
    return kept;
}

static void check_frames(const char *const *names, size_t count);
static void backtraces();

#define NAMED(function)                                  \
    {                                                    \
        reinterpret_cast<uintptr_t>(function), #function \
    }

// The nearest of our functions below an address; null when that lies in no object, or in another one.
static const char *name_of(void *addr)
{
    static const struct {
        uintptr_t start;
        const char *name;
    } own[] = {NAMED(looks_in_replacement),
               NAMED(looks_around),
               NAMED(calls_looks_around),
               NAMED(passes_through),
               NAMED(window_calls_looks_around),
               NAMED(outermost),
               NAMED(call_target),
               NAMED(check_frames),
               NAMED(backtraces),
               NAMED(callee),
               NAMED(caller),
               NAMED(throws_itself),
               NAMED(catches)};
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < LIVE_COUNT(own); i++)
        if (own[i].start <= reinterpret_cast<uintptr_t>(addr) && (!found || own[i].start > own[best].start)) {
            best = i;
            found = true;
        }
    return found ? own[best].name : nullptr;
}

// The frames have these names in this order, innermost first, and then lead on to where programs begin.
static void check_frames(const char *const *names, size_t count)
{
    std::string all;
    size_t matched = 0;
    bool has_start = false;
    for (int i = 0; i < frame_count; i++) {
        Dl_info info, program;
        // One less: a return address may be the first byte of the next function.
        void *call = static_cast<char *>(frames[i]) - 1;
        if (!dladdr(call, &info) || !dladdr(ADDRESS(outermost), &program))
            live_fail(__FILE__, __LINE__, "frame %d is in no object:%s", i, all.c_str());
        const char *own = info.dli_fbase == program.dli_fbase ? name_of(call) : nullptr;
        std::string name = own ? own : info.dli_sname ? info.dli_sname : "(static)";
        all += " " + name;
        if (matched < count && name == names[matched])
            matched++;
        has_start = has_start || name == "__libc_start_main";
    }
    if (matched < count || !has_start)
        live_fail(__FILE__, __LINE__, "not %s%s:%s", matched < count ? names[matched] : "the start",
                  matched < count ? " at its place" : "", all.c_str());
}

static void backtraces()
{
    static const char *const in_replacement[] = {"looks_in_replacement", "outermost"};
    static const char *const in_callee[] = {"looks_around", "calls_looks_around", "passes_through",
                                            "outermost"};
    static const char *const below_window[] = {"looks_around", "window_calls_looks_around", "passes_through",
                                               "outermost"};
    target = calls_looks_around;
    CHECK_OK(redefine(target, looks_in_replacement));
    CHECK(outermost(1) > 3);
    check_frames(in_replacement, LIVE_COUNT(in_replacement));
    CHECK_OK(redefine(target, passes_through));
    CHECK_INT(outermost(1), 102);
    check_frames(in_callee, LIVE_COUNT(in_callee));
    CHECK_OK(redefine_restore(target));
    target = window_calls_looks_around;
    CHECK_OK(redefine(target, passes_through));
    CHECK_INT(outermost(1), 106);
    check_frames(below_window, LIVE_COUNT(below_window));
}

int main()
{
    static const struct live_case cases[] = {
        {"exceptions", exceptions, 0},
        {"exceptions through a window that holds a call", exceptions_call_in_window, 0},
        {"exceptions through a function that starts with a call", exceptions_call_first, 0},
        {"backtraces", backtraces, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
