/* SPDX-License-Identifier: MIT
 *
 * Branches from elsewhere into bytes that are to be overwritten.
 *
 * Hand-written code jumps into the middle of its neighbours (memcpy into memmove, past the first
 * instruction), and compilers split functions in two parts. All code of an object is scanned once for a whole
 * batch; the same scan tells which functions are called at all.
 */
#include "core/commit.h"

struct scan {
    struct commit *commit;
    struct rdf_image *image;
    struct rdf_byte_set set; /* entries, and bytes to be overwritten, other than the first ones */
    struct rdf_span code;    /* the segment under way … */
    uint64_t code_addr;      /* … and where it begins */
};

/* Bytes that look like a branch are one if decoding from the start of their function arrives there; where
 * nothing knows a start (start-up code), from the start of the segment, over what is no instruction. */
static bool is_branch(const struct scan *scan, uint64_t addr, uint64_t target)
{
    struct commit *commit = scan->commit;
    const struct rdf_arch *arch = commit->engine->arch;
    uint64_t start = rdf_images_start_of(commit->images, addr);
    bool is_known = start != 0;
    for (uint64_t at = is_known ? start : scan->code_addr; at <= addr;) {
        struct rdf_insn insn;
        struct rdf_span code = rdf_span_slice(scan->code, at - scan->code_addr, 1);
        code.len_bytes = scan->code.len_bytes - (size_t)(at - scan->code_addr);
        if (!code.data)
            return true; /* a function that begins in another segment: believe it */
        if (!arch->decode(code, at, &insn)) {
            if (is_known)
                return false;
            at += arch->insn_align_bytes;
            continue;
        }
        if (at == addr)
            return insn.has_target && insn.target == target &&
                   (insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH);
        at += insn.len_bytes;
    }
    return false;
}

/* The new function that has `target` among its bytes to be overwritten, behind the first; or null. They lie
 * at an entry, or behind its landing pad: asked for by the entries they may have. */
static struct touched *overwrites(const struct commit *commit, uint64_t target)
{
    for (uint64_t entry = target - 1; entry > target - 1 - RDF_WINDOW_BYTES_MAX; entry--) {
        struct touched *touched = rdf_commit_find(commit, entry);
        if (touched && touched->is_new && target > touched->patched_start && target < touched->patched_end)
            return touched;
    }
    return NULL;
}

static void note_target(struct touched *touched, uint64_t target)
{
    if (!touched->branched_to || touched->branched_to > target)
        touched->branched_to = target;
}

static void note_branch(void *ctx, uint64_t addr, uint64_t target)
{
    struct scan *scan = ctx;
    struct touched *touched = rdf_commit_find(scan->commit, target);
    if (touched && touched->entry == target) {
        touched->is_called = true; /* or it only looks so: preserve.c decodes */
        return;
    }
    touched = overwrites(scan->commit, target);
    const struct rdf_function *function = touched ? &touched->function : NULL;
    bool is_own = function && addr >= function->start && addr < function->end;
    if (touched && !is_own && is_branch(scan, addr, target))
        note_target(touched, target);
}

/* A word of the object that is the address of such a byte: of a jump table, or of a label as a value. A
 * program's data is read whole, what a sanitizer has laid between its objects too. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void
scan_words(void *ctx, uint64_t start, uint64_t end)
{
    struct scan *scan = ctx;
    struct rdf_images *images = scan->commit->images;
    uint64_t first = (start + 7) / 8 * 8;
    const uint64_t *word = end > first ? rdf_images_loaded_bytes(images, first, (size_t)(end - first)) : NULL;
    for (uint64_t at = first; word && at + 8 <= end; at += 8, word++) {
        if (!rdf_byte_set_has(&scan->set, *word))
            continue;
        struct touched *touched = overwrites(scan->commit, *word);
        if (touched)
            note_target(touched, *word);
    }
}

static void scan_code(void *ctx, uint64_t start, uint64_t end)
{
    struct scan *scan = ctx;
    struct rdf_engine *engine = scan->commit->engine;
    const uint8_t *code = rdf_images_loaded_bytes(scan->commit->images, start, (size_t)(end - start));
    if (!code)
        return;
    scan->code = (struct rdf_span){code, (size_t)(end - start)};
    scan->code_addr = start;
    engine->arch->scan_branches(scan->code, start, &scan->set, note_branch, scan);
}

/* Each function of those that are looked at, with the scan of its object. */
static void for_each_new(const struct commit *commit, struct scan *scan,
                         void (*step)(struct scan *scan, const struct touched *touched))
{
    struct scan *own = scan;
    for (const struct touched *touched = commit->first; touched; touched = touched->next) {
        if (touched->is_left_out || !touched->is_new)
            continue;
        for (size_t i = 0; own->image != touched->function.image && i < commit->images->count; i++)
            own = &scan[i];
        step(own, touched);
    }
}

static void widen(struct scan *scan, const struct touched *touched)
{
    uint64_t start = scan->set.start;
    uint64_t end = start + scan->set.len_bytes;
    bool is_first = !scan->set.len_bytes;
    start = is_first || touched->entry < start ? touched->entry : start;
    end = is_first || touched->patched_end > end ? touched->patched_end : end;
    scan->set.start = start;
    scan->set.len_bytes = end > start ? (size_t)(end - start) : 0;
}

static void fill(struct scan *scan, const struct touched *touched)
{
    rdf_byte_set_add(&scan->set, touched->entry);
    for (uint64_t at = touched->patched_start + 1; at < touched->patched_end; at++)
        rdf_byte_set_add(&scan->set, at);
}

redefine_status rdf_commit_find_branches(struct commit *commit)
{
    size_t count = commit->images->count;
    struct scan *scan = rdf_arena_alloc(&commit->arena, count * sizeof *scan);
    if (!scan)
        return rdf_commit_no_memory(commit);
    for (size_t i = 0; i < count; i++)
        scan[i] = (struct scan){.commit = commit, .image = commit->images->image[i]};
    for_each_new(commit, scan, widen);
    for (size_t i = 0; i < count; i++) {
        struct rdf_byte_set *set = &scan[i].set;
        set->bits = set->len_bytes ? rdf_arena_alloc(&commit->arena, set->len_bytes / 8 + 1) : NULL;
        if (set->len_bytes && !set->bits)
            return rdf_commit_no_memory(commit);
    }
    for_each_new(commit, scan, fill);
    for (size_t i = 0; i < count; i++) {
        if (!scan[i].set.len_bytes)
            continue;
        rdf_image_each_code(commit->images, scan[i].image, scan_code, &scan[i]);
        rdf_image_each_part(commit->images, scan[i].image, scan_words, &scan[i]);
    }
    return REDEFINE_OK;
}
