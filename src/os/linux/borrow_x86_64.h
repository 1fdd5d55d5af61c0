/* SPDX-License-Identifier: MIT
 *
 * What borrow.c asks of a CPU, for x86-64:
 *   borrow_regs, regs_*    the registers of a stopped thread; a function or a system call that it is to make
 *   extended_*             floating point and vector registers, as ptrace has them
 *   frame_make             the frame of a signal, from which rt_sigreturn restores all that
 *   syscall_then_return, sigreturn_code   instructions to be found in a C library
 *   rdf_errand_code…       what the borrowed thread and the new one run
 */
#ifndef RDF_OS_LINUX_BORROW_X86_64_H
#define RDF_OS_LINUX_BORROW_X86_64_H

#include "os/errand.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <ucontext.h>

enum { EXTENDED_BYTES_MAX = 16 * 1024, RED_ZONE_BYTES = 128 };

typedef struct user_regs_struct borrow_regs;

static inline uint64_t regs_pc(const borrow_regs *regs)
{
    return regs->rip;
}

static inline uint64_t regs_sp(const borrow_regs *regs)
{
    return regs->rsp;
}

static inline uint64_t regs_thread_pointer(const borrow_regs *regs)
{
    return regs->fs_base;
}

static inline long regs_syscall(const borrow_regs *regs)
{
    return (long)regs->orig_rax;
}

static inline long regs_result(const borrow_regs *regs)
{
    return (long)regs->rax;
}

static inline void regs_skip_syscall(borrow_regs *regs)
{
    regs->orig_rax = (unsigned long long)-1;
}

static inline void regs_call(borrow_regs *regs, uint64_t pc, uint64_t sp, uint64_t arg)
{
    enum { ONLY_INTERRUPTS = 0x202 };
    regs->rip = pc;
    regs->rsp = sp;
    regs->rdi = arg;
    regs->eflags = ONLY_INTERRUPTS;
    regs->orig_rax = (unsigned long long)-1;
}

static inline void regs_syscall_at(borrow_regs *regs, uint64_t pc, uint64_t sp, long nr,
                                   const uint64_t arg[6])
{
    regs_call(regs, pc, sp, arg[0]);
    regs->rax = (unsigned long long)nr;
    regs->rsi = arg[1];
    regs->rdx = arg[2];
    regs->r10 = arg[3];
    regs->r8 = arg[4];
    regs->r9 = arg[5];
}

/* `syscall; ret`, and libc's `mov rax, 15; syscall`. */
static const uint8_t syscall_then_return[] = {0x0f, 0x05, 0xc3};
static const uint8_t sigreturn_code[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05};

/* ---- Extended state: an XSAVE area in the standard format (SDM vol. 1, 13.4) ---- */

enum {
    LEGACY_BYTES = 512,
    HEADER_BYTES = 64,
    SOFTWARE_AT = 464, /* bytes that the CPU leaves to the kernel: struct _fpx_sw_bytes */
    PKRU_BIT = 9,
};

static inline uint64_t *extended_features(uint8_t *area)
{
    return (uint64_t *)(void *)(area + LEGACY_BYTES);
}

/* Up to where the components of `features` reach. */
static inline size_t extended_bytes(uint64_t features)
{
    size_t bytes = LEGACY_BYTES + HEADER_BYTES;
    for (unsigned i = 2; i < 63; i++) {
        unsigned size = 0, at = 0, c, d;
        if (features >> i & 1 && __get_cpuid_count(0xd, i, &size, &at, &c, &d) && at + size > bytes)
            bytes = at + size;
    }
    return bytes;
}

/* What a new process begins with; rights to memory by key stay what they are. */
static inline void extended_init(uint8_t *area, size_t len_bytes)
{
    const uint16_t control = 0x37f;
    const uint32_t mxcsr = 0x1f80;
    if (len_bytes < LEGACY_BYTES + HEADER_BYTES)
        return;
    memset(area, 0, 24); /* up to MXCSR */
    memcpy(area, &control, sizeof control);
    memcpy(area + 24, &mxcsr, sizeof mxcsr);
    *extended_features(area) &= UINT64_C(1) << PKRU_BIT;
}

/* ---- The frame of a signal ---- */

#define FRAME_BYTES(extended_len) (1024 + (extended_len))

/* How rt_sigreturn is to continue a call that was interrupted: as after a handler, with the difference that
 * what would restart then, and what a handler without SA_RESTART ends, is made to start again. A call that
 * the kernel keeps the rest of (nanosleep, poll, futex with a timeout) ends with EINTR: rt_sigreturn drops
 * that. */
