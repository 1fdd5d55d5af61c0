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

void rdf_images_free(struct rdf_images *images)
{
    if (!images)
        return;
    rdf_images_close_files(images);
    *images = (struct rdf_images){0};
}

void rdf_images_note_gone(struct rdf_images *images, uint64_t addr)
{
    const struct rdf_map *map = rdf_maps_find(&images->maps, addr);
    if (map && !images->gone)
        images->gone = map->path[0] ? map->path : "what was mapped there";
}

const void *rdf_object_bytes(struct rdf_images *images, uint64_t addr, size_t len_bytes)
{
    const void *view = rdf_images_view(images, addr, len_bytes);
    if (view)
        return view;
    void *copy = rdf_arena_alloc(&images->copies, len_bytes);
    images->out_of_memory |= !copy;
    if (!copy || images->space->ops->read(images->space, addr, copy, len_bytes) == 0)
        return copy;
    rdf_images_note_gone(images, addr);
    return NULL;
}
