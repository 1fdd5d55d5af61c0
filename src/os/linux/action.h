/* SPDX-License-Identifier: MIT
 *
 * Signal handlers without libc, whose sigaction refuses some numbers and keeps records of its own.
 */
#ifndef RDF_OS_LINUX_ACTION_H
#define RDF_OS_LINUX_ACTION_H

#include "os/linux/syscall.h"

#include <signal.h>

/* As the kernel has it (include/linux/signal_types.h); libc's is another. What follows the flags differs:
 * only some CPUs have a restorer. */
struct rdf_action {
    uintptr_t handler;
    unsigned long flags;
    RDF_KERNEL_ACTION_TAIL
};

enum { RDF_SIGNALS = 64, RDF_SIGNAL_SET_BYTES = 8 };

static inline RDF_RAW int rdf_action_set(int signal, const struct rdf_action *action,
                                         struct rdf_action *ret_former)
{
    return (int)rdf_sys(SYS_rt_sigaction, signal, action, ret_former, RDF_SIGNAL_SET_BYTES);
}

static inline bool rdf_action_is_handler(const struct rdf_action *action)
{
    return action->handler != (uintptr_t)SIG_DFL && action->handler != (uintptr_t)SIG_IGN;
}

/* On the program's alternate stack where it has one. It may be interrupted, also by itself. */
static inline struct rdf_action rdf_action_of(void (*handler)(int, siginfo_t *, void *))
{
    return (struct rdf_action){.handler = (uintptr_t)handler,
                               .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART |
                                        RDF_KERNEL_ACTION_FLAGS,
                               RDF_KERNEL_ACTION_RESTORER};
}

static inline void rdf_action_call(const struct rdf_action *action, int signal, siginfo_t *info,
                                   void *context)
{
    ((void (*)(int, siginfo_t *, void *))action->handler)(signal, info, context);
}

#endif
