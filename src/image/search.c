/* SPDX-License-Identifier: MIT */
#include "image/search.h"

#include <inttypes.h>
#include <stdio.h>

bool rdf_search_begin(struct rdf_search *search, struct rdf_images *images, const char *text)
{
    *search = (struct rdf_search){.images = images, .text = text, .name = {text, rdf_text_len(text)}};
    for (size_t i = 0; text[i]; i++)
        if (text[i] == '!') {
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

void rdf_search_add(struct rdf_search *search, struct rdf_image *image, const char *file, uint64_t addr)
{
    if (rdf_images_follow(search->images, addr, &addr, &search->follow_error) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < search->count && i < RDF_SEARCH_CANDIDATES_MAX; i++)
        if (search->candidate[i].addr == addr)
            return;
    if (search->count < RDF_SEARCH_CANDIDATES_MAX) {
        search->candidate[search->count].image = image;
        search->candidate[search->count].file = file;
        search->candidate[search->count].addr = addr;
    }
    search->count++;
}

bool rdf_search_is_file(const struct rdf_search *search, const char *have)
{
    size_t have_len = have ? rdf_text_len(have) : 0;
    const char *base = search->file.at;
    for (size_t i = 0; i < search->file.len; i++)
        base = search->file.at[i] == '/' || search->file.at[i] == '\\' ? search->file.at + i + 1 : base;
    size_t base_len = search->file.len - (size_t)(base - search->file.at);
    return have_len >= base_len && base_len && rdf_text_is(have + have_len - base_len, base, base_len);
}

static redefine_status fail_ambiguous(const struct rdf_search *search, struct rdf_error *err)
{
    char text[RDF_SENTENCE_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < search->count && i < RDF_SEARCH_CANDIDATES_MAX; i++) {
        const char *file = search->candidate[i].file;
        int len = snprintf(text + used, sizeof text - used, "%s%s!%.*s%s%s (0x%" PRIx64 ")", i ? ", " : "",
                           rdf_text_base(rdf_image_name(search->candidate[i].image)), (int)search->name.len,
                           search->name.at, file ? "@" : "", file ? file : "", search->candidate[i].addr);
        if (len < 0 || (size_t)len >= sizeof text - used)
            break;
        used += (size_t)len;
    }
    text[used] = 0;
    return rdf_fail(err, REDEFINE_EAMBIGUOUS, "%u functions are called %s: %s; name one of them",
                    (unsigned)search->count, search->text, text);
}

redefine_status rdf_search_end(const struct rdf_search *search, const struct rdf_suggestions *suggestions,
                               uint64_t *ret_addr, struct rdf_error *err)
{
    char text[256];
    if (search->images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for %s", search->text);
    if (search->count > 1)
        return fail_ambiguous(search, err);
    if (search->count == 1) {
        *ret_addr = search->candidate[0].addr;
        return REDEFINE_OK;
    }
    if (search->follow_error.status != REDEFINE_OK)
        return rdf_fail(err, search->follow_error.status, "%s", search->follow_error.sentence);
    rdf_suggestions_text(suggestions, text, sizeof text);
    return rdf_fail(err, REDEFINE_ENOTFOUND, "no function is called %s, as far as symbols tell%s",
                    search->text, text);
}
