/* SPDX-License-Identifier: MIT
 *
 * A text of limited length that is put together piece by piece; what does not fit is left out.
 */
#ifndef RDF_CHECK_TEXT_H
#define RDF_CHECK_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct rdf_text {
    size_t used;
    char text[4096];
};

__attribute__((format(printf, 2, 3))) static inline void rdf_text_add(struct rdf_text *text,
                                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text->text + text->used, sizeof text->text - text->used, format, args);
    va_end(args);
    if (len > 0)
        text->used += (size_t)len;
    if (text->used >= sizeof text->text)
        text->used = sizeof text->text - 1;
}

#endif
