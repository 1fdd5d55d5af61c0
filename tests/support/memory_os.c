/* SPDX-License-Identifier: MIT */
#include "support/memory_os.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

static const uint64_t stacks_start = UINT64_C(0x7ffc00000000);

static const char *const op_name[MEMORY_OPS] = {
    [MEMORY_MAPS] = "maps",
    [MEMORY_MAPS_AT] = "maps at",
    [MEMORY_READ] = "read",
    [MEMORY_MAP] = "map",
    [MEMORY_UNMAP] = "unmap",
    [MEMORY_PROTECT] = "protect",
    [MEMORY_WRITE + RDF_WRITE_TRACER_MEM] = "write by tracer mem",
    [MEMORY_WRITE + RDF_WRITE_TRACER_POKE] = "write by tracer poke",
    [MEMORY_WRITE + RDF_WRITE_SELF_MEM] = "write by self mem",
    [MEMORY_WRITE + RDF_WRITE_PROTECT] = "write by store",
    [MEMORY_SIGNALS_HELD] = "hold signals",
    [MEMORY_WORLD_STOPPED] = "stop the world",
    [MEMORY_SET_PC] = "set pc",
    [MEMORY_CATCH_TRAPS] = "catch traps",
    [MEMORY_SYNC_CORES] = "sync cores",
    [MEMORY_CHECK_TRAPS] = "check traps",
    [MEMORY_ASK_THREADS] = "ask threads",
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "# memory_os: %s\n", what);
    abort();
}

__attribute__((format(printf, 2, 3))) static void note_fault(struct memory_os *os, const char *format, ...)
{
    if (os->fault[0])
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(os->fault, sizeof os->fault, format, args);
    va_end(args);
}

/* ---- memory ---- */

static uint64_t page_up(uint64_t value)
{
    return (value + PAGE - 1) / PAGE * PAGE;
}

static struct memory_region *region_at(const struct memory_os *os, uint64_t addr)
{
    for (size_t i = 0; i < os->region_count; i++)
        if (addr >= os->region[i].start && addr < os->region[i].end)
            return (struct memory_region *)&os->region[i];
    return NULL;
}

uint8_t *memory_os_at(const struct memory_os *os, uint64_t addr)
{
    const struct memory_region *region = region_at(os, addr);
    return region ? region->bytes + (addr - region->start) : NULL;
}

uint64_t memory_os_word(const struct memory_os *os, uint64_t addr)
{
    uint64_t word;
    const uint8_t *at = memory_os_at(os, addr);
    if (!at)
        give_up("a word is read where nothing is mapped");
    memcpy(&word, at, sizeof word);
    return word;
}

static uint8_t *prot_at(const struct memory_os *os, uint64_t addr)
{
    const struct memory_region *region = region_at(os, addr);
    return region ? &region->prot[(addr - region->start) / PAGE] : NULL;
}

/* Whether each page of [addr, addr+len) is mapped with at least `prot`. */
static bool allows(const struct memory_os *os, uint64_t addr, uint64_t len, uint8_t prot)
{
    for (uint64_t at = addr; at < addr + len; at = at / PAGE * PAGE + PAGE) {
        const uint8_t *page = prot_at(os, at);
        if (!page || (*page & prot) != prot)
            return false;
    }
    return true;
}

struct memory_region *memory_os_add_region(struct memory_os *os, uint64_t start, uint64_t len, uint8_t prot,
                                           const char *path)
{
    if (os->region_count == MEMORY_REGIONS_MAX)
        give_up("too many regions");
    size_t i = os->region_count++;
    for (; i > 0 && os->region[i - 1].start > start; i--)
        os->region[i] = os->region[i - 1];
    struct memory_region *region = &os->region[i];
    *region = (struct memory_region){.start = start, .end = start + page_up(len), .path = path};
    size_t count = (region->end - region->start) / PAGE;
    region->memory = malloc((count + 1) * PAGE);
    region->bytes = region->memory + (PAGE - (uintptr_t)region->memory % PAGE);
    region->prot = malloc(count);
    region->own_prot = malloc(count);
    memset(region->bytes, 0, count * PAGE);
    memset(region->prot, prot, count);
    memset(region->own_prot, prot, count);
    return region;
}

