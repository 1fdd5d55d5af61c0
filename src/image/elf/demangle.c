/* SPDX-License-Identifier: MIT
 *
 * The demangler of the C++ runtime: the target's own when it has one loaded, else the system's, opened for
 * this question. A program without C++ never gets here.
 */
#include "image/names.h"

#include <dlfcn.h>
#include <stddef.h>

rdf_demangle_function *rdf_images_demangler(struct rdf_images *images)
{
    (void)images;
    void *found = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    if (!found) {
        void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
        found = library ? dlsym(library, "__cxa_demangle") : NULL;
    }
    /* ISO C has no conversion between the two kinds of pointer; POSIX says they look alike. */
    union {
        void *object;
        rdf_demangle_function *function;
    } pointer = {.object = found};
    return pointer.function;
}
