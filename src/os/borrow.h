/* SPDX-License-Identifier: MIT
 *
 * For the command: a thread of another process, borrowed for the moment in which it makes a thread that
 * carries out an errand. Whatever becomes of the command meanwhile, the borrowed thread goes on where it was.
 */
#ifndef RDF_OS_BORROW_H
#define RDF_OS_BORROW_H

#include "os/errand.h"

#include <stdbool.h>
#include <stddef.h>

struct rdf_borrowed;

/* Where it stands. */
struct rdf_borrow_place {
    long syscall; /* the system call that it sits in; -1: none */
    uint64_t pc, sp;
    uint64_t thread_pointer;
    bool is_group_stopped; /* by SIGSTOP and its like */
    bool is_restartable;   /* in a sequence that the kernel starts again when it was interrupted (rseq(2)) */
};

/* Whether threads can be borrowed on this CPU. */
bool rdf_borrow_is_known(void);

/* The code of the C library that a signal handler returns to: its length. */
size_t rdf_borrow_sigreturn(const uint8_t **ret);

/* Stop a thread. 0, or -ESRCH (it has ended), -EPERM and the like, -ETIMEDOUT: it does not stop (the kernel
 * lets go of it when the calling process ends). Give it back with rdf_borrow_give_back. */
int rdf_borrow(int pid, int tid, unsigned timeout_ms, struct rdf_borrowed **ret);
struct rdf_borrow_place rdf_borrow_place(const struct rdf_borrowed *borrowed);

/* Where code of the process lies, to look in for the two pieces of code that the first call needs. */
struct rdf_borrow_code {
    uint64_t start, end;
};

struct rdf_borrow_order {
    const struct rdf_borrow_code *code;
    size_t code_count;
    uint64_t stack_start; /* the lowest byte of the stack that the thread is on */
    uint64_t function[RDF_ERRAND_FUNCTIONS];
    const char *agent, *entry; /* the object to load, the function in it to call with the errand */
    const char *request;
    bool keep_thread; /* the new thread is traced: in a process that is stopped it would not run */
};

/* Have the thread make the one that carries out the errand. 0 and the record's address; or -errno with
 * *ret_step saying which step failed: then nothing is left behind but perhaps memory. The borrowed thread is
 * to be given back in any case, before `go` is set. */
int rdf_borrow_send(struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order, uint64_t *ret_errand,
                    int *ret_kept_tid, const char **ret_step);

/* It goes on as if nothing had been. Frees it. 0, or -ESRCH: it has ended meanwhile. */
int rdf_borrow_give_back(struct rdf_borrowed *borrowed);

/* The thread that was kept: let it run whenever it stops. False: it has ended. */
bool rdf_borrow_drive(int kept_tid);

#endif
