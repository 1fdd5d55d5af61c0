/* SPDX-License-Identifier: MIT
 *
 * For who waits in a POSIX system and may call the C library.
 */
#ifndef RDF_OS_CLOCK_H
#define RDF_OS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Of a clock that nobody sets. */
static inline uint64_t rdf_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
