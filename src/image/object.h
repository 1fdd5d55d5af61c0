/* SPDX-License-Identifier: MIT
 *
 * What an image of any format begins with: the questions of image.h that this answers are answered once
 * (object.c). A format's struct rdf_image has it as its first member, `object`.
 */
#ifndef RDF_IMAGE_OBJECT_H
#define RDF_IMAGE_OBJECT_H

#include "image/image.h"

struct rdf_object {
    const char *path;
    uint64_t start, end; /* as mapped; parts of others may lie between */
    uint64_t bias;       /* added to addresses in the file */
    bool is_hidden;
};

/* rdf_images_bytes, piece by piece. */
const void *rdf_object_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes);

#endif
