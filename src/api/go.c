/* SPDX-License-Identifier: MIT
 *
 * Redefining Go functions: src/go says what is to be done, the core does it.
 */
#include <redefine/go.h>

#include "api/enter.h"
#include "api/go_function.h"
#include "base/bytes.h"

_Static_assert((int)REDEFINE_GO_SENTENCE_BYTES == (int)RDF_SENTENCE_BYTES, "sentences are copied whole");

static uint64_t goid_off;

struct call {
    struct rdf_engine *engine;
    const struct rdf_go_abi *abi;
    struct rdf_go_target target;
    struct rdf_go_function *function; /* null: never redefined */
    struct rdf_go_function *own;      /* of a generic one, the instantiation's: see rdf_api_go_lead */
    struct rdf_error err;
};

static redefine_status leave(struct call *call, struct redefine_go_request *request, redefine_status status)
{
    if (call->engine) {
        rdf_snapshot_settle(&call->engine->snapshot);
        rdf_api_leave();
    }
    if (status != REDEFINE_OK)
        rdf_bytes_copy(request->sentence, call->err.sentence, sizeof request->sentence);
    return status;
}

static redefine_status enter(struct call *call, const struct redefine_go_request *request,
                             const uint64_t *addr, size_t count)
{
    static uint64_t modules;
    *call = (struct call){.abi = rdf_go_abi_native()};
    if (!call->abi)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        "Go's calling convention is not known on this CPU");
    redefine_status status = rdf_api_enter(&call->engine, &call->err);
    if (status != REDEFINE_OK)
        return status;
    if (modules != request->modules)
        rdf_snapshot_drop(&call->engine->snapshot);
    modules = request->modules;
    return rdf_snapshot_refresh(&call->engine->snapshot, call->engine->space, call->engine->arch,
                                call->engine->snapshot_pages, addr, count, &call->err);
}

static redefine_status enter_for(struct call *call, struct redefine_go_request *request)
{
    redefine_status status = enter(call, request, &request->target, 1);
    struct rdf_images *images = &call->engine->snapshot.images;
    struct rdf_go_function *itself = rdf_api_go_find(request->target);
    bool is_own = itself && itself->call.len_bytes;
    if (status == REDEFINE_OK)
        status = rdf_go_target(images, call->abi, request->target, is_own ? &itself->wrapper : NULL,
                               &call->target, &call->err);
    if (status != REDEFINE_OK)
        return status;
    call->function = rdf_api_go_find(call->target.func.entry);
    call->own = call->target.is_generic
                    ? rdf_api_go_find_own(call->target.func.entry, call->target.wrapper.dictionary)
                    : NULL;
    return REDEFINE_OK;
}

/* A func value that is part of the program has no variables, so its function does not ask for it. */
static void tell_original(const struct call *call, struct redefine_go_request *request)
{
    struct rdf_images *images = &call->engine->snapshot.images;
    const struct rdf_map *map = rdf_maps_find(&images->maps, request->func_value);
    bool is_constant = map && !(map->prot & RDF_PROT_WRITE) && rdf_images_at(images, request->func_value);
    const struct rdf_go_function *function = call->target.is_generic ? call->own : call->function;
    bool is_checked_later = call->target.is_generic && function->body; /* by the shape's original */
    request->function = function->entry;
    request->where = is_checked_later ? function->body : function->code.original;
    request->call = is_constant ? request->where : (uint64_t)(uintptr_t)call->abi->call_original;
}

static redefine_status change(struct call *call, const struct redefine_go_request *request, uint64_t closure,
                              uint64_t caller_sp)
{
    struct rdf_go_change change = {.function = call->function,
                                   .own = call->own,
                                   .dictionary = call->target.wrapper.dictionary,
                                   .goid = request->goid,
                                   .closure = closure};
    return rdf_api_go_change(call->engine, &change, caller_sp, &call->err);
}

static redefine_status add(struct call *call, struct redefine_go_request *request)
{
    struct rdf_engine *engine = call->engine;
    struct rdf_go_sites sites = {request->sites, sizeof request->sites, 0, 0};
    struct rdf_go_built built = {request->main_package, request->gcflags};
    struct rdf_go_adding adding = {call->abi, &call->target, request->g,
                                   (uint8_t)request->argument_registers};
    redefine_status status = rdf_go_target_begin(call->abi, &call->target, &call->err);
    if (status == REDEFINE_OK)
        status = rdf_go_target_is_noticed(&engine->snapshot.images, &call->target, &built, &sites,
                                          &call->err);
    request->site_count = sites.count;
    return status == REDEFINE_OK ? rdf_api_go_add(engine, &adding, &call->function, &call->err) : status;
}

/* The other bodies of an instantiation. */
static redefine_status add_others(struct call *call, struct redefine_go_request *request,
                                  struct rdf_arena *scratch, struct rdf_go_leading *ret)
{
    struct rdf_engine *engine = call->engine;
    struct rdf_images *images = &engine->snapshot.images;
    struct rdf_go_sites sites = {request->sites, sizeof request->sites, 0, 0};
    struct rdf_go_built built = {request->main_package, request->gcflags};
    struct rdf_go_adding adding = {call->abi, &call->target, request->g, 0};
    struct rdf_go_others others;
    redefine_status status = rdf_go_target_others(images, call->abi, &call->target, scratch, &others,
                                                  &call->err);
    if (status == REDEFINE_OK && others.inlined)
        status = rdf_go_is_inlined(images, others.inlined, &built, &sites, &call->err);
    request->site_count = sites.count;
    if (status != REDEFINE_OK)
        return status;
    struct rdf_go_function **other = rdf_arena_alloc(scratch, (others.count + 1) * sizeof *other);
    if (!other)
        return rdf_fail(&call->err, REDEFINE_ENOMEM, "no memory for the bodies of %s",
                        call->target.func.name);
    ret->other = other;
    return rdf_api_go_others(engine, &adding, call->function, &others, other, &ret->other_count, &call->err);
}

