/* SPDX-License-Identifier: MIT */
#include "core/near.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>

enum {
    CODE_BYTES = 128 * 1024,
    SLOT_BYTES = 32 * 1024, /* for places of 32 bytes, as most have */
    CODE_ALIGN = 16,        /* a trampoline starts where fetching starts */
};

/* A stack grows downwards into the free addresses below it, the heap upwards behind it. */
#define STACK_ROOM (UINT64_C(128) << 20)
#define HEAP_ROOM  (UINT64_C(1) << 30)
/* What a window refers to lies within its own object: keep that much reach to spare. */
#define REACH_SPARE (INT64_C(256) << 20)

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The addresses from which code at `addr` can be reached and that it can reach. */
static void reach_of(const struct rdf_near *near, uint64_t addr, uint64_t *ret_low, uint64_t *ret_high)
{
    int64_t back = near->arch->jump_reach_back;
    int64_t ahead = near->arch->jump_reach_ahead;
    int64_t reach = back < ahead ? back : ahead;
    reach -= reach > 4 * REACH_SPARE ? REACH_SPARE : reach / 16;
    uint64_t least = rdf_os_page_bytes() * 16; /* the lowest pages are the system's */
    uint64_t most = rdf_os_address_end();
    if (addr >= most) /* in a file only: a kernel's, which has no such end */
        most = UINT64_MAX;
    uint64_t align = rdf_os_map_align_bytes();
    *ret_low = round_up(addr > (uint64_t)reach + least ? addr - (uint64_t)reach : least, align);
    *ret_high = (addr < most - (uint64_t)reach ? addr + (uint64_t)reach : most) / align * align;
}

static bool path_is(const char *path, const char *wanted)
{
    size_t i = 0;
    while (path[i] && path[i] == wanted[i])
        i++;
    return path[i] == wanted[i];
}

/* Candidates in one gap: as near to `addr` as may be, but farther away than `beyond`. */
static void take_nearer(uint64_t *best, uint64_t start, uint64_t end, uint64_t len, uint64_t addr,
                        uint64_t beyond)
{
    uint64_t align = rdf_os_map_align_bytes();
    uint64_t limit = addr > beyond && addr - beyond < end ? addr - beyond : end;
    uint64_t below = limit > len ? (limit - len) / align * align : 0;
    if (below >= start && below && below < addr && (!*best || distance(below, addr) < distance(*best, addr)))
        *best = below;
    uint64_t above_start = round_up(addr + beyond > start ? addr + beyond : start, align);
    if (above_start < end && end - above_start >= len && above_start >= addr &&
        (!*best || distance(above_start, addr) < distance(*best, addr)))
        *best = above_start;
}

/* The free place nearest to `addr` in [low, high) that is farther away than `beyond`; 0: none. Called again
 * with the distance of a place that the system refused. */
static uint64_t free_place(const struct rdf_maps *maps, uint64_t len, uint64_t addr, uint64_t low,
                           uint64_t high, uint64_t beyond)
{
    uint64_t best = 0;
    uint64_t start = low;
    for (size_t i = 0; i <= maps->count && start < high; i++) {
        const struct rdf_map *next = i < maps->count ? &maps->map[i] : NULL;
        uint64_t end = next ? next->start : high;
        if (next && path_is(next->path, "[stack]"))
            end = end > STACK_ROOM ? end - STACK_ROOM : 0;
        end = end < high ? end : high;
        if (start < end)
            take_nearer(&best, start, end, len, addr, beyond);
        uint64_t behind = next ? next->end + (path_is(next->path, "[heap]") ? HEAP_ROOM : 0) : high;
        start = behind > start ? behind : start;
    }
    return best;
}

static bool chunk_serves(const struct rdf_near *near, const struct rdf_near_chunk *chunk, uint64_t addr,
                         uint32_t code_bytes)
{
    uint64_t low, high;
    reach_of(near, addr, &low, &high);
    bool can_be_filled = chunk->fresh || near->mode != RDF_NEAR_FRESH;
    return !chunk->full && can_be_filled && chunk->code_addr >= low &&
           chunk->slot_addr + SLOT_BYTES <= high && chunk->code_bytes - chunk->code_used >= code_bytes &&
           chunk->slot_used < chunk->slot_count;
}

/* A system can say that it wrote and not have done so: in a sandbox the file of /proc may be another. */
static bool reads_as(struct rdf_near *near, uint64_t addr, const uint8_t *code, size_t len_bytes)
{
    const struct rdf_space_ops *ops = near->space->ops;
    const void *view = ops->view(near->space, addr, len_bytes);
    if (view)
        return rdf_bytes_equal(view, code, len_bytes);
    uint8_t part[256];
    for (size_t off = 0; off < len_bytes; off += sizeof part) {
        size_t len = len_bytes - off < sizeof part ? len_bytes - off : sizeof part;
        if (ops->read(near->space, addr + off, part, len) < 0 || !rdf_bytes_equal(part, code + off, len))
            return false;
    }
    return true;
}

