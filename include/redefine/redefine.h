/* SPDX-License-Identifier: MIT
 *
 * redefine: replace any function of this program while it runs, and still call the original.
 *
 *     static time_t five_pm(time_t *out) { … redefine_original(time)(out) … }
 *     redefine_status status = redefine(time, five_pm);
 *     if (status != REDEFINE_OK) fprintf(stderr, "%s\n", redefine_explain());
 *     …
 *     redefine_restore(time);
 *
 * Link with -lredefine. C11 and C++11 or later, GCC or Clang.
 */
#ifndef REDEFINE_REDEFINE_H
#define REDEFINE_REDEFINE_H

#include <redefine/check.h>
#include <redefine/status.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REDEFINE_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The untyped functions; redefine() and its kin below check the types and then call these ---- */

/* redefine_func: from now on every call of `target` runs `replacement`.
 *
 * Shapes:   both are code addresses with one calling convention and signature; nothing checks that here.
 *           A PLT stub or an IFUNC stands for the function that runs in the end; a function whose body
 *           begins with a jump stands for itself.
 * Effects:  changes at most 16 bytes at the entry of `target`; stops the other threads for that moment.
 *           When `target` is redefined already, its replacement is replaced and the original stays: after
 *           the second time by one store of data, which is safe at any time, where target and replacement
 *           lie in objects that are never unloaded (the program, what was loaded with it).
 *           Not async-signal-safe. May be called from several threads, and from inside a replacement.
 * Errors:   REDEFINE_EINVAL       null, data, unmapped, inside a function, equal to its replacement
 *           REDEFINE_EINLINED     debug data says that callers have copies of it; the sentence says where
 *                                 (redefine/check.h: how to find out, and how to do it all the same)
 *           REDEFINE_ESHORT       no strategy fits so few bytes; the sentence says which were tried
 *           REDEFINE_EUNSUPPORTED bounds unknown, or an instruction that cannot be moved
 *           REDEFINE_EBUSY        another thread stays inside the bytes, or the call came from inside
 *                                 the engine itself
 *           REDEFINE_EDENIED REDEFINE_ENOMEM REDEFINE_ESYSTEM  the operating system said no
 *           REDEFINE_EROLLBACK    a later step failed and an earlier one could not be undone
 *           After every error but the last, everything is as it was before. */
redefine_status redefine_func(void *target, void *replacement);

/* redefine_func_original: what the replacement of `target` calls to get the original behaviour.
 *
 * Shapes:   callable with target's signature. `target` itself when it is not redefined.
 *           Stays callable after a restore, as long as the code of `target` is mapped. */
void *redefine_func_original(void *target);

/* redefine_func_replacement: what calls of `target` run now, but in threads that redefined it for
 * themselves; null when it is not redefined. */
void *redefine_func_replacement(void *target);

/* redefine_func_restore: take back what redefine_func did to `target`: the exact bytes it had.
 *
 * Effects:  a `target` that is not redefined is left alone: REDEFINE_OK. Patches of other owners on the
 *           same function stay.
 * Errors:   REDEFINE_EBUSY  someone else changed the bytes since, or a thread stays inside them */
redefine_status redefine_func_restore(void *target);

/* redefine_restore_all: restore everything that was redefined through these calls, also what threads
 * redefined for themselves; all or nothing. */
redefine_status redefine_restore_all(void);

/* ---- For one thread ---- */

/* redefine_func_for_thread: from now on every call of `target` that the calling thread makes runs
 * `replacement`; other threads do not see it.
 *
 * Effects:  the first one for a function changes its entry, as redefine_func does; calls by other threads
 *           then cost a comparison more (below 2 ns). What is redefined for all threads stays so for the
 *           others, and comes back when this is taken off. redefine_func_original is what it is for all.
 *           A thread that ends takes its own with it. A child of fork keeps those of the thread that forked.
 *           Not for programs whose tasks change threads (Go).
 * Errors:   as redefine_func; REDEFINE_ENOMEM also when 1024 functions were redefined so already */
redefine_status redefine_func_for_thread(void *target, void *replacement);

