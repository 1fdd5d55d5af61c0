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
    const char *name;        /* as redefine_find takes it */
    void *replacement;
    void (**original)(void); /* where the patch reads its original; may be null */
    void *target;            /* set: what the name was found to mean */
};

/* redefine_patch_apply: everything a patch file asks for, in one batch; on failure nothing is changed.
 *
 * Shapes:   `owner` is an address inside the file's object: names are not looked for there, and patches of
 *           different owners stack. */
redefine_status redefine_patch_apply(const void *owner, struct redefine_patch_change *change, size_t count);

/* redefine_patch_remove: everything that `owner` redefined, in one batch. The patches above it get the
 * next lower one, or the function itself, as their original. Nothing of that owner: REDEFINE_OK. */
redefine_status redefine_patch_remove(const void *owner);

/* A line on how `target` is redefined, or was ("restored: "): strategy, addresses, write method. Valid until
 * this thread's next call. */
const char *redefine_describe(void *target);

#ifdef __cplusplus
}
#endif

#endif
