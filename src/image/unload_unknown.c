/* SPDX-License-Identifier: MIT
 *
 * Whether an object is unloaded meanwhile is looked at for ELF alone: others are read in place.
 */
#include "image/object.h"

const void *rdf_images_view(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    return images->space->ops->view(images->space, addr, len_bytes);
}

const void *rdf_images_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    return rdf_object_bytes(images, addr, len_bytes);
}

const void *rdf_images_loaded_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    return rdf_object_bytes(images, addr, len_bytes);
}
