/* SPDX-License-Identifier: MIT
 *
 * Every function that has a name, each address once.
 */
#include "image/macho/macho.h"

static bool visit_names(struct rdf_images *images, struct rdf_image *image, const char *glob,
                        rdf_image_visit *visit, void *ctx)
{
    bool is_visited = false;
    rdf_macho_read_names(images, image);
    for (size_t i = 0; i < image->name_count; i++) {
        const struct rdf_macho_name *name = &image->named[i];
        if (i > 0 && image->named[i - 1].addr != name->addr)
            is_visited = false;
        if (is_visited || rdf_cxx_contains(name->text, ".cold") || !rdf_image_glob(glob, name->text))
            continue;
        is_visited = true;
        if (!visit(ctx, image, name->text, name->addr, false))
            return false;
    }
    return true;
}

void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx)
{
    for (size_t i = 0; i < images->count; i++)
        if (!images->image[i]->is_hidden && !visit_names(images, images->image[i], glob, visit, ctx))
            return;
}
