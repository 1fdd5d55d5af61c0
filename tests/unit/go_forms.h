/* SPDX-License-Identifier: MIT
 *
 * What the tests of Go's entries need of each CPU: functions as the compiler makes them, and what may be
 * moved.
 */
#ifndef TEST_UNIT_GO_FORMS_H
#define TEST_UNIT_GO_FORMS_H

#include "go/abi.h"

struct go_form {
    const char *name;
    const uint8_t *code;
    size_t len;
    uint8_t check_bytes, more, points, more_count;
};

struct go_move {
    const char *name;
    uint8_t code[16], len;
    uint8_t probe[8], probe_len;
    bool is_refused;
};

#endif
