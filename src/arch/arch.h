/* SPDX-License-Identifier: MIT
 *
 * What the engine asks of a CPU. Pure: bytes in, bytes out; no system calls, no globals, no memory
 * of its own, so every room runs (and is tested) on any host.
 *
 * Each CPU is a room, src/arch/<cpu>/, with the same furniture:
 *   decode.c    rdf_<cpu>_decode
 *   format.c    rdf_<cpu>_format
 *   scan.c      rdf_<cpu>_scan_branches, rdf_<cpu>_scan_references (and read_jump)
 *   registers.c rdf_<cpu>_registers, rdf_<cpu>_register_name
 *   relocate.c  rdf_<cpu>_relocate
 *   preserve.c  rdf_<cpu>_emit_preserve
 *   native.c    rdf_arch_native, rdf_arch_frame_call
 *   emit.c      rdf_<cpu>_emit_jump (and emit_jump_aside), rdf_<cpu>_emit_short_jump,
 *               rdf_<cpu>_emit_slot_jump, rdf_<cpu>_retarget, rdf_<cpu>_emit_count, rdf_<cpu>_emit_select,
 *               rdf_<cpu>_may_swap
 *   arch.c      const struct rdf_arch rdf_arch_<cpu>
 */
#ifndef RDF_ARCH_ARCH_H
#define RDF_ARCH_ARCH_H

#include "base/error.h"
#include "base/span.h"

enum {
    RDF_WINDOW_BYTES_MAX = 192,     /* bytes a window may have: a short branch back comes from no farther */
    RDF_WINDOW_INSNS_MAX = 96,      /* instructions a window may have */
    RDF_TRAMPOLINE_BYTES_MAX = 768, /* bytes a relocated window may need, jump back included */
    RDF_JUMP_BYTES_MAX = 16,        /* bytes any emitted jump may need */
    RDF_COUNT_BYTES_MAX = 40,       /* bytes emit_count may need */
    RDF_SELECT_BYTES_MAX = 64,      /* bytes emit_select may need */
    RDF_PRESERVE_BYTES_MAX = 1152,  /* bytes emit_preserve may need */
    RDF_STACK_WORDS_MAX = 32,       /* words of stack arguments that emit_preserve copies at most */
};

enum rdf_flow {
    RDF_FLOW_NEXT,          /* falls through to the next instruction */
    RDF_FLOW_JUMP,          /* unconditional jump, target known */
    RDF_FLOW_BRANCH,        /* conditional jump, target known: jcc, jrcxz, loop, b.cond, cbz, tbz */
    RDF_FLOW_CALL,          /* call, target known */
    RDF_FLOW_JUMP_INDIRECT, /* jump through a register or memory */
    RDF_FLOW_CALL_INDIRECT, /* call through a register or memory */
    RDF_FLOW_RETURN,
    RDF_FLOW_SYSCALL, /* enters the kernel, comes back behind itself */
    RDF_FLOW_STOP,    /* never continues behind itself: ud2, hlt, int3, brk */
};

enum rdf_insn_role {
    RDF_ROLE_PLAIN,
    RDF_ROLE_LANDING,       /* landing pad: endbr64, bti. Must stay the first thing executed. */
    RDF_ROLE_LANDING_SIGNS, /* one that does its part for the body, too: paciasp. Not to be run for another
                               body. */
    RDF_ROLE_NOP,           /* any no-operation, also the long ones */
    RDF_ROLE_TRAP,          /* int3 (0xCC), brk: what linkers also pad with */
};

struct rdf_insn {
    uint64_t addr;
    uint8_t len_bytes;
    enum rdf_flow flow;
    enum rdf_insn_role role;
    bool has_target;  /* `target` is where a direct jump, branch or call goes */
    bool has_ref;     /* `ref` is the address of a PC-relative operand (data or address taken) */
    bool is_copied;   /* surely moved as it is, to whatever place; false: relocate knows */
    bool ref_is_load; /* the flow goes through, or a value comes from, the memory at `ref` */
    uint64_t target;
    uint64_t ref;
};

