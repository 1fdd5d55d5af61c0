/* SPDX-License-Identifier: MIT
 *
 * A word of each thread, and threads by their numbers: those of the kernel, which count up from the start of
 * the system. In 32 bits they are unique for long enough.
 */
#include "os/darwin/room.h"

#include <mach/thread_info.h>
#include <pthread.h>
#include <unistd.h>

/* Of this system's thread-local variables each is looked up by a function (<mach-o/loader.h>,
 * S_THREAD_LOCAL_VARIABLES): they lie anywhere, so generated code cannot reach one, and what needs it is
 * refused. */
static _Thread_local void *word;

void **rdf_os_thread_word(void)
{
    return &word;
}

int64_t rdf_os_thread_word_off(void)
{
    return INT64_MIN;
}

kern_return_t rdf_threads_list(struct rdf_threads *ret)
{
    return task_threads(mach_task_self(), &ret->thread, &ret->count);
}

/* Each is a right to a port, and the list is memory of ours. */
void rdf_threads_free(struct rdf_threads *threads)
{
    for (mach_msg_type_number_t i = 0; i < threads->count; i++)
        (void)mach_port_deallocate(mach_task_self(), threads->thread[i]);
    (void)mach_vm_deallocate(mach_task_self(), (mach_vm_address_t)(uintptr_t)threads->thread,
                             threads->count * sizeof *threads->thread);
}

uint64_t rdf_thread_number(thread_t thread)
{
    thread_identifier_info_data_t about;
    mach_msg_type_number_t words = THREAD_IDENTIFIER_INFO_COUNT;
    return thread_info(thread, THREAD_IDENTIFIER_INFO, (thread_info_t)&about, &words) == KERN_SUCCESS
               ? about.thread_id
               : 0;
}

uint64_t rdf_own_thread_number(void)
{
    uint64_t number = 0;
    (void)pthread_threadid_np(NULL, &number);
    return number;
}

bool rdf_os_thread_word_is_from_other(void)
{
    return false;
}

uint32_t rdf_os_thread_id(void)
{
    return (uint32_t)rdf_own_thread_number();
}

uint32_t rdf_os_process_id(void)
{
    return (uint32_t)getpid();
}

bool rdf_os_thread_exists(uint32_t thread_id)
{
    struct rdf_threads all;
    if (rdf_threads_list(&all) != KERN_SUCCESS)
        return true;
    bool found = false;
    for (mach_msg_type_number_t i = 0; i < all.count && !found; i++)
        found = (uint32_t)rdf_thread_number(all.thread[i]) == thread_id;
    rdf_threads_free(&all);
    return found;
}
