/* SPDX-License-Identifier: MIT
 *
 * What a name means.
 *
 *   1. what the program itself defines under that name, for every file of it to see
 *   2. every object and every symbol: exactly one function may remain
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
        if ((also_static || !name->is_static) && rdf_text_is(name->text, search->name.at, search->name.len) &&
            (!search->file.at || rdf_search_is_file(search, name->file)))
            rdf_search_add(search, image, name->file, name->addr);
    }
}

static void search_all(struct rdf_search *search)
{
    struct rdf_images *images = search->images;
    struct rdf_image *program = images->count && images->image[0]->is_program ? images->image[0] : NULL;
    if (program && !search->file.at)
        add_names(search, program, false);
    for (size_t i = 0, found = search->count; !found && i < images->count; i++)
        if (!images->image[i]->is_hidden)
            add_names(search, images->image[i], true);
}

redefine_status rdf_images_find(struct rdf_images *images, const char *name, uint64_t *ret_addr,
                                struct rdf_error *err)
{
    struct rdf_search search;
    if (!rdf_search_begin(&search, images, name))
        return rdf_fail(err, REDEFINE_EINVAL, "\"%s\" names no function; say NAME, OBJECT!NAME or NAME@FILE",
                        name);
    struct rdf_image *object = search.object.at
                                   ? rdf_macho_image_named(images, search.object.at, search.object.len)
                                   : NULL;
    if (search.object.at && !object)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "no object called %.*s is loaded", (int)search.object.len,
                        search.object.at);
    if (object)
        add_names(&search, object, true);
    else
        search_all(&search);
    struct rdf_suggestions suggestions = {.wanted = search.name.at,
                                          .wanted_bytes = search.name.len,
                                          .names_left = RDF_SEARCH_NAMES_MAX};
    for (size_t i = 0; !search.count && i < images->count; i++)
        for (size_t j = 0; !images->image[i]->is_hidden && j < images->image[i]->name_count; j++)
            rdf_suggest(&suggestions, images->image[i]->named[j].text);
    return rdf_search_end(&search, &suggestions, ret_addr, err);
}