static inline void continue_call(borrow_regs *regs)
{
    enum { ERESTARTSYS_ = 512, ERESTARTNOINTR_ = 513, ERESTARTNOHAND_ = 514, ERESTART_RESTARTBLOCK_ = 516 };
    if ((long long)regs->orig_rax < 0)
        return;
    switch (-(long long)regs->rax) {
    case ERESTARTSYS_:
    case ERESTARTNOINTR_:
    case ERESTARTNOHAND_:
        regs->rax = regs->orig_rax;
        regs->rip -= 2;
        break;
    case ERESTART_RESTARTBLOCK_: regs->rax = (unsigned long long)-EINTR; break;
    default: break;
    }
}

/* What rt_sigreturn reads at `addr`, a multiple of 64: the registers, the mask, the extended state. Returns
 * the length. */
static inline size_t frame_make(uint8_t *ret, uint64_t addr, const borrow_regs *from, uint64_t mask,
                                const uint8_t *extended, size_t extended_len)
{
    enum { FLAGS_OF_64_BIT = 7, NO_SUCH_MODE = 7, MASK_AT = 40 + 256, EXTENDED_AT = 512 };
    const uint32_t magic1 = 0x46505853, magic2 = 0x46505845;
    borrow_regs r = *from;
    continue_call(&r);
    const uint64_t general[] = {r.r8,
                                r.r9,
                                r.r10,
                                r.r11,
                                r.r12,
                                r.r13,
                                r.r14,
                                r.r15,
                                r.rdi,
                                r.rsi,
                                r.rbp,
                                r.rbx,
                                r.rdx,
                                r.rax,
                                r.rcx,
                                r.rsp,
                                r.rip,
                                r.eflags,
                                (r.cs & 0xffff) | r.ss << 48,
                                0,
                                0,
                                0,
                                0,
                                addr + EXTENDED_AT};
    memset(ret, 0, EXTENDED_AT);
    const uint64_t flags = FLAGS_OF_64_BIT;
    const uint32_t no_stack = NO_SUCH_MODE; /* refused, which leaves the alternate stack what it is */
    memcpy(ret, &flags, sizeof flags);
    memcpy(ret + 24, &no_stack, sizeof no_stack);
    memcpy(ret + 40, general, sizeof general);
    memcpy(ret + MASK_AT, &mask, sizeof mask);
    uint8_t *area = ret + EXTENDED_AT;
    memcpy(area, extended, extended_len);
    uint64_t features = *extended_features(area) | 3;
    size_t bytes = extended_bytes(features);
    const uint32_t size = (uint32_t)bytes, whole = size + (uint32_t)sizeof magic2;
    memset(area + SOFTWARE_AT, 0, LEGACY_BYTES - SOFTWARE_AT);
    memcpy(area + SOFTWARE_AT, &magic1, 4);
    memcpy(area + SOFTWARE_AT + 4, &whole, 4);
    memcpy(area + SOFTWARE_AT + 8, &features, 8);
    memcpy(area + SOFTWARE_AT + 16, &size, 4);
    memcpy(area + bytes, &magic2, 4);
    return EXTENDED_AT + bytes + sizeof magic2;
}

/* ---- The code ---- */

_Static_assert(offsetof(struct rdf_errand, stage) == 4 && offsetof(struct rdf_errand, go) == 8 &&
                   offsetof(struct rdf_errand, read) == 12 && offsetof(struct rdf_errand, made) == 20 &&
                   offsetof(struct rdf_errand, thread) == 24 && offsetof(struct rdf_errand, function) == 32 &&
                   offsetof(struct rdf_errand, start) == 96 && offsetof(struct rdf_errand, region) == 104 &&
                   offsetof(struct rdf_errand, region_bytes) == 112 &&
                   offsetof(struct rdf_errand, call) == 120 && offsetof(struct rdf_errand, agent) == 128 &&
                   offsetof(struct rdf_errand, entry) == 4224 &&
                   offsetof(struct rdf_errand, answer) == 4288 && sizeof(pthread_attr_t) <= 64,
               "the code below knows them");

extern const uint8_t rdf_errand_code[], rdf_errand_code_start[], rdf_errand_code_sigreturn[],
    rdf_errand_code_end[];

/* First what the borrowed thread runs, with the errand in rdi and the frame at rsp: the new thread is made,
 * errno is as it was, and rt_sigreturn leads back; again, should a tracer have skipped it and be gone. The
 * new thread gets 8 MB of stack, what most have: the program's limit may be a few pages, which patches and
 * the agent do not know of. Then what the new thread runs: it waits to be let go, for five seconds, loads the
 * agent and calls it; then it waits to be read, for as long as the command may take to come, and goes away
 * with the memory: by a system call in libc, that returns to pthread's own code. */
