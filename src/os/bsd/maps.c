/* SPDX-License-Identifier: MIT
 *
 * What is mapped in this process, as sysctl kern.proc.vmmap tells: records of different lengths, one after
 * the other, each with its own length first.
 */
#include "os/bsd/room.h"

#include <stddef.h>
#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/user.h>

#include "base/bytes.h"
#include "base/text.h"

void rdf_listing_free(struct rdf_listing *listing)
{
    rdf_os_pages.put(rdf_os_pages.ctx, listing->data, listing->room_bytes);
    *listing = (struct rdf_listing){0};
}

/* What does not fit is asked for again: the room that the kernel names first can be too little by the time.
 */
int rdf_listing_read(int what, struct rdf_listing *ret)
{
    enum { FIRST_BYTES = 256 * 1024, LARGEST_BYTES = 256 * 1024 * 1024 };
    int name[] = {CTL_KERN, KERN_PROC, what, (int)rdf_sys(SYS_getpid)};
    int64_t status = -ENOMEM;
    for (size_t room = FIRST_BYTES; status == -ENOMEM && room <= LARGEST_BYTES; room *= 4) {
        struct rdf_listing listing = {rdf_os_pages.get(rdf_os_pages.ctx, room), room, room};
        if (!listing.data)
            return -ENOMEM;
        status = rdf_sys(SYS___sysctl, name, sizeof name / sizeof name[0], listing.data, &listing.len_bytes,
                         NULL, (size_t)0);
        if (status == 0)
            *ret = listing;
        else
            rdf_listing_free(&listing);
    }
    return (int)status;
}

static uint8_t prot_of(int prot)
{
    return (uint8_t)((prot & KVME_PROT_READ ? RDF_PROT_READ : 0) |
                     (prot & KVME_PROT_WRITE ? RDF_PROT_WRITE : 0) |
                     (prot & KVME_PROT_EXEC ? RDF_PROT_EXEC : 0));
}

/* The record at *off, which then leads behind it; false: no further one. What the kernel cuts off at its end,
 * the rest of the room for a path, is zero here. */
static bool next_record(const struct rdf_listing *listing, size_t *off, struct kinfo_vmentry *ret)
{
    enum { LEAST_BYTES = offsetof(struct kinfo_vmentry, kve_path) };
    size_t left = listing->len_bytes - *off;
    *ret = (struct kinfo_vmentry){0};
    if (left < LEAST_BYTES)
        return false;
    rdf_bytes_copy(ret, listing->data + *off, LEAST_BYTES);
    if (ret->kve_structsize < LEAST_BYTES || (size_t)ret->kve_structsize > left ||
        (size_t)ret->kve_structsize > sizeof *ret)
        return false;
    rdf_bytes_copy(ret, listing->data + *off, (size_t)ret->kve_structsize);
    ret->kve_path[sizeof ret->kve_path - 1] = 0;
    *off += (size_t)ret->kve_structsize;
    return true;
}

/* A file that is mapped privately is needs-copy, or a copy already; what is neither may be shared. */
static struct rdf_map map_of(const struct kinfo_vmentry *record)
{
    bool has_file = record->kve_type == KVME_TYPE_VNODE;
    bool is_private = record->kve_flags & (KVME_FLAG_COW | KVME_FLAG_NEEDS_COPY);
    return (struct rdf_map){
        .start = record->kve_start,
        .end = record->kve_end,
        .file_off = has_file ? record->kve_offset : 0,
        .dev = has_file ? record->kve_vn_fsid : 0,
        .ino = has_file ? record->kve_vn_fileid : 0,
        .prot = prot_of(record->kve_protection),
        .shared = has_file && !is_private && (record->kve_protection & KVME_PROT_WRITE),
        .path = "",
    };
}

/* A library has several mappings in a row under one name; keep it once. Null: no memory. */
static const char *keep_path(const char *path, const char *last_path, struct rdf_arena *arena)
{
    if (!*path)
        return "";
    return rdf_text_same(path, last_path) ? last_path : rdf_arena_copy(arena, path, rdf_text_len(path));
}

static int parse(const struct rdf_listing *listing, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct kinfo_vmentry record;
    size_t room = 0, count = 0;
    for (size_t off = 0; next_record(listing, &off, &record);)
        room++;
    struct rdf_map *map = rdf_arena_alloc(arena, (room + 1) * sizeof *map);
    if (!map)
        return -ENOMEM;
    const char *last_path = "";
    for (size_t off = 0; count < room && next_record(listing, &off, &record);) {
        /* The listing's own pages are gone when the snapshot is used. */
        if (record.kve_start == (uint64_t)(uintptr_t)listing->data)
            continue;
        map[count] = map_of(&record);
        map[count].path = keep_path(record.kve_path, last_path, arena);
        if (!map[count].path)
            return -ENOMEM;
        last_path = *map[count].path ? map[count].path : last_path;
        count++;
    }
    *ret = (struct rdf_maps){map, count};
    return 0;
}

int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    (void)space;
    struct rdf_listing listing;
    int err = rdf_listing_read(KERN_PROC_VMMAP, &listing);
    if (err)
        return err;
    err = parse(&listing, arena, ret);
    rdf_listing_free(&listing);
    return err;
}
