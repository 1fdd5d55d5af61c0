/* SPDX-License-Identifier: MIT
 *
 * The lock of the rooms that have nothing to wait on: who waits naps, for nothing here is held for long.
 */
#ifndef RDF_OS_LOCK_H
#define RDF_OS_LOCK_H

#include "os/os.h"

/* `state` is 0 or the number of the owner. One that is no thread of this process held the lock when its
 * memory was copied, or has ended: nobody will unlock. */
static inline bool rdf_lock_by_naps(struct rdf_os_lock *lock, void (*nap)(void))
{
    uint32_t self = rdf_os_thread_id();
    for (;;) {
        uint32_t owner = 0;
        if (__atomic_compare_exchange_n(&lock->state, &owner, self, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
        if (owner == self)
            return false;
        if (rdf_os_thread_exists(owner))
            nap();
        else if (__atomic_compare_exchange_n(&lock->state, &owner, self, false, __ATOMIC_ACQUIRE,
                                             __ATOMIC_RELAXED))
            return true;
    }
}

#endif
