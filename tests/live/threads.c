/* SPDX-License-Identifier: MIT
 *
 * Toggling under load where the other threads are stopped: threads.h.
 */
#include "threads.h"

static void nothing(void)
{
}

int main(void)
{
    return threads_main("L2: ", 4, nothing);
}
