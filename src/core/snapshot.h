/* SPDX-License-Identifier: MIT
 *
 * The objects and mappings of a space, kept from one commit to the next. Reading them anew is most of what a
 * small commit costs; asking the system about the few mappings that it concerns is cheap where the system can
 * tell (maps_at). Where it cannot, or where anything differs, they are read anew.
 */
#ifndef RDF_CORE_SNAPSHOT_H
#define RDF_CORE_SNAPSHOT_H

#include "image/image.h"

struct rdf_snapshot {
    struct rdf_arena arena;
    struct rdf_images images;
    bool is_loaded;
    size_t uses;
};

/* Make `snapshot` current for `count` addresses: kept when their mappings are what it says, else loaded anew.
 */
redefine_status rdf_snapshot_refresh(struct rdf_snapshot *snapshot, struct rdf_space *space,
                                     const struct rdf_arch *arch, const struct rdf_page_source *pages,
                                     const uint64_t *addr, size_t count, struct rdf_error *err);

/* Whether it is still right about `count` addresses. */
bool rdf_snapshot_is_current(const struct rdf_snapshot *snapshot, const uint64_t *addr, size_t count);

/* Whether it is known to be wrong about one of them: another object is there, or none. */
bool rdf_snapshot_is_outdated(const struct rdf_snapshot *snapshot, const uint64_t *addr, size_t count);

void rdf_snapshot_drop(struct rdf_snapshot *snapshot);

/* Room for one snapshot that is part of the library's own data: keeping it adds no mapping to the process, so
 * that a commit that fails leaves the mappings as they were. A snapshot that outgrows it is not kept. */
extern const struct rdf_page_source rdf_snapshot_pages;

/* As if there had never been one: a fork has copied it at whatever moment, while another thread was using it.
 */
void rdf_snapshot_forget(struct rdf_snapshot *snapshot);

/* After a commit: close files, and drop it when it cannot be kept. */
void rdf_snapshot_settle(struct rdf_snapshot *snapshot);

#endif
