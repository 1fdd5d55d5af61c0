/* SPDX-License-Identifier: MIT
 *
 * What is mapped in this process, region by region as the kernel tells, with two things added:
 *
 *   the file of a region, from proc_pidinfo;
 *   where an image begins, from the loader's list. The libraries of the system lie side by side in a few
 * regions of the shared cache, which belongs to no file of theirs: a region is cut in two there, and what
 * begins with an image has the image's path.
 */
#include "os/darwin/room.h"

#include <errno.h>
#include <libproc.h>
#include <mach-o/dyld_images.h>
#include <unistd.h>

#include "base/text.h"

bool rdf_region_from(uint64_t addr, struct rdf_region *ret)
{
    mach_vm_address_t start = addr;
    mach_vm_size_t len_bytes = 0;
    natural_t depth = 1024; /* into every submap: the shared cache is one */
    mach_msg_type_number_t words = VM_REGION_SUBMAP_INFO_COUNT_64;
    if (mach_vm_region_recurse(mach_task_self(), &start, &len_bytes, &depth,
                               (vm_region_recurse_info_t)&ret->info, &words) != KERN_SUCCESS ||
        len_bytes == 0 || len_bytes > UINT64_MAX - start)
        return false;
    ret->start = start;
    ret->end = start + len_bytes;
    return true;
}

static uint8_t prot_of(vm_prot_t prot)
{
    return (uint8_t)((prot & VM_PROT_READ ? RDF_PROT_READ : 0) | (prot & VM_PROT_WRITE ? RDF_PROT_WRITE : 0) |
                     (prot & VM_PROT_EXECUTE ? RDF_PROT_EXEC : 0));
}

static struct rdf_map map_of(const struct rdf_region *region)
{
    return (struct rdf_map){
        .start = region->start,
        .end = region->end,
        .prot = prot_of(region->info.protection),
        .shared = region->info.share_mode == SM_SHARED || region->info.share_mode == SM_TRUESHARED,
        .path = "",
    };
}

/* ---- images ---- */

struct loaded {
    uint64_t start;
    const char *path; /* the loader's: valid as long as the image is loaded */
};

struct loaded_list {
    struct loaded *image; /* ascending */
    size_t count;
};

static void insert(struct loaded_list *list, uint64_t start, const char *path)
{
    size_t at = list->count++;
    for (; at > 0 && list->image[at - 1].start > start; at--)
        list->image[at] = list->image[at - 1];
    list->image[at] = (struct loaded){start, path ? path : ""};
}

/* The list is null while the loader changes it. */
static int list_images(struct rdf_arena *arena, struct loaded_list *ret)
{
    task_dyld_info_data_t about;
    mach_msg_type_number_t words = TASK_DYLD_INFO_COUNT;
    kern_return_t result = task_info(mach_task_self(), TASK_DYLD_INFO, (task_info_t)&about, &words);
    if (result != KERN_SUCCESS)
        return rdf_errno_of(result);
    const struct dyld_all_image_infos *all = (const struct dyld_all_image_infos *)(uintptr_t)
                                                 about.all_image_info_addr;
    const struct dyld_image_info *info = all ? all->infoArray : NULL;
    if (!info)
        return -EBUSY;
    uint32_t count = all->infoArrayCount;
    *ret = (struct loaded_list){rdf_arena_alloc(arena, (count + 1) * sizeof *ret->image), 0};
    if (!ret->image)
        return -ENOMEM;
    insert(ret, (uint64_t)(uintptr_t)all->dyldImageLoadAddress, all->dyldPath);
    for (uint32_t i = 0; i < count; i++)
        insert(ret, (uint64_t)(uintptr_t)info[i].imageLoadAddress, info[i].imageFilePath);
    return 0;
}

/* ---- the walk ---- */

struct walk {
    struct rdf_arena *arena;
    struct loaded_list images;
    size_t next_image;   /* the first that does not begin before where the walk is */
    struct rdf_map *map; /* null: count only */
    size_t room;
    size_t count;
    const char *last_path;
};

/* Null: no memory. A library has several mappings in a row under one name; keep it once. */
static const char *keep(struct walk *walk, const char *path)
{
    if (!*path || rdf_text_same(path, walk->last_path))
        return *path ? walk->last_path : "";
    const char *copy = rdf_arena_copy(walk->arena, path, rdf_text_len(path));
    walk->last_path = copy ? copy : "";
    return copy;
}

static void ask_for_file(struct walk *walk, struct rdf_map *map)
{
    struct proc_regionwithpathinfo about;
    int got = proc_pidinfo(getpid(), PROC_PIDREGIONPATHINFO, map->start, &about, sizeof about);
    if (got != (int)sizeof about || about.prp_prinfo.pri_address > map->start || !about.prp_vip.vip_path[0])
        return;
    map->file_off = about.prp_prinfo.pri_offset + (map->start - about.prp_prinfo.pri_address);
    map->dev = about.prp_vip.vip_vi.vi_stat.vst_dev;
    map->ino = about.prp_vip.vip_vi.vi_stat.vst_ino;
    about.prp_vip.vip_path[sizeof about.prp_vip.vip_path - 1] = 0;
    map->path = keep(walk, about.prp_vip.vip_path);
}

/* False: there is no room, or no memory. */
static bool add_region(struct walk *walk, const struct rdf_region *region)
{
    const struct loaded_list *images = &walk->images;
    struct rdf_map whole = map_of(region);
    if (walk->map)
        ask_for_file(walk, &whole);
    while (walk->next_image < images->count && images->image[walk->next_image].start < region->start)
        walk->next_image++;
    for (uint64_t at = region->start; at < region->end && whole.path; walk->count++) {
        struct rdf_map piece = whole;
        piece.start = at;
        piece.file_off += whole.ino ? at - whole.start : 0;
        if (walk->next_image < images->count && images->image[walk->next_image].start == at)
            piece.path = walk->map ? keep(walk, images->image[walk->next_image++].path)
                                   : images->image[walk->next_image++].path;
        if (walk->next_image < images->count && images->image[walk->next_image].start < region->end)
            piece.end = images->image[walk->next_image].start;
        if (!piece.path || (walk->map && walk->count == walk->room))
            return false;
        if (walk->map)
            walk->map[walk->count] = piece;
        at = piece.end;
    }
    return whole.path != NULL;
}

static bool add_regions(struct walk *walk)
{
    struct rdf_region region;
    for (uint64_t addr = 0; rdf_region_from(addr, &region); addr = region.end)
        if (!add_region(walk, &region))
            return false;
    return true;
}

/* Once to count and once to fill: what appears in between is left out. */
int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    (void)space;
    enum { SPARE = 64 }; /* for what the arena itself has mapped meanwhile */
    struct walk counting = {.arena = arena, .last_path = ""};
    int err = list_images(arena, &counting.images);
    if (err)
        return err;
    (void)add_regions(&counting);
    struct walk filling = {.arena = arena, .images = counting.images, .last_path = ""};
    filling.room = counting.count + SPARE;
    filling.map = rdf_arena_alloc(arena, filling.room * sizeof *filling.map);
    if (!filling.map || (!add_regions(&filling) && filling.count < filling.room))
        return -ENOMEM;
    *ret = (struct rdf_maps){filling.map, filling.count};
    return 0;
}

int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret)
{
    (void)space;
    for (size_t i = 0; i < count; i++) {
        struct rdf_region region;
        bool is_mapped = rdf_region_from(addr[i], &region) && region.start <= addr[i];
        ret[i] = is_mapped ? map_of(&region) : (struct rdf_map){.path = ""};
    }
    return 0;
}
