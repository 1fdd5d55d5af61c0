/* SPDX-License-Identifier: MIT
 *
 * What the relays of Go functions share: which closure this call gets, and the notes. See go/abi.h.
 *
 * Entered by jumps where a function is entered: R12 is the record, R13 and the flags are free, R14 is the
 * goroutine, X15 is zero; every other register may be an argument. So no stack is used (there may be none),
 * and what is needed beyond R13 is put aside in X15.
 */
#include "go/x86_64/room.h"

#include <stddef.h>

_Static_assert(offsetof(struct rdf_go_record, closure) == 0, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, special) == 8, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, original) == 32, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, more) == 40, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, notes) == 48, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, by_goroutine) == 56, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, by_dictionary) == 64, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, select) == 72, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, goid_off) == 80, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, own) == 88, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, select_mine) == 104, "relay.c");
_Static_assert(sizeof(struct rdf_go_note) == 32 && sizeof(struct rdf_go_choice) == 16, "relay.c");
_Static_assert(RDF_GO_NOTES_BITS == 20 && RDF_GO_SPECIAL_LIST == 0x40000000, "relay.c");

rdf_go_routine rdf_go_relay_slow, rdf_go_relay_note, rdf_go_relay_own;
rdf_go_routine rdf_go_call_original, rdf_go_current;

/* R13 = where the notes of this goroutine begin to be looked for: g / 64, so that neighbours share pages. */
#define FIRST_PLACE             \
    "    mov %r14, %r13\n"      \
    "    shr $6, %r13\n"        \
    "    and $0xfffff, %r13d\n" \
    "    shl $5, %r13\n"        \
    "    add 48(%r12), %r13\n"

/* R13 = the note of this goroutine, taken now if it is its first; ends the process when all are taken. */
#define OWN_PLACE                         \
    FIRST_PLACE                           \
    "1:  cmp %r14, (%r13)\n"              \
    "    je 3f\n"                         \
    "    cmpq $0, (%r13)\n"               \
    "    je 2f\n"                         \
    "    cmpq $-1, (%r13)\n"              \
    "    je rdf_go_too_many_goroutines\n" \
    "    add $32, %r13\n"                 \
    "    jmp 1b\n"                        \
    "2:  movq %rax, %xmm15\n"             \
    "    xor %eax, %eax\n"                \
    "    lock cmpxchg %r14, (%r13)\n"     \
    "    movq %xmm15, %rax\n"             \
    "    pxor %xmm15, %xmm15\n"           \
    "    jne 1b\n"                        \
    "3:\n"

/* A note that nobody came for. RDX is free. */
#define DROP_STALE            \
    "    mov 8(%r13), %rdx\n" \
    "    test %rdx, %rdx\n"   \
    "    jz 4f\n"             \
    "    lock decl 8(%rdx)\n" \
    "4:\n"

__asm__(".text\n"
        ".balign 64\n"
        "rdf_go_relay_slow:\n"
        "    testl $0x3fffffff, 8(%r12)\n"
        "    jz 5f\n" FIRST_PLACE "1:  cmp %r14, (%r13)\n"
        "    je 2f\n"
        "    cmpq $0, (%r13)\n"
        "    je 5f\n"
        "    cmpq $-1, (%r13)\n"
        "    je 5f\n"
        "    add $32, %r13\n"
        "    jmp 1b\n"
        "2:  cmp %r12, 8(%r13)\n"
        "    jne 5f\n"
        "    movq %rdx, %xmm15\n"
        "    movq $0, 8(%r13)\n"
        "    lock decl 8(%r12)\n"
        "    mov (%rsp), %rdx\n"
        "    cmp %rdx, 24(%r13)\n"
        "    jne 4f\n"
        "    mov 8(%r14), %rdx\n" /* g.stack.hi */
        "    sub %rsp, %rdx\n"
        "    cmp %rdx, 16(%r13)\n"
        "    jne 4f\n"
        "    movq %xmm15, %rdx\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *32(%r12)\n"
        "4:  movq %xmm15, %rdx\n"
        "5:  movq %rdx, %xmm15\n"
        "    mov 56(%r12), %r13\n"
        "    test %r13, %r13\n"
        "    jz 7f\n"
        "    mov 80(%r12), %rdx\n"
        "    mov (%r14,%rdx), %rdx\n"
        "6:  cmpq $0, (%r13)\n"
        "    je 7f\n"
        "    cmp %rdx, (%r13)\n"
        "    je rdf_go_relay_chosen\n"
        "    add $16, %r13\n"
        "    jmp 6b\n"
        "7:  cmpq $0, 72(%r12)\n"
        "    je rdf_go_relay_everyone\n"
        "    movq %xmm15, %rdx\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *72(%r12)\n"

        "rdf_go_relay_chosen:\n"
        "    cmpq $0, 72(%r12)\n"
        "    jne 3f\n"
        "    mov 8(%r13), %rdx\n"
        "1:  test %rdx, %rdx\n"
        "    jz 2f\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *(%rdx)\n"
        "2:  movq %xmm15, %rdx\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *32(%r12)\n"
        "3:  mov 8(%r13), %r13\n"
        "    movq %xmm15, %rdx\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *104(%r12)\n"
        "rdf_go_relay_everyone:\n"
        "    mov (%r12), %rdx\n"
        "    lea 88(%r12), %r13\n"
        "    cmp %r13, %rdx\n"
        "    jne 1b\n"
        "    jmp 2b\n"

        "rdf_go_relay_own:\n"
        "    mov 8(%rdx), %r12\n"
        "    jmp *32(%r12)\n"

        ".balign 16\n"
        "rdf_go_relay_note:\n" OWN_PLACE "    movq %rdx, %xmm15\n" DROP_STALE "    lock incl 8(%r12)\n"
        "    mov 8(%r14), %rdx\n"
        "    sub %rsp, %rdx\n"
        "    mov %rdx, 16(%r13)\n"
        "    mov (%rsp), %rdx\n"
        "    mov %rdx, 24(%r13)\n"
        "    mov %r12, 8(%r13)\n"
        "    movq %xmm15, %rdx\n"
        "    pxor %xmm15, %xmm15\n"
        "    jmp *40(%r12)\n"
        "rdf_go_too_many_goroutines:\n"
        "    ud2\n"

        ".balign 16\n"
        "rdf_go_call_original:\n"
        "    mov 16(%rdx), %r12\n"
        "    mov 8(%rdx), %rdx\n"
        "    jmp *%r12\n"

        "rdf_go_current:\n"
        "    mov %r14, %rax\n"
        "    ret\n");

const struct rdf_go_abi *rdf_go_abi_native(void)
{
    static const struct rdf_go_abi abi = {.registers_max = RDF_GO_X86_64_ARGUMENT_REGISTERS - 1,
                                          .entry = rdf_go_x86_64_entry,
                                          .wrapper = rdf_go_x86_64_wrapper,
                                          .emit = rdf_go_x86_64_emit,
                                          .emit_call = rdf_go_x86_64_emit_call,
                                          .slow = rdf_go_relay_slow,
                                          .note = rdf_go_relay_note,
                                          .own = rdf_go_relay_own,
                                          .may_move = rdf_go_x86_64_may_move,
                                          .call_original = rdf_go_call_original,
                                          .current = rdf_go_current};
    return &abi;
}
