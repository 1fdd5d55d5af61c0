/* SPDX-License-Identifier: MIT
 *
 * Toggling under load where ptrace is denied, so that no thread can be stopped: threads.h.
 */
#include "deny.h"
#include "threads.h"

static void deny_ptrace(void)
{
    static const struct live_rule rules[] = {DENY(ptrace, EPERM)};
    live_deny(rules, LIVE_COUNT(rules));
}

int main(void)
{
    return threads_main("L3: ", 2, deny_ptrace);
}
