/* SPDX-License-Identifier: MIT
 *
 * The demangler of the C++ runtime, by the tables of who has one: a library of the runtime, or the program
 * when that is a part of it. It is of this ABI: names of the other one, "?name@@…", stay as they are.
 */
#include "image/pe/pe.h"

rdf_demangle_function *rdf_images_demangler(struct rdf_images *images)
{
    for (size_t i = 0; images && i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        rdf_pe_read_names(images, image);
        for (size_t j = 0; j < image->name_count; j++)
            if (rdf_text_same(image->named[j].text, "__cxa_demangle"))
                return (rdf_demangle_function *)(uintptr_t)(image->object.start + image->named[j].at);
    }
    return NULL;
}