/* The function of an instantiation's own. */
static redefine_status add_own(struct call *call, struct redefine_go_request *request,
                               const struct rdf_go_leading *leading)
{
    struct rdf_engine *engine = call->engine;
    struct rdf_go_target own;
    struct rdf_go_function *function;
    struct rdf_go_adding adding = {call->abi, &own, request->g, 0};
    redefine_status status = rdf_go_target_own(&engine->snapshot.images, call->abi, &call->target, &own,
                                               &call->err);
    if (status == REDEFINE_OK)
        status = rdf_api_go_add(engine, &adding, &function, &call->err);
    if (status == REDEFINE_OK)
        status = rdf_api_go_lead(engine, leading, function, &call->err);
    if (status == REDEFINE_OK)
        call->own = function;
    return status;
}

static redefine_status add_instantiation(struct call *call, struct redefine_go_request *request)
{
    struct rdf_arena scratch;
    rdf_arena_init(&scratch, call->engine->pages);
    struct rdf_go_leading leading = {.abi = call->abi,
                                     .wrapper = &call->target.wrapper,
                                     .shape = call->function};
    redefine_status status = add_others(call, request, &scratch, &leading);
    if (status == REDEFINE_OK)
        status = add_own(call, request, &leading);
    rdf_arena_free(&scratch);
    return status;
}

/* A goroutine's number is where every relay that asks for it expects it. */
static void use_goid(struct rdf_go_function *function)
{
    function->record->goid_off = goid_off;
}

static redefine_status redefine(struct call *call, struct redefine_go_request *request, uint64_t caller_sp)
{
    if (request->goid && !goid_off)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        "where goroutines have their number is not known in this release of Go");
    if (call->target.is_generic && request->argument_registers > call->abi->registers_max)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        "%s has so many arguments that those of a generic function are elsewhere",
                        call->target.func.name);
    redefine_status status = call->function ? rdf_api_go_fits(call->function, &call->target, &call->err)
                                            : add(call, request);
    if (status == REDEFINE_OK && call->target.is_generic && !call->own)
        status = add_instantiation(call, request);
    if (status != REDEFINE_OK)
        return status;
    use_goid(call->function);
    if (call->own)
        use_goid(call->own);
    for (size_t i = 0; call->own && i < call->own->other_count; i++)
        use_goid(call->own->other[i]);
    tell_original(call, request);
    return change(call, request, request->replacement, caller_sp);
}

redefine_status redefine_go_redefine(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK)
        status = redefine(&call, request, RDF_CALLER_SP);
    return leave(&call, request, status);
}

redefine_status redefine_go_restore(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && call.function && (call.own || !call.target.is_generic))
        status = change(&call, request, 0, RDF_CALLER_SP);
    return leave(&call, request, status);
}

redefine_status redefine_go_original(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && !(call.target.is_generic ? call.own : call.function))
        status = rdf_fail(&call.err, REDEFINE_EINVAL, "%s was never redefined", call.target.func.name);
    if (status == REDEFINE_OK)
        tell_original(&call, request);
    return leave(&call, request, status);
}

static redefine_status find(struct call *call, const char *name, struct redefine_go_request *request)
{
    struct rdf_images *images = &call->engine->snapshot.images;
    struct rdf_go_sites sites = {request->sites, sizeof request->sites, 0, 0};
    struct rdf_go_built built = {request->main_package, request->gcflags};
    struct rdf_error why = {0};
    redefine_status status = rdf_go_target_named(images, name, &request->target, &call->err);
    if (status == REDEFINE_ENOTFOUND &&
        rdf_go_target_bodiless(images, name, &built, &sites, &why) != REDEFINE_OK)
        call->err = why;
    request->site_count = sites.count;
    return status == REDEFINE_OK ? status : call->err.status;
}

redefine_status redefine_go_find(const char *name, struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter(&call, request, NULL, 0);
    if (status == REDEFINE_OK)
        status = find(&call, name, request);
    return leave(&call, request, status);
}

static redefine_status compare(struct call *call, uint64_t a, uint64_t b)
{
    struct rdf_images *images = &call->engine->snapshot.images;
    const struct rdf_go *go = rdf_go_at(images, a);
    struct rdf_go_type types[2];
    for (size_t i = 0; !go && i < images->count; i++)
        if (rdf_go_is_go(images, images->image[i]) &&
            rdf_go_open(images, images->image[i], &go, &call->err) != REDEFINE_OK)
            return call->err.status;
    redefine_status status = rdf_go_type(images, go, a, &types[0], &call->err);
    if (status == REDEFINE_OK)
        status = rdf_go_type(images, go, b, &types[1], &call->err);
    return status == REDEFINE_OK ? rdf_go_same_layout(images, &types[0], &types[1], &call->err) : status;
}

redefine_status redefine_go_same_layout(uint64_t a, uint64_t b, struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter(&call, request, &a, 1);
    if (status == REDEFINE_OK)
        status = compare(&call, a, b);
    return leave(&call, request, status);
}

void redefine_go_use_goid(uint64_t off)
{
    goid_off = off;
}

uint64_t redefine_go_current(void)
{
    const struct rdf_go_abi *abi = rdf_go_abi_native();
    return abi ? (uint64_t)(uintptr_t)abi->current : 0;
}
