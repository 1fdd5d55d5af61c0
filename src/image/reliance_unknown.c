/* SPDX-License-Identifier: MIT
 *
 * Of objects other than ELF nothing is known of what callers rely on beyond the ABI: docs/limits.md.
 */
#include "image/calls.h"

redefine_status rdf_image_reliance(struct rdf_images *images, struct rdf_image *image,
                                   const struct rdf_function *functions, size_t count,
                                   const struct rdf_call_sites *sites, struct rdf_reliance *ret,
                                   struct rdf_error *err)
{
    (void)images, (void)image, (void)functions, (void)sites, (void)err;
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct rdf_reliance){0};
    return REDEFINE_OK;
}