static void remove_region(struct memory_os *os, struct memory_region *region)
{
    free(region->memory);
    free(region->prot);
    free(region->own_prot);
    size_t i = (size_t)(region - os->region);
    memmove(region, region + 1, (os->region_count - i - 1) * sizeof *region);
    os->region_count--;
}

void memory_os_remove_region(struct memory_os *os, uint64_t start)
{
    struct memory_region *region = region_at(os, start);
    if (!region || region->start != start)
        give_up("nothing to remove");
    remove_region(os, region);
}

void memory_os_own_protect(struct memory_os *os, uint64_t addr, uint64_t len, uint8_t prot)
{
    for (uint64_t at = addr; at < addr + len; at = at / PAGE * PAGE + PAGE) {
        struct memory_region *region = region_at(os, at);
        region->prot[(at - region->start) / PAGE] = prot;
        region->own_prot[(at - region->start) / PAGE] = prot;
    }
}

/* ---- counting, noting, failing ---- */

static struct memory_call *note_call(struct memory_os *os, enum memory_op op, uint64_t addr, uint64_t detail)
{
    struct memory_call *call = &os->call[os->call_count % MEMORY_CALLS_MAX];
    os->call_count++;
    *call = (struct memory_call){op, addr, detail, 0};
    return call;
}

/* Where signals are held back and other threads run on, the engine may do what it does otherwise. */
static bool stands_still(const struct memory_os *os)
{
    return os->world == MEMORY_STOPPED || (os->world == MEMORY_HELD && !os->denied[MEMORY_WORLD_STOPPED]);
}

/* The start of every operation: 0, or what it must return. */
/* The child has the memory as it is, and one thread, which holds nothing back. */
static void fork_before(struct memory_os *os, enum memory_op op)
{
    bool changes = op == MEMORY_PROTECT || op >= MEMORY_WRITE;
    if (!os->fork_at || !changes || ++os->fork_counted != os->fork_at)
        return;
    os->fork_at = 0;
    os->world = MEMORY_RUNS;
    os->thread_count = 0;
    longjmp(os->forked, 1);
}

static int begin(struct memory_os *os, enum memory_op op, uint64_t addr, uint64_t detail)
{
    fork_before(os, op);
    struct memory_call *call = note_call(os, op, addr, detail);
    os->op_count[op]++;
    bool outside_only = op == MEMORY_MAPS || op == MEMORY_MAP || op == MEMORY_UNMAP ||
                        op == MEMORY_SIGNALS_HELD || op == MEMORY_WORLD_STOPPED || op == MEMORY_CATCH_TRAPS;
    if (stands_still(os) && outside_only)
        note_fault(os, "%s was called while the world stood still", op_name[op]);
    const struct memory_failure *failure = &os->failure;
    bool counts = failure->ops == 0 || failure->ops & 1u << op;
    os->counted += counts;
    if (failure->at && counts &&
        (os->counted == failure->at || (failure->lasting && os->counted > failure->at))) {
        os->failed = true;
        call->result = -failure->err;
    } else {
        call->result = -os->denied[op];
    }
    return call->result;
}

static int finish(struct memory_os *os, int result)
{
    if (os->call_count)
        os->call[(os->call_count - 1) % MEMORY_CALLS_MAX].result = result;
    return result;
}

/* ---- the operations ---- */

/* Everything that is mapped; into map[] unless that is null. Returns how many. */
static size_t list_maps(const struct memory_os *os, struct rdf_map *map)
{
    size_t count = 0;
    for (size_t i = 0; i < os->region_count; i++) {
        const struct memory_region *region = &os->region[i];
        for (uint64_t at = region->start; at < region->end; at += PAGE) {
            uint8_t prot = region->prot[(at - region->start) / PAGE];
            if (!map)
                count++;
            else if (at > region->start && map[count - 1].prot == prot)
                map[count - 1].end += PAGE;
            else
                map[count++] = (struct rdf_map){.start = at,
                                                .end = at + PAGE,
                                                .file_off = region->ino ? at - region->start : 0,
                                                .dev = region->ino ? 1 : 0,
                                                .ino = region->ino,
                                                .prot = prot,
                                                .path = region->path};
        }
    }
    for (size_t i = 0; i < os->wall_count; i++) {
        size_t at = count++;
        for (; map && at > 0 && map[at - 1].start > os->wall[i].start; at--)
            map[at] = map[at - 1];
        if (map)
            map[at] = os->wall[i];
    }
    return count;
}

