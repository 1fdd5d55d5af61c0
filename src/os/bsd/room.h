/* SPDX-License-Identifier: MIT
 *
 * What the files of src/os/bsd know of each other. The room is FreeBSD's; stop.c says what the others lack.
 *
 * System calls go through __syscall(2): mmap, mprotect and their like are the program's to redefine.
 */
#ifndef RDF_OS_BSD_ROOM_H
#define RDF_OS_BSD_ROOM_H

#include <errno.h>
#include <sys/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"

/* The result, or a negative errno value. */
#define rdf_sys(...) rdf_sys_result(__syscall(__VA_ARGS__))
static inline int64_t rdf_sys_result(int64_t result)
{
    return result == -1 ? -errno : result;
}

/* What the kernel tells of this process under kern.proc.WHAT.PID, in pages of the caller's own. 0 or -errno.
 */
struct rdf_listing {
    uint8_t *data;
    size_t len_bytes;
    size_t room_bytes;
};
int rdf_listing_read(int what, struct rdf_listing *ret);
void rdf_listing_free(struct rdf_listing *listing);

/* maps.c */
int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret);

/* memory.c */
int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes);
const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes);

/* stop.c */
bool rdf_local_has_other_threads(struct rdf_space *space);
int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report);

/* trap.c */
int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx);

#endif
