/* SPDX-License-Identifier: MIT
 *
 * A commit: every stage takes the former's records and makes new ones; nothing is visible before the
 * write, and everything taken before it can be given back.
 *
 *   resolve   which function each change means (a stub or IFUNC is followed); its record, old or new
 *   layer     what each function's stack of owners will be                              resolve.c
 *   plan      windows, trampolines, edits of the functions that are new                inspect.c, branches.c
 *   fill      trampolines into memory near the code
 *   write     one stop of the world, every edit or none; and in it:                     edits.c, write.c
 *   publish   slots, originals, registry                                                publish.c
 */
#include "core/commit.h"

#include "base/progress.h"

redefine_status rdf_commit_note_alias(struct commit *commit, uint64_t addr, struct touched *touched)
{
    struct alias *alias = rdf_arena_alloc(&commit->arena, sizeof *alias);
    struct rdf_alias *known = rdf_arena_alloc_words(&commit->engine->registry.arena, sizeof *known);
    if (!alias || !known)
        return rdf_commit_no_memory(commit);
    known->addr = addr;
    *alias = (struct alias){commit->alias, touched, known};
    commit->alias = alias;
    commit->alias_count++;
    return REDEFINE_OK;
}

bool rdf_commit_leave_out(struct commit *commit, const struct rdf_change *change)
{
    if (!change || !change->refused)
        return false;
    change->refused(change, commit->err);
    *commit->err = (struct rdf_error){0};
    return true;
}

/* ---- fill ---- */

/* One write per chunk: the places of this commit lie side by side. */
static redefine_status fill_all(struct commit *commit)
{
    struct rdf_near *near = &commit->engine->near;
    const struct rdf_near_mark *mark = commit->mark;
    for (size_t i = 0; i < near->chunk_count; i++) {
        uint32_t from = i < mark->chunk_count ? mark->code_used[i] : 0;
        uint32_t len = near->chunk[i].code_used - from;
        redefine_status status = REDEFINE_OK;
        if (len > 0 && commit->staged && commit->staged[i])
            status = rdf_near_fill(near, i, near->chunk[i].code_addr + from, commit->staged[i], len,
                                   commit->err);
        if (status != REDEFINE_OK)
            return status;
    }
    return rdf_near_seal(near, mark, commit->err);
}

/* ---- one attempt ---- */

/* A function that was followed to lies where nobody has asked about: whether the snapshot is right there,
 * too. */
static bool is_followed_current(const struct commit *commit)
{
    for (const struct alias *alias = commit->alias; alias; alias = alias->next)
        if (commit->engine->snapshot.uses &&
            !rdf_snapshot_is_current(&commit->engine->snapshot, &alias->touched->entry, 1))
            return false;
    return true;
}

/* What was read of an object that is not there any more is no ground for anything, not even where it was
 * enough for a plan: another one of the same file may be there when the world stands still. */
static redefine_status refuse_gone(struct commit *commit)
{
    *commit->err = (struct rdf_error){0};
    return rdf_fail(
        commit->err, REDEFINE_EBUSY,
        "%s could not be read any more while the change was planned (another thread unloads it?); "
        "nothing was changed; try again when it is loaded",
        commit->images->gone);
}

/* The addresses that a commit is about. Of many only as many as say that there are too many to ask for. */
enum { ASKED_MAX = 24 };

static size_t list_addresses(const struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                             uint64_t ret[ASKED_MAX + 3])
{
    size_t used = 0;
    for (size_t i = 0; i < count && used < ASKED_MAX; i++) {
        const struct rdf_redef *redef = rdf_registry_find(&engine->registry, change[i].target);
        ret[used++] = change[i].target;
        if (redef)
            ret[used++] = redef->entry;
        if (change[i].replacement)
            ret[used++] = change[i].replacement;
    }
    return used;
}

/* Half of an object may be there while it is loaded or unloaded, and what is said of that is not to be
 * believed. */
static redefine_status believe(struct commit *commit, const struct rdf_change *change, size_t count,
                               redefine_status status)
{
    struct rdf_engine *engine = commit->engine;
    uint64_t addr[ASKED_MAX + 3];
    if (!rdf_snapshot_is_outdated(&engine->snapshot, addr, list_addresses(engine, change, count, addr)))
        return status;
    engine->is_stale = true;
    *commit->err = (struct rdf_error){0};
    return rdf_fail(commit->err, REDEFINE_EBUSY, "objects are being loaded and unloaded; try again");
}

