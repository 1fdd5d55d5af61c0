/* SPDX-License-Identifier: MIT
 *
 * After the first write, only data: a replacement takes the place of another by one store into the slot.
 *
 * No lock is taken and nothing is asked of the system, so what is relied on must stay as it is: both the
 * target and the replacement lie in objects that are never unloaded (the program, and what was loaded with
 * it), and a commit has looked at the replacement before. Everything else goes the long way.
 *
 * While a record says that its slot alone tells the replacement (RDF_ASKED_SLOT), commits read it from there.
 * A commit makes `commits` odd, looks at slots, and makes it even again; here it must be even and the same
 * before and after the store. So either the commit has seen the new value, or it is stored once more, the
 * long way.
 */
#include "core/engine.h"

static struct rdf_known *place_of(struct rdf_engine *engine, uint64_t replacement)
{
    return &engine->known[(replacement ^ replacement >> 8) / 16 % RDF_KNOWN];
}

void rdf_engine_know(struct rdf_engine *engine, uint64_t replacement, uint32_t len_bytes)
{
    struct rdf_known *known = place_of(engine, replacement);
    __atomic_store_n(&known->addr, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&known->len_bytes, len_bytes, __ATOMIC_RELEASE);
    __atomic_store_n(&known->addr, replacement, __ATOMIC_RELEASE);
}

bool rdf_engine_knows(struct rdf_engine *engine, uint64_t replacement, uint32_t *ret_len_bytes)
{
    const struct rdf_known *known = place_of(engine, replacement);
    *ret_len_bytes = __atomic_load_n(&known->len_bytes, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&known->addr, __ATOMIC_ACQUIRE) == replacement;
}

bool rdf_engine_swap(struct rdf_engine *engine, uint64_t target, uint64_t replacement)
{
    uint32_t before = __atomic_load_n(&engine->commits, __ATOMIC_SEQ_CST);
    const struct rdf_redef *redef = rdf_registry_find(&engine->registry, target);
    uint32_t len_bytes;
    if (before % 2 || !redef || redef->entry != target || replacement == target ||
        __atomic_load_n(&redef->asked, __ATOMIC_ACQUIRE) != RDF_ASKED_SLOT ||
        !rdf_engine_knows(engine, replacement, &len_bytes))
        return false;
    uint64_t *slot = rdf_near_slot(&engine->near, rdf_redef_slot(redef));
    if (!slot)
        return false;
    uint64_t now = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    return __atomic_compare_exchange_n(slot, &now, replacement, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) &&
           __atomic_load_n(&engine->commits, __ATOMIC_SEQ_CST) == before;
}

uint64_t rdf_engine_replacement(struct rdf_engine *engine, const struct rdf_redef *redef)
{
    switch (__atomic_load_n(&redef->asked, __ATOMIC_ACQUIRE)) {
    case RDF_ASKED_NOTHING: return 0;
    case RDF_ASKED_SLOT: {
        const uint64_t *slot = rdf_near_slot(&engine->near, rdf_redef_slot(redef));
        if (slot)
            return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        break;
    }
    default: break;
    }
    return __atomic_load_n(&redef->replacement, __ATOMIC_ACQUIRE);
}

void rdf_engine_catch_up(struct rdf_engine *engine, struct rdf_redef *redef)
{
    uint64_t replacement = rdf_engine_replacement(engine, redef);
    if (!replacement || replacement == redef->replacement)
        return;
    uint32_t len_bytes;
    redef->replacement_bytes = rdf_engine_knows(engine, replacement, &len_bytes) ? len_bytes : 0;
    __atomic_store_n(&redef->replacement, replacement, __ATOMIC_RELEASE);
}
