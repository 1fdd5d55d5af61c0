/* SPDX-License-Identifier: MIT
 *
 * For CPUs whose frames of signals nobody has written down here (borrow_x86_64.h): no thread is borrowed.
 */
#include "os/borrow.h"

#include <errno.h>

bool rdf_borrow_is_known(void)
{
    return false;
}

size_t rdf_borrow_sigreturn(const uint8_t **ret)
{
    (void)ret;
    return 0;
}

int rdf_borrow(int pid, int tid, unsigned timeout_ms, struct rdf_borrowed **ret)
{
    (void)pid;
    (void)tid;
    (void)timeout_ms;
    (void)ret;
    return -ENOSYS;
}

struct rdf_borrow_place rdf_borrow_place(const struct rdf_borrowed *borrowed)
{
    (void)borrowed;
    return (struct rdf_borrow_place){.syscall = -1};
}

int rdf_borrow_send(struct rdf_borrowed *borrowed, const struct rdf_borrow_order *order, uint64_t *ret_errand,
                    int *ret_kept_tid, const char **ret_step)
{
    (void)borrowed;
    (void)order;
    (void)ret_errand;
    (void)ret_kept_tid;
    *ret_step = "borrow a thread on this CPU";
    return -ENOSYS;
}

int rdf_borrow_give_back(struct rdf_borrowed *borrowed)
{
    (void)borrowed;
    return -ENOSYS;
}

bool rdf_borrow_drive(int kept_tid)
{
    (void)kept_tid;
    return false;
}
