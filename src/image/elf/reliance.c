/* SPDX-License-Identifier: MIT
 *
 * What callers take for granted because the compiler had seen the body.
 *
 * gcc -fipa-ra (on from -O1) notes which registers a function's code sets, and lets callers of the same file
 * keep values in the others across a call; from the same notes a caller of a function that does not need an
 * aligned stack leaves it as it is. A replacement knows nothing of that.
 *
 * 1. What the body sets, with those of the functions that it calls: nothing is left alone by what calls
 *    through a pointer or another object.
 * 2. The calls to it; to callers that call nothing unknown themselves, the calls to those, and so on: what
 *    goes through such a caller untouched may belong to its own callers.
 * 3. At each call: the registers that hold something there (forwards from the caller's entry) and that are
 *    read behind it before they are set (forwards from the call); until no more are found.
 *
 * body.c reads the code of a function, for 1 and for 3.
 *
 * Source: gcc, cfgexpand.cc (preferred stack boundary)
 */
#include "base/order.h"
#include "image/elf/body.h"

#include <stdio.h>

enum {
    CALLERS_MAX = 1024,  /* callers whose own callers are looked for … */
    ROUNDS_MAX = 6,      /* … so many calls away; beyond, nothing is seen */
    INSNS_BASE = 100000, /* so many instructions are decoded at most … */
    INSNS_EACH = 500,    /* … and so many more for each function that is asked for */
};

/* A call or jump to a node. */
struct site {
    struct site *next;
    uint64_t addr;
    enum rdf_reference kind;
    uint32_t caller; /* the node that it is in; of no interest when the caller calls the unknown … */
    bool has_node;   /* … as this says */
    struct rdf_function function;
    uint64_t own_uses; /* of the caller */
    uint16_t vector_bytes;
    uint64_t callers_keep; /* what it was looked at with, last … */
    bool callers_misalign;
    bool was_looked_at; /* … if it was */
};

/* A function whose callers matter. */
struct node {
    struct rdf_function function;
    struct site *site;
    bool is_scanned;
    struct rdf_reliance reliance;
};

struct placed {
    uint64_t start;
    uint32_t node;
};

struct analysis {
    struct rdf_bodies bodies;
    struct node *node;
    size_t node_count, node_max;
    struct placed *order; /* the nodes of the scan under way, by start */
};

/* ---- Calls, and calls to their callers ---- */

/* The node of a function, made when it is new; UINT32_MAX when there are too many. */
static uint32_t node_of(struct analysis *analysis, const struct rdf_function *function)
{
    (void)rdf_bodies_know(&analysis->bodies, function);
    struct rdf_body *slot = rdf_bodies_slot(&analysis->bodies, function->start);
    if (slot->node)
        return slot->node - 1;
    if (!slot->start || analysis->node_count == analysis->node_max)
        return UINT32_MAX;
    struct node *node = &analysis->node[analysis->node_count++];
    *node = (struct node){.function = *function};
    node->reliance.left_alone = analysis->bodies.arch->call_clobbered & ~slot->writes;
    slot->node = (uint32_t)analysis->node_count;
    return slot->node - 1;
}

static void note_site(void *ctx, size_t index, uint64_t addr, enum rdf_reference kind)
{
    struct analysis *analysis = ctx;
    uint32_t number = analysis->order[index].node;
    struct rdf_function caller;
    struct rdf_error unused = {0};
    uint64_t start = rdf_images_start_of(analysis->bodies.images, addr);
    if (!analysis->node[number].reliance.left_alone || !start ||
        rdf_images_function(analysis->bodies.images, start, &caller, &unused) != REDEFINE_OK ||
        addr >= caller.end)
        return; /* code that no compiler wrote */
    struct site *site = rdf_arena_alloc(&analysis->bodies.arena, sizeof *site);
    if (!site) {
        analysis->bodies.out_of_memory = true;
        return;
    }
    struct rdf_body known = rdf_bodies_know(&analysis->bodies, &caller);
    *site = (struct site){.next = analysis->node[number].site,
                          .addr = addr,
                          .kind = kind,
                          .function = caller,
                          .own_uses = known.own_uses,
                          .vector_bytes = known.vector_bytes,
                          .has_node = !known.calls_unknown};
    analysis->node[number].site = site;
    if (!site->has_node)
        return;
    site->caller = node_of(analysis, &caller);
    site->has_node = site->caller != UINT32_MAX;
}

