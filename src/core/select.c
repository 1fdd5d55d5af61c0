/* SPDX-License-Identifier: MIT
 *
 * Redefinitions for one thread. A function that has any gets a layer on top of all others whose replacement
 * is a piece of code of its own, near the function: it looks whether the running thread has a table, and an
 * entry for this function in it, and goes there; else on to the layer below, through a cell that publishing
 * keeps right as it does for patch files. So only such functions, and only calls of them, pay for it. The
 * code is made once for a function and kept.
 */
#include "core/commit.h"

#include "base/bytes.h"

#include <inttypes.h>

const char rdf_threads = 0;

static redefine_status make(struct commit *commit, uint64_t entry, struct rdf_selector *selector)
{
    struct rdf_engine *engine = commit->engine;
    struct rdf_error why = {0};
    struct rdf_near_place place;
    uint8_t code[RDF_SELECT_BYTES_MAX];
    redefine_status status = rdf_near_reserve(&engine->near, &commit->images->maps, entry, sizeof code,
                                              &place, &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);
    size_t len = engine->arch->emit_select(code, place.code_addr, engine->thread_word, selector->index,
                                           place.slot_addr);
    if (len == 0)
        return rdf_fail(commit->err, REDEFINE_EUNSUPPORTED,
                        "the function at 0x%" PRIx64 " cannot be redefined for one thread: the library's "
                        "thread-local variable is too far from the thread pointer",
                        entry);
    rdf_near_shrink(&engine->near, &place, (uint32_t)len);
    uint8_t *staged = rdf_commit_stage(commit, &place);
    if (!staged)
        return rdf_commit_no_memory(commit);
    rdf_bytes_copy(staged, code, len);
    selector->code_addr = place.code_addr;
    selector->cell_addr = place.slot_addr;
    return REDEFINE_OK;
}

redefine_status rdf_commit_select(struct commit *commit, uint64_t entry, const struct rdf_selector **ret)
{
    struct rdf_registry *registry = &commit->engine->registry;
    *ret = rdf_registry_selector(registry, entry);
    if (*ret)
        return REDEFINE_OK;
    uint32_t index = registry->selectors ? registry->selectors->index + 1 : 0;
    if (index == RDF_SELECTORS_MAX)
        return rdf_fail(commit->err, REDEFINE_ENOMEM,
                        "%d functions have been redefined for a thread, and there is no room for more",
                        (int)RDF_SELECTORS_MAX);
    struct rdf_selector *selector = rdf_arena_alloc_words(&registry->arena, sizeof *selector);
    if (!selector)
        return rdf_commit_no_memory(commit);
    *selector = (struct rdf_selector){.older = registry->selectors, .entry = entry, .index = index};
    redefine_status status = make(commit, entry, selector);
    if (status != REDEFINE_OK)
        return status;
    registry->selectors = selector;
    *ret = selector;
    return REDEFINE_OK;
}