/* Old position → new position of one instruction, as offsets from the window and the trampoline. */
struct rdf_pc_pair {
    uint8_t old_off;
    uint16_t new_off;
};

struct rdf_relocate_request {
    struct rdf_span window;   /* the displaced bytes: whole instructions */
    uint64_t window_addr;     /* where they are executed in the target */
    uint64_t patched_start;   /* the entry jump overwrites [patched_start, patched_end); window bytes */
    uint64_t patched_end;     /* behind it stay as they are and may still be executed */
    uint64_t trampoline_addr; /* where the relocated code will be executed */
};

struct rdf_relocated {
    uint8_t code[RDF_TRAMPOLINE_BYTES_MAX];
    size_t len_bytes;
    struct rdf_pc_pair pcs[RDF_WINDOW_INSNS_MAX]; /* one for each instruction, ascending */
    size_t pc_count;
};

/* Bytes that something is asked of: bit n of `bits` is the byte at start + n. */
struct rdf_byte_set {
    uint64_t start;
    size_t len_bytes;
    uint8_t *bits;
};

static inline bool rdf_byte_set_has(const struct rdf_byte_set *set, uint64_t addr)
{
    uint64_t off = addr - set->start;
    return off < set->len_bytes && (set->bits[off / 8] >> off % 8 & 1);
}

static inline void rdf_byte_set_add(struct rdf_byte_set *set, uint64_t addr)
{
    uint64_t off = addr - set->start;
    if (off < set->len_bytes)
        set->bits[off / 8] |= (uint8_t)(1u << off % 8);
}

/* A word of each thread, so many bytes from its thread pointer, of which some CPUs have two. */
struct rdf_thread_word {
    int64_t off;
    bool is_from_other; /* x86-64: from gs, not fs */
};

/* How code refers to an address. */
enum rdf_reference {
    RDF_REFERENCE_CALL,
    RDF_REFERENCE_JUMP,  /* or branch: a call at a function's end */
    RDF_REFERENCE_VALUE, /* computed, or kept among the code */
};

/* What one instruction does to registers that a call may change; each CPU numbers them in its own way, bit n
 * is register n. Others are left out. */
struct rdf_register_use {
    uint64_t reads;        /* may be read */
    uint64_t writes;       /* may be written, also in part */
    uint64_t kills;        /* are written, whatever they held is gone */
    uint16_t vector_bytes; /* the widest vector operand; 0: none */
    bool sp_lost;          /* the stack pointer becomes something else than itself plus a number */
    bool sp_aligned;       /* … a multiple of the stack's alignment */
    int64_t sp_change;     /* added to the stack pointer; calls and returns count as 0 */
    bool sets_frame;       /* the frame pointer becomes the stack pointer plus … */
    int64_t frame_off;     /* … this */
    bool has_stack;        /* memory is named by an operand from the stack pointer on … */
    bool has_frame;        /* … or from the frame pointer on, … */
    int64_t stack_off;     /* … so many bytes behind it */
};

/* What a call of a replacement must leave alone, and what it must be given. */
struct rdf_keep {
    uint64_t registers;    /* of call_clobbered */
    uint16_t vector_bytes; /* of each vector register among them */
    uint16_t stack_words;  /* up to RDF_STACK_WORDS_MAX */
};

struct rdf_arch {
    const char *name;         /* "x86_64", "aarch64", "riscv64" */
    uint16_t elf_machine;     /* e_machine of its ELF files */
    uint8_t insn_align_bytes; /* instructions start at multiples of this */
    uint8_t insn_bytes_max;   /* the longest instruction */
    uint8_t jump_bytes;       /* of the short form of emit_jump: the entry jump */
    int64_t jump_reach_back;  /* the entry jump reaches [from+jump_bytes-back, from+jump_bytes+ahead] */
    int64_t jump_reach_ahead;
    uint8_t short_jump_bytes;  /* of emit_short_jump; 0: this CPU has none */
    uint16_t short_jump_reach; /* bytes ahead of its end; one more back */
    uint8_t trap_bytes;        /* of `trap`; 0: never needed here */
    uint8_t trap[4];           /* an instruction that raises a trap at its own address */
    uint8_t landing_bytes;     /* of `landing`; 0: no landing pad of this CPU signs */
    uint8_t landing[4];        /* a landing pad that is nothing else, for the place of one that signs */
    /* In the context of an interrupted thread, as Linux lays it out: from the stack for handlers (uc_stack)
     * to the stack pointer, which the PC and the flags follow; 0: laid out another way. */
    uint16_t context_stack_bytes;