static bool starts_before(const void *a, const void *b)
{
    return ((const struct placed *)a)->start < ((const struct placed *)b)->start;
}

/* Those of the first nodes, which are the functions that were asked for. */
static void take_sites(struct analysis *analysis, const struct rdf_function *functions,
                       const struct rdf_call_sites *sites)
{
    size_t count = analysis->node_count;
    for (size_t i = 0; i < sites->count && !analysis->bodies.out_of_memory; i++) {
        const struct rdf_call_site *site = &sites->site[i];
        analysis->order[0].node = node_of(analysis, &functions[site->function]);
        note_site(analysis, 0, site->addr, site->kind);
    }
    for (size_t i = 0; i < count; i++)
        analysis->node[i].is_scanned = true;
}

/* The callers of every node, whose callers become nodes in their turn. */
static redefine_status find_sites(struct analysis *analysis, const struct rdf_function *functions,
                                  const struct rdf_call_sites *sites, struct rdf_error *err)
{
    int first_round = 0;
    struct rdf_references *ask = rdf_arena_alloc(&analysis->bodies.arena, analysis->node_max * sizeof *ask);
    analysis->order = rdf_arena_alloc(&analysis->bodies.arena, analysis->node_max * sizeof *analysis->order);
    analysis->bodies.out_of_memory |= !ask || !analysis->order;
    redefine_status status = REDEFINE_OK;
    if (sites && !analysis->bodies.out_of_memory) {
        take_sites(analysis, functions, sites);
        first_round++;
    }
    for (int round = first_round; status == REDEFINE_OK && !analysis->bodies.out_of_memory; round++) {
        size_t count = 0;
        for (size_t i = 0; i < analysis->node_count; i++) {
            if (analysis->node[i].is_scanned || !analysis->node[i].reliance.left_alone)
                continue;
            analysis->node[i].is_scanned = true;
            analysis->order[count++] = (struct placed){analysis->node[i].function.start, (uint32_t)i};
        }
        if (count == 0 || round == ROUNDS_MAX)
            break;
        rdf_sort(analysis->order, count, sizeof *analysis->order, starts_before);
        for (size_t i = 0; i < count; i++) {
            const struct rdf_function *function = &analysis->node[analysis->order[i].node].function;
            ask[i] = (struct rdf_references){.start = function->start, .end = function->end};
        }
        status = rdf_image_references(analysis->bodies.images, analysis->bodies.image, ask, count, true,
                                      note_site, analysis, err);
    }
    return status;
}

/* ---- One call ---- */

static bool note_reliance(struct rdf_reliance *reliance, const struct site *site, uint64_t registers,
                          bool is_misaligned)
{
    registers &= reliance->left_alone & ~reliance->relied_on;
    is_misaligned &= !reliance->is_misaligned;
    if (!registers && !is_misaligned)
        return false;
    if (!reliance->caller_addr)
        reliance->caller_addr = site->addr;
    reliance->relied_on |= registers;
    reliance->is_misaligned |= is_misaligned;
    if (site->vector_bytes > reliance->vector_bytes)
        reliance->vector_bytes = site->vector_bytes;
    return true;
}

/* Whether anything new was found. */
static bool look_at_call(struct analysis *analysis, struct node *node, struct site *site)
{
    uint8_t entry_misalign = analysis->bodies.arch->entry_misalign;
    const struct rdf_reliance *callers = site->has_node ? &analysis->node[site->caller].reliance : NULL;
    uint64_t callers_keep = callers ? callers->relied_on : 0;
    bool callers_misalign = callers && callers->is_misaligned;
    if (site->was_looked_at && site->callers_keep == callers_keep &&
        site->callers_misalign == callers_misalign)
        return false;
    site->was_looked_at = true;
    site->callers_keep = callers_keep;
    site->callers_misalign = callers_misalign;
    int32_t sp;
    uint64_t registers = rdf_body_kept_across(&analysis->bodies, &site->function, site->addr, site->kind,
                                              node->reliance.left_alone, callers_keep, &sp);
    int32_t sp_wanted = site->kind == RDF_REFERENCE_CALL ? 0 : entry_misalign;
    bool is_misaligned = entry_misalign && sp != RDF_BODY_SP_UNKNOWN &&
                         ((sp + entry_misalign) & 15) != sp_wanted;
    is_misaligned |= callers_misalign;
    /* Of what the caller does not name, only what it was given or hands on may go through it. */
    registers &= site->own_uses | analysis->bodies.arch->argument_regs | analysis->bodies.arch->result_regs |
                 callers_keep;
    bool is_new = note_reliance(&node->reliance, site, registers, is_misaligned);
    if (is_new && callers && callers->vector_bytes > node->reliance.vector_bytes)
        node->reliance.vector_bytes = callers->vector_bytes;
    return is_new;
}

