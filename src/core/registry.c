/* SPDX-License-Identifier: MIT */
#include "core/registry.h"

/* What a cell holds is the address of something that begins with the address it is found by: a record, or
 * with the lowest bit set an alias. So a cell is one word, and changes by one store. */
struct rdf_table {
    size_t size; /* a power of two */
    size_t used;
    unsigned shift;   /* 64 less the logarithm of size */
    uint64_t *known;  /* which addresses may be in it; known_word says where */
    uintptr_t cell[]; /* 0: free */
};

enum {
    FIRST_LOG = 6,
    FULL_OF_FIVE = 4, /* fifths that may be used */
    KNOWN_LOG = 3,    /* so many times fewer words of addresses than cells, as a power of two */
    KNOWN_BITS = 64,
    ALIAS_BIT = 1,
};

static uint64_t address_of(uintptr_t cell)
{
    return *(const uint64_t *)(cell & ~(uintptr_t)ALIAS_BIT);
}

static size_t place_of(const struct rdf_table *table, uint64_t addr)
{
    /* The upper bits, in which multiplying by the golden ratio spreads addresses that follow each other. */
    return (size_t)((addr * UINT64_C(0x9e3779b97f4a7c15)) >> table->shift);
}

/* A bit for each of 64 addresses that follow each other. Others share the word, so a bit that is not set
 * tells that an address is not in the table, and one that is set that it has to be looked for. */
static uint64_t *known_word(const struct rdf_table *table, uint64_t addr)
{
    return &table->known[(addr / KNOWN_BITS * UINT64_C(0x9e3779b97f4a7c15)) >> (table->shift + KNOWN_LOG)];
}

/* The bits of `addr` and of those behind it in the same 64. */
static uint64_t known_from(const struct rdf_table *table, uint64_t addr)
{
    return __atomic_load_n(known_word(table, addr), __ATOMIC_ACQUIRE) >> addr % KNOWN_BITS;
}

static bool insert(struct rdf_table *table, uintptr_t cell)
{
    uint64_t *known = known_word(table, address_of(cell));
    __atomic_store_n(known, *known | UINT64_C(1) << address_of(cell) % KNOWN_BITS, __ATOMIC_RELEASE);
    size_t i = place_of(table, address_of(cell));
    while (table->cell[i] && address_of(table->cell[i]) != address_of(cell))
        i = (i + 1) & (table->size - 1);
    bool was_record = table->cell[i] && !(table->cell[i] & ALIAS_BIT);
    table->used += table->cell[i] == 0;
    __atomic_store_n(&table->cell[i], cell, __ATOMIC_RELEASE);
    return was_record;
}

void rdf_table_expect(const struct rdf_table *table, uint64_t addr)
{
    __builtin_prefetch(&table->cell[place_of(table, addr)], 1);
    __builtin_prefetch(known_word(table, addr), 1);
}

bool rdf_table_insert(struct rdf_table *table, void *record)
{
    return insert(table, (uintptr_t)record);
}

bool rdf_table_insert_alias(struct rdf_table *table, struct rdf_alias *alias)
{
    return insert(table, (uintptr_t)alias | ALIAS_BIT);
}

void *rdf_table_find(const struct rdf_table *table, uint64_t addr)
{
    if (!table || !(known_from(table, addr) & 1))
        return NULL;
    for (size_t i = place_of(table, addr);; i = (i + 1) & (table->size - 1)) {
        uintptr_t cell = __atomic_load_n(&table->cell[i], __ATOMIC_ACQUIRE);
        if (cell == 0)
            return NULL;
        if (address_of(cell) != addr)
            continue;
        return cell & ALIAS_BIT ? ((const struct rdf_alias *)(cell - ALIAS_BIT))->record : (void *)cell;
    }
}

