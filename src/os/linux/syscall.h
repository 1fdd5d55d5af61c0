/* SPDX-License-Identifier: MIT
 *
 * System calls without libc. The engine runs inside programs that may have redefined mmap, open or
 * memcpy, or are in the middle of it; errno belongs to the program and stays as it is. Every call
 * returns what the kernel returns: a value, or -errno.
 *
 * Each CPU's file has the same furniture:
 *   rdf_syscall6           the system call instruction
 *   rdf_clone_onto         clone, with the new task running a function on its own stack
 *   rdf_flush_icache       make stores of this CPU visible to instruction fetch, everywhere
 *   RDF_CODE_RETURNS_*     two functions, to see whether that is so
 *   rdf_regs*              the registers of a stopped thread: where it continues, and its stack
 *   rdf_context_*          the same of a thread that a signal has interrupted, as its handler sees it
 *   RDF_SYSCALL_BYTES      of the system call instruction; RDF_SYS_VFORK: its number, -1 for none
 *   RDF_KERNEL_ACTION_*    what struct sigaction of the kernel has; rdf_trap_*: where a trap is, and goes on
 *   RDF_PROT_GUARD, RDF_HWCAP2_GUARD: of mprotect, what guards landing pads, and whether this CPU does; 0:
 * none rdf_call_ifunc         a resolver called with what the dynamic loader passes on this CPU
 */
#ifndef RDF_OS_LINUX_SYSCALL_H
#define RDF_OS_LINUX_SYSCALL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>

/* For code that may run as the helper task of stop.c: it has the caller's thread pointer but is not
 * that thread, so a sanitizer's bookkeeping or a profiler's counters must stay out. */
#if defined(__clang__)
#define RDF_RAW                                                                                     \
    __attribute__((no_sanitize("address", "thread", "memory", "undefined"), no_instrument_function, \
                   no_stack_protector))
#elif defined(__GNUC__) && __GNUC__ >= 11
#define RDF_RAW \
    __attribute__((no_sanitize("address", "thread", "undefined"), no_instrument_function, no_stack_protector))
#else
#define RDF_RAW __attribute__((no_sanitize("address", "thread", "undefined"), no_instrument_function))
#endif

/* The value of an auxiliary vector entry, 0 when it has none or cannot be read: what resolvers are told. */
uint64_t rdf_auxv(uint64_t type);

#if defined(__x86_64__)
#include "os/linux/syscall_x86_64.h"
#elif defined(__aarch64__)
#include "os/linux/syscall_aarch64.h"
#elif defined(__riscv) && __riscv_xlen == 64
#include "os/linux/syscall_riscv64.h"
#else
#error "src/os/linux has no syscall_<cpu>.h for this CPU"
#endif

/* rdf_sys(SYS_name, up to six arguments): pads with zeros, which no call here minds. */
#define rdf_sys(...) RDF_SYS_PAD(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define RDF_SYS_PAD(nr, a, b, c, d, e, f, ...) \
    rdf_syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Results from -4095 to -1 are errors (every Linux ABI). */
static inline RDF_RAW bool rdf_sys_failed(long result)
{
    return (unsigned long)result > -4096UL;
}

#endif
