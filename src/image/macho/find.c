/* SPDX-License-Identifier: MIT
 *
 * What a name means.
 *
 *   1. what the program itself defines under that name, for every file of it to see
 *   2. every object and every symbol: exactly one function may remain
 *   3. the same for the demangled names of C++
 *
 * Each import says here which library it is from (two-level names), so there is no order in which libraries
 * are searched: a name that two of them define is ambiguous unless the object is said.
 */
#include "image/macho/macho.h"
#include "image/search.h"

static void add_names(struct rdf_search *search, struct rdf_image *image, bool also_static)
{
    rdf_macho_read_names(search->images, image);
    for (size_t i = 0; i < image->name_count; i++) {
        const struct rdf_macho_name *name = &image->named[i];
        if ((also_static || !name->is_static) && rdf_search_is_name(search, name->text, name->file))
            rdf_search_add(search, image, name->text, name->file, name->addr);
    }
}

static void find(struct rdf_search *search, struct rdf_image *object)
{
    if (object) {
        add_names(search, object, true);
        return;
    }
    struct rdf_images *images = search->images;
    struct rdf_image *program = images->count && images->image[0]->is_program ? images->image[0] : NULL;
    if (program && !search->file.at)
        add_names(search, program, false);
    for (size_t i = 0, found = search->count; !found && i < images->count; i++)
        if (!images->image[i]->object.is_hidden)
            add_names(search, images->image[i], true);
}

static void suggest(const struct rdf_images *images, struct rdf_suggestions *suggestions)
{
    for (size_t i = 0; i < images->count; i++)
        for (size_t j = 0; !images->image[i]->object.is_hidden && j < images->image[i]->name_count; j++)
            rdf_suggest(suggestions, images->image[i]->named[j].text);
}

redefine_status rdf_images_find(struct rdf_images *images, const char *name, uint64_t *ret_addr,
                                struct rdf_error *err)
{
    static const struct rdf_search_ops ops = {rdf_macho_image_named, find, suggest};
    return rdf_search(&ops, images, name, ret_addr, err);
}
