/* SPDX-License-Identifier: MIT */
#include "image/search.h"

#include <inttypes.h>
#include <stdio.h>

static bool begin(struct rdf_search *search, struct rdf_images *images, const char *text)
{
    *search = (struct rdf_search){.images = images,
                                  .text = text,
                                  .name = {text, rdf_text_len(text)},
                                  .demangler = {.images = images}};
    /* "!" also ends operator! and begins operator!=, which no object's name does. */
    for (size_t i = 0; text[i] && text[i] != '('; i++) {
        if (text[i] != '!')
            continue;
        if (i >= 8 && rdf_text_starts(text + i - 8, "operator"))
            break;
        search->object = (struct rdf_part){text, i};
        search->name = (struct rdf_part){text + i + 1, search->name.len - i - 1};
        break;
    }
    for (size_t i = 1; i < search->name.len; i++)
        if (search->name.at[i] == '@') {
            search->file = (struct rdf_part){search->name.at + i + 1, search->name.len - i - 1};
            search->name.len = i;
            break;
        }
    return search->name.len > 0;
}

static void ask_for_cxx(struct rdf_search *search)
{
    search->is_cxx = true;
    search->wanted_len = rdf_cxx_normalize(search->name.at, search->name.len, search->wanted,
                                           sizeof search->wanted);
    rdf_cxx_needle(search->wanted, search->wanted_len, search->needle, sizeof search->needle);
}

static bool is_file(const struct rdf_search *search, const char *have)
{
    size_t have_len = have ? rdf_text_len(have) : 0;
    const char *base = search->file.at;
    for (size_t i = 0; i < search->file.len; i++)
        base = search->file.at[i] == '/' || search->file.at[i] == '\\' ? search->file.at + i + 1 : base;
    size_t base_len = search->file.len - (size_t)(base - search->file.at);
    return have_len >= base_len && base_len && rdf_text_is(have + have_len - base_len, base, base_len);
}

bool rdf_search_is_name(struct rdf_search *search, const char *have, const char *have_file)
{
    if (search->file.at && !is_file(search, have_file))
        return false;
    if (!search->is_cxx)
        return rdf_text_is(have, search->name.at, search->name.len);
    if (!rdf_cxx_contains(have, search->needle) ||
        !rdf_demangle(&search->demangler, have, search->demangled, sizeof search->demangled))
        return false;
    size_t len = rdf_cxx_normalize(search->demangled, rdf_text_len(search->demangled), search->normalized,
                                   sizeof search->normalized);
    return rdf_cxx_matches(search->normalized, len, search->wanted, search->wanted_len);
}

void rdf_search_add(struct rdf_search *search, struct rdf_image *image, const char *name, const char *file,
                    uint64_t addr)
{
    if (rdf_images_follow(search->images, addr, &addr, &search->follow_error) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < search->count && i < RDF_SEARCH_CANDIDATES_MAX; i++)
        if (search->candidate[i].addr == addr)
            return;
    if (search->count < RDF_SEARCH_CANDIDATES_MAX) {
        search->candidate[search->count].image = image;
        search->candidate[search->count].name = name;
        search->candidate[search->count].file = file;
        search->candidate[search->count].addr = addr;
    }
    search->count++;
}

static redefine_status fail_ambiguous(struct rdf_search *search, struct rdf_error *err)
{
    char text[RDF_SENTENCE_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < search->count && i < RDF_SEARCH_CANDIDATES_MAX; i++) {
        const char *file = search->candidate[i].file, *name = search->candidate[i].name;
        if (search->is_cxx &&
            rdf_demangle(&search->demangler, name, search->demangled, sizeof search->demangled))
            name = search->demangled;
        int len = snprintf(text + used, sizeof text - used, "%s%s!%s%s%s (0x%" PRIx64 ")", i ? ", " : "",
                           rdf_text_base(rdf_image_name(search->candidate[i].image)), name, file ? "@" : "",
                           file ? file : "", search->candidate[i].addr);
        if (len < 0 || (size_t)len >= sizeof text - used)
            break;
        used += (size_t)len;
    }
    text[used] = 0;
    return rdf_fail(err, REDEFINE_EAMBIGUOUS, "%u functions are called %s: %s; name one of them",
                    (unsigned)search->count, search->text, text);
}

static redefine_status fail_not_found(struct rdf_search *search, const struct rdf_search_ops *ops,
                                      struct rdf_error *err)
{
    char text[256];
    struct rdf_suggestions suggestions = {.wanted = search->name.at,
                                          .wanted_bytes = search->name.len,
                                          .names_left = RDF_SEARCH_NAMES_MAX};
    if (search->follow_error.status != REDEFINE_OK)
        return rdf_fail(err, search->follow_error.status, "%s", search->follow_error.sentence);
    ops->suggest(search->images, &suggestions);
    rdf_suggestions_text(&suggestions, text, sizeof text);
    return rdf_fail(err, REDEFINE_ENOTFOUND, "no function is called %s, as far as symbols tell%s",
                    search->text, text);
}

redefine_status rdf_search(const struct rdf_search_ops *ops, struct rdf_images *images, const char *text,
                           uint64_t *ret_addr, struct rdf_error *err)
{
    struct rdf_search search;
    if (!begin(&search, images, text))
        return rdf_fail(err, REDEFINE_EINVAL, "\"%s\" names no function; say NAME, OBJECT!NAME or NAME@FILE",
                        text);
    struct rdf_image *object = search.object.at ? ops->object(images, search.object.at, search.object.len)
                                                : NULL;
    if (search.object.at && !object)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "no object called %.*s is loaded", (int)search.object.len,
                        search.object.at);
    ops->find(&search, object);
    if (!search.count) {
        ask_for_cxx(&search);
        ops->find(&search, object);
    }
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for %s", text);
    if (search.count > 1)
        return fail_ambiguous(&search, err);
    if (search.count == 0)
        return fail_not_found(&search, ops, err);
    *ret_addr = search.candidate[0].addr;
    return REDEFINE_OK;
}
