/* SPDX-License-Identifier: MIT
 *
 * What the files of src/os/linux know of each other.
 */
#ifndef RDF_OS_LINUX_ROOM_H
#define RDF_OS_LINUX_ROOM_H

#include "os/os.h"

/* Numbers and paths without stdio. `to` has room for RDF_NUMBER_BYTES; returns the length written. */
enum { RDF_NUMBER_BYTES = 21, RDF_PATH_BYTES = 96, RDF_STATUS_BYTES = 4096 };
size_t rdf_decimal(char *to, uint64_t value);

/* "/proc/" pid "/task/" tid "/" name, into RDF_PATH_BYTES bytes. */
void rdf_task_path(char *to, int pid, int tid, const char *name);

/* maps.c */
int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret);
int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret);

/* memory.c */
int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes);
const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes);

void rdf_local_own_pages(struct rdf_space *space, uint64_t addr, size_t len_bytes);

/* Ask the kernel once to allow membarrier SYNC_CORE in this process: with threads running it waits
 * for them all to pass the scheduler, so it is asked before they are stopped. */
void rdf_local_write_prepare(void);

/* guard.c: the bits of mprotect's that a mapping has beside read, write and execute, and keeps only if named.
 */
unsigned rdf_local_guard(uint64_t addr);

/* stop.c */
int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report);

/* trap.c */
int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx);

/* task.c: files of /proc/PID/task/TID. The text ends with a NUL; its length or -errno. While the file is
 * open, *fd is its descriptor, else -1: for who closes it when this task is killed; null: nobody. */
long rdf_task_read(int *fd, int pid, int tid, const char *name, char *ret, size_t room);
/* What follows `key` at the start of a line, read in `base`; false when there is no such line. */
bool rdf_task_number(const char *text, const char *key, unsigned base, uint64_t *ret);
/* What `stat` says of a thread: the letter of its state, 0 when it has ended, '?' when that cannot be read.
 */
struct rdf_task {
    int tid;
    char state;
    uint64_t flags;
    uint64_t ran_ticks; /* on a CPU, of some hundredth of a second each */
};
void rdf_task_look(int *fd, int pid, int tid, struct rdf_task *ret);
/* Whether it is a thread of the kernel's that is listed with ours (io_uring, vhost): it never runs the
 * program's code, is deaf to signals, and interrupting it would end its request with EINTR. */
bool rdf_task_is_worker(int *fd, int pid, int tid);
void rdf_local_describe_thread(struct rdf_space *space, int tid, char *ret_text, size_t room);

/* ask.c */
int rdf_local_check_traps(struct rdf_space *space, uint64_t deadline_ms, struct rdf_stop_report *ret_report);
int rdf_local_ask_threads(struct rdf_space *space, uint64_t deadline_ms, rdf_look *look, void *ctx,
                          struct rdf_stop_report *ret_report);

/* memory.c */
int rdf_local_sync_cores(struct rdf_space *space);

/* Only inside the body of with_world_stopped. A descriptor of the process' memory, opened by the
 * tracer through a thread that it has attached, or -errno; it belongs to the stop. */
int rdf_stop_mem_fd(struct rdf_world *world);

/* A thread that is stopped and traced by the running task. */
int rdf_stop_poke_tid(struct rdf_world *world);

#endif
