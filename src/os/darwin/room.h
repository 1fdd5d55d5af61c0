/* SPDX-License-Identifier: MIT
 *
 * What the files of src/os/darwin know of each other, and of the system: Mach's calls, and few of BSD's.
 * There is no floor below them that stays the same from release to release, so they are called as functions
 * of libSystem: a program that redefines mach_vm_protect or thread_suspend themselves is not served here.
 *
 * Source: XNU (osfmk/mach/mach_vm.defs, thread_act.defs, vm_prot.h; bsd/sys/codesign.h, proc_info.h).
 */
#ifndef RDF_OS_DARWIN_ROOM_H
#define RDF_OS_DARWIN_ROOM_H

#include <mach/mach.h>
#include <sys/ucontext.h>

#include "os/os.h"

/* ---- <mach/mach_vm.h>, which not every set of headers has ---- */

kern_return_t mach_vm_allocate(vm_map_t task, mach_vm_address_t *addr, mach_vm_size_t len_bytes, int flags);
kern_return_t mach_vm_deallocate(vm_map_t task, mach_vm_address_t addr, mach_vm_size_t len_bytes);
kern_return_t mach_vm_protect(vm_map_t task, mach_vm_address_t addr, mach_vm_size_t len_bytes,
                              boolean_t set_max, vm_prot_t prot);
kern_return_t mach_vm_read_overwrite(vm_map_t task, mach_vm_address_t addr, mach_vm_size_t len_bytes,
                                     mach_vm_address_t to, mach_vm_size_t *ret_len_bytes);
kern_return_t mach_vm_remap(vm_map_t task, mach_vm_address_t *addr, mach_vm_size_t len_bytes,
                            mach_vm_offset_t mask, int flags, vm_map_t from_task, mach_vm_address_t from,
                            boolean_t copy, vm_prot_t *ret_prot, vm_prot_t *ret_max_prot,
                            vm_inherit_t inherit);
kern_return_t mach_vm_region_recurse(vm_map_t task, mach_vm_address_t *addr, mach_vm_size_t *len_bytes,
                                     natural_t *depth, vm_region_recurse_info_t info,
                                     mach_msg_type_number_t *info_count);

/* ---- what a thread's state is called on each CPU ---- */

#if defined(__aarch64__)
typedef _STRUCT_ARM_THREAD_STATE64 rdf_state;
enum { RDF_STATE = ARM_THREAD_STATE64, RDF_SYSCALL_BYTES = 4, RDF_TRAP_LEAVES_BEHIND = 0 };
#define RDF_STATE_WORDS ARM_THREAD_STATE64_COUNT
#define RDF_STATE_PC    __pc
#define RDF_STATE_SP    __sp
static const uint32_t rdf_syscall_bytes = 0xd4001001; /* svc #0x80 */
#else
typedef _STRUCT_X86_THREAD_STATE64 rdf_state;
enum { RDF_STATE = x86_THREAD_STATE64, RDF_SYSCALL_BYTES = 2, RDF_TRAP_LEAVES_BEHIND = 1 };
#define RDF_STATE_WORDS x86_THREAD_STATE64_COUNT
#define RDF_STATE_PC    __rip
#define RDF_STATE_SP    __rsp
static const uint32_t rdf_syscall_bytes = 0x050f; /* syscall */
#endif

/* ---- space.c ---- */

/* The negative errno value that says the same. */
int rdf_errno_of(kern_return_t result);

/* ---- thread.c ---- */

/* The calling thread's number, which no other thread of any process has had since the system was started. */
uint64_t rdf_thread_number(thread_t thread);
uint64_t rdf_own_thread_number(void);

/* Every thread of this process, the calling one too; give it back with rdf_threads_free. */
struct rdf_threads {
    thread_act_array_t thread;
    mach_msg_type_number_t count;
};
kern_return_t rdf_threads_list(struct rdf_threads *ret);
void rdf_threads_free(struct rdf_threads *threads);

/* ---- maps.c ---- */

/* The region that holds `addr`, else the next one behind it; false: none. */
struct rdf_region {
    uint64_t start;
    uint64_t end;
    vm_region_submap_info_data_64_t info;
};
bool rdf_region_from(uint64_t addr, struct rdf_region *ret);

int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret);
int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret);

/* ---- memory.c ---- */

int rdf_local_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes);
const void *rdf_local_view(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_map(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_unmap(struct rdf_space *space, uint64_t addr, size_t len_bytes);
int rdf_local_protect(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
int rdf_local_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len_bytes);

/* ---- stop.c ---- */

bool rdf_local_has_other_threads(struct rdf_space *space);
int rdf_local_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report);

/* ---- trap.c ---- */

int rdf_local_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx);

#endif
