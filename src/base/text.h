/* SPDX-License-Identifier: MIT
 *
 * Text that ends with a NUL, without the C library: the program may have redefined it.
 */
#ifndef RDF_BASE_TEXT_H
#define RDF_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

static inline size_t rdf_text_len(const char *text)
{
    size_t len = 0;
    while (text[len])
        len++;
    return len;
}

static inline bool rdf_text_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Whether `text` is exactly the `len` bytes at `part`. */
static inline bool rdf_text_is(const char *text, const char *part, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        if (!text[i] || text[i] != part[i])
            return false;
    return text[len_bytes] == 0;
}

static inline bool rdf_text_starts(const char *text, const char *prefix)
{
    while (*prefix && *text == *prefix) {
        text++;
        prefix++;
    }
    return !*prefix;
}

static inline const char *rdf_text_base(const char *path)
{
    const char *base = path;
    for (; *path; path++)
        if (*path == '/')
            base = path + 1;
    return base;
}

#endif
