/* SPDX-License-Identifier: MIT
 *
 * What a scan collects: arrays that grow, each name and each function once; in the end one flat index.
 */
#include "debug/gather.h"

#include "debug/index.h"

#include <stdio.h>

static const size_t texts_bytes_max = UINT32_MAX / 2;

static bool no_memory(struct gather *gather)
{
    (void)rdf_fail(gather->debug->err, REDEFINE_ENOMEM, "no memory for an index of the debug data of %s",
                   gather->debug->object_path);
    return false;
}

/* Room for one more item; arrays double, so that the arena holds at most twice what is used. */
static bool grow(struct gather *gather, void **array, size_t count, size_t *room, size_t item_bytes)
{
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 256;
    void *bigger = count < UINT32_MAX / 2 ? rdf_arena_alloc(gather->arena, more * item_bytes) : NULL;
    if (!bigger)
        return no_memory(gather);
    if (count)
        __builtin_memcpy(bigger, *array, count * item_bytes);
    *array = bigger;
    *room = more;
    return true;
}

/* ---- Texts ---- */

static uint32_t hash_text(const char *text)
{
    uint32_t hash = UINT32_C(2166136261);
    while (*text)
        hash = (hash ^ (uint8_t)*text++) * UINT32_C(16777619);
    return hash;
}

static uint32_t *text_slot(struct gather *gather, const char *text)
{
    size_t at = hash_text(text) & (gather->text_slots - 1);
    while (gather->text_slot[at] && !rdf_debug_same(gather->text + gather->text_slot[at], text))
        at = (at + 1) & (gather->text_slots - 1);
    return &gather->text_slot[at];
}

static bool more_text_slots(struct gather *gather)
{
    uint32_t *former = gather->text_slot;
    size_t former_slots = gather->text_slots;
    uint32_t *slots = rdf_arena_alloc(gather->arena, 2 * former_slots * sizeof *slots);
    if (!slots)
        return no_memory(gather);
    gather->text_slot = slots;
    gather->text_slots = 2 * former_slots;
    for (size_t i = 0; i < former_slots; i++)
        if (former[i])
            *text_slot(gather, gather->text + former[i]) = former[i];
    return true;
}

bool rdf_gather_text(struct gather *gather, const char *text, uint32_t *ret_off)
{
    *ret_off = 0;
    if (!text || !*text)
        return true;
    if (2 * gather->text_count >= gather->text_slots && !more_text_slots(gather))
        return false;
    uint32_t *slot = text_slot(gather, text);
    if (!*slot) {
        size_t bytes = rdf_debug_len(text) + 1;
        if (bytes > texts_bytes_max - gather->text_bytes)
            return no_memory(gather);
        while (gather->text_room - gather->text_bytes < bytes)
            if (!grow(gather, (void **)&gather->text, gather->text_room, &gather->text_room, 1))
                return false;
        *slot = (uint32_t)gather->text_bytes;
        __builtin_memcpy(gather->text + gather->text_bytes, text, bytes);
        gather->text_bytes += bytes;
        gather->text_count++;
    }
    *ret_off = *slot;
    return true;
}

bool rdf_gather_joined(struct gather *gather, uint32_t scope, uint32_t name, uint32_t *ret_off)
{
    char joined[512];
    int len = snprintf(joined, sizeof joined, "%s::%s", gather->text + scope, gather->text + name);
    *ret_off = name;
    /* Too long for a name that anyone types: the last part must do. */
    return !scope || len < 0 || (size_t)len >= sizeof joined || rdf_gather_text(gather, joined, ret_off);
}

/* ---- Functions, entries, sites ---- */

static const uint8_t *place_of(const struct die *die)
{
    return die->unit->file->section[die->unit->section].data + die->off;
}