    /* Decode one instruction at the front of `code`, which lies at `addr`. False when the bytes are no
     * instruction or are cut off; *ret is then untouched. */
    bool (*decode)(struct rdf_span code, uint64_t addr, struct rdf_insn *ret);

    /* Visit the places in `code` where a direct jump, branch or call to a byte of `set` may begin. May
     * tell too much: bytes that only look like one; never too little. Decoding from a function's start
     * decides. */
    void (*scan_branches)(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                          void (*visit)(void *ctx, uint64_t branch_addr, uint64_t target), void *ctx);

    /* False: nothing in `code` jumps to an address that was computed, as through a table of distances.
     * Without decoding: true may be wrong. */
    bool (*may_compute_jump)(struct rdf_span code);
    /* Visit the places in `code` that may refer to an address of `set`: `field_addr` lies in the instruction,
     * or is where the address itself is kept. As scan_branches: too much, never too little; but an address
     * that is computed otherwise than compilers do is not seen. */
    void (*scan_references)(struct rdf_span code, uint64_t addr, const struct rdf_byte_set *set,
                            void (*visit)(void *ctx, uint64_t field_addr, uint64_t target,
                                          enum rdf_reference kind),
                            void *ctx);

    /* What `decode` says of the instruction at the front of `code`, and what it does to registers. False
     * where there is none. Null, as all that is about what callers rely on: this room cannot tell. */
    bool (*registers)(struct rdf_span code, uint64_t addr, struct rdf_insn *ret_insn,
                      struct rdf_register_use *ret);
    const char *(*register_name)(unsigned number);
    uint64_t call_clobbered; /* the registers that a call may change */
    uint64_t argument_regs;  /* of them, those that a function may read as it is called … */
    uint64_t given_regs;     /* … those whose values it may go on using … */
    uint64_t result_regs;    /* … and those in which it gives something back */
    uint64_t variadic_reg;   /* the one that only a function of variable arguments reads; or 0 */
    uint64_t vector_regs;
    uint64_t plain_regs;    /* of call_clobbered, those that every CPU of this kind has */
    uint8_t entry_misalign; /* the stack pointer at an entry, modulo 16, by the ABI */

    /* One line of text for the instruction, addresses absolute: "jmp 0x401000". Returns the bytes that
     * the instruction has; 0, and "(bad)" as text, where there is none. */
    size_t (*format)(struct rdf_span code, uint64_t addr, char *ret_text, size_t text_bytes);

    /* Rewrite a window so that it computes the same at trampoline_addr, then continues behind the
     * window (unless it cannot get there).
     *
     * Calls push the address behind the *original* call, so that unwinders and callees that read their
     * return address see what they always saw. Branches from the window into the window go to the
     * relocated counterpart; from the window to elsewhere they go there, in a form that reaches.
     * Errors: REDEFINE_EUNSUPPORTED  an instruction that cannot be moved; the sentence shows it, its
     *                                bytes with a caret under the first, and why
     *         REDEFINE_ENOMEM        a PC-relative operand is not reachable from trampoline_addr and
     *                                the instruction has no far form; the sentence names the address
     * On failure *ret is untouched. */
    redefine_status (*relocate)(const struct rdf_relocate_request *request, struct rdf_relocated *ret,
                                struct rdf_error *err);

    /* A jump from `from` to `to`, the short form that fits an entry: x86-64 jmp rel32, aarch64 b.
     * Returns its length, 0 when `to` is out of its reach. */
    size_t (*emit_jump)(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);

