/* SPDX-License-Identifier: MIT
 *
 * For programs that load patch files themselves, as the agent of `redefine run` does: redefinitions in the
 * name of a file, which stack upon each other and come off in any order.
 */
#ifndef REDEFINE_APPLY_H
#define REDEFINE_APPLY_H

#include <redefine/redefine.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One redefinition that a patch file asks for. */
struct redefine_patch_change {
    const char *name; /* as redefine_find takes it */
    void *replacement;
    void (**original)(void); /* where the patch reads its original; may be null */
    void *target;            /* set: what the name was found to mean */
};

/* redefine_patch_apply: everything a patch file asks for, in one batch; on failure nothing is changed.
 *
 * Shapes:   `owner` is an address inside the file's object: names are not looked for there, and patches
 *           of different owners stack. */
redefine_status redefine_patch_apply(const void *owner, struct redefine_patch_change *change, size_t count);

/* redefine_patch_remove: everything that `owner` redefined, in one batch. The patches above it get the
 * next lower one, or the function itself, as their original. Nothing of that owner: REDEFINE_OK. */
redefine_status redefine_patch_remove(const void *owner);

/* For redefine_count: where to count the calls of a function, 8 bytes that stay mapped; null leaves it out,
 * unless another of its names is taken. A C++ one that was not taken is offered again with `readable` (else
 * null): its name as people write it. And what could not be counted, with the reason. */
typedef uint64_t *redefine_counter(void *ctx, const char *object, const char *name, const char *readable);
typedef void redefine_not_counted(void *ctx, const char *name, const char *why);

/* redefine_count: send every call of every named function that `glob` matches ("*" any text, "?" one
 * character) through its own original, and count it.
 *
 * Effects:  a function that cannot be redefined, or is redefined already, is left out and told to
 *           `not_counted`. Counting is not atomic: of several threads in one function at the same instant
 *           one may count for all. Not undone by redefine_restore_all.
 * Errors:   as redefine_batch_commit, for all of them. */
redefine_status redefine_count(const char *glob, redefine_counter *counter, redefine_not_counted *not_counted,
                               void *ctx);

/* redefine_on_progress: have `tell` told how far a change of many functions has come, how many of `what` are
 * done of how many; null: nobody is told, as at first. `total` 0: it is not known yet. done == total: that
 * piece of work is over.
 *
 * Effects:  called by the thread that makes the change, often, while the engine is locked: it may not call
 * the library. To be set before such a change, not during one. */
typedef void redefine_progress(void *ctx, const char *what, size_t done, size_t total);
void redefine_on_progress(redefine_progress *tell, void *ctx);

/* A line on how `target` is redefined, or was ("restored: "): strategy, addresses, write method. Valid until
 * this thread's next call. */
const char *redefine_describe(void *target);

/* redefine_report: a line on how code of this process was last changed with success: how other threads were
 * kept from harm (the layers of docs/guarantees.md), how many there were, for how long they stood still, how
 * the code was written. "" before the first time. Valid until this thread's next call. */
const char *redefine_report(void);

#ifdef __cplusplus
}
#endif

#endif