static struct place *find_place(const struct places *places, const uint8_t *at)
{
    size_t slot = ((uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (places->room - 1);
    while (places->place[slot].at && places->place[slot].at != at)
        slot = (slot + 1) & (places->room - 1);
    return &places->place[slot];
}

/* Room for one more. */
static bool grow_places(struct gather *gather, struct places *places)
{
    if (2 * places->count < places->room)
        return true;
    struct places bigger = {.count = places->count, .room = places->room ? 2 * places->room : 1024};
    bigger.place = rdf_arena_alloc(gather->arena, bigger.room * sizeof *bigger.place);
    if (!bigger.place)
        return no_memory(gather);
    for (size_t i = 0; i < places->room; i++)
        if (places->place[i].at)
            *find_place(&bigger, places->place[i].at) = places->place[i];
    *places = bigger;
    return true;
}

uint32_t *rdf_gather_slot(struct gather *gather, const struct die *die)
{
    if (!grow_places(gather, &gather->functions))
        return NULL;
    struct place *place = find_place(&gather->functions, place_of(die));
    if (!place->at)
        place->number = NO_FUNCTION;
    return &place->number;
}

bool rdf_gather_scope(struct gather *gather, const struct die *die, uint32_t scope)
{
    if (!grow_places(gather, &gather->scopes))
        return false;
    struct place *place = find_place(&gather->scopes, place_of(die));
    gather->scopes.count += !place->at;
    *place = (struct place){place_of(die), scope};
    return true;
}

struct rdf_debug_function *rdf_gather_function(struct gather *gather, const struct die *die,
                                               const struct die *declaration, uint32_t *ret_index)
{
    if (!grow(gather, (void **)&gather->function, gather->function_count, &gather->function_room,
              sizeof *gather->function) ||
        !grow(gather, (void **)&gather->declaration, gather->function_count, &gather->declaration_room,
              sizeof *gather->declaration))
        return NULL;
    *ret_index = (uint32_t)gather->function_count++;
    *find_place(&gather->functions, place_of(die)) = (struct place){place_of(die), *ret_index};
    gather->functions.count++;
    gather->function[*ret_index] = (struct rdf_debug_function){0};
    gather->declaration[*ret_index] = declaration ? place_of(declaration) : NULL;
    return &gather->function[*ret_index];
}

bool rdf_gather_entry(struct gather *gather, uint64_t addr, uint32_t function, uint64_t body_off)
{
    if (!grow(gather, (void **)&gather->entry, gather->entry_count, &gather->entry_room,
              sizeof *gather->entry))
        return false;
    gather->entry[gather->entry_count++] = (struct rdf_debug_entry){
        .addr = addr, .function = function, .body_off = body_off <= UINT32_MAX ? (uint32_t)body_off : 0};
    return true;
}

bool rdf_gather_site(struct gather *gather, uint32_t function, const struct rdf_debug_site *site)
{
    if (!grow(gather, (void **)&gather->site, gather->site_count, &gather->site_room, sizeof *site) ||
        !grow(gather, (void **)&gather->site_function, gather->site_count, &gather->site_function_room,
              sizeof *gather->site_function))
        return false;
    gather->site_function[gather->site_count] = function;
    gather->site[gather->site_count++] = *site;
    gather->function[function].site_count++;
    return true;
}

/* Most of these are bodies that another unit has: the name is all that is kept of them, once. */
static const uint8_t *place_of_text(uint32_t off)
{
    return (const uint8_t *)(uintptr_t)off;
}

static bool put_name(struct gather *gather, struct places *names, const char *name)
{
    uint32_t off;
    if (!rdf_gather_text(gather, name, &off) || !grow_places(gather, names))
        return false;
    struct place *place = off ? find_place(names, place_of_text(off)) : NULL;
    if (place && !place->at) {
        *place = (struct place){place_of_text(off), off};
        names->count++;
    }
    return true;
}

bool rdf_gather_absent(struct gather *gather, const char *name)
{
    return put_name(gather, &gather->absent, name);
}

bool rdf_gather_folded(struct gather *gather, const char *name)
{
    return put_name(gather, &gather->folded, name);
}

/* ---- Functions that were inlined, and where that left nothing ---- */

bool rdf_gather_abstract(struct gather *gather, const struct die *die)
{
    if (!grow(gather, (void **)&gather->abstract, gather->abstract_count, &gather->abstract_room,
              sizeof *gather->abstract))
        return false;
    gather->abstract[gather->abstract_count++] = (struct abstract){die->unit, die->off};
    return true;
}

bool rdf_gather_dropped(struct gather *gather, const struct die *die)
{
    if (!grow_places(gather, &gather->dropped))
        return false;
    struct place *place = find_place(&gather->dropped, place_of(die));
    gather->dropped.count += !place->at;
    place->at = place_of(die);
    return true;
}

static bool has_copy(const struct gather *gather, const struct abstract *abstract)
{
    const struct die die = {.unit = abstract->unit, .off = abstract->off};
    const struct place *known = gather->functions.room ? find_place(&gather->functions, place_of(&die))
                                                       : NULL;
    return (known && known->at && gather->function[known->number].site_count) ||
           (gather->dropped.room && find_place(&gather->dropped, place_of(&die))->at);
}

void rdf_gather_forget_copied(struct gather *gather, size_t first)
{
    size_t kept = first;
    for (size_t i = first; i < gather->abstract_count; i++)
        if (!has_copy(gather, &gather->abstract[i]))
            gather->abstract[kept++] = gather->abstract[i];
    gather->abstract_count = kept;
}

bool rdf_gather_begin(struct gather *gather, struct rdf_debug *debug, struct rdf_arena *arena)
{
    *gather = (struct gather){.debug = debug, .arena = arena, .text_slots = 1024};
    gather->text_slot = rdf_arena_alloc(arena, gather->text_slots * sizeof *gather->text_slot);
    if (!gather->text_slot || !grow_places(gather, &gather->scopes) ||
        !grow(gather, (void **)&gather->text, 0, &gather->text_room, 1))
        return no_memory(gather);
    gather->text_bytes = 1; /* offset 0 is "" */
    return true;
}

/* ---- The index ---- */

static bool by_name(const struct gather *gather, uint32_t a, uint32_t b)
{
    uint32_t left = gather->function[a].name, right = gather->function[b].name;
    return left != right && rdf_index_compare(gather->text + left, gather->text + right) < 0;
}

static bool by_addr(const struct gather *gather, uint32_t a, uint32_t b)
{
    return gather->entry[a].addr < gather->entry[b].addr;
}

/* The numbers below `count` in order; stable: equal ones stay in the order in which they were found. */
static uint32_t *sorted(struct gather *gather, size_t count,
                        bool (*less)(const struct gather *gather, uint32_t a, uint32_t b))
{
    uint32_t *from = rdf_arena_alloc(gather->arena, (count + 1) * sizeof *from);
    uint32_t *to = rdf_arena_alloc(gather->arena, (count + 1) * sizeof *to);
    if (!from || !to)
        return NULL;
    for (size_t i = 0; i < count; i++)
        from[i] = (uint32_t)i;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = middle + width < count ? middle + width : count;
            size_t left = start, right = middle;
            for (size_t at = start; at < end; at++)
                to[at] = left < middle && (right == end || !less(gather, from[right], from[left]))
                             ? from[left++]
                             : from[right++];
        }
        uint32_t *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

static void fill(struct gather *gather, const uint32_t *function_order, const uint32_t *entry_order,
                 uint32_t *place, const struct rdf_debug_index *index)
{
    struct rdf_debug_function *function = (void *)(uintptr_t)index->function;
    struct rdf_debug_entry *entry = (void *)(uintptr_t)index->entry;
    struct rdf_debug_site *site = (void *)(uintptr_t)index->site;
    for (uint32_t i = 0; i < index->function_count; i++) {
        function[i] = gather->function[function_order[i]];
        place[function_order[i]] = i;
    }
    for (uint32_t i = 0, first = 0; i < index->function_count; i++) {
        function[i].first_site = first;
        first += function[i].site_count;
        function[i].site_count = 0;
    }
    for (uint32_t i = 0; i < index->site_count; i++) {
        struct rdf_debug_function *of = &function[place[gather->site_function[i]]];
        struct rdf_debug_site *copy = &site[of->first_site + of->site_count++];
        *copy = gather->site[i];
        copy->caller = place[copy->caller];
        copy->via = place[copy->via];
    }
    for (uint32_t i = 0; i < index->entry_count; i++) {
        entry[i] = gather->entry[entry_order[i]];
        entry[i].function = place[entry[i].function];
    }
    __builtin_memcpy((void *)(uintptr_t)index->text, gather->text, gather->text_bytes);
}

/* Names of static functions of C++, whose namespaces may have been read after them. */
static bool join_scopes(struct gather *gather)
{
    for (size_t i = 0; i < gather->function_count; i++) {
        const uint8_t *at = gather->declaration[i];
        const struct place *scope = at ? find_place(&gather->scopes, at) : NULL;
        if (scope && scope->at &&
            !rdf_gather_joined(gather, scope->number, gather->function[i].plain, &gather->function[i].name))
            return false;
    }
    return true;
}

/* What is left in `names` becomes functions. */
static bool add_left(struct gather *gather, const struct places *names, uint32_t flags)
{
    for (size_t i = 0; i < names->room; i++) {
        uint32_t name = names->place[i].number;
        if (!name)
            continue;
        if (!grow(gather, (void **)&gather->function, gather->function_count, &gather->function_room,
                  sizeof *gather->function))
            return false;
        gather->function[gather->function_count++] = (struct rdf_debug_function){.name = name,
                                                                                 .plain = name,
                                                                                 .flags = flags};
    }
    return true;
}

/* Those of which no unit has code become functions too, without entries and copies. */
static bool join_absent(struct gather *gather)
{
    for (size_t i = 0; i < gather->function_count && gather->absent.count; i++) {
        struct place *place = find_place(&gather->absent, place_of_text(gather->function[i].name));
        if (place->at)
            place->number = 0;
    }
    return add_left(gather, &gather->absent, 0);
}

/* A function with external linkage is one in all units: what was inlined in one may have its body in another.
 */
static bool join_folded(struct gather *gather)
{
    for (size_t i = 0; i < gather->function_count && gather->folded.count; i++) {
        struct rdf_debug_function *function = &gather->function[i];
        struct place *place = find_place(&gather->folded, place_of_text(function->name));
        if (!place->at)
            continue;
        place->number = 0;
        if (function->flags & RDF_DEBUG_EXTERNAL)
            function->flags |= RDF_DEBUG_FOLDED;
    }
    return add_left(gather, &gather->folded, RDF_DEBUG_EXTERNAL | RDF_DEBUG_FOLDED);
}

bool rdf_gather_end(struct gather *gather, const struct rdf_page_source *pages, struct rdf_span key,
                    struct rdf_debug_index *ret)
{
    if (!join_scopes(gather) || !join_absent(gather) || !join_folded(gather))
        return false;
    struct index_head head = {.function_count = (uint32_t)gather->function_count,
                              .entry_count = (uint32_t)gather->entry_count,
                              .site_count = (uint32_t)gather->site_count,
                              .text_bytes = (uint32_t)gather->text_bytes};
    uint32_t *function_order = sorted(gather, gather->function_count, by_name);
    uint32_t *entry_order = sorted(gather, gather->entry_count, by_addr);
    uint32_t *place = rdf_arena_alloc(gather->arena, (gather->function_count + 1) * sizeof *place);
    uint64_t bytes = rdf_index_bytes(&head);
    uint8_t *blob = function_order && entry_order && place ? pages->get(pages->ctx, bytes) : NULL;
    if (!blob)
        return no_memory(gather);
    rdf_bytes_copy(blob, &head, sizeof head);
    struct rdf_span span = {blob, bytes};
    struct rdf_debug_index index;
    rdf_index_view(span, &index);
    fill(gather, function_order, entry_order, place, &index);
    rdf_index_seal(span, key);
    *ret = index;
    return true;
}
