/* SPDX-License-Identifier: MIT
 *
 * The two questions asked of any snapshot of mappings, whatever system it is of.
 */
#include "os/os.h"

const struct rdf_map *rdf_maps_find(const struct rdf_maps *maps, uint64_t addr)
{
    size_t low = 0;
    size_t high = maps->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (maps->map[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low < maps->count && maps->map[low].start <= addr ? &maps->map[low] : NULL;
}

bool rdf_maps_allow(const struct rdf_maps *maps, uint64_t addr, uint64_t len_bytes, uint8_t prot)
{
    if (len_bytes > UINT64_MAX - addr)
        return false;
    uint64_t end = addr + len_bytes;
    const struct rdf_map *map = rdf_maps_find(maps, addr);
    const struct rdf_map *last = maps->map + maps->count;
    while (map && map < last && map->start <= addr && (map->prot & prot) == prot) {
        if (end <= map->end)
            return true;
        addr = map->end;
        map++;
    }
    return false;
}
