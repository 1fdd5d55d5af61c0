/* SPDX-License-Identifier: MIT
 *
 * The demangler of the C++ runtime: the program's own when it has one, else the system's, opened for this
 * question. A program without C++ never gets here.
 *
 * All weak. A static program has what was linked with it and no loader: named strongly, dlopen would become
 * a part of each. Where such a program has it nevertheless, what it brings comes with a C library of its own,
 * and what one malloc gave another free must not take.
 */
#include "image/names.h"

#include <dlfcn.h>
#include <stddef.h>

extern rdf_demangle_function __cxa_demangle; /* as the C++ ABI calls it */
#pragma weak __cxa_demangle
#pragma weak dlopen
#pragma weak dlsym

static bool has_loader(void)
{
    return dlopen && dlsym && dlsym(RTLD_DEFAULT, "free");
}

rdf_demangle_function *rdf_images_demangler(struct rdf_images *images)
{
    (void)images;
    if (__cxa_demangle)
        return __cxa_demangle;
    if (!has_loader())
        return NULL;
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