    /* The same length, by way of a register that callers rely on least, for a function with a frame; null
     * where emit_jump changes none. emit_preserve does not keep that one. */
    size_t (*emit_jump_aside)(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);

    /* Whether `code` begins with such a jump of two instructions: how long the first is, and where both lead.
     * Null where each is one. */
    bool (*read_jump)(struct rdf_span code, uint64_t addr, uint8_t *ret_first_bytes, uint64_t *ret_target);

    /* The shortest jump there is. Returns its length, 0 when `to` is out of its reach. */
    size_t (*emit_short_jump)(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);

    /* The jump, branch or call at the front of `code` with another target and the same length: returns that
     * length, 0 when its form cannot reach `to`. */
    size_t (*retarget)(uint8_t ret_code[RDF_JUMP_BYTES_MAX], struct rdf_span code, uint64_t addr,
                       uint64_t to);

    /* What Linux keeps of an interrupted thread has three words in a row with the PC and the stack pointer
     * among them: which ones those are. Where the last is flags, some bits of theirs are always set. */
    uint8_t context_pc;
    uint8_t context_sp;
    uint32_t context_flags;

    /* Whether one store, inside an aligned 8 bytes, may put `after` in the place of the instruction `before`
     * while other cores execute it: they then see the one or the other. */
    bool (*may_swap)(struct rdf_span before, struct rdf_span after);

    /* Code that adds one to the 8 bytes at `counter_addr`, anywhere, and goes on behind itself: neither flags
     * nor registers change that a function may read at its entry. Not atomic: of several threads in it at
     * the same instant one may count for all. Returns its length. */
    size_t (*emit_count)(uint8_t ret_code[RDF_COUNT_BYTES_MAX], uint64_t counter_addr);

    /* A jump at `from` to the address that is stored in the 8 bytes at `slot_addr` (the relay). Only
     * registers that a call may change at a function boundary, and flags, may be touched:
     * x86-64 none (jmp *slot(%rip)); aarch64 x16; riscv64 t1. Returns its length, 0 when the slot is out of
     * reach. */
    size_t (*emit_slot_jump)(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t slot_addr);

    /* Code at `from` that goes to where the running thread wants to go: `word` of it is the address of the
     * thread's table, or null; its entry number `index` an address, or null. Where either is null it goes to
     * the address stored at `slot_addr`. Changes what emit_slot_jump
     * may, and on x86-64 flags, and r11 on the way to the thread's own. Returns its length, 0 when something
     * is out of reach. */
    size_t (*emit_select)(uint8_t ret_code[RDF_SELECT_BYTES_MAX], uint64_t from, struct rdf_thread_word word,
                          uint32_t index, uint64_t slot_addr);
    /* Instead of emit_slot_jump: a call of the function whose address is in the slot, with the stack aligned,
     * that leaves what `keep` says as it was; then a return. The callee finds copies of the words that lie
     * behind the return address. The call itself is made by the code at `call_addr`, anywhere: that of
     * rdf_arch_frame_call. Returns its length; 0: the slot is out of reach, or it cannot be kept. */
    size_t (*emit_preserve)(uint8_t ret_code[RDF_PRESERVE_BYTES_MAX], uint64_t from, uint64_t slot_addr,
                            uint64_t call_addr, const struct rdf_keep *keep);
};

/* A jump that leads to the frame of a function whose callers rely on something, or any other. */
static inline size_t rdf_arch_emit_jump(const struct rdf_arch *arch, bool keeps,
                                        uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to)
{
    return (keeps && arch->emit_jump_aside ? arch->emit_jump_aside : arch->emit_jump)(ret_code, from, to);
}

extern const struct rdf_arch rdf_arch_x86_64;
extern const struct rdf_arch rdf_arch_aarch64;
extern const struct rdf_arch rdf_arch_riscv64;

/* The CPU this build runs on; the build chooses the room that defines it. */
const struct rdf_arch *rdf_arch_native(void);

/* The piece of code, in this library and known to unwinders by its tables, from which the frames of
 * emit_preserve call: what is on a stack while a replacement runs is this, never code that was made. */
uint64_t rdf_arch_frame_call(void);

#endif
