/* SPDX-License-Identifier: MIT
 *
 * riscv64: see syscall.h for what each piece is.
 */
#ifndef RDF_OS_LINUX_SYSCALL_RISCV64_H
#define RDF_OS_LINUX_SYSCALL_RISCV64_H

#include <asm/ptrace.h>
#include <ucontext.h>

enum { RDF_ADDRESS_BITS = 47 }; /* of a process that asks for no more (Documentation/arch) */

enum { RDF_SYSCALL_BYTES = 4, RDF_SYS_VFORK = -1 };

enum { RDF_PROT_GUARD = 0, RDF_HWCAP2_GUARD = 0 };

static inline RDF_RAW long rdf_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long a7 __asm__("a7") = nr;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}

/* The new task keeps every register but a0 and sp: `run` and `ctx` travel in a5 and a6. */
static inline RDF_RAW long rdf_clone_onto(unsigned long flags, void *stack_top, uint32_t *child_tid,
                                          int (*run)(void *), void *ctx)
{
    register long a7 __asm__("a7") = SYS_clone;
    register long a0 __asm__("a0") = (long)flags;
    register void *a1 __asm__("a1") = stack_top;
    register long a2 __asm__("a2") = 0;
    register long a3 __asm__("a3") = 0;
    register uint32_t *a4 __asm__("a4") = child_tid;
    register uintptr_t a5 __asm__("a5") = (uintptr_t)run;
    register void *a6 __asm__("a6") = ctx;
    __asm__ volatile("ecall\n\t"
                     "bnez a0, 1f\n\t"
                     "li s0, 0\n\t"
                     "mv a0, a6\n\t"
                     "jalr a5\n\t"
                     "li a7, %[exit_nr]\n\t"
                     "ecall\n\t"
                     "ebreak\n"
                     "1:"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a6), [exit_nr] "i"(SYS_exit)
                     : "memory");
    return a0;
}

/* fence.i is local and a thread may move to another hart: the kernel does it for all of them. */
static inline RDF_RAW void rdf_flush_icache(uint64_t addr, size_t len_bytes)
{
    enum { RISCV_FLUSH_ICACHE = 259 };
    (void)rdf_syscall6(RISCV_FLUSH_ICACHE, (long)addr, (long)(addr + len_bytes), 0, 0, 0, 0);
}

/* int (void): returns 1, and returns 2 */
#define RDF_CODE_RETURNS_1     \
    {                          \
        0x05, 0x45, 0x82, 0x80 \
    } /* c.li a0, 1; c.jr ra */
#define RDF_CODE_RETURNS_2     \
    {                          \
        0x09, 0x45, 0x82, 0x80 \
    }

typedef struct user_regs_struct rdf_regs;
#include "os/linux/syscall_generic.h"

/* What the C library's __riscv_hwprobe is: a positive error, or 0 (Documentation/arch/riscv/hwprobe.rst). */
static inline int rdf_hwprobe(void *pairs, size_t pair_count, size_t cpu_bytes, unsigned long *cpus,
                              unsigned flags)
{
    enum { RISCV_HWPROBE = 258 };
    return (int)-rdf_syscall6(RISCV_HWPROBE, (long)pairs, (long)pair_count, (long)cpu_bytes, (long)cpus,
                              (long)flags, 0);
}

/* sysdeps/riscv/dl-irel.h: the hwcaps, then the function to ask for more. Without that resolvers choose what
 * does everywhere, which need not be what the loader was told to use. */
static inline uint64_t rdf_call_ifunc(uint64_t resolver_addr)
{
    enum { HWCAP = 16 };
    typedef int hwprobe_type(void *, size_t, size_t, unsigned long *, unsigned);
    return ((uint64_t(*)(uint64_t, hwprobe_type *))(uintptr_t)resolver_addr)(rdf_auxv(HWCAP), rdf_hwprobe);
}

/* The kernel brings a handler back through the vDSO: no restorer. */
#define RDF_KERNEL_ACTION_TAIL     uint64_t mask;
#define RDF_KERNEL_ACTION_RESTORER .mask = 0
#define RDF_KERNEL_ACTION_FLAGS    0

static inline uint64_t rdf_trap_addr(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
}

static inline uint64_t rdf_context_pc(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
}

static inline uint64_t rdf_context_sp(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.__gregs[REG_SP];
}

static inline void rdf_trap_continue(void *context, uint64_t pc)
{
    ((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC] = pc;
}

#endif
