/* SPDX-License-Identifier: MIT
 *
 * A word of each thread that generated code can read, and threads by their numbers.
 */
#include "os/windows/room.h"

#include <errno.h>

/* The thread environment block, to which gs leads, has 64 words for whoever asks first. */
enum { TEB_SELF = 0x30, TEB_PROCESS_ID = 0x40, TEB_WORDS = 0x1480, WORDS = 64, NOT_ASKED = 0, NONE = -1 };

static int64_t off; /* from gs; NOT_ASKED, NONE: they are all taken */

/* Without a word of its own, a thread shares this one: failures are then explained to whoever asks last, and
 * nothing can be redefined for one thread. */
static void *shared;

int64_t rdf_os_thread_word_off(void)
{
    int64_t known = __atomic_load_n(&off, __ATOMIC_ACQUIRE);
    if (known != NOT_ASKED)
        return known == NONE ? INT64_MAX : known;
    DWORD index = TlsAlloc();
    int64_t mine = index < WORDS ? TEB_WORDS + 8 * (int64_t)index : NONE;
    int64_t expected = NOT_ASKED;
    if (!__atomic_compare_exchange_n(&off, &expected, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        (void)TlsFree(index); /* another thread was first */
    return rdf_os_thread_word_off();
}

void **rdf_os_thread_word(void)
{
    int64_t known = rdf_os_thread_word_off();
    char *self;
    __asm__("movq %%gs:%c1, %0" : "=r"(self) : "i"(TEB_SELF));
    return known == INT64_MAX ? &shared : (void **)(void *)(self + known);
}

bool rdf_os_thread_word_is_from_other(void)
{
    return true;
}

uint32_t rdf_os_process_id(void)
{
    uint32_t pid;
    __asm__("movl %%gs:%c1, %0" : "=r"(pid) : "i"(TEB_PROCESS_ID));
    return pid;
}

/* Read where the thread can read it: no call that the program might have redefined. */
uint32_t rdf_os_thread_id(void)
{
    enum { TEB_THREAD_ID = 0x48 };
    uint32_t tid;
    __asm__("movl %%gs:%c1, %0" : "=r"(tid) : "i"(TEB_THREAD_ID));
    return tid;
}

bool rdf_os_thread_exists(uint32_t thread_id)
{
    HANDLE thread;
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, NULL, 0, NULL, NULL);
    CLIENT_ID id = {.UniqueThread = (HANDLE)(uintptr_t)thread_id};
    NTSTATUS status = NtOpenThread(&thread, SYNCHRONIZE, &attributes, &id);
    if (!NT_SUCCESS(status))
        return rdf_errno_of(status) != -ESRCH;
    /* Ended, and known only because someone has a handle of it? */
    LARGE_INTEGER none = {.QuadPart = 0};
    bool has_ended = NtWaitForSingleObject(thread, FALSE, &none) == 0;
    (void)NtClose(thread);
    return !has_ended;
}
