/* SPDX-License-Identifier: MIT
 *
 * Traps that redirect: one handler of SIGTRAP for the process, installed when the first trap is planned. Mach
 * turns the exception into the signal when no port for exceptions takes it: under a debugger the debugger
 * sees it first.
 */
#include "os/darwin/room.h"

#include <errno.h>
#include <signal.h>
#include <sys/ucontext.h>

static struct sigaction former;
static uint64_t (*where_to)(void *ctx, uint64_t addr);
static void *where_ctx;

/* Nobody caught it before us: what happens then is the kernel's to do, at the same instruction once more. */
static void leave_to_the_system(rdf_state *state)
{
    state->RDF_STATE_PC -= RDF_TRAP_LEAVES_BEHIND;
    (void)sigaction(SIGTRAP, &former, NULL);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    rdf_state *state = &((ucontext_t *)context)->uc_mcontext->__ss;
    uint64_t to = where_to(where_ctx, state->RDF_STATE_PC - RDF_TRAP_LEAVES_BEHIND);
    if (to)
        state->RDF_STATE_PC = to;
    else if (former.sa_flags & SA_SIGINFO)
        former.sa_sigaction(number, info, context);
    else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN)
        former.sa_handler(number);
    else
        leave_to_the_system(state);
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
    struct sigaction ours = {.sa_sigaction = on_trap,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART};
    return sigaction(SIGTRAP, &ours, NULL) < 0 ? -errno : 0;
}
