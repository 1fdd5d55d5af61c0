/* SPDX-License-Identifier: MIT
 *
 * Traps that redirect: one vectored exception handler for the process, added in front of the others when the
 * first trap is planned.
 */
#include "os/windows/room.h"

#include <errno.h>

static void *handle; /* null: not added */
static uint64_t (*where_to)(void *ctx, uint64_t addr);
static void *where_ctx;

/* The system has put Rip back to the trap itself. */
static LONG CALLBACK on_exception(EXCEPTION_POINTERS *pointers)
{
    if (pointers->ExceptionRecord->ExceptionCode != EXCEPTION_BREAKPOINT)
        return EXCEPTION_CONTINUE_SEARCH;
    uint64_t to = where_to(where_ctx, (uint64_t)(uintptr_t)pointers->ExceptionRecord->ExceptionAddress);
    if (!to)
        return EXCEPTION_CONTINUE_SEARCH;
    pointers->ContextRecord->Rip = to;
    return EXCEPTION_CONTINUE_EXECUTION;
}

int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx)
{
    (void)space;
    if (!where && handle) {
        (void)RtlRemoveVectoredExceptionHandler(handle);
        handle = NULL;
    }
    if (!where || handle)
        return 0;
    where_to = where;
    where_ctx = ctx;
    handle = RtlAddVectoredExceptionHandler(1, on_exception);
    return handle ? 0 : -ENOMEM;
}