/* Whether the system lets us write into pages that are mapped read and execute; asked once, with a byte
 * of a chunk that nothing uses yet. */
static enum rdf_near_mode probe_mode(struct rdf_near *near, const struct rdf_near_chunk *chunk)
{
    const uint8_t one = 1;
    int status = near->space->ops->write(near->space, NULL, RDF_WRITE_SELF_MEM, chunk->code_addr, &one, 1);
    return status == 0 && reads_as(near, chunk->code_addr, &one, 1) ? RDF_NEAR_WRITTEN : RDF_NEAR_FRESH;
}

static int map_chunk(struct rdf_near *near, uint64_t addr, struct rdf_near_chunk *ret)
{
    const struct rdf_space_ops *ops = near->space->ops;
    bool fresh = near->mode == RDF_NEAR_FRESH;
    int status = ops->map(near->space, addr, CODE_BYTES,
                          fresh ? RDF_PROT_READ | RDF_PROT_WRITE : RDF_PROT_READ | RDF_PROT_EXEC);
    if (status < 0)
        return status;
    status = ops->map(near->space, addr + CODE_BYTES, SLOT_BYTES, RDF_PROT_READ | RDF_PROT_WRITE);
    if (status < 0) {
        (void)ops->unmap(near->space, addr, CODE_BYTES);
        return status;
    }
    *ret = (struct rdf_near_chunk){.code_addr = addr,
                                   .code_bytes = CODE_BYTES,
                                   .slot_addr = addr + CODE_BYTES,
                                   .slot_count = SLOT_BYTES / sizeof(uint64_t),
                                   .fresh = fresh};
    return 0;
}

static void unmap_chunk(struct rdf_near *near, const struct rdf_near_chunk *chunk)
{
    (void)near->space->ops->unmap(near->space, chunk->code_addr, CODE_BYTES + SLOT_BYTES);
}

/* A chunk at the free place nearest to `addr`. -EEXIST when there is none, as `maps` tells. */
static int add_chunk_near(struct rdf_near *near, const struct rdf_maps *maps, uint64_t addr, uint64_t low,
                          uint64_t high, int tries)
{
    enum { TRIES_EACH_STEP = 6 };
    int status = -EEXIST;
    uint64_t beyond = 0, step = CODE_BYTES;
    for (int tried = 1; tried <= tries && status == -EEXIST; tried++) {
        uint64_t place = free_place(maps, CODE_BYTES + SLOT_BYTES, addr, low, high, beyond);
        if (!place)
            break;
        struct rdf_near_chunk chunk;
        status = map_chunk(near, place, &chunk);
        if (status == 0 && near->mode == RDF_NEAR_UNKNOWN) {
            near->mode = probe_mode(near, &chunk);
            if (near->mode == RDF_NEAR_FRESH) {
                unmap_chunk(near, &chunk);
                status = map_chunk(near, place, &chunk);
            }
        }
        if (status == 0)
            near->chunk[near->chunk_count++] = chunk;
        /* Else something is there that the snapshot does not show (an emulator keeps places for itself): look
         * farther away by a chunk, and when that has not helped often, by ever more. */
        step *= tried % TRIES_EACH_STEP ? 1 : 2;
        beyond = distance(place, addr) + step;
    }
    return status;
}

static redefine_status add_chunk(struct rdf_near *near, const struct rdf_maps *maps, uint64_t addr,
                                 struct rdf_error *err)
{
    enum { TRIES = 64 };
    if (near->chunk_count == RDF_NEAR_CHUNKS_MAX)
        return rdf_fail(err, REDEFINE_ENOMEM, "all %d mappings for trampolines are in use",
                        (int)RDF_NEAR_CHUNKS_MAX);
    uint64_t low, high;
    reach_of(near, addr, &low, &high);
    int status = add_chunk_near(near, maps, addr, low, high, 1);
    if (status == -EEXIST) {
        /* The snapshot is older than what this commit itself has mapped. */
        struct rdf_arena arena;
        struct rdf_maps now;
        rdf_arena_init(&arena, near->pages);
        if (near->space->ops->maps(near->space, &arena, &now) == 0)
            status = add_chunk_near(near, &now, addr, low, high, TRIES);
        rdf_arena_free(&arena);
    }
    if (status == 0)
        return REDEFINE_OK;
    if (status == -EPERM || status == -EACCES)
        return rdf_fail(err, REDEFINE_EDENIED,
                        "the system refuses executable memory for a trampoline (mmap: %s); a seccomp filter "
                        "or a security module forbids it",
                        rdf_errno_name(status));
    return rdf_fail(err, REDEFINE_ENOMEM,
                    "no memory for a trampoline within reach of 0x%" PRIx64 " (between 0x%" PRIx64
                    " and 0x%" PRIx64 "; the last attempt gave %s)",
                    addr, low, high, rdf_errno_name(status));
}

