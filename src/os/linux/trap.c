/* SPDX-License-Identifier: MIT
 *
 * Traps that redirect: one handler of SIGTRAP for the process, installed when the first trap is planned.
 *
 * A program that installs its own handler of SIGTRAP later takes ours away, and a thread that blocks SIGTRAP
 * dies of a trap (the kernel forces it): which is why a trap is the last strategy.
 */
#include "os/linux/action.h"
#include "os/linux/room.h"

static struct rdf_action former;
static uint64_t (*where_to)(void *ctx, uint64_t addr);
static void *where_ctx;

/* Nobody caught it before us: what happens then is the kernel's to do, as soon as this handler is left. */
static void die_of_it(void)
{
    struct rdf_action none = {.handler = (uintptr_t)SIG_DFL};
    (void)rdf_action_set(SIGTRAP, &none, NULL);
    (void)rdf_sys(SYS_tgkill, rdf_sys(SYS_getpid), rdf_sys(SYS_gettid), SIGTRAP);
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    bool by_instruction = info->si_code > 0;
    uint64_t addr = rdf_trap_addr(context);
    uint64_t to = by_instruction ? where_to(where_ctx, addr) : 0;
    if (to) {
        if (to == addr) /* again, until another instruction is there: whoever writes it needs the CPU */
            (void)rdf_sys(SYS_sched_yield);
        rdf_trap_continue(context, to);
    } else if (rdf_action_is_handler(&former)) {
        rdf_action_call(&former, signal, info, context);
    } else if (by_instruction || former.handler == (uintptr_t)SIG_DFL) {
        die_of_it();
    }
}

int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx)
{
    (void)space;
    struct rdf_action current;
    int status = rdf_action_set(SIGTRAP, NULL, &current);
    bool is_ours = status == 0 && current.handler == (uintptr_t)on_trap;
    if (!where && is_ours)
        return rdf_action_set(SIGTRAP, &former, NULL);
    if (status < 0 || is_ours || !where)
        return status;
    where_to = where;
    where_ctx = ctx;
    former = current;
    /* A replacement may meet another trap. */
    struct rdf_action ours = rdf_action_of(on_trap);
    return rdf_action_set(SIGTRAP, &ours, NULL);
}
