/* SPDX-License-Identifier: MIT
 *
 * The other bodies of a generic function, which are redefined with the one that its func value leads to.
 */
#include "api/go_function.h"

#include <inttypes.h>

redefine_status rdf_api_go_fits(const struct rdf_go_function *function, const struct rdf_go_target *target,
                                struct rdf_error *err)
{
    if (!function->is_generic || !target->is_generic || function->position == target->wrapper.position)
        return REDEFINE_OK;
    return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                    "the body of %s at 0x%" PRIx64 " was redefined for receivers of another size, and looks "
                    "elsewhere for what tells its instantiations apart",
                    target->func.name, function->entry);
}

/* Null, when calls with that dictionary cannot go there. */
static redefine_status add_other(struct rdf_engine *engine, const struct rdf_go_adding *adding,
                                 const struct rdf_go_function *shape, const struct rdf_go_func *func,
                                 struct rdf_go_function **ret, struct rdf_error *err)
{
    const struct rdf_go_target *target = adding->target;
    struct rdf_images *images = &engine->snapshot.images;
    struct rdf_go_function *function = rdf_api_go_find(func->entry);
    struct rdf_go_target other = *target;
    bool is_called;
    redefine_status status = REDEFINE_OK;
    other.func = *func;
    if (!function)
        status = rdf_go_target_other(images, adding->abi, target, func, &other, err);
    if (status == REDEFINE_OK)
        status = rdf_go_target_shares_calls(images, target, shape->record->more, func,
                                            function ? function->record->more : other.entry.more, &is_called,
                                            err);
    struct rdf_go_adding one = *adding;
    one.target = &other;
    one.registers = adding->abi->registers_max; /* those of any dictionary that may come */
    if (status == REDEFINE_OK && is_called)
        status = function ? rdf_api_go_fits(function, target, err)
                          : rdf_api_go_add(engine, &one, &function, err);
    if (status == REDEFINE_OK)
        *ret = is_called ? function : NULL;
    return status;
}

redefine_status rdf_api_go_others(struct rdf_engine *engine, const struct rdf_go_adding *adding,
                                  const struct rdf_go_function *shape, const struct rdf_go_others *others,
                                  struct rdf_go_function **ret, size_t *ret_count, struct rdf_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < others->count; i++) {
        const struct rdf_go_func *func = &others->func[i];
        struct rdf_error why = {0};
        redefine_status status = add_other(engine, adding, shape, func, &ret[count], &why);
        if (status != REDEFINE_OK)
            return rdf_fail(err, status,
                            "%s has another body, %s at 0x%" PRIx64
                            ", which generic functions call with types "
                            "made of their parameters, and that one cannot be redefined: %s",
                            adding->target->func.name, func->name, func->entry, why.sentence);
        count += ret[count] != NULL;
    }
    *ret_count = count;
    return REDEFINE_OK;
}
