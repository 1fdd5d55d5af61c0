/* SPDX-License-Identifier: MIT
 *
 * Names that resemble one that was not found: a slip of the keyboard, or a clone that the compiler
 * made (parse.constprop.0). At most three, for a bounded amount of work.
 */
#include "image/names.h"

#include <stdio.h>

enum { LONGEST = 64, FARTHEST = 2 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edit distance, or FARTHEST + 1 when it is more than FARTHEST. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[LONGEST + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0], best = row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(change, least(row[j], row[j - 1]) + 1);
            best = least(best, row[j]);
        }
        if (best > FARTHEST)
            return FARTHEST + 1;
    }
    return row[b_len];
}

void rdf_suggestions_add(struct rdf_suggestions *suggestions, const char *name, unsigned far)
{
    for (unsigned i = 0; i < suggestions->count; i++)
        if (rdf_text_same(suggestions->name[i], name))
            return;
    unsigned at = suggestions->count;
    while (at > 0 && suggestions->distance[at - 1] > far)
        at--;
    if (at == RDF_SUGGESTIONS_MAX)
        return;
    if (suggestions->count < RDF_SUGGESTIONS_MAX)
        suggestions->count++;
    for (unsigned i = suggestions->count - 1; i > at; i--) {
        suggestions->name[i] = suggestions->name[i - 1];
        suggestions->distance[i] = suggestions->distance[i - 1];
    }
    suggestions->name[at] = name;
    suggestions->distance[at] = far;
}

void rdf_suggest(struct rdf_suggestions *suggestions, const char *name)
{
    const char *wanted = suggestions->wanted;
    size_t wanted_len = suggestions->wanted_bytes, len = 0;
    if (!suggestions->names_left)
        return;
    suggestions->names_left--;
    while (len <= LONGEST && name[len])
        len++;
    if (wanted_len < 2 || wanted_len > LONGEST || !len || rdf_text_is(name, wanted, wanted_len))
        return;
    bool is_prefix = len > wanted_len;
    for (size_t i = 0; is_prefix && i < wanted_len; i++)
        is_prefix = name[i] == wanted[i];
    /* A clone's suffix is nearest of all; any other longer name is a weak hint. */
    unsigned far = is_prefix ? (name[wanted_len] == '.' ? 0 : FARTHEST + 1) : FARTHEST + 2;
    size_t apart = len > wanted_len ? len - wanted_len : wanted_len - len;
    if (len <= LONGEST && apart <= FARTHEST && wanted_len > FARTHEST) {
        unsigned edits = distance(wanted, wanted_len, name, len);
        if (edits <= FARTHEST && edits < far)
            far = edits;
    }
    if (far > FARTHEST + 1)
        return;
    rdf_suggestions_add(suggestions, name, far);
}

void rdf_suggestions_text(const struct rdf_suggestions *suggestions, char *ret_text, size_t text_bytes)
{
    const char *const *name = suggestions->name;
    ret_text[0] = 0;
    if (suggestions->count == 1)
        (void)snprintf(ret_text, text_bytes, "; did you mean %.128s?", name[0]);
    else if (suggestions->count == 2)
        (void)snprintf(ret_text, text_bytes, "; did you mean %.128s or %.128s?", name[0], name[1]);
    else if (suggestions->count == 3)
        (void)snprintf(ret_text, text_bytes, "; did you mean %.128s, %.128s or %.128s?", name[0], name[1],
                       name[2]);
}
