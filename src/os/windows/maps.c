/* SPDX-License-Identifier: MIT
 *
 * What is mapped in this process, region by region as the system tells.
 *
 * There is no device and no inode here: a region of an image or a file has its first address in the place of
 * the inode, which tells two mappings of one file apart, and 0 for the device.
 */
#include "os/windows/room.h"

#include <errno.h>

/* Where the system has given this process nothing and will not. */
static const uint64_t lowest = 0x10000;

enum { PATH_CHARS = 1024 };

static bool query(uint64_t addr, MEMORY_BASIC_INFORMATION *ret)
{
    SIZE_T used;
    return NT_SUCCESS(NtQueryVirtualMemory(RDF_THIS_PROCESS, (const void *)(uintptr_t)addr,
                                           RDF_QUERY_MEMORY_BASIC, ret, sizeof *ret, &used));
}

static struct rdf_map map_of(const MEMORY_BASIC_INFORMATION *region)
{
    uint64_t start = (uint64_t)(uintptr_t)region->BaseAddress;
    uint64_t whole = (uint64_t)(uintptr_t)region->AllocationBase;
    bool has_file = region->Type != MEM_PRIVATE;
    return (struct rdf_map){
        .start = start,
        .end = start + region->RegionSize,
        .file_off = has_file ? start - whole : 0,
        .ino = has_file ? whole : 0,
        .prot = region->State == MEM_COMMIT ? rdf_prot_of(region->Protect) : 0,
        .shared = region->Type == MEM_MAPPED,
        .path = "",
    };
}

/* "\Device\HarddiskVolume2\dir\file.dll", as UTF-8; "" where there is none. */
static const char *path_of(const MEMORY_BASIC_INFORMATION *region, struct rdf_arena *arena)
{
    struct {
        UNICODE_STRING text;
        WCHAR room[PATH_CHARS];
    } name;
    SIZE_T used;
    if (region->Type != MEM_IMAGE ||
        !NT_SUCCESS(NtQueryVirtualMemory(RDF_THIS_PROCESS, region->BaseAddress, RDF_QUERY_MEMORY_FILENAME,
                                         &name, sizeof name, &used)))
        return "";
    char text[PATH_CHARS];
    ULONG len = 0;
    if (!NT_SUCCESS(RtlUnicodeToUTF8N(text, sizeof text - 1, &len, name.text.Buffer, name.text.Length)))
        return "";
    return rdf_arena_copy(arena, text, len);
}

/* Once to count and once to fill: what appears in between is left out. */
static size_t walk(struct rdf_arena *arena, struct rdf_map *map, size_t room)
{
    size_t count = 0;
    MEMORY_BASIC_INFORMATION region;
    const void *whole = NULL;
    const char *path = "";
    for (uint64_t addr = lowest; addr < rdf_os_address_end() && query(addr, &region);) {
        addr = (uint64_t)(uintptr_t)region.BaseAddress + region.RegionSize;
        if (region.State == MEM_FREE)
            continue;
        if (map && count == room)
            break;
        if (map) {
            if (region.AllocationBase != whole)
                path = path_of(&region, arena);
            whole = region.AllocationBase;
            map[count] = map_of(&region);
            map[count].path = path;
        }
        count++;
    }
    return count;
}

int rdf_local_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    (void)space;
    enum { SPARE = 16 }; /* for what the arena itself has mapped meanwhile */
    size_t room = walk(NULL, NULL, 0) + SPARE;
    struct rdf_map *map = rdf_arena_alloc(arena, room * sizeof *map);
    if (!map)
        return -ENOMEM;
    size_t count = walk(arena, map, room);
    for (size_t i = 0; i < count; i++)
        if (!map[i].path)
            return -ENOMEM;
    *ret = (struct rdf_maps){map, count};
    return 0;
}

int rdf_local_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret)
{
    (void)space;
    for (size_t i = 0; i < count; i++) {
        MEMORY_BASIC_INFORMATION region;
        bool is_mapped = query(addr[i], &region) && region.State != MEM_FREE;
        ret[i] = is_mapped ? map_of(&region) : (struct rdf_map){.path = ""};
    }
    return 0;
}

uint64_t rdf_local_end_of_map(struct rdf_space *space, uint64_t addr)
{
    (void)space;
    MEMORY_BASIC_INFORMATION region;
    return query(addr, &region) ? (uint64_t)(uintptr_t)region.BaseAddress + region.RegionSize : addr;
}
