/* SPDX-License-Identifier: MIT
 *
 * Other bodies of a generic function that are called with one dictionary: found by names, and by who has the
 * dictionary's address.
 */
#include "go/target.h"

#include "base/bytes.h"
#include "image/calls.h"

#include <string.h>

struct looking {
    struct rdf_images *images;
    const struct rdf_go_abi *abi;
    const struct rdf_go_target *target;
    const char *all_names;        /* "pkg.F[...]" */
    bool is_passed_on;            /* a dictionary names this one */
    const char *inlined;          /* a body of which a caller with this dictionary may have a copy */
    struct rdf_go_func *other;    /* ascending by entry */
    struct rdf_references *calls; /* of each … */
    bool *is_called;              /* … and whether one may pass this dictionary */
};

/* An instantiation's own function has the name too: where releases keep the whole name, without a shape. */
static bool is_body(const struct looking *looking, const struct rdf_go_func *func)
{
    const struct rdf_go_target *target = looking->target;
    const char *types = strchr(func->name, '[');
    struct rdf_go_wrapper wrapper;
    struct rdf_go_func shape;
    if (!types || func->entry == target->func.entry || func->entry == target->own.entry || func->is_wrapper)
        return false;
    if (strncmp(types, "[...]", 5) != 0)
        return strstr(types, "go.shape.") != NULL;
    size_t len = (size_t)(func->end - func->entry);
    const void *code = looking->images->space->ops->view(looking->images->space, func->entry, len);
    return !code || !looking->abi->wrapper((struct rdf_span){code, len}, func->entry, &wrapper) ||
           !rdf_go_func_at(func->go, wrapper.shape, &shape) || strcmp(shape.name, func->name) != 0;
}

static size_t list_bodies(const struct looking *looking, struct rdf_go_func *ret /* or null */)
{
    struct rdf_go_func func;
    size_t count = 0;
    for (uint32_t from = 0; rdf_go_func_named(looking->target->func.go, looking->all_names, from, &func);
         from = func.index + 1) {
        if (!is_body(looking, &func))
            continue;
        if (ret)
            ret[count] = func;
        count++;
    }
    return count;
}

static redefine_status no_memory(const struct rdf_go_target *target, struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the bodies of %s", target->func.name);
}

/* Whether the dictionary is named by data: by the dictionary of a generic function, which passes it on. */
static redefine_status is_passed_on(const struct looking *looking, bool *ret, struct rdf_error *err)
{
    struct rdf_references dictionary = {.start = looking->target->wrapper.dictionary,
                                        .end = looking->target->wrapper.dictionary};
    redefine_status status = rdf_image_references(looking->images, rdf_go_image(looking->target->func.go),
                                                  &dictionary, 1, false, NULL, NULL, err);
    *ret = dictionary.words > 0;
    return status;
}

/* Whether a function computes the dictionary's address; a page's will do, as some CPUs begin with that. */
static bool has_dictionary(const struct looking *looking, const struct rdf_go_func *func)
{
    enum { PAGE_BYTES = 4096 };
    const struct rdf_arch *arch = looking->images->arch;
    uint64_t wanted = looking->target->wrapper.dictionary;
    size_t len = (size_t)(func->end - func->entry);
    const uint8_t *code = looking->images->space->ops->view(looking->images->space, func->entry, len);
    struct rdf_insn insn;
    for (size_t off = 0; code && off < len; off += insn.len_bytes) {
        if (!arch->decode((struct rdf_span){code + off, len - off}, func->entry + off, &insn))
            insn = (struct rdf_insn){.len_bytes = arch->insn_align_bytes};
        if (insn.has_ref && (insn.ref == wanted || insn.ref == wanted / PAGE_BYTES * PAGE_BYTES))
            return true;
    }
    return false;
}

/* A caller that was inlined where its own dictionary was known has the address of this one in its code. */
static void visit_call(void *ctx, size_t index, uint64_t addr, enum rdf_reference kind)
{
    struct looking *looking = ctx;
    struct rdf_go_func caller;
    (void)kind;
    if (!looking->is_called[index] && rdf_go_func_at(looking->target->func.go, addr, &caller))
        looking->is_called[index] = has_dictionary(looking, &caller);
}

static redefine_status keep_called(struct looking *looking, struct rdf_arena *arena, size_t *count,
                                   struct rdf_error *err)
{
    looking->calls = rdf_arena_alloc(arena, (*count + 1) * sizeof *looking->calls);
    looking->is_called = rdf_arena_alloc(arena, (*count + 1) * sizeof *looking->is_called);
    if (!looking->calls || !looking->is_called)
        return no_memory(looking->target, err);
    for (size_t i = 0; i < *count; i++)
        looking->calls[i] = (struct rdf_references){.start = looking->other[i].entry,
                                                    .end = looking->other[i].entry};
    redefine_status status = REDEFINE_OK;
    if (*count)
        status = rdf_image_references(looking->images, rdf_go_image(looking->target->func.go), looking->calls,
                                      *count, true, visit_call, looking, err);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (looking->is_called[i])
            looking->other[kept++] = looking->other[i];
    *count = kept;
    return status;
}