__asm__(".pushsection .rodata\n"
        ".globl rdf_errand_code, rdf_errand_code_start, rdf_errand_code_sigreturn, rdf_errand_code_end\n"
        ".hidden rdf_errand_code\n.hidden rdf_errand_code_start\n"
        ".hidden rdf_errand_code_sigreturn\n.hidden rdf_errand_code_end\n"
        "rdf_errand_code:\n\t"
        "mov %rdi, %rbx\n\t"
        "call *32(%rbx)\n\t" /* errno */
        "mov %rax, %r12\n\t"
        "mov (%rax), %r13d\n\t"
        "sub $64, %rsp\n\t" /* attributes */
        "mov %rsp, %rdi\n\t"
        "call *40(%rbx)\n\t" /* init */
        "mov %rsp, %rdi\n\t"
        "mov $0x800000, %esi\n\t"
        "call *48(%rbx)\n\t" /* stack */
        "lea 24(%rbx), %rdi\n\t"
        "mov %rsp, %rsi\n\t"
        "mov 96(%rbx), %rdx\n\t"
        "mov %rbx, %rcx\n\t"
        "call *56(%rbx)\n\t" /* create */
        "add $64, %rsp\n\t"
        "mov %r13d, (%r12)\n\t"
        "mov %eax, 20(%rbx)\n"
        "rdf_errand_code_sigreturn:\n\t"
        "mov $15, %eax\n\t"
        "syscall\n\t"
        "jmp rdf_errand_code_sigreturn\n"

        "rdf_errand_code_start:\n\t"
        "endbr64\n\t"
        "push %rbx\n\t"
        "push %rbp\n\t"
        "sub $8, %rsp\n\t"
        "mov %rdi, %rbx\n\t"
        "mov 24(%rbx), %rdi\n\t"
        "call *64(%rbx)\n\t" /* detach */
        "movl $1, 4(%rbx)\n\t"
        "mov $5000, %ebp\n"
        "1:\tcmpl $0, 8(%rbx)\n\t"
        "jne 2f\n\t"
        "call 10f\n\t"
        "dec %ebp\n\t"
        "jnz 1b\n\t"
        "jmp 9f\n"
        "2:\tmovl $2, 4(%rbx)\n\t"
        "lea 128(%rbx), %rdi\n\t"
        "mov $2, %esi\n\t"   /* RTLD_NOW */
        "call *72(%rbx)\n\t" /* dlopen */
        "test %rax, %rax\n\t"
        "jz 3f\n\t"
        "mov %rax, %rdi\n\t"
        "lea 4224(%rbx), %rsi\n\t"
        "call *80(%rbx)\n\t" /* dlsym */
        "test %rax, %rax\n\t"
        "jz 3f\n\t"
        "movl $3, 4(%rbx)\n\t"
        "mov %rbx, %rdi\n\t"
        "call *%rax\n\t"
        "movl $4, 4(%rbx)\n\t"
        "jmp 6f\n"
        "3:\tcall *88(%rbx)\n\t" /* dlerror */
        "xor %ecx, %ecx\n\t"
        "test %rax, %rax\n\t"
        "jz 5f\n"
        "4:\tmov (%rax,%rcx), %dl\n\t"
        "test %dl, %dl\n\t"
        "jz 5f\n\t"
        "mov %dl, 4288(%rbx,%rcx)\n\t"
        "inc %ecx\n\t"
        "cmp $4000, %ecx\n\t"
        "jb 4b\n"
        "5:\tmovb $0, 4288(%rbx,%rcx)\n\t"
        "movl $5, 4(%rbx)\n"
        "6:\tmov $30000, %ebp\n"
        "7:\tcmpl $0, 12(%rbx)\n\t"
        "jne 8f\n\t"
        "call 10f\n\t"
        "dec %ebp\n\t"
        "jnz 7b\n\t"
        "jmp 9f\n"
        "8:\tmov 104(%rbx), %rdi\n\t"
        "mov 112(%rbx), %rsi\n\t"
        "mov 120(%rbx), %rdx\n\t"
        "mov $11, %eax\n\t" /* munmap */
        "add $8, %rsp\n\t"
        "pop %rbp\n\t"
        "pop %rbx\n\t"
        "jmp *%rdx\n"
        "9:\txor %eax, %eax\n\t"
        "add $8, %rsp\n\t"
        "pop %rbp\n\t"
        "pop %rbx\n\t"
        "ret\n"

        "10:\tpush $1000000\n\t" /* a millisecond, by clock_nanosleep */
        "push $0\n\t"
        "mov $230, %eax\n\t"
        "mov $1, %edi\n\t"
        "xor %esi, %esi\n\t"
        "mov %rsp, %rdx\n\t"
        "xor %r10d, %r10d\n\t"
        "syscall\n\t"
        "add $16, %rsp\n\t"
        "ret\n"
        "rdf_errand_code_end:\n"
        ".popsection");

#endif