static int os_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_MAPS, 0, 0);
    if (status)
        return status;
    struct rdf_map *map = rdf_arena_alloc(arena, (list_maps(os, NULL) + 1) * sizeof *map);
    if (!map)
        return finish(os, -ENOMEM);
    size_t count = list_maps(os, map);
    *ret = (struct rdf_maps){map, count};
    return 0;
}

static int os_maps_at(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_MAPS_AT, count ? addr[0] : 0, count);
    if (status)
        return status;
    struct rdf_map *map = malloc((list_maps(os, NULL) + 1) * sizeof *map);
    struct rdf_maps maps = {map, list_maps(os, map)};
    bool is_gone = os->gone_at && os->op_count[MEMORY_MAPS_AT] == os->gone_at;
    for (size_t i = 0; i < count; i++) {
        const struct rdf_map *found = rdf_maps_find(&maps, addr[i]);
        ret[i] = found ? *found : (struct rdf_map){0};
        ret[i].path = "";
        ret[i].ino += is_gone;
    }
    free(map);
    return 0;
}

static int os_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len)
{
    struct memory_os *os = space->os;
    if (addr >= os->own_start && addr < os->own_end) {
        memcpy(ret_bytes, (const void *)(uintptr_t)addr, len);
        return 0;
    }
    int status = begin(os, MEMORY_READ, addr, len);
    if (status)
        return status;
    if (!allows(os, addr, len, RDF_PROT_READ))
        return finish(os, -EFAULT);
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)ret_bytes)[i] = *memory_os_at(os, addr + i);
    return 0;
}

/* Not counted: in a process this is the address itself, and cannot fail. */
static const void *os_view(struct rdf_space *space, uint64_t addr, size_t len)
{
    struct memory_os *os = space->os;
    if (!allows(os, addr, len, RDF_PROT_READ))
        note_fault(os, "view of 0x%" PRIx64 ", %zu bytes: a fault in a real process", addr, len);
    struct memory_region *region = region_at(os, addr);
    if (os->no_views || !region || len > region->end - addr)
        return NULL;
    return region->bytes + (addr - region->start);
}

static int os_map(struct rdf_space *space, uint64_t addr, size_t len, uint8_t prot)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_MAP, addr, len);
    if (status)
        return status;
    if (addr % PAGE || len % PAGE || !len)
        return finish(os, -EINVAL);
    if ((prot & RDF_PROT_WRITE) && (prot & RDF_PROT_EXEC))
        note_fault(os, "map at 0x%" PRIx64 " writable and executable", addr);
    for (size_t i = 0; i < os->region_count; i++)
        if (addr < os->region[i].end && os->region[i].start < addr + len)
            return finish(os, -EEXIST);
    if (addr < os->hidden.end && os->hidden.start < addr + len)
        return finish(os, -EEXIST);
    for (size_t i = 0; i < os->wall_count; i++)
        if (addr < os->wall[i].end && os->wall[i].start < addr + len)
            return finish(os, -EEXIST);
    (void)memory_os_add_region(os, addr, len, prot, "");
    return 0;
}

static int os_unmap(struct rdf_space *space, uint64_t addr, size_t len)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_UNMAP, addr, len);
    if (status)
        return status;
    for (size_t i = os->region_count; i-- > 0;) {
        struct memory_region *region = &os->region[i];
        if (region->start >= addr + len || region->end <= addr)
            continue;
        if (region->start < addr || region->end > addr + len || region->ino || region->path[0])
            note_fault(os, "unmap at 0x%" PRIx64 " of what the engine has not mapped", addr);
        else
            remove_region(os, region);
    }
    return 0;
}