void *rdf_table_find_within(const struct rdf_table *table, uint64_t *at, uint64_t end)
{
    while (table && *at < end) {
        uint64_t left = known_from(table, *at);
        if (!left) {
            *at = (*at / KNOWN_BITS + 1) * KNOWN_BITS;
            continue;
        }
        *at += (uint64_t)__builtin_ctzll(left);
        void *record = *at < end ? rdf_table_find(table, *at) : NULL;
        ++*at;
        if (record)
            return record;
    }
    return NULL;
}

void *rdf_table_next(const struct rdf_table *table, size_t *at)
{
    while (table && *at < table->size) {
        uintptr_t cell = table->cell[(*at)++];
        if (cell && !(cell & ALIAS_BIT))
            return (void *)cell;
    }
    return NULL;
}

static bool is_full(size_t size, size_t count)
{
    return count * 5 > size * FULL_OF_FIVE;
}

struct rdf_table *rdf_table_new(struct rdf_arena *arena, const struct rdf_table *from, size_t count)
{
    unsigned shift = from ? from->shift : 64 - FIRST_LOG;
    while (is_full((size_t)1 << (64 - shift), count))
        shift--;
    size_t size = (size_t)1 << (64 - shift);
    struct rdf_table *table = rdf_arena_alloc(arena, sizeof *table + size * sizeof table->cell[0]);
    uint64_t *known = rdf_arena_alloc(arena, (size >> KNOWN_LOG) * sizeof *known);
    if (!table || !known)
        return NULL;
    table->known = known;
    table->size = size;
    table->shift = shift;
    for (size_t i = 0; from && i < from->size; i++)
        if (from->cell[i])
            (void)insert(table, from->cell[i]);
    return table;
}

struct rdf_table *rdf_table_grow(struct rdf_arena *arena, struct rdf_table *table, size_t more)
{
    bool has_room = table && !is_full(table->size, table->used + more);
    return has_room ? table : rdf_table_new(arena, table, (table ? table->used : 0) + more);
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

const struct rdf_selector *rdf_registry_selector(const struct rdf_registry *registry, uint64_t entry)
{
    const struct rdf_selector *selector = registry->selectors;
    while (selector && selector->entry != entry)
        selector = selector->older;
    return selector;
}

void rdf_registry_take_mark(const struct rdf_registry *registry, struct rdf_registry_mark *ret)
{
    ret->registry = *registry;
    ret->arena = rdf_arena_take_mark(&registry->arena);
}

void rdf_registry_rollback(struct rdf_registry *registry, const struct rdf_registry_mark *mark)
{
    rdf_arena_rollback(&registry->arena, mark->arena);
    /* Not the table: a commit that fails has published none, and readers look there without a lock. */
    registry->pending = mark->registry.pending;
    registry->spare_layers = mark->registry.spare_layers;
    registry->count = mark->registry.count;
    registry->selectors = mark->registry.selectors;
}

void rdf_registry_abandon(struct rdf_registry *registry, const struct rdf_registry_mark *mark)
{
    if (!registry->pending)
        return;
    registry->pending = NULL;
    registry->count = mark->registry.count;
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

bool rdf_registry_reserve(struct rdf_registry *registry, size_t keys, size_t layers)
{
    struct rdf_table *table = rdf_table_grow(&registry->arena, registry->table, keys);
    if (!table)
        return false;
    if (table != registry->table)
        registry->pending = table;
    return reserve_layers(registry, layers);
}

static struct rdf_table *newest_table(struct rdf_registry *registry)
{
    return registry->pending ? registry->pending : registry->table;
}

/* The same entry again: other code is mapped there now, and the newer record is the true one. */
void rdf_registry_add(struct rdf_registry *registry, struct rdf_redef *redef)
{
    registry->count += !rdf_table_insert(newest_table(registry), redef);
}

void rdf_registry_add_alias(struct rdf_registry *registry, struct rdf_alias *alias)
{
    registry->count -= rdf_table_insert_alias(newest_table(registry), alias);
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