/* redefine_func_restore_for_thread: take back what the calling thread redefined for itself, if it did. When
 * no thread has any left on `target`, its bytes are what they were. redefine_func_restore does the same where
 * the calling thread has its own, and else restores what is redefined for all. */
redefine_status redefine_func_restore_for_thread(void *target);

/* ---- All or nothing ---- */

typedef struct redefine_batch redefine_batch;

/* An empty batch, or null when there is no memory. One thread at a time may use it. */
redefine_batch *redefine_batch_new(void);

/* Note a redefinition, or a restore, for the commit; changes nothing yet. REDEFINE_EINVAL for nulls. */
redefine_status redefine_batch_add(redefine_batch *batch, void *target, void *replacement);
redefine_status redefine_batch_restore(redefine_batch *batch, void *target);

/* redefine_batch_commit: carry out everything noted, in the order noted, under one stop of the world.
 *
 * Effects:  on REDEFINE_OK every change is in force and the batch is empty again. On any other status
 *           none is, and the batch is as it was.
 * Errors:   as redefine_func; the sentence names the function that failed. */
redefine_status redefine_batch_commit(redefine_batch *batch);

/* Give the batch back; what was committed stays. Null is fine. */
void redefine_batch_free(redefine_batch *batch);

/* ---- By name ---- */

/* redefine_find: the address of the function that a name means.
 *
 *   "time"                     an exported function, as the dynamic loader binds it; else the only
 *                              function of that name anywhere in the process, static ones included
 *   "libc.so.6!time"           in that object: soname, file name or path; "[vdso]!time"
 *   "parse@src/json.c"         the static function of that source file (needs .symtab)
 *   "memcpy@GLIBC_2.2.5"       that version of it
 *   "ns::Class::method(int)"   C++, as demangled; without the parameters when only one fits
 *
 * Errors:   REDEFINE_ENOTFOUND   the sentence lists near names
 *           REDEFINE_EAMBIGUOUS  the sentence lists the candidates
 *           On failure *ret_addr is untouched. */
redefine_status redefine_find(const char *name, void **ret_addr);

/* ---- What went wrong ---- */

/* A few fixed words for a status; never null. */
const char *redefine_strerror(redefine_status status);

/* This thread's last failure in one sentence: what, where, why, what to do. "" when there was none.
 * Valid until this thread's next call into the library. */
const char *redefine_explain(void);

#ifdef __cplusplus
}
#endif

/* ---- Typed: incompatible function types do not compile ---- */

#ifdef __cplusplus

namespace redefine_detail {

/* A function type without noexcept, which is part of the type since C++17 but not of the ABI. */
template <class F> struct plain;
template <class R, class... A> struct plain<R(A...)> {
    typedef R (*type)(A...);
};
template <class R, class... A> struct plain<R(A..., ...)> {
    typedef R (*type)(A..., ...);
};
#ifdef __cpp_noexcept_function_type
template <class R, class... A> struct plain<R(A...) noexcept> {
    typedef R (*type)(A...);
};
template <class R, class... A> struct plain<R(A..., ...) noexcept> {
    typedef R (*type)(A..., ...);
};
#endif

template <class A, class B> struct same {
    static const bool value = false;
};
template <class A> struct same<A, A> {
    static const bool value = true;
};

template <class F> inline void *address(F *function)
{
    return reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(function));
}

} /* namespace redefine_detail */

#define REDEFINE_ADDRESS_(function) redefine_detail::address(function)

template <class T, class N> inline redefine_status redefine(T *target, N *replacement)
{
    static_assert(redefine_detail::same<typename redefine_detail::plain<T>::type,
                                        typename redefine_detail::plain<N>::type>::value,
                  "redefine: target and replacement have different function types");
    return redefine_func(redefine_detail::address(target), redefine_detail::address(replacement));
}

template <class T, class N> inline redefine_status redefine_for_thread(T *target, N *replacement)
{
    static_assert(redefine_detail::same<typename redefine_detail::plain<T>::type,
                                        typename redefine_detail::plain<N>::type>::value,
                  "redefine_for_thread: target and replacement have different function types");
    return redefine_func_for_thread(redefine_detail::address(target), redefine_detail::address(replacement));
}