static redefine_status run(struct commit *commit, const struct rdf_change *change, size_t count,
                           uint64_t caller_sp)
{
    struct rdf_engine *engine = commit->engine;
    commit->index = rdf_table_new(&commit->arena, NULL, 2 * count); /* padding is in it as well */
    if (!commit->index)
        return rdf_commit_no_memory(commit);
    redefine_status status = rdf_commit_resolve(commit, change, count);
    engine->is_stale = status == REDEFINE_OK && !is_followed_current(commit);
    if (engine->is_stale)
        status = rdf_fail(commit->err, REDEFINE_EBUSY, "objects are being loaded and unloaded; try again");
    if (status == REDEFINE_OK)
        status = rdf_commit_inspect(commit);
    if (status == REDEFINE_OK && commit->images->out_of_memory)
        status = rdf_fail(commit->err, REDEFINE_ENOMEM,
                          "no memory to look for what leads to the code; nothing was changed");
    if (commit->images->gone)
        status = refuse_gone(commit);
    /* A refusal that rests on what was there earlier: look again. */
    engine->is_stale |= status != REDEFINE_OK && (engine->snapshot.uses || commit->images->gone);
    if (status != REDEFINE_OK && !engine->is_stale)
        status = believe(commit, change, count, status);
    if (status == REDEFINE_OK &&
        !rdf_registry_reserve(&engine->registry, commit->new_count + commit->alias_count,
                              rdf_commit_layers(commit)))
        status = rdf_commit_no_memory(commit);
    if (status == REDEFINE_OK)
        status = fill_all(commit);
    if (status == REDEFINE_OK)
        status = rdf_commit_write(commit, caller_sp);
    return status;
}

static redefine_status take_snapshot(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                     struct rdf_error *err)
{
    uint64_t addr[ASKED_MAX + 3];
    size_t used = list_addresses(engine, change, count, addr);
    return rdf_snapshot_refresh(&engine->snapshot, engine->space, engine->arch, engine->snapshot_pages, addr,
                                used, err);
}

/* What was taken since the marks, but for what a thread may still run. */
static void give_back(struct commit *commit)
{
    struct rdf_engine *engine = commit->engine;
    if (engine->catches_traps && !commit->caught_traps && !engine->detours) {
        (void)engine->space->ops->catch_traps(engine->space, NULL, NULL);
        engine->catches_traps = false;
    }
    if (!engine->keeps_code)
        rdf_near_rollback(&engine->near, commit->mark);
    rdf_registry_rollback(&engine->registry, &commit->registry_mark);
}

static void end(struct commit *commit)
{
    struct rdf_arena arena = commit->arena;
    rdf_arena_free(&commit->one);
    __atomic_store_n(&commit->engine->under_way, NULL, __ATOMIC_RELEASE);
    rdf_arena_free(&arena);
}

/* A fork has copied a commit of another thread to a child, where nobody goes on with it. What that thread had
 * done then is there up to some point and nothing behind it: a store to a page that has been copied waits
 * until the fork is over. So it is taken back, or finished where it has begun to be published. */
void rdf_engine_recover(struct rdf_engine *engine)
{
    struct commit *commit = __atomic_load_n(&engine->under_way, __ATOMIC_ACQUIRE);
    if (!commit)
        return;
    struct rdf_write *write = __atomic_load_n(&commit->write, __ATOMIC_ACQUIRE);
    enum rdf_recovery recovery = write ? rdf_write_recover(write) : RDF_RECOVERED_UNDONE;
    engine->keeps_code = write && write->keeps_code;
    if (recovery == RDF_RECOVERED_UNDONE)
        give_back(commit);
    if (recovery == RDF_RECOVERED_IN_PART)
        rdf_registry_abandon(&engine->registry, &commit->registry_mark);
    rdf_snapshot_forget(&engine->snapshot);
    end(commit);
}

static struct commit *begin(struct rdf_engine *engine, struct rdf_error *err)
{
    struct rdf_arena arena;
    rdf_arena_init(&arena, engine->pages);
    struct commit *commit = rdf_arena_alloc(&arena, sizeof *commit);
    struct rdf_near_mark *near_mark = rdf_arena_alloc(&arena, sizeof *near_mark);
    if (!commit || !near_mark) {
        rdf_arena_free(&arena);
        (void)rdf_fail(err, REDEFINE_ENOMEM, "no memory for the records of this change");
        return NULL;
    }
    *commit = (struct commit){.engine = engine,
                              .err = err,
                              .arena = arena,
                              .last = &commit->first,
                              .mark = near_mark,
                              .caught_traps = engine->catches_traps};
    rdf_registry_take_mark(&engine->registry, &commit->registry_mark);
    rdf_near_take_mark(&engine->near, near_mark);
    engine->keeps_code = false;
    __atomic_store_n(&engine->under_way, commit, __ATOMIC_RELEASE);
    return commit;
}

