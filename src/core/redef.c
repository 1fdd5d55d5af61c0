/* SPDX-License-Identifier: MIT */
#include "core/redef.h"

#include "base/bytes.h"

/* ---- the lengths of the displaced instructions ----
 *
 * For each a byte: what it has where it was in the lower half, and how much farther on it is now than the one
 * before it in the upper half; from ESCAPE on, two bytes behind it say that. */
enum { ESCAPE = 15 };

static size_t pack_pcs(const struct rdf_plan *plan, uint8_t *ret)
{
    const struct rdf_relocated *relocated = &plan->relocated;
    uint64_t window_bytes = plan->window.end - plan->window.function.start;
    size_t len = 0;
    uint16_t before = 0;
    for (size_t i = 0; i < relocated->pc_count; i++) {
        uint64_t next = i + 1 < relocated->pc_count ? relocated->pcs[i + 1].old_off : window_bytes;
        uint16_t ahead = (uint16_t)(relocated->pcs[i].new_off - before);
        uint8_t half = ahead < ESCAPE ? (uint8_t)ahead : ESCAPE;
        before = relocated->pcs[i].new_off;
        if (ret)
            ret[len] = (uint8_t)(next - relocated->pcs[i].old_off) | (uint8_t)(half << 4);
        len++;
        if (half == ESCAPE && ret) {
            ret[len] = (uint8_t)ahead;
            ret[len + 1] = (uint8_t)(ahead >> 8);
        }
        len += half == ESCAPE ? 2 : 0;
    }
    return len;
}

/* Returns the bytes read; *ret_count pairs, which may be asked for or not. */
static size_t unpack_pcs(const uint8_t *packed, size_t window_bytes, struct rdf_pc_pair *ret,
                         size_t *ret_count)
{
    size_t len = 0;
    size_t count = 0;
    uint16_t new_off = 0;
    for (size_t old_off = 0; old_off < window_bytes; count++) {
        uint8_t byte = packed[len++];
        uint16_t ahead = byte >> 4;
        if (ahead == ESCAPE) {
            ahead = (uint16_t)(packed[len] | packed[len + 1] << 8);
            len += 2;
        }
        new_off = (uint16_t)(new_off + ahead);
        if (ret)
            ret[count] = (struct rdf_pc_pair){(uint8_t)old_off, new_off};
        old_off += byte & 15;
    }
    *ret_count = count;
    return len;
}

/* ---- the record ---- */

static size_t kept_bytes(const struct rdf_redef *redef)
{
    size_t edit_end = (size_t)redef->edit_off + redef->edit_bytes;
    return redef->window_bytes > edit_end ? redef->window_bytes : edit_end;
}

/* How many of the bytes at the entry are hops: they follow the jump. */
static size_t hop_bytes_of(const struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    uint64_t end = plan->edit.addr + plan->edit.len_bytes;
    uint64_t first = end;
    for (size_t i = 0; i < window->branch_count; i++) {
        uint64_t hop = window->branch[i].hop_addr;
        if (hop >= plan->edit.addr && hop < first)
            first = hop;
    }
    return (size_t)(end - first);
}

enum { EXTRAS_IN_TAIL = 7, BYTES_MAX = (1 << 24) - 1 };

struct rdf_redef *rdf_redef_new(struct rdf_arena *arena, const struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    uint64_t entry = window->function.start;
    uint64_t function_bytes = window->function.end - entry;
    size_t hops = hop_bytes_of(plan);
    struct rdf_redef head = {
        .entry = entry,
        .function_bytes = function_bytes < BYTES_MAX ? function_bytes & BYTES_MAX : BYTES_MAX,
        .relay_off = (int32_t)(int64_t)(plan->relay_addr - entry),
        .slot_off = (int32_t)(int64_t)(plan->place.slot_addr - plan->relay_addr),
        .window_bytes = (uint8_t)(window->end - entry),
        .edit_off = (uint8_t)(plan->edit.addr - entry),
        .edit_bytes = plan->edit.len_bytes,
        .strategy = (uint8_t)window->strategy & 7,
        .extra_count = plan->extra_count < EXTRAS_IN_TAIL ? plan->extra_count & 7 : EXTRAS_IN_TAIL,
        .branches_back = window->branches_back,
        .is_loop_head = window->is_loop_head,
        .has_hops = hops > 0,
        .has_landing = window->landing_bytes > 0,
        .keeps = window->needs_frame,
    };
    if (plan->trampoline_addr != window->end)
        head.trampoline_off = (uint8_t)(plan->trampoline_addr - plan->relay_addr);
    size_t kept = kept_bytes(&head);
    size_t packed = pack_pcs(plan, NULL);
    size_t extra = plan->extra_count * sizeof(struct rdf_edit);
    size_t counts = (head.has_hops ? 1u : 0u) + (head.extra_count == EXTRAS_IN_TAIL ? 2u : 0u);
    struct rdf_redef *redef = rdf_arena_alloc_words(arena, offsetof(struct rdf_redef, tail) + kept + packed +
                                                               hops + counts + extra);
    if (!redef)
        return NULL;
    *redef = head;
    rdf_bytes_copy(redef->tail, window->bytes, head.window_bytes);
    rdf_bytes_copy(redef->tail + head.edit_off, plan->edit.old_bytes, head.edit_bytes);
    (void)pack_pcs(plan, redef->tail + kept);
    uint8_t *at = redef->tail + kept + packed;
    if (head.has_hops)
        *at++ = (uint8_t)hops;
    rdf_bytes_copy(at, plan->edit.new_bytes + head.edit_bytes - hops, hops);
    at += hops;
    if (head.extra_count == EXTRAS_IN_TAIL) {
        *at++ = (uint8_t)plan->extra_count;
        *at++ = (uint8_t)(plan->extra_count >> 8);
    }
    rdf_bytes_copy(at, plan->extra, extra);
    return redef;
}

