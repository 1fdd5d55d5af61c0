/* SPDX-License-Identifier: MIT
 *
 * Every function that has a name, each address once.
 */
#include "image/pe/pe.h"

/* False: enough. Names of C++ are offered as they are in the tables. */
static bool visit_names(struct rdf_images *images, struct rdf_image *image, const char *glob,
                        rdf_image_visit *visit, void *ctx)
{
    bool is_taken = false;
    rdf_pe_read_names(images, image);
    for (size_t i = 0; i < image->name_count; i++) {
        const struct rdf_pe_name *name = &image->named[i];
        if (i > 0 && image->named[i - 1].at != name->at)
            is_taken = false;
        if (is_taken || rdf_cxx_contains(name->text, ".cold") || !rdf_image_glob(glob, name->text))
            continue;
        enum rdf_visit answer = visit(ctx, image, name->text, NULL, image->object.start + name->at, false);
        if (answer == RDF_VISIT_STOP)
            return false;
        is_taken = answer == RDF_VISIT_TAKEN;
    }
    return true;
}

void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx)
{
    for (size_t i = 0; i < images->count; i++)
        if (!images->image[i]->object.is_hidden && !visit_names(images, images->image[i], glob, visit, ctx))
            return;
}
