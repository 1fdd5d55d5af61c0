/* SPDX-License-Identifier: MIT
 *
 * Failing system calls, in a process of one thread: inject.h tells how.
 */
#include "inject.h"

SCENARIO(each_once, fail_each_once, 0, false, {0})
SCENARIO(each_always, fail_each_always, 0, false, {0})
SCENARIO(batch_each_once, fail_each_once, 0, true, {0})
SCENARIO(batch_each_always, fail_each_always, 0, true, {0})
/* The ways behind the first ones, which a clean run never takes. */
SCENARIO(no_pwrite_each_once, fail_each_once, 0, true, {SYS_pwrite64})
SCENARIO(no_pwrite_each_always, fail_each_always, 0, true, {SYS_pwrite64})
SCENARIO(no_readv_each_once, fail_each_once, 0, false, {SYS_process_vm_readv})
SCENARIO(no_readv_each_always, fail_each_always, 0, false, {SYS_process_vm_readv, SYS_membarrier})

int main(void)
{
    enum { LIMIT_S = 3600 }; /* of the long form; each child has its own, and run-tests one for all */
    static const struct live_case cases[] = {
        {"each call fails once", each_once, LIMIT_S},
        {"each kind of call always fails", each_always, LIMIT_S},
        {"a batch of three: each call fails once", batch_each_once, LIMIT_S},
        {"a batch of three: each kind of call always fails", batch_each_always, LIMIT_S},
        {"without pwrite64: each call fails once", no_pwrite_each_once, LIMIT_S},
        {"without pwrite64: each kind of call always fails", no_pwrite_each_always, LIMIT_S},
        {"without process_vm_readv: each call fails once", no_readv_each_once, LIMIT_S},
        {"without process_vm_readv and membarrier: each kind of call always fails", no_readv_each_always,
         LIMIT_S},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
