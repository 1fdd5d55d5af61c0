/* SPDX-License-Identifier: MIT */
#include "../go_forms.h"

#define WORD(word) (word) & 0xff, (word) >> 8 & 0xff, (word) >> 16 & 0xff, (word) >> 24

#define LDR_GUARD   WORD(0xf9400b90) /* ldr x16, [x28, #16] */
#define CMP_SP      WORD(0xeb3063ff) /* cmp sp, x16 */
#define CMP_LIMIT   WORD(0xeb10023f) /* cmp x17, x16 */
#define BODY        WORD(0xd2800000), WORD(0xd65f03c0)
#define B_LS(words) WORD(0x54000009 | (words) << 5)
#define B_LO(words) WORD(0x54000003 | (words) << 5)
/* mov x3, x30; bl more; b back: what is behind a function for when there is too little stack. */
#define MORE(words) WORD(0xaa1e03e3), WORD(0x94000040), WORD(0x18000000 - (words))

static const uint8_t small[] = {LDR_GUARD, CMP_SP, B_LS(3), BODY, MORE(7)};
static const uint8_t large[] = {LDR_GUARD, WORD(0xd12d83f1), CMP_LIMIT, B_LS(3), BODY, MORE(8)};
static const uint8_t large_two[] = {LDR_GUARD, WORD(0xd14007f1), WORD(0xd10c8231), CMP_LIMIT, B_LS(3),
                                    BODY,      MORE(9)};
static const uint8_t huge[] = {LDR_GUARD, WORD(0xd290c81b), WORD(0xf2a0003b), WORD(0xeb3b63f1),
                               B_LO(5),   CMP_LIMIT,        B_LS(3),          BODY,
                               MORE(11)};

enum { SMALL_BACK_AT = sizeof small - 4 }; /* where the jump behind the call leads */

/* The jump is one instruction: nobody is inside of it. */
static const struct go_form forms[] = {
    {"small", small, sizeof small, 12, 20, 0, 1},
    {"large", large, sizeof large, 16, 24, 0, 1},
    {"large, in two steps", large_two, sizeof large_two, 20, 28, 0, 1},
    {"huge", huge, sizeof huge, 28, 36, 0, 2},
};

/* mov x0, #0; ret. add x0, x0, #1; b to the entry. */
static const uint8_t leaf[] = {BODY};
static const uint8_t loop[] = {WORD(0x91000400), WORD(0x17ffffff)};

/* ldr x16, slot: a record, for the note */
static inline bool is_note(const uint8_t *code)
{
    return code[3] == 0x58 && (code[0] & 0x1f) == 16;
}

static const struct go_move moves[] = {
    {"ldr x1, [x0]", {WORD(0xf9400001)}, 4, {0}, 0, false},
    {"str x30, [sp, #-32]!", {WORD(0xf81e0ffe)}, 4, {0}, 0, false},
    {"str x30, [sp, #-32]!; ldr x1, [x0]", {WORD(0xf81e0ffe), WORD(0xf9400001)}, 8, {0}, 0, true},
    {"sub sp, sp, #32; ldr x1, [x0]", {WORD(0xd10083ff), WORD(0xf9400001)}, 8, {0}, 0, true},
    {"stp x29, x30, [sp, #-16]!; ldr x1, [x0]", {WORD(0xa9bf7bfd), WORD(0xf9400001)}, 8, {0}, 0, true},
    {"ldr x1, [x0]; ldr x2, [x0, #8]", {WORD(0xf9400001), WORD(0xf9400402)}, 8, {0}, 0, false},
    {"svc", {WORD(0xd4000001)}, 4, {0}, 0, true},
    {"cbz x0, itself", {WORD(0xb4000000)}, 4, {0}, 0, true},
};