static int os_protect(struct rdf_space *space, uint64_t addr, size_t len, uint8_t prot)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_PROTECT, addr, prot);
    if (status)
        return status;
    if (addr % PAGE || len % PAGE)
        return finish(os, -EINVAL);
    if (!allows(os, addr, len, 0))
        return finish(os, -ENOMEM);
    for (uint64_t at = addr; at < addr + len; at += PAGE) {
        struct memory_region *region = region_at(os, at);
        size_t page = (at - region->start) / PAGE;
        bool is_wx = (prot & RDF_PROT_WRITE) && (prot & RDF_PROT_EXEC);
        if (is_wx && prot != region->own_prot[page] && !os->may_be_wx)
            note_fault(os, "the page at 0x%" PRIx64 " was writable and executable", at);
        /* A file's page is not the engine's to change but while it writes. */
        if (os->world == MEMORY_RUNS && region->ino)
            note_fault(os, "the page at 0x%" PRIx64 " was given another protection while threads ran", at);
        region->prot[page] = prot;
    }
    return 0;
}

static int os_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                    uint64_t addr, const void *bytes, size_t len)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_WRITE + method, addr, len);
    if (status)
        return status;
    bool by_tracer = method == RDF_WRITE_TRACER_MEM || method == RDF_WRITE_TRACER_POKE;
    if (by_tracer && (!world || !world->os))
        return finish(os, -EINVAL);
    if (!allows(os, addr, len, 0))
        return finish(os, -EFAULT);
    if (method == RDF_WRITE_PROTECT && !allows(os, addr, len, RDF_PROT_WRITE)) {
        note_fault(os, "a store to 0x%" PRIx64 ", which is not writable: a fault in a real process", addr);
        return finish(os, -EFAULT);
    }
    if (os->world == MEMORY_RUNS && region_at(os, addr)->ino)
        note_fault(os, "the code at 0x%" PRIx64 " was written while threads ran", addr);
    if (os->lie[method] && region_at(os, addr)->ino)
        len = os->lie[method] == MEMORY_STORES_HALF ? len / 2 : 0;
    for (size_t i = 0; i < len; i++)
        *memory_os_at(os, addr + i) = ((const uint8_t *)bytes)[i];
    if (os->kill_helper > 0 && os->world == MEMORY_STOPPED && os->body_writes++ == os->kill_behind) {
        os->kill_helper--;
        longjmp(os->killed, 1);
    }
    return 0;
}

static bool os_has_other_threads(struct rdf_space *space)
{
    const struct memory_os *os = space->os;
    return os->thread_count > 0;
}

static int world_set_pc(struct rdf_world *world, size_t index, uint64_t pc)
{
    struct memory_os *os = world->os;
    int status = begin(os, MEMORY_SET_PC, (uint64_t)os->thread[index].tid, pc);
    if (status)
        return status;
    if (index >= os->thread_count)
        give_up("set_pc of no thread");
    os->thread[index].pc = pc;
    return 0;
}

static int os_with_signals_held(struct rdf_space *space, rdf_stopped_body *body, void *ctx, int *ret_body)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_SIGNALS_HELD, 0, 0);
    if (status)
        return status;
    struct rdf_world world = {.set_pc = world_set_pc};
    os->world = MEMORY_HELD;
    *ret_body = body(&world, ctx);
    os->world = MEMORY_RUNS;
    return 0;
}

