/* SPDX-License-Identifier: MIT */
#include "api/counted_go.h"

#include "api/go_judge.h"

redefine_status rdf_counted_go_refuse(struct rdf_images *images, uint64_t addr, struct rdf_error *err)
{
    struct rdf_image *image = rdf_images_at(images, addr);
    const struct rdf_go_abi *abi = rdf_go_abi_of(images);
    const struct rdf_go *go;
    struct rdf_go_func func;
    struct rdf_go_entry entry;
    if (!image || !rdf_go_is_go(images, image))
        return REDEFINE_OK;
    redefine_status status = rdf_go_open(images, image, &go, err);
    if (status != REDEFINE_OK)
        return status;
    if (addr < rdf_go_text(go) || addr >= rdf_go_text_end(go) || !rdf_go_func_at(go, addr, &func) ||
        func.is_foreign)
        return REDEFINE_OK;
    size_t len = (size_t)(func.end - func.entry);
    struct rdf_span code = {images->space->ops->view(images->space, func.entry, len), len};
    if (abi && code.data && abi->entry(code, func.entry, &entry, NULL) == REDEFINE_OK && entry.has_check)
        return REDEFINE_OK;
    return rdf_fail(
        err, REDEFINE_EUNSUPPORTED,
        "%s is a Go function that does not begin with a stack check: its first instructions cannot "
        "run elsewhere, where the Go runtime knows nothing of them",
        func.name);
}
