/* SPDX-License-Identifier: MIT
 *
 * Functions of the distribution's libraries whose loops lead back into their first bytes, where other
 * libraries refuse or break them. By name, since compilers may lay them out differently some day: then they
 * are easier.
 */
#include "live.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

static int calls;

/* ---- sem_trywait: a loop around compare-and-exchange ---- */

static int counts_trywait(sem_t *semaphore)
{
    calls++;
    return ((int (*)(sem_t *))redefine_func_original(ADDRESS(sem_trywait)))(semaphore);
}

static int drain(sem_t *semaphore)
{
    int taken = 0;
    while (sem_trywait(semaphore) == 0)
        taken++;
    CHECK_INT(errno, EAGAIN);
    return taken;
}

static sem_t shared;
static volatile long taken_beside;
static volatile bool stop;

static void *takes(void *unused)
{
    while (!stop)
        taken_beside += sem_trywait(&shared) == 0;
    return unused;
}

static void trywait(void)
{
    sem_t semaphore;
    CHECK(sem_init(&semaphore, 0, 5) == 0);
    live_world_take(&live_before);
    CHECK_OK(redefine_func(ADDRESS(sem_trywait), ADDRESS(counts_trywait)));
    CHECK_INT(drain(&semaphore), 5);
    CHECK_INT(calls, 6);
    CHECK_OK(redefine_func_restore(ADDRESS(sem_trywait)));
    CHECK_WORLD(&live_before, &live_now, false);
    CHECK(sem_post(&semaphore) == 0);
    CHECK_INT(drain(&semaphore), 1);
    CHECK_INT(calls, 6);
}

/* Contended, so that the loop goes round, while it is redefined and restored. */
static void trywait_contended(void)
{
    live_needs_stopped_threads();
    pthread_t thread;
    long taken = 0, posted = 0;
    CHECK(sem_init(&shared, 0, 0) == 0 && pthread_create(&thread, NULL, takes, NULL) == 0);
    for (int round = 0; round < 200; round++) {
        CHECK_OK(round % 2 ? redefine_func_restore(ADDRESS(sem_trywait))
                           : redefine_func(ADDRESS(sem_trywait), ADDRESS(counts_trywait)));
        for (int i = 0; i < 100; i++, posted++) {
            CHECK(sem_post(&shared) == 0);
            taken += sem_trywait(&shared) == 0;
        }
    }
    stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_INT(taken + taken_beside + drain(&shared), posted);
}

/* ---- pthread_rwlock_tryrdlock ---- */

static int counts_tryrdlock(pthread_rwlock_t *lock)
{
    calls++;
    return ((int (*)(pthread_rwlock_t *))redefine_func_original(ADDRESS(pthread_rwlock_tryrdlock)))(lock);
}

static void lock_and_unlock(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    for (int i = 0; i < 10; i++)
        CHECK_INT(pthread_rwlock_tryrdlock(&lock), 0);
    CHECK_INT(pthread_rwlock_trywrlock(&lock), EBUSY);
    for (int i = 0; i < 10; i++)
        CHECK_INT(pthread_rwlock_unlock(&lock), 0);
    CHECK_INT(pthread_rwlock_wrlock(&lock), 0);
    CHECK_INT(pthread_rwlock_tryrdlock(&lock), EBUSY);
    CHECK_INT(pthread_rwlock_unlock(&lock), 0);
}

static void tryrdlock(void)
{
    void *by_name = NULL;
    CHECK_OK(redefine_find("libc.so.6!__pthread_rwlock_tryrdlock", &by_name));
    CHECK(by_name == ADDRESS(pthread_rwlock_tryrdlock));
    live_world_take(&live_before);
    CHECK_OK(redefine_func(by_name, ADDRESS(counts_tryrdlock)));
    lock_and_unlock();
    CHECK_INT(calls, 11);
    CHECK_OK(redefine_func_restore(by_name));
    CHECK_WORLD(&live_before, &live_now, false);
    lock_and_unlock();
    CHECK_INT(calls, 11);
}

/* ---- CRYPTO_atomic_or ---- */

typedef int atomic_or(uint64_t *value, uint64_t bits, uint64_t *ret, void *lock);

static atomic_or *crypto_or;

static int counts_or(uint64_t *value, uint64_t bits, uint64_t *ret, void *lock)
{
    calls++;
    return ((atomic_or *)redefine_func_original(ADDRESS(crypto_or)))(value, bits, ret, lock);
}

static void or_bits(void)
{
    uint64_t value = 0, result = 0;
    for (int i = 0; i < 64; i++) {
        CHECK_INT(crypto_or(&value, UINT64_C(1) << i, &result, NULL), 1);
        CHECK(value == result && value == UINT64_MAX >> (63 - i));
    }
}

static void atomic_or_of_libcrypto(void)
{
    void *found = NULL;
    if (!dlopen("libcrypto.so.3", RTLD_NOW))
        live_skip("there is no libcrypto.so.3");
    CHECK_OK(redefine_find("libcrypto.so.3!CRYPTO_atomic_or", &found));
    crypto_or = (atomic_or *)(uintptr_t)found;
    or_bits();
    live_world_take(&live_before);
    CHECK_OK(redefine_func(found, ADDRESS(counts_or)));
    or_bits();
    CHECK_INT(calls, 64);
    atomic_or *original = (atomic_or *)redefine_func_original(found);
    CHECK_OK(redefine_func_restore(found));
    CHECK_WORLD(&live_before, &live_now, false);
    or_bits();
    crypto_or = original;
    or_bits();
    CHECK_INT(calls, 64);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"sem_trywait", trywait, 0},
        {"sem_trywait, while another thread goes round its loop", trywait_contended, 0},
        {"__pthread_rwlock_tryrdlock", tryrdlock, 0},
        {"CRYPTO_atomic_or", atomic_or_of_libcrypto, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
