/* SPDX-License-Identifier: MIT
 *
 * What a name means.
 *
 *   1. what the program itself defines under that name, for every file of it to see
 *   2. what the loader has bound the program's import of that name to
 *   3. every object and every symbol: exactly one function may remain
 *   4. the same for the demangled names of C++
 *
 * Two functions are the same if they are at the same address once forwarders and stubs have been followed.
 */
#include "image/pe/pe.h"
#include "image/search.h"

static void add_names(struct rdf_search *search, struct rdf_image *image, bool also_static)
{
    rdf_pe_read_names(search->images, image);
    for (size_t i = 0; i < image->name_count; i++) {
        const struct rdf_pe_name *name = &image->named[i];
        if ((also_static || !name->is_static) && rdf_search_is_name(search, name->text, name->file))
            rdf_search_add(search, image, name->text, name->file, image->object.start + name->at);
    }
    /* Also what is another library's. */
    uint64_t exported = search->file.at || search->is_cxx
                            ? 0
                            : rdf_pe_exported(search->images, image, search->name.at, search->name.len);
    if (exported)
        rdf_search_add(search, image, search->name.at, NULL, exported);
}

/* 1. and 2. */
static void search_program(struct rdf_search *search)
{
    struct rdf_images *images = search->images;
    struct rdf_image *program = images->count && images->image[0]->is_program ? images->image[0] : NULL;
    if (!program || search->file.at)
        return;
    add_names(search, program, false);
    uint64_t addr = search->count || search->is_cxx
                        ? 0
                        : rdf_pe_imported(images, program, search->name.at, search->name.len);
    if (addr)
        rdf_search_add(search, program, search->name.at, NULL, addr);
}

static void find(struct rdf_search *search, struct rdf_image *object)
{
    struct rdf_images *images = search->images;
    if (object) {
        add_names(search, object, true);
        return;
    }
    search_program(search);
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
    static const struct rdf_search_ops ops = {rdf_pe_image_named, find, suggest};
    return rdf_search(&ops, images, name, ret_addr, err);
}
