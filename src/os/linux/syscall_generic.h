/* SPDX-License-Identifier: MIT
 *
 * What the CPUs share whose Linux began with the generic system call table (arm64, riscv64): included by
 * their files, once rdf_regs is known. See syscall.h for what each piece is.
 */
#ifndef RDF_OS_LINUX_SYSCALL_GENERIC_H
#define RDF_OS_LINUX_SYSCALL_GENERIC_H

static inline RDF_RAW uint64_t rdf_regs_pc(const rdf_regs *regs)
{
    return regs->pc;
}

static inline RDF_RAW uint64_t rdf_regs_sp(const rdf_regs *regs)
{
    return regs->sp;
}

/* 0: do_signal moves the pc back to the system call before a tracer looks, "so that a debugger will see the
 * already changed PC". A pc moved by set_pc makes the kernel forget ERESTART_RESTARTBLOCK: a sleep
 * that was interrupted inside a displaced system call then starts over with its first arguments. */
static inline RDF_RAW unsigned rdf_regs_restart_bytes(const rdf_regs *regs)
{
    (void)regs;
    return 0;
}

static inline RDF_RAW void rdf_regs_set_pc(rdf_regs *regs, uint64_t pc)
{
    regs->pc = pc;
}

#endif
