/* SPDX-License-Identifier: MIT
 *
 * What a name means.
 *
 *   1. what the program itself defines under that name, for every file of it to see
 *   2. what the loader has bound the program's import of that name to
 *   3. every object and every symbol: exactly one function may remain
 *
 * Two functions are the same if they are at the same address once forwarders and stubs have been followed.
 */
#include "image/pe/pe.h"

#include <stdio.h>

enum { CANDIDATES_MAX = 8, NAMES_LOOKED_AT_MAX = 300 * 1000 };

struct part {
    const char *at; /* null: not asked for */
    size_t len;
};

struct search {
    struct rdf_images *images;
    struct part object, name, file; /* OBJECT!NAME@FILE */
    struct {
        struct rdf_image *image;
        const char *file;
        uint64_t addr;
    } candidate[CANDIDATES_MAX];
    size_t count; /* of different functions; may be more than are kept */
    struct rdf_error follow_error;
};

static void parse(struct search *search, const char *name)
{
    search->name = (struct part){name, rdf_text_len(name)};
    for (size_t i = 0; name[i]; i++)
        if (name[i] == '!') {
            search->object = (struct part){name, i};
            search->name = (struct part){name + i + 1, search->name.len - i - 1};
            break;
        }
    for (size_t i = 1; i < search->name.len; i++)
        if (search->name.at[i] == '@') {
            search->file = (struct part){search->name.at + i + 1, search->name.len - i - 1};
            search->name.len = i;
            break;
        }
}

static void add(struct search *search, struct rdf_image *image, const char *file, uint64_t addr)
{
    if (rdf_images_follow(search->images, addr, &addr, &search->follow_error) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < search->count && i < CANDIDATES_MAX; i++)
        if (search->candidate[i].addr == addr)
            return;
    if (search->count < CANDIDATES_MAX) {
        search->candidate[search->count].image = image;
        search->candidate[search->count].file = file;
        search->candidate[search->count].addr = addr;
    }
    search->count++;
}

/* The file of a symbol is a bare name, or the end of a path as far as there was room. */
static bool is_file(const char *have, struct part wanted)
{
    size_t have_len = have ? rdf_text_len(have) : 0;
    const char *base = wanted.at;
    for (size_t i = 0; i < wanted.len; i++)
        base = wanted.at[i] == '/' || wanted.at[i] == '\\' ? wanted.at + i + 1 : base;
    size_t base_len = wanted.len - (size_t)(base - wanted.at);
    return have_len >= base_len && base_len && rdf_text_is(have + have_len - base_len, base, base_len);
}

static void add_names(struct search *search, struct rdf_image *image, bool also_static)
{
    rdf_pe_read_names(search->images, image);
    for (size_t i = 0; i < image->name_count; i++) {
        const struct rdf_pe_name *name = &image->named[i];
        if ((also_static || !name->is_static) && rdf_text_is(name->text, search->name.at, search->name.len) &&
            (!search->file.at || is_file(name->file, search->file)))
            add(search, image, name->file, image->start + name->at);
    }
    uint64_t exported = search->file.at
                            ? 0
                            : rdf_pe_exported(search->images, image, search->name.at, search->name.len);
    if (exported)
        add(search, image, NULL, exported);
}

static void search_all(struct search *search)
{
    struct rdf_images *images = search->images;
    if (search->object.at) {
        struct rdf_image *image = rdf_pe_image_named(images, search->object.at, search->object.len);
        if (image)
            add_names(search, image, true);
        return;
    }
    struct rdf_image *program = images->count && images->image[0]->is_program ? images->image[0] : NULL;
    if (program && !search->file.at)
        add_names(search, program, false);
    if (program && !search->file.at && !search->count) {
        uint64_t addr = rdf_pe_imported(images, program, search->name.at, search->name.len);
        if (addr)
            add(search, program, NULL, addr);
    }
    bool is_bound = search->count > 0;
    for (size_t i = 0; !is_bound && i < images->count; i++)
        if (!images->image[i]->is_hidden)
            add_names(search, images->image[i], true);
}

static redefine_status fail_not_found(struct search *search, const char *name, struct rdf_error *err)
{
    struct rdf_suggestions suggestions = {.wanted = search->name.at,
                                          .wanted_bytes = search->name.len,
                                          .names_left = NAMES_LOOKED_AT_MAX};
    char text[256];
    if (search->object.at && !rdf_pe_image_named(search->images, search->object.at, search->object.len))
        return rdf_fail(err, REDEFINE_ENOTFOUND, "no object called %.*s is loaded", (int)search->object.len,
                        search->object.at);
    if (search->follow_error.status != REDEFINE_OK)
        return rdf_fail(err, search->follow_error.status, "%s", search->follow_error.sentence);
    for (size_t i = 0; i < search->images->count; i++) {
        const struct rdf_image *image = search->images->image[i];
        for (size_t j = 0; !image->is_hidden && j < image->name_count; j++)
            rdf_suggest(&suggestions, image->named[j].text);
    }
    rdf_suggestions_text(&suggestions, text, sizeof text);
    return rdf_fail(err, REDEFINE_ENOTFOUND, "no function is called %s, as far as exports and symbols tell%s",
                    name, text);
}

static redefine_status fail_ambiguous(const struct search *search, const char *name, struct rdf_error *err)
{
    char text[RDF_SENTENCE_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < search->count && i < CANDIDATES_MAX; i++) {
        const char *file = search->candidate[i].file;
        int len = snprintf(text + used, sizeof text - used, "%s%s!%.*s%s%s (0x%" PRIx64 ")", i ? ", " : "",
                           search->candidate[i].image->name, (int)search->name.len, search->name.at,
                           file ? "@" : "", file ? file : "", search->candidate[i].addr);
        if (len < 0 || (size_t)len >= sizeof text - used)
            break;
        used += (size_t)len;
    }
    text[used] = 0;
    return rdf_fail(err, REDEFINE_EAMBIGUOUS, "%u functions are called %s: %s; name one of them",
                    (unsigned)search->count, name, text);
}

redefine_status rdf_images_find(struct rdf_images *images, const char *name, uint64_t *ret_addr,
                                struct rdf_error *err)
{
    struct search search = {.images = images};
    parse(&search, name);
    if (!search.name.len)
        return rdf_fail(err, REDEFINE_EINVAL, "\"%s\" names no function; say NAME, OBJECT!NAME or NAME@FILE",
                        name);
    search_all(&search);
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for %s", name);
    if (search.count == 0)
        return fail_not_found(&search, name, err);
    if (search.count > 1)
        return fail_ambiguous(&search, name, err);
    *ret_addr = search.candidate[0].addr;
    return REDEFINE_OK;
}