redefine_status rdf_near_reserve(struct rdf_near *near, const struct rdf_maps *maps, uint64_t addr,
                                 uint32_t code_bytes, struct rdf_near_place *ret, struct rdf_error *err)
{
    code_bytes = (uint32_t)round_up(code_bytes, CODE_ALIGN);
    size_t at = near->chunk_count;
    for (size_t i = near->chunk_count; i-- > 0 && at == near->chunk_count;)
        if (chunk_serves(near, &near->chunk[i], addr, code_bytes))
            at = i;
    if (at == near->chunk_count) {
        redefine_status status = add_chunk(near, maps, addr, err);
        if (status != REDEFINE_OK)
            return status;
    }
    struct rdf_near_chunk *chunk = &near->chunk[at];
    *ret = (struct rdf_near_place){.chunk = at,
                                   .code_addr = chunk->code_addr + chunk->code_used,
                                   .code_bytes = code_bytes,
                                   .slot_addr = chunk->slot_addr + chunk->slot_used * sizeof(uint64_t)};
    chunk->code_used += code_bytes;
    chunk->slot_used++;
    return REDEFINE_OK;
}

void rdf_near_shrink(struct rdf_near *near, struct rdf_near_place *place, uint32_t code_bytes)
{
    struct rdf_near_chunk *chunk = &near->chunk[place->chunk];
    code_bytes = (uint32_t)round_up(code_bytes, CODE_ALIGN);
    if (chunk->code_addr + chunk->code_used != place->code_addr + place->code_bytes)
        return;
    chunk->code_used -= place->code_bytes - code_bytes;
    place->code_bytes = code_bytes;
}

redefine_status rdf_near_fill(struct rdf_near *near, size_t chunk, uint64_t addr, const void *code,
                              size_t len_bytes, struct rdf_error *err)
{
    bool fresh = near->chunk[chunk].fresh;
    enum rdf_write_method method = fresh ? RDF_WRITE_PROTECT : RDF_WRITE_SELF_MEM;
    int status = near->space->ops->write(near->space, NULL, method, addr, code, len_bytes);
    if (status == 0 && !reads_as(near, addr, code, len_bytes))
        status = -5; /* EIO */
    if (status == 0)
        return REDEFINE_OK;
    if (!fresh) { /* allowed once, and no longer: a filter was installed meanwhile */
        near->mode = RDF_NEAR_FRESH;
        near->is_refused = true;
    }
    return rdf_fail(err, REDEFINE_ESYSTEM, "the trampolines at 0x%" PRIx64 " could not be written (%s: %s)",
                    addr, rdf_write_method_name(method), rdf_errno_name(status));
}

uint64_t *rdf_near_slot(const struct rdf_near *near, uint64_t slot_addr)
{
    return (uint64_t *)(uintptr_t)near->space->ops->view(near->space, slot_addr, sizeof(uint64_t));
}

int rdf_near_set_slot(struct rdf_near *near, uint64_t slot_addr, uint64_t value)
{
    uint64_t *slot = rdf_near_slot(near, slot_addr);
    if (!slot)
        return near->space->ops->write(near->space, NULL, RDF_WRITE_SELF_MEM, slot_addr, &value,
                                       sizeof value);
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    return 0;
}

void rdf_near_take_mark(const struct rdf_near *near, struct rdf_near_mark *ret)
{
    ret->chunk_count = near->chunk_count;
    for (size_t i = 0; i < near->chunk_count; i++) {
        ret->code_used[i] = near->chunk[i].code_used;
        ret->slot_used[i] = near->chunk[i].slot_used;
    }
}

redefine_status rdf_near_seal(struct rdf_near *near, const struct rdf_near_mark *mark, struct rdf_error *err)
{
    for (size_t i = mark->chunk_count; i < near->chunk_count; i++) {
        struct rdf_near_chunk *chunk = &near->chunk[i];
        if (!chunk->fresh)
            continue;
        int status = near->space->ops->protect(near->space, chunk->code_addr, CODE_BYTES,
                                               RDF_PROT_READ | RDF_PROT_EXEC);
        if (status < 0) {
            rdf_near_rollback(near, mark);
            return rdf_fail(err, REDEFINE_EDENIED,
                            "the system does not let the trampolines become executable (%s: %s)",
                            rdf_write_method_name(RDF_WRITE_PROTECT), rdf_errno_name(status));
        }
        chunk->fresh = false;
        chunk->full = true;
    }
    return REDEFINE_OK;
}

void rdf_near_rollback(struct rdf_near *near, const struct rdf_near_mark *mark)
{
    while (near->chunk_count > mark->chunk_count)
        unmap_chunk(near, &near->chunk[--near->chunk_count]); /* no more than once, also after a fork */
    for (size_t i = 0; i < near->chunk_count; i++) {
        near->chunk[i].code_used = mark->code_used[i];
        near->chunk[i].slot_used = mark->slot_used[i];
    }
}
