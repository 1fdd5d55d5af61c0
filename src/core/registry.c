/* SPDX-License-Identifier: MIT */
#include "core/registry.h"

struct cell {
    uint64_t key; /* 0: free */
    struct rdf_redef *redef;
};

struct rdf_table {
    size_t size; /* a power of two */
    size_t used;
    struct cell cell[];
};

enum { FIRST_SIZE = 64 };

static size_t place_of(const struct rdf_table *table, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (table->size - 1);
}

void rdf_table_insert(struct rdf_table *table, uint64_t key, struct rdf_redef *redef)
{
    size_t i = place_of(table, key);
    while (table->cell[i].key != 0 && table->cell[i].key != key)
        i = (i + 1) & (table->size - 1);
    table->used += table->cell[i].key == 0;
    __atomic_store_n(&table->cell[i].redef, redef, __ATOMIC_RELEASE);
    __atomic_store_n(&table->cell[i].key, key, __ATOMIC_RELEASE);
}

struct rdf_redef *rdf_table_find(const struct rdf_table *table, uint64_t key)
{
    if (!table || key == 0)
        return NULL;
    for (size_t i = place_of(table, key);; i = (i + 1) & (table->size - 1)) {
        uint64_t found = __atomic_load_n(&table->cell[i].key, __ATOMIC_ACQUIRE);
        if (found == 0)
            return NULL;
        if (found == key)
            return __atomic_load_n(&table->cell[i].redef, __ATOMIC_ACQUIRE);
    }
}

struct rdf_table *rdf_table_new(struct rdf_arena *arena, const struct rdf_table *from, size_t count)
{
    size_t size = from ? from->size : FIRST_SIZE;
    while (count * 2 > size)
        size *= 2;
    struct rdf_table *table = rdf_arena_alloc(arena, sizeof *table + size * sizeof table->cell[0]);
    if (!table)
        return NULL;
    table->size = size;
    for (size_t i = 0; from && i < from->size; i++)
        if (from->cell[i].key)
            rdf_table_insert(table, from->cell[i].key, from->cell[i].redef);
    return table;
}

void rdf_registry_init(struct rdf_registry *registry, const struct rdf_page_source *pages)
{
    *registry = (struct rdf_registry){0};
    rdf_arena_init(&registry->arena, pages);
}

struct rdf_redef *rdf_registry_find(const struct rdf_registry *registry, uint64_t addr)
{
    return rdf_table_find(__atomic_load_n(&registry->table, __ATOMIC_ACQUIRE), addr);
}

void rdf_registry_take_mark(const struct rdf_registry *registry, struct rdf_registry_mark *ret)
{
    ret->registry = *registry;
    ret->arena = rdf_arena_take_mark(&registry->arena);
}

void rdf_registry_rollback(struct rdf_registry *registry, const struct rdf_registry_mark *mark)
{
    rdf_arena_rollback(&registry->arena, mark->arena);
    *registry = mark->registry;
}

static bool reserve_list(struct rdf_registry *registry, size_t more)
{
    if (registry->count + more <= registry->capacity)
        return true;
    size_t capacity = registry->capacity ? registry->capacity : FIRST_SIZE;
    while (capacity < registry->count + more)
        capacity *= 2;
    struct rdf_redef **list = rdf_arena_alloc(&registry->arena, capacity * sizeof *list);
    if (!list)
        return false;
    for (size_t i = 0; i < registry->count; i++)
        list[i] = registry->redef[i];
    registry->redef = list;
    registry->capacity = capacity;
    return true;
}

static bool reserve_layers(struct rdf_registry *registry, size_t count)
{
    for (struct rdf_layer *layer = registry->spare_layers; layer && count > 0; layer = layer->below)
        count--;
    if (count == 0)
        return true;
    struct rdf_layer *more = rdf_arena_alloc(&registry->arena, count * sizeof *more);
    for (size_t i = 0; more && i < count; i++)
        rdf_registry_give_layer(registry, &more[i]);
    return more != NULL;
}

bool rdf_registry_reserve(struct rdf_registry *registry, size_t keys, size_t redefs, size_t layers)
{
    const struct rdf_table *table = registry->table;
    size_t used = table ? table->used : 0;
    if (!table || (used + keys) * 2 > table->size) {
        registry->pending = rdf_table_new(&registry->arena, table, used + keys);
        if (!registry->pending)
            return false;
    }
    return reserve_list(registry, redefs) && reserve_layers(registry, layers);
}

static struct rdf_table *newest_table(struct rdf_registry *registry)
{
    return registry->pending ? registry->pending : registry->table;
}

void rdf_registry_add(struct rdf_registry *registry, struct rdf_redef *redef)
{
    uint64_t entry = redef->window.function.start;
    struct rdf_redef *former = rdf_table_find(newest_table(registry), entry);
    rdf_table_insert(newest_table(registry), entry, redef);
    /* The same entry again: other code is mapped there now, and the newer record is the true one. */
    if (former && former->window.function.start != entry)
        former = NULL; /* it was known by this address: an alias once, and a function of its own now */
    for (size_t i = 0; former && i < registry->count; i++)
        if (registry->redef[i] == former) {
            registry->redef[i] = redef;
            return;
        }
    registry->redef[registry->count++] = redef;
}

void rdf_registry_add_alias(struct rdf_registry *registry, uint64_t addr, struct rdf_redef *redef)
{
    rdf_table_insert(newest_table(registry), addr, redef);
}

struct rdf_layer *rdf_registry_take_layer(struct rdf_registry *registry)
{
    struct rdf_layer *layer = registry->spare_layers;
    registry->spare_layers = layer->below;
    *layer = (struct rdf_layer){0};
    return layer;
}

void rdf_registry_give_layer(struct rdf_registry *registry, struct rdf_layer *layer)
{
    layer->below = registry->spare_layers;
    registry->spare_layers = layer;
}

void rdf_registry_publish(struct rdf_registry *registry)
{
    if (registry->pending)
        __atomic_store_n(&registry->table, registry->pending, __ATOMIC_RELEASE);
    registry->pending = NULL;
}
