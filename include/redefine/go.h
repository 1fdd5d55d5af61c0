/* SPDX-License-Identifier: MIT
 *
 * Redefining functions of a Go program from inside it: what the Go package (folder go/) stands on. Addresses
 * are numbers, so that Go's rules on passing pointers are not touched.
 */
#ifndef REDEFINE_GO_H
#define REDEFINE_GO_H

#include <redefine/status.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    REDEFINE_GO_SENTENCE_BYTES = 1024,
    REDEFINE_GO_SITES_BYTES = 16384,
};

/* One wish, and what became of it. */
struct redefine_go_request {
    uint64_t target;      /* the code that the target's func value points to: its first word */
    uint64_t replacement; /* the address of the replacement's func value, which the caller keeps alive */
    uint64_t g;           /* the calling goroutine's record: see redefine_go_current */
    uint64_t goid;        /* only for the goroutine of this number; 0: for everyone */
    uint64_t func_value;  /* the address of the target's func value */
    /* Integer registers that the arguments take; more than eight: with one less, which the dictionary of a
     * generic function takes, some would be on the stack. */
    uint32_t argument_registers;
    /* How often an object was loaded or unloaded, as the dynamic linker counts: what is known of them is read
     * anew when it has changed. */
    uint64_t modules;
    /* How the program was built; "" when it is not known. */
    char main_package[256]; /* the import path of package main */
    char gcflags[256];      /* "all=-N -l" */

    /* Set on success by redefine_go_redefine and redefine_go_original: */
    uint64_t function; /* the entry of what is redefined: the same for all func values of an instantiation */
    /* A func value that calls the original holds `call`, the func value of the target, and `where`. */
    uint64_t call;
    uint64_t where;

    /* Set on failure: */
    char sentence[REDEFINE_GO_SENTENCE_BYTES];
    uint32_t site_count;                 /* inlined copies; `sites` may not have room for all of them: */
    char sites[REDEFINE_GO_SITES_BYTES]; /* "file\tline\tcaller\n" each */
};

/* redefine_go_redefine: let callers of `target` run `replacement`.
 *
 * Effects:  stops the world of threads for an instant, the first time; a later replacement is a store.
 *           Called by cgo, so on a stack of C. The replacement's func value must stay reachable for Go's
 *           collector until it is taken back or replaced.
 * Errors:   REDEFINE_EINLINED  callers have copies: sites tells where, the sentence which flag helps
 *           REDEFINE_EFOLDED   nobody calls it: the calls were computed away
 *           REDEFINE_EBOUND    a method bound to its receiver (x.M), or a method of an interface (I.M)
 *           REDEFINE_EWRAPPER  the compiler's way to a method with another receiver; the sentence names it
 *           REDEFINE_EVERSION  the tables of this release of Go are not known
 *           REDEFINE_EINVAL EUNSUPPORTED EBUSY EDENIED ENOMEM ESYSTEM EROLLBACK: as redefine_func */
redefine_status redefine_go_redefine(struct redefine_go_request *request);

/* redefine_go_restore: take back what was redefined for `goid`, or for everyone. Nothing to take back:
 * REDEFINE_OK. With nothing left the function's bytes are what they were. */
redefine_status redefine_go_restore(struct redefine_go_request *request);

/* redefine_go_original: how to call the original of `target`; REDEFINE_EINVAL when it was never redefined. */
redefine_status redefine_go_original(struct redefine_go_request *request);

/* redefine_go_find: the code of the function of that name ("time.Now", "main.(*counter).Inc") into `target`.
 * Errors: REDEFINE_ENOTFOUND, EAMBIGUOUS, EVERSION
 *         REDEFINE_EINLINED  it has no code of its own; `sites` says where its copies are */
redefine_status redefine_go_find(const char *name, struct redefine_go_request *request);

/* redefine_go_same_layout: whether values of type `a` may be used as values of type `b`; both are addresses
 * of type descriptors. REDEFINE_ETYPE: the sentence shows the two layouts. */
redefine_status redefine_go_same_layout(uint64_t a, uint64_t b, struct redefine_go_request *request);

/* redefine_go_use_goid: where in a goroutine's record its number is. */
void redefine_go_use_goid(uint64_t goid_off);

/* redefine_go_current: the code of a func() uintptr that returns the address of the goroutine's record. */
uint64_t redefine_go_current(void);

#ifdef __cplusplus
}
#endif

#endif