/* What is found of a caller may add to what is found of those that it calls. */
static void look_at_calls(struct analysis *analysis)
{
    for (bool is_more = true; is_more;) {
        is_more = false;
        for (size_t i = 0; i < analysis->node_count && !analysis->bodies.out_of_memory; i++)
            for (struct site *site = analysis->node[i].site; site; site = site->next)
                is_more |= look_at_call(analysis, &analysis->node[i], site);
    }
}

/* Go's own compiler lets a call change everything, and its stacks are its own. */
static bool is_go(struct rdf_images *images, struct rdf_image *image)
{
    Elf64_Shdr section;
    const char *name;
    for (size_t i = 1; rdf_image_section(images, image, i, &section, &name); i++)
        if (rdf_text_same(name, ".gopclntab") || rdf_text_same(name, ".data.rel.ro.gopclntab"))
            return true;
    return false;
}

redefine_status rdf_image_reliance(struct rdf_images *images, struct rdf_image *image,
                                   const struct rdf_function *functions, size_t count,
                                   const struct rdf_call_sites *sites, struct rdf_reliance *ret,
                                   struct rdf_error *err)
{
    struct analysis analysis = {.bodies = {.images = images, .image = image, .arch = images->arch}};
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct rdf_reliance){0};
    if (count == 0 || !images->arch->registers || is_go(images, image))
        return REDEFINE_OK;
    rdf_arena_init(&analysis.bodies.arena, &rdf_os_pages); /* not the snapshot's: that one is kept */
    analysis.node_max = count + CALLERS_MAX;
    analysis.bodies.insns_left = INSNS_BASE + count * INSNS_EACH;
    analysis.bodies.known_slots = 4 * analysis.node_max;
    analysis.node = rdf_arena_alloc(&analysis.bodies.arena, analysis.node_max * sizeof *analysis.node);
    analysis.bodies.known = rdf_arena_alloc(&analysis.bodies.arena,
                                            analysis.bodies.known_slots * sizeof *analysis.bodies.known);
    analysis.bodies.out_of_memory = !analysis.node || !analysis.bodies.known;
    for (size_t i = 0; i < count && !analysis.bodies.out_of_memory; i++)
        (void)node_of(&analysis, &functions[i]);
    redefine_status status = analysis.bodies.out_of_memory ? REDEFINE_OK
                                                           : find_sites(&analysis, functions, sites, err);
    if (status == REDEFINE_OK && !analysis.bodies.out_of_memory)
        look_at_calls(&analysis);
    for (size_t i = 0; i < count && !analysis.bodies.out_of_memory; i++)
        ret[i] = analysis.node[node_of(&analysis, &functions[i])].reliance;
    for (size_t i = 0; i < count && !analysis.bodies.out_of_memory; i++)
        if (ret[i].relied_on || ret[i].is_misaligned)
            ret[i].stack_words = rdf_body_stack_words(&analysis.bodies, &functions[i]);
    rdf_arena_free(&analysis.bodies.arena);
    return analysis.bodies.out_of_memory
               ? rdf_fail(err, REDEFINE_ENOMEM, "no memory to see what the callers of %zu functions rely on",
                          count)
               : status;
}

void rdf_register_names(const struct rdf_arch *arch, uint64_t registers, char *ret_text, size_t text_bytes)
{
    size_t used = 0;
    bool is_first = true;
    if (text_bytes)
        ret_text[0] = 0;
    for (unsigned i = 0; i < 64; i++) {
        const char *name = registers >> i & 1 ? arch->register_name(i) : NULL;
        if (!name)
            continue;
        const char *before = is_first ? "" : registers >> i >> 1 ? ", " : " and ";
        int len = snprintf(ret_text + used, text_bytes - used, "%s%s", before, name);
        if (len < 0 || (size_t)len >= text_bytes - used) {
            if (text_bytes)
                ret_text[used] = 0;
            return;
        }
        used += (size_t)len;
        is_first = false;
    }
}
