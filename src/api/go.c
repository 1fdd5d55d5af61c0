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

#define CALLER_SP ((uint64_t)(uintptr_t)__builtin_frame_address(0))

struct call {
    struct rdf_engine *engine;
    const struct rdf_go_abi *abi;
    struct rdf_go_target target;
    struct rdf_go_function *function; /* null: never redefined */
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

static redefine_status enter(struct call *call, const uint64_t *addr, size_t count)
{
    *call = (struct call){.abi = rdf_go_abi_native()};
    if (!call->abi)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        "Go's calling convention is not known on this CPU");
    redefine_status status = rdf_api_enter(&call->engine, &call->err);
    if (status != REDEFINE_OK)
        return status;
    return rdf_snapshot_refresh(&call->engine->snapshot, call->engine->space, call->engine->arch,
                                call->engine->snapshot_pages, addr, count, &call->err);
}

static redefine_status enter_for(struct call *call, struct redefine_go_request *request)
{
    redefine_status status = enter(call, &request->target, 1);
    struct rdf_images *images = &call->engine->snapshot.images;
    if (status == REDEFINE_OK)
        status = rdf_go_target(images, call->abi, request->target, &call->target, &call->err);
    if (status != REDEFINE_OK)
        return status;
    call->function = rdf_api_go_find(call->target.func.entry);
    request->function = call->target.func.entry;
    return REDEFINE_OK;
}

static void tell_original(const struct call *call, struct redefine_go_request *request)
{
    const struct rdf_go_function *function = call->function;
    request->call = (uint64_t)(uintptr_t)(function->is_generic ? call->abi->call_generic_original
                                                               : call->abi->call_original);
    request->where = function->is_generic ? (uint64_t)(uintptr_t)function->record : function->code.original;
    request->comes_back = call->target.wrapper.return_addr;
}

static redefine_status redefine(struct call *call, struct redefine_go_request *request, uint64_t caller_sp)
{
    struct rdf_engine *engine = call->engine;
    if (request->goid && (!goid_off || call->target.is_generic))
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        goid_off ? "a generic function cannot be redefined for one goroutine"
                                 : "where goroutines have their number is not known in this release of Go");
    if (call->target.is_generic && request->needs_dictionary_register)
        return rdf_fail(&call->err, REDEFINE_EUNSUPPORTED,
                        "%s has so many arguments that those of a generic function are elsewhere",
                        call->target.func.name);
    if (!call->function) {
        struct rdf_go_sites sites = {request->sites, sizeof request->sites, 0, 0};
        redefine_status status = rdf_go_target_begin(call->abi, &call->target, &call->err);
        if (status == REDEFINE_OK)
            status = rdf_go_target_is_noticed(&engine->snapshot.images, &call->target, request->main_package,
                                              &sites, &call->err);
        request->site_count = sites.count;
        if (status == REDEFINE_OK)
            status = rdf_api_go_add(engine, call->abi, &call->target, request->g, caller_sp, &call->function,
                                    &call->err);
        if (status != REDEFINE_OK)
            return status;
    }
    call->function->record->goid_off = goid_off;
    tell_original(call, request);
    return rdf_api_go_change(engine, call->function, &call->target, request->goid, request->replacement,
                             caller_sp, &call->err);
}

redefine_status redefine_go_redefine(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK)
        status = redefine(&call, request, CALLER_SP);
    return leave(&call, request, status);
}

redefine_status redefine_go_restore(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && call.function)
        status = rdf_api_go_change(call.engine, call.function, &call.target, request->goid, 0, CALLER_SP,
                                   &call.err);
    return leave(&call, request, status);
}

redefine_status redefine_go_original(struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter_for(&call, request);
    if (status == REDEFINE_OK && !call.function)
        status = rdf_fail(&call.err, REDEFINE_EINVAL, "%s was never redefined", call.target.func.name);
    if (status == REDEFINE_OK)
        tell_original(&call, request);
    return leave(&call, request, status);
}

redefine_status redefine_go_find(const char *name, struct redefine_go_request *request)
{
    struct call call;
    redefine_status status = enter(&call, NULL, 0);
    if (status == REDEFINE_OK)
        status = rdf_go_target_named(&call.engine->snapshot.images, name, &request->target, &call.err);
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
    redefine_status status = enter(&call, &a, 1);
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
