/* SPDX-License-Identifier: MIT
 *
 * Traps that redirect: one handler of SIGTRAP for the process, installed when the first trap is planned.
 *
 * A program that installs its own handler of SIGTRAP later takes ours away, and a thread that blocks SIGTRAP
 * dies of a trap (the kernel forces it): which is why a trap is the last strategy.
 */
#include "os/linux/room.h"
#include "os/linux/syscall.h"

#include <signal.h>
#include <ucontext.h>

/* As the kernel has it (include/linux/signal_types.h); libc's is another. What follows the flags differs:
 * only some CPUs have a restorer. */
struct kernel_action {
    uintptr_t handler;
    unsigned long flags;
    RDF_KERNEL_ACTION_TAIL
};

enum { SIGNAL_SET_BYTES = 8 };

static struct kernel_action former;
static uint64_t (*where_to)(void *ctx, uint64_t addr);
static void *where_ctx;

static long set_action(const struct kernel_action *action, struct kernel_action *ret_former)
{
    return rdf_sys(SYS_rt_sigaction, SIGTRAP, action, ret_former, SIGNAL_SET_BYTES);
}

/* Nobody caught it before us: what happens then is the kernel's to do, as soon as this handler is left. */
static void die_of_it(void)
{
    struct kernel_action none = {.handler = (uintptr_t)SIG_DFL};
    (void)set_action(&none, NULL);
    (void)rdf_sys(SYS_tgkill, rdf_sys(SYS_getpid), rdf_sys(SYS_gettid), SIGTRAP);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    bool by_instruction = info->si_code > 0;
    uint64_t to = by_instruction ? where_to(where_ctx, rdf_trap_addr(context)) : 0;
    if (to)
        rdf_trap_continue(context, to);
    else if (former.handler != (uintptr_t)SIG_DFL && former.handler != (uintptr_t)SIG_IGN)
        ((void (*)(int, siginfo_t *, void *))former.handler)(signal, info, context);
    else if (by_instruction || former.handler == (uintptr_t)SIG_DFL)
        die_of_it();
}

int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx)
{
    (void)space;
    struct kernel_action current;
    long status = set_action(NULL, &current);
    bool is_ours = status == 0 && current.handler == (uintptr_t)on_trap;
    if (!where && is_ours)
        return (int)set_action(&former, NULL);
    if (status < 0 || is_ours || !where)
        return (int)status;
    where_to = where;
    where_ctx = ctx;
    former = current;
    /* On the program's alternate stack where it has one. Nested: a replacement may meet another trap. */
    struct kernel_action ours = {.handler = (uintptr_t)on_trap,
                                 .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART |
                                          RDF_KERNEL_ACTION_FLAGS,
                                 RDF_KERNEL_ACTION_RESTORER};
    return (int)set_action(&ours, NULL);
}