template <class T> inline T *redefine_original(T *target)
{
    static_assert(sizeof(typename redefine_detail::plain<T>::type) != 0, "redefine_original: not a function");
    return reinterpret_cast<T *>(
        reinterpret_cast<uintptr_t>(redefine_func_original(redefine_detail::address(target))));
}

template <class T> inline redefine_status redefine_restore(T *target)
{
    static_assert(sizeof(typename redefine_detail::plain<T>::type) != 0, "redefine_restore: not a function");
    return redefine_func_restore(redefine_detail::address(target));
}

#else

/* By way of an integer: ISO C has no conversion between code and data pointers. */
#define REDEFINE_ADDRESS_(function) ((void *)(uintptr_t)(function))

#define REDEFINE_SAME_TYPE_(target, replacement)                                                        \
    ((void)sizeof(struct {                                                                              \
        _Static_assert(__builtin_types_compatible_p(__typeof__(*(target)), __typeof__(*(replacement))), \
                       "redefine: target and replacement have different function types");               \
        int redefine_unused_;                                                                           \
    }))

/* redefine: redefine_func with the types compared by the compiler. */
#define redefine(target, replacement)          \
    (REDEFINE_SAME_TYPE_(target, replacement), \
     redefine_func(REDEFINE_ADDRESS_(target), REDEFINE_ADDRESS_(replacement)))

/* redefine_for_thread: redefine_func_for_thread with the types compared by the compiler. */
#define redefine_for_thread(target, replacement) \
    (REDEFINE_SAME_TYPE_(target, replacement),   \
     redefine_func_for_thread(REDEFINE_ADDRESS_(target), REDEFINE_ADDRESS_(replacement)))

/* redefine_original: redefine_func_original with target's type. */
#define redefine_original(target) \
    ((__typeof__(*(target)) *)(uintptr_t)redefine_func_original(REDEFINE_ADDRESS_(target)))

#define redefine_restore(target) redefine_func_restore(REDEFINE_ADDRESS_(target))

#endif

/* ---- Scopes ---- */

struct redefine_scope_ {
    void *target;
    void *former; /* the replacement that was in force before; null: none */
};

static inline struct redefine_scope_ redefine_scope_begin_(void *target)
{
    struct redefine_scope_ scope = {target, redefine_func_replacement(target)};
    return scope;
}

/* A scope that is not entered must not be run as if it were: like assert, this says why and aborts. */
static inline int redefine_scope_entered_(redefine_status status)
{
    if (status != REDEFINE_OK) {
        fprintf(stderr, "REDEFINE_SCOPED: %s\n", redefine_explain());
        abort();
    }
    return 1;
}

static inline void redefine_scope_leave_(struct redefine_scope_ *scope)
{
    if (scope->former)
        (void)redefine_func(scope->target, scope->former);
    else
        (void)redefine_func_restore(scope->target);
}

#define REDEFINE_JOIN_(a, b)         a##b
#define REDEFINE_NAME_(prefix, line) REDEFINE_JOIN_(prefix, line)

/* clang-format off */
/* REDEFINE_SCOPED(target, replacement): redefined until the enclosing scope is left, by whatever way
 * (return, goto, break, a C++ exception; not longjmp); then as it was before. Aborts with the reason
 * when the function cannot be redefined. A declaration: it stands in a block, not behind an if. */
#define REDEFINE_SCOPED(target, replacement)                                                               \
    __attribute__((cleanup(redefine_scope_leave_), unused))                                                \
    struct redefine_scope_ REDEFINE_NAME_(redefine_scope_at_line_, __LINE__) =                             \
        redefine_scope_begin_(REDEFINE_ADDRESS_(target));                                                  \
    __attribute__((unused)) int REDEFINE_NAME_(redefine_entered_at_line_, __LINE__) =                      \
        redefine_scope_entered_(redefine(target, replacement))
/* clang-format on */

#endif
