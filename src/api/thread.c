/* SPDX-License-Identifier: MIT */
#include "api/thread.h"

static struct rdf_thread_record *newest;
/* The first thread needs no memory of the system's: a call that fails leaves the mappings as they were. */
static struct rdf_thread_record first;
static struct rdf_thread_record shared;
static struct rdf_os_lock lock;

/* The process that the records were made in: in a child of fork there is only one of their threads, and which
 * one is not known here, so that no record of the parent's is given to another thread. */
static uint32_t process;
static struct rdf_thread_record *newest_of_parent;

struct rdf_thread_record *rdf_thread_known(void)
{
    return *rdf_os_thread_word();
}

static void clear(struct rdf_thread_record *thread)
{
    for (size_t i = 0; i < RDF_SELECTORS_MAX && thread->own_count; i++)
        rdf_thread_set(thread, (uint32_t)i, 0);
    thread->last_error = (struct rdf_error){0};
}

static struct rdf_thread_record *take_one(uint32_t tid)
{
    struct rdf_thread_record *thread = newest;
    while (thread != newest_of_parent && thread->tid != tid && rdf_os_thread_exists(thread->tid))
        thread = thread->older;
    if (thread != newest_of_parent) {
        clear(thread);
        return thread;
    }
    thread = newest ? rdf_os_pages.get(rdf_os_pages.ctx, sizeof *thread) : &first;
    if (thread) {
        thread->older = newest;
        __atomic_store_n(&newest, thread, __ATOMIC_RELEASE);
    }
    return thread;
}

struct rdf_thread_record *rdf_thread_get(void)
{
    struct rdf_thread_record *thread = rdf_thread_known();
    if (thread || !rdf_os_lock(&lock))
        return thread;
    uint32_t pid = rdf_os_process_id();
    if (process != pid) {
        __atomic_store_n(&newest_of_parent, newest, __ATOMIC_RELAXED);
        __atomic_store_n(&process, pid, __ATOMIC_RELEASE);
    }
    uint32_t tid = rdf_os_thread_id();
    thread = take_one(tid);
    if (thread)
        thread->tid = tid;
    rdf_os_unlock(&lock);
    *rdf_os_thread_word() = thread;
    return thread;
}

struct rdf_thread_record *rdf_thread_somewhere(void)
{
    struct rdf_thread_record *thread = rdf_thread_get();
    return thread ? thread : &shared;
}

const struct rdf_thread_record *rdf_thread_known_or_shared(void)
{
    const struct rdf_thread_record *thread = rdf_thread_known();
    return thread ? thread : &shared;
}

void rdf_thread_set(struct rdf_thread_record *thread, uint32_t index, uint64_t replacement)
{
    uint64_t former = __atomic_exchange_n(&thread->own[index], replacement, __ATOMIC_ACQ_REL);
    if (!former && replacement)
        __atomic_add_fetch(&thread->own_count, 1, __ATOMIC_RELAXED);
    else if (former && !replacement)
        __atomic_sub_fetch(&thread->own_count, 1, __ATOMIC_RELAXED);
}

/* The forking thread keeps its record under the number it had in the parent: in a child those of the parent's
 * all count as alive, or the code would be taken from under it. */
bool rdf_thread_others_have(uint32_t index)
{
    bool is_of_parent = __atomic_load_n(&process, __ATOMIC_ACQUIRE) != rdf_os_process_id();
    const struct rdf_thread_record *of_parent = __atomic_load_n(&newest_of_parent, __ATOMIC_RELAXED);
    const struct rdf_thread_record *thread = __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
    for (; thread; thread = thread->older) {
        is_of_parent |= thread == of_parent;
        if (thread != rdf_thread_known() && __atomic_load_n(&thread->own[index], __ATOMIC_ACQUIRE) &&
            (is_of_parent || rdf_os_thread_exists(thread->tid)))
            return true;
    }
    return false;
}

void rdf_thread_clear_all(void)
{
    for (struct rdf_thread_record *thread = newest; thread; thread = thread->older)
        for (uint32_t i = 0; i < RDF_SELECTORS_MAX && thread->own_count; i++)
            rdf_thread_set(thread, i, 0);
}