const char *rdf_go_all_instantiations(const char *name, struct rdf_arena *arena)
{
    static const char all[] = "[...]";
    const char *types = strchr(name, '['), *rest = strrchr(name, ']');
    if (!types || !rest)
        return name;
    size_t begin_len = (size_t)(types - name), rest_bytes = strlen(rest + 1) + 1;
    char *text = rdf_arena_alloc(arena, begin_len + sizeof all - 1 + rest_bytes);
    if (!text)
        return NULL;
    rdf_bytes_copy(text, name, begin_len);
    rdf_bytes_copy(text + begin_len, all, sizeof all - 1);
    rdf_bytes_copy(text + begin_len + sizeof all - 1, rest + 1, rest_bytes);
    return text;
}

/* Whether the name is of a body for a type made of a parameter: in it is a shape that is not the whole type.
 */
static bool is_derived(const char *name)
{
    const char *types = strchr(name, '[');
    for (const char *shape = types; shape && (shape = strstr(shape, "go.shape.")); shape++)
        if (shape != types + 1 && shape[-1] != ',')
            return true;
    return false;
}

static bool visit_copy(void *ctx, const struct rdf_go_site *site)
{
    struct looking *looking = ctx;
    if (strcmp(site->name, looking->target->func.name) != 0 && is_derived(site->name) &&
        (looking->is_passed_on || has_dictionary(looking, &site->func)))
        looking->inlined = site->name;
    return !looking->inlined;
}

/* Copies in callers are none of the bodies, and have names of their own. */
static redefine_status look(struct looking *looking, struct rdf_arena *arena, size_t *count,
                            struct rdf_error *err)
{
    (void)list_bodies(looking, looking->other);
    redefine_status status = is_passed_on(looking, &looking->is_passed_on, err);
    if (status == REDEFINE_OK && !looking->is_passed_on)
        status = keep_called(looking, arena, count, err);
    looking->inlined = NULL;
    if (status == REDEFINE_OK)
        rdf_go_inlined(looking->images, looking->all_names, visit_copy, looking);
    return status;
}

redefine_status rdf_go_target_others(struct rdf_images *images, const struct rdf_go_abi *abi,
                                     const struct rdf_go_target *target, struct rdf_arena *arena,
                                     struct rdf_go_others *ret, struct rdf_error *err)
{
    struct looking looking = {.images = images,
                              .abi = abi,
                              .target = target,
                              .all_names = rdf_go_all_instantiations(target->func.name, arena),
                              .is_passed_on = true};
    *ret = (struct rdf_go_others){0};
    if (!looking.all_names)
        return no_memory(target, err);
    size_t count = list_bodies(&looking, NULL);
    rdf_go_inlined(images, looking.all_names, visit_copy, &looking);
    if (count == 0 && !looking.inlined)
        return REDEFINE_OK;
    looking.other = rdf_arena_alloc(arena, (count + 1) * sizeof *looking.other);
    if (!looking.other)
        return no_memory(target, err);
    redefine_status status = look(&looking, arena, &count, err);
    if (status == REDEFINE_OK)
        *ret = (struct rdf_go_others){looking.other, count, looking.inlined};
    return status;
}

/* ---- where the dictionary is ---- */

/* Behind a receiver whose size is the type's: bodies then have it in different places. */
static bool is_behind_value(const struct rdf_go_target *target)
{
    const char *type_end = strrchr(target->func.name, ']'); /* "pkg.T[...].M", but "pkg.(*T[...]).M" */
    return type_end && type_end[1] == '.' && target->wrapper.position > 0;
}

/* The instructions that put the arguments aside, before the call. */
static struct rdf_span puts_aside(struct rdf_images *images, uint64_t addr)
{
    const struct rdf_go *go = rdf_go_at(images, addr);
    struct rdf_go_func func;
    struct rdf_insn insn;
    if (!go || !rdf_go_func_at(go, addr, &func))
        return (struct rdf_span){NULL, 0};
    size_t len = (size_t)(func.end - addr);
    const uint8_t *code = images->space->ops->view(images->space, addr, len);
    for (size_t off = 0; code && off < len; off += insn.len_bytes) {
        if (!images->arch->decode((struct rdf_span){code + off, len - off}, addr + off, &insn))
            break;
        if (insn.flow == RDF_FLOW_CALL)
            return (struct rdf_span){code, off};
    }
    return (struct rdf_span){NULL, 0};
}

/* Whether two functions put the same registers aside before they ask for more stack, at `a` and `b`: whether
 * they have the same arguments. */
static bool have_same_arguments(struct rdf_images *images, uint64_t a, uint64_t b)
{
    struct rdf_span first = puts_aside(images, a);
    struct rdf_span second = puts_aside(images, b);
    return first.data && second.data && first.len_bytes == second.len_bytes &&
           memcmp(first.data, second.data, first.len_bytes) == 0;
}

/* Behind a receiver of another size, what lies where this dictionary would be is no argument, and may be
 * anything: such a body is never called with it. */
redefine_status rdf_go_target_shares_calls(struct rdf_images *images, const struct rdf_go_target *target,
                                           uint64_t target_more, const struct rdf_go_func *other,
                                           uint64_t other_more, bool *ret, struct rdf_error *err)
{
    bool may_share = !is_behind_value(target) || other->args_bytes == target->func.args_bytes;
    if (!is_behind_value(target) || !may_share) {
        *ret = may_share;
        return REDEFINE_OK;
    }
    if (!other_more || !target_more)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "it does not check its stack, so where its arguments are cannot be told");
    *ret = have_same_arguments(images, other_more, target_more);
    return REDEFINE_OK;
}