/* What follows the lengths of instructions. */
static const uint8_t *hops_of(const struct rdf_redef *redef, size_t *ret_bytes)
{
    size_t count;
    size_t kept = kept_bytes(redef);
    const uint8_t *at = redef->tail + kept +
                        unpack_pcs(redef->tail + kept, redef->window_bytes, NULL, &count);
    *ret_bytes = redef->has_hops ? *at++ : 0;
    return at;
}

static const uint8_t *extras_of(const struct rdf_redef *redef, size_t *ret_count)
{
    size_t hops;
    const uint8_t *at = hops_of(redef, &hops) + hops;
    *ret_count = redef->extra_count;
    if (redef->extra_count == EXTRAS_IN_TAIL) {
        *ret_count = (size_t)(at[0] | at[1] << 8);
        at += 2;
    }
    return at;
}

size_t rdf_redef_pcs(const struct rdf_redef *redef, struct rdf_pc_pair ret[RDF_WINDOW_INSNS_MAX])
{
    size_t count;
    (void)unpack_pcs(redef->tail + kept_bytes(redef), redef->window_bytes, ret, &count);
    return count;
}

size_t rdf_redef_extras(const struct rdf_redef *redef)
{
    size_t count;
    if (redef->extra_count < EXTRAS_IN_TAIL)
        return redef->extra_count;
    (void)extras_of(redef, &count);
    return count;
}

struct rdf_edit rdf_redef_extra(const struct rdf_redef *redef, size_t index)
{
    size_t count;
    struct rdf_edit edit;
    rdf_bytes_copy(&edit, extras_of(redef, &count) + index * sizeof edit, sizeof edit);
    return edit;
}

uint64_t rdf_redef_padding(const struct rdf_redef *redef)
{
    return redef->strategy == RDF_STRATEGY_SHORT_JUMP ? rdf_redef_extra(redef, 0).addr : 0;
}

size_t rdf_redef_jump_bytes(const struct rdf_redef *redef)
{
    size_t hops = 0;
    if (redef->has_hops)
        (void)hops_of(redef, &hops);
    return redef->edit_bytes - hops;
}

void rdf_redef_jump(const struct rdf_redef *redef, const struct rdf_arch *arch, uint64_t direct_to,
                    uint8_t ret_bytes[RDF_EDIT_BYTES_MAX])
{
    uint64_t from = rdf_redef_edit(redef);
    size_t hops = 0;
    if (redef->has_hops) {
        const uint8_t *hop = hops_of(redef, &hops);
        rdf_bytes_copy(ret_bytes + redef->edit_bytes - hops, hop, hops);
    }
    if (redef->has_landing) {
        rdf_bytes_copy(ret_bytes, arch->landing, arch->landing_bytes);
        ret_bytes += arch->landing_bytes;
        from += arch->landing_bytes;
    }
    if (direct_to)
        (void)arch->emit_jump(ret_bytes, from, direct_to);
    else if (redef->strategy == RDF_STRATEGY_TRAP)
        rdf_bytes_copy(ret_bytes, arch->trap, arch->trap_bytes);
    else if (redef->strategy == RDF_STRATEGY_SHORT_JUMP)
        (void)arch->emit_short_jump(ret_bytes, from, rdf_redef_padding(redef));
    else
        (void)rdf_arch_emit_jump(arch, redef->keeps, ret_bytes, from, rdf_redef_relay(redef));
}

const struct rdf_layer *rdf_redef_top(const struct rdf_redef *redef, struct rdf_layer *room)
{
    if (!redef->has_layer)
        return redef->list;
    *room = (struct rdf_layer){.replacement = redef->replacement,
                               .replacement_bytes = redef->replacement_bytes};
    return room;
}