static int os_with_world_stopped(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                                 void *ctx, int *ret_body, struct rdf_stop_report *ret_report)
{
    struct memory_os *os = space->os;
    (void)deadline_ms;
    *ret_report = (struct rdf_stop_report){.step = ""};
    int status = begin(os, MEMORY_WORLD_STOPPED, 0, 0);
    if (status) {
        ret_report->err = status;
        ret_report->step = "clone";
        return status;
    }
    volatile int result = -EAGAIN; /* survives longjmp, as the next two do */
    struct rdf_world world;
    for (volatile int attempt = 0; attempt < MEMORY_ATTEMPTS && result == -EAGAIN; attempt++) {
        if (attempt ? os->between != NULL : os->before_stop != NULL)
            (attempt ? os->between : os->before_stop)(os);
        /* What the body sees does not change while it moves threads. */
        struct rdf_thread *volatile seen = malloc((os->thread_count + 1) * sizeof *seen);
        memcpy(seen, os->thread, os->thread_count * sizeof *seen);
        world = (struct rdf_world){.thread = seen,
                                   .thread_count = os->thread_count,
                                   .set_pc = world_set_pc,
                                   .os = os};
        os->world = MEMORY_STOPPED;
        os->body_writes = 0;
        bool was_killed = setjmp(os->killed) != 0;
        if (!was_killed)
            result = body(&world, ctx);
        os->world = MEMORY_RUNS;
        free(seen);
        if (was_killed) {
            *ret_report = (struct rdf_stop_report){.body_began = true,
                                                   .err = -EOWNERDEAD,
                                                   .step = "the helper was killed"};
            return -EOWNERDEAD;
        }
    }
    ret_report->thread_count = os->thread_count;
    if (result == -EAGAIN) {
        ret_report->blocking_tid = world.blocking_tid;
        ret_report->err = -ETIMEDOUT;
        ret_report->step = "waiting for a thread to leave the code";
        return -ETIMEDOUT;
    }
    *ret_body = result;
    return 0;
}

static int os_catch_traps(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx)
{
    struct memory_os *os = space->os;
    int status = begin(os, MEMORY_CATCH_TRAPS, 0, 0);
    if (status)
        return status;
    os->trap_where = where;
    os->trap_ctx = ctx;
    return 0;
}

static uint64_t os_call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    const struct memory_os *os = space->os;
    (void)resolver_addr;
    return os->resolver_answer;
}

static int os_open_file(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                        struct rdf_span *ret)
{
    (void)space, (void)path, (void)dev, (void)ino, (void)ret;
    return -ENOENT;
}

static void os_close_file(struct rdf_space *space, struct rdf_span file)
{
    (void)space, (void)file;
}

static const struct rdf_space_ops memory_ops = {
    .maps = os_maps,
    .maps_at = os_maps_at,
    .read = os_read,
    .view = os_view,
    .map = os_map,
    .unmap = os_unmap,
    .protect = os_protect,
    .write = os_write,
    .has_other_threads = os_has_other_threads,
    .with_world_stopped = os_with_world_stopped,
    .with_signals_held = os_with_signals_held,
    .catch_traps = os_catch_traps,
    .call_resolver = os_call_resolver,
    .open_file = os_open_file,
    .close_file = os_close_file,
};

/* ---- threads that are asked ---- */

static int os_sync_cores(struct rdf_space *space)
{
    return begin(space->os, MEMORY_SYNC_CORES, 0, 0);
}

static int os_check_traps(struct rdf_space *space, uint64_t deadline_ms, struct rdf_stop_report *ret_report)
{
    (void)deadline_ms;
    *ret_report = (struct rdf_stop_report){.step = "check traps"};
    return ret_report->err = begin(space->os, MEMORY_CHECK_TRAPS, 0, 0);
}

static int os_ask_threads(struct rdf_space *space, uint64_t deadline_ms, rdf_look *look, void *ctx,
                          struct rdf_stop_report *ret_report)
{
    struct memory_os *os = space->os;
    (void)deadline_ms;
    *ret_report = (struct rdf_stop_report){.step = "ask", .err = begin(os, MEMORY_ASK_THREADS, 0, 0)};
    for (size_t i = 0; ret_report->err == 0 && i < os->thread_count; i++) {
        bool is_out = false;
        for (int attempt = 0; attempt < MEMORY_ATTEMPTS && !is_out; attempt++) {
            if (attempt && os->between)
                os->between(os);
            is_out = look(&os->thread[i], true, ctx);
        }
        if (is_out)
            continue;
        ret_report->blocking_tid = os->thread[i].tid;
        ret_report->err = -ETIMEDOUT;
    }
    return ret_report->err;
}

