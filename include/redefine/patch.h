/* SPDX-License-Identifier: MIT
 *
 * Patch files: a shared object that says what it redefines. The target program knows nothing of it.
 *
 *     static time_t five_pm(time_t *out) { … REDEFINE_ORIGINAL(five_pm)(out) … }
 *     REDEFINE_PATCH("time", five_pm);
 *
 *     cc -shared -fPIC $(pkg-config --cflags redefine) -o five_pm.so five_pm.c
 *     redefine run --patch five_pm.so -- perl -e 'print scalar localtime'
 *
 * Nothing is linked: the records below are read by whoever loads the file. Replacements are best static:
 * a replacement that is exported under the name of a function of the program may be bound to that one.
 */
#ifndef REDEFINE_PATCH_H
#define REDEFINE_PATCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { REDEFINE_PATCH_ABI = 1 };

/* One redefinition that the file asks for. `original` is filled in before the first call of the
 * replacement and may change later, when a patch below this one comes off. */
struct redefine_patch {
    const char *name; /* as redefine_find takes it */
    void (*replacement)(void);
    void (*original)(void);
    const char *file;
    uint32_t line;
    uint32_t reserved;
};

/* What the loader of a patch file looks up by its name, redefine_patch_table. */
struct redefine_patch_table {
    uint32_t abi;
    uint32_t record_bytes;
    struct redefine_patch **start;
    struct redefine_patch **stop;
};

/* Bounds that the linker gives a section whose name is a C identifier. */
extern struct redefine_patch *__start_redefine_patches[] __attribute__((weak, visibility("hidden")));
extern struct redefine_patch *__stop_redefine_patches[] __attribute__((weak, visibility("hidden")));

/* Weak: every source file of a patch has one, and the linker keeps one. */
extern struct redefine_patch_table redefine_patch_table;
__attribute__((weak, visibility("default"), used)) struct redefine_patch_table redefine_patch_table = {
    REDEFINE_PATCH_ABI, sizeof(struct redefine_patch), __start_redefine_patches, __stop_redefine_patches};

/* This file's record for a replacement. A replacement without one is a mistake of the patch: trap. */
__attribute__((unused)) static inline struct redefine_patch *redefine_patch_record_(void (*replacement)(void))
{
    struct redefine_patch **at;
    for (at = __start_redefine_patches; at < __stop_redefine_patches; at++)
        if ((*at)->replacement == replacement)
            return *at;
    __builtin_trap();
}

#ifdef __cplusplus
}
#endif

/* As each language writes it without a warning of the strict. */
#ifdef __cplusplus
#define REDEFINE_PATCH_CAST_(type, value) reinterpret_cast<type>(value)
#define REDEFINE_PATCH_NULL_              nullptr
#else
#define REDEFINE_PATCH_CAST_(type, value) ((type)(value))
#define REDEFINE_PATCH_NULL_              0
#endif

#define REDEFINE_PATCH_JOIN_(a, b)           a##b
#define REDEFINE_PATCH_NAME_(prefix, number) REDEFINE_PATCH_JOIN_(prefix, number)

/* REDEFINE_PATCH("name", function): at file scope; any number of them. The section holds pointers, since
 * compilers may pad between the records themselves. */
#define REDEFINE_PATCH(name, function) REDEFINE_PATCH_RECORD_(name, function, __COUNTER__)
/* clang-format off */
#define REDEFINE_PATCH_RECORD_(name, function, number)                                                     \
    static struct redefine_patch REDEFINE_PATCH_NAME_(redefine_patch_, number) = {                         \
        name, REDEFINE_PATCH_CAST_(void (*)(void), function), REDEFINE_PATCH_NULL_, __FILE__, __LINE__, 0}; \
    __attribute__((section("redefine_patches"), used)) static struct redefine_patch *REDEFINE_PATCH_NAME_( \
        redefine_patch_pointer_, number) = &REDEFINE_PATCH_NAME_(redefine_patch_, number)
/* clang-format on */

/* REDEFINE_ORIGINAL(function): what `function` replaced, with function's type; callable in its body and
 * anywhere below. With several REDEFINE_PATCH of one function it is the first one's. */
#define REDEFINE_ORIGINAL(function)                                                                    \
    (__extension__({                                                                                   \
        static struct redefine_patch *redefine_record_;                                                \
        struct redefine_patch *redefine_found_ = __atomic_load_n(&redefine_record_, __ATOMIC_RELAXED); \
        if (!redefine_found_) {                                                                        \
            redefine_found_ = redefine_patch_record_(REDEFINE_PATCH_CAST_(void (*)(void), function));  \
            __atomic_store_n(&redefine_record_, redefine_found_, __ATOMIC_RELAXED);                    \
        }                                                                                              \
        REDEFINE_PATCH_CAST_(__typeof__(*(function)) *,                                                \
                             __atomic_load_n(&redefine_found_->original, __ATOMIC_RELAXED));           \
    }))

#endif
