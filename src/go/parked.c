/* SPDX-License-Identifier: MIT */
#include "go/parked.h"

enum { G_STACK_LO = 0, G_STACK_HI = 8, G_SCHED_SP = 56, G_SCHED_G = 72, G_BYTES = 128 };

static uint64_t word_at(uint64_t addr)
{
    return *(const volatile uint64_t *)(uintptr_t)addr;
}

/* ---- the list ---- */

static bool is_data(const struct rdf_maps *maps, uint64_t addr, uint64_t bytes)
{
    return addr % 8 == 0 && rdf_maps_allow(maps, addr, bytes, RDF_PROT_READ | RDF_PROT_WRITE);
}

/* One that is being made, or has ended, may have no stack. */
static bool is_goroutine(const struct rdf_maps *maps, uint64_t g)
{
    if (!is_data(maps, g, G_BYTES))
        return false;
    uint64_t self = word_at(g + G_SCHED_G);
    return word_at(g + G_STACK_LO) <= word_at(g + G_STACK_HI) && (self == g || self == 0);
}

static bool is_list(const struct rdf_maps *maps, uint64_t slice, uint64_t g)
{
    enum { GOROUTINES_MAX = 1 << 24 };
    uint64_t list = word_at(slice);
    uint64_t len = word_at(slice + 8);
    if (len == 0 || len > word_at(slice + 16) || len > GOROUTINES_MAX || !is_data(maps, list, len * 8))
        return false;
    bool has_it = false;
    for (uint64_t i = 0; i < len; i++) {
        uint64_t one = word_at(list + 8 * i);
        if (!is_goroutine(maps, one))
            return false;
        has_it |= one == g;
    }
    return has_it;
}

/* The place in the module's data that looks like the list. The pointer to its first element, which the
 * runtime keeps besides, may look like a shorter one by what follows it; a collection under way keeps a copy,
 * without room for more. 0: cannot be told. */
static uint64_t find_list(const struct rdf_maps *maps, const struct rdf_image *image, uint64_t g)
{
    uint64_t found = 0;
    uint64_t best = 0; /* twice the length, and one for having room */
    bool is_only = false;
    for (size_t i = 0; i < maps->count; i++) {
        const struct rdf_map *map = &maps->map[i];
        bool is_ours = map->start >= rdf_image_start(image) && map->start < rdf_image_end(image);
        if (!is_ours || !(map->prot & RDF_PROT_WRITE) || !(map->prot & RDF_PROT_READ))
            continue;
        for (uint64_t at = map->start; at + 24 <= map->end; at += 8) {
            if (!is_list(maps, at, g))
                continue;
            uint64_t score = 2 * word_at(at + 8) + (word_at(at + 16) > word_at(at + 8));
            is_only = score > best || (is_only && score < best);
            if (score > best) {
                best = score;
                found = at;
            }
        }
    }
    return is_only ? found : 0;
}

redefine_status rdf_go_find_goroutines(struct rdf_images *images, const struct rdf_go *go, uint64_t g,
                                       uint64_t *ret_addr, struct rdf_error *err)
{
    /* The heap may have grown since the images were loaded, and the list changes while it is looked for. */
    enum { TRIES = 100 };
    uint64_t found = 0;
    for (int i = 0; i < TRIES && !found; i++) {
        struct rdf_arena arena;
        struct rdf_maps now;
        rdf_arena_init(&arena, images->arena->source);
        if (images->space->ops->maps(images->space, &arena, &now) == 0)
            found = find_list(&now, rdf_go_image(go), g);
        rdf_arena_free(&arena);
    }
    if (found) {
        *ret_addr = found;
        return REDEFINE_OK;
    }
    return rdf_fail(err, REDEFINE_EVERSION,
                    "the list of all goroutines was not found in %s; without it nobody can tell who is "
                    "parked in the first instructions",
                    rdf_go_version(go));
}

/* ---- the stopped world ---- */

static bool has_address(uint64_t from, uint64_t to, uint64_t start, uint64_t end)
{
    for (uint64_t at = (from + 7) / 8 * 8; at + 8 <= to; at += 8)
        if (word_at(at) > start && word_at(at) < end)
            return true;
    return false;
}

/* What is below the stack pointer is over. A thread that runs the goroutine has it; of one that does not run,
 * or whose thread is on a stack of the runtime's, it was put aside. */
static uint64_t stack_pointer(uint64_t g, const struct rdf_world *world)
{
    uint64_t low = word_at(g + G_STACK_LO);
    uint64_t high = word_at(g + G_STACK_HI);
    uint64_t sp = word_at(g + G_SCHED_SP);
    for (size_t i = 0; i < world->thread_count; i++)
        if (world->thread[i].sp >= low && world->thread[i].sp < high)
            return world->thread[i].sp;
    return sp >= low && sp < high ? sp : high;
}

/* Goroutines' stacks and those of signal handlers lie in the runtime's arenas of 64 MB, other threads' do
 * not. */
static bool handles_a_signal(const struct rdf_thread *thread, uint64_t list, uint64_t len)
{
    enum { ARENA_BITS = 26 };
    bool is_among = false;
    for (uint64_t i = 0; i < len; i++) {
        uint64_t g = word_at(list + 8 * i);
        uint64_t low = word_at(g + G_STACK_LO);
        if (thread->sp >= low && thread->sp < word_at(g + G_STACK_HI))
            return false;
        is_among |= low && low >> ARENA_BITS == thread->sp >> ARENA_BITS;
    }
    return is_among;
}

bool rdf_go_is_anyone_parked(uint64_t goroutines_addr, const struct rdf_world *world, uint64_t start,
                             uint64_t end)
{
    uint64_t list = word_at(goroutines_addr);
    uint64_t len = word_at(goroutines_addr + 8);
    for (size_t i = 0; i < world->thread_count; i++)
        if (handles_a_signal(&world->thread[i], list, len))
            return true;
    for (uint64_t i = 0; i < len; i++) {
        uint64_t g = word_at(list + 8 * i);
        if (has_address(stack_pointer(g, world), word_at(g + G_STACK_HI), start, end))
            return true;
    }
    return false;
}
