/* SPDX-License-Identifier: MIT
 *
 * arm64: see syscall.h for what each piece is.
 */
#ifndef RDF_OS_LINUX_SYSCALL_AARCH64_H
#define RDF_OS_LINUX_SYSCALL_AARCH64_H

#include <asm/ptrace.h>
#include <ucontext.h>

enum { RDF_ADDRESS_BITS = 48 }; /* of a process that asks for no more (Documentation/arch) */

enum { RDF_SYSCALL_BYTES = 4, RDF_SYS_VFORK = -1 };

enum { RDF_PROT_GUARD = 0x10, RDF_HWCAP2_GUARD = 1 << 17 }; /* PROT_BTI, HWCAP2_BTI */

static inline RDF_RAW long rdf_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}

/* The new task keeps every register but x0 and sp: `run` and `ctx` travel in x9 and x10. */
static inline RDF_RAW long rdf_clone_onto(unsigned long flags, void *stack_top, uint32_t *child_tid,
                                          int (*run)(void *), void *ctx)
{
    register long x8 __asm__("x8") = SYS_clone;
    register long x0 __asm__("x0") = (long)flags;
    register void *x1 __asm__("x1") = stack_top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register uint32_t *x4 __asm__("x4") = child_tid;
    register uintptr_t x9 __asm__("x9") = (uintptr_t)run;
    register void *x10 __asm__("x10") = ctx;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x30, #0\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "mov x8, %[exit_nr]\n\t"
                     "svc #0\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9), "r"(x10), [exit_nr] "i"(SYS_exit)
                     : "memory", "cc");
    return x0;
}

/* Data cache to the point of unification, then instruction cache, where CTR_EL0 says that they need it (Arm
 * ARM B2.4.4). Not __builtin___clear_cache: that calls a function, and here other threads may stand still. */
static inline RDF_RAW void rdf_flush_icache(uint64_t addr, size_t len_bytes)
{
    enum { HAS_ONE_CACHE = 1 << 28, FETCHES_COHERENTLY = 1 << 29, WORD_BYTES = 4 }; /* IDC, DIC */
    uint64_t type;
    __asm__("mrs %0, ctr_el0" : "=r"(type));
    uint64_t data_line = (uint64_t)WORD_BYTES << (type >> 16 & 15);
    uint64_t code_line = (uint64_t)WORD_BYTES << (type & 15);
    for (uint64_t at = addr & -data_line; !(type & HAS_ONE_CACHE) && at < addr + len_bytes; at += data_line)
        __asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    for (uint64_t at = addr & -code_line; !(type & FETCHES_COHERENTLY) && at < addr + len_bytes;
         at += code_line)
        __asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
    __asm__ volatile("dsb ish\n\tisb" : : : "memory");
}

/* int (void): returns 1, and returns 2 */
#define RDF_CODE_RETURNS_1                             \
    {                                                  \
        0x20, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 \
    } /* mov w0, #1; ret */
#define RDF_CODE_RETURNS_2                             \
    {                                                  \
        0x40, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6 \
    }

typedef struct user_pt_regs rdf_regs;
#include "os/linux/syscall_generic.h"

/* sysdeps/aarch64/dl-irel.h: the hwcaps, with a bit that says that a second argument follows. */
static inline uint64_t rdf_call_ifunc(uint64_t resolver_addr)
{
    enum { HWCAP = 16, HWCAP2 = 26 };
    const uint64_t has_argument = UINT64_C(1) << 62;
    uint64_t argument[3] = {sizeof argument, rdf_auxv(HWCAP), rdf_auxv(HWCAP2)};
    return ((uint64_t(*)(uint64_t, const uint64_t *))(uintptr_t)resolver_addr)(argument[1] | has_argument,
                                                                               argument);
}

/* The kernel brings a handler back through the vDSO: no restorer is named. */
#define RDF_KERNEL_ACTION_TAIL \
    uintptr_t restorer;        \
    uint64_t mask;
#define RDF_KERNEL_ACTION_RESTORER .mask = 0
#define RDF_KERNEL_ACTION_FLAGS    0

static inline uint64_t rdf_trap_addr(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.pc;
}

static inline uint64_t rdf_context_pc(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.pc;
}

static inline uint64_t rdf_context_sp(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.sp;
}

static inline void rdf_trap_continue(void *context, uint64_t pc)
{
    ((ucontext_t *)context)->uc_mcontext.pc = pc;
}

#endif
