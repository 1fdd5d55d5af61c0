/* SPDX-License-Identifier: MIT
 *
 * Every function that has a name. Those of C++ are offered as they are in the table only.
 */
#include "image/macho/macho.h"

/* False: stop. */
static bool visit_names(struct rdf_images *images, struct rdf_image *image, const char *glob,
                        rdf_image_visit *visit, void *ctx)
{
    enum rdf_visit answer = RDF_VISIT_OTHER;
    rdf_macho_read_names(images, image);
    for (size_t i = 0; i < image->name_count && answer != RDF_VISIT_STOP; i++) {
        const struct rdf_macho_name *name = &image->named[i];
        if (i > 0 && image->named[i - 1].addr != name->addr)
            answer = RDF_VISIT_OTHER;
        if (answer == RDF_VISIT_OTHER && !rdf_cxx_contains(name->text, ".cold") &&
            rdf_image_glob(glob, name->text))
            answer = visit(ctx, image, name->text, NULL, name->addr, false);
    }
    return answer != RDF_VISIT_STOP;
}

void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx)
{
    for (size_t i = 0; i < images->count; i++)
        if (!images->image[i]->object.is_hidden && !visit_names(images, images->image[i], glob, visit, ctx))
            return;
}
