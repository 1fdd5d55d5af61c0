/* SPDX-License-Identifier: MIT
 *
 * x86-64: see syscall.h for what each piece is.
 */
#ifndef RDF_OS_LINUX_SYSCALL_X86_64_H
#define RDF_OS_LINUX_SYSCALL_X86_64_H

#include <sys/user.h>

enum { RDF_ADDRESS_BITS = 47 }; /* of a process that asks for no more (Documentation/arch) */

enum { RDF_SYSCALL_BYTES = 2, RDF_SYS_VFORK = SYS_vfork };

enum { RDF_PROT_GUARD = 0, RDF_HWCAP2_GUARD = 0 };

static inline RDF_RAW long rdf_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* The new task keeps every register but rax, rcx, r11 and rsp: `run` and `ctx` travel in r9 and r8,
 * which clone reads for nothing without CLONE_SETTLS. It never returns; `run` does, with the status. */
static inline RDF_RAW long rdf_clone_onto(unsigned long flags, void *stack_top, uint32_t *child_tid,
                                          int (*run)(void *), void *ctx)
{
    register uint32_t *r10 __asm__("r10") = child_tid;
    register void *r8 __asm__("r8") = ctx;
    register uintptr_t r9 __asm__("r9") = (uintptr_t)run;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r8, %%rdi\n\t"
                     "call *%%r9\n\t"
                     "mov %%eax, %%edi\n\t"
                     "mov %[exit_nr], %%eax\n\t"
                     "syscall\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone), "D"(flags), "S"(stack_top), "d"(0L), "r"(r10), "r"(r8),
                       "r"(r9), [exit_nr] "i"(SYS_exit)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

/* Stores reach instruction fetch by themselves (Intel SDM vol. 3, 12.6); other cores are membarrier's. */
static inline RDF_RAW void rdf_flush_icache(uint64_t addr, size_t len_bytes)
{
    (void)addr;
    (void)len_bytes;
}

/* int (void): returns 1, and returns 2 */
#define RDF_CODE_RETURNS_1     \
    {                          \
        0xb8, 1, 0, 0, 0, 0xc3 \
    } /* mov eax, 1; ret */
#define RDF_CODE_RETURNS_2     \
    {                          \
        0xb8, 2, 0, 0, 0, 0xc3 \
    }

typedef struct user_regs_struct rdf_regs;

static inline RDF_RAW uint64_t rdf_regs_pc(const rdf_regs *regs)
{
    return regs->rip;
}

static inline RDF_RAW uint64_t rdf_regs_sp(const rdf_regs *regs)
{
    return regs->rsp;
}

/* How far behind the instruction that the kernel will run again a thread's pc stands: 2, the length of
 * `syscall`, when the kernel is about to restart an interrupted call (arch_do_signal_or_restart does
 * that as the very last thing, after a tracer has looked), else 0. */
static inline RDF_RAW unsigned rdf_regs_restart_bytes(const rdf_regs *regs)
{
    enum { ERESTARTSYS_ = 512, ERESTARTNOINTR_ = 513, ERESTARTNOHAND_ = 514, ERESTART_RESTARTBLOCK_ = 516 };
    if ((long long)regs->orig_rax < 0)
        return 0;
    switch (-(long long)regs->rax) {
    case ERESTARTSYS_:
    case ERESTARTNOINTR_:
    case ERESTARTNOHAND_:
    case ERESTART_RESTARTBLOCK_: return 2;
    default: return 0;
    }
}

/* orig_rax stays: an interrupted system call is then restarted 2 bytes before the new pc. */
static inline RDF_RAW void rdf_regs_set_pc(rdf_regs *regs, uint64_t pc)
{
    regs->rip = pc;
}

/* The return from a signal handler, byte for byte as libc has it: unwinders know a signal frame by it. */
__attribute__((naked, unused)) static void rdf_sigreturn(void)
{
    __asm__("movq $15, %rax\n\tsyscall");
}

#define RDF_KERNEL_ACTION_TAIL \
    void (*restorer)(void);    \
    uint64_t mask;
enum { RDF_SA_RESTORER = 0x04000000 };
#define RDF_KERNEL_ACTION_RESTORER .restorer = rdf_sigreturn
#define RDF_KERNEL_ACTION_FLAGS    RDF_SA_RESTORER

/* Where the trap is that a handler was called for: int3 leaves the PC behind itself (SDM vol. 3, 6.15). */
static inline uint64_t rdf_trap_addr(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] - 1;
}

static inline uint64_t rdf_context_pc(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

static inline uint64_t rdf_context_sp(void *context)
{
    return (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
}

static inline void rdf_trap_continue(void *context, uint64_t pc)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

static inline uint64_t rdf_call_ifunc(uint64_t resolver_addr)
{
    return ((uint64_t(*)(void))(uintptr_t)resolver_addr)();
}

#endif