/* On failure everything is as it was, but for near.mode. */
static redefine_status attempt(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                               uint64_t caller_sp, struct rdf_error *err)
{
    struct commit *commit = begin(engine, err);
    if (!commit)
        return REDEFINE_ENOMEM;
    redefine_status status = take_snapshot(engine, change, count, err);
    commit->images = &engine->snapshot.images;
    if (status == REDEFINE_OK)
        status = run(commit, change, count, caller_sp);
    if (status == REDEFINE_EROLLBACK)
        rdf_registry_abandon(&engine->registry, &commit->registry_mark);
    else if (status != REDEFINE_OK)
        give_back(commit);
    if (engine->is_stale)
        rdf_snapshot_drop(&engine->snapshot);
    rdf_snapshot_settle(&engine->snapshot);
    end(commit);
    return status;
}

/* What the frames of a commit leave on the stack are addresses among bytes that are overwritten: to another
 * thread's commit, which searches this stack while this thread waits for the lock, places to return to. */
static __attribute__((noinline)) void forget_frames(void)
{
    enum { WORDS = 512 };
    volatile uint64_t left[WORDS];
    for (size_t i = 0; i < WORDS; i++)
        left[i] = 0;
    (void)left[0];
}

redefine_status rdf_engine_commit(struct rdf_engine *engine, const struct rdf_change *change, size_t count,
                                  uint64_t caller_sp, struct rdf_error *err)
{
    if (count == 0)
        return REDEFINE_OK;
    rdf_engine_recover(engine);
    enum rdf_near_mode mode = engine->near.mode;
    engine->near.is_refused = false;
    engine->is_stale = false;
    /* Odd, also when it was: in a child of fork, while another thread of the parent was here. */
    (void)__atomic_exchange_n(&engine->commits, (engine->commits + 1) | 1, __ATOMIC_SEQ_CST);
    redefine_status status = attempt(engine, change, count, caller_sp, err);
    /* What has failed is tried in another way: without a write, with a new snapshot. */
    bool again = status != REDEFINE_OK && (engine->near.is_refused || engine->is_stale);
    if (again && err)
        err->status = REDEFINE_OK;
    if (again)
        status = attempt(engine, change, count, caller_sp, err);
    if (status != REDEFINE_OK && status != REDEFINE_EROLLBACK)
        engine->near.mode = mode;
    (void)__atomic_exchange_n(&engine->commits, engine->commits + 1, __ATOMIC_SEQ_CST);
    rdf_progress("changes made", 1, 1);
    forget_frames();
    return status;
}

void rdf_engine_init(struct rdf_engine *engine, struct rdf_space *space, const struct rdf_arch *arch,
                     const struct rdf_page_source *pages, const struct rdf_page_source *snapshot_pages)
{
    /* Not the lock: the caller holds it, and others wait for it. */
    engine->space = space;
    engine->arch = arch;
    engine->pages = pages;
    engine->snapshot_pages = snapshot_pages;
    engine->write_methods = (1u << RDF_WRITE_METHODS) - 1;
    engine->near = (struct rdf_near){.space = space,
                                     .arch = arch,
                                     .pages = pages,
                                     .frame_call_addr = rdf_arch_frame_call()};
    engine->last_stop = (struct rdf_stop_report){0};
    rdf_registry_init(&engine->registry, pages);
}

struct rdf_redef *rdf_engine_find(struct rdf_engine *engine, uint64_t target)
{
    struct rdf_redef *redef = rdf_registry_find(&engine->registry, target);
    if (redef || engine->registry.count == 0)
        return redef;
    struct rdf_arena arena;
    struct rdf_images images = {0};
    rdf_arena_init(&arena, engine->pages);
    uint64_t entry;
    if (rdf_images_load(engine->space, engine->arch, &arena, &images, NULL) == REDEFINE_OK) {
        if (rdf_maps_allow(&images.maps, target, 1, RDF_PROT_EXEC) &&
            rdf_images_follow(&images, target, &entry, NULL) == REDEFINE_OK)
            redef = rdf_registry_find(&engine->registry, entry);
        rdf_images_free(&images);
    }
    rdf_arena_free(&arena);
    return redef;
}
