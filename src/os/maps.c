/* SPDX-License-Identifier: MIT
 *
 * The questions asked of any snapshot of mappings, whatever system it is of.
 */
#include "os/os.h"
#include "base/order.h"

const struct rdf_map *rdf_maps_find(const struct rdf_maps *maps, uint64_t addr)
{
    size_t i = RDF_FIRST_BEHIND(maps->map, maps->count, end, addr);
    return i < maps->count && maps->map[i].start <= addr ? &maps->map[i] : NULL;
}

bool rdf_map_is_same_object(const struct rdf_map *a, const struct rdf_map *b)
{
    return a->dev == b->dev && a->ino == b->ino &&
           (a->ino == 0 || a->start - a->file_off == b->start - b->file_off);
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
