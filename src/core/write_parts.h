/* SPDX-License-Identifier: MIT
 *
 * What the files that change live code know of each other. All of it may run while threads hold any lock, in
 * another task, or in a signal handler: no libc, no allocation.
 */
#ifndef RDF_CORE_WRITE_PARTS_H
#define RDF_CORE_WRITE_PARTS_H

#include "core/write.h"

enum { RDF_DEADLINE_MS = 2000 };

/* places.c */
/* Where the thread must go on before the bytes can change: its PC when it may stay, 0 when it must go on a
 * little first. With `is_closed` a trap at each entry has kept everybody out. */
uint64_t rdf_place_of(const struct rdf_write *write, const struct rdf_thread *thread, bool is_closed);
/* Whether a value, found at `addr`, that will be executed later, were it a return address or the PC of an
 * interrupted context, … */
typedef bool rdf_is_place(const void *ctx, uint64_t addr, uint64_t value);
/* … is inside bytes that will be overwritten, other than the first: `ctx` is a struct rdf_write. */
bool rdf_place_is_inside(const void *ctx, uint64_t addr, uint64_t value);
/* Whether a word of the stack from `sp` on is such a place. */
bool rdf_place_on_stack(const struct rdf_write *write, uint64_t sp, rdf_is_place *is_place, const void *ctx);

/* store.c */
bool rdf_store_is(const struct rdf_write *write, uint64_t addr, const uint8_t *bytes, size_t len_bytes);
/* The first item that lies in another mapping than when the change was planned, or in none; write->count:
 * none. While the world stands still what is there then can be read in place. */
size_t rdf_store_find_gone(const struct rdf_write *write);
bool rdf_store_is_gone(const struct rdf_write *write, const struct rdf_write_item *item);
/* The first item whose old bytes are not there; write->count: none. */
size_t rdf_store_find_changed(const struct rdf_write *write);
/* Put together what can be written a page at a time, as far as that is worth it and there is memory: with it
 * the world need not stand still for the single edits. */
void rdf_store_make_pieces(struct rdf_write *write, struct rdf_arena *arena);
/* Ask for what their pages need before they are written, while nobody waits for it. */
void rdf_store_own_pieces(const struct rdf_write *write);
/* Whether all that the pieces are made of is there still; false also when there are none. */
bool rdf_store_pieces_are_current(const struct rdf_write *write);
/* Store item->now of each that is due. False: write->failed_item and err are set. */
bool rdf_store_due(struct rdf_write *write, struct rdf_world *world);
/* Every item's new bytes, in an order that may be broken off between any two stores. False: as above. */
bool rdf_store_all(struct rdf_write *write, struct rdf_world *world, bool by_pieces);
/* The pages of an item: writable; and with their recorded protection again. 0 or -errno. */
int rdf_store_open(const struct rdf_write *write, struct rdf_write_item *item);
int rdf_store_close(const struct rdf_write *write, struct rdf_write_item *item);
/* Old bytes and protections, in reverse; sets write->undone. */
void rdf_store_undo(struct rdf_write *write, struct rdf_world *world);

/* write.c */
redefine_status rdf_write_explain_changed(const struct rdf_write *write, struct rdf_error *err);
redefine_status rdf_write_explain_gone(const struct rdf_write *write, struct rdf_error *err);

/* unstopped.c */
/* Make every edit while the other threads run; `stop_step` and `stop_err` say why they could not be stopped.
 * The space must have what that takes: sync_cores, check_traps, ask_threads, catch_traps. */
redefine_status rdf_write_unstopped(struct rdf_write *write, const char *stop_step, int stop_err,
                                    struct rdf_error *err);

/* Whether a trap that is to stay would end the process, since somebody holds SIGTRAP back: refused then. */
redefine_status rdf_write_check_traps(struct rdf_write *write, struct rdf_error *err);

#endif
