/* SPDX-License-Identifier: MIT
 *
 * A word of each thread that generated code can read, and threads by their numbers.
 */
#include "os/bsd/room.h"

#include <sys/thr.h>

/* At a fixed distance from the thread pointer, wherever this library is loaded from: it is the library's only
 * thread-local variable, so that the little room which the loader keeps for such ones suffices. */
static _Thread_local void *word __attribute__((tls_model("initial-exec")));

void **rdf_os_thread_word(void)
{
    return &word;
}

int64_t rdf_os_thread_word_off(void)
{
    return (int64_t)((uintptr_t)&word - (uintptr_t)__builtin_thread_pointer());
}

bool rdf_os_thread_word_is_from_other(void)
{
    return false;
}

uint32_t rdf_os_thread_id(void)
{
    long tid = 0;
    (void)rdf_sys(SYS_thr_self, &tid);
    return (uint32_t)tid;
}

uint32_t rdf_os_process_id(void)
{
    return (uint32_t)rdf_sys(SYS_getpid);
}

bool rdf_os_thread_exists(uint32_t thread_id)
{
    return rdf_sys(SYS_thr_kill, (long)thread_id, 0) != -ESRCH;
}
