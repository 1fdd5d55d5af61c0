/* SPDX-License-Identifier: MIT
 *
 * The other threads of this process are counted, and cannot be stopped: with more than one, code does not
 * change.
 *
 * What FreeBSD offers, and why none of it is used while nothing of this room has been run:
 *   ptrace     refuses the process itself; a child may attach to its parent (it must not be traced itself),
 * but then the parent's child is its tracer, which the program's own wait would meet. a signal   thr_kill(2)
 * to each thread, whose handler waits and has the registers. libthr defers handlers in its own critical
 * regions (lib/libthr/thread/thr_sig.c), and a thread may block the signal: each such thread would need a
 * proof that it stands. libthr     pthread_suspend_all_np(3) stops the threads and does not say where they
 * stand. NetBSD has ptrace and _lwp_suspend(2), and PaX MPROTECT, which refuses code that has been written,
 * unless paxctl(8) excepts the program. OpenBSD makes the text of programs and libraries immutable
 * (mimmutable(2)): there it cannot be changed at all. This room is not built for either.
 */
#include "os/bsd/room.h"

#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/user.h>

bool rdf_local_has_other_threads(struct rdf_space *space)
{
    (void)space;
    struct rdf_listing listing;
    if (rdf_listing_read(KERN_PROC_PID | KERN_PROC_INC_THREAD, &listing) < 0)
        return true;
    bool found = listing.len_bytes / sizeof(struct kinfo_proc) != 1;
    rdf_listing_free(&listing);
    return found;
}

int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report)
{
    (void)space, (void)deadline_ms, (void)body, (void)ctx, (void)ret_body;
    *ret_report = (struct rdf_stop_report){.err = -ENOSYS, .step = "FreeBSD: threads cannot be stopped yet"};
    return -ENOSYS;
}

const char *rdf_stop_name(void)
{
    return "ptrace (which has no use here yet)";
}
