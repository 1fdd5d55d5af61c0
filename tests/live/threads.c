/* SPDX-License-Identifier: MIT
 *
 * Toggling under load where the other threads are stopped: threads.h.
 */
#include "threads.h"

int main(void)
{
    return threads_main("L2: ", 4, live_needs_stopped_threads);
}
