/* SPDX-License-Identifier: MIT
 *
 * What the relays of Go functions share: which closure this call gets, and the notes. See go/abi.h.
 *
 * Entered by jumps where a function is entered: X16 is the record, X17, X19 … X25, X27 and the flags are
 * free, X26 is the context of closures, X28 the goroutine, X30 the return address; every other register may
 * be an argument. No stack is used: there may be none.
 */
#include "go/aarch64/room.h"

#include <stddef.h>

_Static_assert(offsetof(struct rdf_go_record, closure) == 0, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, special) == 8, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, original) == 32, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, more) == 40, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, notes) == 48, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, by_goroutine) == 56, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, select) == 72, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, goid_off) == 80, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, own) == 88, "relay.c");
_Static_assert(offsetof(struct rdf_go_record, select_mine) == 104, "relay.c");
_Static_assert(sizeof(struct rdf_go_note) == 32 && sizeof(struct rdf_go_choice) == 16, "relay.c");
_Static_assert(RDF_GO_NOTES_BITS == 20 && RDF_GO_SPECIAL_LIST == 0x40000000, "relay.c");

rdf_go_routine rdf_go_relay_slow, rdf_go_relay_note, rdf_go_relay_own;
rdf_go_routine rdf_go_call_original, rdf_go_current;

/* X17 = where the notes of this goroutine begin to be looked for: g / 64, so that neighbours share pages. */
#define FIRST_PLACE                \
    "    ldr x19, [x16, #48]\n"    \
    "    ubfx x17, x28, #6, #20\n" \
    "    add x17, x19, x17, lsl #5\n"

/* One more, or less, in the `special` of the record in `record`; X20 … X22 are used. By exclusive loads: not
 * every CPU has atomic additions. */
#define COUNT(record, operation)       \
    "    add x20, " record ", #8\n"    \
    "9:  ldxr w21, [x20]\n"            \
    "    " operation " w21, w21, #1\n" \
    "    stxr w22, w21, [x20]\n"       \
    "    cbnz w22, 9b\n"

/* X19 = how much of the goroutine's stack, which may move, is in use */
#define DEPTH                                   \
    "    ldr x19, [x28, #8]\n" /* g.stack.hi */ \
    "    mov x20, sp\n"                         \
    "    sub x19, x19, x20\n"

__asm__(".text\n"
        ".balign 64\n"
        "rdf_go_relay_slow:\n"
        "    ldr w19, [x16, #8]\n"
        "    tst w19, #0x3fffffff\n"
        "    b.eq 5f\n" FIRST_PLACE "1:  ldr x19, [x17]\n"
        "    cmp x19, x28\n"
        "    b.eq 2f\n"
        "    cbz x19, 5f\n"
        "    cmn x19, #1\n"
        "    b.eq 5f\n"
        "    add x17, x17, #32\n"
        "    b 1b\n"
        "2:  ldr x19, [x17, #8]\n"
        "    cmp x19, x16\n"
        "    b.ne 5f\n"
        "    str xzr, [x17, #8]\n" COUNT(
            "x16", "sub") "    ldr x19, [x17, #24]\n"
                          "    cmp x19, x30\n"
                          "    b.ne 5f\n" DEPTH "    ldr x20, [x17, #16]\n"
                          "    cmp x19, x20\n"
                          "    b.eq rdf_go_relay_original\n"
                          "5:  ldr x17, [x16, #56]\n"
                          "    cbz x17, 7f\n"
                          "    ldr x19, [x16, #80]\n"
                          "    ldr x19, [x28, x19]\n"
                          "6:  ldr x20, [x17]\n"
                          "    cbz x20, 7f\n"
                          "    cmp x20, x19\n"
                          "    b.eq 8f\n"
                          "    add x17, x17, #16\n"
                          "    b 6b\n"
                          "7:  ldr x19, [x16, #72]\n"
                          "    cbnz x19, 3f\n"
                          "    ldr x17, [x16]\n" /* what everyone gets */
                          "    add x19, x16, #88\n"
                          "    cmp x17, x19\n"
                          "    b.eq rdf_go_relay_original\n"
                          "1:  mov x26, x17\n"
                          "    ldr x17, [x26]\n"
                          "    br x17\n"
                          "8:  ldr x17, [x17, #8]\n" /* what this goroutine gets */
                          "    ldr x19, [x16, #72]\n"
                          "    cbz x19, 2f\n"
                          "    ldr x19, [x16, #104]\n"
                          "3:  br x19\n"
                          "2:  cbnz x17, 1b\n"
                          "rdf_go_relay_original:\n"
                          "    ldr x17, [x16, #32]\n"
                          "    br x17\n"

                          "rdf_go_relay_own:\n"
                          "    ldr x16, [x26, #8]\n"
                          "    mov x26, x27\n"
                          "    b rdf_go_relay_original\n"

                          ".balign 16\n"
                          "rdf_go_relay_note:\n" FIRST_PLACE "1:  ldr x19, [x17]\n"
                          "    cmp x19, x28\n"
                          "    b.eq 3f\n"
                          "    cbz x19, 2f\n"
                          "    cmn x19, #1\n"
                          "    b.eq 7f\n"
                          "    add x17, x17, #32\n"
                          "    b 1b\n"
                          "2:  ldaxr x19, [x17]\n" /* its first: the place becomes this goroutine's */
                          "    cbnz x19, 6f\n"
                          "    stlxr w20, x28, [x17]\n"
                          "    cbnz w20, 2b\n"
                          "3:  ldr x19, [x17, #8]\n"
                          "    cbz x19, 4f\n" COUNT("x19", "sub") /* a note that nobody came for */
        "4:\n" COUNT("x16", "add") DEPTH "    str x19, [x17, #16]\n"
                                         "    str x30, [x17, #24]\n"
                                         "    str x16, [x17, #8]\n"
                                         "    ldr x17, [x16, #40]\n"
                                         "    br x17\n"
                                         "6:  clrex\n"
                                         "    b 1b\n"
                                         "7:  udf #0\n" /* too many goroutines */

                                         ".balign 16\n"
                                         "rdf_go_call_original:\n"
                                         "    ldr x16, [x26, #16]\n"
                                         "    ldr x26, [x26, #8]\n"
                                         "    br x16\n"

                                         "rdf_go_current:\n"
                                         "    mov x0, x28\n"
                                         "    ret\n");

const struct rdf_go_abi *rdf_go_abi_native(void)
{
    static const struct rdf_go_abi abi = {.registers_max = RDF_GO_AARCH64_ARGUMENT_REGISTERS - 1,
                                          .entry = rdf_go_aarch64_entry,
                                          .wrapper = rdf_go_aarch64_wrapper,
                                          .emit = rdf_go_aarch64_emit,
                                          .emit_call = rdf_go_aarch64_emit_call,
                                          .slow = rdf_go_relay_slow,
                                          .note = rdf_go_relay_note,
                                          .own = rdf_go_relay_own,
                                          .may_move = rdf_go_aarch64_may_move,
                                          .call_original = rdf_go_call_original,
                                          .current = rdf_go_current};
    return &abi;
}