void memory_os_deny_stops(struct memory_os *os)
{
    static struct rdf_space_ops ops;
    ops = memory_ops;
    ops.sync_cores = os_sync_cores;
    ops.check_traps = os_check_traps;
    ops.ask_threads = os_ask_threads;
    os->space.ops = &ops;
    os->denied[MEMORY_WORLD_STOPPED] = EPERM;
}

/* ---- pages for the engine's records ---- */

/* In front of each piece. */
struct memory_pages {
    struct memory_pages *next, **at;
};

static void free_pages(struct memory_pages *pages)
{
    *pages->at = pages->next;
    if (pages->next)
        pages->next->at = pages->at;
    free(pages);
}

static void *get_pages(void *ctx, size_t len)
{
    struct memory_os *os = ctx;
    const struct memory_failure *failure = &os->page_failure;
    os->page_gets++;
    if (stands_still(os))
        note_fault(os, "memory was allocated while the world stood still");
    if (failure->at && (os->page_gets == failure->at || (failure->lasting && os->page_gets > failure->at))) {
        os->page_failed = true;
        return NULL;
    }
    os->page_live++;
    struct memory_pages *got = calloc(1, sizeof *got + len);
    *got = (struct memory_pages){.next = os->page_list, .at = &os->page_list};
    if (got->next)
        got->next->at = &got->next;
    os->page_list = got;
    return got + 1;
}

static void put_pages(void *ctx, void *pages, size_t len)
{
    struct memory_os *os = ctx;
    (void)len;
    if (stands_still(os))
        note_fault(os, "memory was given back while the world stood still");
    os->page_live--;
    free_pages((struct memory_pages *)pages - 1);
}

/* ---- threads ---- */

size_t memory_os_add_thread(struct memory_os *os, uint64_t pc)
{
    if (os->thread_count == MEMORY_THREADS_MAX)
        give_up("too many threads");
    size_t i = os->thread_count++;
    uint64_t bottom = stacks_start + i * MEMORY_STACK_BYTES;
    (void)memory_os_add_region(os, bottom, MEMORY_STACK_BYTES, RDF_PROT_READ | RDF_PROT_WRITE,
                               i ? "" : "[stack]");
    uint64_t top = bottom + MEMORY_STACK_BYTES;
    os->thread[i] = (struct rdf_thread){.tid = MEMORY_FIRST_TID + (int)i, .pc = pc, .sp = top - 512};
    return i;
}

void memory_os_set_stack(struct memory_os *os, size_t thread, size_t index, uint64_t value)
{
    memcpy(memory_os_at(os, os->thread[thread].sp + 8 * index), &value, sizeof value);
}

/* ---- life ---- */

struct memory_os *memory_os_new(void)
{
    struct memory_os *os = calloc(1, sizeof *os);
    os->space = (struct rdf_space){&memory_ops, os};
    os->pages = (struct rdf_page_source){.get = get_pages, .put = put_pages, .ctx = os};
    return os;
}

void memory_os_free(struct memory_os *os)
{
    while (os && os->region_count)
        remove_region(os, &os->region[os->region_count - 1]);
    while (os && os->page_list)
        free_pages(os->page_list);
    free(os);
}

void memory_os_reset(struct memory_os *os)
{
    os->failure = os->page_failure = (struct memory_failure){0};
    os->counted = os->call_count = os->page_gets = 0;
    os->failed = os->page_failed = false;
    os->fault[0] = 0;
    memset(os->op_count, 0, sizeof os->op_count);
}

void memory_os_print(const struct memory_os *os)
{
    size_t first = os->call_count > MEMORY_CALLS_MAX ? os->call_count - MEMORY_CALLS_MAX : 0;
    for (size_t i = first; i < os->call_count; i++) {
        const struct memory_call *call = &os->call[i % MEMORY_CALLS_MAX];
        printf("# %4zu %-20s 0x%" PRIx64 " 0x%" PRIx64 " = %d\n", i + 1, op_name[call->op], call->addr,
               call->detail, call->result);
    }
    if (os->fault[0])
        printf("# fault: %s\n", os->fault);
}
