/* SPDX-License-Identifier: MIT
 *
 * The demangler of the C++ runtime, which is a part of the system here.
 */
#include "image/names.h"

#include <dlfcn.h>

rdf_demangle_function *rdf_images_demangler(struct rdf_images *images)
{
    (void)images;
    union {
        void *object;
        rdf_demangle_function *function;
    } pointer = {.object = dlsym(RTLD_DEFAULT, "__cxa_demangle")};
    return pointer.function;
}
