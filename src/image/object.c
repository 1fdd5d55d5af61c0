/* SPDX-License-Identifier: MIT */
#include "image/object.h"

/* An image is known here by its first member only: C11, 6.7.2.1, paragraph 15. */
static const struct rdf_object *object_of(const struct rdf_image *image)
{
    return (const struct rdf_object *)image;
}

void rdf_image_hide(struct rdf_image *image)
{
    ((struct rdf_object *)image)->is_hidden = true;
}

const char *rdf_image_name(const struct rdf_image *image)
{
    return object_of(image)->path;
}

uint64_t rdf_image_start(const struct rdf_image *image)
{
    return object_of(image)->start;
}

uint64_t rdf_image_end(const struct rdf_image *image)
{
    return object_of(image)->end;
}

uint64_t rdf_image_bias(const struct rdf_image *image)
{
    return object_of(image)->bias;
}
