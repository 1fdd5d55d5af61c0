/* SPDX-License-Identifier: MIT
 *
 * Traps that redirect: one handler of SIGTRAP for the process, installed when the first trap is planned. By
 * the library's sigaction: the kernel calls what that has given it, and the library calls ours.
 */
#include "os/bsd/room.h"

#include <signal.h>
#include <ucontext.h>

/* int3 leaves the PC behind itself (SDM vol. 3, 6.15), brk does not. */
#if defined(__aarch64__)
enum { LEAVES_BEHIND = 0 };
#define PC(context) ((context)->uc_mcontext.mc_gpregs.gp_elr)
#else
enum { LEAVES_BEHIND = 1 };
#define PC(context) ((context)->uc_mcontext.mc_rip)
#endif

static struct sigaction former;
static uint64_t (*where_to)(void *ctx, uint64_t addr);
static void *where_ctx;

/* Nobody caught it before us: what happens then is the kernel's to do, at the same instruction once more. */
static void leave_to_the_system(ucontext_t *context)
{
    PC(context) -= LEAVES_BEHIND;
    (void)sigaction(SIGTRAP, &former, NULL);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    bool by_instruction = info->si_code == TRAP_BRKPT;
    uint64_t at = (uint64_t)PC((ucontext_t *)context) - LEAVES_BEHIND;
    uint64_t to = by_instruction ? where_to(where_ctx, at) : 0;
    if (to)
        PC((ucontext_t *)context) = (__typeof__(PC((ucontext_t *)context)))to;
    else if (former.sa_flags & SA_SIGINFO)
        former.sa_sigaction(number, info, context);
    else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN)
        former.sa_handler(number);
    else if (by_instruction)
        leave_to_the_system(context);
}

int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx)
{
    (void)space;
    struct sigaction current;
    if (sigaction(SIGTRAP, NULL, &current) < 0)
        return -errno;
    bool is_ours = (current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_trap;
    if (!where && is_ours)
        return sigaction(SIGTRAP, &former, NULL) < 0 ? -errno : 0;
    if (!where || is_ours)
        return 0;
    where_to = where;
    where_ctx = ctx;
    former = current;
    /* On the program's alternate stack where it has one. Nested: a replacement may meet another trap. */
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART};
    ours.sa_sigaction = on_trap;
    return sigaction(SIGTRAP, &ours, NULL) < 0 ? -errno : 0;
}
