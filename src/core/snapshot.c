/* SPDX-License-Identifier: MIT */
#include "core/snapshot.h"

enum {
    ADDRESSES_MAX = 16, /* more cost more than they save */
    ROOM_BYTES = 768 * 1024,
};

/* ---- where a kept snapshot lies ---- */

static _Alignas(4096) unsigned char room[ROOM_BYTES];
static size_t room_used;
static size_t outside; /* bytes that had to come from the system */

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    if (len_bytes <= ROOM_BYTES - room_used) {
        room_used += len_bytes;
        return room + room_used - len_bytes;
    }
    void *pages = rdf_os_pages.get(rdf_os_pages.ctx, len_bytes);
    outside += pages ? len_bytes : 0;
    return pages;
}

/* Newest first, as arenas give them back. */
static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    unsigned char *bytes = pages;
    if (bytes < room || bytes >= room + ROOM_BYTES) {
        rdf_os_pages.put(rdf_os_pages.ctx, pages, len_bytes);
        outside -= len_bytes;
        return;
    }
    room_used -= len_bytes;
}

const struct rdf_page_source rdf_snapshot_pages = {.get = get_pages, .put = put_pages, .takes_zeroed = true};

/* ---- the snapshot ---- */

/* Whether a kept snapshot may serve the next change: what is planned rests on each bound and protection in
 * it. Both may be null: nothing was there, and nothing is. */
static bool is_unchanged(const struct rdf_map *kept, const struct rdf_map *now)
{
    if (!kept || !now)
        return !kept && !now;
    return kept->start == now->start && kept->end == now->end && kept->prot == now->prot &&
           kept->shared == now->shared && rdf_map_is_same_object(kept, now);
}

bool rdf_snapshot_is_current(const struct rdf_snapshot *snapshot, const uint64_t *addr, size_t count)
{
    struct rdf_map now[ADDRESSES_MAX];
    struct rdf_space *space = snapshot->images.space;
    if (!snapshot->is_loaded || count > ADDRESSES_MAX || !space->ops->maps_at ||
        space->ops->maps_at(space, addr, count, now) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!is_unchanged(rdf_maps_find(&snapshot->images.maps, addr[i]), now[i].end ? &now[i] : NULL))
            return false;
    return true;
}

/* All that is asked after a refusal: neighbours may have become one mapping, or one several, as protections
 * were changed. */
static bool is_same_code(const struct rdf_map *kept, const struct rdf_map *now)
{
    return kept && now->end && rdf_map_is_same_object(kept, now) &&
           !((kept->prot ^ now->prot) & RDF_PROT_EXEC);
}

bool rdf_snapshot_is_outdated(const struct rdf_snapshot *snapshot, const uint64_t *addr, size_t count)
{
    struct rdf_map now;
    struct rdf_space *space = snapshot->images.space;
    for (size_t i = 0; snapshot->is_loaded && space->ops->maps_at && i < count; i++) {
        const struct rdf_map *kept = rdf_maps_find(&snapshot->images.maps, addr[i]);
        if (space->ops->maps_at(space, &addr[i], 1, &now) < 0)
            return false;
        bool is_of_file = (kept && kept->ino) || (now.end && now.ino);
        if (is_of_file && !is_same_code(kept, &now))
            return true;
    }
    return false;
}

redefine_status rdf_snapshot_refresh(struct rdf_snapshot *snapshot, struct rdf_space *space,
                                     const struct rdf_arch *arch, const struct rdf_page_source *pages,
                                     const uint64_t *addr, size_t count, struct rdf_error *err)
{
    if (rdf_snapshot_is_current(snapshot, addr, count)) {
        snapshot->uses++;
        return REDEFINE_OK;
    }
    rdf_snapshot_drop(snapshot);
    rdf_arena_init(&snapshot->arena, pages);
    redefine_status status = rdf_images_load(space, arch, &snapshot->arena, &snapshot->images, err);
    snapshot->is_loaded = status == REDEFINE_OK;
    /* Copies come and go with each commit; what the room gives is given back newest first. */
    if (snapshot->is_loaded && pages == &rdf_snapshot_pages)
        rdf_arena_init(&snapshot->images.copies, &rdf_os_pages);
    if (!snapshot->is_loaded)
        rdf_arena_free(&snapshot->arena); /* images is what it was: nothing */
    return status;
}

void rdf_snapshot_drop(struct rdf_snapshot *snapshot)
{
    if (!snapshot->is_loaded)
        return;
    rdf_images_free(&snapshot->images);
    rdf_arena_free(&snapshot->arena);
    *snapshot = (struct rdf_snapshot){0};
}

/* Not by giving back: a file may have been unmapped, and not yet be noted as closed. */
void rdf_snapshot_forget(struct rdf_snapshot *snapshot)
{
    if (snapshot->arena.source == &rdf_snapshot_pages) {
        for (size_t i = 0; i < room_used; i++)
            room[i] = 0;
        room_used = outside = 0;
    }
    rdf_arena_free(&snapshot->images.copies);
    *snapshot = (struct rdf_snapshot){0};
}

void rdf_snapshot_settle(struct rdf_snapshot *snapshot)
{
    if (!snapshot->is_loaded)
        return;
    bool is_kept = snapshot->images.space->ops->maps_at && snapshot->arena.source == &rdf_snapshot_pages &&
                   !outside;
    if (is_kept)
        rdf_images_close_files(&snapshot->images);
    else
        rdf_snapshot_drop(snapshot);
}
