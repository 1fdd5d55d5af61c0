/* SPDX-License-Identifier: MIT
 *
 * C++ names, by the demangler that the room of the format finds.
 */
#include "image/image.h"
#include "image/names.h"

#include <stdlib.h>

bool rdf_demangle(struct rdf_demangler *demangler, const char *mangled, char *ret_text, size_t text_bytes)
{
    if (mangled[0] != '_' || mangled[1] != 'Z' || rdf_text_len(mangled) >= RDF_IMAGE_NAME_MAX)
        return false;
    if (!demangler->tried)
        demangler->demangle = rdf_images_demangler(demangler->images);
    demangler->tried = true;
    if (!demangler->demangle)
        return false;
    int status = 0;
    char *text = demangler->demangle(mangled, NULL, NULL, &status);
    size_t len = text ? rdf_text_len(text) : 0;
    bool fits = text && status == 0 && len < text_bytes;
    for (size_t i = 0; fits && i <= len; i++)
        ret_text[i] = text[i];
    free(text);
    return fits;
}

bool rdf_image_demangle(const char *mangled, char *ret_text, size_t text_bytes)
{
    static struct rdf_demangler demangler; /* filled the same way by everyone */
    return rdf_demangle(&demangler, mangled, ret_text, text_bytes);
}
